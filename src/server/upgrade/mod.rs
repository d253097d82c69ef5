//! Upgrade without a dropped request: a new process takes the listeners over while the old one still
//! serves, and only when it serves them too does the old one drain.
//!
//! Pingora's own hand-over, on SIGQUIT, ends the old process whether anybody has taken the sockets or
//! not. Here SIGQUIT does nothing, and every step before the successor's word that it serves leaves
//! the running process as it is: a new binary that does not start, a file that is not right, a
//! successor that hangs.

mod protocol;
mod request;
mod successor;
mod take;

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::Fds;
use pingora::server::ListenFds;
use pingora::server::ShutdownWatch;
use pingora::services::Service;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::Notify;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::time::timeout;

pub use request::RequestError;
pub use request::request;
pub(super) use successor::CommandLine;
pub use take::TakeError;
pub(super) use take::Taking;

use super::notify;
use crate::telemetry::Metrics;
use protocol::BUSY;
use protocol::BYE;
use protocol::DONE;
use protocol::FAILED;
use protocol::HERE;
use protocol::NOTE;
use protocol::SERVING;
use protocol::TAKE;
use protocol::UPGRADE;

/// Who connects says something soon.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// The part of a process's life in which others can take over from it.
pub(super) struct Handover {
    shared: Arc<Shared>,
    /// What this process has itself taken over, until it serves it.
    taking: Option<Taking>,
}

struct Shared {
    upgrade_sock: String,
    /// How long a successor may take until it serves.
    patience: Duration,
    command: CommandLine,
    metrics: Arc<Metrics>,
    /// One upgrade at a time, and one successor.
    upgrading: Semaphore,
    taking: Semaphore,
    fds: Mutex<Option<ListenFds>>,
    /// A successor that had begun to take over did not.
    failed: Notify,
    /// Whether a successor serves, and its process id.
    served: watch::Sender<bool>,
    successor: Mutex<Option<u32>>,
}

impl Handover {
    /// Of a process with this upgrade socket; a successor may take this long until it serves.
    pub(super) fn new(
        upgrade_sock: String,
        patience: Duration,
        command: CommandLine,
        taking: Option<Taking>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                upgrade_sock,
                patience,
                command,
                metrics,
                upgrading: Semaphore::new(1),
                taking: Semaphore::new(1),
                fds: Mutex::default(),
                failed: Notify::new(),
                served: watch::Sender::new(false),
                successor: Mutex::default(),
            }),
            taking,
        }
    }

    /// Turns true when a successor serves.
    pub(super) fn served(&self) -> watch::Receiver<bool> {
        self.shared.served.subscribe()
    }
}

#[async_trait]
impl Service for Handover {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        mut shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        *self.shared.fds.lock() = fds;
        // In the place of the process before, which has no more to say once we serve.
        let listener = listen(&self.shared.upgrade_sock, self.taking.is_some());
        if let Some(taking) = self.taking.take() {
            let ended = tokio::task::spawn_blocking(|| taking.end()).await;
            match ended {
                Ok(true) => log::info!("took over from the running process, which drains"),
                _ => log::warn!("took over, but the process before does not say that it drains"),
            }
        }
        notify::serving();
        tokio::select! {
            () = self.shared.serve(listener) => {}
            // Errors when the sender is gone: the process is ending as well.
            _ = shutdown.changed() => {}
        }
    }

    fn name(&self) -> &'static str {
        "handover"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

