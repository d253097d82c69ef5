//! What the cache did and saved, read from the proxy's own metrics.

use std::fmt::Write as _;

/// Samples in Prometheus' text format: name, labels as they stand, value.
#[derive(Debug)]
pub(crate) struct Metrics(Vec<(String, String, f64)>);

impl Metrics {
    pub(crate) fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        Self(samples.filter_map(parse_sample).collect())
    }

    /// Adds up the series of `name` that have all of these labels, written `key="value"`.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let is_meant = |present: &str| {
            labels
                .iter()
                .all(|wanted| present.split(',').any(|label| label == *wanted))
        };
        self.0
            .iter()
            .filter(|(known, present, _)| known == name && is_meant(present))
            .map(|(_, _, value)| value)
            // A sum of nothing is -0.
            .fold(0.0, |sum, value| sum + value)
    }

    /// Two lines about all that went through the proxy; nothing where there is no cache.
    pub(crate) fn gains(&self) -> String {
        let reads = self.sum("s3proxy_cache_requests_total", &["operation=\"GetObject\""])
            + self.sum(
                "s3proxy_cache_requests_total",
                &["operation=\"HeadObject\""],
            );
        let hits = self.sum("s3proxy_cache_requests_total", &["result=\"hit\""]);
        let mut text = String::new();
        if reads == 0.0 {
            return text;
        }
        let served = |tier: &str| self.sum("s3proxy_cache_served_bytes_total", &[tier]) / 1e6;
        let _ = writeln!(
            text,
            "hits   {:.0} % of {reads:.0} reads; {:.0} MB from memory, {:.0} from disk, {:.0} from the origin",
            hits / reads * 100.0,
            served("tier=\"memory\""),
            served("tier=\"disk\""),
            served("tier=\"origin\""),
        );
        let _ = writeln!(
            text,
            "saved  {:.0} requests, {:.0} MB, {:.0} s of waiting for first bytes, added up",
            self.sum("s3proxy_saved_requests_total", &[]),
            self.sum("s3proxy_saved_bytes_total", &[]) / 1e6,
            self.sum("s3proxy_saved_seconds_total", &[]),
        );
        text
    }
}

fn parse_sample(line: &str) -> Option<(String, String, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.strip_suffix('}').unwrap_or(labels);
    Some((name.to_owned(), labels.to_owned(), value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP s3proxy_cache_requests_total Requests by what the cache did for them.
s3proxy_cache_requests_total{operation=\"GetObject\",result=\"hit\"} 90
s3proxy_cache_requests_total{operation=\"GetObject\",result=\"miss\"} 8
s3proxy_cache_requests_total{operation=\"HeadObject\",result=\"miss\"} 2
s3proxy_cache_requests_total{operation=\"ListObjectsV2\",result=\"bypass\"} 50
s3proxy_cache_served_bytes_total{tier=\"memory\"} 200000000
s3proxy_cache_served_bytes_total{tier=\"origin\"} 5000000
s3proxy_saved_requests_total{origin=\"demo\"} 90
s3proxy_saved_bytes_total{origin=\"demo\"} 200000000
s3proxy_saved_seconds_total{origin=\"demo\"} 2.79
";

    #[test]
    fn reads_are_what_is_divided_by() {
        let text = Metrics::parse(TEXT).gains();
        assert_eq!(
            text,
            "hits   90 % of 100 reads; 200 MB from memory, 0 from disk, 5 from the origin\n\
             saved  90 requests, 200 MB, 3 s of waiting for first bytes, added up\n"
        );
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn without_a_cache_nothing_is_claimed() {
        assert_eq!(Metrics::parse("s3proxy_requests_total 7\n").gains(), "");
    }
}
