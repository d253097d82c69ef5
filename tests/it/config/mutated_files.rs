//! Files with random damage: whatever stands there is answered, and never with a secret.

use proptest::prelude::ProptestConfig;
use proptest::prelude::any;
use proptest::proptest;

use super::Files;
use super::good_files::EVERYTHING;

const PIECES: &[&str] = &[
    "",
    ":",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\n",
    "\n  ",
    "\t",
    "#",
    "&a",
    "*a",
    "!x ",
    "\"",
    "'",
    "null",
    "-1",
    "0",
    "99999999999999999999",
    "\u{0}",
    "é",
    "---\n",
    "*",
    "[]",
    "{}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_answered(damage in proptest::collection::vec((any::<usize>(), 0..12_usize, any::<usize>()), 1..4)) {
        let files = Files::new();
        let mut text: Vec<char> = EVERYTHING.chars().collect();
        for (at, length, piece) in damage {
            let at = at % text.len();
            let end = (at + length).min(text.len());
            text.splice(at..end, PIECES[piece % PIECES.len()].chars());
        }
        let text: String = text.into_iter().collect();
        let said = match files.findings(&files.conf(&text)) {
            Ok(warnings) => warnings,
            Err(errors) => {
                assert!(!errors.is_empty());
                errors
            }
        };
        assert!(!said.contains("hunter2"), "{said}");
    }
}
