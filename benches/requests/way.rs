//! The ways to the bytes that are compared.

use std::ffi::OsStr;
use std::time::Duration;

use crate::load::{self, Door};
use crate::nginx;
use crate::origin::Origin;
use crate::process::Process;
use crate::process::Proxy;
use crate::request::Request;
use crate::tls::Certificate;

/// A request is sent so often at most, until the origin is not asked any more.
const WARM_UP_REQUESTS: usize = 40;

/// Between two of them: what was fetched may still be on its way into the cache.
const WARM_UP_PAUSE: Duration = Duration::from_millis(25);

/// One of them.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) door: Door,
    /// Whose CPU time and memory count; of the origin's, which is this process, they do not.
    process: Option<Process>,
    is_cached: bool,
    takes_uploads: bool,
}

impl Way {
    /// Starts everything.
    pub(crate) fn all(origin: &Origin) -> Vec<Self> {
        let plain = |address| Door { address, tls: None };
        let proxy = |name, binary: &OsStr, cache, certificate: Option<&Certificate>| {
            let Proxy { address, process } =
                Proxy::start(binary, origin.address, cache, certificate);
            let tls = certificate.map(Certificate::connector);
            Self {
                name,
                door: Door { address, tls },
                process: Some(process),
                is_cached: cache != FORWARDING,
                takes_uploads: true,
            }
        };
        let this = OsStr::new(env!("CARGO_BIN_EXE_s3proxy"));
        let mut ways = vec![
            Self {
                name: "direct",
                door: plain(origin.address),
                process: None,
                is_cached: false,
                takes_uploads: true,
            },
            proxy("forwarded", this, FORWARDING, None),
            proxy("cached", this, CACHING, None),
            proxy("cached, TLS", this, CACHING, Some(&Certificate::new())),
        ];
        if let Some(other) = std::env::var_os("S3PROXY_OTHER_BIN") {
            ways.push(proxy("cached, other", &other, CACHING, None));
        }
        if let Some((address, process)) = nginx::start(origin.address) {
            ways.push(Self {
                name: "nginx",
                door: plain(address),
                process: Some(process),
                is_cached: true,
                takes_uploads: false,
            });
        }
        ways
    }

    pub(crate) fn takes(&self, request: &Request) -> bool {
        self.takes_uploads || !request.is_upload
    }

    /// Sends the request until it is answered from the cache.
    pub(crate) async fn warm_up(&self, request: &Request, origin: &Origin) {
        if !self.is_cached || request.is_upload {
            return;
        }
        for _ in 0..WARM_UP_REQUESTS {
            let asked = origin.requests();
            load::once(&self.door, request).await;
            if origin.requests() == asked {
                return;
            }
            tokio::time::sleep(WARM_UP_PAUSE).await;
        }
    }

    /// User and system time so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.process
            .as_ref()
            .map_or(Duration::ZERO, Process::cpu_time)
    }

    /// Begins a new peak.
    pub(crate) fn forget_peak_memory(&self) {
        if let Some(process) = &self.process {
            process.forget_peak_memory();
        }
    }

    pub(crate) fn peak_memory_kib(&self) -> Option<u64> {
        self.process.as_ref().map(Process::peak_memory_kib)
    }
}

const FORWARDING: &str = "cache:\n  mode: off\n";

/// From memory; an object is asked after once, or the figures would hold a few requests to the origin.
const CACHING: &str =
    "cache:\n  memory: 1GiB\n  rules:\n    - buckets: [\"*\"]\n      freshness: immutable\n";
