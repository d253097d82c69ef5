//! A log file, which is rotated by moving it away and opening it anew.
//!
//! Two processes write to it during an upgrade. Each writes whole lines at the file's end in one
//! call, so that lines never mix.

use std::fmt;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::Permissions;
use std::io;
use std::io::IoSlice;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::Access;
use rustix::fs::OFlags;

use super::output::Lost;
use super::output::Output;
use super::output::count;

/// The owner writes it, and the group, such as the administrators', reads it.
const MODE: u32 = 0o640;

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Whether it ends in the middle of a line, for want of room.
    is_torn: bool,
}

impl LogFile {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = open_or_create(&path)?;
        Ok(Self {
            path,
            file,
            is_torn: false,
        })
    }

    /// Somebody deleted it, and what is written to it from now on is gone.
    fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.nlink() == 0)
    }

    /// One call for all lines, so that those of another process come before or after. Where a part
    /// of them fits, the torn line is given up, and those behind it are tried again.
    fn append(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let mut rest = lines;
        let mut torn = 0;
        while !rest.is_empty() {
            let end_of_torn = if self.is_torn { &b"\n"[..] } else { b"" };
            let both = [IoSlice::new(end_of_torn), IoSlice::new(rest)];
            let written = match self.file.write_vectored(&both) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other,
            };
            let lost = |error| Lost {
                lines: torn + count(rest),
                error,
            };
            let written = written.map_err(lost)? - end_of_torn.len();
            let (out, left) = rest.split_at(written);
            self.is_torn = out.last().is_some_and(|last| *last != b'\n');
            rest = left;
            if self.is_torn {
                torn += 1;
                let end = left.iter().position(|byte| *byte == b'\n');
                rest = &left[end.map_or(left.len(), |end| end + 1)..];
            }
        }
        if torn == 0 {
            return Ok(());
        }
        Err(Lost {
            lines: torn,
            error: io::ErrorKind::StorageFull.into(),
        })
    }
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Output for LogFile {
    fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        if self.is_deleted() {
            self.reopen().map_err(|error| Lost {
                lines: count(lines),
                error,
            })?;
        }
        self.append(lines)
    }

    /// What was open stays so when this fails: a file that was moved away is better than none.
    fn reopen(&mut self) -> io::Result<()> {
        self.file = open_or_create(&self.path)?;
        self.is_torn = false;
        Ok(())
    }
}

/// Whether lines could go into this file, without making it: whoever checks a configuration may be
/// another user than who serves.
pub(super) fn check(path: &Path) -> io::Result<()> {
    match open_existing(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(path);
            if !fs::metadata(directory)?.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)?;
            Ok(())
        }
        other => other.map(|_| ()),
    }
}

fn open_or_create(path: &Path) -> io::Result<File> {
    match open_existing(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let created = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(MODE)
        .open(path);
    match created {
        Ok(file) => {
            // The process's mask may have taken more away.
            file.set_permissions(Permissions::from_mode(MODE))?;
            Ok(file)
        }
        // Another process was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_existing(path),
        Err(error) => Err(error),
    }
}

fn open_existing(path: &Path) -> io::Result<File> {
    // A named pipe that nobody reads would hold the process up.
    let file = OpenOptions::new()
        .append(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_made_and_then_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        check(&path).unwrap();
        assert!(!path.exists(), "a check makes nothing");
        let mut log = LogFile::open(path.clone()).unwrap();
        assert_eq!(mode(&path), MODE);
        log.write(b"one\n").unwrap();
        let mut another = LogFile::open(path.clone()).unwrap();
        another.write(b"two\n").unwrap();
        log.write(b"three\n").unwrap();
        check(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        let (directory, nowhere) = (dir.path().join(""), dir.path().join("no/access.log"));
        for path in [&pipe, &directory, &nowhere] {
            assert!(check(path).is_err(), "{}", path.display());
            assert!(LogFile::open(path.clone()).is_err(), "{}", path.display());
        }
        // Somebody reads it.
        let _reader = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&pipe)
            .unwrap();
        assert!(check(&pipe).is_err());
    }

    #[test]
    fn a_deleted_file_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("logs");
        fs::create_dir(&inside).unwrap();
        let path = inside.join("access.log");
        let mut log = LogFile::open(path.clone()).unwrap();
        log.write(b"one\n").unwrap();
        fs::remove_dir_all(&inside).unwrap();
        assert_eq!(log.write(b"two\nthree\n").unwrap_err().lines, 2);
        fs::create_dir(&inside).unwrap();
        log.write(b"four\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_anew_stays_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let mut log = LogFile::open(path.clone()).unwrap();
        let moved = dir.path().join("access.log.1");
        fs::rename(&path, &moved).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(log.reopen().is_err());
        log.write(b"one\n").unwrap();
        fs::remove_dir(&path).unwrap();
        log.reopen().unwrap();
        log.write(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_torn_line_stands_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let mut log = LogFile::open(path.clone()).unwrap();
        log.write(b"one\nto").unwrap_err();
        log.write(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\nto\nthree\n");
    }
}
