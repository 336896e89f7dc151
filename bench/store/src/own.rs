//! What forebay's own store makes of the engine below it.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_store::chunk::Chunk;
use forebay_store::port::{BlockingStore as _, Durability, Store, Table, Write};
use forebay_store::sqlite::SqliteStore;

use crate::patterns::noise;
use crate::patterns::percentile;
use crate::patterns::RECORD;
use crate::grouped;
use crate::median;

const RUNS: usize = 3;
const COMMITS: u64 = 1_000;

pub fn report(place: &Path) {
    println!("\nµs that 10 / 50 / 99 of 100 commits stay under.\n\n| forebay's store | median of {RUNS} runs |\n| --- | --- |");
    println!("| 8 KiB written over and synced, without any store: µs | {} |", shown(&runs(|| bare_sync(place))));
    println!("| bare SQLite FULL, one insert of {RECORD} bytes: µs | {} |", shown(&runs(|| bare_insert(place))));
    for durability in [Durability::PowerLoss, Durability::ProcessCrash] {
        let single = runs(|| appends(place, durability, 1, COMMITS as usize));
        println!("| append of 1 record, {durability:?}: µs | {} |", shown(&single));
    }
    for (durability, group) in [
        (Durability::PowerLoss, 100),
        (Durability::PowerLoss, 500),
        (Durability::PowerLoss, 1_000),
        (Durability::ProcessCrash, 500),
    ] {
        let grown = runs(|| appends(place, durability, group, 100_000 / group));
        println!(
            "| append {group} a commit, {durability:?}: records/s (µs) | {} ({}) |",
            show(&grown, 3),
            shown(&grown)
        );
        println!("| range read of those, chunks opened: records/s | {} |", show(&grown, 4));
    }
    println!("| 4 of 1,000 checkpoint rows: µs | {} |", shown(&runs(|| checkpoints(place))));
    let trims = runs(|| trimming(place));
    println!("| trim of 400 chunks of 500: ms | {:.1} |", middle(&trims, 0));
    println!("| giving their room back: steps, ms each | {}, {:.1} |", show(&trims, 1), middle(&trims, 2));
    let opened = runs(|| opening(place));
    println!("| open after a crash: 1,000,000 records in 10,000 chunks, 10,000 rows: ms | {} |", show(&opened, 0));
}

fn runs(run: impl Fn() -> Vec<f64>) -> Vec<Vec<f64>> {
    (0..RUNS).map(|_| run()).collect()
}

fn middle(runs: &[Vec<f64>], figure: usize) -> f64 {
    median(runs.iter().map(|run| run[figure]).collect())
}

fn show(runs: &[Vec<f64>], figure: usize) -> String {
    grouped(middle(runs, figure))
}

/// Microseconds that 10, 50 and 99 of a hundred stay under.
fn spread(mut times: Vec<Duration>) -> Vec<f64> {
    times.sort();
    [10, 50, 99].map(|percent| percentile(&times, percent)).to_vec()
}

fn shown(runs: &[Vec<f64>]) -> String {
    format!("{} / {} / {}", show(runs, 0), show(runs, 1), show(runs, 2))
}

/// The floor: 8 KiB over a written file, and fsync.
fn bare_sync(place: &Path) -> Vec<f64> {
    let file = tempfile::tempfile_in(place).expect("file");
    file.write_all_at(&[1; 8_192 * 100], 0).expect("write");
    let times = (0..COMMITS).map(|n| {
        let begun = Instant::now();
        file.write_all_at(&[2; 8_192], n % 100 * 8_192).expect("write");
        file.sync_data().expect("sync");
        begun.elapsed()
    });
    spread(times.collect())
}

fn bare_insert(place: &Path) -> Vec<f64> {
    let dir = tempfile::tempdir_in(place).expect("directory");
    let connection = rusqlite::Connection::open(dir.path().join("bare.db")).expect("open");
    connection
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE chunk(id INTEGER PRIMARY KEY, body BLOB)",
        )
        .expect("schema");
    let mut insert = connection.prepare("INSERT INTO chunk(body) VALUES(?1)").expect("insert");
    let times: Vec<_> = (0..COMMITS)
        .map(|_| {
            let begun = Instant::now();
            insert.execute([[7u8; RECORD]]).expect("insert");
            begun.elapsed()
        })
        .collect();
    spread(times)
}

