//! Going through the directory: to find out what is stored, and to purge.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use rustix::io::Errno;

use super::MetaId;
use super::core::Call;
use super::core::Core;
use super::core::Stored;
use super::file;
use super::file::Segment;
use super::format;
use super::format::Header;
use super::format::HeaderError;
use super::format::Seal;
use super::format::Table;
use super::health::Fault;
use super::names;
use crate::cache::Blocks;
use crate::cache::ObjectName;
use crate::cache::SegmentId;
use crate::cache::VersionId;
use crate::cache::store::PurgeScope;
use crate::cache::store::Purged;

/// A file that is nothing yet may become something: another process makes one.
const SETTLED_AFTER: u64 = 10;

/// What a segment's file says of itself.
struct Contents {
    segment: Segment,
    blocks: Blocks,
}

/// What is found where a segment should be.
enum Seen {
    Contents(Contents),
    /// No file.
    Nothing,
    /// A file that nothing was written to yet, or whose beginning was lost.
    Blank,
    /// Not a segment of ours.
    Stray,
}

impl Core {
    /// Lists the directory: learns what is there, forgets what is not, deletes what is no part of
    /// the cache. False when it could not be listed, or was told to stop.
    pub(super) fn scan(&self, go_on: impl Fn() -> bool) -> bool {
        let listing = self.listing.fetch_add(1, Ordering::Relaxed) + 1;
        let root = self.root();
        if let Err(error) = self.scan_top() {
            self.failed(Fault::of_read(error), Some(error));
            return false;
        }
        for (progress, fan) in (1..).zip(names::fans()) {
            if !go_on() {
                return false;
            }
            let listed = self
                .scan_segments(&fan, listing)
                .and_then(|()| self.scan_metas(&fan, listing));
            if let Err(error) = listed {
                self.failed(Fault::of_read(error), Some(error));
                return false;
            }
            if !self.counters.is_indexed() {
                self.counters.index_progress.set(progress);
            }
            self.bound_metas();
            self.evict_until_fits();
        }
        if !Arc::ptr_eq(&root, &self.root()) {
            // The directory was replaced meanwhile: half of this was seen in another one.
            return false;
        }
        self.forget_unseen(listing);
        self.counters.scans.add(1);
        self.counters.set_indexed(true);
        self.show();
        true
    }

    /// What lies beside the directories was left by a process that was killed.
    fn scan_top(&self) -> rustix::io::Result<()> {
        for name in self.root().list(".")? {
            self.delete_stray(&name)?;
        }
        Ok(())
    }

    fn scan_segments(&self, fan: &str, listing: u32) -> rustix::io::Result<()> {
        let dir = format!("{}/{fan}", names::SEGMENTS);
        for name in self.root().list(&dir)? {
            let path = format!("{dir}/{name}");
            match names::parse_segment(fan, &name, self.config.block_size) {
                Some(id) if self.index.see(id, listing) => {}
                Some(id) => self.scan_segment(id, &path)?,
                None => self.delete_stray(&path)?,
            }
        }
        Ok(())
    }

