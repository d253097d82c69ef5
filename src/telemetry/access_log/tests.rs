//! The access log: what a line shows, that hostile values stay inside their field, and that a slow
//! reader costs lines but no request.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::SystemTime;

use http::Method;
use http::StatusCode;
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::s3::Bucket;
use crate::s3::ErrorCode;
use crate::s3::Key;
use crate::s3::Operation;
use crate::s3::Principal;
use crate::telemetry::BytesFrom;
use crate::telemetry::CacheResult;
use crate::telemetry::CacheShare;
use crate::telemetry::OriginShare;

const TEXT: AccessLogConfig = AccessLogConfig {
    to: AccessLogTo::Stdout,
    format: AccessLogFormat::Text,
    keys: true,
};
const JSON: AccessLogConfig = AccessLogConfig {
    to: AccessLogTo::Stdout,
    format: AccessLogFormat::Json,
    keys: true,
};

/// A request refused before anything was known about it.
fn refused() -> RequestRecord<'static> {
    RequestRecord {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_006),
        request_id: "0A1B2C",
        principal: None,
        remote: None,
        method: &Method::GET,
        operation: Operation::Unknown,
        bucket: None,
        key: None,
        status: Some(StatusCode::FORBIDDEN),
        code: Some(ErrorCode::AccessDenied),
        request_bytes: 0,
        response_bytes: 231,
        duration: Duration::from_micros(84),
        first_byte: None,
        origin: None,
        cache: None,
        user_agent: None,
    }
}

