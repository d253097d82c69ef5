//! `GET /-/top`: the objects and prefixes that are read most.

use http::StatusCode;

use super::pages::Page;
use super::query::Query;
use crate::telemetry::Metrics;
use crate::telemetry::TopBy;

/// Rows that are given when none are named.
const ROWS: usize = 20;

/// As many as are counted.
const MOST: usize = 512;

/// The page that a query asks for.
pub(super) fn page(metrics: &Metrics, query: &str) -> Page {
    match parse(query) {
        Ok((by, limit)) => Page::json(StatusCode::OK, &metrics.top(by, limit)),
        Err(why) => Page::refusal(StatusCode::BAD_REQUEST, &why),
    }
}

fn parse(query: &str) -> Result<(TopBy, usize), String> {
    let query = Query::parse(query, &["by", "limit"])?;
    let by = match query.get("by") {
        None | Some("requests") => TopBy::Requests,
        Some("bytes") => TopBy::Bytes,
        Some("misses") => TopBy::Misses,
        Some(_) => return Err("`by` is `requests`, `bytes` or `misses`".to_owned()),
    };
    let limit = query.number("limit")?.unwrap_or(ROWS);
    Ok((by, limit.clamp(1, MOST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_by_what_and_how_many() {
        assert_eq!(parse(""), Ok((TopBy::Requests, ROWS)));
        assert_eq!(parse("by=misses&limit=3"), Ok((TopBy::Misses, 3)));
        assert_eq!(parse("limit=100000&by=bytes"), Ok((TopBy::Bytes, MOST)));
        assert_eq!(parse("limit=0"), Ok((TopBy::Requests, 1)));
        for bad in ["by=hits", "limit=-1", "limit=x", "order=by"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
