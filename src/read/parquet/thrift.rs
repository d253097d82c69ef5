//! As much of Thrift's compact protocol as the footer of a Parquet file needs.
//!
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>. The bytes are whatever an
//! object ends with: every step consumes at least one of them, so the time is linear in their number;
//! nothing is allocated by what they announce; and what is nested deeper than any footer is refused.

/// Structs, lists and maps within each other, at most, in what is skipped. A footer's statistics are
/// five deep.
const MAX_DEPTH: u32 = 16;

/// A varint of 64 bits has at most this many bytes.
const MAX_VARINT: u32 = 10;

/// The bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Types as fields name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    True,
    False,
    Byte,
    Int,
    Double,
    Binary,
    List,
    Map,
    Struct,
    Uuid,
}

/// A field of a struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) id: i16,
    pub(super) kind: Kind,
}

/// Reads values off the front of some bytes.
pub(super) struct Reader<'a> {
    left: &'a [u8],
}

impl Kind {
    fn of(nibble: u8) -> Result<Self, Malformed> {
        Ok(match nibble {
            1 => Self::True,
            2 => Self::False,
            3 => Self::Byte,
            4..=6 => Self::Int,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            13 => Self::Uuid,
            _ => return Err(Malformed),
        })
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Reads a struct: gives each of its fields to `take`, which reads the field's value off or
    /// answers false to have it skipped.
    pub(super) fn fields(
        &mut self,
        take: &mut dyn FnMut(&mut Self, Field) -> Result<bool, Malformed>,
    ) -> Result<(), Malformed> {
        let mut last = 0;
        while let Some(field) = self.field(last)? {
            last = field.id;
            if !take(self, field)? {
                self.skip(field.kind, MAX_DEPTH)?;
            }
        }
        Ok(())
    }

    /// Reads the beginning of a list of such elements: how many follow.
    pub(super) fn list(&mut self, field: Field, of: Kind) -> Result<usize, Malformed> {
        if field.kind != Kind::List {
            return Err(Malformed);
        }
        let (kind, count) = self.list_head()?;
        // An empty list need not say of what.
        if kind != of && count > 0 {
            return Err(Malformed);
        }
        Ok(count)
    }

    /// Reads an integer of up to 64 bits.
    pub(super) fn integer(&mut self, field: Field) -> Result<i64, Malformed> {
        if field.kind != Kind::Int {
            return Err(Malformed);
        }
        self.zigzag()
    }

    /// The next field of a struct, after the one with this id; `None` at its end.
    fn field(&mut self, last: i16) -> Result<Option<Field>, Malformed> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        let kind = Kind::of(head & 0x0f)?;
        let id = match head >> 4 {
            0 => i16::try_from(self.zigzag()?).map_err(|_| Malformed)?,
            delta => last.checked_add(i16::from(delta)).ok_or(Malformed)?,
        };
        Ok(Some(Field { id, kind }))
    }

