//! What `sslmode` of the URL asks for, on a server whose certificate names `localhost`.
#![allow(clippy::unwrap_used)]

mod server;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use forebay_postgres::{PostgresStore, Settings};
use forebay_store::port::{Durability, StoreError};
use server::Server;

const FILE: &str = "rust/postgres/tests/tls.rs";

fn openssl(folder: &Path, arguments: &str) -> Option<()> {
    let output = Command::new("openssl").args(arguments.split('|')).current_dir(folder).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

/// An authority, another one that nobody asked, and a certificate of the first for `localhost`; `None` where there is no openssl.
fn certificates(folder: &Path) -> Option<()> {
    for name in ["ca", "other"] {
        let usage = "-addext|basicConstraints=critical,CA:TRUE|-addext|keyUsage=critical,keyCertSign";
        let made = format!(
            "req|-x509|-newkey|rsa:2048|-nodes|-days|2|-keyout|{name}.key|-out|{name}.pem|-subj|/CN={name}|{usage}"
        );
        openssl(folder, &made)?;
    }
    openssl(folder, "req|-newkey|rsa:2048|-nodes|-keyout|server.key|-out|server.csr|-subj|/CN=server")?;
    std::fs::write(folder.join("extensions"), "subjectAltName=DNS:localhost\n").unwrap();
    let signed =
        "x509|-req|-in|server.csr|-CA|ca.pem|-CAkey|ca.key|-CAcreateserial|-days|2|-extfile|extensions|-out|server.pem";
    openssl(folder, signed)
}

/// Give the server its certificate, and wait until it uses it.
fn encrypt(server: &Server, folder: &Path) {
    for name in ["server.key", "server.pem"] {
        server.give(&folder.join(name), name);
    }
    server.sql("ALTER SYSTEM SET ssl_cert_file = 'server.pem'");
    server.sql("ALTER SYSTEM SET ssl_key_file = 'server.key'");
    server.sql("ALTER SYSTEM SET ssl = on");
    server.sql("SELECT pg_reload_conf()");
    let until = Instant::now() + Duration::from_secs(100);
    while server.sql("SHOW ssl") != "on" {
        assert!(Instant::now() < until, "the server encrypts");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_connection_is_as_safe_as_the_url_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    if certificates(folder.path()).is_none() {
        server::tell_at_the_end("openssl is not installed: sudo apt-get install -y openssl", FILE);
        return;
    }
    let Some(server) = Server::start(FILE) else { return };
    let open = |host: &str, query: &str| {
        let url = format!("postgresql://forebay@{host}:{}/postgres?{query}", server.port);
        PostgresStore::open(Settings::new(&url, "tls", Durability::PowerLoss)?)
    };
    let encrypted = || {
        server.sql("SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'forebay tls'")
    };

    let plain = open("127.0.0.1", "sslmode=require").err();
    assert!(matches!(plain, Some(StoreError::Unavailable(_))), "the server cannot encrypt: {plain:?}");
    let store = open("127.0.0.1", "").unwrap();
    assert_eq!(encrypted(), "0");
    drop(store);

    encrypt(&server, folder.path());
    let roots = |name: &str| format!("sslrootcert={}", folder.path().join(name).display());
    let (ca, other) = (roots("ca.pem"), roots("other.pem"));
    let accepted = [
        ("127.0.0.1", "sslmode=prefer".into()),
        ("127.0.0.1", "sslmode=require".into()),
        ("127.0.0.1", format!("sslmode=verify-ca&{ca}")),
        ("127.0.0.1", format!("sslmode=require&{ca}")),
        ("localhost", format!("sslmode=verify-full&{ca}")),
    ];
    for (host, query) in accepted {
        let store = open(host, &query).unwrap_or_else(|error| panic!("{host} {query}: {error}"));
        assert_ne!(encrypted(), "0", "{host} {query}");
        drop(store);
    }
    let refused = [
        ("127.0.0.1", format!("sslmode=verify-full&{ca}")),
        ("localhost", format!("sslmode=verify-full&{other}")),
        ("127.0.0.1", format!("sslmode=verify-ca&{other}")),
        ("127.0.0.1", format!("sslmode=require&{other}")),
        ("localhost", "sslmode=verify-full".into()),
    ];
    for (host, query) in refused {
        let error = open(host, &query).err().unwrap_or_else(|| panic!("{host} {query} was accepted")).to_string();
        assert!(error.contains("certificate"), "{host} {query}: {error}");
    }
    let store = open("127.0.0.1", "sslmode=disable").unwrap();
    let own = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE NOT ssl AND application_name = 'forebay tls'";
    assert_ne!(server.sql(own), "0");
    drop(store);
}
