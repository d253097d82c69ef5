//! One open segment file.

use std::io::IoSliceMut;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::RwLock;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::io::ReadWriteFlags;

use super::format;
use super::format::Entry;
use super::format::HEAD_BYTES;
use super::format::Layout;
use super::format::Seal;
use super::format::Table;
use super::names;
use super::root::Root;
use super::root::write_all;
use crate::cache::BlockSize;
use crate::cache::Blocks;
use crate::cache::ObjectVersion;
use crate::cache::SegmentId;
use crate::cache::SegmentIndex;

/// A segment's file whose header was compared with the key.
#[derive(Debug)]
pub(super) struct SegmentFile {
    fd: OwnedFd,
    version: Arc<ObjectVersion>,
    is_writable: bool,
    layout: Layout,
    seal: Seal,
    /// As it was read or written last. Entries only come: what another process adds is found by
    /// reading it again, and what one takes away has a checksum that is wrong.
    table: RwLock<Table>,
    used_lately: AtomicBool,
}

/// Which file is meant.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) version: Arc<ObjectVersion>,
    pub(super) index: SegmentIndex,
    pub(super) block_size: BlockSize,
}

/// What a name leads to.
#[derive(Debug)]
pub(super) enum Found {
    /// The segment's file.
    File(SegmentFile),
    /// Nothing, or a file that nothing was written to yet.
    Nothing,
    /// Something else: torn, or another's.
    Foreign,
}

/// What came of reading blocks.
#[derive(Debug)]
pub(super) struct Run {
    /// The blocks that are good, from the first one on.
    pub(super) bytes: Bytes,
    /// The one after them, if it is not what was written.
    pub(super) damaged: Option<u32>,
}

enum Judged {
    Ours(Table),
    Blank,
    Foreign,
}

impl Segment {
    pub(super) fn id(&self) -> SegmentId {
        self.version.segment(self.index)
    }

    pub(super) fn path(&self) -> String {
        names::segment_path(self.id(), self.block_size)
    }

    pub(super) fn layout(&self) -> Layout {
        Layout::new(&self.version, self.index, self.block_size)
    }

    fn header(&self) -> Option<Vec<u8>> {
        format::encode_header(&self.version, self.index, self.block_size)
    }
}

impl SegmentFile {
    /// Opens the file of a segment, if there is one.
    pub(super) fn find(
        root: &Root,
        segment: &Segment,
        writable: bool,
    ) -> rustix::io::Result<Found> {
        let fd = match root.open_file(&segment.path(), writable) {
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(Errno::LOOP) => return Ok(Found::Foreign),
            opened => opened?,
        };
        let Some(header) = segment.header() else {
            return Ok(Found::Nothing);
        };
        Ok(match judge(segment, &header, &read_head(&fd)?) {
            Judged::Ours(table) => Found::File(Self::new(fd, segment, writable, table)),
            Judged::Blank => Found::Nothing,
            Judged::Foreign => Found::Foreign,
        })
    }

    /// Opens the file of a segment for reading, if its name and its head are in memory: never waits for the disk.
    pub(super) fn find_at_once(root: &Root, segment: &Segment) -> Option<Self> {
        let header = segment.header()?;
        let fd = root.open_file_at_once(&segment.path()).ok()?;
        let head = pread_at_once(&fd, HEAD_BYTES, 0).ok()??;
        match judge(segment, &header, &head) {
            Judged::Ours(table) => Some(Self::new(fd, segment, false, table)),
            Judged::Blank | Judged::Foreign => None,
        }
    }

    /// Opens the file of a segment and makes it when there is none. `None` when the key does not
    /// fit into a header.
    pub(super) fn make(root: &Root, segment: &Segment) -> rustix::io::Result<Option<Self>> {
        let Some(header) = segment.header() else {
            return Ok(None);
        };
        let path = segment.path();
        // What is in the way is deleted once. Another process may do the same: its file is as good.
        for _ in 0..2 {
            let fd = root.make_file(&path)?;
            match judge(segment, &header, &read_head(&fd)?) {
                Judged::Ours(table) => return Ok(Some(Self::new(fd, segment, true, table))),
                Judged::Blank => {
                    write_all(&fd, &header, 0)?;
                    return Ok(Some(Self::new(fd, segment, true, Table::empty())));
                }
                Judged::Foreign => root.delete(&path)?,
            };
        }
        Err(Errno::EXIST)
    }

    fn new(fd: OwnedFd, segment: &Segment, is_writable: bool, table: Table) -> Self {
        Self {
            fd,
            version: Arc::clone(&segment.version),
            is_writable,
            layout: segment.layout(),
            seal: Seal::new(segment.id()),
            table: RwLock::new(table),
            used_lately: AtomicBool::new(true),
        }
    }

    /// Whether it holds bytes of this version, and not of one whose hash is the same.
    pub(super) fn is_of(&self, version: &Arc<ObjectVersion>) -> bool {
        Arc::ptr_eq(&self.version, version) || self.version == *version
    }

