//! What happens to a response that is stored: restarts, purges, new metas, damage, eviction.

use std::fs;
use std::os::unix::fs::FileExt;

use pingora_cache::CacheEntryId;
use pingora_cache::key::CompactCacheKey;

use super::*;

async fn purge(storage: &'static BlockStorage, name: &str, why: PurgeType) -> PurgeOutcome {
    let compact = key(name).to_compact();
    let target = PurgeTarget::Active(&compact);
    storage.purge(target, why, &span()).await.unwrap()
}

#[tokio::test]
async fn a_restart_finds_everything() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = [body(1, 100), body(2, 3 * MIB + 5)];
    let before = storage(64 * MIB, Some(dir.path()));
    fill(before, "short", "s", &bytes[0]).await;
    fill(before, "long", "l", &bytes[1]).await;
    before.flush().await;
    let after = storage(64 * MIB, Some(dir.path()));
    for (name, tag, bytes) in [("short", "s", &bytes[0]), ("long", "l", &bytes[1])] {
        let (found, all) = read(after, name).await.expect("a hit");
        assert!(found == tag && all == *bytes);
    }
    assert!(lookup(after, "other").await.is_none());
}

#[tokio::test]
async fn a_purged_response_is_gone_from_both_tiers() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(64 * MIB, Some(dir.path()));
    let bytes = body(1, 3 * MIB);
    fill(storage, "a", "old", &bytes).await;
    storage.flush().await;
    let (_, mut reader) = lookup(storage, "a").await.unwrap();
    let outcome = purge(storage, "a", PurgeType::Invalidation).await;
    assert_eq!(outcome, PurgeOutcome::Purged(None));
    assert!(lookup(storage, "a").await.is_none());
    assert_eq!(kept(dir.path(), "metas"), [] as [&Path; 0]);
    // Whoever reads it reads it to the end; then its bytes go.
    assert!(drain(&mut reader).await.unwrap() == bytes);
    drop(reader);
    storage.flush().await;
    assert_eq!(kept(dir.path(), "segments"), [] as [&Path; 0]);
    assert_eq!(storage.store.memory().bytes, 0);
    let outcome = purge(storage, "a", PurgeType::Invalidation).await;
    assert_eq!(outcome, PurgeOutcome::NotFound);
}

#[tokio::test]
async fn a_purge_reaches_what_only_the_disk_knows() {
    let dir = tempfile::tempdir().unwrap();
    let before = storage(64 * MIB, Some(dir.path()));
    fill(before, "a", "old", &body(1, 3 * MIB)).await;
    before.flush().await;
    let after = storage(0, Some(dir.path()));
    let outcome = purge(after, "a", PurgeType::Invalidation).await;
    assert_eq!(outcome, PurgeOutcome::Purged(None));
    after.flush().await;
    assert_eq!(kept(dir.path(), ""), [] as [&Path; 0]);
    assert!(lookup(storage(0, Some(dir.path())), "a").await.is_none());
}

#[tokio::test]
async fn what_was_begun_before_a_purge_is_not_kept_after_it() {
    let storage = storage(64 * MIB, None);
    let mut write = begin(storage, "a", &meta("old", None)).await;
    write.write_body(body(1, 100), false).await.unwrap();
    let (_, mut follower) = lookup(storage, "a").await.unwrap();
    // Eviction means what was there before.
    assert_eq!(
        purge(storage, "a", PurgeType::Eviction).await,
        PurgeOutcome::NotFound
    );
    assert!(lookup(storage, "a").await.is_some());
    let outcome = purge(storage, "a", PurgeType::Invalidation).await;
    assert_eq!(outcome, PurgeOutcome::Purged(None));
    assert!(
        lookup(storage, "a").await.is_none(),
        "nobody follows it any more"
    );
    assert_eq!(finish(write).await, 0);
    assert!(lookup(storage, "a").await.is_none());
    assert_eq!(drain(&mut follower).await.unwrap(), body(1, 100));
    drop(follower);
    assert_eq!(storage.store.memory().bytes, 0);
    fill(storage, "a", "new", &body(2, 100)).await;
    assert_eq!(tag_of(storage, "a").await.as_deref(), Some("new"));
}

#[tokio::test]
async fn an_entry_with_an_id_is_somebody_elses() {
    let storage = storage(64 * MIB, None);
    fill(storage, "a", "t", &body(1, 100)).await;
    let compact: CompactCacheKey = key("a").to_compact();
    let other = CacheEntryKey::identified(compact.clone(), CacheEntryId::new(1));
    for target in [PurgeTarget::Exact(&other)] {
        let purged = storage.purge(target, PurgeType::Eviction, &span()).await;
        assert_eq!(purged.unwrap(), PurgeOutcome::NotFound);
        let expired = storage.expire(target, &span()).await;
        assert_eq!(expired.unwrap(), PurgeOutcome::NotFound);
    }
    let own = CacheEntryKey::key_only(compact);
    let target = PurgeTarget::Exact(&own);
    let purged = storage.purge(target, PurgeType::Eviction, &span()).await;
    assert_eq!(purged.unwrap(), PurgeOutcome::Purged(None));
}

#[tokio::test]
async fn an_expired_response_is_stale_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let before = storage(64 * MIB, Some(dir.path()));
    fill(before, "a", "t", &body(1, 100)).await;
    let compact = key("a").to_compact();
    let expired = before.expire(PurgeTarget::Active(&compact), &span()).await;
    assert_eq!(expired.unwrap(), PurgeOutcome::Expired);
    for storage in [before, storage(64 * MIB, Some(dir.path()))] {
        let (meta, mut hit) = lookup(storage, "a").await.expect("its body is kept");
        assert!(!meta.is_fresh(SystemTime::now()));
        assert_eq!(drain(&mut hit).await.unwrap(), body(1, 100));
    }
    let compact = key("b").to_compact();
    let expired = before.expire(PurgeTarget::Active(&compact), &span()).await;
    assert_eq!(expired.unwrap(), PurgeOutcome::NotFound);
}

