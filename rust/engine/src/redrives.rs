//! Redrives: records that were given up are run again by an operator's wish.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use crate::attempts::{Attempt, Job};
use crate::chunk::Chunk;
use crate::error::{EngineError, Reply};
use crate::failures::{decode, encode, FailureKey, FailureRow, Part};
use crate::pollers::Records;
use crate::port::{StoreError, Table};
use crate::search::Redriven;
use crate::state::{State, Timer};

/// Most failures that wait to be run again for one mapping.
pub(crate) const KEYS_MAX: usize = 100_000;
/// How many a second may be asked for.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1e6;

/// What is to be run again for one mapping.
#[derive(Default)]
pub(crate) struct Redrive {
    keys: BTreeSet<FailureKey>,
    under_way: bool,
    spacing_ns: u64,
    next_ns: u64,
}

/// Refuse a rate that is none.
pub(crate) fn check_rate(rate: Option<f64>) -> Result<(), EngineError> {
    match rate.filter(|rate| !RATES.contains(rate)) {
        Some(rate) => {
            Err(EngineError::Invalid(format!("rate is {rate}: allowed is 0.001 to 1000000 a second, or none")))
        }
        None => Ok(()),
    }
}

/// From one to the next at so many a second.
pub(crate) fn spacing_ns(rate: Option<f64>) -> u64 {
    rate.map_or(0, |rate| (1e9 / rate) as u64)
}

impl State {
    /// Run listed failures again, at most `rate` a second and mapping. Gives how many.
    pub(crate) fn redrive(&mut self, keys: Vec<FailureKey>, rate: Option<f64>) -> Result<usize, EngineError> {
        check_rate(rate)?;
        let waiting: usize = self.redrives.values().map(|redrive| redrive.keys.len()).sum();
        if waiting + keys.len() > KEYS_MAX {
            return Err(EngineError::TooMany {
                message: format!("{waiting} failures wait to be run again, allowed are {KEYS_MAX}"),
                reason: "RedriveBacklog".into(),
                retry_after_ms: 1_000,
            });
        }
        let count = keys.len();
        for key in keys {
            let redrive = self.redrives.entry(key.mapping).or_default();
            redrive.spacing_ns = spacing_ns(rate);
            redrive.keys.insert(key);
        }
        self.send_redrives();
        Ok(count)
    }

    /// All of a function's failures were looked for.
    pub(crate) fn redrive_found(&mut self, redriven: Redriven) -> Result<Reply, EngineError> {
        let count = if redriven.dry_run { redriven.keys.len() } else { self.redrive(redriven.keys, redriven.rate)? };
        Ok(Reply::Json(json!({"redriven": count, "more": redriven.more}).to_string().into_bytes()))
    }

    /// Start redrives that are due. One at a time for each mapping: an operator's second look never floods a handler.
    pub(crate) fn send_redrives(&mut self) {
        let now_ns = self.now.mono_ns;
        let mappings: Vec<u64> = self.redrives.keys().copied().collect();
        for id in mappings {
            let Some(redrive) = self.redrives.get_mut(&id) else { continue };
            if redrive.under_way {
                continue;
            }
            if redrive.next_ns > now_ns {
                self.timers.push(redrive.next_ns, Timer::Redrives);
                continue;
            }
            let Some(key) = redrive.keys.pop_first() else {
                self.redrives.remove(&id);
                continue;
            };
            redrive.under_way = true;
            redrive.next_ns = now_ns.saturating_add(redrive.spacing_ns);
            match self.send_redrive(key) {
                Ok(true) => {}
                Ok(false) => {
                    if let Some(redrive) = self.redrives.get_mut(&id) {
                        redrive.under_way = false;
                    }
                    self.timers.push(now_ns, Timer::Redrives);
                }
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Hand one failure to its function again; false if it is gone or its records are.
    fn send_redrive(&mut self, key: FailureKey) -> Result<bool, StoreError> {
        let Some(bytes) = self.row(Table::Failure, &key.bytes())? else { return Ok(false) };
        let Some((row, payload)) = decode(&bytes) else { return Ok(false) };
        if row.ended.is_some() {
            self.redrive_event(key, row, payload);
            return Ok(false);
        }
        let Some(packed) = Chunk::open(0, payload.to_vec()) else { return Ok(false) };
        let Some(slot) = self.mappings.get(&key.mapping).and_then(|mapping| mapping.slot) else { return Ok(false) };
        let Some(source) = self.source(key.mapping, key.shard) else { return Ok(false) };
        if row.positions.is_empty() || packed.len() != row.positions.len() {
            return Ok(false);
        }
        let mut chunks = Vec::with_capacity(row.positions.len());
        for (at, &position) in row.positions.iter().enumerate() {
            let record = packed.record(at as u64);
            let mut chunk = Chunk::starting_at(position);
            chunk.push_traced(record.key, record.data, record.key_hash, record.arrival_ms, record.trace);
            chunks.push(Arc::new(chunk));
        }
        let records = Records { source, positions: row.positions.into(), chunks: chunks.into() };
        self.ready(Attempt::new(slot, Job::Redrive { key, records }, 1), false);
        Ok(true)
    }

    /// Run an event again as a new one; or, where it is done and only a destination does not know, tell that again.
    fn redrive_event(&mut self, key: FailureKey, mut row: FailureRow, payload: &[u8]) {
        let Some(ended) = &row.ended else { return };
        let is_told_only = ended.succeeded() || key.part == Part::DeadLetter;
        if let (true, Some(name)) = (is_told_only, row.undelivered_to.take()) {
            row.destination = Some(name);
            row.failed_ms = self.now.wall_ms;
            row.delivery_attempts = 0;
            self.save_failure(key, &row, payload);
        } else {
            self.revive_event(key, ended, row.trace.as_deref(), payload);
        }
    }

    /// A redriven failure succeeded (it is forgotten) or failed again (it stays listed with the new error).
    pub(crate) fn redrive_ended(&mut self, key: &FailureKey, succeeded: bool, body: Option<Vec<u8>>) {
        if succeeded {
            self.pending.remove(Table::Failure, key.bytes());
        } else if let Ok(Some(bytes)) = self.row(Table::Failure, &key.bytes()) {
            if let Some((mut row, payload)) = decode(&bytes) {
                row.last_error = body.map(|text| String::from_utf8_lossy(&text).into_owned());
                self.pending.set(Table::Failure, key.bytes(), encode(&row, payload));
            }
        }
        self.pending.begin_lazily(self.now.mono_ns);
    }

    /// The one under way has ended, or is past its deadline and may never end: go on with the next.
    pub(crate) fn redrive_on(&mut self, mapping: u64) {
        if let Some(redrive) = self.redrives.get_mut(&mapping) {
            redrive.under_way = false;
        }
        self.send_redrives();
    }
}
