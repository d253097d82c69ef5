//! How we talk to the origin: endpoint, rewriting, signing, credentials, retries.

mod config;
mod credentials;
mod download;
mod error;
mod fetch;
mod framing;
mod origin;
mod probe;
mod region;
mod rejection;
mod resolve;
mod retry;
mod rewrite;
mod sign;
pub mod sts;
mod tls;

pub use config::{Addressing, BucketGlobs, CredentialSource, Endpoint, OriginConfig};
pub use config::{OriginIdentity, Timeouts};
pub use credentials::{CredentialsError, LoadCredentials, OriginCredentials};
pub use download::{
    AskedRange, Awaited, Connect, Download, DownloadConfig, Downloads, ObjectAsk, Priority,
};
pub use error::{UpstreamError, connection_kind};
pub use fetch::{Answer, Fetch};
pub use framing::{TrailingFramer, checksum_name};
pub use origin::{Destination, Origin, Question, tell_trace};
pub use probe::Probes;
pub use region::{RegionHint, Regions, hint_of, regional_endpoint};
pub use rejection::{SignedWith, may_reject, rejection_code};
pub use resolve::{Lookup, ResolveError, Resolver, is_refused};
pub use retry::{RetryBudget, backoff, is_transient, jitter};
pub use rewrite::{OriginBody, OriginRequest, PayloadHash, rewrite};
pub use sign::{SignError, SigningKeys, sign_request};
pub use tls::{CaFileError, check_ca_file};
