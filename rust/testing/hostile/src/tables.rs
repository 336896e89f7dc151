//! What may stand in the tables of a store's file: opened, read and salvaged, or refused.

use std::cell::OnceCell;

use forebay_salvage::foreign::examine;
use forebay_store::chunk::Chunk;
use forebay_store::sqlite::foreign::{tables as made, Foreign, Tables};

/// Kind of an entry that is a chunk.
const CHUNK: u8 = 1;
/// In what comes first: the census counts the rows.
const COUNTED: u8 = 1;
/// An entry whose checksum is wrong.
const WRONG: u8 = 2;

/// `flags u8`, and entries of `kind u8, table u8, length of key u8, length of value u16, key, value`. A chunk's key is its columns, in
/// eight bytes each; those it does not have are what its body says.
pub(crate) fn tables(bytes: &[u8]) -> bool {
    thread_local! {
        static TABLES: OnceCell<Tables> = const { OnceCell::new() };
    }
    let Some((flags, rest)) = bytes.split_first() else { return false };
    let lines = lines(rest);
    let examined = TABLES.with(|tables| examine(tables.get_or_init(|| made().unwrap()), &lines, flags & COUNTED != 0));
    let examined = examined.unwrap();
    let reads = examined.store.opened.is_ok() && examined.store.read.is_ok();
    assert!(reads || !examined.damage.is_empty(), "the doctor finds nothing wrong, and {examined:?}");
    if let Some(salvage) = &examined.salvage {
        assert!(salvage.is_ok(), "{examined:?}");
        let kept = salvage.as_ref().map_or(0, |salvage| salvage.records);
        assert!(
            !reads || examined.store.read.as_ref().is_ok_and(|read| *read <= kept),
            "what can be read is kept: {examined:?}"
        );
    }
    reads
}

fn lines(mut rest: &[u8]) -> Vec<Foreign> {
    let mut lines = Vec::new();
    while let Some((&[kind, table, key_len, low, high], tail)) = rest.split_first_chunk::<5>() {
        let Some((key, tail)) = tail.split_at_checked(key_len.into()) else { break };
        let Some((value, tail)) = tail.split_at_checked(u16::from_le_bytes([low, high]).into()) else { break };
        rest = tail;
        lines.push(if kind & CHUNK != 0 {
            Foreign::Chunk(columns(key, value, kind), value.to_vec())
        } else {
            Foreign::Row(table, key.to_vec(), value.to_vec(), (kind & WRONG != 0).then_some(7))
        });
    }
    lines
}

fn columns(key: &[u8], body: &[u8], kind: u8) -> [i64; 6] {
    let mut columns = [0; 6];
    let (words, _) = key.as_chunks::<8>();
    let first = words.first().map_or(0, |word| u64::from_le_bytes(*word) & ((1 << 43) - 1));
    if let Some(chunk) = Chunk::open(first, body.to_vec()) {
        columns[1] = chunk.len() as i64;
        columns[3] = chunk.last_arrival_ms() as i64;
    }
    columns[2] = body.len() as i64;
    columns[5] = i64::from(kind & WRONG);
    for (column, word) in columns.iter_mut().zip(words) {
        *column = i64::from_le_bytes(*word);
    }
    columns
}

fn entry(kind: u8, table: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
    [&[kind, table, key.len() as u8], &(value.len() as u16).to_le_bytes()[..], key, value].concat()
}

pub(crate) fn tables_seeds() -> Vec<Vec<u8>> {
    let chunk = |shard: u64, first: u64, records: u64| {
        let mut chunk = Chunk::starting_at(first);
        for record in 0..records {
            chunk.push("key", &[7; 20], record as u32, 1_000);
        }
        entry(CHUNK, 0, &(shard << 43 | first).to_le_bytes(), chunk.body())
    };
    let span = |shard: u32, first: u64, next: u64| {
        let value = [first.to_le_bytes(), next.to_le_bytes()].concat();
        entry(0, 0, &shard.to_be_bytes(), &value)
    };
    let rows = [entry(0, 1, b"format", b"1"), entry(0, 2, b"s", b"{}"), entry(0, 20, b"q", &[0; 40])].concat();
    let log = [chunk(0, 5, 3), chunk(0, 8, 1), span(0, 5, 9)].concat();
    let gap = [chunk(1, 0, 2), chunk(1, 4, 2), span(1, 0, 6)].concat();
    let lengthy = [span(2, 7, 7), span(3, 0, u64::MAX), chunk(1 << 20, 0, 1)].concat();
    let seed = |flags: u8, parts: &[&[u8]]| [&[flags][..], &parts.concat()].concat();
    vec![
        seed(COUNTED, &[&rows, &log, &span(2, 7, 7)]),
        seed(COUNTED, &[&log, &gap]),
        seed(COUNTED, &[&entry(0, 0, b"no shard", b""), &rows]),
        seed(COUNTED, &[&lengthy]),
        seed(COUNTED, &[&chunk(0, 0, 2), &chunk(0, 1, 2), &span(0, 0, 3), &entry(WRONG, 3, b"k", b"v")]),
        seed(0, &[&rows, &log, &entry(0, 0, b"", &[0; 24])]),
    ]
}
