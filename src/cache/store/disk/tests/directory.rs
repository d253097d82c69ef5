//! Whose directory it is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

fn refusal(config: DiskConfig) -> DiskError {
    DiskTier::open(config, Arc::default()).err().unwrap()
}

fn private(path: PathBuf) -> PathBuf {
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[test]
fn a_directory_that_is_not_its_own_is_refused() {
    let dir = folder();
    let cache = private(dir.path().join("cache"));
    fs::write(cache.join("thesis.tex"), "years of work").unwrap();
    let error = refusal(config(dir.path()));
    assert!(matches!(&error, DiskError::NotEmpty { found, .. } if found == "thesis.tex"));
    assert!(
        error.to_string().contains("empty or new directory"),
        "{error}"
    );
    assert_eq!(files_below(&cache).len(), 1, "nothing was written");

    // The tag of another program's cache.
    fs::rename(cache.join("thesis.tex"), cache.join("CACHEDIR.TAG")).unwrap();
    assert!(matches!(
        refusal(config(dir.path())),
        DiskError::NotEmpty { .. }
    ));
    fs::remove_file(cache.join("CACHEDIR.TAG")).unwrap();

    // What a new file system has, and what another process that starts has, does not count.
    fs::create_dir(cache.join("lost+found")).unwrap();
    fs::write(cache.join("CACHEDIR.TAG.17"), "half").unwrap();
    open(config(dir.path()));
    fs::write(cache.join("notes"), "added later").unwrap();
    open(config(dir.path()));

    let mode = |mode| fs::set_permissions(&cache, fs::Permissions::from_mode(mode)).unwrap();
    for bits in [0o755, 0o770, 0o701, 0o777] {
        mode(bits);
        let error = refusal(config(dir.path()));
        assert!(matches!(error, DiskError::OpenToOthers { .. }), "{bits:o}");
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
    mode(0o700);
    open(config(dir.path()));
}

#[test]
fn a_link_or_a_file_is_no_directory() {
    let dir = folder();
    private(dir.path().join("real"));
    std::os::unix::fs::symlink(dir.path().join("real"), dir.path().join("cache")).unwrap();
    assert!(matches!(refusal(config(dir.path())), DiskError::Symlink(_)));
    fs::remove_file(dir.path().join("cache")).unwrap();
    fs::write(dir.path().join("cache"), "").unwrap();
    assert!(matches!(
        refusal(config(dir.path())),
        DiskError::NotADirectory(_)
    ));
    let below = config(&dir.path().join("cache"));
    assert!(matches!(refusal(below), DiskError::Io { .. }));
}

#[test]
fn the_directory_of_another_user_is_refused() {
    let dir = folder();
    let cache = private(dir.path().join("cache"));
    let other = Some(rustix::fs::Uid::from_raw(4321));
    if rustix::fs::chown(&cache, other, None).is_err() {
        return; // only root gives directories away
    }
    let error = refusal(config(dir.path()));
    assert!(matches!(error, DiskError::ForeignOwner { owner: 4321, .. }));
    assert!(error.to_string().contains("chown"), "{error}");
}

#[tokio::test]
async fn an_unknown_format_is_refused_and_left_alone() {
    let dir = folder();
    let tier = open(config(dir.path()));
    write(&tier, &version("a", "1", BLOCK), 0..1);
    tier.flush().await;
    drop(tier);
    let marker = dir.path().join("cache/CACHEDIR.TAG");
    let text = fs::read_to_string(&marker).unwrap();
    for format in ["format 2", "format 10", "format", "format 1b"] {
        fs::write(&marker, text.replace("format 1", format)).unwrap();
        let error = refusal(config(dir.path()));
        assert!(
            matches!(
                error,
                DiskError::UnknownFormat { .. } | DiskError::NotEmpty { .. }
            ),
            "{error}"
        );
        assert_eq!(files_below(&dir.path().join("cache/v1")).len(), 1);
    }
    fs::remove_file(&marker).unwrap();
    let error = refusal(config(dir.path()));
    assert!(matches!(&error, DiskError::NotEmpty { found, .. } if found == "v1"));
    fs::write(&marker, text).unwrap();
    open(config(dir.path()));
}

#[test]
fn the_directory_is_made_with_what_is_above_it() {
    let dir = folder();
    let below = dir.path().join("a/b");
    open(config(&below));
    assert!(below.join("cache/CACHEDIR.TAG").exists());
    let mode = fs::metadata(below.join("cache"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn processes_that_start_at_once_agree() {
    let dir = folder();
    for round in 0..20 {
        let config = config(&dir.path().join(round.to_string()));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let config = config.clone();
                scope.spawn(move || open(config));
            }
        });
    }
}
