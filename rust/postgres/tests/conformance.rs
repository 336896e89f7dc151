//! The rules of every store, on a PostgreSQL server.
#![allow(clippy::unwrap_used)]

#[path = "../../store/tests/common/mod.rs"]
mod common;
#[path = "../../store/tests/common/rules.rs"]
mod rules;
mod server;

use std::path::Path;
use std::sync::LazyLock;

use forebay_postgres::{PostgresStore, Settings};
use forebay_store::memory::MemoryStore;
use forebay_store::port::{Durability, Store};
use rules::Kind;
use server::Server;

/// One for all of these tests: each store has a schema of its own there.
static SERVER: LazyLock<Option<Server>> = LazyLock::new(|| Server::start("rust/postgres/tests/conformance.rs"));

fn stores() -> Vec<Kind> {
    let mut stores = vec![Kind { name: "memory", make: |_| Box::new(MemoryStore::new()), is_kept: false }];
    if SERVER.is_some() {
        stores.push(Kind { name: "postgres", make: open, is_kept: true });
    }
    stores
}

fn open(dir: &Path) -> Box<dyn Store> {
    let app = dir.file_name().unwrap().to_str().unwrap();
    let url = SERVER.as_ref().unwrap().url("");
    Box::new(PostgresStore::open(Settings::new(&url, app, Durability::PowerLoss).unwrap()).unwrap())
}
