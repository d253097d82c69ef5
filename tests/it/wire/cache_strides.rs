//! Engines that read some columns of a Parquet file, row group after row group, are read ahead of.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::cached::{CacheSetup, Cached, KIB, MIB, delete, head, ranged};
use super::objects::Version;
use super::origin::Seen;
use super::parquet_file::ParquetFile;
use super::reply::Gate;

const CHUNK: u64 = 256 * KIB;

const BLOCK: u64 = 64 * KIB;

/// What may be fetched of one file and never read, beside a quarter of what is fetched, and three
/// fifths of what is asked for; with holes, as much as is asked for.
const ALLOWANCE: u64 = 4 * MIB;

/// A file of 24 row groups with 6 columns.
fn file(seed: u64) -> ParquetFile {
    ParquetFile::new(seed, 24, 6, CHUNK)
}

async fn figure(cached: &Cached, name: &str) -> u64 {
    let name = format!("s3proxy_cache_{name}_bytes_total ");
    let page = cached.proxy.page("/metrics").await.unwrap().text();
    let value = page.lines().find_map(|line| line.strip_prefix(&name));
    value.unwrap().parse().unwrap()
}

/// Stores a file, and opens it as DuckDB does: its head, and its end.
async fn open(cached: &Cached, file: &ParquetFile) -> Arc<Version> {
    let objects = &cached.store.objects;
    let version = objects.put_bytes("lake/a.parquet", &file.bytes);
    cached.head("/lake/a.parquet").await.expect(200, "");
    let first = file.size() - 16 * KIB;
    let end = format!("bytes={first}-{}", file.size() - 1);
    cached.range("/lake/a.parquet", &end).await.expect(206, "");
    version
}

/// Reads a chunk; whether it was there.
async fn read(
    cached: &Cached,
    file: &ParquetFile,
    version: &Version,
    (group, column): (u64, u64),
) -> bool {
    let (first, last) = file.interval(group, column);
    let range = format!("bytes={first}-{last}");
    let answer = cached.range("/lake/a.parquet", &range).await;
    let answer = answer.expect_part(version, first, last);
    answer.cache_status().is_hit
}

/// The first position that the origin is asked for.
fn first_of(seen: &Seen) -> Option<u64> {
    let range = seen.field("range")?.strip_prefix("bytes=")?;
    range.split_once('-')?.0.parse().ok()
}

#[tokio::test]
async fn columns_are_there_before_they_are_asked_for() {
    let cached = Cached::start().await;
    let file = file(1);
    let version = open(&cached, &file).await;
    let mut hits = 0;
    for pair in 0..12 {
        for column in [1, 4, 5] {
            for group in [2 * pair, 2 * pair + 1] {
                hits += u64::from(read(&cached, &file, &version, (group, column)).await);
            }
        }
    }
    // All but the first two row groups, and some that a slow machine brought too late.
    assert!(hits > 50, "{hits} of 72 were there");
    let prefetched = figure(&cached, "prefetched").await;
    assert!(prefetched > 48 * CHUNK, "{prefetched} bytes came ahead");
    // A fill closes a hole to what is there already, and brings what lies around in a file that is read all over.
    let used = figure(&cached, "prefetch_used").await;
    assert!(
        used <= prefetched && used > prefetched - 2 * MIB,
        "{used} of {prefetched}"
    );
    // Nothing came twice, and nothing that is not of these columns.
    let sent: u64 = cached.asks().iter().map(|ask| ask.sent_bytes).sum();
    let tail = 576 * KIB;
    assert!(sent < 72 * (CHUNK + 128 * KIB) + tail, "{sent} bytes");
}

/// What is fetched to close holes beside a column was not expected, and takes no room from what is.
#[tokio::test]
async fn holes_that_are_closed_do_not_end_it() {
    let cached = CacheSetup::memory().with_memory("128MiB").start().await;
    let file = ParquetFile::new(5, 16, 16, CHUNK);
    let version = open(&cached, &file).await;
    for group in 0..16 {
        for column in 5..13 {
            read(&cached, &file, &version, (group, column)).await;
        }
    }
    // A hole of three columns behind the first one, then one that has none.
    for column in [1, 14] {
        let mut hits = 0;
        for group in 0..16 {
            hits += u64::from(read(&cached, &file, &version, (group, column)).await);
        }
        assert!(hits > 10, "{hits} of 16 of column {column} were there");
    }
}

/// Two row groups of a column, then two of another: what is expected never comes.
#[tokio::test]
async fn a_file_of_which_what_is_fetched_is_not_read_is_not_read_ahead_of() {
    let cached = Cached::start().await;
    let file = ParquetFile::new(2, 40, 12, CHUNK);
    let version = open(&cached, &file).await;
    for column in 0..12 {
        for group in [3 * column, 3 * column + 1] {
            read(&cached, &file, &version, (group, column)).await;
        }
    }
    let prefetched = figure(&cached, "prefetched").await;
    assert!(prefetched > CHUNK, "something was expected");
    assert!(prefetched <= ALLOWANCE, "{prefetched} bytes came in vain");
    // A stranger's leaps are not followed any more, however they look.
    cached.asks();
    for group in 37..40 {
        read(&cached, &file, &version, (group, 0)).await;
    }
    let asks = cached.asks();
    assert!(asks.len() <= 3, "{asks:?}");
}

