//! What the machine gives the process: open files and memory.

use std::fs;
use std::path::Path;

use bytesize::ByteSize;
use rustix::process::Resource;

use super::Report;
use crate::config::Config;

/// A client's connection, and perhaps one to an origin for it.
const FILES_PER_CONNECTION: u64 = 2;

/// Log, listeners, threads' event queues, and files of the disk tier that are open at a time.
const FILES_BESIDE: u64 = 256;

/// So many are needed to begin with: fills, and some clients.
const FEW_FILES: u64 = 512;

/// What a connection takes; see `limits.connections`.
const BYTES_PER_CONNECTION: u64 = 64 << 10;

/// Compares limits with what is configured.
pub(super) fn examine(config: &Config, report: &mut Report) {
    files(config, report);
    memory(config, report);
}

fn files(config: &Config, report: &mut Report) {
    let limit = rustix::process::getrlimit(Resource::Nofile).current;
    let connections = config.limits.connections as u64;
    let wanted =
        connections * FILES_PER_CONNECTION + config.cache.fill_connections as u64 + FILES_BESIDE;
    let Some(limit) = limit else {
        report.ok("open files", "not limited");
        return;
    };
    let said = format!("{limit} allowed, {wanted} may be needed for {connections} connections");
    let advice = "raise it: LimitNOFILE= of the unit (which counts there, not what this shell has), \
                  `ulimit -n` in a shell; or lower `limits.connections`";
    if limit < FEW_FILES {
        report.problem("open files", said, advice);
    } else if limit < wanted {
        report.warning("open files", said, advice);
    } else {
        report.ok("open files", said);
    }
}

fn memory(config: &Config, report: &mut Report) {
    let cache = &config.cache;
    let wanted = cache.store.memory
        + cache.metas
        + cache.fill_memory
        + config.limits.connections as u64 * BYTES_PER_CONNECTION;
    let group = group_limit();
    let Some(machine) = total() else {
        report.warning("memory", "/proc/meminfo cannot be read", "compare by hand");
        return;
    };
    let there = group.map_or(machine, |group| group.min(machine));
    let shown = |bytes: u64| ByteSize(bytes).display().iec().to_string();
    let said = format!(
        "{} there, up to {} for cache and connections",
        shown(there),
        shown(wanted)
    );
    let advice = "lower `cache.memory`: what does not fit is killed by the kernel";
    if wanted > there {
        report.problem("memory", said, advice);
    } else if wanted > there / 10 * 8 {
        report.warning("memory", said, advice);
    } else {
        report.ok("memory", said);
    }
}

fn total() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The lowest limit of the control groups that this process is in.
fn group_limit() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let groups = Path::new(own).ancestors();
    let limits = groups.filter_map(|group| {
        let limit = fs::read_to_string(root.join(group).join("memory.max")).ok()?;
        limit.trim().parse().ok()
    });
    limits.min()
}
