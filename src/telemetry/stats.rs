//! `/-/stats`: the metrics added up to what people ask about. Every number is one of the table's, or
//! follows from some of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures::Figures;
use super::figures::TierFigures;
use super::history::Past;
use super::labels::STATUSES;
use super::labels::Tier;
use super::prices::Prices;
use super::snapshot::Distribution;
use super::snapshot::Snapshot;
use super::snapshot::float;

/// Results that mean an answer without the origin.
pub(super) const HITS: &[&str] = &["hit", "hit_stale"];

/// Results for which the origin was waited for before the first byte.
pub(super) const MISSES: &[&str] = &["partial", "miss", "stale", "bypass"];

/// Operations that read an object.
const READS: &[&str] = &["GetObject", "HeadObject"];

/// All figures at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// The version that runs.
    pub version: &'static str,
    /// How long the process has been running.
    pub uptime_seconds: f64,
    /// When this was, in seconds since 1970.
    pub time: f64,
    /// Connections and requests of clients.
    pub requests: RequestStats,
    /// How many reads were hits; absent before the first.
    pub hit_ratio: Option<f64>,
    /// How many of the bytes given to clients came from memory or disk; absent before the first.
    pub byte_hit_ratio: Option<f64>,
    /// Bytes fetched for a byte that clients asked for; absent before the first.
    pub amplification: Option<f64>,
    /// Bytes.
    pub bytes: ByteStats,
    /// Times to the first byte of reads.
    pub first_byte: FirstByteStats,
    /// What the cache has spared the origins and the clients.
    pub saved: SavedStats,
    /// Each origin.
    pub origins: Vec<OriginStats>,
    /// Each client.
    pub clients: Vec<ClientStats>,
    /// The cache; absent when it is off.
    pub cache: Option<CacheStats>,
    /// What went wrong.
    pub errors: ErrorStats,
    /// The configuration in force, and attempts to change it and the binary.
    pub lifecycle: LifecycleStats,
    /// What the process takes of the machine.
    pub process: ProcessStats,
    /// The past, where it is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Past>,
}

/// Connections and requests of clients.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestStats {
    /// Open connections.
    pub connections: u64,
    /// Connections that a limit closed.
    pub connections_refused: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests that have ended.
    pub total: u64,
    /// Requests sent to origins, each attempt counted.
    pub to_origins: u64,
    /// Those of clients by operation and class of status.
    pub by_operation: BTreeMap<String, BTreeMap<String, u64>>,
    /// These by what the cache did.
    pub by_result: BTreeMap<String, u64>,
    /// GetObject and HeadObject among these by what the cache did.
    pub reads_by_result: BTreeMap<String, u64>,
}

/// Bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ByteStats {
    /// Of bodies from clients.
    pub received: u64,
    /// Of bodies to clients.
    pub sent: u64,
    /// Of objects, as clients asked the cache.
    pub asked: u64,
    /// Of objects that the cache gave, by where they were found.
    pub served: BTreeMap<String, u64>,
    /// Received by fills.
    pub fetched: u64,
    /// Fetched before anybody asked.
    pub prefetched: u64,
    /// Of these, in vain.
    pub prefetch_wasted: u64,
}

/// Times to the first byte.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FirstByteStats {
    /// Of hits.
    pub hit: LatencyStats,
    /// Of everything else.
    pub miss: LatencyStats,
}

/// How long something took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LatencyStats {
    /// How often.
    pub count: u64,
    /// All together.
    pub sum_seconds: f64,
    /// Half took no longer.
    pub p50: Option<f64>,
    /// Nine of ten took no longer.
    pub p90: Option<f64>,
    /// 95 of a hundred took no longer.
    pub p95: Option<f64>,
    /// 99 of a hundred took no longer.
    pub p99: Option<f64>,
}

/// What was spared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SavedStats {
    /// Reads without the origin.
    pub requests: u64,
    /// Bytes from memory or disk.
    pub bytes: u64,
    /// Waiting for the origin.
    pub seconds: f64,
    /// What these requests and bytes would have cost.
    pub money: f64,
    /// What the requests and bytes cost that the origins did get.
    pub spent: f64,
    /// In which currency.
    pub currency: &'static str,
}

