//! Rules as the configuration file has them, for people who ask which one counts.

use std::fmt;

use super::rules::DEFAULT_FRESHNESS;
use super::rules::Freshness;
use super::rules::RuleSpec;

impl fmt::Display for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(time) => humantime::format_duration(*time).fmt(f),
            Self::Immutable => f.write_str("immutable"),
            Self::Validate => f.write_str("validate"),
            Self::Bypass => f.write_str("bypass"),
        }
    }
}

impl fmt::Display for RuleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (name, globs) in [("buckets", &self.buckets), ("keys", &self.keys)] {
            if !globs.is_empty() {
                let quoted: Vec<_> = globs.iter().map(|glob| format!("\"{glob}\"")).collect();
                parts.push(format!("{name}: [{}]", quoted.join(", ")));
            }
        }
        let freshness = self.freshness.unwrap_or(Freshness::For(DEFAULT_FRESHNESS));
        parts.push(format!("freshness: {freshness}"));
        for (name, time) in [
            ("stale_if_error", self.stale_if_error),
            ("negative", self.negative),
        ] {
            if !time.is_zero() {
                parts.push(format!("{name}: {}", humantime::format_duration(time)));
            }
        }
        if let Some(tail_on_head) = self.tail_on_head {
            parts.push(format!("tail_on_head: {tail_on_head}"));
        }
        if self.list_metas {
            parts.push("list_metas: true".to_owned());
        }
        if self.tail_on_list {
            parts.push("tail_on_list: true".to_owned());
        }
        write!(f, "{{{}}}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rule_is_shown_as_it_could_be_written() {
        assert_eq!(RuleSpec::default().to_string(), "{freshness: 1m}");
        let rule = RuleSpec {
            buckets: vec!["lake".to_owned()],
            keys: vec!["raw/*".to_owned(), "*.orc".to_owned()],
            freshness: Some(Freshness::Immutable),
            stale_if_error: Duration::from_secs(90),
            negative: Duration::from_secs(5),
            tail_on_head: Some(false),
            list_metas: true,
            tail_on_list: true,
        };
        let expected = "{buckets: [\"lake\"], keys: [\"raw/*\", \"*.orc\"], freshness: immutable, \
                        stale_if_error: 1m 30s, negative: 5s, tail_on_head: false, list_metas: true, tail_on_list: true}";
        assert_eq!(rule.to_string(), expected);
    }
}
