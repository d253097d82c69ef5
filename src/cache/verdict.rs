//! What an origin allowed to clients that sign as themselves.
//!
//! A hit needs, besides our own rules, that the origin let this identity read this object a short
//! while ago, and that nothing was written since: a write may change who may read. What the origin
//! denied is asked again; it is kept only so that an older permission does not come in after it.

use std::fmt;
use std::time::Duration;
use std::time::SystemTime;

use moka::ops::compute::Op;
use moka::sync::Cache;

use super::Generation;
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
    said: Cache<(Identity, ObjectName), Said>,
    bound: Duration,
}

/// What an origin said to a question.
#[derive(Debug, Clone, Copy)]
struct Said {
    /// When it was asked.
    asked: SystemTime,
    /// The generation of the object then; `None` when it denied.
    allowed_in: Option<Generation>,
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
        let weight = |(_, object): &(Identity, ObjectName), _: &Said| {
            let names = object.bucket.as_str().len() + object.key.as_str().len();
            u32::try_from(ENTRY_OVERHEAD + names).unwrap_or(u32::MAX)
        };
        Self {
            said: Cache::builder()
                .max_capacity(MAX_BYTES)
                .weigher(weight)
                .time_to_live(bound.max(Duration::from_millis(1)))
                .build(),
            bound,
        }
    }

    /// Notes that the origin let the identity read the object; `asked` and `generation` are of the
    /// moment before the request was sent.
    pub fn allow(
        &self,
        identity: Identity,
        object: ObjectName,
        asked: SystemTime,
        generation: Generation,
    ) {
        let allowed_in = Some(generation);
        self.note((identity, object), Said { asked, allowed_in });
    }

    /// Notes that the origin denied it.
    pub fn deny(&self, identity: Identity, object: ObjectName, asked: SystemTime) {
        let allowed_in = None;
        self.note((identity, object), Said { asked, allowed_in });
    }

    /// Forgets what the origin said: it just denied some of it.
    pub fn end(&self, identity: Identity, object: ObjectName) {
        self.said.invalidate(&(identity, object));
    }

    /// Whether the origin allowed it a short while ago, and the object is in the same generation
    /// still.
    pub fn allows(
        &self,
        identity: Identity,
        object: &ObjectName,
        now: SystemTime,
        generation: Generation,
    ) -> bool {
        let said = self.said.get(&(identity, object.clone()));
        said.filter(|said| said.allowed_in == Some(generation))
            .and_then(|said| freshness::age(said.asked, now))
            .is_some_and(|age| age < self.bound)
    }

    /// The later question counts, whichever answer comes in first.
    fn note(&self, about: (Identity, ObjectName), said: Said) {
        if self.bound.is_zero() {
            return;
        }
        self.said.entry(about).and_compute_with(|before| {
            let is_later = before.is_some_and(|before| before.into_value().asked > said.asked);
            if is_later { Op::Nop } else { Op::Put(said) }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::cache::Generations;
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

    fn now(generations: &Generations) -> Generation {
        generations.current(&name("o", "b", "k"))
    }

    #[test]
    fn a_verdict_is_about_one_identity_and_one_object() {
        let (verdicts, first) = (Verdicts::new(60 * SECOND), now(&Generations::new(7)));
        let me = Identity::of("KEY", None);
        verdicts.allow(me, name("o", "b", "k"), at(0), first);
        assert!(verdicts.allows(me, &name("o", "b", "k"), at(0), first));
        for other in [
            Identity::of("KEZ", None),
            Identity::of("KEY", Some("")),
            Identity::of("KEY", Some("token")),
            Identity::of("", Some("KEY")),
        ] {
            assert!(!verdicts.allows(other, &name("o", "b", "k"), at(0), first));
        }
        for other in [
            name("p", "b", "k"),
            name("o", "c", "k"),
            name("o", "b", "l"),
        ] {
            assert!(!verdicts.allows(me, &other, at(0), first), "{other:?}");
        }
    }

    #[test]
    fn a_verdict_ends() {
        let (verdicts, first) = (Verdicts::new(60 * SECOND), now(&Generations::new(7)));
        let (me, object) = (Identity::of("KEY", Some("token")), name("o", "b", "k"));
        verdicts.allow(me, object.clone(), at(100), first);
        assert!(verdicts.allows(me, &object, at(159), first));
        assert!(!verdicts.allows(me, &object, at(160), first));
        // The clock was set back: nobody knows how old it is.
        assert!(!verdicts.allows(me, &object, at(94), first));
        verdicts.end(me, object.clone());
        assert!(!verdicts.allows(me, &object, at(101), first));
    }

    #[test]
    fn a_write_ends_it() {
        let (verdicts, generations) = (Verdicts::new(60 * SECOND), Generations::new(7));
        let (me, object) = (Identity::of("KEY", None), name("o", "b", "k"));
        let before = now(&generations);
        verdicts.allow(me, object.clone(), at(0), before);
        generations.advance(&object);
        assert!(!verdicts.allows(me, &object, at(1), now(&generations)));
        // What was asked before the write comes in after it.
        verdicts.allow(me, object.clone(), at(0), before);
        assert!(!verdicts.allows(me, &object, at(1), now(&generations)));
    }

    #[test]
    fn the_later_question_counts() {
        let (verdicts, first) = (Verdicts::new(60 * SECOND), now(&Generations::new(7)));
        let (me, object) = (Identity::of("KEY", None), name("o", "b", "k"));
        verdicts.deny(me, object.clone(), at(5));
        verdicts.allow(me, object.clone(), at(4), first);
        assert!(!verdicts.allows(me, &object, at(6), first));
        verdicts.allow(me, object.clone(), at(6), first);
        assert!(verdicts.allows(me, &object, at(6), first));
        verdicts.deny(me, object.clone(), at(7));
        assert!(!verdicts.allows(me, &object, at(8), first));
    }

    #[test]
    fn without_a_bound_every_read_is_asked() {
        let (verdicts, first) = (Verdicts::new(Duration::ZERO), now(&Generations::new(7)));
        let (me, object) = (Identity::of("KEY", None), name("o", "b", "k"));
        verdicts.allow(me, object.clone(), at(0), first);
        assert!(!verdicts.allows(me, &object, at(0), first));
    }

    #[test]
    fn no_key_or_token_is_printed() {
        let printed = format!("{:?}", Identity::of("SECRETKEY", Some("token")));
        assert_eq!(printed, "Identity(..)");
    }

    #[test]
    fn verdicts_are_bounded() {
        let (verdicts, first) = (Verdicts::new(60 * SECOND), now(&Generations::new(7)));
        let me = Identity::of("KEY", None);
        for n in 0..20_000 {
            verdicts.allow(me, name("o", "b", &format!("{n:01000}")), at(0), first);
        }
        verdicts.said.run_pending_tasks();
        assert!(verdicts.said.weighted_size() <= MAX_BYTES);
        assert!(verdicts.said.entry_count() > 1_000);
    }
}
