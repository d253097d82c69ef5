//! `s3proxy ctl`: looks at a running proxy and purges and warms its cache, over the admin listener.

mod client;
mod error;
mod show;
mod terminal;
mod text;

use std::process::ExitCode;

use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;
use serde_json::Value;
use serde_json::json;

use crate::config::CtlArgs;
use crate::config::CtlCommand;
use crate::config::PurgeArgs;
use crate::config::WarmArgs;
use client::Answer;
use client::Client;
use client::Target;
use error::CtlError;
use terminal::Terminal;

/// Where the admin listener is when nobody says.
const DEFAULT_ADMIN: &str = "127.0.0.1:3001";

/// Not done, or not ready.
const INCOMPLETE: u8 = 1;

/// Runs a command and says on standard error what went wrong. `admin` is where the listener is when
/// the command does not say.
pub fn run(args: &CtlArgs, admin: Option<&str>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(carry_out(args, admin)),
        Err(error) => Err(CtlError::Exchange(error.to_string())),
    };
    match outcome {
        Ok(code) => code,
        // Whoever reads the output has seen enough.
        Err(CtlError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("s3proxy ctl: {error}");
            error.exit_code()
        }
    }
}

async fn carry_out(args: &CtlArgs, admin: Option<&str>) -> Result<ExitCode, CtlError> {
    let admin = args.admin.as_deref().or(admin).unwrap_or(DEFAULT_ADMIN);
    let client = Client::new(Target::parse(admin)?, args.token_file.as_deref())?;
    let ctl = Ctl {
        client,
        terminal: Terminal::detect(),
        is_json: args.json,
    };
    match &args.command {
        CtlCommand::Status => ctl.status().await,
        CtlCommand::Stats => {
            let at = ctl.client.target().to_string();
            ctl.page("/-/stats", |terminal, told| {
                show::stats(terminal, &at, told)
            })
            .await
        }
        CtlCommand::Top { by, limit } => {
            let path = format!("/-/top?by={}&limit={limit}", by.as_str());
            ctl.page(&path, show::top).await
        }
        CtlCommand::Explain { object } => {
            let (bucket, key) = split(object)?;
            let path = format!("/-/explain?bucket={}&key={}", encoded(bucket), encoded(key));
            ctl.page(&path, show::explain).await
        }
        CtlCommand::Purge(purge) => ctl.purge(purge).await,
        CtlCommand::Warm(warm) => ctl.warm(warm).await,
    }
}

/// A command under way.
struct Ctl {
    client: Client,
    terminal: Terminal,
    is_json: bool,
}

impl Ctl {
    /// Reads a page and shows it.
    async fn page(
        &self,
        path: &str,
        show: impl FnOnce(Terminal, &Value) -> String,
    ) -> Result<ExitCode, CtlError> {
        let body = self.client.get(path).await?.accepted()?;
        self.show(&body, |told| show(self.terminal, told))?;
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, body: &str, show: impl FnOnce(&Value) -> String) -> Result<(), CtlError> {
        if self.is_json {
            self.terminal.print(body)
        } else {
            self.terminal.print(&show(&parsed(body)?))
        }
    }

    /// Fails as a script wants it when the service is not ready.
    async fn status(&self) -> Result<ExitCode, CtlError> {
        let page = self.client.get("/readyz").await?;
        let is_ready = page.status == 200;
        let body = match page.status {
            200 | 503 => page.body,
            _ => page.accepted()?,
        };
        // Without the token there are none.
        let stats = self.client.get("/-/stats").await?;
        let stats = stats.accepted().ok().and_then(|stats| parsed(&stats).ok());
        let at = self.client.target().to_string();
        self.show(&body, |ready| {
            show::status(self.terminal, &at, ready, stats.as_ref())
        })?;
        Ok(done(is_ready))
    }

    async fn purge(&self, args: &PurgeArgs) -> Result<ExitCode, CtlError> {
        let mut order = match (&args.object, &args.prefix) {
            (Some(object), _) => {
                let (bucket, key) = split(object)?;
                json!({"bucket": bucket, "key": key})
            }
            (None, Some(prefix)) => {
                let (bucket, prefix) = split_prefix(prefix)?;
                json!({"bucket": bucket, "prefix": prefix})
            }
            (None, None) => return Err(CtlError::Usage("nothing to purge is named".to_owned())),
        };
        if let Some(origin) = &args.origin {
            order["origin"] = json!(origin);
        }
        let answer = self.client.post("/-/purge", &order.to_string()).await?;
        // It tells how far it came.
        let body = match answer {
            Answer { status: 500, body } => body,
            answer => answer.accepted()?,
        };
        let failures = parsed(&body)?["failures"].as_u64().unwrap_or(1);
        self.show(&body, show::purge)?;
        match failures {
            0 => Ok(ExitCode::SUCCESS),
            failures => Err(CtlError::Incomplete(format!(
                "{failures} files could not be looked at or deleted: purge again, and see the log"
            ))),
        }
    }

