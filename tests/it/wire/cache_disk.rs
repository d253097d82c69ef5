//! The disk tier under everything that happens to disks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::ReadWriteFlags;

use super::cached::{
    Ask, CacheSetup, KIB, MIB, asks, call_keeping, comes_true, get, head, put, ranged,
};
use super::object_origin::ObjectOrigin;
use super::objects::Version;
use super::proxy::Proxy;
use super::segment_files as spoiled;

/// A directory that outlives the proxies that use it.
struct Disk {
    root: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("cache")
    }

    fn setup(&self) -> CacheSetup {
        CacheSetup::disk(&self.dir()).rule("{freshness: 1h}")
    }
}

/// Some objects, of one segment and of several, whole and with a short last block.
fn fill_store(store: &ObjectOrigin) -> Vec<(String, Arc<Version>)> {
    let sizes = [9 * MIB + 77, 4 * MIB, 700 * KIB, 64 * KIB, 5000];
    let objects = sizes.iter().enumerate();
    objects
        .map(|(index, size)| {
            let path = format!("lake/object-{index}");
            let version = store.objects.put(&path, *size);
            (path, version)
        })
        .collect()
}

async fn read_all(proxy: &Proxy, objects: &[(String, Arc<Version>)]) {
    for (path, version) in objects {
        let answer = call_keeping(proxy, &get(&format!("/{path}"))).await;
        answer.expect_whole(version);
        if version.size() > 70_000 {
            let answer =
                call_keeping(proxy, &ranged(&format!("/{path}"), "bytes=65530-65600")).await;
            answer.expect_part(version, 65_530, 65_600);
        }
    }
}

fn sent(asks: &[Ask]) -> u64 {
    asks.iter().map(|ask| ask.sent_bytes).sum()
}

/// A store, its objects, and a directory that holds all of them.
async fn warm_disk(disk: &Disk) -> (ObjectOrigin, Vec<(String, Arc<Version>)>) {
    let store = ObjectOrigin::start().await;
    let objects = fill_store(&store);
    let proxy = disk.setup().before(&store).await;
    read_all(&proxy, &objects).await;
    let bytes: u64 = objects.iter().map(|(_, version)| version.size()).sum();
    spoiled::settle(&disk.dir(), bytes).await;
    drop(proxy); // by SIGKILL
    asks(&store);
    (store, objects)
}

#[tokio::test]
async fn a_restart_finds_everything_at_once() {
    let disk = Disk::new();
    let (store, objects) = warm_disk(&disk).await;
    for _ in 0..2 {
        let proxy = disk.setup().before(&store).await;
        let answer = call_keeping(&proxy, &get("/lake/object-0")).await;
        answer.expect_whole(&objects[0].1);
        read_all(&proxy, &objects).await;
        let asks = asks(&store);
        assert_eq!(sent(&asks), 0, "bytes were fetched again: {asks:?}");
        // What was learned before the restart is confirmed once: somebody else may have written.
        assert!(asks.len() <= objects.len(), "{asks:?}");
        let is_question = |ask: &Ask| ask.if_none_match.is_some() && ask.answered == Some(304);
        assert!(asks.iter().all(is_question), "{asks:?}");
        let from_disk = proxy
            .metric("s3proxy_cache_served_bytes_total", "disk")
            .await;
        assert!(from_disk >= 13 * MIB, "{from_disk}");
    }
}

/// Where the file system says what it has in memory, that is read at once, without a session of Pingora's.
#[tokio::test]
async fn what_the_page_cache_holds_takes_the_fast_path() {
    let disk = Disk::new();
    if !knows_what_is_in_memory(disk.root.path()) {
        return;
    }
    let (store, objects) = warm_disk(&disk).await;
    let proxy = disk.setup().before(&store).await;
    let (path, version) = &objects[1];
    let read = async |first: u64| {
        let range = format!("bytes={first}-{}", first + 9);
        let answer = call_keeping(&proxy, &ranged(&format!("/{path}"), &range)).await;
        answer.expect_part(version, first, first + 9).expect_hit();
    };
    // The origin confirms what was learned before the restart.
    let range = ranged(&format!("/{path}"), "bytes=0-9");
    call_keeping(&proxy, &range)
        .await
        .expect_part(version, 0, 9);
    let fast = async || {
        proxy.wait_until_idle().await;
        proxy.metric("s3proxy_fast_path_requests_total", "").await
    };
    let before = fast().await;
    for first in [MIB, 2 * MIB + 5, 3 * MIB] {
        read(first).await;
    }
    assert_eq!(fast().await - before, 3);
}

