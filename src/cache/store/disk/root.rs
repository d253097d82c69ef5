//! The directory: whose it is, and the calls that are made in it, all relative to it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use rustix::fs::Access;
use rustix::fs::AtFlags;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::io::Errno;

use super::DiskError;
use super::format::FORMAT_VERSION;
use super::names;

/// The marker is a tag that programs for backups know and pass over: <https://bford.info/cachedir/>.
const MARKER: &str = "CACHEDIR.TAG";

/// What such a tag begins with.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n";

/// The line that makes it ours.
const OURS: &str = "# s3proxy block cache, format ";

/// No longer marker is ours.
const MARKER_BYTES: usize = 4096;

const PRIVATE_DIR: Mode = Mode::RWXU;
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A directory that was found to be the cache's own, held open.
#[derive(Debug)]
pub(super) struct Root {
    /// Where the files of our format are.
    files: OwnedFd,
    id: DirId,
}

/// Which directory it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DirId {
    device: u64,
    inode: u64,
}

/// How full the file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// In bytes.
    pub(super) size: u64,
    /// Bytes that we may still take.
    pub(super) free: u64,
    /// Files that may still be made; `None` when the file system does not count them.
    pub(super) free_files: Option<u64>,
}

impl Root {
    /// Takes a directory into use: makes it, marks an empty one, and refuses what is not ours.
    pub(super) fn open(dir: &Path) -> Result<Self, DiskError> {
        let failed = |doing, source| failed(dir, doing, source);
        if !exists(dir)? {
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir);
            made.map_err(|error| failed("make", error))?;
        }
        let (fd, id) = open_private(dir)?;
        claim(&fd, dir)?;
        let files = open_files(&fd).map_err(|error| failed("write to", error.into()))?;
        Ok(Self { files, id })
    }

    /// Whether the path still leads to this directory.
    pub(super) fn is_at(&self, dir: &Path) -> bool {
        let still_holds = rustix::fs::fstat(&self.files).is_ok_and(|stat| stat.st_nlink > 0);
        let found = rustix::fs::lstat(dir).map(|stat| DirId {
            device: stat.st_dev,
            inode: stat.st_ino,
        });
        still_holds && found == Ok(self.id)
    }

    /// Opens a file that exists.
    pub(super) fn open_file(&self, path: &str, writable: bool) -> rustix::io::Result<OwnedFd> {
        let access = if writable {
            OFlags::RDWR
        } else {
            OFlags::RDONLY
        };
        rustix::fs::openat(&self.files, path, access | FILE_FLAGS, Mode::empty())
    }

    /// Opens a file for reading, if its name is in memory: never waits for the disk (Linux 5.12 or newer, see
    /// `RESOLVE_CACHED` in openat2(2)).
    pub(super) fn open_file_at_once(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | FILE_FLAGS;
        rustix::fs::openat2(
            &self.files,
            path,
            flags,
            Mode::empty(),
            ResolveFlags::CACHED,
        )
    }

    /// Opens a file, and makes it and the directory that it lies in when there is none.
    pub(super) fn make_file(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | FILE_FLAGS;
        let open = || rustix::fs::openat(&self.files, path, flags, PRIVATE_FILE);
        match open() {
            Err(Errno::NOENT) => {}
            done => return done,
        }
        for (slash, _) in path.match_indices('/') {
            make_dir(&self.files, &path[..slash])?;
        }
        open()
    }

    /// Deletes a file. False when there was none.
    pub(super) fn delete(&self, path: &str) -> rustix::io::Result<bool> {
        match rustix::fs::unlinkat(&self.files, path, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts a file in the place of another at once.
    pub(super) fn replace(&self, from: &str, to: &str) -> rustix::io::Result<()> {
        rustix::fs::renameat(&self.files, from, &self.files, to)
    }

    /// The names of the files in a directory; none when there is no such directory. What is neither
    /// a file nor a text is passed over.
    pub(super) fn list(&self, path: &str) -> rustix::io::Result<Vec<String>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.files, path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            opened => opened?,
        };
        let mut names = Vec::new();
        for entry in Dir::new(fd)? {
            let entry = entry?;
            let may_be_file = matches!(
                entry.file_type(),
                FileType::RegularFile | FileType::Symlink | FileType::Unknown
            );
            if let (true, Ok(name)) = (may_be_file, entry.file_name().to_str())
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// When a file was changed last, in seconds since 1970, and its length.
    pub(super) fn changed_at(&self, path: &str) -> rustix::io::Result<(u64, u64)> {
        let stat = rustix::fs::statat(&self.files, path, AtFlags::SYMLINK_NOFOLLOW)?;
        let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
        Ok((seconds, u64::try_from(stat.st_size).unwrap_or_default()))
    }

    /// Writes a small file, reads it again and deletes it.
    pub(super) fn probe(&self, path: &str) -> rustix::io::Result<()> {
        let written = [0x5a; 4096];
        let file = self.make_file(path)?;
        let mut read = [0; 4096];
        let outcome = write_all(&file, &written, 0).and_then(|()| {
            let length = rustix::io::pread(&file, &mut read[..], 0)?;
            if read[..length] == written {
                Ok(())
            } else {
                Err(Errno::IO)
            }
        });
        self.delete(path)?;
        outcome
    }

    /// How full the file system is.
    pub(super) fn space(&self) -> rustix::io::Result<Space> {
        let found = rustix::fs::fstatvfs(&self.files)?;
        Ok(Space {
            size: found.f_blocks.saturating_mul(found.f_frsize),
            free: found.f_bavail.saturating_mul(found.f_frsize),
            // Some file systems make inodes as they need them and count none.
            free_files: (found.f_files > 0).then_some(found.f_favail),
        })
    }
}

/// No link, no waiting for a pipe, and reading changes nothing.
const FILE_FLAGS: OFlags = OFlags::NOFOLLOW
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOATIME);