    async fn warm(&self, args: &WarmArgs) -> Result<ExitCode, CtlError> {
        let order = warm_order(args)?;
        let mut last = Value::Null;
        let refused = self
            .client
            .events("/-/warm", &order, |line| {
                if self.is_json {
                    self.terminal.print(&format!("{line}\n"))?;
                }
                let event = parsed(line)?;
                if !self.is_json {
                    self.event(&event)?;
                }
                last = event;
                Ok(())
            })
            .await?;
        if let Some(refused) = refused {
            refused.accepted()?;
        }
        if !self.is_json {
            self.terminal.end_line()?;
            self.terminal.print(&show::warmed(&last))?;
        }
        match last["event"].as_str() {
            Some("done") => Ok(done(last["failed"].as_u64() == Some(0))),
            Some("failed") => Err(CtlError::Incomplete(text::string(&last["error"]))),
            _ => Err(CtlError::Exchange("it broke off".to_owned())),
        }
    }

    fn event(&self, event: &Value) -> Result<(), CtlError> {
        match event["event"].as_str() {
            Some("progress") => {
                let line = show::warming(self.terminal, event);
                self.terminal.progress(&line)
            }
            Some("error") => {
                self.terminal.end_line()?;
                let (key, error) = (text::string(&event["key"]), text::string(&event["error"]));
                eprintln!("{key}: {error}");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn warm_order(args: &WarmArgs) -> Result<String, CtlError> {
    let mut order = if let Some(prefix) = &args.prefix {
        let (bucket, prefix) = split_prefix(prefix)?;
        json!({"bucket": bucket, "prefix": prefix})
    } else {
        let mut keys = Vec::new();
        let mut bucket = None;
        for object in &args.objects {
            let (its, key) = split(object)?;
            if *bucket.get_or_insert(its) != its {
                let why = "the objects lie in several buckets; warm one after the other";
                return Err(CtlError::Usage(why.to_owned()));
            }
            keys.push(key);
        }
        json!({"bucket": bucket, "keys": keys})
    };
    order["mode"] = json!(args.mode.as_str());
    if let Some(limit) = args.limit {
        order["limit"] = json!(limit);
    }
    Ok(order.to_string())
}

fn parsed(body: &str) -> Result<Value, CtlError> {
    serde_json::from_str(body).map_err(|error| CtlError::Exchange(error.to_string()))
}

fn done(is_all: bool) -> ExitCode {
    if is_all {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(INCOMPLETE)
    }
}

/// Bucket and key of `BUCKET/KEY`.
fn split(object: &str) -> Result<(&str, &str), CtlError> {
    let (bucket, key) = split_prefix(object)?;
    if key.is_empty() {
        return Err(no_object(object));
    }
    Ok((bucket, key))
}

/// Bucket and beginning of keys of `BUCKET/PREFIX`. The slash has to be there: who means a whole
/// bucket says so.
fn split_prefix(object: &str) -> Result<(&str, &str), CtlError> {
    let name = object.strip_prefix("s3://").unwrap_or(object);
    let (bucket, key) = name.split_once('/').ok_or_else(|| no_object(object))?;
    if bucket.is_empty() {
        Err(no_object(object))
    } else {
        Ok((bucket, key))
    }
}

fn no_object(text: &str) -> CtlError {
    let text = text::clean(text);
    CtlError::Usage(format!("`{text}` is not BUCKET/KEY or s3://BUCKET/KEY"))
}

fn encoded(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CtlMode;

    #[test]
    fn objects_are_written_in_two_ways() {
        assert_eq!(split("lake/a/b").unwrap(), ("lake", "a/b"));
        assert_eq!(split("s3://lake/a").unwrap(), ("lake", "a"));
        assert_eq!(split_prefix("lake/").unwrap(), ("lake", ""));
        for bad in ["", "lake", "lake/", "/a", "s3://lake", "s3:///a"] {
            assert!(split(bad).is_err(), "{bad}");
        }
        assert!(
            split_prefix("lake").is_err(),
            "a whole bucket ends with a slash"
        );
    }

    #[test]
    fn a_warm_is_about_one_bucket() {
        let args = |objects: &[&str]| WarmArgs {
            objects: objects.iter().map(|object| (*object).to_owned()).collect(),
            prefix: None,
            mode: CtlMode::Whole,
            limit: Some(5),
        };
        let order: Value =
            serde_json::from_str(&warm_order(&args(&["lake/a", "s3://lake/b"])).unwrap()).unwrap();
        let expected = json!({"bucket": "lake", "keys": ["a", "b"], "mode": "whole", "limit": 5});
        assert_eq!(order, expected);
        assert!(warm_order(&args(&["lake/a", "pond/b"])).is_err());
    }
}
