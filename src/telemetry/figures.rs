//! What the cache holds, read from it when somebody looks at the metrics.

use prometheus::IntCounter;
use prometheus::IntGauge;

use super::labels::DiskState;
use super::labels::Tier;
use super::table::Families;

/// Gives what the cache holds and has counted since the start, at once.
pub trait CacheFigures: Send + Sync {
    /// The present figures.
    fn figures(&self) -> Figures;
}

/// What the cache holds and has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// The memory tier.
    pub memory: TierFigures,
    /// The disk tier.
    pub disk: DiskFigures,
    /// Object metas.
    pub metas: u64,
}

/// What one tier holds and has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TierFigures {
    /// Bytes held.
    pub bytes: u64,
    /// Bytes that may be held now.
    pub capacity: u64,
    /// Entries held: buffers in memory, segments on disk.
    pub entries: u64,
    /// Entries evicted for space since the start.
    pub evictions: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
}

/// What the disk tier holds and has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFigures {
    /// How it is.
    pub state: DiskState,
    /// Why it does not serve, in a few words that hold no path.
    pub fault: Option<&'static str>,
    /// What every tier has.
    pub tier: TierFigures,
    /// Blocks whose checksum was wrong, since the start.
    pub checksum_failures: u64,
    /// Writes dropped since the start.
    pub dropped_writes: u64,
    /// Failures of the file system since the start.
    pub errors: u64,
}

impl Default for DiskFigures {
    /// No disk tier.
    fn default() -> Self {
        Self {
            state: DiskState::Absent,
            fault: None,
            tier: TierFigures::default(),
            checksum_failures: 0,
            dropped_writes: 0,
            errors: 0,
        }
    }
}

impl Figures {
    /// Sets the metrics that show them.
    pub(super) fn show(&self, families: &Families) {
        let tiers = [(Tier::Memory, self.memory), (Tier::Disk, self.disk.tier)];
        for (tier, figures) in tiers {
            let label = [tier.as_str()];
            let gauges = [
                (&families.cache_bytes, figures.bytes),
                (&families.cache_capacity_bytes, figures.capacity),
                (&families.cache_entries, figures.entries),
            ];
            for (family, value) in gauges {
                set(&family.with_label_values(&label), value);
            }
            let counters = [
                (&families.cache_evictions, figures.evictions),
                (&families.cache_evicted_bytes, figures.evicted_bytes),
            ];
            for (family, total) in counters {
                raise(&family.with_label_values(&label), total);
            }
        }
        for state in DiskState::ALL {
            let gauge = families
                .cache_disk_state
                .with_label_values(&[state.as_str()]);
            set(&gauge, u64::from(*state == self.disk.state));
        }
        set(&families.cache_metas, self.metas);
        let disk = &self.disk;
        raise(&families.cache_checksum_failures, disk.checksum_failures);
        raise(&families.cache_disk_writes_dropped, disk.dropped_writes);
        raise(&families.cache_disk_errors, disk.errors);
    }
}

fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Raises a counter to a total that is counted elsewhere. Two readers at once may both see the old
/// value, so they take turns: see [`super::Metrics::expose`].
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::telemetry::Metrics;

    struct Store(Mutex<Figures>);

    impl CacheFigures for Store {
        fn figures(&self) -> Figures {
            *self.0.lock()
        }
    }

    fn assert_lines(metrics: &Metrics, lines: &[&str]) {
        let text = metrics.expose();
        for line in lines {
            assert!(
                text.lines().any(|l| l == *line),
                "{line} is missing in\n{text}"
            );
        }
    }

    #[test]
    fn the_metrics_show_what_the_cache_holds_now() {
        let metrics = Metrics::new();
        assert_lines(&metrics, &["s3proxy_cache_metas 0"]);
        let tier = TierFigures {
            bytes: 10,
            capacity: 20,
            entries: 2,
            evictions: 3,
            evicted_bytes: 30,
        };
        let store = Arc::new(Store(Mutex::new(Figures {
            memory: tier,
            disk: DiskFigures {
                state: DiskState::Serving,
                checksum_failures: 4,
                ..DiskFigures::default()
            },
            metas: 5,
        })));
        let figures: Arc<dyn CacheFigures> = store.clone();
        metrics.show_cache(figures);
        let before = [
            r#"s3proxy_cache_bytes{tier="memory"} 10"#,
            r#"s3proxy_cache_bytes{tier="disk"} 0"#,
            r#"s3proxy_cache_capacity_bytes{tier="memory"} 20"#,
            r#"s3proxy_cache_entries{tier="memory"} 2"#,
            r#"s3proxy_cache_evictions_total{tier="memory"} 3"#,
            r#"s3proxy_cache_evicted_bytes_total{tier="memory"} 30"#,
            r#"s3proxy_cache_disk_state{state="serving"} 1"#,
            r#"s3proxy_cache_disk_state{state="off"} 0"#,
            "s3proxy_cache_checksum_failures_total 4",
            "s3proxy_cache_metas 5",
        ];
        assert_lines(&metrics, &before);
        assert_lines(&metrics, &before);
        store.0.lock().memory.evictions = 7;
        store.0.lock().memory.bytes = 1;
        store.0.lock().disk.state = DiskState::Off;
        assert_lines(
            &metrics,
            &[
                r#"s3proxy_cache_evictions_total{tier="memory"} 7"#,
                r#"s3proxy_cache_bytes{tier="memory"} 1"#,
                r#"s3proxy_cache_disk_state{state="serving"} 0"#,
                r#"s3proxy_cache_disk_state{state="off"} 1"#,
            ],
        );
    }
}
