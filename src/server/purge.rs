//! Purging: from the bucket that an operator names to the origin that serves it.

use async_trait::async_trait;

use crate::admin::Purge;
use crate::admin::PurgeError;
use crate::admin::PurgeOrder;
use crate::admin::PurgeReport;
use crate::admin::PurgeTarget;
use crate::cache::ObjectName;
use crate::cache::PurgeScope;
use crate::proxy::InForce;
use crate::read::Reader;

/// Who carries out orders.
pub(super) struct Purges {
    pub(super) reader: Reader,
    pub(super) settings: InForce,
}

#[async_trait]
impl Purge for Purges {
    async fn purge(&self, order: &PurgeOrder) -> Result<PurgeReport, PurgeError> {
        let settings = self.settings.now();
        let serving = settings.serving(&order.bucket);
        let serving = serving.map(|served| served.origin.config.name.clone());
        let origin = order.origin.clone().or(serving);
        let origin = origin.ok_or(PurgeError::NoOrigin)?;
        let bucket = order.bucket.clone();
        let scope = match &order.target {
            PurgeTarget::Key(key) => PurgeScope::Key(ObjectName {
                origin,
                bucket,
                key: key.clone(),
            }),
            PurgeTarget::Prefix(prefix) if prefix.is_empty() => {
                PurgeScope::Bucket { origin, bucket }
            }
            PurgeTarget::Prefix(prefix) => PurgeScope::Prefix {
                origin,
                bucket,
                prefix: prefix.clone(),
            },
        };
        let purged = self.reader.purge(&scope).await;
        Ok(PurgeReport {
            objects: purged.objects,
            segments: purged.segments,
            bytes: purged.bytes,
            failures: purged.failures,
        })
    }
}