/// Listens in the place of whoever did before: the socket may still be there. Not in the place of one
/// that still listens, unless `takes_over`.
fn listen(upgrade_sock: &str, takes_over: bool) -> io::Result<UnixListener> {
    let path = protocol::control_path(upgrade_sock);
    if !takes_over && std::os::unix::net::UnixStream::connect(&path).is_ok() {
        let why = format!("another process listens there already: {}", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(&path),
    }
}

impl Shared {
    async fn serve(self: &Arc<Self>, listener: io::Result<UnixListener>) {
        let Ok(mut wish) = signal(SignalKind::user_defined2()) else {
            return;
        };
        let mut listener = listener;
        loop {
            let accepting = async {
                match &listener {
                    Ok(listener) => listener.accept().await,
                    Err(error) => {
                        log::warn!("no upgrade is possible: the control socket: {error}");
                        std::future::pending().await
                    }
                }
            };
            tokio::select! {
                accepted = accepting => match accepted {
                    Ok((stream, _)) => {
                        let shared = Arc::clone(self);
                        tokio::spawn(async move { shared.talk(stream).await });
                    }
                    Err(error) => {
                        log::warn!("the control socket: {error}");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                },
                // A successor may have listened in our place before it failed.
                () = self.failed.notified() => listener = listen(&self.upgrade_sock, true),
                _ = wish.recv() => {
                    let shared = Arc::clone(self);
                    tokio::spawn(async move { shared.upgrade(&mut None).await });
                }
            }
        }
    }

    async fn talk(&self, stream: UnixStream) {
        let may_talk = stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == rustix::process::geteuid().as_raw());
        let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
        if !may_talk {
            log::warn!("another user at the control socket is refused");
            return;
        }
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let Ok(Ok(Some(word))) = timeout(FIRST_WORD, protocol::line(&mut reader)).await else {
            return;
        };
        match word.as_str() {
            TAKE => {
                let only = self.taking.try_acquire();
                if only.is_err() || *self.served.borrow() {
                    say(&mut writer, BUSY).await;
                    return;
                }
                say(&mut writer, HERE).await;
                let serves = async {
                    self.send_listeners().await?;
                    let word = protocol::line(&mut reader).await;
                    let word = word.map_err(|error| error.to_string())?;
                    match word.as_deref() {
                        Some(SERVING) => Ok(()),
                        _ => Err("it has gone".to_owned()),
                    }
                };
                let outcome = timeout(self.patience, serves).await;
                match outcome.unwrap_or_else(|_| Err("it does not say that it serves".to_owned())) {
                    Ok(()) => {
                        *self.successor.lock() = process.and_then(|id| u32::try_from(id).ok());
                        say(&mut writer, BYE).await;
                        log::info!("the successor serves: draining");
                        self.served.send_replace(true);
                    }
                    Err(why) => {
                        log::error!("a successor did not take over: {why}");
                        self.failed.notify_one();
                    }
                }
            }
            UPGRADE => self.upgrade(&mut Some(writer)).await,
            _ => {}
        }
    }

    /// Pingora's successor listens for them, and its side of this is what it always was.
    async fn send_listeners(&self) -> Result<(), String> {
        let table = self.fds.lock().clone();
        let table = table.ok_or("there are no listeners")?;
        let (addresses, sockets) = table.lock().serialize();
        let mut fds = Fds::new();
        fds.deserialize(addresses, sockets);
        let path = self.upgrade_sock.clone();
        let sending = tokio::task::spawn_blocking(move || fds.send_to_sock(path.as_str()));
        match sending.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("the listeners cannot be sent: {error}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Starts a successor, and tells whoever asked what comes of it.
    async fn upgrade(&self, asker: &mut Option<OwnedWriteHalf>) {
        let only = self.upgrading.try_acquire();
        if only.is_err() || *self.served.borrow() {
            tell(asker, BUSY).await;
            return;
        }
        log::info!("upgrade: begun");
        match self.start_successor(asker).await {
            Ok(()) => {
                let process = self.successor.lock().unwrap_or_default();
                log::info!("upgrade: process {process} serves");
                tell(asker, &format!("{DONE}{process}")).await;
            }
            Err(why) => {
                log::error!("upgrade: {why}; this process goes on as before");
                self.metrics.upgrade_failed();
                tell(asker, &format!("{FAILED}{why}")).await;
            }
        }
    }

    async fn start_successor(&self, asker: &mut Option<OwnedWriteHalf>) -> Result<(), String> {
        tell(
            asker,
            &format!("{NOTE}the new binary checks its configuration"),
        )
        .await;
        self.command.test().await?;
        let child = self.command.start()?;
        let process = child.id().unwrap_or_default();
        log::info!("upgrade: started process {process}");
        tell(asker, &format!("{NOTE}started process {process}")).await;
        successor::until_serving(child, &mut self.served.subscribe(), self.patience).await
    }
}

async fn tell(asker: &mut Option<OwnedWriteHalf>, line: &str) {
    if let Some(writer) = asker {
        say(writer, line).await;
    }
}

/// Whoever has gone does not hear it.
async fn say(writer: &mut OwnedWriteHalf, line: &str) {
    let _ = writer.write_all(format!("{line}\n").as_bytes()).await;
}
