//! The process's own numbers, read from `/proc/self` when somebody looks at the metrics.
//!
//! The formats are those of <https://man7.org/linux/man-pages/man5/proc.5.html>. What cannot be read
//! keeps its last value: metrics never fail over it.

use std::fs;

use super::table::Families;

/// Clock ticks a second in `/proc`: Linux fixes `USER_HZ` at 100 on every architecture that we
/// build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Sets the `process_*` metrics.
pub(super) fn read_into(families: &Families) {
    if let Some(process) = read("/proc/self/stat").as_deref().and_then(parse_stat) {
        let new = process.cpu_seconds - families.process_cpu.get();
        families.process_cpu.inc_by(new.max(0.0));
        if let Some(boot) = read("/proc/stat")
            .as_deref()
            .and_then(|stat| field(stat, "btime "))
        {
            // Seconds since 1970 lie far below 2^53.
            #[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
            families
                .process_start_time
                .set(boot as f64 + process.started_after_boot);
        }
    }
    if let Some(status) = read("/proc/self/status") {
        if let Some(kibibytes) = field(&status, "VmRSS:") {
            families.process_resident_memory.set(kibibytes * 1024);
        }
        if let Some(threads) = field(&status, "Threads:") {
            families.process_threads.set(threads);
        }
    }
    if let Some(limit) = read("/proc/self/limits").and_then(|text| field(&text, "Max open files")) {
        families.process_max_fds.set(limit);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself, open for this count.
        let count = i64::try_from(entries.count()).unwrap_or(i64::MAX);
        families.process_open_fds.set(count - 1);
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The first number behind a name at the start of a line.
fn field(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    started_after_boot: f64,
}

/// Fields 14, 15 and 22, counted from 1. The second is the program's name in parentheses, which may
/// itself hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let seconds = |number: usize| -> Option<f64> {
        let ticks: f64 = fields.get(number - 3)?.parse().ok()?;
        Some(ticks / TICKS_PER_SECOND)
    };
    Some(Stat {
        cpu_seconds: seconds(14)? + seconds(15)?,
        started_after_boot: seconds(22)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Registry;

    #[test]
    fn stat_is_read_behind_the_last_parenthesis() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 12345 1 2";
        let expected = Stat {
            cpu_seconds: 3.0,
            started_after_boot: 123.45,
        };
        assert_eq!(parse_stat(text), Some(expected));
        assert_eq!(parse_stat("7 (a) S"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn this_process_has_numbers() {
        let families = Families::register(&Registry::new());
        read_into(&families);
        assert!(families.process_resident_memory.get() > 1 << 20);
        assert!(families.process_open_fds.get() > 2);
        assert!(families.process_threads.get() >= 1);
        // After 2020, so neither zero nor the time since boot.
        assert!(families.process_start_time.get() > 1.577e9);
    }
}
