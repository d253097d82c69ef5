//! How the demonstration talks: colours and a moving line on a terminal, plain lines elsewhere.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

/// Standard output, and whether somebody watches it.
#[derive(Debug)]
pub(crate) struct Terminal {
    is_tty: bool,
}

impl Terminal {
    pub(crate) fn detect() -> Self {
        let is_tty = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { is_tty }
    }

    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { is_tty: false }
    }

    /// One line about what happens.
    pub(crate) fn say(&self, line: &str) {
        self.print(&format!("{} {line}\n", self.bold(">")));
    }

    /// Text as it is. A reader that went away is no reason to stop before the children are stopped.
    #[allow(
        clippy::unused_self,
        reason = "output goes through the one that knows the terminal"
    )]
    pub(crate) fn print(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// A line that the next progress replaces; shown only to somebody who watches.
    pub(crate) fn progress(&self, line: &str) {
        if self.is_tty {
            self.print(&format!("\r\x1b[2K  {line}"));
        }
    }

    /// Ends a moving line, or the line on which the terminal echoed `^C`.
    pub(crate) fn end_line(&self) {
        if self.is_tty {
            self.print("\r\x1b[2K");
        }
    }

    /// What bars are drawn with.
    pub(crate) fn bar(&self) -> char {
        // The first of these that is set decides, as POSIX has it.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
            .unwrap_or_default()
            .to_lowercase();
        if self.is_tty && locale.replace('-', "").contains("utf8") {
            '█'
        } else {
            '#'
        }
    }

    pub(crate) fn bold(&self, text: impl Display) -> String {
        if self.is_tty {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }

    pub(crate) fn dim(&self, text: impl Display) -> String {
        if self.is_tty {
            format!("\x1b[2m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }
}
