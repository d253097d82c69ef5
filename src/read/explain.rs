//! What would be answered from, and why: everything that is known of an object, without asking its
//! origin.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use super::Reader;
use crate::cache::BLOCKS_PER_SEGMENT;
use crate::cache::BlockSize;
use crate::cache::Blocks;
use crate::cache::CacheRule;
use crate::cache::CacheRules;
use crate::cache::Freshness;
use crate::cache::Judgement;
use crate::cache::Known;
use crate::cache::ObjectName;
use crate::cache::ObjectVersion;
use crate::cache::RuleSpec;
use crate::cache::SegmentIndex;
use crate::cache::judge;
use crate::cache::judge_absent;

/// Segments that are looked at: 64 GiB in blocks of 64 KiB.
const MAX_SEGMENTS: u64 = 16_384;

/// Runs of blocks that are told of, for each tier.
const MAX_RUNS: usize = 1_000;

/// All that is known of an object.
pub struct Explanation {
    /// What holds for it.
    pub rule: CacheRule,
    /// The given rule that says so, and its place among the given ones.
    pub spec: Option<(usize, RuleSpec)>,
    /// Why it is not cached, as far as that is known.
    pub uncacheable: Option<&'static str>,
    /// What is known of it.
    pub sighting: Sighting,
    /// When the origin said so.
    pub learned: Option<SystemTime>,
    /// Whether that holds.
    pub judgement: Option<Judgement>,
    /// The version that is known.
    pub version: Option<Arc<ObjectVersion>>,
    /// When that version was written.
    pub last_modified: Option<SystemTime>,
    /// Its blocks.
    pub held: Option<Held>,
}

/// What is known of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// Its meta.
    Meta,
    /// A meta from before a write.
    Outdated,
    /// A meta from before the process began.
    Recalled,
    /// What a list said of it.
    Listed,
    /// That there is none.
    Absent,
    /// Nothing.
    Nothing,
}

/// The blocks of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// How long a block is.
    pub block_size: BlockSize,
    /// How many blocks the version has.
    pub blocks: u64,
    /// Those in memory.
    pub memory: Runs,
    /// Those on disk.
    pub disk: Runs,
    /// Whether there is more than was looked at.
    pub is_cut: bool,
}

/// Some blocks of a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs {
    /// How many.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The runs they form, in order; no more than a bounded number of them.
    pub runs: Vec<Range<u64>>,
}

impl Reader {
    /// Tells what is known of an object. The origin is not asked.
    pub async fn explain(
        &self,
        object: &ObjectName,
        rules: &CacheRules,
        now: SystemTime,
    ) -> Explanation {
        let (bucket, key) = (object.bucket.as_str(), object.key.as_str());
        let rule = rules.rule_for(bucket, key).clone();
        let spec = rules.spec_for(bucket, key);
        let mut found = Explanation {
            spec: spec.map(|(index, spec)| (index, spec.clone())),
            uncacheable: self.why_not(object, &rule),
            sighting: Sighting::Nothing,
            learned: None,
            judgement: None,
            version: None,
            last_modified: None,
            held: None,
            rule,
        };
        self.sight(object, now, &mut found).await;
        if let Some(version) = &found.version {
            found.held = Some(self.held(version).await);
        }
        found
    }