/// Whether the file system below a directory says what it has in memory.
fn knows_what_is_in_memory(dir: &Path) -> bool {
    let path = dir.join("probe");
    fs::write(&path, [1; 100]).unwrap();
    let file = fs::File::open(&path).unwrap();
    let mut bytes = [0; 100];
    let mut slices = [std::io::IoSliceMut::new(&mut bytes)];
    let read = rustix::io::preadv2(&file, &mut slices, 0, ReadWriteFlags::NOWAIT);
    read == Ok(100)
}

/// Without memory for blocks, everything comes from disk.
#[tokio::test]
async fn the_disk_serves_alone() {
    let disk = Disk::new();
    let store = ObjectOrigin::start().await;
    let objects = fill_store(&store);
    let proxy = disk.setup().with_memory("0").before(&store).await;
    read_all(&proxy, &objects).await;
    let bytes: u64 = objects.iter().map(|(_, version)| version.size()).sum();
    spoiled::settle(&disk.dir(), bytes).await;
    asks(&store);
    read_all(&proxy, &objects).await;
    let asks = asks(&store);
    assert!(asks.is_empty(), "{asks:?}");
}

#[tokio::test]
async fn spoiled_files_are_misses() {
    type Spoil = fn(&[PathBuf]);
    let spoils: Vec<(&str, bool, Spoil)> = vec![
        ("a bit in every block", true, |paths| {
            for path in paths {
                spoiled::flip_bits(path, 40_000, 64 << 10);
            }
        }),
        ("a bit in every 512 bytes", false, |paths| {
            for path in paths {
                spoiled::flip_bits(path, 3, 512);
            }
        }),
        ("the head", false, |paths| {
            for path in paths {
                spoiled::overwrite(path, 0, &[0xA5; 4096]);
            }
        }),
        ("zeros for a head", false, |paths| {
            for path in paths {
                spoiled::overwrite(path, 0, &[0; 4096]);
            }
        }),
        ("nothing", false, |paths| {
            for path in paths {
                spoiled::truncate(path, 0);
            }
        }),
        ("a torn end", false, |paths| {
            for path in paths {
                let length = fs::metadata(path).unwrap().len();
                spoiled::truncate(path, length / 2 + 13);
            }
        }),
        ("a stub", false, |paths| {
            for path in paths {
                spoiled::truncate(path, 100);
            }
        }),
        ("the file of another segment", false, |paths| {
            spoiled::rotate(paths);
        }),
        ("holes", false, |paths| {
            for path in paths {
                let length = fs::metadata(path).unwrap().len();
                spoiled::truncate(path, length.min(9000));
                spoiled::truncate(path, length);
            }
        }),
        ("directories in the place of files", false, |paths| {
            for path in paths {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }
        }),
    ];
    for (name, is_counted, spoil) in spoils {
        println!("{name}");
        let disk = Disk::new();
        let (store, objects) = warm_disk(&disk).await;
        let segments = spoiled::segments(&disk.dir());
        assert!(segments.len() >= 5, "{segments:?}");
        spoil(&segments);
        let proxy = disk.setup().before(&store).await;
        read_all(&proxy, &objects).await;
        assert!(sent(&asks(&store)) > 0, "{name}: nothing was fetched again");
        let failures = proxy
            .metric("s3proxy_cache_checksum_failures_total", "")
            .await;
        assert!(failures > 0 || !is_counted, "{name}: not counted");
        // And what was fetched again is kept, in memory at least.
        read_all(&proxy, &objects).await;
        assert_eq!(sent(&asks(&store)), 0, "{name}");
    }
}

