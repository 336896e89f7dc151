//! How fast chunks are appended on a disk, beside the embedded store on the same one: `cargo test --release --test rates -- --ignored`.
#![allow(clippy::unwrap_used)]

mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_postgres::{PostgresStore, Settings};
use forebay_store::chunk::Chunk;
use forebay_store::port::{BlockingStore as _, Durability, Outcome, ShardId, Store, Unit, Write};
use forebay_store::sqlite::SqliteStore;
use server::Server;

const RECORDS: u64 = 100;
const ROUND: Duration = Duration::from_secs(3);

/// Records a second, with so many chunks in each commit, one commit after the other.
fn rate(store: &mut dyn Store, chunks: u32, round: u64) -> u64 {
    let data = [b'x'; 200];
    let mut token = store.take_now(Unit::All).unwrap();
    let mut first = 0;
    let begun = Instant::now();
    while begun.elapsed() < ROUND {
        let write = |shard: u32| {
            let mut chunk = Chunk::starting_at(first);
            for _ in 0..RECORDS {
                chunk.push("key", &data, 7, 1);
            }
            let shard = (round * 1_000) as ShardId + chunks * 20 + shard;
            Write::Append { shard, chunk: Arc::new(chunk) }
        };
        let writes: Vec<_> = (0..chunks).map(write).collect();
        match store.submit_now(Unit::All, token, &writes).unwrap() {
            Outcome::Committed { token: next, .. } => token = next,
            other => panic!("{other:?}"),
        }
        first += RECORDS;
    }
    (first * u64::from(chunks)) * 1_000 / begun.elapsed().as_millis() as u64
}

#[test]
#[ignore = "a measurement"]
fn chunks_a_second() {
    let place =
        tempfile::tempdir_in(std::env::var_os("FOREBAY_TEST_PLACE").unwrap_or_else(|| "/var/tmp".into())).unwrap();
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = Server::start_in(place.path(), "rust/postgres/tests/rates.rs").expect("a server");
    let settings = Settings::new(&server.url(""), "rates", Durability::PowerLoss).unwrap();
    let mut postgres = PostgresStore::open(settings).unwrap();
    let folder = place.path().join("embedded");
    std::fs::create_dir(&folder).unwrap();
    let mut embedded = SqliteStore::open(&folder, Durability::PowerLoss).unwrap();
    for round in 0..3 {
        for chunks in [1, 16] {
            let (there, here) = (rate(&mut postgres, chunks, round), rate(&mut embedded, chunks, round));
            println!("figures {{\"chunks_a_commit\": {chunks}, \"postgres_records_s\": {there}, \"embedded_records_s\": {here}}}");
        }
    }
}
