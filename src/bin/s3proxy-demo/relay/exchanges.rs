//! One line for each exchange: when it was asked, when its answer began and ended, and what of which object it was.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;

use super::framing::RequestHead;

/// Where the lines go.
#[derive(Debug)]
pub(crate) struct Exchanges {
    begun: Instant,
    file: Mutex<File>,
}

/// A request whose answer is still to come.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) is_head: bool,
    method: String,
    target: String,
    range: Option<String>,
    at: Instant,
}

#[derive(Serialize)]
struct Line<'a> {
    /// Milliseconds since the relay began, each.
    asked: f64,
    /// The first byte leaves for the client.
    first: f64,
    /// So does the last.
    end: f64,
    method: &'a str,
    target: &'a str,
    range: Option<&'a str>,
    /// Of the answer's body.
    bytes: u64,
}

impl Asked {
    pub(crate) fn new(head: &RequestHead) -> Self {
        Self {
            is_head: head.method == "HEAD",
            method: head.method.clone(),
            target: head.target.clone(),
            range: head.range.clone(),
            at: Instant::now(),
        }
    }
}

impl Exchanges {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            begun: Instant::now(),
            file: Mutex::new(File::create(path)?),
        })
    }

    /// The answer to this request has just ended.
    pub(crate) fn ended(&self, asked: &Asked, first: Instant, bytes: u64) {
        let line = Line {
            asked: self.millis(asked.at),
            first: self.millis(first),
            end: self.millis(Instant::now()),
            method: &asked.method,
            target: &asked.target,
            range: asked.range.as_deref(),
            bytes,
        };
        let Ok(mut text) = serde_json::to_vec(&line) else {
            return;
        };
        text.push(b'\n');
        // A log that cannot be written is no reason to stop relaying.
        if let Ok(mut file) = self.file.lock() {
            let _ = file.write_all(&text);
        }
    }

    fn millis(&self, at: Instant) -> f64 {
        let micros = (at - self.begun).as_micros();
        f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0
    }
}
