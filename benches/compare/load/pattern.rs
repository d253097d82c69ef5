//! The bytes that every object has to have.

use std::path::Path;

use crate::Error;

/// Some bytes, again and again without an end.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        if bytes.is_empty() {
            return Err(format!("{} is empty", path.display()).into());
        }
        Ok(Self(bytes))
    }

    /// Whether these bytes are the pattern's from there on.
    pub(crate) fn has(&self, first: u64, mut bytes: &[u8]) -> bool {
        let period = self.0.len() as u64;
        let mut at = usize::try_from(first % period).unwrap_or(0);
        while !bytes.is_empty() {
            let count = bytes.len().min(self.0.len() - at);
            let (now, later) = bytes.split_at(count);
            if now != &self.0[at..at + count] {
                return false;
            }
            bytes = later;
            at = 0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_repeats_and_tells_every_other_byte() {
        let pattern = Pattern(b"abcde".to_vec());
        assert!(pattern.has(3, b"deabcdeab"));
        assert!(pattern.has(5_000_000_003, b"dea"));
        assert!(!pattern.has(3, b"deabcdeax"));
        assert!(!pattern.has(2, b"de"));
        assert!(pattern.has(2, b""));
    }
}
