//! The policy as an `EvictionManager`.

use pingora_cache::eviction::CacheEntryId;
use pingora_cache::eviction::EvictionManager;

use super::*;

fn entry(number: u64) -> CacheEntryKey {
    CacheEntryKey::key_only(key(&format!("k{number}")).to_compact())
}

fn admit(manager: &ScanResistant, number: u64, size: usize) -> Vec<CacheEntryKey> {
    manager.admit(entry(number), size, SystemTime::now())
}

#[test]
fn what_is_admitted_is_counted_and_bounded() {
    let manager = ScanResistant::new(1000);
    let mut gone = 0;
    for number in 0..50 {
        let evicted = admit(&manager, number, 100);
        gone += evicted.len();
        assert!(evicted.iter().all(|entry| !manager.peek(entry)));
        assert!(manager.total_size() <= 1000);
        assert_eq!(manager.total_size(), 100 * manager.total_items());
    }
    assert_eq!(manager.total_items() + gone, 50);
    assert_eq!(manager.evicted_items(), gone);
    assert_eq!(manager.evicted_size(), gone * 100);
    assert_eq!(manager.tracked.lock().len(), manager.total_items());
}

#[test]
fn a_scan_leaves_what_is_read_again() {
    let manager = ScanResistant::new(4000);
    let now = SystemTime::now();
    for number in 0..700 {
        admit(&manager, number, 4);
    }
    for _ in 0..2 {
        for number in 0..700 {
            manager.access(&entry(number), 4, now);
            admit(&manager, 1_000_000 + number, 1);
        }
    }
    for number in 10_000..14_000 {
        admit(&manager, number, 4);
    }
    let kept = (0..700).filter(|&number| manager.peek(&entry(number)));
    assert!(kept.count() >= 630);
}

#[test]
fn weights_grow_as_far_as_the_hint() {
    let manager = ScanResistant::new(1000);
    let now = SystemTime::now();
    assert!(manager.increment_weight(&entry(1), 0, None).is_empty());
    assert_eq!(manager.total_size(), 1, "it weighs something");
    manager.increment_weight(&entry(1), 99, None);
    assert_eq!(manager.total_size(), 100);
    manager.increment_weight(&entry(1), 99, Some(120));
    assert_eq!(manager.total_size(), 120);
    manager.increment_weight(&entry(1), 99, Some(10));
    assert_eq!(manager.total_size(), 120, "a hint shrinks nothing");
    manager.increment_weight(&entry(2), 99, Some(10));
    assert_eq!(manager.total_size(), 130);
    let evicted = manager.increment_weight(&entry(3), 990, None);
    assert!(!evicted.is_empty() && manager.total_size() <= 1000);
    // Access tracks and evicts nothing.
    assert!(!manager.access(&entry(9), 5000, now));
    assert!(manager.total_size() > 5000);
    assert!(manager.access(&entry(9), 1, now));
    manager.remove((&entry(9)).into());
    assert!(!manager.peek(&entry(9)) && manager.total_size() <= 1000);
}

#[test]
fn identities_are_compared_as_a_whole() {
    let manager = ScanResistant::new(1000);
    let compact = key("a").to_compact();
    let named = CacheEntryKey::identified(compact.clone(), CacheEntryId::new(7));
    manager.admit(named.clone(), 10, SystemTime::now());
    for other in [
        CacheEntryKey::key_only(compact.clone()),
        CacheEntryKey::identified(compact, CacheEntryId::new(8)),
        CacheEntryKey::identified(key("b").to_compact(), CacheEntryId::new(7)),
        CacheEntryKey::identified(
            CacheKey::new("a", "user").to_compact(),
            CacheEntryId::new(7),
        ),
    ] {
        assert!(!manager.peek(&other));
        manager.remove((&other).into());
    }
    assert!(manager.peek(&named));
}

#[tokio::test]
async fn what_is_saved_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state").display().to_string();
    let before = ScanResistant::new(1000);
    before
        .load(&path)
        .await
        .expect("nothing to load is no error");
    let named = CacheEntryKey::identified(key("a").to_compact(), CacheEntryId::new(7));
    admit(&before, 1, 10);
    before.admit(named.clone(), 20, SystemTime::now());
    let mut varied = key("v");
    varied.set_variance_key([3; 16]);
    let varied = CacheEntryKey::key_only(varied.to_compact());
    before.admit(varied.clone(), 30, SystemTime::now());
    before.save(&path).await.unwrap();
    let after = ScanResistant::new(1000);
    after.load(&path).await.unwrap();
    assert_eq!((after.total_items(), after.total_size()), (3, 60));
    assert!(
        [entry(1), named, varied]
            .iter()
            .all(|entry| after.peek(entry))
    );
    std::fs::write(dir.path().join("state/scan-resistant.json"), "[{]").unwrap();
    assert!(after.load(&path).await.is_err());
}

#[tokio::test]
async fn it_evicts_from_the_storage_what_it_names() {
    let storage = storage(64 * MIB, None);
    let manager = ScanResistant::new(MIB as u64);
    let mut purged = 0;
    for number in 0..30 {
        let name = format!("k{number}");
        let mut write = begin(storage, &name, &meta("t", None)).await;
        write.write_body(body(1, 100_000), true).await.unwrap();
        let weight = finish(write).await;
        let item = CacheEntryKey::key_only(key(&name).to_compact());
        for evicted in manager.admit(item, weight, SystemTime::now()) {
            let target = PurgeTarget::Exact(&evicted);
            let outcome = storage.purge(target, PurgeType::Eviction, &span()).await;
            assert_eq!(outcome.unwrap(), PurgeOutcome::Purged(None));
            purged += 1;
        }
    }
    let mut found = 0;
    for number in 0..30 {
        found += usize::from(lookup(storage, &format!("k{number}")).await.is_some());
    }
    assert_eq!((found, found + purged), (manager.total_items(), 30));
}