/// Whether a directory could be taken into use, as far as that can be told without changing
/// anything.
pub(super) fn check(dir: &Path) -> Result<(), DiskError> {
    let may_write = |path: &Path| {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::access(path, access).map_err(|error| failed(path, "write to", error.into()))
    };
    if !exists(dir)? {
        // It would be made, in the nearest of those above that there is.
        let parent = dir.ancestors().skip(1).find(|above| above.exists());
        return parent.map_or(Ok(()), may_write);
    }
    let (fd, _) = open_private(dir)?;
    match read_marker(&fd).map_err(|error| failed(dir, "read", error.into()))? {
        Some(marker) => check_marker(&marker, dir)?,
        None => refuse_strangers(&fd, dir)?,
    }
    may_write(dir)
}

fn failed(path: &Path, doing: &'static str, source: io::Error) -> DiskError {
    DiskError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// Whether there is a directory, and nothing else.
fn exists(dir: &Path) -> Result<bool, DiskError> {
    match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(dir, "look at", error)),
        Ok(found) if found.is_symlink() => Err(DiskError::Symlink(dir.to_owned())),
        Ok(found) if !found.is_dir() => Err(DiskError::NotADirectory(dir.to_owned())),
        Ok(_) => Ok(true),
    }
}

/// Opens a directory that is ours alone.
fn open_private(dir: &Path) -> Result<(OwnedFd, DirId), DiskError> {
    let failed = |doing, error: Errno| failed(dir, doing, error.into());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, flags, Mode::empty()).map_err(|error| failed("open", error))?;
    // Of what was opened, not of what the path leads to by now.
    let stat = rustix::fs::fstat(&fd).map_err(|error| failed("look at", error))?;
    let us = rustix::process::geteuid().as_raw();
    if stat.st_uid != us {
        return Err(DiskError::ForeignOwner {
            dir: dir.to_owned(),
            owner: stat.st_uid,
            us,
        });
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(DiskError::OpenToOthers {
            dir: dir.to_owned(),
            mode: stat.st_mode & 0o7777,
        });
    }
    let id = DirId {
        device: stat.st_dev,
        inode: stat.st_ino,
    };
    Ok((fd, id))
}

/// Checks the marker, or writes it into an empty directory.
fn claim(fd: &OwnedFd, dir: &Path) -> Result<(), DiskError> {
    let failed = |doing, error: Errno| DiskError::Io {
        doing,
        path: dir.join(MARKER),
        source: error.into(),
    };
    if let Some(marker) = read_marker(fd).map_err(|error| failed("read", error))? {
        return check_marker(&marker, dir);
    }
    if let Err(stranger) = refuse_strangers(fd, dir) {
        // Unless another process made it the cache's in this moment.
        return match read_marker(fd).map_err(|error| failed("read", error))? {
            Some(marker) => check_marker(&marker, dir),
            None => Err(stranger),
        };
    }
    write_marker(fd).map_err(|error| failed("write", error))
}

