//! Files that are not what was written: whatever is in them, a read gives right bytes or none.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::cache::store::disk::core::Core;
use crate::cache::store::disk::format::Seal;
use crate::cache::store::disk::format::Table;

/// A new process's view of the directory, without its threads.
fn core(dir: &Path) -> Core {
    Core::open(config(dir), Arc::default()).unwrap()
}

fn segment(object: &Arc<ObjectVersion>, index: u32) -> Segment {
    Segment {
        version: Arc::clone(object),
        index: SegmentIndex(index),
        block_size: BlockSize::new(BLOCK).unwrap(),
    }
}

/// Reads all blocks of a segment, one by one and together. Gives those that were there.
fn read_all(core: &Core, object: &Arc<ObjectVersion>, index: u32) -> Blocks {
    let segment = segment(object, index);
    let first = u64::from(index) * 64;
    let mut good = Blocks::NONE;
    for place in 0..segment.layout().places() {
        for end in [place + 1, segment.layout().places()] {
            if let Ok(bytes) = core.read(&segment, place..end) {
                let count = (bytes.len() as u64).div_ceil(BLOCK);
                let at = first + u64::from(place);
                assert!(bytes == blocks_of(object, at..at + count), "wrong bytes");
                good = good.union(Blocks::run(place..place + 1));
            }
        }
    }
    good
}

/// One file: blocks 1 to 3 of an object of five blocks, the last of them short.
async fn one_file(dir: &Path) -> (Arc<ObjectVersion>, PathBuf) {
    let object = version("a", "1", 4 * BLOCK - 3);
    // Its own listing is over, and deletes nothing of what is planted later.
    let tier = open_indexed(config(dir)).await;
    write(&tier, &object, 1..4);
    tier.flush().await;
    let files = files_below(&dir.join("cache/v1/segments"));
    assert_eq!(files.len(), 1);
    (object, files[0].clone())
}

#[tokio::test]
async fn a_flipped_bit_costs_a_block_or_a_file() {
    let dir = folder();
    let (object, path) = one_file(dir.path()).await;
    let whole = fs::read(&path).unwrap();
    let all = Blocks::run(1..4);
    // The header, the table around the blocks, and samples of the blocks.
    let header = format::encode_header(&object, SegmentIndex(0), BlockSize::new(BLOCK).unwrap());
    let header_end = header.unwrap().len();
    let header = 0..header_end + 30;
    let table = 3072..3072 + 5 * 16;
    let blocks = (4096..whole.len()).step_by(1511).chain([whole.len() - 1]);
    for at in header.chain(table).chain(blocks) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        let core = core(dir.path());
        let good = read_all(&core, &object, 0);
        assert!(good.without(all).is_empty(), "byte {at}");
        let is_unused = (header_end..3088).contains(&at) || (3136..4096).contains(&at);
        let is_hole = (4096..4096 + 16384).contains(&at);
        if is_unused || is_hole {
            assert_eq!(good, all, "byte {at} means nothing");
        } else {
            assert!(good != all, "byte {at} went unnoticed");
            assert!(good.count() == 2 || good.is_empty(), "byte {at}");
        }
        // What is missing is written again, and is good.
        core.write(&segment(&object, 0), 1, &blocks_of(&object, 1..4));
        assert_eq!(read_all(&core, &object, 0), all, "byte {at}");
    }
}

