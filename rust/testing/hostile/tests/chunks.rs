//! Chunks that no store writes, with checksums that fit: the doctor and whoever opens the store say the same of them.
#![allow(clippy::unwrap_used)]

use forebay_salvage::foreign::examine;
use forebay_store::chunk::Chunk;
use forebay_store::sqlite::foreign::{tables, Foreign};

/// A log of three records, and this chunk beside them or in their place.
fn is_refused(columns: [i64; 6], body: Vec<u8>) {
    let mut chunk = Chunk::starting_at(0);
    for record in 0..3 {
        chunk.push("key", b"data", record, 1_000);
    }
    let span = [0u64.to_le_bytes(), 3u64.to_le_bytes()].concat();
    let lines = [
        Foreign::Row(0, 0u32.to_be_bytes().to_vec(), span, None),
        Foreign::Chunk(columns, body),
        Foreign::Chunk([0, 3, chunk.body().len() as i64, 1_002, 0, 0], chunk.body().to_vec()),
    ];
    let examined = examine(&tables().unwrap(), &lines, true).unwrap();
    assert!(examined.store.opened.is_err(), "{examined:?}");
    assert!(examined.damage[0].contains("lies outside the format"), "{examined:?}");
}

/// It stood where the next record comes: the store opened, and its first put there stopped it for good.
#[test]
fn a_chunk_without_records() {
    is_refused([3, 0, 0, 0, 0, 0], Vec::new());
}

/// Whatever added up the sizes of a log's chunks went beyond every number.
#[test]
fn a_chunk_of_less_than_no_bytes() {
    is_refused([0, 3, -1, 1_002, 0, 0], vec![0; 3]);
}
