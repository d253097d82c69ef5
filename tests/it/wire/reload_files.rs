//! Files that are wrong in every way when the configuration is read again, and certificates that are
//! renewed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;

use super::client::Client;
use super::origin::Origin;
use super::proxy::{Proxy, Setup, everything, reader, writer};
use super::reload::read_by;
use super::tls::Pki;

/// A file that is wrong in one way, and what is said of it.
type Bad = (&'static str, fn(&Proxy, &str), &'static str);

const BAD_FILES: &[Bad] = &[
    (
        "no YAML",
        |proxy, text| proxy.write(&format!("{text}a: [1\n")),
        "not YAML",
    ),
    (
        "an unknown key",
        |proxy, text| proxy.write(&format!("{text}lisen: []\n")),
        "lisen: unknown key; did you mean `listen`?",
    ),
    (
        "a glob that is none",
        |proxy, text| proxy.write(&text.replace("prefixes: [public/]", "prefixes: ['[']")),
        "clients[1].allow[0].prefixes[0]: `[` cannot be used",
    ),
    (
        "no such variable",
        |proxy, text| proxy.write(&text.replace("READER_SECRET", "NO_SECRET")),
        "clients[1].secret_access_key_env: the environment variable NO_SECRET is not set",
    ),
    (
        "too much",
        |proxy, text| proxy.write(&format!("{text}#{}\n", "x".repeat(1 << 20))),
        "larger than",
    ),
    ("nothing", |proxy, _| proxy.write(""), "origins: missing"),
    (
        "no file",
        |proxy, _| std::fs::remove_file(proxy.file()).unwrap(),
        "cannot be read",
    ),
    (
        "a directory",
        |proxy, _| {
            std::fs::remove_file(proxy.file()).unwrap();
            std::fs::create_dir(proxy.file()).unwrap();
        },
        "cannot be read",
    ),
    (
        "an unreadable secret",
        |proxy, _| std::fs::remove_file(proxy.dir.path().join("origin-secret")).unwrap(),
        "origins[0].credentials.static.secret_access_key_file: the file cannot be read",
    ),
    (
        "a secret that others read",
        |proxy, _| mode(&proxy.dir.path().join("origin-secret"), 0o644),
        "others may read it",
    ),
    (
        "a key of another certificate",
        |proxy, _| {
            let other = Pki::new(&["s3.test"]);
            change(&proxy.dir.path().join("tls.key"), &other.key);
        },
        "tls.key_file: ",
    ),
    (
        "no certificate",
        |proxy, _| change(&proxy.dir.path().join("tls.crt"), "nothing"),
        "tls.cert_file: ",
    ),
    (
        "a listener of our own as origin",
        |proxy, text| {
            let own = format!(
                "origins:\n  - {{name: own, endpoint: 'http://{}'}}\n",
                proxy.address
            );
            let moved = text.replace(&format!("tcp: {}", proxy.address), "tcp: 127.0.0.1:1");
            proxy.write(&moved.replace("origins:\n", &own));
        },
        "this is our own listener",
    ),
];

fn mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(bits)).unwrap();
}

