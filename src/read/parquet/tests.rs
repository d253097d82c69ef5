//! Footers of real writers against what PyArrow says of them, and hostile ones.

#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers of these tests are small, and low bytes are meant"
)]

use std::fs;
use std::path::Path;
use std::time::Instant;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// A file of `tests/fixtures/parquet`, and what PyArrow says of it.
struct Fixture {
    name: &'static str,
    file: Vec<u8>,
    said: Value,
}

const FIXTURES: &[&str] = &["duckdb", "polars", "pyarrow", "pyarrow-index"];

fn fixture(name: &'static str) -> Fixture {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parquet");
    let read = |ending: &str| fs::read(directory.join(format!("{name}.{ending}"))).unwrap();
    Fixture {
        name,
        file: read("parquet"),
        said: serde_json::from_slice(&read("json")).unwrap(),
    }
}

impl Fixture {
    fn footer(&self) -> Range<u64> {
        let end = &self.file[self.file.len() - 100..];
        footer_of(end, self.file.len() as u64).expect(self.name)
    }

    fn bytes(&self) -> &[u8] {
        let footer = self.footer();
        &self.file[footer.start as usize..footer.end as usize]
    }

    fn layout(&self) -> Option<Layout> {
        Layout::parse(self.bytes(), self.footer().start)
    }

    /// Row group by row group, the chunks as PyArrow has them.
    fn chunks(&self) -> Vec<Vec<Range<u64>>> {
        let number = |value: &Value| value.as_u64().unwrap();
        let chunk = |pair: &Value| number(&pair[0])..number(&pair[1]);
        let group = |group: &Value| group.as_array().unwrap().iter().map(chunk).collect();
        let groups = self.said["groups"].as_array().unwrap();
        groups.iter().map(group).collect()
    }
}

#[test]
fn chunks_lie_where_pyarrow_says() {
    for fixture in FIXTURES.iter().map(|name| fixture(name)) {
        let layout = fixture.layout().expect(fixture.name);
        let said = fixture.chunks();
        assert_eq!(layout.groups() as usize, said.len(), "{}", fixture.name);
        for (group, chunks) in (0..).zip(&said) {
            assert_eq!(layout.columns() as usize, chunks.len());
            for (column, interval) in (0..).zip(chunks) {
                let chunk = Chunk { group, column };
                assert_eq!(layout.interval(chunk), *interval, "{}", fixture.name);
            }
        }
        assert_eq!(
            layout.interval(Chunk {
                group: 0,
                column: layout.columns()
            }),
            0..0
        );
        assert_eq!(
            layout.interval(Chunk {
                group: layout.groups(),
                column: 0
            }),
            0..0
        );
        let footer = fixture.footer();
        let length = fixture.said["footer"].as_u64().unwrap();
        assert_eq!(footer.end - footer.start, length, "{}", fixture.name);
    }
}

/// PyArrow gives chunks without rows the offset 0.
#[test]
fn a_file_without_rows_is_left_alone() {
    assert_eq!(fixture("pyarrow-empty").layout(), None);
}

#[test]
fn an_interval_touches_the_chunks_of_which_it_has_bytes() {
    for fixture in FIXTURES.iter().map(|name| fixture(name)) {
        let layout = fixture.layout().unwrap();
        let all = fixture.chunks().concat();
        let size = fixture.file.len() as u64;
        let mut starts: Vec<u64> = all.iter().flat_map(|c| [c.start, c.end]).collect();
        starts.extend([0, size - 8, size]);
        for start in &starts {
            for length in [0, 1, 2, 100, 5000, size] {
                let interval = start.saturating_sub(1)..start.saturating_sub(1) + length;
                let expected: Vec<_> = all
                    .iter()
                    .filter(|c| c.start.max(interval.start) < c.end.min(interval.end))
                    .cloned()
                    .collect();
                let touched: Vec<_> = layout
                    .touched_by(&interval)
                    .map(|chunk| layout.interval(chunk))
                    .collect();
                assert_eq!(touched, expected, "{} {interval:?}", fixture.name);
            }
        }
    }
}

#[test]
fn what_is_no_footer_is_left_alone() {
    let end = |length: u32, magic: &[u8]| [&length.to_le_bytes()[..], magic].concat();
    assert_eq!(footer_of(&end(10, b"PAR1"), 100), Some(82..92));
    assert_eq!(footer_of(&end(88, b"PAR1"), 100), Some(4..92));
    assert_eq!(footer_of(&end(89, b"PAR1"), 100), None);
    assert_eq!(footer_of(&end(10, b"PARE"), 100), None);
    assert_eq!(footer_of(&end(10, b"ORC1"), 100), None);
    assert_eq!(footer_of(b"PAR1", 100), None);
    assert_eq!(footer_of(b"", 100), None);
    let longest = MAX_FOOTER as u32;
    assert!(footer_of(&end(longest, b"PAR1"), 1 << 30).is_some());
    assert_eq!(footer_of(&end(longest + 1, b"PAR1"), 1 << 30), None);
    assert_eq!(footer_of(&end(u32::MAX, b"PAR1"), u64::MAX), None);
}

