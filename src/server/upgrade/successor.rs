//! Starts the next process from the same command line, and watches it until it serves.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long the new binary may take to check its file.
pub(super) const TEST_TIME: Duration = Duration::from_secs(30);

/// What is repeated of what it says, at most.
const MAX_SAID: u64 = 2000;

/// How this process was started.
#[derive(Debug, Clone)]
pub(in crate::server) struct CommandLine {
    program: PathBuf,
    arguments: Vec<OsString>,
    takes_over: bool,
}

impl CommandLine {
    /// Of this process. To be called at its start: later the file may be another one under the same
    /// name, which is the point.
    pub(in crate::server) fn of_this_process(takes_over: bool) -> io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            arguments: std::env::args_os().skip(1).collect(),
            takes_over,
        })
    }

    fn command(&self, word: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(word).stdin(Stdio::null());
        command
    }

    /// Lets the new binary check the file. An error is what it said.
    pub(super) async fn test(&self) -> Result<(), String> {
        let mut command = self.command("--test");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let program = self.program.display();
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{program} cannot be started: {error}"))?;
        let mut said = String::new();
        let checking = async {
            if let Some(output) = child.stderr.take() {
                // What is not text has been said to nobody.
                let _ = output.take(MAX_SAID).read_to_string(&mut said).await;
            }
            child.wait().await
        };
        match timeout(TEST_TIME, checking).await {
            Err(_) => Err(format!("{program} --test does not come to an end")),
            Ok(Err(error)) => Err(format!("{program} --test: {error}")),
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("{program} --test: {status}: {}", one_line(&said))),
        }
    }

    /// Starts it.
    pub(super) fn start(&self) -> Result<Child, String> {
        let command = if self.takes_over {
            // The command line says so already.
            let mut command = Command::new(&self.program);
            command.args(&self.arguments).stdin(Stdio::null());
            command
        } else {
            self.command("--upgrade")
        };
        let mut command = command;
        command
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", self.program.display()))
    }
}

/// Waits until the successor serves; ends it when it does not.
pub(super) async fn until_serving(
    mut child: Child,
    served: &mut watch::Receiver<bool>,
    patience: Duration,
) -> Result<(), String> {
    let mut is_gone = false;
    let waiting = async {
        loop {
            tokio::select! {
                // The sender lives as long as this process.
                _ = served.wait_for(|served| *served) => return Ok(()),
                status = child.wait(), if !is_gone => match status {
                    // It has gone to the background.
                    Ok(status) if status.success() => is_gone = true,
                    status => return Err(ended(status)),
                },
            }
        }
    };
    let outcome = timeout(patience, waiting).await;
    let outcome = outcome.unwrap_or_else(|_| {
        let seconds = patience.as_secs();
        Err(format!("the new process does not serve after {seconds} s"))
    });
    if outcome.is_err() {
        // Nothing to be done when it has ended by itself.
        let _ = child.kill().await;
    }
    outcome
}

fn ended(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("the new process ended before it served: {status}"),
        Err(error) => format!("the new process is lost: {error}"),
    }
}

/// Lines become sentences of one line, as the control socket and the log want it.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that reads it. Whoever writes a program and starts it finds it busy when another test
    /// starts a process meanwhile, which has what was open at that moment for some time.
    fn script(dir: &std::path::Path, text: &str) -> CommandLine {
        let script = dir.join("script");
        std::fs::write(&script, format!("{text}\n")).unwrap();
        CommandLine {
            program: "/bin/sh".into(),
            arguments: vec![script.into(), "--conf".into(), "x".into()],
            takes_over: false,
        }
    }

    #[tokio::test]
    async fn a_test_repeats_what_the_new_binary_says() {
        let dir = tempfile::tempdir().unwrap();
        let good = script(dir.path(), r#"[ "$*" = "--conf x --test" ]"#);
        assert_eq!(good.test().await, Ok(()));
        let bad = script(dir.path(), "echo one >&2; echo ' two' >&2; exit 3");
        let said = bad.test().await.unwrap_err();
        assert!(said.ends_with("exit status: 3: one; two"), "{said}");
        let missing = CommandLine {
            program: dir.path().join("nothing"),
            ..bad
        };
        assert!(
            missing
                .test()
                .await
                .unwrap_err()
                .contains("cannot be started")
        );
    }

    #[tokio::test]
    async fn it_is_watched_until_it_serves() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, mut served) = watch::channel(false);
        let child = script(dir.path(), "exit 1").start().unwrap();
        let ended = until_serving(child, &mut served, Duration::from_mins(1))
            .await
            .unwrap_err();
        assert!(ended.contains("exit status: 1"), "{ended}");
        // One that goes to the background.
        let child = script(dir.path(), "exit 0").start().unwrap();
        sender.send_replace(true);
        assert_eq!(
            until_serving(child, &mut served, Duration::from_mins(1)).await,
            Ok(())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (_sender, mut served) = watch::channel(false);
        let child = script(dir.path(), "exec sleep 1000").start().unwrap();
        let process = child.id().unwrap();
        let hung = until_serving(child, &mut served, Duration::from_mins(1))
            .await
            .unwrap_err();
        assert!(hung.contains("does not serve"), "{hung}");
        assert!(!std::path::Path::new(&format!("/proc/{process}")).exists());
    }
}
