//! Files and directories that the configuration names: can they be used, and by whom else.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::conflict::Conflict;
use super::conflict::FileFault;
use super::environment::Environment;
use super::error::Findings;
use super::error::Place;

/// Certificate bundles are some 200 KiB; what is larger is the wrong file.
const MAX_PEM_BYTES: u64 = 4 << 20;

const EVERYONE_WRITES: u32 = 0o002;
/// Anything at all for group and others.
pub(super) const OTHERS_READ: u32 = 0o077;

/// What is in a file with a PEM section that ends in `what`; notes when it cannot be read or holds
/// none.
pub(super) fn check_pem(
    path: &Path,
    what: &'static str,
    place: &Place,
    findings: &mut Findings,
) -> Option<Zeroizing<Vec<u8>>> {
    let why = match read(path) {
        Ok(bytes) if has_section(&bytes, what) => return Some(bytes),
        Ok(_) => FileFault::NoPem(what),
        Err(error) => FileFault::Io(error),
    };
    let path = path.to_owned();
    findings.error(place.clone(), Conflict::File { path, why });
    None
}

fn has_section(bytes: &[u8], what: &str) -> bool {
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    holds(b"-----BEGIN ") && holds(format!("{what}-----").as_bytes())
}

/// The same for a private key, which others must not read.
pub(super) fn check_private_key(
    path: &Path,
    place: &Place,
    environment: &Environment,
    findings: &mut Findings,
) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = check_pem(path, "PRIVATE KEY", place, findings);
    if let Ok(metadata) = fs::metadata(path) {
        let mode = metadata.permissions().mode() & 0o7777;
        let is_private = mode & OTHERS_READ == 0;
        if !is_private && !is_system_credential(path, metadata.uid(), mode, environment) {
            let path = path.to_owned();
            let why = FileFault::Readable { mode };
            findings.error(place.clone(), Conflict::File { path, why });
        }
    }
    bytes
}

/// systemd puts credentials as root's files of mode 0440 into a directory that only the service may
/// enter: <https://systemd.io/CREDENTIALS/>.
pub(super) fn is_system_credential(
    path: &Path,
    owner: u32,
    mode: u32,
    environment: &Environment,
) -> bool {
    let Some(directory) = environment.get("CREDENTIALS_DIRECTORY") else {
        return false;
    };
    let real = |path: &Path| fs::canonicalize(path).ok();
    let is_inside = match (real(path), real(Path::new(&directory))) {
        (Some(path), Some(directory)) => path.starts_with(directory),
        _ => false,
    };
    is_inside && owner == 0 && mode & 0o027 == 0
}

/// Whether everyone may put files into a directory, or into the nearest one above that exists: who
/// may, can be there first with a link or a socket of that name.
pub(super) fn is_shared(directory: &Path) -> bool {
    directory
        .ancestors()
        .find_map(|ancestor| fs::metadata(ancestor).ok())
        .is_some_and(|metadata| metadata.permissions().mode() & EVERYONE_WRITES != 0)
}

/// Makes a directory, and those above it that are not there, for us alone.
pub(super) fn create_private_directory(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Whether everyone may change a file.
pub(super) fn is_writable_by_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & EVERYONE_WRITES != 0)
}

/// A regular file, as far as a certificate bundle may be long.
pub(super) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Zeroizing::default();
    File::open(path)?
        .take(MAX_PEM_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