/// A request that knows everything, handed to `test`.
fn with_complete<T>(test: impl FnOnce(&RequestRecord<'_>) -> T) -> T {
    let principal = Principal::Client("etl".into());
    let (bucket, key) = (
        Bucket::new("lake").unwrap(),
        Key::new("a b/ü=1.parquet").unwrap(),
    );
    test(&RequestRecord {
        principal: Some(&principal),
        remote: Some(SocketAddr::from(([10, 0, 0, 7], 51234))),
        operation: Operation::GetObject,
        bucket: Some(&bucket),
        key: Some(&key),
        status: Some(StatusCode::PARTIAL_CONTENT),
        code: None,
        response_bytes: 65536,
        duration: Duration::from_micros(41_250),
        first_byte: Some(Duration::from_micros(31_007)),
        origin: Some(OriginShare {
            name: "eu",
            time: Duration::from_millis(30),
            retries: 1,
        }),
        cache: Some(CacheShare {
            result: CacheResult::Partial,
            detail: Some("version"),
            bytes_from: Some(BytesFrom {
                memory: 65_000,
                disk: 0,
                origin: 536,
            }),
            origin_requests: 2,
        }),
        user_agent: Some(b"duckdb/v1.4 \"x\""),
        ..refused()
    })
}

#[test]
fn a_text_line_shows_what_is_known() {
    assert_eq!(
        TEXT.line(&refused()),
        "time=2026-01-02T03:04:05.006Z request_id=0A1B2C method=GET operation=Unknown status=403 \
         code=AccessDenied bytes_in=0 bytes_out=231 duration_ms=0.084"
    );
    assert_eq!(
        with_complete(|record| TEXT.line(record)),
        "time=2026-01-02T03:04:05.006Z request_id=0A1B2C client=etl remote=10.0.0.7:51234 \
         method=GET operation=GetObject bucket=lake key=a%20b/%C3%BC%3D1.parquet status=206 \
         bytes_in=0 bytes_out=65536 duration_ms=41.25 first_byte_ms=31.007 origin=eu origin_ms=30 \
         retries=1 cache=partial cache_detail=version bytes_memory=65000 bytes_disk=0 bytes_origin=536 \
         origin_requests=2 user_agent=\"duckdb/v1.4 \\\"x\\\"\""
    );
}

#[test]
fn a_json_line_shows_the_same() {
    let line: serde_json::Value =
        serde_json::from_str(&with_complete(|record| JSON.line(record))).unwrap();
    let expected = json!({
        "time": "2026-01-02T03:04:05.006Z", "request_id": "0A1B2C", "client": "etl",
        "remote": "10.0.0.7:51234", "method": "GET", "operation": "GetObject", "bucket": "lake",
        "key": "a%20b/%C3%BC%3D1.parquet", "status": 206, "bytes_in": 0, "bytes_out": 65536,
        "duration_ms": 41.25, "first_byte_ms": 31.007, "origin": "eu", "origin_ms": 30.0,
        "retries": 1, "cache": "partial", "cache_detail": "version", "bytes_memory": 65000, "bytes_disk": 0,
        "bytes_origin": 536, "origin_requests": 2, "user_agent": "duckdb/v1.4 \"x\"",
    });
    assert_eq!(line, expected);
    let names: Vec<&String> = line.as_object().unwrap().keys().collect();
    assert!(names.iter().all(|name| FIELDS.contains(&name.as_str())));
}

#[test]
fn keys_can_be_left_out() {
    for format in [AccessLogFormat::Text, AccessLogFormat::Json] {
        let config = AccessLogConfig {
            to: AccessLogTo::Stdout,
            format,
            keys: false,
        };
        let line = with_complete(|record| config.line(record));
        assert!(!line.contains("parquet"), "{line}");
        assert!(line.contains("lake"), "{line}");
    }
}

#[test]
fn a_user_agent_cannot_begin_a_field_or_a_line() {
    let agent = b"x\" status=200\r\ntime=1 \xff\x1b[31m\\";
    let record = RequestRecord {
        user_agent: Some(agent),
        ..refused()
    };
    let text = TEXT.line(&record);
    assert!(
        text.ends_with(r#" user_agent="x\" status=200\r\ntime=1 \u{fffd}\u{1b}[31m\\""#),
        "{text}"
    );
    let long = RequestRecord {
        user_agent: Some(&[b'x'; 4096]),
        ..refused()
    };
    assert!(TEXT.line(&long).ends_with(&format!("={}", "x".repeat(128))));
}

/// Reads a line as a strict logfmt reader would.
fn parse_text(line: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=').unwrap();
        let end = match value.strip_prefix('"') {
            None => value.find(' ').unwrap_or(value.len()),
            Some(quoted) => {
                let mut is_escaped = false;
                let closing = quoted.bytes().position(|byte| {
                    let closes = byte == b'"' && !is_escaped;
                    is_escaped = byte == b'\\' && !is_escaped;
                    closes
                });
                closing.unwrap() + 2
            }
        };
        fields.push((name.to_owned(), value[..end].to_owned()));
        rest = value[end..].strip_prefix(' ').unwrap_or(&value[end..]);
    }
    fields
}

/// The entry for the journal, field by field.
fn fields_of(entry: &str) -> Vec<(&str, &str)> {
    let lines = entry.strip_suffix('\n').unwrap().split('\n');
    lines.map(|line| line.split_once('=').unwrap()).collect()
}

#[test]
fn the_journal_has_the_line_and_its_fields() {
    let config = AccessLogConfig {
        to: AccessLogTo::Journal,
        ..TEXT
    };
    with_complete(|record| {
        let entry = config.line(record);
        let fields = fields_of(&entry);
        assert_eq!(fields[0], ("MESSAGE", TEXT.line(record).as_str()));
        // The answer is no error.
        let names = fields[3..].iter().map(|(name, _)| *name);
        let expected = FIELDS
            .iter()
            .filter(|name| **name != "code")
            .map(|name| format!("S3PROXY_{}", name.to_uppercase()));
        assert!(names.eq(expected), "{entry}");
    });
}

proptest! {
    #[test]
    fn hostile_values_stay_in_their_field_of_the_journal(
        agent in proptest::collection::vec(any::<u8>(), 0..200),
        subject in any::<String>(),
    ) {
        let principal = Principal::WebIdentity(subject.as_str().into());
        let record = RequestRecord {
            principal: Some(&principal),
            user_agent: Some(&agent),
            ..refused()
        };
        let config = AccessLogConfig { to: AccessLogTo::Journal, ..JSON };
        let entry = config.line(&record);
        prop_assert!(entry.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
        let names: Vec<&str> = fields_of(&entry).iter().map(|(name, _)| *name).collect();
        prop_assert_eq!(&names[..3], &["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"]);
        prop_assert!(names[3..].iter().all(|name| name.starts_with("S3PROXY_")));
        prop_assert_eq!(names.len(), 3 + 11);
    }
}

proptest! {
    #[test]
    fn hostile_values_stay_in_their_field(
        agent in proptest::collection::vec(any::<u8>(), 0..200),
        subject in any::<String>(),
        key in "\\PC{1,40}|[\u{0}-\u{ff}\u{2028}\u{202e}]{1,40}",
    ) {
        let principal = Principal::WebIdentity(subject.as_str().into());
        let key = Key::new(&key).unwrap();
        let record = RequestRecord {
            principal: Some(&principal),
            key: Some(&key),
            user_agent: Some(&agent),
            ..refused()
        };
        let (text, json) = (TEXT.line(&record), JSON.line(&record));
        for line in [&text, &json] {
            prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        }
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&parsed["client"], &json!(format!("web-identity:{subject}")));
        let fields = parse_text(&text);
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "time", "request_id", "client", "method", "operation", "key", "status", "code",
            "bytes_in", "bytes_out", "duration_ms", "user_agent",
        ];
        prop_assert_eq!(names, expected);
    }
}

