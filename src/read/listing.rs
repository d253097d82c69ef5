//! Pages of ListObjects: what they say of objects is kept while they pass to a client.
//!
//! A page is only looked at. It passes as it is, whether anything can be learned from it or not.

use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use tokio::sync::OwnedSemaphorePermit;

use super::Reader;
use super::ask::ReadAsk;
use super::finding::Found;
use super::tails::ListedFile;
use crate::cache::CacheRules;
use crate::cache::CachedMeta;
use crate::cache::Freshness;
use crate::cache::Judgement;
use crate::cache::Moment;
use crate::cache::ObjectName;
use crate::cache::judge;
use crate::s3::Bucket;
use crate::s3::ObjectMeta;
use crate::s3::listed_objects;

/// A page of 1,000 objects has about 300 KB, one of the longest keys 3 MB.
const MAX_PAGE: usize = 4 << 20;

/// Pages that are read at once; others pass unread.
pub(super) const MAX_PAGES: usize = 8;

/// Files of one page whose tails are fetched, at most.
const MAX_FILES: usize = 1000;

/// A page on its way to a client.
pub struct Harvest {
    reader: Reader,
    origin: Arc<str>,
    bucket: Bucket,
    rules: Arc<CacheRules>,
    asked: SystemTime,
    /// Before the origin was asked: what is written later may be missing in the page.
    moment: Moment,
    place: Option<OwnedSemaphorePermit>,
    page: Vec<u8>,
}

impl Reader {
    /// Begins to read a page along. To be called before the origin is asked for it.
    pub fn harvest(
        &self,
        origin: Arc<str>,
        bucket: Bucket,
        rules: Arc<CacheRules>,
        asked: SystemTime,
    ) -> Harvest {
        Harvest {
            reader: self.clone(),
            origin,
            bucket,
            rules,
            asked,
            moment: self.0.generations.moment(),
            place: None,
            page: Vec::new(),
        }
    }

    /// What a page said of an object that a HEAD asks for, where a rule lets it be answered so; and
    /// for how long it holds.
    pub(super) fn listed(
        &self,
        ask: &ReadAsk,
        before: Option<&Arc<CachedMeta>>,
    ) -> Option<(Found, Duration)> {
        let shared = &self.0;
        let rule = &ask.rule;
        if !ask.is_head || !rule.list_metas || ask.own.is_some() || ask.wants_checksums {
            return None;
        }
        let seed = shared.metas.listed(&ask.object)?;
        let Judgement::Fresh { left } = judge(seed.learned, rule, ask.now) else {
            return None;
        };
        let listed = ObjectMeta::listed(seed.size, seed.etag.clone(), seed.last_modified);
        // What is known of the same version from the origin's own mouth says more.
        let meta = match before {
            Some(before)
                if before.meta.is_same_version(&listed)
                    && before.meta.last_modified == listed.last_modified =>
            {
                before.meta.clone()
            }
            _ => listed,
        };
        let meta = CachedMeta::new(ask.object.clone(), meta, seed.learned, seed.generation);
        let found = Found {
            meta: Arc::new(meta),
            arriving: None,
            is_current: false,
        };
        Some((found, left))
    }
}

impl Harvest {
    /// The answer begins, with this length as far as it is told. False when it is not read along.
    pub fn begin(&mut self, length: Option<u64>) -> bool {
        if length.is_some_and(|length| length > MAX_PAGE as u64) {
            return false;
        }
        let pages = Arc::clone(&self.reader.0.pages);
        self.place = pages.try_acquire_owned().ok();
        self.place.is_some()
    }

    /// A piece passes. False when the page is longer than what is read.
    pub fn take(&mut self, piece: &[u8]) -> bool {
        let fits = self.page.len() + piece.len() <= MAX_PAGE;
        if fits {
            self.page.extend_from_slice(piece);
        }
        fits
    }

    /// The page is complete: keeps what it says of objects that were not written since it was asked
    /// for. Answers the files whose tails a rule wants, and of which nothing else is known.
    pub fn finish(self) -> Vec<ListedFile> {
        let shared = &self.reader.0;
        let mut files = Vec::new();
        for listed in listed_objects(&self.page) {
            let rule = self
                .rules
                .rule_for(self.bucket.as_str(), listed.key.as_str());
            if rule.freshness == Freshness::Bypass {
                continue;
            }
            let name = ObjectName {
                origin: Arc::clone(&self.origin),
                bucket: self.bucket.clone(),
                key: listed.key.clone(),
            };
            if let Some(generation) = shared.generations.since(&name, self.moment) {
                let is_wanted = rule.tail_on_list && rule.tail_on_head && listed.size > 0;
                if is_wanted && files.len() < MAX_FILES && shared.metas.find(&name).is_none() {
                    files.push(ListedFile {
                        object: name.clone(),
                        rule: rule.clone(),
                        size: listed.size,
                    });
                }
                shared.metas.seed(name, listed, self.asked, generation);
            }
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::BlockSize;
    use crate::cache::Store;
    use crate::read::tests::shared;

    #[test]
    fn what_is_read_along_is_bounded() {
        let reader = Reader(shared(Store::new(BlockSize::DEFAULT, 0, None)));
        let harvest = || {
            let bucket = Bucket::new("lake").unwrap();
            reader.harvest(
                "origin".into(),
                bucket,
                Arc::default(),
                SystemTime::UNIX_EPOCH,
            )
        };
        let mut first = harvest();
        assert!(first.begin(None));
        let piece = vec![b' '; MAX_PAGE];
        assert!(first.take(&piece));
        assert!(!first.take(b"<"), "longer than any page");
        let mut others: Vec<_> = (1..MAX_PAGES).map(|_| harvest()).collect();
        assert!(others.iter_mut().all(|other| other.begin(None)));
        assert!(!harvest().begin(None), "as many as there are places");
        drop(others);
        assert!(harvest().begin(Some(MAX_PAGE as u64)));
        assert!(!harvest().begin(Some(MAX_PAGE as u64 + 1)));
    }
}
