//! What happens in one random sequence of the model test: a function of its seed alone.

use std::time::Duration;

/// Keys of one sequence.
pub(super) const KEYS: usize = 3;

/// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below a bound that is not zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

/// A sequence.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) seed: u64,
    pub(super) rule: Rule,
    pub(super) memory: u64,
    pub(super) disk: Option<u64>,
    pub(super) is_data_file: bool,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) freshness: Lifetime,
    pub(super) stale_if_error: Duration,
    pub(super) negative: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Lifetime {
    For(Duration),
    Immutable,
    Validate,
}

#[derive(Debug)]
pub(super) enum Step {
    /// All at once.
    Together(Vec<Act>),
    /// Waits until nothing is under way, then lets time pass.
    Advance(Duration),
    /// From now on the origin fails like this in so many of a hundred requests; or not any more.
    Fault(Option<(Fault, u64)>),
    /// As by a kill: what is on disk is there for the next one.
    Restart,
    /// Waits until what was admitted is on disk.
    Flush,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    Read(ReadSpec),
    /// A write through the proxy. Without a size it deletes.
    Through {
        key: usize,
        size: Option<u64>,
        pause: Pause,
    },
    /// A write that the proxy does not see.
    Behind {
        key: usize,
        size: Option<u64>,
        pause: Pause,
    },
    /// A write whose outcome nobody knows, or which was refused.
    Invalidate {
        key: usize,
    },
    PurgeKey {
        key: usize,
    },
    PurgePrefix,
    PurgeBucket,
}

/// How long something takes, in steps of the runtime or in time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pause {
    No,
    Yield(u32),
    Millis(u64),
}

