//! Metas: small blobs by id, each in a file of its own.
//!
//! Unlike a block, a meta is not determined by its key, so it is written beside and renamed: a
//! reader sees the one before or the new one as a whole. `docs/disk-format.md` describes the bytes.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_64;

use super::MetaId;
use super::core::Call;
use super::core::Core;
use super::core::Stored;
use super::format;
use super::format::FORMAT_VERSION;
use super::format::Fields;
use super::health::Fault;
use super::names;
use super::root::beside;
use super::root::write_all;
use crate::cache::ObjectName;
use crate::cache::Priority;

/// No longer blob is kept: what HeadObject returns has at most some kilobytes.
pub(super) const LONGEST_BLOB: usize = 64 << 10;

/// No longer file is read: the blob, the name of its object, and what stands around them.
const LONGEST_FILE: usize = LONGEST_BLOB + (8 << 10);

const MAGIC: [u8; 8] = *b"S3PXMETA";
const CHECKSUM_BYTES: usize = 8;

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) id: MetaId,
    pub(super) object: Option<ObjectName>,
    pub(super) blob: Bytes,
}

/// The bytes of a meta's file. `None` when they would be too many.
pub(super) fn encode(id: MetaId, object: Option<&ObjectName>, blob: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512 + blob.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::from(object.is_some()).to_le_bytes());
    bytes.extend_from_slice(&id.0);
    if let Some(object) = object {
        format::put_name(&mut bytes, object)?;
    }
    bytes.extend_from_slice(&u32::try_from(blob.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(blob);
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    let fits = blob.len() <= LONGEST_BLOB && bytes.len() <= LONGEST_FILE;
    fits.then_some(bytes)
}

/// Reads the bytes of a file that anybody may have written.
pub(super) fn decode(bytes: &[u8]) -> Option<Meta> {
    let (covered, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
    let is_whole = Fields(checksum).long()? == xxh3_64(covered);
    let mut fields = Fields(covered);
    let is_ours = fields.take(8)? == MAGIC && fields.word()? == FORMAT_VERSION;
    let has_object = fields.word()?;
    let id = MetaId(fields.take(16)?.try_into().ok()?);
    let object = match has_object {
        0 => None,
        _ => Some(fields.name()?),
    };
    let length = usize::try_from(fields.word()?).ok()?;
    let blob = fields.take(length)?;
    (is_whole && is_ours && has_object <= 1 && fields.0.is_empty()).then(|| Meta {
        id,
        object,
        blob: Bytes::copy_from_slice(blob),
    })
}

impl Core {
    /// On a thread for reading: a meta as it was written last.
    pub(super) fn read_meta(&self, id: MetaId) -> Option<Bytes> {
        let is_known = self.index.touch_meta(id);
        if !is_known && self.counters.is_indexed() {
            return None;
        }
        match self.load_meta(id) {
            Ok(Some(meta)) => Some(meta.blob),
            Ok(None) => None,
            Err(error) => {
                self.failed(Fault::of_read(error), Some(error));
                None
            }
        }
    }

    /// Reads a meta's file; one that is not what was written is deleted.
    pub(super) fn load_meta(&self, id: MetaId) -> rustix::io::Result<Option<Meta>> {
        let Some(bytes) = self.read_meta_file(id)? else {
            return Ok(None);
        };
        let meta = decode(&bytes).filter(|meta| meta.id == id);
        if meta.is_none() {
            self.counters.checksum_failures.add(1);
            let _lock = self.lock(Stored::Meta(id));
            // Another one may have taken its place.
            let again = self.read_meta_file(id)?;
            if again.is_some_and(|bytes| decode(&bytes).is_none_or(|meta| meta.id != id)) {
                self.delete_meta_locked(id)?;
            }
        }
        Ok(meta)
    }

    fn read_meta_file(&self, id: MetaId) -> rustix::io::Result<Option<Vec<u8>>> {
        self.attempt(Call::Read)?;
        let file = match self.root().open_file(&names::meta_path(id), false) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::with_capacity(LONGEST_FILE + 1);
        loop {
            let offset = bytes.len() as u64;
            match rustix::io::pread(&file, spare_capacity(&mut bytes), offset) {
                Ok(0) => return Ok(Some(bytes)),
                Ok(_) if bytes.len() > LONGEST_FILE => return Ok(Some(Vec::new())),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// On the thread for metas: keeps one in place of the one before. False when it is not kept.
    pub(super) fn write_meta(&self, id: MetaId, object: Option<&ObjectName>, blob: &[u8]) -> bool {
        let Some(bytes) = encode(id, object, blob) else {
            return false;
        };
        if !self.may_write() || !self.make_room(bytes.len() as u64) {
            return false;
        }
        match self.put_meta(id, &bytes) {
            Ok(()) => {
                self.bound_metas();
                self.evict_until_fits();
                true
            }
            Err(error) => {
                self.failed(Fault::of_write(error), Some(error));
                false
            }
        }
    }

    fn put_meta(&self, id: MetaId, bytes: &[u8]) -> rustix::io::Result<()> {
        self.attempt(Call::Write)?;
        let path = names::meta_path(id);
        let beside = beside(&path);
        let root = self.root();
        let _lock = self.lock(Stored::Meta(id));
        let file = root.make_file(&beside)?;
        let written = write_all(&file, bytes, 0).and_then(|()| root.replace(&beside, &path));
        if let Err(error) = written {
            root.delete(&beside)?;
            return Err(error);
        }
        self.learn_meta(id, bytes.len() as u64);
        Ok(())
    }

    /// Notes a meta that is stored. The caller holds its lock.
    pub(super) fn learn_meta(&self, id: MetaId, length: u64) {
        let weight = length.div_ceil(4096) * 4096;
        let heat = self.policy.insert(Stored::Meta(id), weight, Priority::High);
        let listing = self.listing.load(Ordering::Relaxed);
        self.index.add_meta(id, listing, heat);
    }

    /// Deletes metas beyond the number that is kept.
    pub(super) fn bound_metas(&self) {
        while self.index.metas() > self.config.max_metas {
            // Any: a map's order knows nothing of its keys.
            let Some(id) = self.index.some_meta() else {
                return;
            };
            if let Err(error) = self.delete_meta(id) {
                self.failed(Fault::of_write(error), Some(error));
                return;
            }
            self.counters.evictions.add(1);
        }
    }

    /// On the thread for metas: deletes one. False when it may still be there.
    pub(super) fn remove_meta(&self, id: MetaId) -> bool {
        match self.delete_meta(id) {
            Ok(_) => true,
            Err(error) => {
                self.failed(Fault::of_write(error), Some(error));
                false
            }
        }
    }

    /// Deletes a meta. False when there was none.
    pub(super) fn delete_meta(&self, id: MetaId) -> rustix::io::Result<bool> {
        let _lock = self.lock(Stored::Meta(id));
        self.delete_meta_locked(id)
    }

    /// The same. The caller holds its lock.
    fn delete_meta_locked(&self, id: MetaId) -> rustix::io::Result<bool> {
        self.attempt(Call::Delete)?;
        let deleted = self.root().delete(&names::meta_path(id))?;
        self.unlearn_meta(id);
        Ok(deleted)
    }

    /// Forgets a meta whose file is gone. The caller holds its lock.
    pub(super) fn unlearn_meta(&self, id: MetaId) {
        self.index.remove_meta(id);
        self.policy.remove(&Stored::Meta(id));
        self.show();
    }
}
