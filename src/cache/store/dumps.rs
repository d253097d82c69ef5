//! The dumps of docs/disk-format.md, which tests compare with what is written.

/// The page.
pub(super) const PAGE: &str = include_str!("../../../docs/disk-format.md");

/// What the page shows of a file.
#[derive(Debug)]
pub(super) struct Dump {
    /// As it is named there.
    pub(super) file: &'static str,
    /// Where it begins.
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
}

/// All of them, each with all the bytes that its command asks for.
pub(super) fn dumps() -> Vec<Dump> {
    let mut dumps: Vec<Dump> = Vec::new();
    for line in PAGE.lines() {
        if let Some(command) = line.strip_prefix("$ xxd ") {
            dumps.push(Dump {
                file: command.rsplit(' ').next().unwrap(),
                offset: option(command, "-s").unwrap_or(0),
                bytes: Vec::new(),
            });
        } else if let Some((place, row)) = line.split_once(": ")
            && let (8, Ok(place)) = (place.len(), usize::from_str_radix(place, 16))
        {
            let dump = dumps.last_mut().expect("a command comes first");
            assert_eq!(place, dump.offset + dump.bytes.len(), "{line}");
            dump.bytes.extend(hex(row));
        }
    }
    dumps
}

/// The bytes of a row, and that its text is theirs.
fn hex(row: &str) -> Vec<u8> {
    let (digits, text) = row.split_at(39);
    let digits: String = digits.split(' ').collect();
    let bytes: Vec<u8> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect();
    let shown: String = bytes
        .iter()
        .map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        })
        .collect();
    assert_eq!(text, format!("  {shown}"), "{row}");
    bytes
}

fn option(command: &str, name: &str) -> Option<usize> {
    let mut words = command.split(' ').skip_while(|&word| word != name);
    words.nth(1)?.parse().ok()
}