#[tokio::test]
async fn damage_is_met_while_files_are_open() {
    let dir = folder();
    let tier = open_indexed(config(dir.path())).await;
    let object = version("a", "1", 8 * BLOCK);
    write(&tier, &object, 0..8);
    tier.flush().await;
    assert_eq!(read(&tier, &object, 0..8).await, 8);
    let path = &files_below(&dir.path().join("cache/v1/segments"))[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[4096 + 3 * 16384 + 5] ^= 1;
    fs::write(path, &bytes).unwrap();
    assert_eq!(
        read(&tier, &object, 0..8).await,
        3,
        "the good run before it"
    );
    let left = Blocks::run(0..8).without(Blocks::run(3..4));
    assert_eq!(
        tier.present(object.segment(SegmentIndex(0))),
        Presence::Known(left)
    );
    assert_eq!(tier.counters().checksum_failures.get(), 1);
    assert_eq!(read(&tier, &object, 3..8).await, 0);
    assert_eq!(read(&tier, &object, 4..8).await, 4);
    let table = fs::read(path).unwrap()[3072..4096].to_vec();
    assert!(
        table[48..64].iter().all(|&byte| byte == 0),
        "its entry is cleared"
    );
    write(&tier, &object, 3..4);
    tier.flush().await;
    assert_eq!(read(&tier, &object, 0..8).await, 8);
    // Cut short while it is open.
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(4096 + 16384 + 7)
        .unwrap();
    assert_eq!(read(&tier, &object, 0..8).await, 1);
    for block in 1..8 {
        assert_eq!(read(&tier, &object, block..8).await, 0);
    }
    // The first block too: a file without blocks is deleted.
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(4096)
        .unwrap();
    assert_eq!(read(&tier, &object, 0..8).await, 0);
    assert!(!path.exists());
    assert_eq!(tier.counters().bytes.get(), 0);
}

#[tokio::test]
async fn files_that_change_places_are_not_believed() {
    let dir = folder();
    let objects: Vec<_> = ["a", "b"].map(|key| version(key, "1", 100 * BLOCK)).into();
    let tier = open(config(dir.path()));
    for object in &objects {
        write(&tier, object, 0..3);
        write(&tier, object, 64..67);
    }
    tier.flush().await;
    let paths: Vec<PathBuf> = objects
        .iter()
        .flat_map(|object| [segment(object, 0).path(), segment(object, 1).path()])
        .map(|path| dir.path().join("cache/v1").join(path))
        .collect();
    let bytes: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    for shift in 1..4 {
        for (place, path) in paths.iter().enumerate() {
            fs::write(path, &bytes[(place + shift) % 4]).unwrap();
        }
        let core = core(dir.path());
        for object in &objects {
            assert_eq!(
                read_all(&core, object, 0).union(read_all(&core, object, 1)),
                Blocks::NONE
            );
        }
        assert_eq!(
            files_below(&dir.path().join("cache/v1")).len(),
            0,
            "deleted"
        );
        assert_eq!(core.counters.checksum_failures.get(), 4);
    }
    // Blocks that change places within a file, table entries and all.
    let mut moved = bytes[0].clone();
    moved[3072..3088].copy_from_slice(&bytes[0][3088..3104]);
    moved[4096..4096 + 16384].copy_from_slice(&bytes[0][4096 + 16384..4096 + 2 * 16384]);
    fs::create_dir_all(paths[0].parent().unwrap()).unwrap();
    fs::write(&paths[0], moved).unwrap();
    assert_eq!(
        read_all(&core(dir.path()), &objects[0], 0),
        Blocks::run(1..3)
    );
}

#[tokio::test]
async fn strays_are_deleted_and_strangers_outside_are_not() {
    let dir = folder();
    let (object, path) = one_file(dir.path()).await;
    let whole = fs::read(&path).unwrap();
    let root = dir.path().join("cache");
    let fan = path.parent().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let old = std::time::SystemTime::now() - Duration::from_hours(1);
    let plant = |at: PathBuf, bytes: &[u8]| {
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, bytes).unwrap();
        fs::File::options()
            .write(true)
            .open(&at)
            .unwrap()
            .set_modified(old)
            .unwrap();
        at
    };
    let other = name.replace("-00000000-", "-00000001-");
    let doomed = [
        plant(fan.join("README"), b"hello"),
        plant(fan.join(name.replace("16k", "64k")), &whole),
        plant(fan.join(&other), &whole),
        plant(fan.join(other.replace("-00000001-", "-00000002-")), b""),
        plant(
            fan.join(other.replace("-00000001-", "-00000003-")),
            &whole[..50],
        ),
        plant(
            fan.join(other.replace("-00000001-", "-00000004-")),
            &[0xff; 9000],
        ),
        plant(
            root.join("v1/segments/zz/x")
                .with_file_name("x")
                .parent()
                .unwrap()
                .with_file_name("00")
                .join("x"),
            b"x",
        ),
        plant(
            root.join("v1/metas/ab")
                .join(format!("{}.7-1", "ab".repeat(16))),
            b"half",
        ),
        plant(root.join("v1/probe-1"), b"probe"),
    ];
    let kept = [
        plant(root.join("v2/segments/00/x"), b"of a later version"),
        plant(root.join("notes"), b"mine"),
        plant(fan.join("folder/x"), b"in a folder"),
    ];
    fs::write(fan.join("new"), b"another process writes it now").unwrap();
    std::os::unix::fs::symlink(&kept[1], fan.join("link")).unwrap();
    let tier = open_indexed(config(dir.path())).await;
    for path in doomed {
        assert!(!path.exists(), "{path:?}");
    }
    for path in kept {
        assert!(path.exists(), "{path:?}");
    }
    assert!(fan.join("new").exists());
    assert_eq!(tier.counters().deleted_strays.get(), 9);
    assert_eq!(read(&tier, &object, 1..4).await, 3);
    assert_eq!(tier.counters().segments.get(), 1);
}

