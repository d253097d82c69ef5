//! Hexadecimal digits: lower-case ones, the only spelling that SigV4 knows for hashes, and upper-case
//! ones, which it wants in percent-encodings.

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Spells 32 bytes as 64 lower-case digits.
pub fn encode(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(64);
    push(&mut text, bytes);
    text
}

/// Appends 64 lower-case digits to `text`.
pub(super) fn push(text: &mut String, bytes: &[u8; 32]) {
    for byte in bytes {
        text.extend(pair(LOWER, *byte));
    }
}

/// The two upper-case digits of a byte.
pub fn upper(byte: u8) -> [char; 2] {
    pair(UPPER, byte)
}

fn pair(digits: &[u8; 16], byte: u8) -> [char; 2] {
    [byte >> 4, byte & 15].map(|digit| char::from(digits[usize::from(digit)]))
}

/// Reads exactly 64 lower-case digits; anything else is `None`.
pub fn decode(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let bytes = std::array::from_fn(|index| u8::try_from(index * 8).unwrap());
        let text = encode(&bytes);
        assert_eq!(decode(text.as_bytes()), Some(bytes));
        assert_eq!(decode(text.to_uppercase().as_bytes()), None);
        assert_eq!(decode(&text.as_bytes()[..63]), None);
        assert_eq!(decode(format!("{text}0").as_bytes()), None);
    }
}
