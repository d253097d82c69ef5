//! The bytes on disk, one by one. A change of any of them is a new format: raise `FORMAT_VERSION`,
//! write it into docs/disk-format.md, and only then change what is compared here.

use std::fmt::Write;
use std::fs;

use super::*;
use crate::cache::store::disk::format::FORMAT_VERSION;

/// Another number here means that another format is meant.
const VERSION_OF_THESE_BYTES: u32 = 1;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The segment of the golden file: the second one of an object that ends in its third block.
fn golden() -> Arc<ObjectVersion> {
    version("a/b", "e", (64 + 2) * BLOCK + 5)
}

#[tokio::test]
async fn a_segment_is_these_bytes() {
    assert_eq!(FORMAT_VERSION, VERSION_OF_THESE_BYTES);
    let dir = folder();
    let tier = open(config(dir.path()));
    let object = golden();
    let bytes: Vec<u8> = (0..BLOCK + 5).map(|byte| (byte % 251) as u8).collect();
    tier.write(&object, BlockIndex(65), bytes.into());
    tier.flush().await;
    let files = files_below(&dir.path().join("cache"));
    let names: Vec<String> = files
        .iter()
        .map(|file| file.strip_prefix(dir.path()).unwrap().display().to_string())
        .collect();
    assert_eq!(
        names,
        [
            "cache/CACHEDIR.TAG",
            "cache/v1/segments/3b/3bb7d884897d7f9172b0e7f1b0422e71-00000001-16k",
        ]
    );
    let file = fs::read(&files[1]).unwrap();
    let header = concat!(
        "533350585345474d", // S3PXSEGM
        "01000000",         // format
        "00400000",         // 16 KiB
        "01000000",         // the second segment
        "00000000",
        "0580100000000000", // bytes of the object
        "06000000",
        "6f726967696e", // origin
        "04000000",
        "6c616b65", // lake
        "03000000",
        "612f62", // a/b
        "03000000",
        "226522",           // "e"
        "43ca6272c3fbd2fd", // XXH3-64 of all this
    );
    assert_eq!(hex(&file[..header.len() / 2]), header);
    assert!(file[header.len() / 2..3072].iter().all(|&byte| byte == 0));
    // No first block, a whole second one, a third one of five bytes.
    assert_eq!(hex(&file[3072..3088]), "00".repeat(16));
    assert_eq!(hex(&file[3088..3104]), "004000003fd5f5c39d7da7eb50b9ca3b");
    assert_eq!(hex(&file[3104..3120]), "0500000061e873f93e38873c95051ff5");
    assert!(file[3120..4096 + 16384].iter().all(|&byte| byte == 0));
    assert_eq!(file.len(), 4096 + 2 * 16384 + 5);
    assert_eq!(hex(&file[4096 + 16384..][..8]), "0001020304050607");
    assert_eq!(hex(&file[4096 + 2 * 16384..]), "4546474849");
}

#[tokio::test]
async fn a_meta_is_these_bytes() {
    let dir = folder();
    let tier = open(config(dir.path()));
    let id = MetaId([7; 16]);
    assert!(
        tier.write_meta(id, Some(&object("a/b")), "blob".into())
            .await
    );
    let path = format!("cache/v1/metas/07/{}", "07".repeat(16));
    let file = fs::read(dir.path().join(path)).unwrap();
    let bytes = concat!(
        "533350584d455441", // S3PXMETA
        "01000000",         // format
        "01000000",         // an object is named
        "07070707070707070707070707070707",
        "06000000",
        "6f726967696e", // origin
        "04000000",
        "6c616b65", // lake
        "03000000",
        "612f62", // a/b
        "04000000",
        "626c6f62",         // blob
        "d8412ef824a66e31", // XXH3-64 of all this
    );
    assert_eq!(hex(&file), bytes);
}

#[test]
fn the_marker_is_these_bytes() {
    let dir = folder();
    open(config(dir.path()));
    assert_eq!(
        fs::read_to_string(dir.path().join("cache/CACHEDIR.TAG")).unwrap(),
        "Signature: 8a477f597d28d172789f06886806bc55\n\
         # s3proxy block cache, format 1\n\
         # Objects cached by s3proxy. Nothing here is needed: it may be deleted at any time.\n"
    );
}
