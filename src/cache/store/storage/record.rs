//! What is kept of a response beside its bytes: where these lie, and its `CacheMeta`.
//!
//! `docs/disk-format.md` describes the blob that goes to disk.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use pingora::Result;
use pingora_cache::CacheMeta;

use super::body::Body;
use super::body::Extent;
use super::body::WriteId;
use super::key::EntryId;
use crate::cache::Store;

/// The format of a blob.
const FORMAT: u32 = 1;

/// Before the serialized meta: format, write, length, extent, length of the meta's first part.
const FIXED_BYTES: usize = 4 + 16 + 8 + 4 + 4;

/// What a record takes in memory beside its meta.
const OVERHEAD: usize = 512;

/// One stored response.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) body: Arc<Body>,
    /// In bytes.
    pub(super) length: u64,
    pub(super) meta: Serialized,
    /// Whether all of it has gone to disk, as far as it goes there at all.
    pub(super) has_landed: AtomicBool,
}

/// A `CacheMeta` as it is kept: Pingora's two parts of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Serialized {
    internal: Bytes,
    header: Bytes,
}

impl Serialized {
    pub(super) fn of(meta: &CacheMeta) -> Result<Self> {
        let (internal, header) = meta.serialize()?;
        Ok(Self {
            internal: internal.into(),
            header: header.into(),
        })
    }

    pub(super) fn meta(&self) -> Result<CacheMeta> {
        CacheMeta::deserialize(&self.internal, &self.header)
    }

    fn len(&self) -> usize {
        self.internal.len() + self.header.len()
    }
}

impl Record {
    /// The same response under another meta.
    pub(super) fn with_meta(&self, meta: Serialized) -> Self {
        Self {
            body: Arc::clone(&self.body),
            length: self.length,
            meta,
            has_landed: AtomicBool::new(self.has_landed.load(Ordering::Acquire)),
        }
    }

    /// What it takes in memory, without its body.
    pub(super) fn weight(&self) -> u64 {
        (self.meta.len() + OVERHEAD) as u64
    }

    /// What it takes altogether, as an eviction manager counts.
    pub(super) fn stored_bytes(&self) -> usize {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        length.saturating_add(self.meta.len())
    }

    /// As it goes to disk.
    pub(super) fn encode(&self) -> Bytes {
        let Serialized { internal, header } = &self.meta;
        let mut blob = Vec::with_capacity(FIXED_BYTES + self.meta.len());
        blob.extend_from_slice(&FORMAT.to_le_bytes());
        blob.extend_from_slice(&self.body.write.0);
        blob.extend_from_slice(&self.length.to_le_bytes());
        blob.extend_from_slice(&u32::from(self.body.extent == Extent::Open).to_le_bytes());
        // A meta that long is refused by the disk tier.
        let split = u32::try_from(internal.len()).unwrap_or(u32::MAX);
        blob.extend_from_slice(&split.to_le_bytes());
        blob.extend_from_slice(internal);
        blob.extend_from_slice(header);
        blob.into()
    }

    /// Reads a blob that anybody may have written.
    pub(super) fn decode(store: &Arc<Store>, entry: EntryId, blob: &Bytes) -> Option<Self> {
        let (format, rest) = blob.split_first_chunk()?;
        let (write, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (extent, rest) = rest.split_first_chunk()?;
        let (split, rest) = rest.split_first_chunk()?;
        let length = u64::from_le_bytes(*length);
        let extent = match u32::from_le_bytes(*extent) {
            0 => Extent::Exact(length),
            1 => Extent::Open,
            _ => return None,
        };
        let split = usize::try_from(u32::from_le_bytes(*split)).ok()?;
        let fits = split <= rest.len() && length <= extent.bytes(store.block_size());
        let is_ours = u32::from_le_bytes(*format) == FORMAT && fits;
        is_ours.then(|| Self {
            body: Arc::new(Body::new(store, entry, WriteId(*write), extent, length)),
            length,
            meta: Serialized {
                internal: blob.slice(FIXED_BYTES..FIXED_BYTES + split),
                header: blob.slice(FIXED_BYTES + split..),
            },
            has_landed: AtomicBool::new(true),
        })
    }
}
