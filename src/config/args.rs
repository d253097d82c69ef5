//! The command line and its environment variables.
//!
//! Nothing has a default here: an absent option leaves the word to the file, and the key table has
//! the default of both.

use std::net::IpAddr;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::CommandFactory;
use clap::Parser;
use clap::Subcommand;
use clap::error::ErrorKind;

use super::ctl_args::CtlArgs;

const EXAMPLES: &str = "\
Examples:
  # One origin, its credentials from the environment; clients sign with the same key pair
  AWS_ACCESS_KEY_ID=.. AWS_SECRET_ACCESS_KEY=.. s3proxy -e https://s3.eu-west-1.amazonaws.com

  # Everything else stands in a file: many clients, many origins, TLS
  s3proxy -c /etc/s3proxy/s3proxy.yaml

  # Check the file, say what is wrong by key and line, exit
  s3proxy -c /etc/s3proxy/s3proxy.yaml -t

  # Try everything that it names before traffic does, and say what to do
  s3proxy -c /etc/s3proxy/s3proxy.yaml doctor

  # Let a new process, from the binary and the file as they are now, take over without dropping a request
  s3proxy -c /etc/s3proxy/s3proxy.yaml upgrade

  # Look at the running process, purge and warm its cache
  s3proxy ctl status

A flag beats its environment variable, which beats the file.
RUST_LOG=s3proxy=debug makes the log more talkative.";

/// An S3-compatible verifying, authorizing, re-signing proxy for analytics engines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Parser)]
#[command(name = "s3proxy", version, after_help = EXAMPLES)]
pub struct Args {
    /// The S3 endpoint to forward to: http or https, host, port
    #[arg(
        short,
        long,
        env = "ENDPOINT",
        value_name = "URL",
        hide_env_values = true
    )]
    pub endpoint: Option<String>,

    /// Port to listen on [default: 3000]
    #[arg(short, long, env = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// Address to listen on; 0.0.0.0 serves other machines [default: 127.0.0.1]
    #[arg(long, env = "LISTEN", value_name = "ADDR")]
    pub listen: Option<IpAddr>,

    /// The configuration file (YAML)
    #[arg(short, long, value_name = "FILE")]
    pub conf: Option<PathBuf>,

    /// Check the configuration, say what is wrong, exit
    #[arg(short, long)]
    pub test: bool,

    /// Take the listeners over from the running process
    #[arg(short, long)]
    pub upgrade: bool,

    /// Run in the background
    #[arg(short, long)]
    pub daemon: bool,

    /// Where health, metrics and the like are: ADDR:PORT, unix:/PATH or `off` [default: 127.0.0.1:3001]
    #[arg(long, env = "ADMIN", value_name = "ADDR:PORT")]
    pub admin: Option<String>,

    /// Directory of the disk cache [default: none, memory only]
    #[arg(long, env = "CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Memory for cached blocks, such as 4GiB
    #[arg(long, env = "CACHE_MEMORY", value_name = "SIZE")]
    pub cache_memory: Option<ByteSize>,

    /// Disk for cached blocks, such as 200GiB
    #[arg(long, env = "CACHE_DISK", value_name = "SIZE")]
    pub cache_disk: Option<ByteSize>,

    /// Something else than to serve
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does besides serving.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Have the running process replaced by a new one, without dropping a request; when the new one
    /// does not serve, the running one goes on
    Upgrade,
    /// Look at a running proxy; purge and warm its cache
    Ctl(CtlArgs),

    /// Try origins, credentials, buckets, disk, limits, ports and certificates, and say what to do
    Doctor(DoctorArgs),
}

/// What the doctor is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Parser)]
pub struct DoctorArgs {
    /// Write as well, where the rules allow it: one small object, which is deleted again
    #[arg(long)]
    pub write: bool,

    /// A further bucket to try, beside those that the configuration names
    #[arg(long, value_name = "NAME")]
    pub bucket: Vec<String>,

    /// Tell it as JSON
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Reads the process's command line and environment. Ends the process with a usage error and
    /// exit code 2 when they cannot be understood or say nothing to forward to.
    pub fn parse_or_exit() -> Self {
        let args = Self::parse();
        if args.command.is_none() && args.endpoint.is_none() && args.conf.is_none() {
            Self::command()
                .error(
                    ErrorKind::MissingRequiredArgument,
                    "nothing to forward to: give an S3 endpoint with --endpoint URL (or ENDPOINT=URL), \
                     or a configuration file with --conf FILE",
                )
                .exit();
        }
        args
    }

    /// Where the admin listener is, as far as these arguments say.
    pub fn admin_listener(&self) -> Option<&str> {
        self.admin.as_deref().filter(|admin| *admin != "off")
    }

    /// The same with absolute paths: the working directory may change before they are used again.
    #[must_use]
    pub fn from_anywhere(mut self) -> Self {
        for path in [&mut self.conf, &mut self.cache_dir].into_iter().flatten() {
            // It fails for an empty path only, which fails in any directory.
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        }
        self
    }

    /// Where the configuration comes from, for messages.
    pub fn source(&self) -> String {
        match &self.conf {
            Some(file) => file.display().to_string(),
            None => "command line".to_owned(),
        }
    }
}
