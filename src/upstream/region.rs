//! Buckets that live in another region than configured.
//!
//! S3 answers 301, 307 or 400 with the right region in `x-amz-bucket-region`. Clients must never
//! see that: they would sign for that region, or leave for that host without credentials. The hint
//! is remembered here and the request is sent again.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingRouting.html>

use std::collections::HashMap;

use http::HeaderMap;
use http::StatusCode;
use http::header;
use parking_lot::RwLock;

use super::config::Endpoint;
use crate::s3::Bucket;

/// Regions are remembered for this many buckets; beyond it they are learned again.
const MAX_BUCKETS: usize = 10_000;

/// What an answer says of the region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegionHint {
    /// The answer is about the request itself.
    None,
    /// The bucket lives in this region.
    Region(String),
    /// A redirect that names no region: it is not followed, and not shown.
    Unusable,
}

/// Reads the hint of an answer. A redirect is one whatever it says; a 400 only with a region that
/// is not the one the request was signed for.
pub fn hint_of(status: StatusCode, headers: &HeaderMap, signed_for: &str) -> RegionHint {
    let named = headers
        .get("x-amz-bucket-region")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
        .or_else(|| region_of_location(headers))
        .filter(|region| is_region(region));
    match (status, named) {
        (StatusCode::BAD_REQUEST, Some(region)) if region != signed_for => {
            RegionHint::Region(region)
        }
        (status, Some(region)) if is_redirect(status) => RegionHint::Region(region),
        (status, None) if is_redirect(status) => RegionHint::Unusable,
        _ => RegionHint::None,
    }
}

fn is_redirect(status: StatusCode) -> bool {
    status.is_redirection() && status != StatusCode::NOT_MODIFIED
}

/// The region in `https://bucket.s3.eu-west-1.amazonaws.com/..`: of the host only this is used.
fn region_of_location(headers: &HeaderMap) -> Option<String> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    let host = location
        .split_once("://")?
        .1
        .split(['/', ':', '?'])
        .next()?;
    let labels: Vec<&str> = host.strip_suffix(".amazonaws.com")?.rsplit('.').collect();
    match *labels.first()? {
        "s3" => None,
        label => match label.strip_prefix("s3-") {
            Some(region) => Some(region.to_owned()),
            None => (labels.get(1) == Some(&"s3")).then(|| label.to_owned()),
        },
    }
}

fn is_region(region: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&region.len()) && region.bytes().all(allowed)
}

/// The endpoint that serves a region, when the configured one is Amazon's; the configured one
/// itself otherwise. A hint can never lead to a host outside the configured service.
pub fn regional_endpoint(configured: &Endpoint, region: &str) -> Endpoint {
    let is_amazon = configured.host == "s3.amazonaws.com"
        || (configured.host.starts_with("s3") && configured.host.ends_with(".amazonaws.com"));
    if !is_amazon {
        return configured.clone();
    }
    Endpoint {
        host: format!("s3.{region}.amazonaws.com"),
        ..configured.clone()
    }
}

/// Regions learned for one origin.
#[derive(Debug, Default)]
pub struct Regions {
    learned: RwLock<HashMap<Bucket, String>>,
}

impl Regions {
    /// The region learned for a bucket.
    pub fn get(&self, bucket: &Bucket) -> Option<String> {
        self.learned.read().get(bucket).cloned()
    }

    /// Remembers where a bucket lives; false when that was known already.
    pub fn learn(&self, bucket: &Bucket, region: &str) -> bool {
        let mut learned = self.learned.write();
        if learned.len() >= MAX_BUCKETS {
            learned.clear();
        }
        learned.insert(bucket.clone(), region.to_owned()).as_deref() != Some(region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(status: u16, fields: &[(&'static str, &'static str)]) -> RegionHint {
        let headers = fields.iter().map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )
        });
        hint_of(
            StatusCode::from_u16(status).unwrap(),
            &headers.collect(),
            "us-east-1",
        )
    }

    fn region(name: &str) -> RegionHint {
        RegionHint::Region(name.to_owned())
    }

    #[test]
    fn redirects_and_region_errors_are_hints() {
        assert_eq!(
            hint(301, &[("x-amz-bucket-region", "eu-west-1")]),
            region("eu-west-1")
        );
        assert_eq!(
            hint(400, &[("x-amz-bucket-region", "eu-west-1")]),
            region("eu-west-1")
        );
        assert_eq!(
            hint(400, &[("x-amz-bucket-region", "us-east-1")]),
            RegionHint::None
        );
        assert_eq!(hint(400, &[]), RegionHint::None);
        assert_eq!(
            hint(200, &[("x-amz-bucket-region", "eu-west-1")]),
            RegionHint::None
        );
        assert_eq!(
            hint(403, &[("x-amz-bucket-region", "eu-west-1")]),
            RegionHint::None
        );
        assert_eq!(hint(304, &[]), RegionHint::None);
        for location in [
            "https://lake.s3.ap-southeast-2.amazonaws.com/a",
            "https://lake.s3-ap-southeast-2.amazonaws.com/a",
        ] {
            assert_eq!(
                hint(307, &[("location", location)]),
                region("ap-southeast-2")
            );
        }
    }

    #[test]
    fn a_redirect_elsewhere_is_not_followed() {
        for location in [
            "http://169.254.169.254/latest",
            "https://evil.example/s3.eu-west-1",
            "/x",
        ] {
            assert_eq!(
                hint(307, &[("location", location)]),
                RegionHint::Unusable,
                "{location}"
            );
        }
        assert_eq!(
            hint(301, &[("x-amz-bucket-region", "evil.example/")]),
            RegionHint::Unusable
        );
    }

    #[test]
    fn only_amazons_endpoints_have_regional_ones() {
        let endpoint = |host: &str| Endpoint {
            is_tls: true,
            host: host.to_owned(),
            port: 443,
        };
        let of = |host| regional_endpoint(&endpoint(host), "eu-west-1").host;
        assert_eq!(of("s3.amazonaws.com"), "s3.eu-west-1.amazonaws.com");
        assert_eq!(
            of("s3.us-east-1.amazonaws.com"),
            "s3.eu-west-1.amazonaws.com"
        );
        assert_eq!(of("minio.internal"), "minio.internal");
    }
}