#[tokio::test]
async fn a_meta_is_replaced_and_the_body_stays() {
    let dir = tempfile::tempdir().unwrap();
    let before = storage(64 * MIB, Some(dir.path()));
    fill(before, "a", "old", &body(1, 2 * MIB)).await;
    let new = meta("new", Some(2 * MIB));
    assert!(before.update_meta(&key("a"), &new, &span()).await.unwrap());
    for storage in [before, storage(64 * MIB, Some(dir.path()))] {
        let (tag, all) = read(storage, "a").await.expect("a hit");
        assert!(tag == "new" && all == body(1, 2 * MIB));
    }
    assert!(!before.update_meta(&key("b"), &new, &span()).await.unwrap());
}

#[tokio::test]
async fn a_new_response_never_mixes_with_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(64 * MIB, Some(dir.path()));
    let (old, new) = (body(1, 3 * MIB), body(2, 3 * MIB));
    fill(storage, "a", "old", &old).await;
    let (_, mut reader) = lookup(storage, "a").await.unwrap();
    let first = reader.read_body().await.unwrap().unwrap();
    fill(storage, "a", "new", &new).await;
    let (tag, all) = read(storage, "a").await.unwrap();
    assert!(tag == "new" && all == new);
    let rest = drain(&mut reader).await.unwrap();
    assert!(
        [&first[..], &rest].concat() == old,
        "a reader keeps its own"
    );
    drop(reader);
    storage.flush().await;
    assert_eq!(kept(dir.path(), "segments").len(), 3, "one response's");
}

#[tokio::test]
async fn what_is_not_whole_is_a_miss() {
    // A twentieth of the body fits, and of the other one all.
    let storage = storage(MIB, None);
    let weight = fill(storage, "long", "t", &body(1, 20 * MIB)).await;
    assert!(weight >= 20 * MIB);
    assert!(lookup(storage, "long").await.is_none());
    fill(storage, "short", "t", &body(1, BLOCK)).await;
    assert!(lookup(storage, "short").await.is_some());
}

fn damage(file: &Path, offset: u64) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[!byte[0]], offset).unwrap();
}

#[tokio::test]
async fn a_damaged_block_is_a_miss_or_a_cut_and_then_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let before = storage(0, Some(dir.path()));
    let bytes = body(1, 4 * MIB);
    fill(before, "long", "t", &bytes).await;
    before.flush().await;
    let segments = kept(dir.path(), "segments");
    fill(before, "short", "t", &body(1, 3 * BLOCK)).await;
    before.flush().await;
    for segment in kept(dir.path(), "segments") {
        if !segments.contains(&segment) {
            damage(&segment, 4096 + BLOCK as u64 + 17);
        }
    }
    // One of the four; whichever it is, what comes before it is right.
    damage(&segments[2], 4096 + 5 * BLOCK as u64 + 17);
    let after = storage(0, Some(dir.path()));
    assert!(
        lookup(after, "short").await.is_none(),
        "nobody was promised it"
    );
    let (_, mut hit) = lookup(after, "long").await.expect("it seems whole");
    let mut read = 0;
    let end = loop {
        match hit.read_body().await {
            Ok(Some(piece)) => {
                assert!(piece == bytes[read..read + piece.len()]);
                read += piece.len();
            }
            ended => break ended,
        }
    };
    assert!(end.is_err() && read < bytes.len(), "cut, never padded");
    assert!(lookup(after, "long").await.is_none());
    drop(hit);
    after.flush().await;
    assert_eq!(kept(dir.path(), ""), [] as [&Path; 0]);
}

#[tokio::test]
async fn a_record_that_is_not_what_was_written_is_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let before = storage(64 * MIB, Some(dir.path()));
    fill(before, "a", "t", &body(1, 100)).await;
    before.flush().await;
    damage(&kept(dir.path(), "metas")[0], 100);
    let after = storage(64 * MIB, Some(dir.path()));
    assert!(lookup(after, "a").await.is_none());
    fill(after, "a", "new", &body(2, 100)).await;
    assert_eq!(tag_of(after, "a").await.as_deref(), Some("new"));
}

#[tokio::test]
async fn many_at_once_read_and_write_whole_responses() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(8 * MIB, Some(dir.path()));
    let tasks = (0..8_u8).map(|number| {
        tokio::spawn(async move {
            for round in 0..20_u8 {
                let name = format!("k{}", (number + round) % 5);
                if (number + round) % 3 == 0 {
                    let seed = number * 20 + round;
                    fill(storage, &name, &seed.to_string(), &body(seed, MIB + 77)).await;
                } else if (number + round) % 7 == 0 {
                    purge(storage, &name, PurgeType::Invalidation).await;
                } else if let Some((meta, mut hit)) = lookup(storage, &name).await {
                    let tag = meta.headers()["x-tag"].to_str().unwrap();
                    // It may be cut, but what comes is of one response.
                    let wanted = body(tag.parse().unwrap(), MIB + 77);
                    let mut read = 0;
                    while let Ok(Some(piece)) = hit.read_body().await {
                        assert!(piece == wanted[read..read + piece.len()]);
                        read += piece.len();
                    }
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}
