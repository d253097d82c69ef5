//! `GET /-/stats`: the metrics added up, and the past where it is wanted.

use http::StatusCode;

use super::pages::Page;
use super::query::Query;
use crate::telemetry::Metrics;
use crate::telemetry::Prices;
use crate::telemetry::Resolution;

/// The page that a query asks for.
pub(super) fn page(metrics: &Metrics, prices: &Prices, query: &str) -> Page {
    let (resolution, since) = match parse(query) {
        Ok(wanted) => wanted,
        Err(why) => return Page::refusal(StatusCode::BAD_REQUEST, &why),
    };
    let mut stats = metrics.stats(prices);
    stats.history = resolution.map(|resolution| metrics.past(resolution, since));
    Page::json(StatusCode::OK, &stats)
}

fn parse(query: &str) -> Result<(Option<Resolution>, f64), String> {
    let query = Query::parse(query, &["history", "since"])?;
    let resolution = match query.get("history") {
        None => None,
        Some("second") => Some(Resolution::Second),
        Some("minute") => Some(Resolution::Minute),
        Some(_) => return Err("`history` is `second` or `minute`".to_owned()),
    };
    let since = query.number("since")?.unwrap_or(f64::NEG_INFINITY);
    Ok((resolution, since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_given_where_it_is_wanted() {
        let metrics = Metrics::new();
        metrics.sample();
        let answered = |query| {
            let page = page(&metrics, &Prices::default(), query).into_response();
            let status = page.status().as_u16();
            let body: serde_json::Value = serde_json::from_slice(page.body()).unwrap();
            (status, body)
        };
        let (status, body) = answered("");
        assert_eq!(status, 200);
        assert!(body.get("history").is_none());
        assert_eq!(body["hit_ratio"], serde_json::Value::Null);
        for (query, step) in [("history=second", 1), ("history=minute&since=1.5", 60)] {
            let (_, body) = answered(query);
            assert_eq!(body["history"]["step_seconds"], step);
            assert_eq!(body["history"]["samples"].as_array().unwrap().len(), 1);
        }
        let (_, later) = answered("history=second&since=99999999999");
        assert_eq!(later["history"]["samples"], serde_json::json!([]));
        for bad in ["history=hour", "since=x", "histor=second"] {
            assert_eq!(answered(bad).0, 400, "{bad}");
        }
    }
}
