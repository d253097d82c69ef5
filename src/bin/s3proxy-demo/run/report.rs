//! The comparison: samples in, an 80-column table out.

use std::fmt::{Display, Write as _};

use super::terminal::Terminal;
use super::workload::Sample;
use crate::Error;

/// What one query costs on one of the compared ways.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    seconds: f64,
    requests: u64,
    bytes: u64,
}

/// One query, or all of them.
#[derive(Clone, Debug)]
struct Row {
    query: String,
    /// In the order of the columns.
    costs: Vec<Cost>,
}

/// The longest bar, in columns.
const BAR_COLUMNS: u8 = 38;

/// A way to the data: its column, and which samples belong to it.
type Way = (&'static str, fn(&Sample) -> bool);

const DIRECT: Way = ("direct", |sample| sample.route == "direct");
const COLD: Way = ("cold", |sample| {
    sample.route == "proxy" && sample.round == 0
});
const WARM: Way = ("warm", |sample| sample.route == "proxy" && sample.round > 0);
const RESTARTED: Way = ("restarted", |sample| sample.route == "restarted");

/// Compares the routes, or fails when they did not give the same answers.
pub(crate) fn table(samples: &[Sample], terminal: &Terminal) -> Result<String, Error> {
    check_answers(samples)?;
    let has_proxy = samples.iter().any(|sample| sample.route == "proxy");
    let is_restarted = samples.iter().any(RESTARTED.1);
    let ways: &[Way] = if has_proxy {
        &[DIRECT, COLD, WARM]
    } else {
        &[DIRECT]
    };
    let mut rows = rows_of(samples, ways);
    let total = total_of(&rows, ways.len());
    rows.push(total.clone());

    let column = if has_proxy { 7 } else { 17 };
    let names: Vec<_> = ways.iter().map(|(name, _)| *name).collect();
    let mut text = String::from("\n");
    let mut say = |line: String| text.extend([line.as_str(), "\n"]);
    let heads = ["seconds", "origin requests", "origin MB"];
    say(terminal.bold(cells("", &heads, column * ways.len())));
    say(terminal.dim(cells("query", &names.repeat(3), column)));
    for row in &rows {
        let line = cells(&row.query, &figures(row), column);
        say(if row.query == total.query {
            terminal.bold(line)
        } else {
            line
        });
    }
    let _ = writeln!(text, "\n{}\n", terminal.dim(legend(has_proxy)));
    if let [direct, cold, warm] = total.costs[..] {
        let mut bars = vec![("direct", direct), ("cold", cold), ("warm", warm)];
        if is_restarted && is_cached(direct, warm) {
            let restarted = total_of(&rows_of(samples, &[RESTARTED]), 1).costs[0];
            bars.push(("restarted", restarted));
        }
        for line in drawn(&bars, terminal.bar()) {
            let _ = writeln!(text, "{line}");
        }
        let verdict = verdict(direct, cold, warm);
        let _ = writeln!(text, "\n{}\n", terminal.bold(verdict));
    }
    Ok(text)
}

/// One bar for each way, as long as its time.
fn drawn(ways: &[(&str, Cost)], bar: char) -> Vec<String> {
    let longest = ways.iter().map(|(_, cost)| cost.seconds);
    let longest = longest.fold(f64::MIN_POSITIVE, f64::max);
    ways.iter()
        .map(|(name, cost)| {
            let share = cost.seconds / longest * f64::from(BAR_COLUMNS);
            let columns = (1..=BAR_COLUMNS).filter(|column| f64::from(*column) <= share);
            let bar: String = columns.map(|_| bar).collect();
            format!(
                "{name:<10}{bar:<width$}{:>7.2} s{:>6} origin requests",
                cost.seconds,
                cost.requests,
                width = usize::from(BAR_COLUMNS)
            )
        })
        .collect()
}

/// A fast wrong answer is worth nothing.
fn check_answers(samples: &[Sample]) -> Result<(), Error> {
    for sample in samples {
        let first = samples.iter().find(|other| other.query == sample.query);
        if first.is_some_and(|first| first.answer != sample.answer) {
            return Err(format!(
                "{} gave another result ({}, round {})",
                sample.query,
                sample.route,
                sample.round + 1
            )
            .into());
        }
    }
    Ok(())
}

fn rows_of(samples: &[Sample], ways: &[Way]) -> Vec<Row> {
    let mut queries: Vec<&str> = Vec::new();
    for sample in samples {
        if !queries.contains(&sample.query.as_str()) {
            queries.push(&sample.query);
        }
    }
    let cost = |query: &str, belongs: fn(&Sample) -> bool| {
        let chosen: Vec<_> = samples
            .iter()
            .filter(|sample| sample.query == query && belongs(sample))
            .collect();
        Cost {
            seconds: median(
                chosen.iter().map(|sample| sample.seconds).collect(),
                f64::total_cmp,
            ),
            requests: median(
                chosen.iter().map(|sample| sample.requests).collect(),
                Ord::cmp,
            ),
            bytes: median(chosen.iter().map(|sample| sample.bytes).collect(), Ord::cmp),
        }
    };
    queries
        .into_iter()
        .map(|query| Row {
            query: query.to_owned(),
            costs: ways
                .iter()
                .map(|(_, belongs)| cost(query, *belongs))
                .collect(),
        })
        .collect()
}

fn total_of(rows: &[Row], ways: usize) -> Row {
    let mut costs = vec![Cost::default(); ways];
    for (sum, cost) in rows.iter().flat_map(|row| row.costs.iter().enumerate()) {
        costs[sum].seconds += cost.seconds;
        costs[sum].requests += cost.requests;
        costs[sum].bytes += cost.bytes;
    }
    Row {
        query: "all".to_owned(),
        costs,
    }
}

/// The middle value, the lower one of two.
fn median<T: Copy + Default>(mut values: Vec<T>, order: fn(&T, &T) -> std::cmp::Ordering) -> T {
    values.sort_by(order);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or_default()
}

fn figures(row: &Row) -> Vec<String> {
    let seconds = row.costs.iter().map(|cost| format!("{:.2}", cost.seconds));
    let requests = row.costs.iter().map(|cost| cost.requests.to_string());
    let bytes = row
        .costs
        .iter()
        .map(|cost| format!("{:.1}", megabytes(cost.bytes)));
    seconds.chain(requests).chain(bytes).collect()
}

fn cells(first: &str, others: &[impl Display], width: usize) -> String {
    others.iter().fold(format!("{first:<17}"), |line, cell| {
        format!("{line}{cell:>width$}")
    })
}

#[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn legend(has_proxy: bool) -> &'static str {
    if has_proxy {
        "direct: DuckDB at the origin. cold: through s3proxy for the first time, which\n\
         fetches whole blocks of 64 KiB. warm: after that. restarted: after a new start\n\
         of s3proxy, from disk. Listings are never cached: they still reach the origin.\n\
         Medians of the rounds; DuckDB's own file cache is off; all results were equal."
    } else {
        "direct: DuckDB at the origin. Medians of the rounds; DuckDB's own file cache is off."
    }
}

