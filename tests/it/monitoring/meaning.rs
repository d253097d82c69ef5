//! Whether an expression means something: metrics of the table, taken as what they are, with labels and values that
//! they have.

use std::collections::BTreeSet;

use s3proxy::s3::ErrorCode;
use s3proxy::s3::Operation;
use s3proxy::telemetry::Definition;
use s3proxy::telemetry::Kind;
use s3proxy::telemetry::LABELS;
use s3proxy::telemetry::TABLE;

use super::promql::Expr;
use super::promql::Grouping;
use super::promql::Matcher;
use super::promql::Selector;
use super::promql::parse;

/// What Prometheus itself notes of every target.
const UP: Definition = Definition {
    name: "up",
    kind: Kind::Gauge,
    labels: &[],
    help: "Whether the last scrape succeeded.",
};

/// What every series of a target has.
const TARGET: [&str; 2] = ["instance", "job"];

/// The labels of the series that come out; none at all for a number.
pub(super) type Labels = Option<BTreeSet<String>>;

/// Which series of a metric there are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Counter,
    Gauge,
    Buckets,
}

/// An expression that was found good.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) labels: Labels,
    /// Every selector in it.
    pub(super) selectors: Vec<Selector>,
}

impl Checked {
    /// The names in the table of the metrics that it is about.
    pub(super) fn families(&self) -> BTreeSet<&'static str> {
        let rows = self.selectors.iter().map(|selector| find(&selector.name));
        rows.map(|row| row.unwrap().0.name).collect()
    }
}

/// Checks an expression, or says what is wrong with it.
pub(super) fn check(text: &str) -> Result<Checked, String> {
    let expr = parse(text)?;
    let labels = labels_of(&expr)?;
    let mut selectors = Vec::new();
    collect(expr, &mut selectors);
    Ok(Checked { labels, selectors })
}

/// Checks Grafana's `label_values(SELECTOR, LABEL)`.
pub(super) fn check_label_values(text: &str) -> Result<Checked, String> {
    let inner = text.strip_prefix("label_values(");
    let inner = inner.and_then(|rest| rest.strip_suffix(')'));
    let (selector, label) = inner
        .and_then(|inner| inner.rsplit_once(','))
        .ok_or("not label_values(SELECTOR, LABEL)")?;
    let checked = check(selector)?;
    require(&checked.labels, label.trim())?;
    Ok(checked)
}

fn collect(expr: Expr, selectors: &mut Vec<Selector>) {
    match expr {
        Expr::Number => {}
        Expr::Selector(selector) => selectors.push(selector),
        Expr::Call { arguments, .. } => {
            for argument in arguments {
                collect(argument, selectors);
            }
        }
        Expr::Aggregation { argument, .. } => collect(*argument, selectors),
        Expr::Binary { left, right, .. } => {
            collect(*left, selectors);
            collect(*right, selectors);
        }
    }
}

fn labels_of(expr: &Expr) -> Result<Labels, String> {
    match expr {
        Expr::Number => Ok(None),
        Expr::Selector(selector) => {
            let (shape, labels) = series(selector)?;
            if selector.is_range {
                return Err(format!("{}: a range stands for no number", selector.name));
            }
            if shape != Shape::Gauge {
                return Err(format!("{} only grows: take its rate", selector.name));
            }
            Ok(Some(labels))
        }
        Expr::Call {
            function,
            arguments,
        } => call(function, arguments),
        Expr::Aggregation { grouping, argument } => {
            let labels = labels_of(argument)?;
            match grouping {
                Grouping::By(kept) => {
                    for label in kept {
                        require(&labels, label)?;
                    }
                    Ok(Some(kept.iter().cloned().collect()))
                }
                Grouping::Without(dropped) => {
                    for label in dropped {
                        require(&labels, label)?;
                    }
                    let mut labels = labels.unwrap_or_default();
                    labels.retain(|label| !dropped.contains(label));
                    Ok(Some(labels))
                }
            }
        }
        Expr::Binary {
            operator,
            on,
            left,
            right,
        } => binary(operator, on.as_deref(), labels_of(left)?, labels_of(right)?),
    }
}