/// An output that a test can hold back and look at.
#[derive(Clone, Default)]
struct Output {
    written: Arc<Mutex<Vec<u8>>>,
    gate: Arc<Mutex<Option<mpsc::Receiver<()>>>>,
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(gate) = &*self.gate.lock() {
            // An error means that the test has opened the gate for good.
            let _ = gate.recv();
        }
        self.written.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_are_written_in_order() {
    let output = Output::default();
    let log = AccessLog::new(TEXT, Metrics::new(), Box::new(output.clone()));
    assert!(log.flush(Duration::ZERO), "nothing to wait for");
    let ids: Vec<String> = (0..5000).map(|id| id.to_string()).collect();
    for id in &ids {
        log.record(&RequestRecord {
            request_id: id,
            ..refused()
        });
        if id == "2500" {
            assert!(log.flush(Duration::from_secs(10)));
        }
    }
    assert!(log.flush(Duration::from_secs(10)));
    let written = String::from_utf8(output.written.lock().clone()).unwrap();
    let seen: Vec<&str> = written
        .lines()
        .map(|line| {
            line.split(' ')
                .nth(1)
                .unwrap()
                .strip_prefix("request_id=")
                .unwrap()
        })
        .collect();
    assert_eq!(seen, ids);
}

#[test]
fn a_blocked_output_costs_lines_but_no_request() {
    let (open, gate) = mpsc::channel();
    let output = Output::default();
    *output.gate.lock() = Some(gate);
    let metrics = Metrics::new();
    let log = AccessLog::new(TEXT, Arc::clone(&metrics), Box::new(output.clone()));
    // Three times what fits into the buffer that waits and the one being written.
    let lines = 3 * 2 * (1 << 20) / TEXT.line(&refused()).len();
    for _ in 0..lines {
        log.record(&refused());
    }
    assert!(!log.flush(Duration::from_millis(1)));
    drop(open);
    assert!(log.flush(Duration::from_secs(10)));
    let exposition = metrics.expose();
    let name = "s3proxy_access_log_dropped_total ";
    let dropped = exposition
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    let dropped: usize = dropped.parse().unwrap();
    let written = String::from_utf8(output.written.lock().clone()).unwrap();
    let written = written.lines().count();
    assert!(dropped > 0);
    assert_eq!(written + dropped, lines);
}