#[tokio::test]
async fn a_random_reader_wastes_no_more_than_is_stated() {
    let cached = Cached::start().await;
    let file = ParquetFile::new(3, 40, 12, CHUNK);
    let version = open(&cached, &file).await;
    let mut state = 1_u64;
    let mut asked = BTreeSet::new();
    for _ in 0..250 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let (group, column) = ((state >> 33) % 40, (state >> 45) % 12);
        read(&cached, &file, &version, (group, column)).await;
        let (first, last) = file.interval(group, column);
        asked.extend(first / BLOCK..=last / BLOCK);
    }
    let prefetched = figure(&cached, "prefetched").await;
    let used = figure(&cached, "prefetch_used").await;
    let wasted = prefetched - used;
    let widened = asked.len() as u64 * BLOCK * 3 / 5;
    assert!(
        wasted <= ALLOWANCE + prefetched / 4 + widened,
        "{wasted} of {prefetched} bytes in vain"
    );
}

#[tokio::test]
async fn what_is_on_its_way_when_the_file_is_written_is_not_kept() {
    let cached = Cached::start().await;
    let (old, new) = (file(4), file(5));
    let version = open(&cached, &old).await;
    let gate = Gate::closed();
    let (held, behind) = (gate.clone(), old.interval(2, 0).0);
    cached.store.bend(move |seen, reply| match first_of(seen) {
        Some(first) if first + 64 * KIB > behind => reply.held(&held),
        _ => reply,
    });
    let mut client = cached.proxy.connect().await;
    for group in 0..2 {
        let (first, last) = old.interval(group, 3);
        let call = ranged("/lake/a.parquet", &format!("bytes={first}-{last}"));
        client.call(&call).await.expect_part(&version, first, last);
    }
    let begun = async {
        while figure(&cached, "prefetched").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let begun = tokio::time::timeout(Duration::from_secs(20), begun).await;
    begun.expect("something is fetched ahead");
    let deleted = delete("/lake/a.parquet");
    client.call(&deleted).await.expect(204, "");
    let version = cached.store.objects.put_bytes("lake/a.parquet", &new.bytes);
    gate.open();
    cached.settle().await;
    for group in 0..6 {
        read(&cached, &new, &version, (group, 3)).await;
    }
}

/// However long the origin takes for what is fetched ahead, and however little may be in flight,
/// clients have their bytes.
#[tokio::test]
async fn clients_do_not_wait_for_what_is_fetched_ahead() {
    let cached = CacheSetup::memory()
        .line("fill_memory: 8MiB")
        .line("fill_connections: 4")
        .start()
        .await;
    let file = file(6);
    let version = open(&cached, &file).await;
    let gate = Gate::closed();
    let (held, behind) = (gate.clone(), file.interval(2, 0).0);
    let end = file.interval(12, 0).0;
    cached.store.bend(move |seen, reply| match first_of(seen) {
        Some(first) if (behind..end).contains(&(first + 64 * KIB)) => reply.held(&held),
        _ => reply,
    });
    let demand = async {
        let mut client = cached.proxy.connect().await;
        let groups = (0..2).chain(13..24);
        for (group, column) in groups.flat_map(|group| [(group, 0), (group, 2), (group, 4)]) {
            let (first, last) = file.interval(group, column);
            let call = ranged("/lake/a.parquet", &format!("bytes={first}-{last}"));
            client.call(&call).await.expect_part(&version, first, last);
        }
        client.call(&head("/lake/a.parquet")).await.expect(200, "");
    };
    let demand = tokio::time::timeout(Duration::from_secs(30), demand).await;
    demand.expect("a client waits");
    assert!(figure(&cached, "prefetched").await > 0);
    gate.open();
}

/// Neither a footer that is none nor one that lies does any harm.
#[tokio::test]
async fn footers_that_lie_do_no_harm() {
    type Change = fn(&mut [u8]);
    let changes: [Change; 3] = [
        // Encrypted.
        |end| end[399] = b'E',
        // Longer than the file.
        |end| end[392..396].copy_from_slice(&u32::MAX.to_le_bytes()),
        // Garbled.
        |end| end[..392].iter_mut().for_each(|byte| *byte = !*byte),
    ];
    for change in changes {
        let cached = Cached::start().await;
        let mut file = ParquetFile::new(7, 24, 3, CHUNK);
        let end = file.bytes.len();
        change(&mut file.bytes[end - 400..]);
        let version = open(&cached, &file).await;
        for group in 0..4 {
            read(&cached, &file, &version, (group, 1)).await;
        }
        assert_eq!(figure(&cached, "prefetched").await, 0);
    }
}
