//! Random lives of a tier beside a plain model of it: what is read is right, was written, and was
//! not deleted since.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tokio::runtime::Builder;

use super::*;

/// Objects of the model: two versions of one key, and another bucketful of one.
const VERSIONS: [(&str, &str, u64); 4] = [
    ("a", "1", 150 * BLOCK + 7),
    ("a", "2", 150 * BLOCK + 7),
    ("b/1", "1", 3 * BLOCK),
    ("b/2", "1", 70 * BLOCK - 1),
];

#[derive(Debug, Clone)]
enum Step {
    Write {
        which: usize,
        first: u64,
        count: u64,
    },
    Read {
        which: usize,
        first: u64,
        count: u64,
    },
    Look {
        which: usize,
        segment: u32,
    },
    Forget {
        which: usize,
    },
    PurgeKey {
        which: usize,
    },
    PurgePrefix,
    Flush,
    Reopen {
        indexed: bool,
    },
    /// Another process deletes a file.
    Lose {
        nth: usize,
    },
    WriteMeta {
        id: u8,
        blob: u8,
    },
    RemoveMeta {
        id: u8,
    },
    ReadMeta {
        id: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let run = || (0..VERSIONS.len(), 0..151_u64, 1..64_u64);
    let step = prop_oneof![
        8 => run().prop_map(|(which, first, count)| Step::Write { which, first, count }),
        8 => run().prop_map(|(which, first, count)| Step::Read { which, first, count }),
        2 => (0..VERSIONS.len(), 0..3_u32).prop_map(|(which, segment)| Step::Look { which, segment }),
        1 => (0..VERSIONS.len()).prop_map(|which| Step::Forget { which }),
        1 => (0..VERSIONS.len()).prop_map(|which| Step::PurgeKey { which }),
        1 => Just(Step::PurgePrefix),
        4 => Just(Step::Flush),
        1 => any::<bool>().prop_map(|indexed| Step::Reopen { indexed }),
        1 => (0..8_usize).prop_map(|nth| Step::Lose { nth }),
        2 => (0..3_u8, any::<u8>()).prop_map(|(id, blob)| Step::WriteMeta { id, blob }),
        1 => (0..3_u8).prop_map(|id| Step::RemoveMeta { id }),
        2 => (0..3_u8).prop_map(|id| Step::ReadMeta { id }),
    ];
    prop::collection::vec(step, 1..60)
}

/// What may be stored, and what has to be.
#[derive(Default)]
struct Model {
    /// Written and not deleted since.
    may: BTreeSet<(usize, u64)>,
    /// The same, and nothing happened that excuses a miss.
    must: BTreeSet<(usize, u64)>,
    metas: [Option<u8>; 3],
}

struct Life {
    config: DiskConfig,
    tier: Arc<DiskTier>,
    versions: Vec<Arc<ObjectVersion>>,
    model: Model,
    /// Nothing is evicted: what was written and flushed is there.
    is_roomy: bool,
}

impl Life {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Write {
                which,
                first,
                count,
            } => self.write(which, first, count),
            Step::Read {
                which,
                first,
                count,
            } => self.read(which, first, count).await,
            Step::Look { which, segment } => self.look(which, segment).await,
            Step::Forget { which } => {
                self.tier.forget(&self.versions[which]);
                self.delete(|other| other == which);
            }
            Step::PurgeKey { which } => {
                let object = self.versions[which].object.clone();
                let purged = self.tier.purge(&PurgeScope::Key(object.clone())).await;
                assert_eq!(purged.failures, 0);
                let versions = self.versions.clone();
                self.delete(|other| versions[other].object == object);
            }
            Step::PurgePrefix => {
                let scope = PurgeScope::Prefix {
                    origin: "origin".into(),
                    bucket: Bucket::new("lake").unwrap(),
                    prefix: "b/".to_owned(),
                };
                self.tier.purge(&scope).await;
                self.delete(|other| other >= 2);
            }
            Step::Flush => {
                self.tier.flush().await;
                if self.is_roomy {
                    self.model.must = self.model.may.clone();
                }
            }
            Step::Reopen { indexed } => {
                self.tier.flush().await;
                if self.is_roomy {
                    self.model.must = self.model.may.clone();
                }
                self.tier = if indexed {
                    open_indexed(self.config.clone()).await
                } else {
                    open(self.config.clone())
                };
            }
            Step::Lose { nth } => {
                let files = files_below(&self.config.dir.join("v1/segments"));
                if let Some(file) = files.get(nth) {
                    let lost = std::fs::remove_file(file);
                    // Unless the tier has just deleted it itself: evicted, or forgotten.
                    assert!(lost.is_ok() || !file.exists(), "{lost:?}");
                    // Which object it was is not told.
                    self.model.must.clear();
                    self.is_roomy = false;
                }
            }
            Step::WriteMeta { id, blob } => {
                let bytes = vec![blob; usize::from(blob)].into();
                assert!(self.tier.write_meta(MetaId([id; 16]), None, bytes).await);
                self.model.metas[usize::from(id)] = Some(blob);
            }
            Step::RemoveMeta { id } => {
                assert!(self.tier.remove_meta(MetaId([id; 16])).await);
                self.model.metas[usize::from(id)] = None;
            }
            Step::ReadMeta { id } => {
                let found = self.tier.read_meta(MetaId([id; 16])).await;
                let wanted = self.model.metas[usize::from(id)];
                let wanted = wanted.map(|blob| Bytes::from(vec![blob; usize::from(blob)]));
                // Metas are small, but the smallest tier evicts them too.
                assert!(found == wanted || found.is_none() && !self.is_roomy);
            }
        }
        assert_eq!(self.tier.counters().checksum_failures.get(), 0);
        assert_eq!(self.tier.counters().errors.get(), 0);
    }

    fn blocks(&self, which: usize) -> u64 {
        self.versions[which].size.div_ceil(BLOCK)
    }

    fn write(&mut self, which: usize, first: u64, count: u64) {
        let end = (first + count)
            .min(self.blocks(which))
            .min((first / 64 + 1) * 64);
        if first < end {
            write(&self.tier, &self.versions[which], first..end);
            self.model
                .may
                .extend((first..end).map(|block| (which, block)));
        }
    }

    async fn read(&mut self, which: usize, first: u64, count: u64) {
        // It checks the bytes.
        let found = read(&self.tier, &self.versions[which], first..first + count).await;
        for block in first..first + found {
            assert!(self.model.may.contains(&(which, block)), "{which} {block}");
        }
        let end = (first + count).min((first / 64 + 1) * 64);
        let must = (first..end).take_while(|&block| self.model.must.contains(&(which, block)));
        assert!(
            found >= must.count() as u64,
            "{which} {first} {count}: {found}"
        );
    }

    async fn look(&mut self, which: usize, segment: u32) {
        let found = self
            .tier
            .look(&self.versions[which], SegmentIndex(segment))
            .await;
        for place in 0..64 {
            let block = (which, u64::from(segment) * 64 + u64::from(place));
            let (may, must) = (&self.model.may, &self.model.must);
            assert!(
                found.has(place) || !must.contains(&block),
                "{block:?} is not there"
            );
            assert!(
                !found.has(place) || may.contains(&block) || !self.is_roomy,
                "{block:?}"
            );
        }
    }

    fn delete(&mut self, is_deleted: impl Fn(usize) -> bool) {
        self.model.may.retain(|&(which, _)| !is_deleted(which));
        self.model.must.retain(|&(which, _)| !is_deleted(which));
    }
}

fn live(steps: Vec<Step>, capacity: u64, is_roomy: bool) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = folder();
        let config = DiskConfig {
            capacity: Some(capacity),
            open_files: 2,
            ..config(dir.path())
        };
        let mut life = Life {
            tier: open(config.clone()),
            config,
            versions: VERSIONS
                .map(|(key, etag, size)| version(key, etag, size))
                .into(),
            model: Model::default(),
            is_roomy,
        };
        for step in steps {
            life.step(step).await;
        }
        life.tier.flush().await;
        if !life.is_roomy {
            // Wherever it was small, it was small on disk.
            assert!(life.tier.counters().bytes.get() <= capacity);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_roomy_tier_is_its_model(steps in steps()) {
        live(steps, 1 << 30, true);
    }

    #[test]
    fn a_small_tier_has_nothing_that_its_model_has_not(steps in steps()) {
        live(steps, 20 * BLOCK, false);
    }
}