impl Pause {
    pub(super) async fn take(self) {
        match self {
            Self::No => {}
            Self::Yield(times) => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
            }
            Self::Millis(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
    }

    fn random(rng: &mut Rng) -> Self {
        match rng.below(4) {
            0 | 1 => Self::No,
            2 => Self::Yield(u32::try_from(rng.below(40)).unwrap()),
            _ => Self::Millis(rng.below(4)),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Status(u16),
    Vanish,
    CutAfter(u64),
    ResetAfter(u64),
    StallAt(u64),
    Slow,
    OtherRange,
    NoETag,
    WeakETag,
    /// 200 with everything in the place of 206.
    Whole,
    /// The object is overwritten just before the request is answered.
    Overwritten,
}

#[derive(Debug, Clone)]
pub(super) struct ReadSpec {
    pub(super) key: usize,
    pub(super) is_head: bool,
    pub(super) range: RangeSpec,
    pub(super) condition: Condition,
    pub(super) wants_checksums: bool,
    /// Before it begins.
    pub(super) before: Pause,
    /// After each piece.
    pub(super) between: Pause,
    /// The client leaves after so many bytes.
    pub(super) leaves_after: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum RangeSpec {
    No,
    Interval(u64, u64),
    From(u64),
    Suffix(u64),
    /// Several, which S3 ignores.
    Several,
}

impl RangeSpec {
    pub(super) fn field(self) -> Option<String> {
        match self {
            Self::No => None,
            Self::Interval(first, last) => Some(format!("bytes={first}-{last}")),
            Self::From(first) => Some(format!("bytes={first}-")),
            Self::Suffix(length) => Some(format!("bytes=-{length}")),
            Self::Several => Some("bytes=0-1,5-6".to_owned()),
        }
    }
}

/// A precondition, by what the client knows of the object.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition {
    No,
    MatchCurrent,
    MatchOlder,
    NoneMatchCurrent,
    NoneMatchOlder,
    MatchAny,
    RangeIfCurrent,
    RangeIfOlder,
}

/// Sizes that lie at the edges of blocks of 16 KiB and of segments of 64 of them.
const EDGES: &[u64] = &[1, 16_384, 32_768, 65_536, 131_072, 1 << 20];

fn size(rng: &mut Rng) -> u64 {
    match rng.below(10) {
        0 => 0,
        1..=3 => {
            let edge = rng.pick(EDGES);
            (edge + rng.below(3)).saturating_sub(1)
        }
        4..=8 => rng.below(200_000),
        _ => rng.below(2_500_000),
    }
}

fn range(rng: &mut Rng) -> RangeSpec {
    let largest = rng.pick(&[1_000, 20_000, 70_000, 200_000, 2_500_000]);
    let first = match rng.below(4) {
        0 => 0,
        1 => rng.pick(EDGES).saturating_sub(rng.below(3)),
        _ => rng.below(largest),
    };
    match rng.below(10) {
        0 | 1 => RangeSpec::No,
        2..=5 => RangeSpec::Interval(first, first + rng.below(largest)),
        6 => RangeSpec::From(first),
        7 | 8 => RangeSpec::Suffix(rng.below(largest)),
        _ => RangeSpec::Several,
    }
}

fn read(rng: &mut Rng) -> ReadSpec {
    use Condition::{
        MatchAny, MatchCurrent, MatchOlder, No, NoneMatchCurrent, NoneMatchOlder, RangeIfCurrent,
        RangeIfOlder,
    };
    let conditions = [
        No,
        No,
        No,
        No,
        No,
        No,
        No,
        No,
        MatchCurrent,
        MatchCurrent,
        MatchOlder,
        NoneMatchCurrent,
        NoneMatchOlder,
        MatchAny,
        RangeIfCurrent,
        RangeIfOlder,
    ];
    ReadSpec {
        key: usize::try_from(rng.below(KEYS as u64)).unwrap(),
        is_head: rng.chance(20),
        range: range(rng),
        condition: rng.pick(&conditions),
        wants_checksums: rng.chance(10),
        before: Pause::random(rng),
        between: if rng.chance(15) {
            Pause::random(rng)
        } else {
            Pause::No
        },
        leaves_after: rng.chance(15).then(|| rng.below(150_000)),
    }
}

fn act(rng: &mut Rng) -> Act {
    let key = usize::try_from(rng.below(KEYS as u64)).unwrap();
    let written = |rng: &mut Rng| (!rng.chance(15)).then(|| size(rng));
    match rng.below(100) {
        0..=69 => Act::Read(read(rng)),
        70..=82 => Act::Through {
            key,
            size: written(rng),
            pause: Pause::random(rng),
        },
        83..=93 => Act::Behind {
            key,
            size: written(rng),
            pause: Pause::random(rng),
        },
        94..=95 => Act::Invalidate { key },
        96..=97 => Act::PurgeKey { key },
        98 => Act::PurgePrefix,
        _ => Act::PurgeBucket,
    }
}

fn fault(rng: &mut Rng) -> Fault {
    let place = rng.below(100_000);
    match rng.below(16) {
        0 => Fault::Status(500),
        1 => Fault::Status(503),
        2 => Fault::Status(403),
        3 => Fault::Vanish,
        4 | 5 => Fault::CutAfter(place),
        6 | 7 => Fault::ResetAfter(place),
        8 => Fault::StallAt(place),
        9 => Fault::Slow,
        10 => Fault::OtherRange,
        11 => Fault::NoETag,
        12 => Fault::WeakETag,
        13 => Fault::Whole,
        _ => Fault::Overwritten,
    }
}

fn step(rng: &mut Rng) -> Step {
    match rng.below(100) {
        0..=74 => {
            let count = rng.pick(&[1, 1, 1, 2, 3, 5]);
            Step::Together((0..count).map(|_| act(rng)).collect())
        }
        75..=86 => Step::Advance(Duration::from_millis(
            rng.pick(&[0, 0, 1, 500, 1_500, 4_000, 20_000]),
        )),
        87..=91 => Step::Fault(Some((fault(rng), rng.pick(&[10, 30, 100])))),
        92..=95 => Step::Fault(None),
        96..=97 => Step::Flush,
        _ => Step::Restart,
    }
}

impl Sequence {
    pub(super) fn random(seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let rule = Rule {
            freshness: match rng.below(6) {
                0..=3 => Lifetime::For(Duration::from_secs(rng.pick(&[1, 3, 60]))),
                4 => Lifetime::Validate,
                _ => Lifetime::Immutable,
            },
            stale_if_error: Duration::from_secs(rng.pick(&[0, 0, 2, 10])),
            negative: Duration::from_secs(rng.pick(&[0, 0, 2])),
        };
        let memory = rng.pick(&[64 << 10, 300 << 10, 4 << 20]);
        let disk = rng.chance(25).then(|| rng.pick(&[256 << 10, 4 << 20]));
        let is_data_file = rng.chance(40);
        // Objects to begin with.
        let mut steps: Vec<Step> = (0..KEYS)
            .map(|key| {
                let size = Some(size(rng));
                let pause = Pause::No;
                Step::Together(vec![Act::Behind { key, size, pause }])
            })
            .collect();
        let count = 6 + rng.below(14);
        steps.extend((0..count).map(|_| step(rng)));
        Self {
            seed,
            rule,
            memory,
            disk,
            is_data_file,
            steps,
        }
    }
}
