//! What the tier is told at its start, and why it may refuse to start.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::cache::BlockSize;

/// How the tier is set up. [`DiskConfig::new`] has the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// The directory. It is made when it does not exist, and has to belong to the cache alone.
    pub dir: PathBuf,
    /// Bytes that the tier may occupy. `None`: 80 % of what is free and what it occupies already,
    /// measured again while it runs.
    pub capacity: Option<u64>,
    /// Part of the file system that stays free, in percent of its size.
    pub min_free_percent: u8,
    /// The same in bytes; the larger of the two counts.
    pub min_free_bytes: u64,
    /// How long a block is. Files with blocks of another length are deleted.
    pub block_size: BlockSize,
    /// Threads that read.
    pub readers: usize,
    /// Threads that write.
    pub writers: usize,
    /// Reads that may wait for a thread; further ones are misses.
    pub read_queue: usize,
    /// Bytes that may wait to be written; what exceeds them is not kept.
    pub write_queue_bytes: u64,
    /// A read that takes longer than this is a miss.
    pub read_deadline: Duration,
    /// Files that are held open.
    pub open_files: usize,
    /// How long the tier pauses after a failure of the disk. The pause doubles up to a minute while
    /// the disk goes on failing.
    pub retry_after: Duration,
    /// How often space and open files are looked at.
    pub tick: Duration,
    /// How often the directory is listed for what another process wrote or deleted; less often when
    /// listing takes more than a hundredth of it.
    pub rescan_every: Duration,
    /// Metas that are kept.
    pub max_metas: usize,
}

impl DiskConfig {
    /// The defaults for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            capacity: None,
            min_free_percent: 5,
            min_free_bytes: 0,
            block_size: BlockSize::DEFAULT,
            // Enough to keep a network disk busy; more only wait for each other.
            readers: 8,
            writers: 2,
            // Half a second of work at 2,000 reads a second.
            read_queue: 1024,
            write_queue_bytes: 64 << 20,
            read_deadline: Duration::from_millis(500),
            open_files: 512,
            retry_after: Duration::from_secs(1),
            tick: Duration::from_secs(1),
            rescan_every: Duration::from_mins(1),
            max_metas: 200_000,
        }
    }
}

/// Why a directory is not used.
#[derive(Debug)]
pub enum DiskError {
    /// The path leads to something else.
    NotADirectory(PathBuf),
    /// The path is a symbolic link, which somebody else may turn.
    Symlink(PathBuf),
    /// It belongs to another user.
    ForeignOwner {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Others may look into it or write to it.
    OpenToOthers {
        /// The directory.
        dir: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds files, and not the cache's.
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// One of the files.
        found: String,
    },
    /// A cache of a format that this version does not know.
    UnknownFormat {
        /// The directory.
        dir: PathBuf,
        /// What its marker says.
        found: String,
    },
    /// The file system said no.
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADirectory(path) => write!(
                f,
                "{} is not a directory: name one for the cache alone",
                path.display()
            ),
            Self::Symlink(path) => write!(
                f,
                "{} is a symbolic link: name the directory that it leads to",
                path.display()
            ),
            Self::ForeignOwner { dir, owner, us } => write!(
                f,
                "{} belongs to user {owner}, and this is user {us}: chown it, or name another",
                dir.display()
            ),
            Self::OpenToOthers { dir, mode } => write!(
                f,
                "{} is open to other users (mode {mode:04o}), and objects are not: chmod 700 it",
                dir.display()
            ),
            Self::NotEmpty { dir, found } => write!(
                f,
                "{} holds {found:?}, which is not the cache's: name an empty or new directory",
                dir.display()
            ),
            Self::UnknownFormat { dir, found } => write!(
                f,
                "{} holds a cache of another format ({found:?}): name another, or delete this one",
                dir.display()
            ),
            Self::Io {
                doing,
                path,
                source,
            } => write!(f, "cannot {doing} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