/// An origin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OriginStats {
    /// Its configured name.
    pub name: String,
    /// Whether the last probe reached it.
    pub reachable: bool,
    /// Requests sent to it.
    pub requests: u64,
    /// These by operation and class of status.
    pub by_operation: BTreeMap<String, BTreeMap<String, u64>>,
    /// Body bytes received.
    pub bytes: u64,
    /// Requests sent once more.
    pub retries: u64,
    /// Requests without a usable answer, by what happened.
    pub errors: BTreeMap<String, u64>,
    /// Time to the head of its answers.
    pub latency: LatencyStats,
    /// Reads that it was spared.
    pub saved_requests: u64,
    /// Bytes that it was spared.
    pub saved_bytes: u64,
}

/// A client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClientStats {
    /// Its configured name.
    pub name: String,
    /// Requests that have ended.
    pub requests: u64,
    /// Answered with 4xx or 5xx.
    pub errors: u64,
    /// Answered without the origin.
    pub hits: u64,
    /// Body bytes sent.
    pub bytes: u64,
}

/// The cache.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CacheStats {
    /// Objects of which something is known.
    pub metas: u64,
    /// The memory tier.
    pub memory: TierStats,
    /// The disk tier.
    pub disk: TierStats,
    /// How the disk is.
    pub disk_state: &'static str,
    /// Why it does not serve as it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_fault: Option<&'static str>,
    /// Writes that the disk was too slow for.
    pub disk_writes_dropped: u64,
    /// Failures of the file system.
    pub disk_errors: u64,
    /// Blocks whose checksum was wrong.
    pub checksum_failures: u64,
    /// Fills under way.
    pub fills_in_flight: u64,
    /// What happened to fills.
    pub fills: BTreeMap<String, u64>,
    /// Answers that were not let in.
    pub admissions_refused: BTreeMap<String, u64>,
    /// Questions whether a meta is still good.
    pub validations: BTreeMap<String, u64>,
    /// Invalidations by writes.
    pub invalidations: BTreeMap<String, u64>,
    /// Purges by operators.
    pub purges: BTreeMap<String, u64>,
    /// Fills that failed, by what happened.
    pub fill_errors: BTreeMap<String, u64>,
    /// Answers that verify mode compared.
    pub comparisons: u64,
    /// Those that differed, by what.
    pub differences: BTreeMap<String, u64>,
}

/// A tier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierStats {
    /// Bytes held.
    pub bytes: u64,
    /// Bytes that may be held.
    pub capacity: u64,
    /// Entries held.
    pub entries: u64,
    /// Entries evicted for space.
    pub evictions: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErrorStats {
    /// Errors of our own by S3 code.
    pub by_code: BTreeMap<String, u64>,
    /// Answers with 4xx or 5xx by status, whoever gave them.
    pub by_status: BTreeMap<String, u64>,
    /// Lines that the access log had no room for.
    pub access_log_dropped: u64,
}

/// The configuration in force, and attempts to change it and the binary.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LifecycleStats {
    /// When the process started, in seconds since 1970.
    pub started: f64,
    /// When the configuration in force was read, in seconds since 1970.
    pub config_loaded: f64,
    /// Attempts to read it again, by what came of them.
    pub reloads: BTreeMap<String, u64>,
    /// Upgrades that came to nothing.
    pub upgrades_failed: u64,
}

/// What the process takes of the machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessStats {
    /// Processor time, of all threads together.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Open files.
    pub open_files: u64,
    /// How many there may be.
    pub max_open_files: u64,
    /// Threads.
    pub threads: u64,
}

/// What stands in no metric.
pub(super) struct Moment {
    pub(super) uptime_seconds: f64,
    pub(super) time: f64,
    pub(super) figures: Option<Figures>,
}

