//! The bytes of a segment file. `docs/disk-format.md` describes them; whoever changes one of them
//! makes a new version, and the test of golden bytes sees to that.
//!
//! Nothing in here touches a file: values to bytes, and bytes that anybody may have written to
//! values.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::cache::BLOCKS_PER_SEGMENT;
use crate::cache::BlockIndex;
use crate::cache::BlockSize;
use crate::cache::Blocks;
use crate::cache::ObjectName;
use crate::cache::ObjectVersion;
use crate::cache::SegmentId;
use crate::cache::SegmentIndex;
use crate::s3::Bucket;
use crate::s3::ETag;
use crate::s3::Key;

/// The format of everything below the directory of its number.
pub(super) const FORMAT_VERSION: u32 = 1;

/// Before the first block: one page, so that one read of it tells everything about a segment.
pub(super) const HEAD_BYTES: usize = 4096;

/// Where the table of blocks stands in the head.
const TABLE_AT: usize = HEAD_BYTES - PLACES * ENTRY_BYTES;

const PLACES: usize = 64;
const _: () = assert!(PLACES as u64 == BLOCKS_PER_SEGMENT);
const ENTRY_BYTES: usize = 16;
const MAGIC: [u8; 8] = *b"S3PXSEGM";

/// A file system gives space in pages.
const PAGE: u64 = 4096;

/// How the blocks of a segment lie in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    block_size: BlockSize,
    segment: SegmentIndex,
    object_size: u64,
}

/// What the table says of one block; no length means that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entry {
    pub(super) length: u32,
    pub(super) checksum: u64,
}

/// What the table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table(Box<[Entry; PLACES]>);

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: ObjectVersion,
    pub(super) segment: SegmentIndex,
    pub(super) block_size: BlockSize,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// None was written yet.
    Blank,
    /// It is torn, or not one of ours.
    Foreign,
}

/// Binds checksums to the place of their block: what is moved elsewhere is wrong there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seal(SegmentId);

impl Layout {
    /// Of one segment of a version.
    pub(super) fn new(version: &ObjectVersion, segment: SegmentIndex, size: BlockSize) -> Self {
        Self {
            block_size: size,
            segment,
            object_size: version.size,
        }
    }

    /// Where a block begins.
    pub(super) fn offset(self, place: u32) -> u64 {
        HEAD_BYTES as u64 + u64::from(place) * self.block_size.bytes()
    }

    /// How long the block has to be; 0 when the object has none there.
    pub(super) fn length(self, place: u32) -> u64 {
        let block = BlockIndex(self.segment.first_block().0 + u64::from(place));
        let bytes = self.block_size.bytes_of(block, self.object_size);
        bytes.end - bytes.start
    }

    /// How long a run of blocks has to be.
    pub(super) fn run_length(self, places: &Range<u32>) -> u64 {
        places.clone().map(|place| self.length(place)).sum()
    }

    /// How many blocks the segment has.
    pub(super) fn places(self) -> u32 {
        let begin = self.block_size.start_of(self.segment.first_block());
        let left = self.object_size.saturating_sub(begin);
        // At most 64.
        left.div_ceil(self.block_size.bytes())
            .min(BLOCKS_PER_SEGMENT) as u32
    }

    /// What a file with these blocks occupies.
    pub(super) fn stored_bytes(self, blocks: Blocks) -> u64 {
        let in_pages = |place| self.length(place).div_ceil(PAGE) * PAGE;
        let stored = (0..self.places()).filter(|&place| blocks.has(place));
        HEAD_BYTES as u64 + stored.map(in_pages).sum::<u64>()
    }
}

impl Seal {
    /// For the blocks of a segment.
    pub(super) fn new(segment: SegmentId) -> Self {
        Self(segment)
    }

    /// The checksum of a block.
    pub(super) fn checksum(self, place: u32, block: &[u8]) -> u64 {
        xxh3_64_with_seed(block, self.seed(place))
    }

    fn seed(self, place: u32) -> u64 {
        let mut bound = [0; 24];
        bound[..16].copy_from_slice(self.0.version.as_bytes());
        bound[16..20].copy_from_slice(&self.0.index.0.to_le_bytes());
        bound[20..].copy_from_slice(&place.to_le_bytes());
        xxh3_64(&bound)
    }

    /// Tells an entry that was written from one that is torn.
    fn guard(self, place: u32, entry: Entry) -> u32 {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&entry.length.to_le_bytes());
        bytes[4..].copy_from_slice(&entry.checksum.to_le_bytes());
        // The upper half: any 32 bits of it would do.
        (xxh3_64_with_seed(&bytes, self.seed(place)) >> 32) as u32
    }

    fn encode(self, place: u32, entry: Entry) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        if entry.length > 0 {
            bytes[..4].copy_from_slice(&entry.length.to_le_bytes());
            bytes[4..8].copy_from_slice(&self.guard(place, entry).to_le_bytes());
            bytes[8..].copy_from_slice(&entry.checksum.to_le_bytes());
        }
        bytes
    }

    fn decode(self, place: u32, bytes: &[u8]) -> Entry {
        let mut fields = Fields(bytes);
        let (Some(length), Some(guard), Some(checksum)) =
            (fields.word(), fields.word(), fields.long())
        else {
            return Entry::default();
        };
        let entry = Entry { length, checksum };
        if length > 0 && self.guard(place, entry) == guard {
            entry
        } else {
            Entry::default()
        }
    }
}

