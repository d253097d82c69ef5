//! What files are called: hashes and numbers, never a text that somebody sent.

use crate::cache::BlockSize;
use crate::cache::SegmentId;
use crate::cache::SegmentIndex;
use crate::cache::VersionId;

use super::MetaId;

/// Where segments lie, below the directory of the format.
pub(super) const SEGMENTS: &str = "segments";

/// Where metas lie.
pub(super) const METAS: &str = "metas";

/// The path of a segment's file: the version, the number of the segment, the length of its blocks.
pub(super) fn segment_path(segment: SegmentId, block_size: BlockSize) -> String {
    let name = segment_name(segment, block_size);
    format!("{SEGMENTS}/{}/{name}", &name[..2])
}

/// The path of a meta's file.
pub(super) fn meta_path(id: MetaId) -> String {
    let name = format!("{:032x}", u128::from_be_bytes(id.0));
    format!("{METAS}/{}/{name}", &name[..2])
}

/// The directories that files are spread over.
pub(super) fn fans() -> impl Iterator<Item = String> {
    (0..=u8::MAX).map(|fan| format!("{fan:02x}"))
}

/// Which segment a file in this directory holds; `None` for a file that is not called as one.
pub(super) fn parse_segment(fan: &str, name: &str, block_size: BlockSize) -> Option<SegmentId> {
    let mut parts = name.splitn(3, '-');
    let version = parse_id(parts.next()?)?;
    let index = u32::from_str_radix(parts.next()?, 16).ok()?;
    let segment = SegmentId {
        version: VersionId::from_bytes(version),
        index: SegmentIndex(index),
    };
    // One name for one segment: what is not printed like this is something else.
    (name.starts_with(fan) && segment_name(segment, block_size) == name).then_some(segment)
}

/// Which meta a file in this directory holds.
pub(super) fn parse_meta(fan: &str, name: &str) -> Option<MetaId> {
    let id = MetaId(parse_id(name)?);
    (name.starts_with(fan) && meta_path(id).ends_with(name)).then_some(id)
}

fn segment_name(segment: SegmentId, block_size: BlockSize) -> String {
    let kib = block_size.bytes() >> 10;
    format!("{}-{:08x}-{kib}k", segment.version, segment.index.0)
}

fn parse_id(text: &str) -> Option<[u8; 16]> {
    let number = (text.len() == 32).then(|| u128::from_str_radix(text, 16));
    number?.ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> SegmentId {
        SegmentId {
            version: VersionId::from_bytes([
                0x0a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff,
            ]),
            index: SegmentIndex(300),
        }
    }

    #[test]
    fn names_are_hashes_and_numbers() {
        let size = BlockSize::DEFAULT;
        let name = "0a0102030405060708090a0b0c0d0eff-0000012c-64k";
        assert_eq!(segment_path(segment(), size), format!("segments/0a/{name}"));
        assert_eq!(parse_segment("0a", name, size), Some(segment()));
        let id = MetaId([0xab; 16]);
        let name = "ab".repeat(16);
        assert_eq!(meta_path(id), format!("metas/ab/{name}"));
        assert_eq!(parse_meta("ab", &name), Some(id));
    }

    #[test]
    fn other_names_are_not_ours() {
        let name = "0a0102030405060708090a0b0c0d0eff-0000012c-64k";
        for (fan, name) in [
            ("0b", name.to_owned()),
            ("0a", name.to_uppercase()),
            ("0a", name.replace("64k", "128k")),
            ("0a", name.replace("0000012c", "12c")),
            ("0a", name.replace("0a01", "+a01")),
            ("0a", format!("{name}.tmp")),
            ("0a", name[..40].to_owned()),
            ("0a", String::new()),
            ("0a", "0a\u{fc}".repeat(8)),
        ] {
            assert_eq!(
                parse_segment(fan, &name, BlockSize::DEFAULT),
                None,
                "{name}"
            );
        }
        for name in [
            "ab".repeat(15),
            "AB".repeat(16),
            format!("{}.1", "ab".repeat(16)),
        ] {
            assert_eq!(parse_meta("ab", &name), None, "{name}");
        }
    }
}
