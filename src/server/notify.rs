//! What systemd is told, where it has started the process (`Type=notify`): readiness, which process
//! is the main one after an upgrade, the end, and signs of life.

use std::time::Duration;

use sd_notify::NotifyState;

/// The environment variable with the watchdog's time, in microseconds. `WATCHDOG_PID` is the first
/// process's, so it is not looked at: the process that serves gives the signs of life.
const WATCHDOG: &str = "WATCHDOG_USEC";

/// This process serves, and is the main one.
pub(super) fn serving() {
    send(&[
        NotifyState::MainPid(std::process::id()),
        NotifyState::Ready,
        NotifyState::Status("serving"),
    ]);
}

/// The service ends. Not to be said by a process that has a successor.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// A sign of life.
pub(super) fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often a sign of life is due, if any is: twice in the time that systemd waits for one.
pub(super) fn watchdog() -> Option<Duration> {
    let microseconds = std::env::var(WATCHDOG).ok()?.parse().ok()?;
    Some(Duration::from_micros(microseconds) / 2).filter(|interval| !interval.is_zero())
}

/// Nothing where nobody listens.
fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("systemd is not told: {error}");
    }
}
