//! Spans as OTLP's protobuf messages.

use std::time::Duration;
use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use opentelemetry_proto::tonic::trace::v1::ScopeSpans;
use opentelemetry_proto::tonic::trace::v1::Span as Message;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use super::FinishedSpan;
use super::Value;

/// The body of a request to a collector.
pub(super) fn encode(spans: &[FinishedSpan]) -> Vec<u8> {
    let text = |text: &str| Value::Text(text.to_owned());
    let scope_spans = ScopeSpans {
        scope: Some(InstrumentationScope {
            name: "s3proxy".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        }),
        spans: spans.iter().map(message).collect(),
        ..ScopeSpans::default()
    };
    let resource = Resource {
        attributes: vec![
            attribute("service.name", &text("s3proxy")),
            attribute("service.version", &text(env!("CARGO_PKG_VERSION"))),
            attribute("process.pid", &Value::Number(std::process::id().into())),
        ],
        ..Resource::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![scope_spans],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec()
}

fn message(span: &FinishedSpan) -> Message {
    let first_byte = span.first_byte.map(|time| Event {
        time_unix_nano: nanoseconds(time),
        name: "first byte".to_owned(),
        ..Event::default()
    });
    Message {
        trace_id: span.trace_id.to_be_bytes().to_vec(),
        span_id: span.span_id.to_be_bytes().to_vec(),
        parent_span_id: span
            .parent
            .map(|parent| parent.to_be_bytes().to_vec())
            .unwrap_or_default(),
        trace_state: span.state.as_deref().unwrap_or_default().to_owned(),
        name: span.name.to_owned(),
        kind: span.kind as i32,
        start_time_unix_nano: nanoseconds(span.start),
        end_time_unix_nano: nanoseconds(span.end),
        attributes: span
            .attributes
            .iter()
            .map(|(name, value)| attribute(name, value))
            .collect(),
        events: first_byte.into_iter().collect(),
        status: span.is_error.then(|| Status {
            code: StatusCode::Error as i32,
            ..Status::default()
        }),
        ..Message::default()
    }
}

fn attribute(name: &str, value: &Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text.clone()),
        Value::Number(number) => any_value::Value::IntValue(*number),
    };
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or(Duration::ZERO).as_nanos();
    u64::try_from(since).unwrap_or(u64::MAX)
}