/// Adds up a look at the metrics.
pub(super) fn stats(look: &Snapshot, moment: &Moment, prices: &Prices) -> Stats {
    let reads = reads_by_result(look);
    let served = look.by("s3proxy_cache_served_bytes_total", "tier", &[]);
    let kept = [Tier::Memory, Tier::Disk].map(|tier| served.get(tier.as_str()));
    let kept: u64 = kept.into_iter().flatten().sum();
    let asked = look.count("s3proxy_cache_asked_bytes_total", &[]);
    let fetched = look.count("s3proxy_cache_fetched_bytes_total", &[]);
    Stats {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: moment.uptime_seconds,
        time: moment.time,
        hit_ratio: ratio(hits(&reads), reads.values().sum()),
        byte_hit_ratio: ratio(kept, served.values().sum()),
        amplification: ratio(fetched, asked),
        bytes: ByteStats {
            received: look.count("s3proxy_request_bytes_total", &[]),
            sent: look.count("s3proxy_response_bytes_total", &[]),
            asked,
            served,
            fetched,
            prefetched: look.count("s3proxy_cache_prefetched_bytes_total", &[]),
            prefetch_wasted: look.count("s3proxy_cache_prefetch_wasted_bytes_total", &[]),
        },
        first_byte: FirstByteStats {
            hit: latency(&first_byte(look, HITS)),
            miss: latency(&first_byte(look, MISSES)),
        },
        requests: requests(look, reads),
        saved: saved(look, prices),
        origins: origins(look),
        clients: clients(look),
        cache: moment.figures.as_ref().map(|figures| cache(look, figures)),
        errors: ErrorStats {
            by_code: look.by("s3proxy_requests_refused_total", "code", &[]),
            by_status: {
                let mut all = look.by("s3proxy_requests_total", "status", &[]);
                all.retain(|status, _| status.starts_with(['4', '5']));
                all
            },
            access_log_dropped: look.count("s3proxy_access_log_dropped_total", &[]),
        },
        lifecycle: LifecycleStats {
            started: look.sum("process_start_time_seconds", &[]),
            config_loaded: look.sum("s3proxy_config_loaded_timestamp_seconds", &[]),
            reloads: look.by("s3proxy_config_reloads_total", "reload", &[]),
            upgrades_failed: look.count("s3proxy_upgrades_failed_total", &[]),
        },
        process: ProcessStats {
            cpu_seconds: look.sum("process_cpu_seconds_total", &[]),
            resident_bytes: look.count("process_resident_memory_bytes", &[]),
            open_files: look.count("process_open_fds", &[]),
            max_open_files: look.count("process_max_fds", &[]),
            threads: look.count("process_threads", &[]),
        },
        history: None,
    }
}

/// GetObject and HeadObject by what the cache did.
pub(super) fn reads_by_result(look: &Snapshot) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for operation in READS {
        let labels = [("operation", *operation)];
        for (result, count) in look.by("s3proxy_cache_requests_total", "result", &labels) {
            *sums.entry(result).or_default() += count;
        }
    }
    sums
}

pub(super) fn hits(reads: &BTreeMap<String, u64>) -> u64 {
    HITS.iter().filter_map(|result| reads.get(*result)).sum()
}

pub(super) fn first_byte(look: &Snapshot, results: &[&str]) -> Distribution {
    look.distribution("s3proxy_read_first_byte_seconds", "result", results)
}

fn requests(look: &Snapshot, reads_by_result: BTreeMap<String, u64>) -> RequestStats {
    const NAME: &str = "s3proxy_requests_total";
    RequestStats {
        connections: look.count("s3proxy_connections", &[]),
        connections_refused: look.count("s3proxy_connections_refused_total", &[]),
        in_flight: look.count("s3proxy_requests_in_flight", &[]),
        total: look.count(NAME, &[]),
        to_origins: look.count("s3proxy_upstream_requests_total", &[]),
        by_operation: by_operation(look, NAME, &[]),
        by_result: look.by("s3proxy_cache_requests_total", "result", &[]),
        reads_by_result,
    }
}

/// By operation and class of status.
fn by_operation(
    look: &Snapshot,
    name: &str,
    labels: &[(&str, &str)],
) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut all: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for status in STATUSES {
        let labels: Vec<_> = labels.iter().copied().chain([("status", status)]).collect();
        for (operation, count) in look.by(name, "operation", &labels) {
            let classes = all.entry(operation).or_default();
            *classes.entry(class(status)).or_default() += count;
        }
    }
    all
}

fn class(status: &str) -> String {
    match status {
        "none" | "given_up" => status.to_owned(),
        _ => format!("{}xx", &status[..1]),
    }
}