/// While the process runs, and with its files open.
#[tokio::test]
async fn files_that_spoil_while_they_are_used_are_misses() {
    let disk = Disk::new();
    let store = ObjectOrigin::start().await;
    let objects = fill_store(&store);
    let proxy = disk.setup().with_memory("0").before(&store).await;
    read_all(&proxy, &objects).await;
    let bytes: u64 = objects.iter().map(|(_, version)| version.size()).sum();
    spoiled::settle(&disk.dir(), bytes).await;
    for turn in 0..3 {
        for path in spoiled::segments(&disk.dir()) {
            match turn {
                0 => spoiled::flip_bits(&path, 5000, 64 << 10),
                1 => spoiled::truncate(&path, 70_000),
                _ => fs::remove_file(&path).unwrap(),
            }
        }
        read_all(&proxy, &objects).await;
    }
}

#[tokio::test]
async fn a_directory_that_vanishes_takes_only_the_cache_with_it() {
    let disk = Disk::new();
    let (store, objects) = warm_disk(&disk).await;
    let proxy = disk.setup().with_memory("0").before(&store).await;
    read_all(&proxy, &objects).await;
    fs::remove_dir_all(disk.dir()).unwrap();
    for _ in 0..3 {
        read_all(&proxy, &objects).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // Somebody puts a file in its place.
    let _ = fs::remove_dir_all(disk.dir());
    fs::write(disk.dir(), "not a directory").unwrap();
    read_all(&proxy, &objects).await;
}

/// Runs the proxy's directory on a small or read-only file system, where the machine lets a test
/// mount one.
pub(super) mod mounted {
    use std::process::Command;

    /// Whether this process may make a mount namespace.
    pub(crate) fn is_possible() -> bool {
        let made = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "mount",
                "-t",
                "tmpfs",
                "tmpfs",
                "/mnt",
            ])
            .output();
        let is_possible = made.is_ok_and(|output| output.status.success());
        if !is_possible {
            println!("not tested: no mount namespaces here");
        }
        is_possible
    }
}

#[tokio::test]
async fn a_full_disk_makes_the_cache_smaller_and_nothing_else() {
    if !mounted::is_possible() {
        return;
    }
    let disk = Disk::new();
    let store = ObjectOrigin::start().await;
    let objects = fill_store(&store);
    let dir = disk.dir();
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).unwrap();
    let mount = format!("mount -t tmpfs -o size=6m,mode=700 tmpfs {}", dir.display());
    let setup = disk.setup().with_memory("0");
    let proxy = setup
        .with(move |setup| setup.within(&mount))
        .before(&store)
        .await;
    for _ in 0..4 {
        read_all(&proxy, &objects).await;
    }
    let answer = call_keeping(&proxy, &head("/lake/object-4")).await;
    answer.expect_head(&objects[4].1);
}

#[tokio::test]
async fn a_disk_that_turns_read_only_is_read() {
    if !mounted::is_possible() {
        return;
    }
    let disk = Disk::new();
    let (store, objects) = warm_disk(&disk).await;
    let dir = disk.dir();
    let mount = format!(
        "mount --bind {0} {0} && mount -o remount,bind,ro {0}",
        dir.display()
    );
    let proxy = disk
        .setup()
        .with(move |setup| setup.within(&mount))
        .before(&store)
        .await;
    read_all(&proxy, &objects).await;
    let further = store.objects.put("lake/further", 3 * MIB);
    for _ in 0..2 {
        let answer = call_keeping(&proxy, &get("/lake/further")).await;
        answer.expect_whole(&further);
    }
}

/// What was learned of an object goes with it. What a rule calls immutable is believed after a
/// restart without a question.
#[tokio::test]
async fn what_was_known_of_an_object_goes_with_it() {
    let disk = Disk::new();
    let setup = || CacheSetup::disk(&disk.dir()).rule("{freshness: immutable}");
    let store = ObjectOrigin::start().await;
    let old = store.objects.put("lake/a", 1000);
    let proxy = setup().before(&store).await;
    let metas = || spoiled::files(&disk.dir().join("v1/metas")).len();
    call_keeping(&proxy, &get("/lake/a"))
        .await
        .expect_whole(&old);
    assert!(comes_true(|| metas() == 1).await, "it is kept");
    let answer = call_keeping(&proxy, &put("/lake/a", b"new")).await;
    answer.expect(200, "");
    assert!(comes_true(|| metas() == 0).await, "it is not deleted");
    drop(proxy);
    let proxy = setup().before(&store).await;
    let new = store.objects.current("lake/a").unwrap();
    call_keeping(&proxy, &head("/lake/a"))
        .await
        .expect_head(&new);
}