    fn scan_segment(&self, id: SegmentId, path: &str) -> rustix::io::Result<()> {
        let _lock = self.lock(Stored::Segment(id));
        match self.inspect(id, path) {
            Ok(Seen::Contents(found)) if !found.blocks.is_empty() => {
                self.learn(&found.segment, found.blocks);
                Ok(())
            }
            // One without blocks is new, or was left behind.
            Ok(Seen::Contents(_) | Seen::Blank | Seen::Stray) => self.delete_stray(path),
            Ok(Seen::Nothing) => Ok(()),
            Err(error) if is_of_one_file(error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn scan_metas(&self, fan: &str, listing: u32) -> rustix::io::Result<()> {
        let dir = format!("{}/{fan}", names::METAS);
        for name in self.root().list(&dir)? {
            let path = format!("{dir}/{name}");
            match names::parse_meta(fan, &name) {
                Some(id) if self.index.see_meta(id, listing) => {}
                Some(id) => {
                    let _lock = self.lock(Stored::Meta(id));
                    match self.root().changed_at(&path) {
                        Ok((_, length)) => self.learn_meta(id, length),
                        Err(Errno::NOENT) => {}
                        Err(error) => return Err(error),
                    }
                }
                // Possibly one that is being written.
                None => self.delete_stray(&path)?,
            }
        }
        Ok(())
    }

    /// Reads the head of a file and compares it with its name.
    fn inspect(&self, id: SegmentId, path: &str) -> rustix::io::Result<Seen> {
        self.attempt(Call::Read)?;
        let fd = match self.root().open_file(path, false) {
            Err(Errno::NOENT) => return Ok(Seen::Nothing),
            Err(Errno::LOOP) => return Ok(Seen::Stray),
            opened => opened?,
        };
        let head = file::read_head(&fd)?;
        let header = match format::decode_header(&head) {
            Ok(header) => header,
            Err(HeaderError::Blank) => return Ok(Seen::Blank),
            Err(HeaderError::Foreign) => return Ok(Seen::Stray),
        };
        let Header {
            version,
            segment: index,
            block_size,
        } = header;
        let segment = Segment {
            version: Arc::new(version),
            index,
            block_size,
        };
        if segment.id() != id || block_size != self.config.block_size {
            return Ok(Seen::Stray);
        }
        let table = Table::decode(&head, Seal::new(id), segment.layout());
        Ok(Seen::Contents(Contents {
            blocks: table.blocks(),
            segment,
        }))
    }

    /// Deletes a file that is no part of the cache, unless it was written just now: another process
    /// may be about to make something of it.
    fn delete_stray(&self, path: &str) -> rustix::io::Result<()> {
        let root = self.root();
        let changed_at = match root.changed_at(path) {
            Ok((changed_at, _)) => Duration::from_secs(changed_at),
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error),
        };
        let now = SystemTime::now();
        let age = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let is_settled = age.saturating_sub(changed_at) >= Duration::from_secs(SETTLED_AFTER);
        // A directory that cannot be written to keeps its strays.
        if is_settled && self.may_write() && root.delete(path)? {
            self.counters.deleted_strays.add(1);
        }
        Ok(())
    }

    /// What this listing did not show was deleted by another process.
    fn forget_unseen(&self, listing: u32) {
        for segment in self.index.unseen_since(listing) {
            let _lock = self.lock(Stored::Segment(segment));
            if !self.index.is_seen_since(segment, listing) {
                self.unlearn(segment);
            }
        }
        for id in self.index.metas_unseen_since(listing) {
            let _lock = self.lock(Stored::Meta(id));
            if !self.index.is_meta_seen_since(id, listing) {
                self.unlearn_meta(id);
            }
        }
    }

    /// Deletes everything in a scope, looking at each file.
    pub(super) fn purge(&self, scope: &PurgeScope) -> Purged {
        let mut purge = Purge {
            core: self,
            scope,
            purged: Purged::default(),
            objects: HashSet::new(),
        };
        for fan in names::fans() {
            purge.segments(&fan);
            purge.metas(&fan);
        }
        // What another process deleted was not listed, and could still be read while it is open.
        self.files.close_deleted();
        self.show();
        purge.purged.objects = purge.objects.len() as u64;
        purge.purged
    }
}

/// A purge that runs.
struct Purge<'a> {
    core: &'a Core,
    scope: &'a PurgeScope,
    purged: Purged,
    /// Hashes of the names of objects that were found.
    objects: HashSet<VersionId>,
}

impl Purge<'_> {
    fn segments(&mut self, fan: &str) {
        let dir = format!("{}/{fan}", names::SEGMENTS);
        for name in self.list(&dir) {
            let path = format!("{dir}/{name}");
            let Some(id) = names::parse_segment(fan, &name, self.core.config.block_size) else {
                // Of blocks of another length, or nobody's. Either way it is of no use.
                let deleted = self.core.root().delete(&path);
                self.note(deleted.map(|_| ()));
                continue;
            };
            let purged = self.segment(id, &path);
            self.note(purged);
        }
    }

    fn segment(&mut self, id: SegmentId, path: &str) -> rustix::io::Result<()> {
        let core = self.core;
        let _lock = core.lock(Stored::Segment(id));
        let found = match core.inspect(id, path)? {
            Seen::Contents(found) => found,
            Seen::Nothing => return Ok(()),
            Seen::Blank => return core.delete_stray(path),
            // It may hold bytes of what is purged, and is of no use to anybody.
            Seen::Stray => return core.delete_locked(id).map(|_| ()),
        };
        let object = &found.segment.version.object;
        if self.scope.covers(object) && core.delete_locked(id)? {
            self.objects.insert(hash_of(object));
            self.purged.segments += 1;
            self.purged.bytes += found.segment.layout().stored_bytes(found.blocks);
        }
        Ok(())
    }

    fn metas(&mut self, fan: &str) {
        let dir = format!("{}/{fan}", names::METAS);
        for name in self.list(&dir) {
            if let Some(id) = names::parse_meta(fan, &name) {
                let purged = self.meta(id);
                self.note(purged);
            }
        }
    }

    fn meta(&mut self, id: MetaId) -> rustix::io::Result<()> {
        let Some(meta) = self.core.load_meta(id)? else {
            return Ok(());
        };
        if let Some(object) = meta.object.filter(|object| self.scope.covers(object)) {
            self.core.delete_meta(id)?;
            self.objects.insert(hash_of(&object));
        }
        Ok(())
    }

    fn list(&mut self, dir: &str) -> Vec<String> {
        let listed = self.core.root().list(dir);
        match listed {
            Ok(names) => names,
            Err(error) => {
                self.note(Err(error));
                Vec::new()
            }
        }
    }

    fn note(&mut self, outcome: rustix::io::Result<()>) {
        if let Err(error) = outcome {
            self.purged.failures += 1;
            log::debug!("disk cache: purging: {error}");
        }
    }
}

fn hash_of(object: &ObjectName) -> VersionId {
    VersionId::of(&[
        object.origin.as_bytes(),
        object.bucket.as_str().as_bytes(),
        object.key.as_str().as_bytes(),
    ])
}

/// Whether an error says something of one file, and nothing of the directory.
fn is_of_one_file(error: Errno) -> bool {
    matches!(
        error,
        Errno::IO | Errno::ACCESS | Errno::PERM | Errno::ISDIR
    )
}
