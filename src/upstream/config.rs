//! What the configuration says of one origin, checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use globset::Glob;
use globset::GlobSet;
use globset::GlobSetBuilder;

use crate::s3::Credentials;
use crate::s3::GLOB_MARKS;

/// One S3-compatible origin.
#[derive(Clone, PartialEq, Eq)]
pub struct OriginConfig {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Region that requests to it are signed for.
    pub region: String,
    /// Where the bucket is written in requests to it.
    pub addressing: Addressing,
    /// Certificate authorities (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Name that its certificate must carry, when it differs from the endpoint's host.
    pub server_name: Option<String>,
    /// Whose name requests to it are signed in.
    pub credentials: CredentialSource,
    /// Buckets it serves; the first origin that matches a bucket gets the request.
    pub buckets: BucketGlobs,
    /// Whether `aws-chunked` uploads with trailing checksums are forwarded as such; when not, the
    /// checksum is verified here and the body goes out plain.
    pub trailing_checksums: bool,
    /// Bounds on talking to it.
    pub timeouts: Timeouts,
    /// Retries of reads, at most, after the first attempt.
    pub max_retries: u32,
    /// How many idle connections are kept to it is Pingora's `upstream_keepalive_pool_size`; this
    /// is how long one may idle.
    pub idle_timeout: Duration,
}

/// Globs over bucket names; none matches nothing.
#[derive(Debug, Clone, Default)]
pub struct BucketGlobs {
    globs: Vec<Glob>,
    set: GlobSet,
    /// Whether one of them is `*`.
    is_any: bool,
}

impl BucketGlobs {
    /// Compiles them together.
    pub fn new(globs: Vec<Glob>) -> Result<Self, globset::Error> {
        let mut builder = GlobSetBuilder::new();
        for glob in &globs {
            builder.add(glob.clone());
        }
        let set = builder.build()?;
        let is_any = globs.iter().any(|glob| glob.glob() == "*");
        Ok(Self { globs, set, is_any })
    }

    /// Whether one of them matches.
    pub fn is_match(&self, bucket: &str) -> bool {
        self.is_any || self.set.is_match(bucket)
    }

    /// Those that are the name of one bucket, not a pattern.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let globs = self.globs.iter().map(Glob::glob);
        globs.filter(|text| !text.contains(GLOB_MARKS))
    }
}

impl PartialEq for BucketGlobs {
    fn eq(&self, other: &Self) -> bool {
        self.globs == other.globs
    }
}

impl Eq for BucketGlobs {}

/// Scheme, host and port of an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// https.
    pub is_tls: bool,
    /// Host name or address, an IPv6 one without brackets.
    pub host: String,
    /// Port; the scheme's own when the configuration has none.
    pub port: u16,
}

impl Endpoint {
    /// `host[:port]` as a `Host` field says it: the scheme's default port is left out.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let default_port = if self.is_tls { 443 } else { 80 };
        if self.port == default_port {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

/// Where the bucket is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// `https://endpoint/bucket/key`.
    Path,
    /// `https://bucket.endpoint/key`.
    VirtualHosted,
}

/// Where an origin's credentials come from.
#[derive(Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// A fixed key pair, from files or the environment.
    Static(Credentials),
    /// A named profile of the AWS configuration files.
    Profile(String),
    /// Environment, profile, web identity, container, instance metadata, in the AWS SDK's order.
    DefaultChain,
    /// A token file exchanged at the security token service, as on Kubernetes.
    WebIdentity {
        /// Role to assume.
        role_arn: String,
        /// File with the token; read again at each exchange.
        token_file: PathBuf,
        /// Name of the session in the origin's logs.
        session_name: String,
    },
    /// Requests go out unsigned.
    Anonymous,
}

/// Bounds on one exchange with an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP and TLS together.
    pub connect: Duration,
    /// The longest silence of the origin, before the head and between two reads of the body.
    pub read: Duration,
    /// The longest time that one write may wait.
    pub write: Duration,
    /// The whole exchange, body included.
    pub total: Duration,
}

/// In whose name a principal's requests reach the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginIdentity {
    /// The origin's own credentials: our rules are the authority.
    Origin,
    /// The principal's own key pair: the origin judges it too.
    Own,
}