#[tokio::test]
async fn a_link_in_the_place_of_a_file_is_not_followed() {
    let dir = folder();
    let (object, path) = one_file(dir.path()).await;
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let core = core(dir.path());
    assert_eq!(read_all(&core, &object, 0), Blocks::NONE);
    core.write(&segment(&object, 0), 1, &blocks_of(&object, 1..4));
    assert_eq!(read_all(&core, &object, 0), Blocks::run(1..4));
    assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
}

#[tokio::test]
async fn a_meta_with_a_flipped_bit_is_none() {
    let dir = folder();
    let tier = open(config(dir.path()));
    let id = MetaId([3; 16]);
    assert!(
        tier.write_meta(id, Some(&object("k")), "the blob".into())
            .await
    );
    let path = &files_below(&dir.path().join("cache/v1/metas"))[0];
    let whole = fs::read(path).unwrap();
    for at in 0..=whole.len() {
        let mut bytes = whole.clone();
        match bytes.get_mut(at) {
            Some(byte) => *byte ^= 1 << (at % 8),
            None => bytes.push(0),
        }
        fs::write(path, &bytes).unwrap();
        assert_eq!(core(dir.path()).read_meta(id), None, "byte {at}");
        assert!(!path.exists(), "byte {at}");
    }
    fs::write(path, vec![b'x'; 1 << 20]).unwrap();
    assert_eq!(core(dir.path()).read_meta(id), None);
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_to_something(
        bytes in prop::collection::vec(any::<u8>(), 0..5000),
        prefix in 0_usize..200,
    ) {
        let object = version("a", "1", 70 * BLOCK);
        let header = format::encode_header(&object, SegmentIndex(0), BlockSize::DEFAULT).unwrap();
        let meta = metas::encode(MetaId([1; 16]), Some(&object.object), b"blob").unwrap();
        for known in [&header, &meta] {
            let mixed = [&known[..prefix.min(known.len())], &bytes].concat();
            if !mixed.starts_with(known) {
                prop_assert!(format::decode_header(&mixed).is_err());
                prop_assert_eq!(metas::decode(&mixed), None);
            }
        }
        let segment = segment(&object, 1);
        let table = Table::decode(&bytes, Seal::new(segment.id()), segment.layout());
        prop_assert!(table.blocks().without(Blocks::run(0..6)).is_empty());
    }
}
