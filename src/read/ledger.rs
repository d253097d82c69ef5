//! What fetching ahead has cost and brought, and how much more it may.

/// Bytes that are fetched and never read are at most this share of those that were read, and an allowance.
/// So of all that is fetched ahead a quarter is wasted at most, once the allowance weighs nothing.
const WASTE_SHARE: u64 = 3;

/// What lies so far back counts half.
const HORIZON: u64 = 4 << 30;

/// Bytes fetched ahead, by what became of them.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    /// What may be wasted before anything was of use.
    allowance: u64,
    /// What may lie unread at one moment.
    most: u64,
    /// Not read yet.
    ahead: u64,
    /// Read.
    used: u64,
    /// Gone before they were read.
    wasted: u64,
}

impl Ledger {
    pub(super) fn new(allowance: u64, most: u64) -> Self {
        Self {
            allowance,
            most,
            ahead: 0,
            used: 0,
            wasted: 0,
        }
    }

    /// How much may be fetched now so that, were nobody to read any of it, no more would be wasted
    /// than may be.
    pub(super) fn room(&self) -> u64 {
        let may_be_wasted = self.allowance + self.used / WASTE_SHARE;
        let is_at_stake = self.wasted + self.ahead;
        let room = may_be_wasted.saturating_sub(is_at_stake);
        room.min(self.most.saturating_sub(self.ahead))
    }

    /// What is not read yet.
    pub(super) fn ahead(&self) -> u64 {
        self.ahead
    }

    /// So much is being fetched.
    pub(super) fn begun(&mut self, bytes: u64) {
        self.ahead += bytes;
    }

    /// So much of it was read.
    pub(super) fn read(&mut self, bytes: u64) {
        self.ahead = self.ahead.saturating_sub(bytes);
        self.used += bytes;
        self.forget();
    }

    /// So much of it will not be read any more.
    pub(super) fn lost(&mut self, bytes: u64) {
        self.ahead = self.ahead.saturating_sub(bytes);
        self.wasted += bytes;
        self.forget();
    }

    /// So much of it never came.
    pub(super) fn failed(&mut self, bytes: u64) {
        self.ahead = self.ahead.saturating_sub(bytes);
    }

    fn forget(&mut self) {
        if self.used + self.wasted > HORIZON {
            self.used /= 2;
            self.wasted /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_of_use_makes_room_for_more() {
        let mut ledger = Ledger::new(4 * MIB, 32 * MIB);
        assert_eq!(ledger.room(), 4 * MIB);
        ledger.begun(4 * MIB);
        assert_eq!(ledger.room(), 0, "until some of it is read");
        ledger.read(3 * MIB);
        assert_eq!(ledger.room(), 4 * MIB);
        ledger.read(MIB);
        for _ in 0..30 {
            let room = ledger.room();
            ledger.begun(room);
            ledger.read(room);
        }
        assert_eq!(ledger.room(), 32 * MIB, "and no more at one moment");
        ledger.begun(10 * MIB);
        ledger.failed(10 * MIB);
        assert_eq!(ledger.room(), 32 * MIB);
    }

    proptest! {
        /// Whoever asks for room first never wastes more than a quarter and the allowance.
        #[test]
        fn waste_is_bounded(steps in prop::collection::vec((0..4_u8, 0..8 * MIB), 0..200)) {
            let mut ledger = Ledger::new(4 * MIB, 32 * MIB);
            let (mut fetched, mut used, mut ahead) = (0, 0, 0);
            for (step, bytes) in steps {
                let begun = bytes.min(ledger.room());
                let left = bytes.min(ahead);
                match step {
                    0 | 3 => {
                        ledger.begun(begun);
                        fetched += begun;
                        ahead += begun;
                    }
                    1 => {
                        ledger.read(left);
                        used += left;
                        ahead -= left;
                    }
                    _ => {
                        ledger.lost(left);
                        ahead -= left;
                    }
                }
                prop_assert!(ahead <= 32 * MIB);
                prop_assert!(fetched - used <= 4 * MIB + fetched / 4);
            }
        }
    }
}
