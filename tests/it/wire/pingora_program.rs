//! Another Pingora program: a caching proxy as its guide shows one, over our storage.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::Method;
use pingora::apps::ServerApp;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::l4::stream::Stream;
use pingora::proxy::{HttpProxy, ProxyHttp, Session, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};
use pingora_cache::lock::{CacheKeyLockImpl, CacheLock};
use pingora_cache::{CacheKey, CacheMeta, NoCacheReason, PurgeAction, RespCacheable};
use s3proxy::cache::{BlockSize, BlockStorage, ScanResistant, Store, StoreConfig};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::{Answer, Client};

/// How a program uses the storage.
pub(super) struct Program {
    origin: SocketAddr,
    pub(super) storage: &'static BlockStorage,
    pub(super) eviction: &'static ScanResistant,
    lock: &'static CacheKeyLockImpl,
    fresh: Duration,
}

/// One that serves. It ends when dropped; what it leaked stays.
pub(super) struct Serving {
    pub(super) address: SocketAddr,
    pub(super) storage: &'static BlockStorage,
    pub(super) eviction: &'static ScanResistant,
    task: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Program {
    /// With 64 MiB of memory, and a directory if one is named.
    pub(super) fn new(origin: SocketAddr, dir: Option<&Path>) -> Self {
        Self::sized(origin, 64 << 20, dir)
    }

    pub(super) fn sized(origin: SocketAddr, memory: u64, dir: Option<&Path>) -> Self {
        let config = StoreConfig {
            memory,
            dir: dir.map(|dir| dir.join("cache")),
            disk: Some(1 << 30),
            min_free: 0,
            block_size: BlockSize::DEFAULT,
        };
        let store = Store::open(&config).unwrap();
        Self {
            origin,
            storage: Box::leak(Box::new(BlockStorage::new(Arc::new(store)))),
            eviction: Box::leak(Box::new(ScanResistant::new(1 << 30))),
            lock: Box::leak(CacheLock::new_boxed(Duration::from_secs(30))),
            fresh: Duration::from_hours(1),
        }
    }

    pub(super) fn fresh_for(self, fresh: Duration) -> Self {
        Self { fresh, ..self }
    }

    pub(super) async fn start(self) -> Serving {
        let (storage, eviction) = (self.storage, self.eviction);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let conf = Arc::new(ServerConf::default());
        let proxy = Arc::new(http_proxy(&conf, self));
        Serving {
            address,
            storage,
            eviction,
            task: tokio::spawn(accept(listener, proxy)),
        }
    }
}

impl Serving {
    pub(super) async fn client(&self) -> Client {
        Client::connect(self.address).await.keep(64 << 20)
    }

    /// One request on a connection of its own.
    pub(super) async fn ask(&self, method: &str, path: &str, fields: &str) -> Answer {
        let mut client = self.client().await;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: program\r\n{fields}\r\n");
        client.send(request.as_bytes()).await;
        client.answer_to(method).await.expect("an answer")
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    /// `a-b`, as in a Range field.
    pub(super) async fn range(&self, path: &str, range: &str) -> Answer {
        self.ask("GET", path, &format!("Range: bytes={range}\r\n"))
            .await
    }
}

async fn accept(listener: TcpListener, proxy: Arc<HttpProxy<Program>>) {
    let (_stop, stopped) = watch::channel(false);
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (proxy, stopped) = (Arc::clone(&proxy), stopped.clone());
        connections.spawn(async move {
            let mut kept: Option<pingora::protocols::Stream> = Some(Box::new(Stream::from(stream)));
            while let Some(stream) = kept {
                kept = proxy.process_new(stream, &stopped).await;
            }
        });
    }
}

#[async_trait]
impl ProxyHttp for Program {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.origin, false, String::new())))
    }

    fn request_cache_filter(&self, session: &mut Session, (): &mut ()) -> Result<()> {
        let eviction = Some(self.eviction as _);
        let cache = &mut session.cache;
        cache.enable(self.storage, eviction, None, Some(self.lock), None);
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, (): &mut ()) -> Result<CacheKey> {
        let path = session.req_header().uri.path();
        Ok(CacheKey::new(path, ""))
    }

    fn response_cache_filter(
        &self,
        _: &Session,
        response: &ResponseHeader,
        (): &mut (),
    ) -> Result<RespCacheable> {
        if response.status != 200 {
            return Ok(RespCacheable::Uncacheable(NoCacheReason::OriginNotCache));
        }
        let now = SystemTime::now();
        let meta = CacheMeta::new(now + self.fresh, now, 0, 0, response.clone());
        Ok(RespCacheable::Cacheable(meta))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        request.insert_header("authorization", "none")
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        (): &mut (),
    ) -> Result<()> {
        response.insert_header("x-phase", session.cache.phase().as_str())
    }

    fn is_purge(&self, session: &Session, (): &()) -> bool {
        let method = &session.req_header().method;
        *method == Method::DELETE || *method == Method::PATCH
    }

    fn purge_action(&self, session: &Session, (): &()) -> PurgeAction {
        if session.req_header().method == Method::DELETE {
            PurgeAction::Delete
        } else {
            PurgeAction::Expire
        }
    }

    fn suppress_error_log(&self, _: &Session, (): &(), _: &Error) -> bool {
        true
    }
}
