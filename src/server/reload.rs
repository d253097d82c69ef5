//! Reloading: everything is read and built anew first; only when all of it is good is it put in
//! force, and until then nothing has changed.
//!
//! Of what is built, what did not change is kept with all that it remembers: origins with their
//! connections, credentials, sessions of web identities.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use parking_lot::Mutex;
use rustls::sign::CertifiedKey;
use serde::Serialize;

use super::ServerError;
use super::certificate::ListenerCertificate;
use super::exchange::StsExchange;
use super::identity;
use super::stages::Built;
use super::stages::Stages;
use crate::admin::Reload;
use crate::admin::ReloadReport;
use crate::config::Args;
use crate::config::Config;
use crate::config::Environment;
use crate::config::ListenConfig;
use crate::config::Written;
use crate::config::read_certificate;
use crate::proxy::InForce;
use crate::telemetry::Lifecycle;
use crate::telemetry::Metrics;
use crate::telemetry::Phase;
use crate::telemetry::ReloadOutcome;
use crate::upstream::Endpoint;
use crate::upstream::Probes;

/// Who asked for a reload.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) enum Cause {
    #[serde(rename = "SIGHUP")]
    Signal,
    #[serde(rename = "POST")]
    Operator,
}

/// Puts another configuration in force. Cloning shares it.
#[derive(Clone)]
pub(super) struct Reloader {
    parts: Arc<Parts>,
    /// One reload after the other.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Where what is built is put in force, and what it is built with.
pub(super) struct Parts {
    pub(super) args: Args,
    pub(super) stages: Stages,
    pub(super) settings: InForce,
    pub(super) probes: Arc<Probes>,
    pub(super) certificates: Certificates,
    pub(super) metrics: Arc<Metrics>,
    pub(super) lifecycle: Lifecycle,
    pub(super) state: Mutex<State>,
}

/// The certificates of the TLS listeners.
pub(super) type Certificates = Vec<(SocketAddr, Arc<ListenerCertificate>)>;

/// What is in force, as far as it is not known elsewhere.
pub(super) struct State {
    written: Arc<Written>,
    loaded: SystemTime,
    needs_restart: Vec<String>,
    exchange: Option<Arc<StsExchange>>,
    /// Of every origin that this process ever knew: what the cache holds by its name is from there.
    endpoints: HashMap<Arc<str>, Endpoint>,
    last: Option<Attempt>,
}

/// The last attempt to put another configuration in force.
#[derive(Serialize)]
struct Attempt {
    at: String,
    by: Cause,
    #[serde(flatten)]
    report: ReloadReport,
}

/// What `GET /-/config` shows.
#[derive(Serialize)]
struct Shown<'a> {
    source: String,
    loaded: String,
    needs_restart: &'a [String],
    last_reload: Option<&'a Attempt>,
    config: &'a Written,
}

/// All that is to be put in force; nothing of it can fail any more.
struct Next {
    built: Built,
    certificates: Vec<CertifiedKey>,
    written: Written,
    report: ReloadReport,
}

impl State {
    /// Of the configuration that the process starts with.
    pub(super) fn new(config: Config, built: &Built, loaded: SystemTime) -> Self {
        let mut state = Self {
            written: Arc::new(config.written),
            loaded,
            needs_restart: Vec::new(),
            exchange: built.exchange.clone(),
            endpoints: HashMap::new(),
            last: None,
        };
        state.note_endpoints(built);
        state
    }

    fn note_endpoints(&mut self, built: &Built) {
        let origins = built.settings.origins.iter();
        let configs = origins.map(|served| &served.origin.config);
        self.endpoints
            .extend(configs.map(|config| (Arc::clone(&config.name), config.endpoint.clone())));
    }
}

impl Reloader {
    pub(super) fn new(parts: Parts) -> Self {
        parts.metrics.config_loaded(parts.state.lock().loaded);
        Self {
            parts: Arc::new(parts),
            turn: Arc::default(),
        }
    }

    /// Reads everything again and puts it in force, if all of it is good. Goes on to its end even
    /// when nobody waits for it any more.
    pub(super) async fn reload(&self, by: Cause) -> ReloadReport {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let parts = Arc::clone(&self.parts);
        let attempt = move || {
            let _turn = turn;
            parts.attempt(by)
        };
        // It reads files.
        let report = tokio::task::spawn_blocking(attempt).await;
        report.unwrap_or_else(|error| {
            let errors = vec![format!("the attempt broke off: {error}")];
            ReloadReport::of_errors(ReloadOutcome::Refused, errors)
        })
    }
}

#[async_trait]
impl Reload for Reloader {
    async fn reload(&self) -> ReloadReport {
        Self::reload(self, Cause::Operator).await
    }

    fn in_force(&self) -> String {
        let state = self.parts.state.lock();
        let shown = Shown {
            source: self.parts.args.source(),
            loaded: text_of(state.loaded),
            needs_restart: &state.needs_restart,
            last_reload: state.last.as_ref(),
            config: &state.written,
        };
        serde_json::to_string_pretty(&shown).expect("strings and numbers serialize") + "\n"
    }
}

