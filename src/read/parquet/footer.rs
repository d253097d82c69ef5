//! Reads offsets and lengths of column chunks off a footer: `FileMetaData` of `parquet.thrift`.

use super::thrift::Field;
use super::thrift::Kind;
use super::thrift::Malformed;
use super::thrift::Reader;

/// Of all column chunks, row group by row group, what a footer says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunks {
    /// As many in each row group.
    pub(super) columns: u32,
    pub(super) starts: Vec<u64>,
    pub(super) lengths: Vec<u32>,
}

/// `ColumnMetaData`, as far as it is of interest.
#[derive(Default)]
struct Column {
    data: Option<i64>,
    dictionary: Option<i64>,
    length: Option<i64>,
}

impl Chunks {
    /// Reads no more than so many chunks; a footer with more is refused.
    pub(super) fn parse(footer: &[u8], at_most: usize) -> Result<Self, Malformed> {
        let mut chunks = Self::default();
        let mut groups = None;
        let mut reader = Reader::new(footer);
        reader.fields(&mut |reader, field| {
            if field.id != 4 || groups.is_some() {
                return Ok(false);
            }
            let count = reader.list(field, Kind::Struct)?;
            groups = Some(count);
            for _ in 0..count {
                chunks.take_group(reader, at_most)?;
            }
            Ok(true)
        })?;
        Ok(chunks)
    }

    /// `RowGroup`.
    fn take_group(&mut self, reader: &mut Reader, at_most: usize) -> Result<(), Malformed> {
        let before = self.starts.len();
        reader.fields(&mut |reader, field| {
            if field.id != 1 {
                return Ok(false);
            }
            let count = reader.list(field, Kind::Struct)?;
            for _ in 0..count {
                if self.starts.len() == at_most {
                    return Err(Malformed);
                }
                let (start, length) = chunk(reader)?;
                self.starts.push(start);
                self.lengths.push(length);
            }
            Ok(true)
        })?;
        let columns = u32::try_from(self.starts.len() - before).map_err(|_| Malformed)?;
        if columns == 0 || (before > 0 && columns != self.columns) {
            return Err(Malformed);
        }
        self.columns = columns;
        Ok(())
    }
}

/// `ColumnChunk`: where it begins, and its length.
fn chunk(reader: &mut Reader) -> Result<(u64, u32), Malformed> {
    let mut column = Column::default();
    reader.fields(&mut |reader, field| match (field.id, field.kind) {
        // In another file.
        (1, _) => Err(Malformed),
        (3, Kind::Struct) => {
            column.take(reader)?;
            Ok(true)
        }
        _ => Ok(false),
    })?;
    column.place().ok_or(Malformed)
}

impl Column {
    fn take(&mut self, reader: &mut Reader) -> Result<(), Malformed> {
        reader.fields(&mut |reader, field: Field| {
            let value = match field.id {
                7 => &mut self.length,
                9 => &mut self.data,
                11 => &mut self.dictionary,
                _ => return Ok(false),
            };
            *value = Some(reader.integer(field)?);
            Ok(true)
        })
    }

    /// The dictionary comes first, where there is one. Some writers say 0 where there is none.
    fn place(&self) -> Option<(u64, u32)> {
        let data = self.data?;
        let dictionary = self.dictionary.filter(|offset| (1..data).contains(offset));
        let start = u64::try_from(dictionary.unwrap_or(data)).ok()?;
        Some((start, u32::try_from(self.length?).ok()?))
    }
}
