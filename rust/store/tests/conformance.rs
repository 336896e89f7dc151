//! The rules of every store, on the stores of this crate.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/rules.rs"]
mod rules;

use forebay_store::fault::FaultStore;
use forebay_store::memory::MemoryStore;
use forebay_store::port::Durability;
use forebay_store::sqlite::SqliteStore;
use rules::Kind;

fn stores() -> Vec<Kind> {
    vec![
        Kind { name: "memory", make: |_| Box::new(MemoryStore::new()), is_kept: false },
        Kind { name: "fault", make: |_| Box::new(FaultStore::new(0, Durability::ProcessCrash)), is_kept: false },
        Kind {
            name: "sqlite",
            make: |dir| Box::new(SqliteStore::open(dir, Durability::PowerLoss).unwrap()),
            is_kept: true,
        },
        Kind {
            name: "sqlite, process-crash",
            make: |dir| Box::new(SqliteStore::open(dir, Durability::ProcessCrash).unwrap()),
            is_kept: true,
        },
    ]
}
