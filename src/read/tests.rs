//! The state of all reads over stores of the tests' own, and an origin that is not there.

use std::sync::Arc;
use std::time::Duration;

use super::ReadConfig;
use super::ReadParts;
use super::filling::Source;
use super::shared::Shared;
use crate::cache::BlockSize;
use crate::cache::Generations;
use crate::cache::Metas;
use crate::cache::ObjectName;
use crate::cache::ObjectVersion;
use crate::cache::Store;
use crate::cache::Verdicts;
use crate::s3::Bucket;
use crate::s3::ETag;
use crate::s3::Key;
use crate::telemetry::Metrics;
use crate::upstream::Addressing;
use crate::upstream::BucketGlobs;
use crate::upstream::CredentialSource;
use crate::upstream::DownloadConfig;
use crate::upstream::Downloads;
use crate::upstream::Endpoint;
use crate::upstream::Origin;
use crate::upstream::OriginConfig;
use crate::upstream::OriginCredentials;
use crate::upstream::Priority;
use crate::upstream::Resolver;
use crate::upstream::Timeouts;

pub(super) fn shared(store: Store) -> Arc<Shared> {
    let generations = Arc::new(Generations::new(7));
    let parts = ReadParts {
        store: Arc::new(store),
        metas: Arc::new(Metas::new(1 << 20, Arc::clone(&generations))),
        generations,
        verdicts: Arc::new(Verdicts::new(Duration::ZERO)),
        downloads: Arc::new(Downloads::new(DownloadConfig::default(), None)),
        metrics: Metrics::new().cache(),
    };
    let config = ReadConfig {
        block_size: BlockSize::DEFAULT,
        fill_memory: 0,
    };
    Shared::new(config, parts)
}

pub(super) fn object(key: &str) -> ObjectName {
    ObjectName {
        origin: "origin".into(),
        bucket: Bucket::new("lake").unwrap(),
        key: Key::new(key).unwrap(),
    }
}

pub(super) fn version(key: &str, size: u64) -> Arc<ObjectVersion> {
    let etag = ETag::parse("\"e\"").unwrap();
    Arc::new(ObjectVersion::new(object(key), etag, size))
}

/// Asks an origin that does not answer.
pub(super) fn source(shared: &Shared, object: &ObjectName) -> Source {
    Source {
        origin: origin(),
        own: None,
        priority: Priority::Demand,
        generation: shared.generations.current(object),
    }
}

/// An origin that does not answer.
pub(super) fn origin() -> Arc<Origin> {
    let second = Duration::from_secs(1);
    let config = OriginConfig {
        name: "origin".into(),
        endpoint: Endpoint {
            is_tls: false,
            host: "127.0.0.1".to_owned(),
            port: 9,
        },
        region: "us-east-1".to_owned(),
        addressing: Addressing::Path,
        ca_file: None,
        server_name: None,
        credentials: CredentialSource::Anonymous,
        buckets: BucketGlobs::default(),
        trailing_checksums: true,
        timeouts: Timeouts {
            connect: second,
            read: second,
            write: second,
            total: second,
        },
        max_retries: 0,
        idle_timeout: second,
    };
    let credentials = OriginCredentials::new(&config.credentials, &config.region);
    let origin = Origin::new(config, credentials, Arc::new(Resolver::new()), 0);
    Arc::new(origin.unwrap())
}