fn call(function: &str, arguments: &[Expr]) -> Result<Labels, String> {
    match (function, arguments) {
        ("time", []) => Ok(None),
        ("vector", [Expr::Number]) => Ok(Some(BTreeSet::new())),
        ("rate" | "increase", [Expr::Selector(selector)]) => match series(selector)? {
            _ if !selector.is_range => Err(format!("{}: {function} of no range", selector.name)),
            (Shape::Gauge, _) => Err(format!("{} is a gauge: no {function}", selector.name)),
            (_, labels) => Ok(Some(labels)),
        },
        ("changes" | "max_over_time" | "min_over_time", [Expr::Selector(selector)]) => {
            match series(selector)? {
                _ if !selector.is_range => {
                    Err(format!("{}: {function} of no range", selector.name))
                }
                (Shape::Gauge, labels) => Ok(Some(labels)),
                _ => Err(format!("{} is no gauge: no {function}", selector.name)),
            }
        }
        ("histogram_quantile", [Expr::Number, buckets]) => {
            let mut labels = labels_of(buckets)?.unwrap_or_default();
            if !labels.remove("le") {
                return Err("histogram_quantile needs buckets, with their label le".to_owned());
            }
            Ok(Some(labels))
        }
        ("topk", [Expr::Number, ranked]) => labels_of(ranked),
        // It has the labels that are asked to be equal to something, and no others.
        ("absent", [Expr::Selector(selector)]) => {
            series(selector)?;
            let equal = selector.matchers.iter().filter(|m| m.operator == "=");
            Ok(Some(equal.map(|m| m.label.clone()).collect()))
        }
        _ => Err(format!("{function} is not known here, or not with these")),
    }
}

fn binary(
    operator: &str,
    on: Option<&[String]>,
    left: Labels,
    right: Labels,
) -> Result<Labels, String> {
    let (Some(left), Some(right)) = (&left, &right) else {
        return match (operator, on) {
            ("and" | "or" | "unless", _) => Err(format!("{operator} is for series")),
            (_, Some(_)) => Err("a number has no labels".to_owned()),
            _ => Ok(left.or(right)),
        };
    };
    let is_set = ["and", "or", "unless"].contains(&operator);
    match on {
        // Prometheus matches series with the same labels; with other names they never are.
        None if left != right => Err(format!("{left:?} {operator} {right:?} matches nothing")),
        None => Ok(Some(left.clone())),
        Some(names) => {
            for label in names {
                for side in [left, right] {
                    require(&Some(side.clone()), label)?;
                }
            }
            let kept = names.iter().cloned().collect();
            Ok(Some(if is_set { left.clone() } else { kept }))
        }
    }
}

fn require(labels: &Labels, label: &str) -> Result<(), String> {
    match labels {
        Some(labels) if labels.contains(label) => Ok(()),
        _ => Err(format!("no label {label} among {labels:?}")),
    }
}

/// The row that a name belongs to, and what the series of this name are.
fn find(name: &str) -> Result<(&'static Definition, Shape), String> {
    for row in TABLE.iter().chain([&UP]) {
        let ending = name.strip_prefix(row.name);
        match (row.kind, ending) {
            (Kind::Gauge, Some("")) => return Ok((row, Shape::Gauge)),
            (Kind::Histogram, Some("")) => {
                return Err(format!("{name} has _bucket, _sum and _count"));
            }
            (Kind::Histogram, Some("_bucket")) => return Ok((row, Shape::Buckets)),
            (Kind::Counter, Some("")) | (Kind::Histogram, Some("_sum" | "_count")) => {
                return Ok((row, Shape::Counter));
            }
            _ => {}
        }
    }
    Err(format!("there is no metric {name}"))
}

fn series(selector: &Selector) -> Result<(Shape, BTreeSet<String>), String> {
    let (row, shape) = find(&selector.name)?;
    let mut labels: BTreeSet<String> = row
        .labels
        .iter()
        .chain(&TARGET)
        .map(|l| (*l).to_owned())
        .collect();
    if shape == Shape::Buckets {
        labels.insert("le".to_owned());
    }
    for matcher in &selector.matchers {
        require(&Some(labels.clone()), &matcher.label)
            .map_err(|wrong| format!("{}: {wrong}", selector.name))?;
        known_value(matcher)?;
    }
    Ok((shape, labels))
}

/// Whether the label can have this value, or one that the pattern finds.
fn known_value(matcher: &Matcher) -> Result<(), String> {
    let values: Vec<&str> = match matcher.label.as_str() {
        "operation" => {
            let all = Operation::ALL.iter().map(|operation| operation.name());
            all.chain([Operation::Unknown.name()]).collect()
        }
        "code" => ErrorCode::ALL.iter().map(|code| code.as_str()).collect(),
        label => match LABELS.iter().find(|(name, _)| *name == label) {
            Some((_, values)) => values.to_vec(),
            // The configuration's names, the version, the target's names: anything.
            None => return Ok(()),
        },
    };
    let is_pattern = matcher.operator.ends_with('~');
    let alternatives: Vec<&str> = if is_pattern {
        matcher.value.split('|').collect()
    } else {
        vec![&matcher.value]
    };
    for alternative in alternatives {
        let is_it = |value: &&str| {
            let mut pairs = value.chars().zip(alternative.chars());
            let is_same = |(v, a)| v == a || (is_pattern && a == '.');
            value.len() == alternative.len() && pairs.all(is_same)
        };
        if !values.iter().any(is_it) {
            return Err(format!("{} is never {alternative}", matcher.label));
        }
    }
    Ok(())
}