impl Table {
    /// Without blocks.
    pub(super) fn empty() -> Self {
        Self(Box::new([Entry::default(); PLACES]))
    }

    /// From the head of a file. Entries that are torn, or of another length than the block has, are
    /// none.
    pub(super) fn decode(head: &[u8], seal: Seal, layout: Layout) -> Self {
        let mut table = Self::empty();
        let entries = head.get(TABLE_AT..).unwrap_or_default();
        for (place, bytes) in (0..layout.places()).zip(entries.chunks_exact(ENTRY_BYTES)) {
            let entry = seal.decode(place, bytes);
            if u64::from(entry.length) == layout.length(place) {
                table.0[place as usize] = entry;
            }
        }
        table
    }

    /// Which blocks are stored.
    pub(super) fn blocks(&self) -> Blocks {
        let bits = self.0.iter().enumerate();
        Blocks(bits.fold(0, |bits, (place, entry)| {
            bits | u64::from(entry.length > 0) << place
        }))
    }

    /// What is said of one block.
    pub(super) fn entry(&self, place: u32) -> Entry {
        self.0.get(place as usize).copied().unwrap_or_default()
    }

    /// Notes blocks that were written.
    pub(super) fn set(&mut self, first: u32, entries: &[Entry]) {
        for (known, new) in self.0.iter_mut().skip(first as usize).zip(entries) {
            *known = *new;
        }
    }
}

/// Where the entries from a place on stand in the file, and their bytes.
pub(super) fn encode_entries(seal: Seal, first: u32, entries: &[Entry]) -> (u64, Vec<u8>) {
    let bytes = (first..).zip(entries);
    let bytes = bytes.flat_map(|(place, &entry)| seal.encode(place, entry));
    let offset = TABLE_AT as u64 + u64::from(first) * ENTRY_BYTES as u64;
    (offset, bytes.collect())
}

/// The header of a segment of a version. Every process writes the same bytes. `None` when the names
/// do not fit.
pub(super) fn encode_header(
    version: &ObjectVersion,
    segment: SegmentIndex,
    block_size: BlockSize,
) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(block_size.bytes()).ok()?.to_le_bytes());
    bytes.extend_from_slice(&segment.0.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&version.size.to_le_bytes());
    put_name(&mut bytes, &version.object)?;
    put_text(&mut bytes, version.etag.as_str())?;
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    (bytes.len() <= TABLE_AT).then_some(bytes)
}

/// Reads a header that anybody may have written.
pub(super) fn decode_header(head: &[u8]) -> Result<Header, HeaderError> {
    let header = &head[..head.len().min(TABLE_AT)];
    if header.iter().all(|&byte| byte == 0) {
        return Err(HeaderError::Blank);
    }
    parse_header(header).ok_or(HeaderError::Foreign)
}

fn parse_header(bytes: &[u8]) -> Option<Header> {
    let mut fields = Fields(bytes);
    let is_ours = fields.take(8)? == MAGIC && fields.word()? == FORMAT_VERSION;
    let block_size = BlockSize::new(u64::from(fields.word()?)).filter(|_| is_ours)?;
    let segment = SegmentIndex(fields.word()?);
    let has_no_flags = fields.word()? == 0;
    let size = fields.long()?;
    let object = fields.name()?;
    let etag = ETag::parse(fields.text()?).filter(|_| has_no_flags)?;
    let covered = &bytes[..bytes.len() - fields.0.len()];
    let is_whole = fields.long()? == xxh3_64(covered);
    is_whole.then(|| Header {
        version: ObjectVersion::new(object, etag, size),
        segment,
        block_size,
    })
}

/// Writes the name of an object: each part with its length before it.
pub(super) fn put_name(bytes: &mut Vec<u8>, object: &ObjectName) -> Option<()> {
    put_text(bytes, &object.origin)?;
    put_text(bytes, object.bucket.as_str())?;
    put_text(bytes, object.key.as_str())
}

fn put_text(bytes: &mut Vec<u8>, text: &str) -> Option<()> {
    bytes.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    Some(())
}

/// What is left of bytes that are read field by field.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// So many bytes.
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// 32 bits.
    pub(super) fn word(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// 64 bits.
    pub(super) fn long(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// A text with its length before it.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.word()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// The name of an object.
    pub(super) fn name(&mut self) -> Option<ObjectName> {
        Some(ObjectName {
            origin: self.text()?.into(),
            bucket: Bucket::new(self.text()?).ok()?,
            key: Key::new(self.text()?).ok()?,
        })
    }
}
