//! What it costs to find a hit, by size and tier, and what of that the range and the disk's records take:
//! nothing is sent, and the clients' side is in `requests`. Longer reads and writes, beside plain files, are in
//! `disk`.

#![allow(clippy::unwrap_used, reason = "a benchmark may fall over")]
#![allow(missing_docs, reason = "the macros of criterion document nothing")]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts stay far below 2^52, and the results are rounded"
)]

mod measure;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, header};
use measure::{disk_tier, meta, object, version};
use s3proxy::cache::store::disk::DiskTier;
use s3proxy::cache::{
    BlockIndex, BlockSize, CacheRules, CachedMeta, Generations, Metas, Store, Verdicts,
};
use s3proxy::read::{ReadAsk, ReadConfig, ReadParts, Reader};
use s3proxy::s3::{BaseDomains, ByteRange, ContentRange, RangeField, Request, RequestHead};
use s3proxy::telemetry::Metrics;
use s3proxy::upstream::{
    Addressing, BucketGlobs, CredentialSource, DownloadConfig, Downloads, Endpoint, Origin,
    OriginConfig, OriginCredentials, Resolver, Timeouts,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Of the object that is read.
const OBJECT_BYTES: usize = 4 * MIB;

/// Of its buffers in memory.
const BUFFER_BYTES: usize = MIB;

const LENGTHS: [(&str, usize); 3] = [("4 KiB", 4 * KIB), ("64 KiB", 64 * KIB), ("1 MiB", MIB)];

/// A range in the middle of the object.
fn ranged(length: usize) -> HeaderMap {
    let range = format!("bytes={MIB}-{}", MIB + length - 1);
    let mut headers = HeaderMap::new();
    headers.insert(header::RANGE, range.parse().unwrap());
    headers
}

/// An origin that nobody asks.
fn origin() -> Arc<Origin> {
    let second = Duration::from_secs(1);
    let config = OriginConfig {
        name: "main".into(),
        endpoint: Endpoint {
            is_tls: false,
            host: "127.0.0.1".to_owned(),
            port: 9,
        },
        region: "us-east-1".to_owned(),
        addressing: Addressing::Path,
        ca_file: None,
        server_name: None,
        credentials: CredentialSource::Anonymous,
        buckets: BucketGlobs::default(),
        trailing_checksums: true,
        timeouts: Timeouts {
            connect: second,
            read: second,
            write: second,
            total: second,
        },
        max_retries: 0,
        idle_timeout: second,
    };
    let credentials = OriginCredentials::new(&config.credentials, &config.region);
    Arc::new(Origin::new(config, credentials, Arc::new(Resolver::new()), 0).unwrap())
}

/// A reader that knows the object, with its bytes in memory or, where a tier is given, on disk.
fn reader(disk: Option<Arc<DiskTier>>) -> Reader {
    let name = object("part-0.bin");
    let generations = Arc::new(Generations::new(1));
    let now = SystemTime::now();
    let meta = CachedMeta::new(
        name.clone(),
        meta(OBJECT_BYTES as u64),
        now,
        generations.current(&name),
    );
    let memory = if disk.is_some() { 0 } else { 1 << 30 };
    let store = Store::new(BlockSize::DEFAULT, memory, disk);
    let bytes = Bytes::from(vec![7; OBJECT_BYTES]);
    for start in (0..OBJECT_BYTES).step_by(BUFFER_BYTES) {
        let buffer = Bytes::copy_from_slice(&bytes[start..start + BUFFER_BYTES]);
        let block = BlockSize::DEFAULT.block_at(start as u64);
        store.admit(&meta.version, block, buffer);
    }
    let metas = Metas::new(1 << 20, Arc::clone(&generations));
    metas.insert(meta, now);
    let config = ReadConfig {
        block_size: BlockSize::DEFAULT,
        fill_memory: 64 << 20,
    };
    let parts = ReadParts {
        store: Arc::new(store),
        metas: Arc::new(metas),
        generations,
        verdicts: Arc::new(Verdicts::new(Duration::ZERO)),
        downloads: Arc::new(Downloads::new(DownloadConfig::default(), None)),
        metrics: Metrics::new().cache(),
    };
    Reader::new(config, parts)
}

fn ask(headers: &HeaderMap) -> ReadAsk {
    let method = Method::GET;
    let head = RequestHead {
        method: &method,
        raw_path: "/lake/part-0.bin",
        raw_query: "",
        host: "127.0.0.1:9000",
        headers,
    };
    let request = Request::classify(&head, &BaseDomains::default()).unwrap();
    let rules = CacheRules::new(Vec::new()).unwrap();
    let rule = rules.rule_for("lake", "part-0.bin").clone();
    let object = object("part-0.bin");
    ReadAsk::new(
        object,
        origin(),
        rule,
        &request,
        headers,
        None,
        SystemTime::now(),
    )
}

/// Which bytes, which blocks, and how the answer says it.
fn ranges(criterion: &mut Criterion) {
    for (name, length) in LENGTHS {
        let headers = ranged(length);
        criterion.bench_function(&format!("range/{name}"), |bencher| {
            bencher.iter(|| {
                let field = RangeField::parse(black_box(&headers));
                let ByteRange::Part(interval) = field.resolve(OBJECT_BYTES as u64).unwrap() else {
                    panic!("the whole object");
                };
                let blocks = BlockSize::DEFAULT.touched_by(&interval);
                let field: HeaderValue = ContentRange {
                    interval,
                    size: OBJECT_BYTES as u64,
                }
                .to_field();
                (blocks, field)
            });
        });
    }
}

fn hits(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let (runtime, tier) = disk_tier(dir.path(), 1 << 30);
    let _entered = runtime.enter();
    let tiers = [
        ("memory", reader(None)),
        ("disk", reader(Some(Arc::clone(&tier)))),
    ];
    runtime.block_on(tier.flush());
    for (tier, reader) in &tiers {
        for (name, length) in LENGTHS {
            let ask = ask(&ranged(length));
            let hit = || {
                let reply = reader.answer_at_once(black_box(&ask)).expect("a hit");
                reply.body.unwrap().take_whole().unwrap()
            };
            assert_eq!(hit().iter().map(Bytes::len).sum::<usize>(), length);
            criterion.bench_function(&format!("hit/{tier}/{name}"), |bencher| bencher.iter(hit));
        }
    }
}

/// Blocks of one record: read from an open file in the page cache and checked, and written until they can
/// be read.
fn records(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let (runtime, tier) = disk_tier(dir.path(), 1 << 30);
    let bytes = Bytes::from(vec![7; MIB]);
    let blocks = |length: usize| BlockSize::DEFAULT.touched_by(&(0..length as u64));
    let read = version("read", OBJECT_BYTES);
    runtime.block_on(async {
        tier.write(&read, BlockIndex(0), bytes.clone());
        tier.flush().await;
    });
    for (name, length) in &LENGTHS[1..] {
        criterion.bench_function(&format!("record/read/{name}"), |bencher| {
            bencher.iter(|| {
                let run = tier.read_at_once(&read, blocks(black_box(*length)));
                assert_eq!(run.expect("a hit").len(), *length);
            });
        });
        let written = version("written", OBJECT_BYTES);
        let piece = bytes.slice(..*length);
        criterion.bench_function(&format!("record/write/{name}"), |bencher| {
            bencher.iter_batched(
                || {
                    // The next one is a new file again.
                    tier.forget(&written);
                    runtime.block_on(tier.flush());
                    piece.clone()
                },
                |piece| {
                    tier.write(&written, BlockIndex(0), piece);
                    runtime.block_on(tier.flush());
                },
                BatchSize::PerIteration,
            );
        });
        let kept = tier.read_at_once(&written, blocks(*length));
        assert_eq!(kept.expect("it is written").len(), *length);
    }
}

criterion_group!(benches, ranges, hits, records);
criterion_main!(benches);