    fn why_not(&self, object: &ObjectName, rule: &CacheRule) -> Option<&'static str> {
        if rule.freshness == Freshness::Bypass {
            return Some("rule");
        }
        let generation = self.0.generations.current(object);
        self.0.learning.uncacheable(object, generation)
    }

    async fn sight(&self, object: &ObjectName, now: SystemTime, found: &mut Explanation) {
        let known = match self.0.metas.find(object) {
            Some(Known::Meta(meta)) => Some((Sighting::Meta, meta)),
            Some(Known::Outdated(meta)) => Some((Sighting::Outdated, meta)),
            Some(Known::Absent(absent)) => {
                found.sighting = Sighting::Absent;
                found.learned = Some(absent.learned);
                found.judgement = Some(judge_absent(absent.learned, &found.rule, now));
                return;
            }
            None => self.recalled(object).await,
        };
        if let Some((sighting, meta)) = known {
            found.sighting = sighting;
            found.learned = Some(meta.learned);
            found.judgement = Some(judge(meta.learned, &found.rule, now));
            found.last_modified = meta.meta.last_modified;
            found.version = Some(Arc::clone(&meta.version));
        } else if let Some(seed) = self.0.metas.listed(object) {
            let version = ObjectVersion::new(object.clone(), seed.etag.clone(), seed.size);
            found.sighting = Sighting::Listed;
            found.learned = Some(seed.learned);
            found.last_modified = seed.last_modified;
            found.version = Some(Arc::new(version));
        }
    }

    async fn recalled(
        &self,
        object: &ObjectName,
    ) -> Option<(Sighting, Arc<crate::cache::CachedMeta>)> {
        let generation = self.0.generations.current(object);
        let meta = self.0.store.recall_meta(object, generation).await?;
        Some((Sighting::Recalled, Arc::new(meta)))
    }

    async fn held(&self, version: &Arc<ObjectVersion>) -> Held {
        let block_size = self.0.config.block_size;
        let blocks = version.size.div_ceil(block_size.bytes());
        let segments = blocks.div_ceil(BLOCKS_PER_SEGMENT);
        let mut held = Held {
            block_size,
            blocks,
            memory: Runs::default(),
            disk: Runs::default(),
            is_cut: segments > MAX_SEGMENTS,
        };
        for index in 0..segments.min(MAX_SEGMENTS) {
            let segment = SegmentIndex(u32::try_from(index).unwrap_or(u32::MAX));
            let (hot, cold) = self.0.store.by_tier(version, segment).await;
            for (runs, found) in [(&mut held.memory, hot), (&mut held.disk, cold)] {
                held.is_cut |= !runs.add(segment, found);
            }
        }
        for runs in [&mut held.memory, &mut held.disk] {
            runs.bytes = runs.blocks * block_size.bytes();
            let whole = blocks * block_size.bytes();
            if runs.runs.last().is_some_and(|last| last.end == blocks) {
                runs.bytes -= whole - version.size;
            }
        }
        held
    }
}

impl Runs {
    /// Adds the blocks of the next segment. False when there are too many runs to tell.
    fn add(&mut self, segment: SegmentIndex, found: Blocks) -> bool {
        let first = segment.first_block().0;
        let mut is_told = true;
        let mut place = 0;
        while place < 64 {
            let run = found.run_from(place);
            if run == 0 {
                place += 1;
                continue;
            }
            let start = first + u64::from(place);
            self.blocks += u64::from(run);
            place += run;
            let is_full = self.runs.len() == MAX_RUNS;
            match self.runs.last_mut() {
                Some(last) if last.end == start => last.end += u64::from(run),
                _ if is_full => is_told = false,
                _ => self.runs.push(start..start + u64::from(run)),
            }
        }
        is_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_in_runs_across_segments() {
        let mut runs = Runs::default();
        assert!(runs.add(SegmentIndex(0), Blocks(0b1011 | 1 << 63)));
        assert!(runs.add(SegmentIndex(1), Blocks(0b1)));
        assert!(runs.add(SegmentIndex(2), Blocks::NONE));
        assert_eq!(runs.blocks, 5);
        assert_eq!(runs.runs, [0..2, 3..4, 63..65]);
        let mut all = Runs::default();
        assert!(all.add(SegmentIndex(3), Blocks(u64::MAX)));
        assert_eq!(all.runs.as_slice(), std::slice::from_ref(&(192..256)));
    }

    #[test]
    fn runs_are_bounded() {
        let mut runs = Runs::default();
        let every_other = Blocks(0x5555_5555_5555_5555);
        let told = (0..40)
            .map(SegmentIndex)
            .map(|segment| runs.add(segment, every_other));
        assert_eq!(told.filter(|told| !told).count(), 9);
        assert_eq!(runs.runs.len(), MAX_RUNS);
        assert_eq!(runs.blocks, 40 * 32);
    }
}