fn chunk(first: u64, count: usize) -> Arc<Chunk> {
    let mut chunk = Chunk::starting_at(first);
    let data = noise(RECORD);
    for n in 0..count {
        chunk.push("N14228", &data, n as u32, 1_700_000_000_000);
    }
    Arc::new(chunk)
}

fn appends(place: &Path, durability: Durability, group: usize, commits: usize) -> Vec<f64> {
    let dir = tempfile::tempdir_in(place).expect("directory");
    let mut store = SqliteStore::open(dir.path(), durability).expect("open");
    let chunks: Vec<_> = (0..commits).map(|n| chunk((n * group) as u64, group)).collect();
    let started = Instant::now();
    let times: Vec<_> = chunks
        .into_iter()
        .map(|chunk| {
            let begun = Instant::now();
            store.commit(&[Write::Append { shard: 1, chunk }]).expect("commit");
            begun.elapsed()
        })
        .collect();
    let written = (group * commits) as f64 / started.elapsed().as_secs_f64();
    let mut reader = store.reader().expect("reader");
    let started = Instant::now();
    let (mut from, mut bytes) = (0, 0);
    loop {
        let chunks = reader.chunks(1, from, 1 << 20).expect("read");
        let Some(last) = chunks.last() else { break };
        from = last.end();
        bytes += chunks.iter().map(|chunk| chunk.body().len()).sum::<usize>();
    }
    let read = from as f64 / started.elapsed().as_secs_f64();
    assert!(bytes > group * commits * RECORD);
    let mut figures = spread(times);
    figures.extend([written, read]);
    figures
}

fn checkpoints(place: &Path) -> Vec<f64> {
    let dir = tempfile::tempdir_in(place).expect("directory");
    let mut store = SqliteStore::open(dir.path(), Durability::PowerLoss).expect("open");
    let set = |n: u64, value: u8| Write::Set {
        table: Table::Checkpoint,
        key: (n * 7_919 % 1_000).to_be_bytes().to_vec(),
        value: vec![value; 64],
    };
    store.commit(&(0..1_000).map(|n| set(n, 0)).collect::<Vec<_>>()).expect("commit");
    let times: Vec<_> = (0..COMMITS)
        .map(|n| {
            let writes: Vec<_> = (n * 4..n * 4 + 4).map(|row| set(row, n as u8)).collect();
            let begun = Instant::now();
            store.commit(&writes).expect("commit");
            begun.elapsed()
        })
        .collect();
    spread(times)
}

fn trimming(place: &Path) -> Vec<f64> {
    let dir = tempfile::tempdir_in(place).expect("directory");
    let mut store = SqliteStore::open(dir.path(), Durability::PowerLoss).expect("open");
    for n in 0..410 {
        store.commit(&[Write::Append { shard: 0, chunk: chunk(n * 500, 500) }]).expect("commit");
    }
    let begun = Instant::now();
    store.commit(&[Write::Trim { shard: 0, before: 400 * 500 }]).expect("trim");
    let trim = begun.elapsed().as_secs_f64() * 1e3;
    let begun = Instant::now();
    let mut steps = 1;
    while store.give_back().expect("give back") {
        steps += 1;
    }
    vec![trim, f64::from(steps), begun.elapsed().as_secs_f64() * 1e3 / f64::from(steps)]
}

fn opening(place: &Path) -> Vec<f64> {
    let dir = tempfile::tempdir_in(place).expect("directory");
    let mut store = SqliteStore::open(dir.path(), Durability::ProcessCrash).expect("open");
    for n in 0..100u64 {
        let writes = (0..100).flat_map(|m| {
            let key = (n * 100 + m).to_be_bytes().to_vec();
            let row = Write::Set { table: Table::Checkpoint, key, value: vec![1; 64] };
            [Write::Append { shard: m as u32, chunk: chunk(n * 100, 100) }, row]
        });
        store.commit(&writes.collect::<Vec<_>>()).expect("commit");
    }
    // As after a crash: the write-ahead log is still there.
    std::mem::forget(store);
    let begun = Instant::now();
    SqliteStore::open(dir.path(), Durability::PowerLoss).expect("open");
    vec![begun.elapsed().as_secs_f64() * 1e3]
}