fn read_marker(fd: &OwnedFd) -> rustix::io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let marker = match rustix::fs::openat(fd, MARKER, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    let mut bytes = vec![0; MARKER_BYTES];
    let length = rustix::io::pread(&marker, &mut bytes[..], 0)?;
    Ok(Some(String::from_utf8_lossy(&bytes[..length]).into_owned()))
}

fn check_marker(marker: &str, dir: &Path) -> Result<(), DiskError> {
    let line = marker
        .strip_prefix(TAG)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_default();
    match line.strip_prefix(OURS) {
        Some(format) if format == FORMAT_VERSION.to_string() => Ok(()),
        Some(format) => Err(DiskError::UnknownFormat {
            dir: dir.to_owned(),
            found: format.chars().take(40).collect(),
        }),
        None => Err(DiskError::NotEmpty {
            dir: dir.to_owned(),
            found: MARKER.to_owned(),
        }),
    }
}

/// A directory without marker has to be empty; what a new file system or another process that just
/// starts puts there does not count.
fn refuse_strangers(fd: &OwnedFd, dir: &Path) -> Result<(), DiskError> {
    let failed = |error: Errno| DiskError::Io {
        doing: "list",
        path: dir.to_owned(),
        source: error.into(),
    };
    for entry in Dir::read_from(fd).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy();
        let is_expected = matches!(name.as_ref(), "." | ".." | "lost+found");
        if !is_expected && !name.starts_with(MARKER) {
            return Err(DiskError::NotEmpty {
                dir: dir.to_owned(),
                found: name.into_owned(),
            });
        }
    }
    Ok(())
}

/// Written beside and renamed, so that nobody ever sees half a marker, and kept before anything
/// else is.
fn write_marker(fd: &OwnedFd) -> rustix::io::Result<()> {
    let beside = beside(MARKER);
    let text = format!(
        "{TAG}{OURS}{FORMAT_VERSION}\n# Objects cached by s3proxy. Nothing here is needed: it may be deleted at any time.\n"
    );
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(fd, beside.as_str(), flags, PRIVATE_FILE)?;
    write_all(&file, text.as_bytes(), 0)?;
    rustix::fs::fsync(&file)?;
    rustix::fs::renameat(fd, beside.as_str(), fd, MARKER)?;
    rustix::fs::fsync(fd)
}

/// Opens the directory of our format. What others of their formats hold is left alone.
fn open_files(fd: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let name = format!("v{FORMAT_VERSION}");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(fd, name.as_str(), flags, Mode::empty());
    let files = match open() {
        Err(Errno::NOENT) => {
            make_dir(fd, &name)?;
            open()?
        }
        opened => opened?,
    };
    for below in [names::SEGMENTS, names::METAS] {
        // On a file system that cannot be written to they are there, or nothing is.
        match make_dir(&files, below) {
            Ok(()) | Err(Errno::ROFS) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

fn make_dir(fd: &OwnedFd, path: &str) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(fd, path, PRIVATE_DIR) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A name that no other thread or process uses now.
pub(super) fn beside(path: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{path}.{}-{number}", std::process::id())
}

/// Writes all of it. A file system that takes nothing is full.
pub(super) fn write_all(fd: &OwnedFd, bytes: &[u8], offset: u64) -> rustix::io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(fd, &bytes[done..], offset + done as u64) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_check_finds_what_opening_would_and_changes_nothing() {
        let outside = tempfile::tempdir().unwrap();
        let dir = outside.path().join("a/b");
        check(&dir).unwrap();
        assert!(!outside.path().join("a").exists(), "made by a check");
        Root::open(&dir).unwrap();
        check(&dir).unwrap();

        let empty = outside.path().join("empty");
        fs::create_dir(&empty).unwrap();
        fs::set_permissions(&empty, PermissionsExt::from_mode(0o700)).unwrap();
        check(&empty).unwrap();
        assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
        fs::write(empty.join("thesis.txt"), "").unwrap();
        assert!(matches!(check(&empty), Err(DiskError::NotEmpty { .. })));

        let open = outside.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(matches!(check(&open), Err(DiskError::OpenToOthers { .. })));
        let file = outside.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(check(&file), Err(DiskError::NotADirectory(_))));
    }
}
