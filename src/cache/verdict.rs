//! What an origin allowed to clients that sign as themselves.
//!
//! A hit needs, besides our own rules, that the origin let this identity read this object a short
//! while ago. Only what it allowed is kept: what it denied is asked again.

use std::fmt;
use std::time::Duration;
use std::time::SystemTime;

use moka::sync::Cache;

use super::ObjectName;
use super::VersionId;
use super::freshness;

/// Memory for verdicts: some 50,000.
const MAX_BYTES: u64 = 16 << 20;

/// What an entry takes besides its names.
const ENTRY_OVERHEAD: usize = 256;

/// Who asked: a hash, so that no token is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity([u8; 16]);

/// Who may read what, as origins said.
pub struct Verdicts {
    allowed: Cache<(Identity, ObjectName), SystemTime>,
    bound: Duration,
}

impl Identity {
    /// Whoever has this key pair and token.
    pub fn of(access_key_id: &str, session_token: Option<&str>) -> Self {
        let token = session_token.map(str::as_bytes);
        let parts: &[&[u8]] = match token {
            Some(token) => &[access_key_id.as_bytes(), token],
            None => &[access_key_id.as_bytes()],
        };
        Self(*VersionId::of(parts).as_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Verdicts {
    /// Lets a verdict count for this long.
    pub fn new(bound: Duration) -> Self {
        let weight = |(_, object): &(Identity, ObjectName), _: &SystemTime| {
            let names = object.bucket.as_str().len() + object.key.as_str().len();
            u32::try_from(ENTRY_OVERHEAD + names).unwrap_or(u32::MAX)
        };
        Self {
            allowed: Cache::builder()
                .max_capacity(MAX_BYTES)
                .weigher(weight)
                .time_to_live(bound.max(Duration::from_millis(1)))
                .build(),
            bound,
        }
    }

    /// Notes that the origin let the identity read the object; `asked` is when the request was sent.
    pub fn allow(&self, identity: Identity, object: ObjectName, asked: SystemTime) {
        if !self.bound.is_zero() {
            self.allowed.insert((identity, object), asked);
        }
    }

    /// Whether the origin allowed it a short while ago.
    pub fn allows(&self, identity: Identity, object: &ObjectName, now: SystemTime) -> bool {
        let asked = self.allowed.get(&(identity, object.clone()));
        asked
            .and_then(|asked| freshness::age(asked, now))
            .is_some_and(|age| age < self.bound)
    }

    /// The origin denied it: what it said before does not count any more.
    pub fn deny(&self, identity: Identity, object: ObjectName) {
        self.allowed.invalidate(&(identity, object));
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::s3::Bucket;
    use crate::s3::Key;

    const SECOND: Duration = Duration::from_secs(1);

    fn name(origin: &str, bucket: &str, key: &str) -> ObjectName {
        ObjectName {
            origin: origin.into(),
            bucket: Bucket::new(bucket).unwrap(),
            key: Key::new(key).unwrap(),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn a_verdict_is_about_one_identity_and_one_object() {
        let verdicts = Verdicts::new(60 * SECOND);
        let me = Identity::of("KEY", None);
        verdicts.allow(me, name("o", "b", "k"), at(0));
        assert!(verdicts.allows(me, &name("o", "b", "k"), at(0)));
        for other in [
            Identity::of("KEZ", None),
            Identity::of("KEY", Some("")),
            Identity::of("KEY", Some("token")),
            Identity::of("", Some("KEY")),
        ] {
            assert!(!verdicts.allows(other, &name("o", "b", "k"), at(0)));
        }
        for other in [
            name("p", "b", "k"),
            name("o", "c", "k"),
            name("o", "b", "l"),
        ] {
            assert!(!verdicts.allows(me, &other, at(0)), "{other:?}");
        }
    }

    #[test]
    fn a_verdict_ends() {
        let verdicts = Verdicts::new(60 * SECOND);
        let (me, object) = (Identity::of("KEY", Some("token")), name("o", "b", "k"));
        verdicts.allow(me, object.clone(), at(100));
        assert!(verdicts.allows(me, &object, at(159)));
        assert!(!verdicts.allows(me, &object, at(160)));
        // The clock was set back: nobody knows how old it is.
        assert!(!verdicts.allows(me, &object, at(94)));
        verdicts.deny(me, object.clone());
        assert!(!verdicts.allows(me, &object, at(101)));
    }

    #[test]
    fn without_a_bound_every_read_is_asked() {
        let verdicts = Verdicts::new(Duration::ZERO);
        let (me, object) = (Identity::of("KEY", None), name("o", "b", "k"));
        verdicts.allow(me, object.clone(), at(0));
        assert!(!verdicts.allows(me, &object, at(0)));
    }

    #[test]
    fn no_key_or_token_is_printed() {
        let printed = format!("{:?}", Identity::of("SECRETKEY", Some("token")));
        assert_eq!(printed, "Identity(..)");
    }

    #[test]
    fn verdicts_are_bounded() {
        let verdicts = Verdicts::new(60 * SECOND);
        let me = Identity::of("KEY", None);
        for n in 0..20_000 {
            verdicts.allow(me, name("o", "b", &format!("{n:01000}")), at(0));
        }
        verdicts.allowed.run_pending_tasks();
        assert!(verdicts.allowed.weighted_size() <= MAX_BYTES);
        assert!(verdicts.allowed.entry_count() > 1_000);
    }
}
