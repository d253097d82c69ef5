//! The disk tier: rights, file system, space, and how fast it is.

use std::fs;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use bytesize::ByteSize;
use rustix::fs::Advice;

use super::Report;
use crate::cache::CacheMode;
use crate::cache::store::disk::DiskError;
use crate::cache::store::disk::DiskTier;
use crate::config::Config;

/// What is written and read to see how fast it is, at most.
const MEASURED: u64 = 64 << 20;

/// Neither takes longer.
const MEASURING: Duration = Duration::from_secs(3);

/// A disk that is slower is no help: S3 gives about 80 MB/s on each connection.
const SLOW: f64 = 80e6;

/// Entries of the cache's directory that are counted.
const MAX_ENTRIES: usize = 500_000;

/// Tries the directory of the disk tier, where one is configured.
pub(super) fn examine(config: &Config, report: &mut Report) {
    let cache = &config.cache;
    let Some(dir) = cache.store.dir.as_deref() else {
        report.ok("disk", "no `cache.dir`: the cache is in memory only");
        return;
    };
    if cache.mode == CacheMode::Off || cache.store.disk == Some(0) {
        report.ok("disk", "the disk tier is switched off");
        return;
    }
    let subject = format!("disk {}", dir.display());
    if let Err(error) = DiskTier::check(dir) {
        complain(&error, &subject, report);
        return;
    }
    let exists = dir.exists();
    // It would be made in the nearest that there is.
    let Some(place) = dir.ancestors().find(|above| above.exists()) else {
        return;
    };
    if exists {
        report.ok(&subject, "belongs to this account alone");
    } else {
        report.ok(&subject, "is not there yet and can be made");
    }
    file_system(place, &subject, report);
    space(config, place, &subject, report);
    if exists {
        speed(dir, &subject, report);
    }
}

fn complain(error: &DiskError, subject: &str, report: &mut Report) {
    match error {
        // Whoever looks as root has not tried the rights of the service's account.
        DiskError::ForeignOwner { owner, us: 0, .. } => report.warning(
            subject,
            format!("belongs to user {owner}, and this is root: nothing was tried there"),
            format!("run the doctor as that user: setpriv --reuid {owner} --clear-groups s3proxy .. doctor"),
        ),
        _ => report.problem(subject, error.to_string(), "see docs/operations.md"),
    }
}

fn file_system(place: &Path, subject: &str, report: &mut Report) {
    let Ok(found) = rustix::fs::statfs(place) else {
        return;
    };
    // From linux/magic.h; of the sign nothing is wanted.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the numbers have 32 bits"
    )]
    let (name, trap) = match found.f_type as u32 {
        0xEF53 => ("ext4", None),
        0x5846_5342 => ("xfs", None),
        0x9123_683E => ("btrfs", None),
        0x2FC1_2FC1 => ("zfs", None),
        0xF2F5_2010 => ("f2fs", None),
        0x0102_1994 | 0x8584_58F6 => ("tmpfs", Some("it is memory, and gone after a reboot")),
        0x794C_7630 => ("overlayfs", Some("it goes away with the container")),
        0x6969 => ("nfs", Some("it is a network away, as the store is")),
        0xFF53_4D42 | 0xFE53_4D42 => ("smb", Some("it is a network away, as the store is")),
        0x6573_5546 => ("fuse", Some("it is slow, or a network away")),
        _ => ("another file system", None),
    };
    match trap {
        None => report.ok(subject, format!("is on {name}")),
        Some(trap) => {
            let advice = "name a directory on a disk of this machine, best on NVMe";
            report.warning(subject, format!("is on {name}: {trap}"), advice);
        }
    }
}

fn space(config: &Config, place: &Path, subject: &str, report: &mut Report) {
    let Ok(found) = rustix::fs::statvfs(place) else {
        return;
    };
    let size = found.f_blocks.saturating_mul(found.f_frsize);
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let kept_free = size / 100 * u64::from(config.cache.store.min_free);
    let held = config.cache.store.dir.as_deref().map_or(0, bytes_in);
    let usable = (free + held).saturating_sub(kept_free);
    let shown = |bytes: u64| ByteSize(bytes).display().iec().to_string();
    if found.f_files > 0 && found.f_favail < 1000 {
        let said = format!("only {} more files can be made there", found.f_favail);
        report.problem(
            subject,
            said,
            "delete files there, or name another file system",
        );
    }
    let room = format!(
        "{} free of {}, {} of it for the cache",
        shown(free),
        shown(size),
        shown(usable)
    );
    let advice = "lower `cache.disk`, or make room; `min_free` is always left";
    match config.cache.store.disk {
        Some(wanted) if wanted > usable => {
            let said = format!("{room}: less than the {} of `cache.disk`", shown(wanted));
            report.problem(subject, said, advice);
        }
        None if usable < 1 << 30 => report.problem(subject, room, advice),
        _ => report.ok(subject, room),
    }
}

/// What the files below a directory take, as far as they are counted.
fn bytes_in(dir: &Path) -> u64 {
    let mut waiting = vec![dir.to_owned()];
    let (mut bytes, mut entries) = (0_u64, 0);
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            entries += 1;
            if entries > MAX_ENTRIES {
                return bytes;
            }
            match entry.metadata() {
                Ok(found) if found.is_dir() => waiting.push(entry.path()),
                Ok(found) => bytes += found.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    bytes
}

fn speed(dir: &Path, subject: &str, report: &mut Report) {
    match measure(dir) {
        Ok((written, read)) => {
            let said = format!(
                "writes {:.0} MB/s, reads {:.0} MB/s",
                written / 1e6,
                read / 1e6
            );
            if written.min(read) < SLOW {
                let advice = "the store is faster than that: name a faster disk, or no `dir`";
                report.warning(subject, said, advice);
            } else {
                report.ok(subject, said);
            }
        }
        Err(error) => report.problem(
            subject,
            format!("a file cannot be written and read there: {error}"),
            "make room, or see to the disk: the cache would be read-only or off",
        ),
    }
}

/// Bytes a second written and read, past the kernel's cache, in a file that is deleted at once.
fn measure(dir: &Path) -> io::Result<(f64, f64)> {
    // Begins as the tag that marks the directory does, which a starting proxy passes over.
    let path = dir.join(format!("CACHEDIR.TAG.doctor-{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    fs::remove_file(&path)?;
    // Nothing that a file system could make smaller.
    let mut piece = vec![0_u8; 1 << 20];
    let mut word = 0x9E37_79B9_7F4A_7C15_u64;
    for chunk in piece.chunks_exact_mut(8) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let began = Instant::now();
    let mut length = 0_u64;
    while length < MEASURED && began.elapsed() < MEASURING {
        file.write_all(&piece)?;
        length += piece.len() as u64;
    }
    file.sync_data()?;
    let written = rate(length, began);
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    file.rewind()?;
    let began = Instant::now();
    let mut seen = 0_u64;
    while began.elapsed() < MEASURING {
        match file.read(&mut piece)? {
            0 => break,
            bytes => seen += bytes as u64,
        }
    }
    Ok((written, rate(seen, began)))
}

fn rate(bytes: u64, began: Instant) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "at most 64 MiB")]
    let bytes = bytes as f64;
    bytes / began.elapsed().as_secs_f64().max(1e-9)
}
