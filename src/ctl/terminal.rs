//! Standard output: colours, bars and a moving line on a terminal, plain lines elsewhere.

use std::fmt::Display;
use std::io;
use std::io::IsTerminal;
use std::io::Write;

use super::error::CtlError;
use super::text;

/// When nobody says how wide it is.
const WIDTH: usize = 80;

/// Columns of a bar.
const BAR: u32 = 24;

/// Standard output, and who watches it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    /// Whether somebody watches.
    pub(super) is_tty: bool,
    has_colours: bool,
    has_unicode: bool,
    pub(super) width: usize,
}

impl Terminal {
    pub(super) fn detect() -> Self {
        let out = io::stdout();
        let is_tty = out.is_terminal();
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = rustix::termios::tcgetwinsize(&out).map(|size| size.ws_col);
        // The first of these that is set decides, as POSIX has it.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
            .unwrap_or_default()
            .to_lowercase();
        Self {
            is_tty: is_tty && !is_dumb,
            has_colours: is_tty && !is_dumb && !is_set("NO_COLOR"),
            has_unicode: locale.replace('-', "").contains("utf8"),
            width: match width {
                Ok(columns @ 20..) => usize::from(columns),
                _ => WIDTH,
            },
        }
    }

    /// Nobody watches.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self {
            is_tty: false,
            has_colours: false,
            has_unicode: false,
            width: WIDTH,
        }
    }

    /// Somebody watches whose terminal can do everything.
    #[cfg(test)]
    pub(super) fn rich() -> Self {
        Self {
            is_tty: true,
            has_colours: true,
            has_unicode: true,
            width: WIDTH,
        }
    }

    /// Text as it is.
    #[allow(
        clippy::unused_self,
        reason = "output goes through the one that knows the terminal"
    )]
    pub(super) fn print(self, text: &str) -> Result<(), CtlError> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(CtlError::Output)
    }

    /// A line that the next one of these replaces; only for somebody who watches.
    pub(super) fn progress(self, line: &str) -> Result<(), CtlError> {
        if self.is_tty {
            self.print(&format!("\r\x1b[2K{}", text::fitted(line, self.width - 1)))
        } else {
            Ok(())
        }
    }

    /// Takes a moving line away.
    pub(super) fn end_line(self) -> Result<(), CtlError> {
        if self.is_tty {
            self.print("\r\x1b[2K")
        } else {
            Ok(())
        }
    }

    /// A bar that is filled so far; empty where nobody watches.
    pub(super) fn bar(self, part: f64) -> String {
        if !self.is_tty {
            return String::new();
        }
        let (full, empty) = if self.has_unicode {
            ('█', '░')
        } else {
            ('#', '.')
        };
        let filled = part.clamp(0.0, 1.0) * f64::from(BAR);
        let cell = |column: u32| {
            let is_full = f64::from(column) + 0.5 <= filled;
            if is_full { full } else { empty }
        };
        let bar: String = (0..BAR).map(cell).collect();
        format!("{bar} ")
    }

    pub(super) fn bold(self, text: impl Display) -> String {
        self.styled("1", text)
    }

    pub(super) fn dim(self, text: impl Display) -> String {
        self.styled("2", text)
    }

    pub(super) fn good(self, text: impl Display) -> String {
        self.styled("32", text)
    }

    pub(super) fn bad(self, text: impl Display) -> String {
        self.styled("31", text)
    }

    pub(super) fn doubtful(self, text: impl Display) -> String {
        self.styled("33", text)
    }

    fn styled(self, style: &str, text: impl Display) -> String {
        if self.has_colours {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }

    /// Rows below a head: in columns for somebody who watches, the last one as wide as there is
    /// room; separated by tabs elsewhere. All columns but the last are figures.
    pub(super) fn table(self, head: &[&str], rows: &[Vec<String>]) -> String {
        if !self.is_tty {
            let head = head.join("\t");
            let rows = rows.iter().map(|row| row.join("\t"));
            let lines: Vec<_> = std::iter::once(head).chain(rows).collect();
            return lines.join("\n") + "\n";
        }
        let figures = head.len().saturating_sub(1);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max();
            widest.unwrap_or(0).max(head[column].chars().count())
        };
        let widths: Vec<_> = (0..figures).map(width).collect();
        let left = widths.iter().map(|width| width + 2).sum::<usize>();
        let room = self.width.saturating_sub(left + 2).max(16);
        let line = |row: &[String]| {
            let mut line = String::from("  ");
            for (cell, width) in row.iter().zip(&widths) {
                line.extend([format!("{cell:>width$}").as_str(), "  "]);
            }
            let last = row.get(figures).map_or("", String::as_str);
            line + &text::fitted(last, room)
        };
        let head: Vec<_> = head.iter().map(|name| (*name).to_owned()).collect();
        let mut text = self.dim(line(&head)) + "\n";
        for row in rows {
            text.push_str(&line(row));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        vec![
            row(["1,000", "5 B", "a"]),
            row(["2", "10 KiB", &"k".repeat(100)]),
        ]
    }

    #[test]
    fn tables_are_aligned_for_people_and_separated_for_programs() {
        let head = ["requests", "bytes", "key"];
        let plain = Terminal::plain().table(&head, &rows());
        assert!(plain.starts_with("requests\tbytes\tkey\n1,000\t5 B\ta\n2\t10 KiB\tkkk"));
        let rich = Terminal {
            has_colours: false,
            ..Terminal::rich()
        };
        let rich = rich.table(&head, &rows());
        let lines: Vec<_> = rich.lines().collect();
        assert_eq!(lines[0], "  requests   bytes  key");
        assert_eq!(lines[1], "     1,000     5 B  a");
        assert!(lines[2].starts_with("         2  10 KiB  …kkk"));
        assert!(
            lines.iter().all(|line| line.chars().count() <= WIDTH),
            "{rich}"
        );
    }

    #[test]
    fn colours_and_bars_are_for_terminals() {
        assert_eq!(Terminal::plain().bold("x"), "x");
        assert_eq!(Terminal::plain().bar(0.5), "");
        assert_eq!(Terminal::rich().bold("x"), "\x1b[1mx\x1b[0m");
        let bar = Terminal::rich().bar(0.5);
        assert_eq!(bar.matches('█').count(), 12);
        assert_eq!(bar.chars().count(), 25);
        assert_eq!(Terminal::rich().bar(7.0).matches('█').count(), 24);
    }
}
