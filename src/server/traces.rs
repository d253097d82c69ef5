//! The thread that sends spans to a collector, as OTLP over HTTP.

use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use pingora::http::RequestHeader;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use pingora::upstreams::peer::HttpPeer;

use crate::config::TracesConfig;
use crate::telemetry::trace::Traces;
use crate::upstream::Fetch;
use crate::upstream::Resolver;

/// Where collectors take traces: <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>.
const PATH: &[u8] = b"/v1/traces";

/// What is read of its answer, at most.
const MAX_ANSWER: usize = 64 << 10;

/// How soon trouble is told again.
const TELL_AGAIN: Duration = Duration::from_mins(1);

/// Begins with the services, after a process that goes into the background has gone there.
pub(super) struct Exporter {
    pub(super) config: TracesConfig,
    pub(super) traces: Arc<Traces>,
}

#[async_trait]
impl BackgroundService for Exporter {
    /// The thread goes on until the process ends: what is served last is sent last.
    async fn start(&self, _shutdown: ShutdownWatch) {
        let (config, traces) = (self.config.clone(), Arc::clone(&self.traces));
        let thread = thread::Builder::new().name("traces".to_owned());
        if let Err(error) = thread.spawn(move || run(&config, &traces)) {
            log::error!("traces have no thread: {error}");
        }
    }
}

fn run(config: &TracesConfig, traces: &Traces) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            log::error!("traces have no runtime: {error}");
            return;
        }
    };
    let (fetch, resolver) = (Fetch::new(None), Resolver::new());
    let mut told: Option<Instant> = None;
    loop {
        let (body, spans) = traces.next_batch();
        let Err(why) = runtime.block_on(send(config, &fetch, &resolver, body)) else {
            continue;
        };
        traces.dropped(spans);
        if told.is_none_or(|told| told.elapsed() > TELL_AGAIN) {
            told = Some(Instant::now());
            log::warn!("traces are lost, the collector does not take them: {why}");
        }
    }
}

async fn send(
    config: &TracesConfig,
    fetch: &Fetch,
    resolver: &Resolver,
    body: Vec<u8>,
) -> Result<(), String> {
    let endpoint = &config.endpoint;
    let head = head(config, body.len()).map_err(|error| error.to_string())?;
    let exchange = async {
        let address = resolver.resolve(&endpoint.host, endpoint.port).await;
        let address = address.map_err(|error| error.to_string())?;
        let peer = HttpPeer::new(address, endpoint.is_tls, endpoint.host.clone());
        let (body, timeout) = (Bytes::from(body), config.timeout);
        let answer = fetch.exchange(&peer, head, body, MAX_ANSWER, timeout).await;
        answer.map_err(|error| error.to_string())
    };
    let answer = tokio::time::timeout(config.timeout, exchange).await;
    let answer = answer.map_err(|_| "it does not answer in time".to_owned())??;
    if answer.status.is_success() {
        Ok(())
    } else {
        Err(format!("it answers {}", answer.status))
    }
}

fn head(config: &TracesConfig, length: usize) -> pingora::Result<RequestHeader> {
    let mut head = RequestHeader::build("POST", PATH, Some(5))?;
    head.insert_header(header::HOST, config.endpoint.authority())?;
    head.insert_header(header::CONTENT_TYPE, "application/x-protobuf")?;
    head.insert_header(header::CONTENT_LENGTH, length)?;
    if let Some(token) = &config.token {
        head.insert_header(header::AUTHORIZATION, format!("Bearer {}", token.expose()))?;
    }
    Ok(head)
}