/// What was learned cannot be deleted there, and is not believed after a write all the same.
#[tokio::test]
async fn a_read_only_disk_does_not_bring_back_what_was_written_over() {
    if !mounted::is_possible() {
        return;
    }
    let disk = Disk::new();
    let (store, objects) = warm_disk(&disk).await;
    let dir = disk.dir();
    let mount = format!(
        "mount --bind {0} {0} && mount -o remount,bind,ro {0}",
        dir.display()
    );
    let proxy = CacheSetup::disk(&disk.dir())
        .rule("{freshness: immutable}")
        .with(move |setup| setup.within(&mount))
        .before(&store)
        .await;
    let (path, old) = &objects[4];
    let path = format!("/{path}");
    let answer = call_keeping(&proxy, &head(&path)).await;
    answer.expect_hit().expect_head(old);
    let answer = call_keeping(&proxy, &put(&path, b"new")).await;
    answer.expect(200, "");
    let new = store.objects.current(&objects[4].0).unwrap();
    call_keeping(&proxy, &head(&path)).await.expect_head(&new);
    call_keeping(&proxy, &get(&path)).await.expect_whole(&new);
}

/// A directory with somebody's files in it is not emptied, and the service says why it does not use it.
#[tokio::test]
async fn a_directory_of_others_is_left_alone() {
    let disk = Disk::new();
    fs::create_dir(disk.dir()).unwrap();
    let file = disk.dir().join("holiday.jpg");
    fs::write(&file, "a picture").unwrap();
    let store = ObjectOrigin::start().await;
    let objects = fill_store(&store);
    match disk.setup().before_or_refused(&store).await {
        Ok(proxy) => read_all(&proxy, &objects).await,
        Err(told) => assert!(
            told.contains("holiday.jpg") || told.contains("cache"),
            "{told}"
        ),
    }
    assert_eq!(fs::read(&file).unwrap(), b"a picture");
}

#[tokio::test]
async fn what_is_kept_is_nobody_elses_to_read() {
    let disk = Disk::new();
    let (store, _) = warm_disk(&disk).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&disk.dir()), 0o700);
    for file in spoiled::files(&disk.dir()) {
        assert_eq!(mode(&file) & 0o077, 0, "{}", file.display());
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.contains("object"), "{name} tells a key");
    }
    drop(store);
}

/// No name of a client's choosing leads out of the directory.
#[tokio::test]
async fn keys_do_not_become_paths() {
    let disk = Disk::new();
    let store = ObjectOrigin::start().await;
    let proxy = disk.setup().before(&store).await;
    for path in [
        "lake/../../../escaped",
        "lake/a/../../b",
        "lake//etc/passwd",
        "lake/.",
        "lake/x\\..\\y",
    ] {
        let version = store.objects.put(path, 100 * KIB);
        let encoded = path.replace("..", "%2E%2E").replace('\\', "%5C");
        let answer = call_keeping(&proxy, &get(&format!("/{encoded}"))).await;
        if answer.status == 200 {
            answer.expect_whole(&version);
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let outside = fs::read_dir(disk.root.path()).unwrap();
    let names: Vec<_> = outside.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["cache"]);
}

/// The tier keeps to its size, whatever passes through it.
#[tokio::test]
async fn the_directory_keeps_to_its_size() {
    let disk = Disk::new();
    let store = ObjectOrigin::start().await;
    let setup = disk.setup().with_memory("8MiB").with_disk("24MiB");
    let proxy = setup.before(&store).await;
    let mut most = 0;
    for index in 0..20 {
        let path = format!("lake/{index}");
        let version = store.objects.put(&path, 6 * MIB);
        let answer = call_keeping(&proxy, &get(&format!("/{path}"))).await;
        answer.expect_whole(&version);
        most = most.max(spoiled::total(&disk.dir()));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let rest = spoiled::total(&disk.dir());
    assert!(rest <= 25 * MIB, "{} MiB are left", rest / MIB);
    assert!(rest >= 6 * MIB, "{} MiB are left", rest / MIB);
    // What waits to be written may pass the bound for a moment.
    assert!(
        most <= 24 * MIB + 16 * MIB,
        "{} MiB at some time",
        most / MIB
    );
}