/// A footer with one row group after another, all alike: offsets and lengths of three columns.
fn footer(groups: usize, chunk: impl Fn(usize, usize) -> (u64, u64)) -> Vec<u8> {
    let varint = |mut value: u64, into: &mut Vec<u8>| {
        while value >= 0x80 {
            into.push(value as u8 | 0x80);
            value >>= 7;
        }
        into.push(value as u8);
    };
    // Field 4, a list of structs with a long head.
    let mut bytes = vec![0x49, 0xfc];
    varint(groups as u64, &mut bytes);
    for group in 0..groups {
        bytes.extend([0x19, 0x3c]);
        for column in 0..3 {
            let (start, length) = chunk(group, column);
            // Field 3, a struct: fields 7 and 9, integers.
            bytes.extend([0x3c, 0x76]);
            varint(length << 1, &mut bytes);
            bytes.push(0x26);
            varint(start << 1, &mut bytes);
            bytes.extend([0, 0]);
        }
        bytes.push(0);
    }
    bytes.push(0);
    bytes
}

#[test]
fn chunks_over_each_other_or_out_of_order_are_left_alone() {
    let place = |group: usize, column: usize| (4 + (group * 3 + column) as u64 * 10, 10);
    let good = footer(20, place);
    assert_eq!(Layout::parse(&good, 604).map(|l| l.groups()), Some(20));
    assert_eq!(Layout::parse(&good, 603), None, "the last over the footer");
    let before = footer(2, |_, column| (3 + column as u64, 1));
    assert_eq!(Layout::parse(&before, 1000), None, "over the magic");
    let over = footer(20, |group, column| {
        let (start, length) = place(group, column);
        (start, length + u64::from((group, column) == (7, 1)))
    });
    assert_eq!(Layout::parse(&over, 10_000), None);
    let long = footer(1, |_, column| (4 + column as u64 * (1 << 40), 1 << 32));
    assert_eq!(Layout::parse(&long, u64::MAX), None);
    let far = footer(1, |_, column| (i64::MAX as u64 - 3 + column as u64, 1));
    assert!(Layout::parse(&far, u64::MAX).is_some());
}

#[test]
fn layouts_are_bounded() {
    let place = |group: usize, column: usize| (4 + (group * 3 + column) as u64, 1);
    let groups = MAX_CHUNKS / 3;
    let layout = Layout::parse(&footer(groups, place), u64::MAX).unwrap();
    assert!(layout.bytes() <= 12 * MAX_CHUNKS + 64);
    assert_eq!(Layout::parse(&footer(groups + 1, place), u64::MAX), None);
}

/// Not a measurement: what is quadratic takes minutes here.
#[test]
fn the_longest_footers_are_read_in_linear_time() {
    let begun = Instant::now();
    let longest = MAX_FOOTER as usize;
    for byte in 0..=u8::MAX {
        let bytes = vec![byte; longest / 64];
        assert_eq!(Layout::parse(&bytes, u64::MAX), None);
    }
    for head in [
        &[0x19][..],
        &[0x1c],
        &[0x49, 0xfc],
        &[0x49, 0xf9, 0xff, 0xff, 0x03],
    ] {
        let bytes = head.repeat(longest / head.len());
        assert_eq!(Layout::parse(&bytes, u64::MAX), None);
    }
    assert!(begun.elapsed().as_secs() < 60);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_are_read_without_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        size in any::<u64>(),
    ) {
        let _ = footer_of(&bytes, size);
        if let Some(layout) = Layout::parse(&bytes, size) {
            prop_assert!(layout.bytes() <= 64 + 12 * bytes.len());
        }
    }

    /// What is cut off or changed is refused, or read as something that makes sense.
    #[test]
    fn footers_that_are_cut_or_changed_are_read_without_harm(
        which in 0..FIXTURES.len(),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        at in any::<u64>(),
    ) {
        let fixture = fixture(FIXTURES[which]);
        let whole = fixture.bytes();
        let cut_off = &whole[..cut.index(whole.len())];
        prop_assert_eq!(Layout::parse(cut_off, fixture.footer().start), None);
        let mut changed = whole.to_vec();
        for (place, byte) in &changes {
            let place = place.index(changed.len());
            changed[place] = *byte;
        }
        if let Some(layout) = Layout::parse(&changed, fixture.footer().start) {
            let chunks: Vec<_> = layout.touched_by(&(0..u64::MAX)).collect();
            let full = (0..layout.groups()).flat_map(|group| {
                (0..layout.columns()).map(move |column| Chunk { group, column })
            });
            let is_there = |chunk: &Chunk| !layout.interval(*chunk).is_empty();
            prop_assert_eq!(chunks, full.filter(is_there).collect::<Vec<_>>());
            let end = layout.interval(Chunk { group: layout.groups() - 1, column: layout.columns() - 1 }).end;
            prop_assert!(end <= fixture.footer().start);
            let _ = layout.touched_by(&(at..u64::MAX)).count();
        }
    }
}