    pub(super) fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// Whether it was deleted since it was opened.
    pub(super) fn is_deleted(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Whether it was used since this was asked last.
    pub(super) fn take_used(&self) -> bool {
        self.used_lately.swap(false, Ordering::Relaxed)
    }

    pub(super) fn note_use(&self) {
        self.used_lately.store(true, Ordering::Relaxed);
    }

    /// The blocks that the table names.
    pub(super) fn blocks(&self) -> Blocks {
        self.table.read().blocks()
    }

    /// Reads the table again: another process may have added to it.
    pub(super) fn refresh(&self) -> rustix::io::Result<Blocks> {
        let head = read_head(&self.fd)?;
        let table = Table::decode(&head, self.seal, self.layout);
        let blocks = table.blocks();
        *self.table.write() = table;
        Ok(blocks)
    }

    /// Reads blocks that stand next to each other and checks each. Those that the table does not
    /// name, and what follows them, are left out.
    pub(super) fn read(&self, places: Range<u32>) -> rustix::io::Result<Run> {
        let entries = self.entries(places.clone());
        let wanted = total(&entries);
        let mut bytes = Vec::with_capacity(wanted);
        while bytes.len() < wanted {
            let offset = self.layout.offset(places.start) + bytes.len() as u64;
            match rustix::io::pread(&self.fd, spare_capacity(&mut bytes), offset) {
                Ok(0) => break, // the file ends here: what is missing is damaged
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        // The allocator may have given more than was asked for, and the file may go on.
        bytes.truncate(wanted);
        Ok(self.checked(places.start, &entries, bytes))
    }

    /// The same, if all of it is in memory and good: never waits for the disk. An error says that the
    /// file system does not know how.
    pub(super) fn read_at_once(&self, places: Range<u32>) -> rustix::io::Result<Option<Bytes>> {
        let entries = self.entries(places.clone());
        let wanted = total(&entries);
        if wanted == 0 {
            return Ok(None);
        }
        let offset = self.layout.offset(places.start);
        let Some(bytes) = pread_at_once(&self.fd, wanted, offset)? else {
            return Ok(None);
        };
        let run = self.checked(places.start, &entries, bytes);
        Ok(run.damaged.is_none().then_some(run.bytes))
    }

    /// Writes whole blocks from a place on: the bytes first, then what the table says of them.
    pub(super) fn write(&self, first: u32, bytes: &[u8]) -> rustix::io::Result<Blocks> {
        let mut entries = Vec::new();
        let mut rest = bytes;
        let mut place = first;
        while !rest.is_empty() {
            let length = usize::try_from(self.layout.length(place)).map_err(|_| Errno::INVAL)?;
            let (block, next) = rest.split_at_checked(length).ok_or(Errno::INVAL)?;
            let length = u32::try_from(length).ok().filter(|&length| length > 0);
            entries.push(Entry {
                length: length.ok_or(Errno::INVAL)?,
                checksum: self.seal.checksum(place, block),
            });
            rest = next;
            place += 1;
        }
        write_all(&self.fd, bytes, self.layout.offset(first))?;
        self.write_entries(first, &entries)?;
        Ok(Blocks::run(first..place))
    }

    /// Takes a block out of the table if its bytes are still not what was written.
    pub(super) fn clear_if_damaged(&self, place: u32) -> rustix::io::Result<bool> {
        self.refresh()?;
        let is_damaged = self.read(place..place + 1)?.damaged.is_some();
        if is_damaged {
            self.write_entries(place, &[Entry::default()])?;
        }
        Ok(is_damaged)
    }

    fn write_entries(&self, first: u32, entries: &[Entry]) -> rustix::io::Result<()> {
        let (offset, bytes) = format::encode_entries(self.seal, first, entries);
        write_all(&self.fd, &bytes, offset)?;
        self.table.write().set(first, entries);
        Ok(())
    }

    /// What the table says of blocks, up to the first that it does not name.
    fn entries(&self, places: Range<u32>) -> Vec<Entry> {
        let table = self.table.read();
        let entries = places.map(|place| table.entry(place));
        entries.take_while(|entry| entry.length > 0).collect()
    }

    fn checked(&self, first: u32, entries: &[Entry], mut bytes: Vec<u8>) -> Run {
        let mut good = 0;
        let mut damaged = None;
        for (place, entry) in (first..).zip(entries) {
            let end = good + entry.length as usize;
            let is_good = bytes
                .get(good..end)
                .is_some_and(|block| self.seal.checksum(place, block) == entry.checksum);
            if !is_good {
                damaged = Some(place);
                break;
            }
            good = end;
        }
        bytes.truncate(good);
        Run {
            bytes: bytes.into(),
            damaged,
        }
    }
}

/// Compares the head of a file with what it has to be.
fn judge(segment: &Segment, header: &[u8], head: &[u8]) -> Judged {
    if head.iter().take(header.len()).all(|&byte| byte == 0) {
        Judged::Blank
    } else if head.starts_with(header) {
        let seal = Seal::new(segment.id());
        Judged::Ours(Table::decode(head, seal, segment.layout()))
    } else {
        Judged::Foreign
    }
}

/// So many bytes, if all of them are in memory. An error says that the file system does not know how.
fn pread_at_once(fd: &OwnedFd, length: usize, offset: u64) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; length];
    let mut slices = [IoSliceMut::new(&mut bytes)];
    match rustix::io::preadv2(fd, &mut slices, offset, ReadWriteFlags::NOWAIT) {
        Ok(read) if read == length => Ok(Some(bytes)),
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads what stands before the blocks, as far as there is any.
pub(super) fn read_head(fd: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    while head.len() < HEAD_BYTES {
        let offset = head.len() as u64;
        match rustix::io::pread(fd, spare_capacity(&mut head), offset) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(HEAD_BYTES);
    Ok(head)
}

fn total(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.length as usize).sum()
}
