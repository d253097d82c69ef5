//! Values that are well formed each and cannot be used all the same.

use std::fmt;
use std::path::PathBuf;

use super::error::Place;
use super::secret::SecretError;

/// What is wrong with a value although it has the right form.
#[derive(Debug)]
pub(super) enum Conflict {
    /// A value that has to be unique and is not.
    Taken {
        value: String,
        what: &'static str,
        first: Place,
    },
    /// A file that is named and cannot be used.
    File { path: PathBuf, why: FileFault },
    /// A secret that cannot be had.
    Secret(SecretError),
    /// A directory for the pid file or the upgrade socket that others may write to.
    SharedDirectory { directory: PathBuf },
    /// There is no private directory to default to.
    NoRuntimeDirectory,
    /// https to an address, where no certificate name can be checked.
    NoServerName,
    /// The origin is this proxy.
    OwnListener { listener: String },
    /// The admin listener is open to other machines.
    RemoteAdmin,
    /// A listener that clients cannot tell from the admin one.
    AdminTaken,
    /// An endpoint on the command line and not exactly one origin in the file.
    WhichOrigin { origins: usize },
    /// A rule without buckets or actions.
    MatchesNothing,
    /// A list of no origins.
    NoOrigin,
    /// A list of no listeners.
    NoListener,
    /// A block size between two powers of two.
    BlockSize,
    /// Lines cannot be appended to this file.
    LogFile(PathBuf, std::io::Error),
    /// systemd's journal does not run here.
    NoJournal(std::io::Error),
    /// Nobody is named as a client, and there is no single origin whose key pair would do.
    NoClients,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub(super) enum FileFault {
    /// It cannot be opened.
    Io(std::io::Error),
    /// It holds no such PEM section.
    NoPem(&'static str),
    /// What is in it is of no use, for this reason.
    Unusable(String),
    /// It is a secret and others may read it.
    Readable { mode: u32 },
}

impl Conflict {
    pub(super) fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File {
                why: FileFault::Io(error),
                ..
            }
            | Self::LogFile(_, error)
            | Self::NoJournal(error) => Some(error),
            Self::Secret(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { value, what, first } => write!(
                f,
                "{what} `{value}` is taken by {} in line {}; give another one",
                first.key, first.line
            ),
            Self::File { path, why: FileFault::Io(error) } => {
                write!(f, "{}: {error}; give a readable file", path.display())
            }
            Self::File { path, why: FileFault::NoPem(what) } => write!(
                f,
                "{} holds no `-----BEGIN {what}-----`; give a PEM file",
                path.display()
            ),
            Self::File { path, why: FileFault::Unusable(reason) } => write!(
                f,
                "{} cannot be used: {reason}; give a certificate chain and its own key, or \
                 authorities that are X.509 certificates",
                path.display()
            ),
            Self::File { path, why: FileFault::Readable { mode } } => write!(
                f,
                "{0} has mode {mode:04o}, others may read it; chmod 600 {0}",
                path.display()
            ),
            Self::Secret(error) => error.fmt(f),
            Self::SharedDirectory { directory } => write!(
                f,
                "everyone may write to {0}, and so replace the file; give a path in a private directory",
                directory.display()
            ),
            Self::NoRuntimeDirectory => f.write_str(
                "no private directory to put it in: RUNTIME_DIRECTORY, XDG_RUNTIME_DIR and HOME are \
                 not set; give a path in a private directory",
            ),
            Self::NoServerName => f.write_str(
                "https to an IP address leaves no name to check the certificate against; give \
                 `server_name`, the name in the certificate",
            ),
            Self::OwnListener { listener } => write!(
                f,
                "this is our own listener {listener}, requests would go round in circles; give the \
                 S3 endpoint"
            ),
            Self::RemoteAdmin => f.write_str(
                "other machines could reach the admin listener; give a loopback address, or \
                 `admin_allow_remote: true` if that is meant",
            ),
            Self::AdminTaken => {
                f.write_str("clients are served on this address; give another one")
            }
            Self::WhichOrigin { origins } => write!(
                f,
                "the file has {origins} origins and --endpoint (or ENDPOINT) can replace only a \
                 single one; give the endpoint in the file"
            ),
            Self::NoClients => f.write_str(
                "nobody may call: with several origins, or one without a key pair, clients have to \
                 be named; give `clients`, `anonymous` or `web_identity`",
            ),
            Self::MatchesNothing => {
                f.write_str("is empty, and so the rule matches nothing; give at least one")
            }
            Self::BlockSize => f.write_str(
                "is no power of two; give 16KiB, 32KiB, 64KiB, 128KiB, 256KiB, 512KiB or 1MiB",
            ),
            Self::LogFile(path, error) => write!(
                f,
                "{} cannot be written: {error}; give a file in a directory that is there and that \
                 this user may write to",
                path.display()
            ),
            Self::NoJournal(error) => write!(
                f,
                "systemd's journal is not there: {error}; give `stdout` or a file"
            ),
            Self::NoOrigin => f.write_str("there is nothing to forward to; give at least one"),
            Self::NoListener => f.write_str("no client could connect; give at least one"),
        }
    }
}
