//! Redrives: records that were given up are run again by an operator's wish.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::attempts::{Attempt, Job};
use crate::chunk::Chunk;
use crate::failures::{decode, encode, FailureKey};
use crate::pollers::Records;
use crate::port::Table;
use crate::state::{State, Timer};

/// What is to be run again for one mapping.
#[derive(Default)]
pub(crate) struct Redrive {
    keys: BTreeSet<FailureKey>,
    under_way: usize,
    spacing_ms: u64,
    next_ms: u64,
}

impl State {
    /// Run listed failures again, at most `rate` a second.
    pub(crate) fn redrive(&mut self, mapping: u64, keys: Vec<FailureKey>, rate: Option<f64>) {
        let redrive = self.failures.redrives.entry(mapping).or_default();
        redrive.spacing_ms = rate.map_or(0, |rate| (1_000.0 / rate) as u64);
        redrive.keys.extend(keys);
        self.send_redrives();
    }

    /// Start redrives that are due. One at a time for each mapping: an operator's second look never floods a handler.
    pub(crate) fn send_redrives(&mut self) {
        let wall = self.now.wall_ms;
        let mappings: Vec<u64> = self.failures.redrives.keys().copied().collect();
        for id in mappings {
            let Some(redrive) = self.failures.redrives.get_mut(&id) else { continue };
            if redrive.under_way > 0 {
                continue;
            }
            if redrive.next_ms > wall {
                let wait = redrive.next_ms - wall;
                self.timers.push(self.now.mono_ns + wait * 1_000_000, Timer::Redrives);
                continue;
            }
            let Some(key) = redrive.keys.pop_first() else {
                self.failures.redrives.remove(&id);
                continue;
            };
            redrive.under_way = 1;
            redrive.next_ms = wall + redrive.spacing_ms;
            if !self.send_redrive(key) {
                if let Some(redrive) = self.failures.redrives.get_mut(&id) {
                    redrive.under_way = 0;
                }
                self.timers.push(self.now.mono_ns, Timer::Redrives);
            }
        }
    }

    fn send_redrive(&mut self, key: FailureKey) -> bool {
        let Ok(Some(bytes)) = self.reader.get(Table::Failure, &key.bytes()) else { return false };
        let Some((row, payload)) = decode(&bytes) else { return false };
        let Some(packed) = Chunk::open(0, payload.to_vec()) else { return false };
        let Some(mapping) = self.mappings.get(&key.mapping) else { return false };
        let Some(slot) = mapping.slot else { return false };
        let Some(source) = self.source(key.mapping, key.shard) else { return false };
        let mut chunks = Vec::with_capacity(row.positions.len());
        for (at, &position) in row.positions.iter().enumerate() {
            let record = packed.record(at as u64);
            let mut chunk = Chunk::starting_at(position);
            chunk.push(record.key, record.data, record.key_hash, record.arrival_ms);
            chunks.push(Arc::new(chunk));
        }
        if chunks.is_empty() {
            return false;
        }
        let records = Records { source, positions: row.positions.into(), chunks: chunks.into() };
        self.ready(Attempt::new(slot, Job::Redrive { key, records }, 1), false);
        true
    }

    /// A redriven failure succeeded (it is forgotten) or failed again (it stays listed with the new error).
    pub(crate) fn redrive_ended(&mut self, key: &FailureKey, succeeded: bool, body: Option<Vec<u8>>) {
        if succeeded {
            self.pending.remove(Table::Failure, key.bytes());
        } else if let Ok(Some(bytes)) = self.reader.get(Table::Failure, &key.bytes()) {
            if let Some((mut row, payload)) = decode(&bytes) {
                row.last_error = body.map(|text| String::from_utf8_lossy(&text).into_owned());
                self.pending.set(Table::Failure, key.bytes(), encode(&row, payload));
            }
        }
        self.pending.begin_lazily(self.now.mono_ns);
        if let Some(redrive) = self.failures.redrives.get_mut(&key.mapping) {
            redrive.under_way = 0;
        }
        self.send_redrives();
    }
}
