//! The bytes on disk are those of docs/disk-format.md. A change of any of them is a new format: raise
//! `FORMAT_VERSION`, add it to the page, and only then change the page's dumps.

use std::fs;

use super::*;
use crate::cache::store::disk::format::FORMAT_VERSION;
use crate::cache::store::dumps::Dump;
use crate::cache::store::dumps::PAGE;
use crate::cache::store::dumps::dumps;

/// The dumps of the only file in a directory, which has the name that the page gives it; and that
/// file, without what was shown of it: zeros.
fn shown(dir: &Path, which: &str) -> Vec<u8> {
    let root = dir.join("cache");
    let files = files_below(&root.join("v1").join(which));
    let [file] = &files[..] else {
        panic!("{files:?}");
    };
    let name = file.strip_prefix(&root).unwrap().display().to_string();
    let mut bytes = fs::read(file).unwrap();
    let of_it: Vec<Dump> = dumps()
        .into_iter()
        .filter(|dump| dump.file == name)
        .collect();
    assert!(!of_it.is_empty(), "the page has no {name}");
    for Dump {
        offset,
        bytes: wanted,
        ..
    } in of_it
    {
        let found = &mut bytes[offset..offset + wanted.len()];
        assert_eq!(found, &wanted[..], "{name} at {offset}");
        found.fill(0);
    }
    bytes
}

#[test]
fn the_page_is_of_this_format() {
    assert!(PAGE.contains(&format!("This page describes **format {FORMAT_VERSION}**")));
    // The last row of its table of formats.
    let rows = PAGE
        .lines()
        .skip_while(|line| !line.starts_with("| format | since"));
    let rows: Vec<&str> = rows
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(rows.len() as u64, u64::from(FORMAT_VERSION));
    let newest = rows.last().unwrap();
    assert!(
        newest.starts_with(&format!("| {FORMAT_VERSION} |")),
        "{newest}"
    );
}

/// The second segment of an object that ends in the third block of that; the first block is not
/// stored.
#[tokio::test]
async fn a_segment_is_as_the_page_shows_it() {
    let dir = folder();
    let tier = open(config(dir.path()));
    let object = version("a/b", "e", (64 + 2) * BLOCK + 5);
    let bytes: Vec<u8> = (0..BLOCK + 5).map(|byte| (byte % 251) as u8).collect();
    tier.write(&object, BlockIndex(65), bytes.clone().into());
    tier.flush().await;
    let rest = shown(dir.path(), "segments");
    assert_eq!(rest.len(), 4096 + 2 * 16384 + 5);
    // Beside what is shown there is only the rest of the second block.
    let block = 4096 + 16384;
    assert_eq!(rest[block + 16..block + 16384], bytes[16..16384]);
    assert!(rest[..block + 16].iter().all(|&byte| byte == 0));
    assert!(rest[block + 16384..].iter().all(|&byte| byte == 0));
}

#[tokio::test]
async fn a_meta_is_as_the_page_shows_it() {
    let dir = folder();
    let tier = open(config(dir.path()));
    let object = object("a/b");
    let id = MetaId([7; 16]);
    assert!(tier.write_meta(id, Some(&object), "blob".into()).await);
    let rest = shown(dir.path(), "metas");
    assert_eq!((rest.len(), rest.iter().max()), (73, Some(&0)));
}

#[test]
fn the_marker_is_as_the_page_shows_it() {
    let dir = folder();
    open(config(dir.path()));
    let marker = fs::read_to_string(dir.path().join("cache/CACHEDIR.TAG")).unwrap();
    assert!(
        PAGE.contains(&format!("```text\n{marker}```\n")),
        "{marker}"
    );
}
