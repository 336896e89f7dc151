//! Looking through all failures, for an answer or for what is over. It may be millions of rows: the reader does it in slices,
//! without the engine's lock, and gives way to the reads of pollers in between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::value::RawValue;

use crate::api::failure;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::limits::ANSWER_BYTES_MAX;
use crate::commit::done::json;
use crate::commit::target::Target;
use crate::failures::log::{decode, FailureRow, LISTED_FOR_MS};
use crate::failures::requests::shown;
use crate::payload::failure_key::FailureKey;
use crate::store::port::{Read, Rows, StoreError, Table};

/// Most failures that wait to be run again.
pub(crate) const KEYS_MAX: usize = 100_000;
/// Rows read at once: each may hold a batch of 6 MB.
const ROWS: usize = 16;
/// Reads of one slice.
const READS: usize = 16;
/// How long a failure waits for a destination that nothing has.
pub(crate) const DELIVERED_WITHIN_MS: u64 = 24 * 3_600_000;

/// One look through the failures of some mappings.
pub(crate) struct Search {
    /// Those not looked through yet.
    mappings: VecDeque<u64>,
    after: Option<Vec<u8>>,
    /// Reads of this slice so far.
    reads: usize,
    pub(crate) aim: Aim,
    pub(crate) waiter: Option<Waiter>,
    /// Whether everything has been looked through.
    pub(crate) result: Result<bool, StoreError>,
}

/// What is looked for.
pub(crate) enum Aim {
    List(Page),
    Redrive(Redriven),
    Sweep(Sweep),
}

/// The oldest failures after a place.
pub(crate) struct Page {
    /// Function and stream of each mapping; a function's events have no stream.
    pub(crate) names: BTreeMap<u64, (String, Option<String>)>,
    pub(crate) limit: usize,
    pub(crate) after: Option<Place>,
    pub(crate) found: BTreeMap<Place, String>,
    pub(crate) bytes: usize,
    /// What stands here or later is left for the next page.
    pub(crate) end: Option<Place>,
}

/// Where a failure stands in the order of listing: when it failed, and its name.
pub(crate) type Place = (u64, FailureKey);

/// Listed failures whose records are there.
pub(crate) struct Redriven {
    pub(crate) rate: Option<f64>,
    /// Only count them.
    pub(crate) dry_run: bool,
    pub(crate) keys: Vec<FailureKey>,
    pub(crate) more: bool,
}

/// What has been kept long enough.
pub(crate) struct Sweep {
    pub(crate) wall_ms: u64,
    pub(crate) destinations: BTreeSet<String>,
    /// Listed for their time.
    pub(crate) expired: Vec<FailureKey>,
    /// Those whose destination nothing has had for as long as one is tried.
    pub(crate) orphaned: Vec<FailureKey>,
}

impl Search {
    pub(crate) fn new(mappings: impl IntoIterator<Item = u64>, aim: Aim) -> Box<Self> {
        let mappings = mappings.into_iter().collect();
        Box::new(Self { mappings, after: None, reads: 0, aim, waiter: None, result: Ok(false) })
    }

    /// The next read; `None`: a slice is over, or everything has been looked through.
    pub(crate) fn next_read(&mut self) -> Option<Read> {
        if self.reads == READS || self.result != Ok(false) {
            self.reads = 0;
            return None;
        }
        let Some(mapping) = self.mappings.front() else {
            self.result = Ok(true);
            return None;
        };
        self.reads += 1;
        let (prefix, after) = (mapping.to_be_bytes().to_vec(), self.after.clone());
        Some(Read::Rows { table: Table::Failure, prefix, after, limit: ROWS })
    }

    pub(crate) fn look_at(&mut self, rows: &Rows) {
        self.after = rows.last().map(|(key, _)| key.clone());
        if self.after.is_none() {
            self.mappings.pop_front();
        }
        if !rows.iter().all(|(key, bytes)| self.aim.see(key, bytes)) {
            self.result = Ok(true);
        }
    }
}

impl Aim {
    /// Look at a row; false when no more are wanted.
    fn see(&mut self, key: &[u8], bytes: &[u8]) -> bool {
        let (Some(key), Some((row, packed))) = (FailureKey::parse(key), decode(bytes)) else { return true };
        match self {
            Self::List(page) => page.see(key, &row, packed),
            Self::Redrive(redriven) if redriven.keys.len() == KEYS_MAX => {
                redriven.more = true;
                return false;
            }
            // One whose records retention has taken cannot be run again.
            Self::Redrive(redriven) if row.destination.is_none() && !packed.is_empty() => redriven.keys.push(key),
            Self::Redrive(_) => {}
            Self::Sweep(sweep) => {
                let age_ms = sweep.wall_ms.saturating_sub(row.failed_ms);
                match &row.destination {
                    None if age_ms > LISTED_FOR_MS => sweep.expired.push(key),
                    Some(name) if age_ms >= DELIVERED_WITHIN_MS && sweep.lacks(name) => {
                        sweep.orphaned.push(key);
                    }
                    _ => {}
                }
                return sweep.expired.len() + sweep.orphaned.len() < KEYS_MAX;
            }
        }
        true
    }
}

impl Sweep {
    /// Whether nothing that runs has this destination.
    fn lacks(&self, name: &str) -> bool {
        !Target::of(name).is_here() && !self.destinations.contains(name)
    }
}

impl Page {
    fn see(&mut self, key: FailureKey, row: &FailureRow, packed: &[u8]) {
        let place = (row.failed_ms, key);
        if self.after.is_some_and(|after| place <= after) || self.end.is_some_and(|end| place >= end) {
            return;
        }
        if row.is_unsent() {
            return;
        }
        let Some((function, stream)) = self.names.get(&key.mapping) else { return };
        let shown = shown(key, row, packed, (function, stream.as_deref()));
        let Ok(text) = serde_json::to_string(&shown) else { return };
        self.bytes += text.len();
        self.found.insert(place, text);
        while self.found.len() > self.limit || (self.bytes > ANSWER_BYTES_MAX && self.found.len() > 1) {
            let Some((place, text)) = self.found.pop_last() else { break };
            self.bytes -= text.len();
            self.end = Some(place);
        }
    }

    pub(crate) fn answer(self) -> Result<Reply, EngineError> {
        let next = self.end.and_then(|_| self.found.last_key_value()).map(|(place, _)| page_token(*place));
        let failures: Result<Vec<Box<RawValue>>, _> = self.found.into_values().map(RawValue::from_string).collect();
        let unreadable = |error: serde_json::Error| EngineError::Store(StoreError::Corrupt(error.to_string()));
        Ok(Reply::Json(json(failure::Page { failures: failures.map_err(unreadable)?, next })))
    }
}

/// A place as `failed.list` hands it out and takes it back.
fn page_token((failed_ms, key): Place) -> String {
    format!("{failed_ms}.{}", key.text())
}

/// A place out of its token.
pub(crate) fn parse_token(token: &str) -> Option<Place> {
    let (failed_ms, key) = token.split_once('.')?;
    Some((failed_ms.parse().ok()?, FailureKey::from_text(key)?))
}
