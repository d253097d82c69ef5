//! The pages themselves.

use http::Response;
use http::StatusCode;
use http::header;
use http::header::HeaderValue;
use serde::Serialize;

use crate::telemetry::OriginStatus;
use crate::telemetry::Phase;
use crate::telemetry::Reachability;

pub(super) const INDEX: &str = "\
s3proxy

/healthz   200 while the process answers
/readyz    200 when requests are welcome, 503 otherwise; says what is known of each origin
/metrics   Prometheus metrics
";

/// The type of Prometheus's text format, version 0.0.4.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

impl Page {
    pub(super) fn text(status: StatusCode, body: &str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.to_owned(),
        }
    }

    pub(super) fn into_response(self) -> Response<Vec<u8>> {
        let mut response = Response::new(self.body.into_bytes());
        *response.status_mut() = self.status;
        let length = HeaderValue::from(response.body().len());
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_LENGTH, length);
        for (name, value) in [
            (header::CONTENT_TYPE, self.content_type),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            fields.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

pub(super) fn metrics(exposition: String) -> Page {
    Page {
        status: StatusCode::OK,
        content_type: METRICS_TYPE,
        body: exposition,
    }
}

#[derive(Serialize)]
struct Report<'a> {
    ready: bool,
    phase: &'static str,
    origins: Vec<Origin<'a>>,
}

#[derive(Serialize)]
struct Origin<'a> {
    name: &'a str,
    reachable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_secs: Option<u64>,
}

/// Ready while serving, as long as one origin is reachable. One origin of several that is down must
/// not take the others' requests away with it; when all are down, another machine may do better.
pub(super) fn ready(phase: Phase, origins: &[OriginStatus]) -> Page {
    let is_reachable = |origin: &OriginStatus| origin.reachability == Reachability::Reachable;
    let has_origin = origins.is_empty() || origins.iter().any(is_reachable);
    let ready = phase == Phase::Serving && has_origin;
    let body = Report {
        ready,
        phase: phase.as_str(),
        origins: origins.iter().map(origin).collect(),
    };
    Page {
        status: if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        content_type: "application/json",
        body: serde_json::to_string(&body).expect("strings and numbers serialize") + "\n",
    }
}

fn origin(status: &OriginStatus) -> Origin<'_> {
    let (reachable, error) = match status.reachability {
        Reachability::Unknown => (None, None),
        Reachability::Reachable => (Some(true), None),
        Reachability::Unreachable(why) => (Some(false), Some(why)),
    };
    Origin {
        name: &status.name,
        reachable,
        error,
        age_secs: status.age.map(|age| age.as_secs()),
    }
}
