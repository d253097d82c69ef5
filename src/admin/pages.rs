//! The pages themselves.

use http::Response;
use http::StatusCode;
use http::header;
use http::header::HeaderValue;
use serde::Serialize;

use crate::telemetry::DiskState;
use crate::telemetry::Figures;
use crate::telemetry::OriginStatus;
use crate::telemetry::Phase;
use crate::telemetry::Reachability;
use crate::telemetry::TierFigures;

const INDEX: &str = "\
s3proxy

/-/dashboard  all of it as plots, for browsers; they get it here, too
/healthz   200 while the process answers
/readyz    200 when requests are welcome, 503 otherwise; says what is known of each origin
/metrics   Prometheus metrics
/-/stats   the metrics added up, as JSON; ?history=second or minute adds samples of the past
/-/top     the objects and prefixes that are read most; ?by=requests, bytes or misses, ?limit=
/-/explain ?bucket=&key=: what is known of an object, and who may read it
/-/purge   POST with bucket and key or prefix: deletes from the cache
/-/warm    POST with bucket and keys or prefix: fetches into the cache
/-/config  the configuration in force, and what came of the last attempt to change it
/-/reload  POST: reads the configuration again
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

    pub(super) fn html(status: StatusCode, body: &str) -> Self {
        Self {
            content_type: "text/html; charset=utf-8",
            ..Self::text(status, body)
        }
    }

    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: serde_json::to_string(body).expect("strings and numbers serialize") + "\n",
        }
    }

    /// Says what is wrong.
    pub(super) fn refusal(status: StatusCode, why: &str) -> Self {
        #[derive(Serialize)]
        struct Refused<'a> {
            error: &'a str,
        }
        Self::json(status, &Refused { error: why })
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

/// What there is. Browsers get something else at the same place.
pub(super) fn index() -> Response<Vec<u8>> {
    let mut index = Page::text(StatusCode::OK, INDEX).into_response();
    let vary = HeaderValue::from_static("accept");
    index.headers_mut().insert(header::VARY, vary);
    index
}

pub(super) fn metrics(exposition: String) -> Page {
    Page {
        status: StatusCode::OK,
        content_type: METRICS_TYPE,
        body: exposition,
    }
}

/// The configuration, which comes as JSON.
pub(super) fn config(json: String) -> Page {
    Page {
        status: StatusCode::OK,
        content_type: "application/json",
        body: json,
    }
}

#[derive(Serialize)]
struct Report<'a> {
    ready: bool,
    phase: &'static str,
    origins: Vec<Origin<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Cache>,
}

/// A tier that fails makes the cache smaller or leaves nothing of it, and requests take longer; they
/// are answered all the same.
#[derive(Serialize)]
struct Cache {
    metas: u64,
    memory: Tier,
    disk: Disk,
}

#[derive(Serialize)]
struct Tier {
    bytes: u64,
    capacity: u64,
}

#[derive(Serialize)]
struct Disk {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    #[serde(flatten)]
    tier: Option<Tier>,
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
pub(super) fn ready(phase: Phase, origins: &[OriginStatus], cache: Option<Figures>) -> Page {
    let is_reachable = |origin: &OriginStatus| origin.reachability == Reachability::Reachable;
    let has_origin = origins.is_empty() || origins.iter().any(is_reachable);
    let ready = phase == Phase::Serving && has_origin;
    let body = Report {
        ready,
        phase: phase.as_str(),
        origins: origins.iter().map(origin).collect(),
        cache: cache.as_ref().map(self::cache),
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Page::json(status, &body)
}

fn cache(figures: &Figures) -> Cache {
    let tier = |figures: &TierFigures| Tier {
        bytes: figures.bytes,
        capacity: figures.capacity,
    };
    let state = figures.disk.state;
    Cache {
        metas: figures.metas,
        memory: tier(&figures.memory),
        disk: Disk {
            state: state.as_str(),
            fault: figures.disk.fault,
            tier: (state != DiskState::Absent).then(|| tier(&figures.disk.tier)),
        },
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