fn text_of(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

impl Parts {
    fn attempt(&self, by: Cause) -> ReloadReport {
        let now = SystemTime::now();
        let report = match self.ignored() {
            Some(why) => ReloadReport::of_errors(ReloadOutcome::Ignored, vec![why.to_owned()]),
            None => match self.prepare() {
                Ok(next) => self.put_in_force(next, now),
                Err(errors) => ReloadReport::of_errors(ReloadOutcome::Refused, errors),
            },
        };
        self.tell(by, &report);
        self.metrics.config_reload(report.outcome);
        let at = text_of(now);
        let last = report.clone();
        self.state.lock().last = Some(Attempt {
            at,
            by,
            report: last,
        });
        report
    }

    /// Why nothing is read at all.
    fn ignored(&self) -> Option<&'static str> {
        if self.lifecycle.phase() == Phase::Stopping {
            return Some("the process is stopping: nothing is reloaded any more");
        }
        let has_file = self.args.conf.is_some();
        (!has_file).then_some(
            "there is no file to read again: everything was said on the command line and in the \
             environment, which need a restart",
        )
    }

    /// Reads and builds everything, and changes nothing.
    fn prepare(&self) -> Result<Next, Vec<String>> {
        let environment = Environment::process();
        let state = self.state.lock();
        let (written, exchange) = (Arc::clone(&state.written), state.exchange.clone());
        let endpoints = state.endpoints.clone();
        // Files are read now, and that may take its time.
        drop(state);
        let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let reloaded = Config::reload(&self.args, &environment, &written)
            .map_err(|errors| lines(errors.to_string()))?;
        let running = self.settings.now();
        let wrong = |error: ServerError| vec![format!("{}: {error}", self.args.source())];
        let file = &reloaded.file;
        // A directory that is in use and fails must not keep rights from being taken away.
        let waits_for_cache = |key: &String| key.starts_with("cache");
        if reloaded.needs_restart.iter().any(waits_for_cache) {
            super::check(file).map_err(wrong)?;
        }
        let mut config = reloaded.in_force;
        identity::complete(&mut config).map_err(wrong)?;
        for origin in &config.origins {
            let known = endpoints.get(&origin.name);
            if known.is_some_and(|known| *known != origin.endpoint) {
                return Err(vec![format!(
                    "{}: origins[{}].endpoint: this process knew an origin of this name elsewhere, and \
                     may hold its objects; give another name, or restart",
                    self.args.source(),
                    origin.name
                )]);
            }
        }
        let before = (&*running, exchange.as_ref());
        let built = self.stages.build(&config, Some(before)).map_err(wrong)?;
        Ok(Next {
            built,
            certificates: self.read_certificates(&config).map_err(wrong)?,
            report: ReloadReport {
                ok: true,
                outcome: ReloadOutcome::Applied,
                changed: reloaded.changed,
                needs_restart: reloaded.needs_restart,
                warnings: file.warnings.clone(),
                errors: Vec::new(),
            },
            written: config.written,
        })
    }

    /// One for each listener there is: the configuration in force has the same ones.
    fn read_certificates(&self, config: &Config) -> Result<Vec<CertifiedKey>, ServerError> {
        let read = |listen: &ListenConfig| match listen {
            ListenConfig::Tls { cert, key, .. } => Some(read_certificate(cert, key)),
            ListenConfig::Tcp(_) | ListenConfig::Unix { .. } => None,
        };
        let of = |address: &SocketAddr| {
            let same = |listen: &&ListenConfig| listen.address() == Some(*address);
            config.listen.iter().find(same).and_then(read)
        };
        let read = self.certificates.iter().filter_map(|(at, _)| of(at));
        read.collect::<Result<_, _>>()
            .map_err(ServerError::Certificate)
    }

    fn put_in_force(&self, next: Next, now: SystemTime) -> ReloadReport {
        let Built { settings, exchange } = &next.built;
        let before = self.settings.now();
        let mut state = self.state.lock();
        state.note_endpoints(&next.built);
        state.exchange.clone_from(exchange);
        state.written = Arc::new(next.written);
        state.loaded = now;
        state.needs_restart.clone_from(&next.report.needs_restart);
        drop(state);
        let origins = settings.origins.clone();
        for served in &origins {
            served.origin.credentials.ask_again();
        }
        for gone in &before.origins {
            let name = &gone.origin.config.name;
            if !origins.iter().any(|it| it.origin.config.name == *name) {
                self.metrics.forget_origin(name);
            }
        }
        for ((_, listener), certificate) in self.certificates.iter().zip(next.certificates) {
            listener.replace(certificate);
        }
        self.settings.replace(next.built.settings);
        let probed = origins.into_iter();
        let probed = probed.map(|served| (served.origin, served.metrics));
        self.probes.replace(probed.collect());
        self.metrics.config_loaded(now);
        next.report
    }

    fn tell(&self, by: Cause, report: &ReloadReport) {
        let source = self.args.source();
        match report.outcome {
            ReloadOutcome::Applied => {
                let changed = match report.changed.as_slice() {
                    [] => "nothing changed".to_owned(),
                    changed => format!("changed: {}", changed.join(", ")),
                };
                log::info!("{by:?}: {source} is in force, {changed}");
            }
            ReloadOutcome::Refused => {
                log::error!("{by:?}: {source} is refused, what was in force stays");
            }
            ReloadOutcome::Ignored => {}
        }
        for error in &report.errors {
            match report.outcome {
                ReloadOutcome::Ignored => log::warn!("{by:?}: {error}"),
                ReloadOutcome::Applied | ReloadOutcome::Refused => log::error!("{error}"),
            }
        }
        for warning in &report.warnings {
            log::warn!("{warning}");
        }
        if !report.needs_restart.is_empty() {
            let keys = report.needs_restart.join(", ");
            log::warn!("{source}: these take effect with the next restart or upgrade: {keys}");
        }
    }
}
