//! All metrics at one moment, to be added up: what every page of figures is made from, so that no two
//! can differ.

use std::collections::BTreeMap;

use prometheus::proto::Metric;
use prometheus::proto::MetricFamily;
use prometheus::proto::MetricType;

/// A look at the registry.
pub(super) struct Snapshot(Vec<MetricFamily>);

/// How long something took, over many times.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Distribution {
    pub(super) count: u64,
    pub(super) sum: f64,
    /// Upper bounds, ascending, and how many took no longer.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Snapshot {
    pub(super) fn new(families: Vec<MetricFamily>) -> Self {
        Self(families)
    }

    fn samples(&self, name: &str) -> &[Metric] {
        let family = self.0.iter().find(|family| family.name() == name);
        family.map_or(&[], MetricFamily::get_metric)
    }

    fn kind(&self, name: &str) -> Option<MetricType> {
        let family = self.0.iter().find(|family| family.name() == name);
        family.map(MetricFamily::get_field_type)
    }

    /// The sum of the samples that have these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let kind = self.kind(name);
        let samples = self.samples(name).iter();
        samples
            .filter(|sample| has(sample, labels))
            .map(|sample| value(kind, sample))
            .sum()
    }

    /// The same of something that is counted in whole numbers.
    pub(super) fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        whole(self.sum(name, labels))
    }

    /// Sums by the values of a label, of the samples that have these labels.
    pub(super) fn by(
        &self,
        name: &str,
        label: &str,
        labels: &[(&str, &str)],
    ) -> BTreeMap<String, u64> {
        let kind = self.kind(name);
        let mut sums = BTreeMap::new();
        for sample in self
            .samples(name)
            .iter()
            .filter(|sample| has(sample, labels))
        {
            let pair = sample.get_label().iter().find(|pair| pair.name() == label);
            if let Some(pair) = pair {
                *sums.entry(pair.value().to_owned()).or_default() += whole(value(kind, sample));
            }
        }
        sums
    }

    /// What the histograms with one of these values of the label say together.
    pub(super) fn distribution(&self, name: &str, label: &str, values: &[&str]) -> Distribution {
        let mut all = Distribution::default();
        for sample in self.samples(name) {
            let pair = sample.get_label().iter().find(|pair| pair.name() == label);
            if pair.is_some_and(|pair| values.contains(&pair.value())) {
                all.add(sample);
            }
        }
        all
    }
}

impl Distribution {
    fn add(&mut self, sample: &Metric) {
        let histogram = sample.get_histogram();
        self.count += histogram.get_sample_count();
        self.sum += histogram.get_sample_sum();
        for (index, bucket) in histogram.get_bucket().iter().enumerate() {
            if index == self.buckets.len() {
                self.buckets.push((bucket.upper_bound(), 0));
            }
            self.buckets[index].1 += bucket.cumulative_count();
        }
    }

    /// What has come since an earlier look.
    pub(super) fn since(&self, before: &Self) -> Self {
        let earlier = |index: usize| before.buckets.get(index).map_or(0, |bucket| bucket.1);
        let buckets = self.buckets.iter().enumerate();
        Self {
            count: self.count.saturating_sub(before.count),
            sum: (self.sum - before.sum).max(0.0),
            buckets: buckets
                .map(|(index, (bound, count))| (*bound, count.saturating_sub(earlier(index))))
                .collect(),
        }
    }

    /// The time that this part of all took no longer than: within a bucket as if they were spread
    /// evenly, as Prometheus reckons. `None` without any.
    pub(super) fn quantile(&self, part: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = part * float(self.count);
        let mut below = (0.0, 0);
        for (bound, count) in self.buckets.iter().copied() {
            if float(count) >= rank && count > below.1 {
                if !bound.is_finite() {
                    return Some(below.0);
                }
                let place = (rank - float(below.1)) / float(count - below.1);
                return Some(below.0 + (bound - below.0) * place.clamp(0.0, 1.0));
            }
            below = (bound, count);
        }
        // Beyond the last bound, of which no more is known.
        Some(below.0)
    }
}

fn has(sample: &Metric, labels: &[(&str, &str)]) -> bool {
    labels.iter().all(|(name, value)| {
        let mut pairs = sample.get_label().iter();
        pairs.any(|pair| pair.name() == *name && pair.value() == *value)
    })
}

fn value(kind: Option<MetricType>, sample: &Metric) -> f64 {
    match kind {
        Some(MetricType::COUNTER) => sample.get_counter().get_value(),
        Some(MetricType::GAUGE) => sample.get_gauge().get_value(),
        _ => 0.0,
    }
}

/// Counters beyond 2^53 would be nine petabytes.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and no sample is a fraction where this is asked"
)]
pub(super) fn whole(value: f64) -> u64 {
    value as u64
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(buckets: &[(f64, u64)]) -> Distribution {
        Distribution {
            count: buckets.last().unwrap().1,
            sum: 0.0,
            buckets: buckets.to_vec(),
        }
    }

    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
    }

    #[test]
    fn quantiles_are_reckoned_within_buckets() {
        let all = distribution(&[(0.1, 0), (0.2, 50), (0.4, 100)]);
        near(all.quantile(0.5), 0.2);
        near(all.quantile(0.25), 0.15);
        near(all.quantile(0.75), 0.3);
        near(all.quantile(1.0), 0.4);
        assert_eq!(Distribution::default().quantile(0.5), None);
        // Some took longer than the last bound.
        let long = Distribution {
            count: 4,
            ..distribution(&[(1.0, 2)])
        };
        near(long.quantile(0.99), 1.0);
    }

    #[test]
    fn what_came_since_is_told_apart() {
        let before = distribution(&[(0.1, 10), (1.0, 10)]);
        let after = distribution(&[(0.1, 10), (1.0, 14)]);
        let since = after.since(&before);
        assert_eq!(since.count, 4);
        assert_eq!(since.buckets, [(0.1, 0), (1.0, 4)]);
        assert!(since.quantile(0.5).unwrap() > 0.1);
        assert_eq!(after.since(&Distribution::default()), after);
    }
}