fn change(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

struct Tls {
    proxy: Proxy,
    pki: Pki,
    port: u16,
}

/// A proxy with a TLS listener, whose files lie beside the configuration.
async fn start_tls(origin: &Origin) -> Tls {
    let pki = Pki::new(&["s3.test"]);
    let setup = Setup::of(origin);
    let (cert, key) = (
        setup.secret("tls.crt", &pki.cert),
        setup.secret("tls.key", &pki.key),
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let proxy = setup
        .listen(&format!(
            "tls: {{addr: '127.0.0.1:{port}', cert_file: {}, key_file: {}}}",
            cert.display(),
            key.display()
        ))
        .start()
        .await;
    Tls { proxy, pki, port }
}

impl Tls {
    /// Connects, as long as the certificate is of this authority.
    async fn connect(&self, pki: &Pki) -> Option<Client> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = ServerName::try_from("s3.test").unwrap();
        let stream = pki.connector().connect(name, stream).await.ok()?;
        Some(Client::over(Box::new(stream)))
    }
}

#[tokio::test]
async fn a_file_that_is_wrong_in_any_way_changes_nothing() {
    let origin = Origin::start().await;
    let tls = start_tls(&origin).await;
    let proxy = &tls.proxy;
    let good = proxy.text();
    let kept: Vec<_> = ["origin-secret", "tls.crt", "tls.key"]
        .iter()
        .map(|name| proxy.dir.path().join(name))
        .map(|path| (std::fs::read_to_string(&path).unwrap(), path))
        .collect();
    let before = proxy.in_force().await;
    let loaded = proxy.page("/metrics").await.unwrap().text();
    let loaded = loaded
        .lines()
        .find(|line| line.starts_with("s3proxy_config_loaded_"))
        .unwrap()
        .to_owned();
    let mut client = proxy.connect().await;
    let mut over_tls = tls.connect(&tls.pki).await.unwrap();
    for (index, (what, spoil, said)) in BAD_FILES.iter().enumerate() {
        println!("{what}");
        // Would take a right away, were it not for the rest.
        let text = good.replace("name: writer", "name: scribe");
        proxy.write(&text);
        spoil(proxy, &text);
        let (status, report) = proxy.reload().await;
        assert_eq!(
            (status, &report["ok"]),
            (422, &Value::Bool(false)),
            "{what}: {report}"
        );
        let errors = report["errors"].as_array().unwrap();
        let is_said = errors
            .iter()
            .any(|error| error.as_str().unwrap().contains(said));
        assert!(is_said, "{what}: {report}");
        assert!(
            errors[0].as_str().unwrap().contains("s3proxy.yaml"),
            "{report}"
        );
        let shown = proxy.in_force().await;
        assert_eq!(shown["config"], before["config"], "{what}");
        assert_eq!(shown["loaded"], before["loaded"], "{what}");
        assert_eq!(shown["last_reload"]["errors"], report["errors"], "{what}");
        for client in [
            &mut client,
            &mut over_tls,
            &mut tls.connect(&tls.pki).await.unwrap(),
        ] {
            client
                .call(&read_by(&writer(), "/lake/in/a"))
                .await
                .expect(200, "");
            let refused = client.call(&read_by(&reader(), "/lake/in/a")).await;
            refused.expect(403, "AccessDenied");
        }
        let refused = proxy
            .metric("s3proxy_config_reloads_total", "refused")
            .await;
        assert_eq!(refused, index as u64 + 1, "{what}");
        let _ = std::fs::remove_dir(proxy.file());
        for (text, path) in &kept {
            change(path, text);
            mode(path, 0o600);
        }
    }
    let metrics = proxy.page("/metrics").await.unwrap().text();
    assert!(metrics.lines().any(|line| line == loaded), "{loaded}");
    proxy.write(&good.replace("name: writer", "name: scribe"));
    proxy
        .reload_for(&["clients[scribe] added", "clients[writer] removed"])
        .await;
    assert_eq!(
        proxy.in_force().await["last_reload"]["errors"],
        Value::from(Vec::<Value>::new())
    );
}

#[tokio::test]
async fn a_certificate_is_renewed_under_live_connections() {
    let origin = Origin::start().await;
    let tls = start_tls(&origin).await;
    let proxy = &tls.proxy;
    let mut live = tls.connect(&tls.pki).await.unwrap();
    let call = || read_by(&everything(), "/lake/a");
    live.call(&call()).await.expect(200, "");
    let new = Pki::new(&["s3.test"]);
    let (cert, key) = (
        proxy.dir.path().join("tls.crt"),
        proxy.dir.path().join("tls.key"),
    );
    change(&cert, &new.cert);
    change(&key, &new.key);
    assert!(tls.connect(&new).await.is_none(), "nobody said so yet");
    let contents = |path: &Path| format!("contents of {}", path.display());
    proxy.reload_for(&[&contents(&cert), &contents(&key)]).await;
    assert!(tls.connect(&tls.pki).await.is_none(), "the old one is gone");
    let mut fresh = tls.connect(&new).await.expect("the new certificate");
    for client in [&mut live, &mut fresh] {
        client.call(&call()).await.expect(200, "");
    }
    // In another place, while the listeners change in a way that has to wait.
    let moved = proxy.dir.path().join("moved.crt");
    let third = Pki::new(&["s3.test"]);
    change(&moved, &third.cert);
    change(&key, &third.key);
    proxy.rewrite(&cert.display().to_string(), &moved.display().to_string());
    proxy.rewrite("threads: 2\n", "threads: 3\n");
    let changed = [
        format!("listen[127.0.0.1:{}].tls.cert_file", tls.port),
        contents(&key),
    ];
    let report = proxy.reload_for(&[&changed[0], &changed[1]]).await;
    assert_eq!(report["needs_restart"], Value::from(vec!["threads"]));
    assert!(tls.connect(&new).await.is_none());
    let mut fresh = tls.connect(&third).await.expect("the third certificate");
    for client in [&mut live, &mut fresh] {
        client.call(&call()).await.expect(200, "");
    }
}
