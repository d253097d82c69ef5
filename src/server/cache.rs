//! The cache: its tiers opened before the server starts, started with it, and flushed at its end.

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::ConnectorOptions;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::background::BackgroundService;

use super::ServerError;
use crate::cache::CacheMode;
use crate::cache::Generations;
use crate::cache::Metas;
use crate::cache::Store;
use crate::cache::StoreConfig;
use crate::cache::Verdicts;
use crate::cache::store::disk;
use crate::cache::store::disk::Count;
use crate::config::CacheConfig;
use crate::config::Config;
use crate::read::ReadConfig;
use crate::read::ReadParts;
use crate::read::Reader;
use crate::telemetry::CacheFigures;
use crate::telemetry::DiskFigures;
use crate::telemetry::DiskState;
use crate::telemetry::Figures;
use crate::telemetry::Metrics;
use crate::telemetry::TierFigures;
use crate::upstream::DownloadConfig;
use crate::upstream::Downloads;

/// How long the end of the process waits for what is on its way to disk.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// The cache, and what reads from it.
pub(super) struct Cache {
    pub(super) reader: Reader,
    store: Arc<Store>,
    metas: Arc<Metas>,
}

impl Cache {
    /// Takes everything into use that can be before the process becomes a daemon; none when the
    /// cache is off.
    pub(super) fn open(
        cache: &CacheConfig,
        server: &ServerConf,
        metrics: &Metrics,
    ) -> Result<Option<Arc<Self>>, ServerError> {
        if cache.mode == CacheMode::Off {
            return Ok(None);
        }
        let mut tiers = StoreConfig {
            dir: directory(cache, server)?,
            ..cache.store.clone()
        };
        if tiers.dir.is_some() {
            // What is fetched lies in memory until slow clients have read it.
            tiers.memory = tiers.memory.max(cache.fill_memory);
        }
        let store = Store::open(&tiers).map_err(ServerError::CacheDirectory)?;
        if store.is_off() {
            return Ok(None);
        }
        let store = Arc::new(store);
        let generations = Arc::new(Generations::new(RandomState::new().hash_one(0_u8)));
        let metas = Arc::new(Metas::new(cache.metas, Arc::clone(&generations)));
        let downloads = DownloadConfig {
            max_connections: cache.fill_connections,
            ..DownloadConfig::default()
        };
        let parts = ReadParts {
            store: Arc::clone(&store),
            metas: Arc::clone(&metas),
            generations,
            verdicts: Arc::new(Verdicts::new(cache.own_verdict)),
            downloads: Arc::new(Downloads::new(
                downloads,
                Some(ConnectorOptions::from_server_conf(server)),
            )),
            metrics: metrics.cache(),
        };
        let config = ReadConfig {
            block_size: cache.store.block_size,
            fill_memory: cache.fill_memory,
        };
        let reader = Reader::new(config, parts);
        Ok(Some(Arc::new(Self {
            reader,
            store,
            metas,
        })))
    }

    /// Waits for what is on its way to disk, but not for long: what is lost is fetched again.
    pub(super) fn flush(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        match runtime {
            Ok(runtime) => {
                let flushed = async { tokio::time::timeout(LAST_WRITES, self.store.flush()).await };
                if runtime.block_on(flushed).is_err() {
                    log::warn!("the disk is too slow: the last writes to the cache are given up");
                }
            }
            Err(error) => log::warn!("the cache on disk is not flushed: {error}"),
        }
    }
}

/// Whether the cache could be taken into use, as far as that can be told without changing anything.
pub(super) fn check(config: &Config) -> Result<(), ServerError> {
    match directory(&config.cache, &config.server)? {
        Some(dir) => disk::DiskTier::check(&dir).map_err(ServerError::CacheDirectory),
        None => Ok(()),
    }
}

/// The directory of the disk tier, where there shall be one, from the root on: a daemon may work in
/// another directory.
fn directory(cache: &CacheConfig, server: &ServerConf) -> Result<Option<PathBuf>, ServerError> {
    let is_wanted = cache.mode != CacheMode::Off && cache.store.disk != Some(0);
    let Some(dir) = cache.store.dir.as_deref().filter(|_| is_wanted) else {
        return Ok(None);
    };
    // It is opened before the user changes, and would belong to the first one.
    if server.daemon && server.user.is_some() {
        return Err(ServerError::CacheOfAnotherUser);
    }
    Ok(Some(absolute(dir)))
}

/// A link in the place of the directory is followed when root made it or we did: systemd makes one
/// for `CacheDirectory` with `DynamicUser`. Any other is refused when the directory is opened.
fn absolute(dir: &Path) -> PathBuf {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let us = rustix::process::geteuid().as_raw();
    let is_trusted =
        |found: std::fs::Metadata| found.is_symlink() && (found.uid() == 0 || found.uid() == us);
    if std::fs::symlink_metadata(&dir).is_ok_and(is_trusted) {
        return std::fs::canonicalize(&dir).unwrap_or(dir);
    }
    dir
}

#[async_trait]
impl BackgroundService for Cache {
    /// Threads do not survive becoming a daemon, so they begin here.
    async fn start(&self, mut shutdown: ShutdownWatch) {
        self.store.start();
        // Errors when the sender is gone: the process is ending as well.
        let _ = shutdown.changed().await;
    }
}

impl CacheFigures for Cache {
    fn figures(&self) -> Figures {
        let memory = self.store.memory();
        let (metas, _) = self.metas.usage();
        Figures {
            memory: TierFigures {
                bytes: memory.bytes,
                capacity: memory.capacity,
                entries: memory.entries,
                evictions: memory.evictions,
                evicted_bytes: memory.evicted_bytes,
            },
            disk: self
                .store
                .disk()
                .map(|disk| figures_of(disk))
                .unwrap_or_default(),
            metas,
        }
    }
}

fn figures_of(disk: &disk::DiskTier) -> DiskFigures {
    let counters = disk.counters();
    let state = match counters.state() {
        disk::DiskState::Serving if !counters.is_indexed() => DiskState::Indexing,
        disk::DiskState::Serving => DiskState::Serving,
        disk::DiskState::ReadOnly => DiskState::ReadOnly,
        disk::DiskState::Off => DiskState::Off,
    };
    DiskFigures {
        state,
        fault: disk.fault(),
        tier: TierFigures {
            bytes: counters.bytes.get(),
            capacity: counters.capacity.get(),
            entries: counters.segments.get(),
            evictions: counters.evictions.get(),
            evicted_bytes: counters.evicted_bytes.get(),
        },
        checksum_failures: counters.checksum_failures.get(),
        dropped_writes: counters.dropped_writes.iter().map(Count::get).sum(),
        errors: counters.errors.get(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_our_own_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let (dir, link) = (root.path().join("private"), root.path().join("link"));
        std::fs::create_dir(&dir).unwrap();
        std::os::unix::fs::symlink(&dir, &link).unwrap();
        let root = std::fs::canonicalize(root.path()).unwrap();
        assert_eq!(absolute(&link), root.join("private"));
        let missing = root.join("missing");
        assert_eq!(absolute(&missing), missing);
    }
}