/// Whether fewer requests reached the origin, as only a cache can bring about.
fn is_cached(direct: Cost, warm: Cost) -> bool {
    warm.requests * 10 < direct.requests * 9
}

/// One honest sentence: without fewer origin requests there was no cache, and the difference is what the proxy costs.
fn verdict(direct: Cost, cold: Cost, warm: Cost) -> String {
    if !is_cached(direct, warm) {
        let overhead = (warm.seconds / direct.seconds - 1.0) * 100.0;
        return format!(
            "Nothing came from a cache: the proxy's overhead is {overhead:+.0} % of the time."
        );
    }
    let times = direct.seconds / warm.seconds;
    let first = direct.seconds / cold.seconds;
    format!(
        "Warm {times:.1} times as fast as direct, with {} origin requests instead of {};\n\
         cold, the first time ever, {first:.1} times as fast.",
        warm.requests, direct.requests
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(route: &str, round: u32, seconds: f64, requests: u64) -> Sample {
        let (query, answer) = ("Q6 forecast".to_owned(), "42".to_owned());
        Sample {
            route: route.to_owned(),
            query,
            round,
            seconds,
            requests,
            bytes: 1_500_000,
            answer,
        }
    }

    #[test]
    fn the_first_round_through_the_proxy_is_the_cold_one() {
        let samples = [
            sample("direct", 0, 2.0, 100),
            sample("proxy", 0, 1.0, 60),
            sample("proxy", 1, 0.5, 0),
            sample("proxy", 2, 0.5, 0),
            sample("restarted", 0, 0.75, 3),
        ];
        let text = table(&samples, &Terminal::plain()).unwrap();
        assert!(
            text.contains("Q6 forecast         2.00   1.00   0.50    100     60      0    1.5"),
            "{text}"
        );
        assert!(
            text.contains(
                "Warm 4.0 times as fast as direct, with 0 origin requests instead of 100;\n\
                 cold, the first time ever, 2.0 times as fast."
            ),
            "{text}"
        );
        for (name, length, figures) in [
            ("direct", 38, "2.00 s   100"),
            ("cold", 19, "1.00 s    60"),
            ("warm", 9, "0.50 s     0"),
            ("restarted", 14, "0.75 s     3"),
        ] {
            let bar = "#".repeat(length);
            let line = format!("{name:<10}{bar:<38}   {figures} origin requests");
            assert!(text.contains(&line), "{line}\n{text}");
        }
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }

    #[test]
    fn without_fewer_requests_the_overhead_is_named() {
        let samples = [
            sample("direct", 0, 2.0, 100),
            sample("proxy", 0, 2.2, 100),
            sample("proxy", 1, 2.2, 100),
        ];
        let text = table(&samples, &Terminal::plain()).unwrap();
        assert!(text.contains("overhead is +10 % of the time"), "{text}");
    }

    #[test]
    fn another_answer_is_an_error() {
        let mut wrong = sample("proxy", 0, 1.0, 1);
        wrong.answer = "43".to_owned();
        assert!(table(&[sample("direct", 0, 1.0, 1), wrong], &Terminal::plain()).is_err());
    }
}
