//! Files laid out as Parquet files are: magic bytes, column chunks, a footer that says where they lie.

use super::content::Content;

/// A file of row groups of column chunks of one length, the bytes of which tell their place.
pub(super) struct ParquetFile {
    pub(super) groups: u64,
    pub(super) columns: u64,
    pub(super) chunk: u64,
    pub(super) bytes: Vec<u8>,
}

impl ParquetFile {
    pub(super) fn new(seed: u64, groups: u64, columns: u64, chunk: u64) -> Self {
        let size = groups * columns * chunk;
        let mut file = Self {
            groups,
            columns,
            chunk,
            bytes: b"PAR1".to_vec(),
        };
        file.bytes
            .extend(Content::Told { seed, size }.bytes(0..size));
        let footer = file.footer();
        let length = u32::try_from(footer.len()).unwrap();
        file.bytes.extend(footer);
        file.bytes.extend(length.to_le_bytes());
        file.bytes.extend(b"PAR1");
        file
    }

    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// First and last position of a chunk.
    pub(super) fn interval(&self, group: u64, column: u64) -> (u64, u64) {
        let first = 4 + (group * self.columns + column) * self.chunk;
        (first, first + self.chunk - 1)
    }

    /// `FileMetaData` with its row groups alone, in Thrift's compact protocol.
    fn footer(&self) -> Vec<u8> {
        // Field 1, an integer: the version. Field 4, a list of structs.
        let mut bytes = vec![0x15, 0x04, 0x39];
        list_of_structs(self.groups, &mut bytes);
        for group in 0..self.groups {
            bytes.push(0x19);
            list_of_structs(self.columns, &mut bytes);
            for column in 0..self.columns {
                // Field 3, a struct; of it, length and offset.
                bytes.extend([0x3c, 0x76]);
                varint(self.chunk * 2, &mut bytes);
                bytes.push(0x26);
                varint(self.interval(group, column).0 * 2, &mut bytes);
                bytes.extend([0, 0]);
            }
            bytes.push(0);
        }
        bytes.push(0);
        bytes
    }
}

fn list_of_structs(count: u64, bytes: &mut Vec<u8>) {
    bytes.push(0xfc);
    varint(count, bytes);
}

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
}
