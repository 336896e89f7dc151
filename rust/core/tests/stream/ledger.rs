//! What an observer of a machine knows, and holds it to.

use std::collections::BTreeMap;

use forebay_core::stream::checkpoint::Checkpoint;
use forebay_core::stream::protocol::{Command, Event, Outcome, Record, Report, Settings};

use crate::sim::Seen;
use crate::sim::Sim;

/// An observer that knows the log and the outcomes, and nothing of the machine.
pub(crate) struct Ledger {
    log: Vec<Record>,
    settings: Settings,
    /// How often each record ended.
    ended: Vec<u32>,
    /// Covered by the checkpoint that the last crash left.
    covered: Vec<bool>,
    flying: BTreeMap<u64, (u8, Vec<u64>)>,
    interrupted: u32,
    pub(crate) filtered: u32,
    low: u64,
    /// Retention removed everything below it.
    pub(crate) trimmed: u64,
    /// Nothing of these keys may begin.
    pub(crate) lent: Vec<u32>,
    pub(crate) has_lent: bool,
}

impl Ledger {
    pub(crate) fn new(log: &[Record], settings: &Settings) -> Self {
        Self {
            log: log.to_vec(),
            settings: settings.clone(),
            ended: vec![0; log.len()],
            covered: vec![false; log.len()],
            flying: BTreeMap::new(),
            interrupted: 0,
            filtered: 0,
            low: 0,
            trimmed: 0,
            lent: Vec::new(),
            has_lent: false,
        }
    }

    pub(crate) fn see(&mut self, sim: &Sim<'_>, seen: &Seen<'_>) {
        if sim.machine.has_lent() {
            let is_lent = |at: &u64| self.lent.contains(&self.key_of(*at));
            let is_new = matches!(seen, Seen::Command(Command::Run { .. }));
            let flies = self.flying.values().flat_map(|(_, positions)| positions).any(is_lent);
            assert!(is_new || !flies, "a lane is lent that has a batch in flight");
            self.has_lent = true;
        }
        match seen {
            Seen::Command(Command::Run { batch, lane, attempt, positions, alone, .. }) => {
                // A suspect that was the next one goes before the loan.
                let may_run = *alone && !self.has_lent;
                let is_lent = |at: &u64| self.lent.contains(&self.key_of(*at));
                assert!(may_run || !positions.iter().any(is_lent), "{positions:?} begin in a lane that is lent");
                self.begins(*batch, *lane, *attempt, positions);
            }
            Seen::Command(Command::Discard { positions, .. }) => self.end(positions),
            Seen::Command(Command::Checkpoint(checkpoint)) => self.check_covered(checkpoint),
            Seen::Command(Command::Count(Event::Filtered(count))) => self.filtered += count,
            Seen::Command(Command::Count(Event::Retry | Event::Bisect) | Command::Recall { .. }) => {}
            Seen::Withdrawn(batch) => drop(self.flying.remove(batch)),
            Seen::Ended(attempt, outcome) => {
                self.flying.remove(&attempt.batch);
                self.interrupted += u32::from(**outcome == Outcome::Interrupted);
                let done = done_by(outcome, &attempt.positions, self.settings.report_item_failures);
                self.end(&attempt.positions[..done]);
            }
        }
    }

    fn key_of(&self, position: u64) -> u32 {
        self.log[position as usize].key_hash
    }

    pub(crate) fn begins(&mut self, batch: u64, lane: u8, attempt: u32, positions: &[u64]) {
        assert!(!positions.is_empty() && positions.is_sorted_by(|a, b| a < b), "{positions:?}");
        assert!(self.flying.values().all(|(other, _)| *other != lane), "lane {lane} has two batches in flight");
        let retries = self.settings.maximum_retry_attempts.unwrap_or(u32::MAX - 1);
        assert!(attempt <= (retries + 1).saturating_add(self.interrupted), "attempt {attempt} of {retries} retries");
        assert!(positions.len() <= self.settings.batch_size as usize, "{} records", positions.len());
        let bytes: u64 = positions.iter().map(|&position| u64::from(self.log[position as usize].bytes)).sum();
        assert!(bytes <= self.settings.batch_bytes_max || positions.len() == 1, "{bytes} bytes");
        for &position in positions {
            let record = self.log[position as usize];
            assert!(record.passes, "{position} does not pass");
            assert!(position >= self.trimmed, "{position} was removed");
            assert!(!self.covered[position as usize], "{position} was covered by the checkpoint");
            assert_eq!(self.ended[position as usize], 0, "{position} has ended before");
            let earlier = self.log[..position as usize].iter().filter(|r| r.passes && r.key_hash == record.key_hash);
            for other in earlier {
                let is_gone = other.position < self.trimmed || self.ended[other.position as usize] > 0;
                let is_before = is_gone || positions.contains(&other.position);
                assert!(is_before, "{position} begins before {} of the same key has ended", other.position);
            }
        }
        self.flying.insert(batch, (lane, positions.to_vec()));
    }

    pub(crate) fn end(&mut self, positions: &[u64]) {
        for &position in positions {
            self.ended[position as usize] += 1;
        }
    }

    pub(crate) fn check_covered(&mut self, checkpoint: &Checkpoint) {
        for record in &self.log {
            let is_gone = !record.passes || record.position < self.trimmed;
            let is_done = is_gone || self.ended[record.position as usize] > 0;
            assert!(is_done || !covers(checkpoint, record), "{checkpoint:?} passes {record:?}");
        }
        assert!(checkpoint.low() >= self.low, "the low mark fell");
        self.low = checkpoint.low();
    }

    /// Forget what the dead process knew and had not checkpointed.
    pub(crate) fn crash(&mut self, checkpoint: &Checkpoint) {
        self.flying.clear();
        self.lent.clear();
        self.low = checkpoint.low();
        for record in &self.log {
            let is_covered = covers(checkpoint, record);
            self.covered[record.position as usize] = is_covered;
            if !is_covered {
                self.ended[record.position as usize] = 0;
            }
        }
    }

    pub(crate) fn check_all_ended_once(&self) {
        for record in &self.log {
            let ended = self.ended[record.position as usize];
            let is_lost = record.position < self.trimmed && ended == 0;
            assert!(is_lost || ended == u32::from(record.passes), "{record:?} ended {ended} times");
        }
        assert!(self.flying.is_empty());
    }
}

fn covers(checkpoint: &Checkpoint, record: &Record) -> bool {
    record.position < checkpoint.marks[record.key_hash as usize % checkpoint.marks.len()]
}

/// How many records at the front of the batch an outcome ends, by the rules of AWS's page on batch item failures.
fn done_by(outcome: &Outcome, positions: &[u64], reads_reports: bool) -> usize {
    match outcome {
        Outcome::Success { report: Report::Failed(failed), .. } if reads_reports => {
            let places: Option<Vec<usize>> =
                failed.iter().map(|failed| positions.iter().position(|position| position == failed)).collect();
            places.map_or(0, |places| places.into_iter().min().unwrap_or(positions.len()))
        }
        Outcome::Success { report: Report::Malformed, .. } if reads_reports => 0,
        Outcome::Success { .. } => positions.len(),
        _ => 0,
    }
}