fn saved(look: &Snapshot, prices: &Prices) -> SavedStats {
    let requests = look.count("s3proxy_saved_requests_total", &[]);
    let bytes = look.count("s3proxy_saved_bytes_total", &[]);
    let sent = look.by("s3proxy_upstream_requests_total", "operation", &[]);
    let is_read = |operation: &String| READS.contains(&operation.as_str());
    let is_free = |operation: &String| operation.starts_with("Delete");
    let (mut gets, mut others) = (0, 0);
    for (operation, count) in sent.iter().filter(|(operation, _)| !is_free(operation)) {
        *(if is_read(operation) {
            &mut gets
        } else {
            &mut others
        }) += count;
    }
    let received = look.sum("s3proxy_upstream_response_bytes_total", &[]);
    SavedStats {
        requests,
        bytes,
        seconds: look.sum("s3proxy_saved_seconds_total", &[]),
        money: prices.cost(float(requests), 0.0, float(bytes)),
        spent: prices.cost(float(gets), float(others), received),
        currency: "USD",
    }
}

fn origins(look: &Snapshot) -> Vec<OriginStats> {
    let names = look.by("s3proxy_origin_reachable", "origin", &[]);
    let of = |(name, reachable): (String, u64)| {
        let labels = [("origin", name.as_str())];
        let count = |metric| look.count(metric, &labels);
        let latency_of = |metric| latency(&look.distribution(metric, "origin", &[&name]));
        OriginStats {
            reachable: reachable == 1,
            requests: count("s3proxy_upstream_requests_total"),
            by_operation: by_operation(look, "s3proxy_upstream_requests_total", &labels),
            bytes: count("s3proxy_upstream_response_bytes_total"),
            retries: count("s3proxy_upstream_retries_total"),
            errors: look.by("s3proxy_upstream_errors_total", "kind", &labels),
            latency: latency_of("s3proxy_upstream_duration_seconds"),
            saved_requests: count("s3proxy_saved_requests_total"),
            saved_bytes: count("s3proxy_saved_bytes_total"),
            name,
        }
    };
    names.into_iter().map(of).collect()
}

fn clients(look: &Snapshot) -> Vec<ClientStats> {
    let by = |metric| look.by(metric, "client", &[]);
    let errors = by("s3proxy_client_errors_total");
    let hits = by("s3proxy_client_hits_total");
    let bytes = by("s3proxy_client_response_bytes_total");
    let of = |counts: &BTreeMap<String, u64>, name: &str| counts.get(name).copied().unwrap_or(0);
    let client = |(name, requests): (String, u64)| ClientStats {
        requests,
        errors: of(&errors, &name),
        hits: of(&hits, &name),
        bytes: of(&bytes, &name),
        name,
    };
    let all = by("s3proxy_client_requests_total").into_iter();
    all.map(client).collect()
}

fn cache(look: &Snapshot, figures: &Figures) -> CacheStats {
    CacheStats {
        metas: figures.metas,
        memory: tier(&figures.memory),
        disk: tier(&figures.disk.tier),
        disk_state: figures.disk.state.as_str(),
        disk_fault: figures.disk.fault,
        disk_writes_dropped: figures.disk.dropped_writes,
        disk_errors: figures.disk.errors,
        checksum_failures: figures.disk.checksum_failures,
        fills_in_flight: look.count("s3proxy_cache_fills_in_flight", &[]),
        fills: look.by("s3proxy_cache_fills_total", "event", &[]),
        admissions_refused: look.by("s3proxy_cache_admissions_refused_total", "refusal", &[]),
        validations: look.by("s3proxy_cache_validations_total", "validation", &[]),
        invalidations: look.by("s3proxy_cache_invalidations_total", "scope", &[]),
        purges: look.by("s3proxy_cache_purges_total", "scope", &[]),
        fill_errors: look.by("s3proxy_cache_fill_errors_total", "kind", &[]),
        comparisons: look.count("s3proxy_cache_comparisons_total", &[]),
        differences: look.by("s3proxy_cache_differences_total", "difference", &[]),
    }
}

fn tier(figures: &TierFigures) -> TierStats {
    TierStats {
        bytes: figures.bytes,
        capacity: figures.capacity,
        entries: figures.entries,
        evictions: figures.evictions,
        evicted_bytes: figures.evicted_bytes,
    }
}

fn latency(all: &Distribution) -> LatencyStats {
    LatencyStats {
        count: all.count,
        sum_seconds: all.sum,
        p50: all.quantile(0.5),
        p90: all.quantile(0.9),
        p95: all.quantile(0.95),
        p99: all.quantile(0.99),
    }
}

/// `None` of nothing.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| float(part) / float(whole))
}
