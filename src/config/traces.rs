//! Where traces go: `traces`.

use std::time::Duration;

use super::environment::Environment;
use super::error::Findings;
use super::secret;
use super::section::Section;
use crate::s3::Secret;
use crate::upstream::Endpoint;

/// Where traces go, checked.
#[derive(Clone)]
pub struct TracesConfig {
    /// The collector.
    pub endpoint: Endpoint,
    /// The share of traces that is recorded, of those that begin here.
    pub sample_ratio: f64,
    /// What the collector is to be shown.
    pub token: Option<Secret>,
    /// How long one request to it may take.
    pub timeout: Duration,
}

/// Reads `traces`.
pub(super) fn read(
    root: &Section<'_>,
    environment: &Environment,
    findings: &mut Findings,
) -> Option<TracesConfig> {
    let section = root.maybe_section("traces")?;
    Some(TracesConfig {
        token: secret::token(&section, environment, findings),
        sample_ratio: section.ratio("sample_ratio"),
        timeout: section.duration("timeout"),
        // What is no endpoint has been noted.
        endpoint: super::values::endpoint(&section.text("endpoint"))?,
    })
}
