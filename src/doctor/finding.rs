//! What the doctor found, and how it is told: a line each for people, JSON for programs.

use std::fmt;

use serde::Serialize;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It serves, but perhaps not as meant, or not for long.
    Warning,
    /// Requests will fail.
    Problem,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub subject: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; nothing when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// All findings, in the order in which things were tried.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// Notes that something is as it should be.
    pub fn ok(&mut self, subject: impl Into<String>, found: impl Into<String>) {
        self.note(&subject.into(), Verdict::Ok, &found.into(), None);
    }

    /// Notes what may not be meant.
    pub fn warning(
        &mut self,
        subject: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let advice = Some(advice.into());
        self.note(&subject.into(), Verdict::Warning, &found.into(), advice);
    }

    /// Notes what will make requests fail.
    pub fn problem(
        &mut self,
        subject: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let advice = Some(advice.into());
        self.note(&subject.into(), Verdict::Problem, &found.into(), advice);
    }

    /// Whether anything will make requests fail.
    pub fn has_problems(&self) -> bool {
        self.count(Verdict::Problem) > 0
    }

    /// The report for programs.
    pub fn json(&self) -> String {
        let report = serde_json::json!({
            "problems": self.count(Verdict::Problem),
            "warnings": self.count(Verdict::Warning),
            "findings": self.findings,
        });
        format!("{report:#}")
    }

    fn count(&self, verdict: Verdict) -> usize {
        let findings = self.findings.iter();
        findings
            .filter(|finding| finding.verdict == verdict)
            .count()
    }

    fn note(&mut self, subject: &str, verdict: Verdict, found: &str, advice: Option<String>) {
        self.findings.push(Finding {
            subject: one_line(subject),
            verdict,
            found: one_line(found),
            advice,
        });
    }
}

/// What a store or a file says reaches a terminal: without line ends and escape sequences.
fn one_line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(shown).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let verdict = finding.verdict.as_str();
            writeln!(f, "{verdict:<8} {}: {}", finding.subject, finding.found)?;
            if let Some(advice) = &finding.advice {
                writeln!(f, "         -> {advice}")?;
            }
        }
        let (problems, warnings) = (self.count(Verdict::Problem), self.count(Verdict::Warning));
        writeln!(f, "\nproblems: {problems}, warnings: {warnings}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_says_cannot_move_the_cursor() {
        let mut report = Report::default();
        report.problem("origin a", "said \x1b[2J\nok", "do");
        let text = report.to_string();
        assert_eq!(
            text,
            "problem  origin a: said  [2J ok\n         -> do\n\nproblems: 1, warnings: 0\n"
        );
        assert!(report.has_problems());
    }

    #[test]
    fn json_has_counts_and_findings() {
        let mut report = Report::default();
        report.ok("a", "b");
        report.warning("c", "d", "e");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        let expected = serde_json::json!({"problems": 0, "warnings": 1, "findings": [
            {"subject": "a", "verdict": "ok", "found": "b"},
            {"subject": "c", "verdict": "warning", "found": "d", "advice": "e"},
        ]});
        assert_eq!(json, expected);
    }
}