    fn list_head(&mut self) -> Result<(Kind, usize), Malformed> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.count()?,
            count => usize::from(count),
        };
        let kind = match head & 0x0f {
            // Of no type, which only an empty list has.
            0 if count == 0 => Kind::Byte,
            nibble => Kind::of(nibble)?,
        };
        self.holds(count)?;
        Ok((kind, count))
    }

    /// Every element has at least one byte.
    fn holds(&self, count: usize) -> Result<(), Malformed> {
        (count <= self.left.len()).then_some(()).ok_or(Malformed)
    }

    fn skip(&mut self, kind: Kind, depth: u32) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed)?;
        match kind {
            // The value of a field is in its type.
            Kind::True | Kind::False => Ok(()),
            Kind::Byte => self.pass(1),
            Kind::Int => self.varint().map(|_| ()),
            Kind::Double => self.pass(8),
            Kind::Uuid => self.pass(16),
            Kind::Binary => {
                let length = self.count()?;
                self.pass(length)
            }
            Kind::List => {
                let (kind, count) = self.list_head()?;
                (0..count).try_for_each(|_| self.skip_element(kind, depth))
            }
            Kind::Map => {
                let count = self.count()?;
                if count == 0 {
                    return Ok(());
                }
                self.holds(count)?;
                let kinds = self.byte()?;
                let (key, value) = (Kind::of(kinds >> 4)?, Kind::of(kinds & 0x0f)?);
                (0..count).try_for_each(|_| {
                    self.skip_element(key, depth)?;
                    self.skip_element(value, depth)
                })
            }
            Kind::Struct => {
                let mut last = 0;
                while let Some(field) = self.field(last)? {
                    last = field.id;
                    self.skip(field.kind, depth)?;
                }
                Ok(())
            }
        }
    }

    fn skip_element(&mut self, kind: Kind, depth: u32) -> Result<(), Malformed> {
        match kind {
            // In a list the value is a byte.
            Kind::True | Kind::False => self.pass(1),
            kind => self.skip(kind, depth),
        }
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?).map_err(|_| Malformed)
    }

    fn zigzag(&mut self) -> Result<i64, Malformed> {
        let coded = self.varint()?;
        Ok((coded >> 1).cast_signed() ^ -(coded & 1).cast_signed())
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for index in 0..MAX_VARINT {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f)
                .checked_shl(7 * index)
                .unwrap_or_default();
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, left) = self.left.split_first().ok_or(Malformed)?;
        self.left = left;
        Ok(*first)
    }

    fn pass(&mut self, length: usize) -> Result<(), Malformed> {
        self.left = self.left.get(length..).ok_or(Malformed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(bytes: &[u8], kind: Kind) -> Result<usize, Malformed> {
        let mut reader = Reader::new(bytes);
        reader.skip(kind, MAX_DEPTH)?;
        Ok(bytes.len() - reader.left.len())
    }

    #[test]
    fn values_are_passed_as_a_whole() {
        assert_eq!(skipped(&[0x80, 0x01, 9], Kind::Int), Ok(2));
        assert_eq!(skipped(&[3, b'a', b'b', b'c', 9], Kind::Binary), Ok(4));
        assert_eq!(skipped(&[0; 9], Kind::Double), Ok(8));
        assert_eq!(skipped(&[0; 17], Kind::Uuid), Ok(16));
        // Three integers; two truths; fifteen bytes by a long head; none of no type.
        assert_eq!(skipped(&[0x35, 1, 2, 3, 9], Kind::List), Ok(4));
        assert_eq!(skipped(&[0x21, 1, 2, 9], Kind::List), Ok(3));
        let long: Vec<u8> = [0xf3, 15].into_iter().chain([0; 15]).collect();
        assert_eq!(skipped(&long, Kind::List), Ok(17));
        assert_eq!(skipped(&[0x00], Kind::List), Ok(1));
        // {1: 2}, and an empty map, whose types are left out.
        assert_eq!(skipped(&[1, 0x55, 2, 4, 9], Kind::Map), Ok(4));
        assert_eq!(skipped(&[0, 9], Kind::Map), Ok(1));
        // A flag, an integer with a long id, the end.
        assert_eq!(skipped(&[0x11, 0x05, 0x28, 7, 0, 9], Kind::Struct), Ok(5));
    }

    #[test]
    fn integers_are_zigzag() {
        let read = |bytes: &[u8]| Reader::new(bytes).zigzag();
        assert_eq!(read(&[0]), Ok(0));
        assert_eq!(read(&[1]), Ok(-1));
        assert_eq!(read(&[0x80, 0x02]), Ok(128));
        let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read(&longest), Ok(i64::MIN));
        assert_eq!(read(&[0x80; 11]), Err(Malformed));
        assert_eq!(read(&[0x80]), Err(Malformed));
    }

    #[test]
    fn what_is_announced_has_to_be_there() {
        assert_eq!(skipped(&[4, b'a'], Kind::Binary), Err(Malformed));
        let endless = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(skipped(&endless, Kind::Binary), Err(Malformed));
        let list = [&[0xf1][..], &endless].concat();
        assert_eq!(skipped(&list, Kind::List), Err(Malformed));
        let map = [&endless[..], &[0x55]].concat();
        assert_eq!(skipped(&map, Kind::Map), Err(Malformed));
        assert_eq!(skipped(&[0x1f, 0], Kind::Struct), Err(Malformed));
        assert_eq!(skipped(&[], Kind::Struct), Err(Malformed));
    }

    #[test]
    fn what_is_nested_too_deep_is_refused() {
        let nested = |levels: usize| {
            let lists = std::iter::repeat_n(0x19, levels);
            lists.chain([0x03]).collect::<Vec<u8>>()
        };
        assert_eq!(skipped(&nested(14), Kind::List), Ok(15));
        assert_eq!(skipped(&nested(16), Kind::List), Err(Malformed));
        assert_eq!(skipped(&nested(1 << 20), Kind::List), Err(Malformed));
        assert_eq!(skipped(&vec![0x1c; 1 << 20], Kind::Struct), Err(Malformed));
    }
}
