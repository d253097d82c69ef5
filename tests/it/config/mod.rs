//! Configuration: bad files and what is said of them, good files and what becomes of them.

mod bad_files;
mod command;
mod documents;
mod good_files;
mod mutated_files;
mod packaged;
mod reload;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use s3proxy::config::Args;
use s3proxy::config::Config;
use s3proxy::config::Environment;
use tempfile::TempDir;

/// A directory with files that configurations name: `DIR` in a text stands for its path.
pub(crate) struct Files {
    directory: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        files.write("secret", "hunter2-hunter2\n", 0o600);
        files.write("open-secret", "hunter2-hunter2\n", 0o644);
        files.write("empty", "", 0o600);
        files.write("two-lines", "hunter2\nhunter2\n", 0o600);
        let pair = rcgen::generate_simple_self_signed(["s3.test".to_owned()]).unwrap();
        let key = pair.key_pair.serialize_pem();
        files.write("cert.pem", &pair.cert.pem(), 0o644);
        files.write("key.pem", &key, 0o600);
        files.write("open-key.pem", &key, 0o640);
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        files.write("other-key.pem", &other, 0o600);
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        files.write("no-cert.pem", no_certificate, 0o644);
        fs::create_dir(files.path("shared")).unwrap();
        let everyone = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(files.path("shared"), everyone).unwrap();
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Writes a configuration file.
    pub(crate) fn conf(&self, yaml: &str) -> Args {
        let directory = self.directory.path().display().to_string();
        let conf = self.write("s3proxy.yaml", &yaml.replace("DIR", &directory), 0o644);
        Args {
            conf: Some(conf),
            ..Args::default()
        }
    }

    /// What is said of a configuration file, with `FILE` and `DIR` for the paths; the errors, or
    /// the warnings.
    pub(crate) fn findings(&self, args: &Args) -> Result<String, String> {
        let shown = |text: String| {
            let conf = self.path("s3proxy.yaml").display().to_string();
            let directory = self.directory.path().display().to_string();
            text.replace(&conf, "FILE").replace(&directory, "DIR")
        };
        match self.load(args) {
            Ok(config) => Ok(shown(config.warnings.join("\n"))),
            Err(errors) => Err(shown(errors)),
        }
    }

    /// Loads with an environment that has a secret and a private directory for the pid file.
    pub(crate) fn load(&self, args: &Args) -> Result<Config, String> {
        Config::load_with(args, &self.environment()).map_err(|errors| errors.to_string())
    }

    fn environment(&self) -> Environment {
        let directory = self.directory.path().display().to_string();
        Environment::fixed([
            ("ETL_SECRET", "hunter2-hunter2"),
            ("BLANK_SECRET", "hunter2 hunter2"),
            ("HOME", directory.as_str()),
        ])
    }
}
