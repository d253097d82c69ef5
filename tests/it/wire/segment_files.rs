//! The cache's directory, as a test looks into it and spoils it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Every file below a directory.
pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&path)),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}

/// Those that hold blocks.
pub(super) fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found = files(dir);
    found.retain(|path| occupied(path) >= 16 << 10);
    found
}

/// Bytes that the file system has given it; a sparse file is longer.
fn occupied(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |about| about.blocks() * 512)
}

/// Bytes that everything below a directory occupies.
pub(super) fn total(dir: &Path) -> u64 {
    files(dir).iter().map(|path| occupied(path)).sum()
}

/// Waits until at least so many bytes are there and no more come.
pub(super) async fn settle(dir: &Path, bytes: u64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = total(dir);
        if now >= bytes && now == before {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{now} bytes on disk, {bytes} expected"
        );
        before = now;
    }
}

/// Turns one bit in each stretch of so many bytes, from an offset on. Holes stay holes as far as
/// they can.
pub(super) fn flip_bits(path: &Path, from: u64, every: u64) {
    let file = open(path);
    let length = file.metadata().unwrap().len();
    let mut offset = from;
    while offset < length {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
        offset += every;
    }
}

pub(super) fn truncate(path: &Path, length: u64) {
    open(path).set_len(length).unwrap();
}

pub(super) fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    open(path).write_all_at(bytes, offset).unwrap();
}

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

/// Puts the bytes of each of the files under the name of the next.
pub(super) fn rotate(paths: &[PathBuf]) {
    let bodies: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    for (index, body) in bodies.iter().enumerate() {
        fs::write(&paths[(index + 1) % paths.len()], body).unwrap();
    }
}
