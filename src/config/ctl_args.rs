//! The command line of `s3proxy ctl`.

use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use clap::ValueEnum;

const EXIT_CODES: &str = "\
Objects are written BUCKET/KEY or s3://BUCKET/KEY.

Exit codes: 0 done; 1 not all of it could be done, or the service is not ready; 2 the command line
cannot be understood; 3 the admin listener cannot be reached; 4 it refuses.";

/// Looks at a running proxy, and purges and warms its cache.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct CtlArgs {
    /// The admin listener: http://HOST:PORT, HOST:PORT or unix:/PATH [default: 127.0.0.1:3001]
    #[arg(long, env = "S3PROXY_ADMIN", value_name = "URL", global = true)]
    pub admin: Option<String>,

    /// File with the admin listener's token
    #[arg(
        long,
        env = "S3PROXY_ADMIN_TOKEN_FILE",
        value_name = "FILE",
        global = true
    )]
    pub token_file: Option<PathBuf>,

    /// Print the answer as JSON, as the admin listener gives it
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// What `s3proxy ctl` does.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum CtlCommand {
    /// Whether it is ready: origins, tiers of the cache
    Status,
    /// Figures since the start: requests, hits, bytes, what was saved
    Stats,
    /// The objects and prefixes that are read most
    Top {
        /// What counts
        #[arg(long, value_enum, default_value_t = By::Requests)]
        by: By,
        /// Rows of each kind
        #[arg(long, default_value_t = 10)]
        limit: usize,
    },
    /// What is known of an object: is it cached, by which rule, who may read it
    Explain {
        /// The object
        #[arg(value_name = "BUCKET/KEY")]
        object: String,
    },
    /// Delete from the cache; the origin keeps what it has
    Purge(PurgeArgs),
    /// Fetch into the cache before anybody asks
    Warm(WarmArgs),
}

/// What to purge.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PurgeArgs {
    /// The object
    #[arg(
        value_name = "BUCKET/KEY",
        required_unless_present = "prefix",
        conflicts_with = "prefix"
    )]
    pub object: Option<String>,
    /// Every object whose key begins so; BUCKET/ is the whole bucket
    #[arg(long, value_name = "BUCKET/PREFIX")]
    pub prefix: Option<String>,
    /// The origin that the objects came from, when another one serves the bucket now
    #[arg(long, value_name = "NAME")]
    pub origin: Option<String>,
}

/// What to warm.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct WarmArgs {
    /// Objects of one bucket
    #[arg(
        value_name = "BUCKET/KEY",
        required_unless_present = "prefix",
        conflicts_with = "prefix"
    )]
    pub objects: Vec<String>,
    /// Every object whose key begins so, as the origin lists them
    #[arg(long, value_name = "BUCKET/PREFIX")]
    pub prefix: Option<String>,
    /// How much of each object
    #[arg(long, value_enum, default_value_t = Mode::Footer)]
    pub mode: Mode,
    /// Objects at most [default: 100000]
    #[arg(long)]
    pub limit: Option<u64>,
}

/// What makes an object hot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Many requests
    Requests,
    /// Many bytes
    Bytes,
    /// Many misses
    Misses,
}

/// How much of an object is warmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The last 512 KiB, where data files have their footer
    Footer,
    /// All of it
    Whole,
}

impl By {
    /// As the admin listener knows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Bytes => "bytes",
            Self::Misses => "misses",
        }
    }
}

impl Mode {
    /// As the admin listener knows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Footer => "footer",
            Self::Whole => "whole",
        }
    }
}
