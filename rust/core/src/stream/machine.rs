//! The state of one shard under one mapping: facts in, commands out.
//!
//! Every fact ends in `advance` (in `dispatch`), which does whatever has become possible.

use std::collections::VecDeque;

use super::checkpoint::{Checkpoint, WindowState};
use super::intake::Intake;
use super::lane::{Lane, Phase};
use super::protocol::{BatchId, Command, Condition, Event, Fetch, Outcome, Record, Settings, Suspect};
use super::suspects::{self, Suspects};
use crate::stream::lane_reset;
use crate::Now;

pub(super) const NS_PER_MS: u64 = 1_000_000;

/// One shard's life under one mapping.
///
/// Promises: the records of a lane run in order, one batch at a time; a lane that fails or waits stops no other; every
/// record ends once (done, discarded or filtered) for as long as the machine lives; a machine made from any emitted
/// checkpoint delivers again only what that checkpoint does not cover.
#[derive(Debug)]
pub struct ShardMachine {
    pub(super) settings: Settings,
    pub(super) lanes: Vec<Lane>,
    pub(super) intake: Intake,
    pub(super) suspects: Suspects,
    pub(super) window: Option<WindowState>,
    /// When the window in progress is over if nothing more comes.
    pub(super) window_due_ns: Option<u64>,
    /// The shard ends here.
    pub(super) closed: Option<u64>,
    pub(super) ended: bool,
    pub(super) paused: bool,
    /// Where to go on once nothing is in flight.
    pub(super) seek: Option<u64>,
    /// Retention removed everything below it.
    pub(super) trimmed: u64,
    /// Hashes of the keys whose lanes are lent.
    pub(super) lent: Vec<u32>,
    pub(super) next_batch: BatchId,
    pub(super) in_flight: usize,
    /// The checkpoint has changed since it was last emitted.
    pub(super) progress: bool,
    pub(super) commands: VecDeque<Command>,
}

impl ShardMachine {
    /// Go on from `checkpoint`, which has no flaw. When its number of lanes is not the settings' one, its lanes meet first.
    pub fn new(settings: Settings, checkpoint: Checkpoint) -> Self {
        let Checkpoint { marks, window, ended, tried } = checkpoint;
        let mut lanes: Vec<Lane> = marks.into_iter().map(Lane::starting_at).collect();
        for tried in tried {
            lanes[usize::from(tried.lane)].tried.push_back(tried);
        }
        let mut machine = Self {
            intake: Intake::new(&settings, lanes.len()),
            settings,
            lanes,
            suspects: Suspects::default(),
            window,
            window_due_ns: None,
            closed: None,
            ended,
            paused: false,
            seek: None,
            trimmed: 0,
            lent: Vec::new(),
            next_batch: 0,
            in_flight: 0,
            progress: false,
            commands: VecDeque::new(),
        };
        lane_reset::raise_barrier(&mut machine);
        machine
    }

    /// Tell which batches were in flight when the process died, and where the log ends now, exclusive; right after `new`. What the
    /// checkpoint has passed is not a suspect: a shard that has ended does nothing more, so it is not found out later either.
    pub fn suspects(&mut self, suspects: Vec<Suspect>, end: u64) {
        self.suspects = Suspects::new(suspects);
        self.suspects.forget_done(self.low(), self.window.is_some());
        self.suspects.forget_lost(end);
    }

    /// Suspects that have yet to run alone, for the engine to keep until they have.
    pub fn suspects_open(&self) -> Vec<Suspect> {
        let mut open: Vec<Suspect> = self.suspects.iter().copied().collect();
        for (index, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| !lane.is_in_flight()) {
            let alone = lane.batches.front().filter(|batch| batch.alone);
            open.extend(alone.and_then(|batch| suspects::of_batch(lane, index as u8, self.lanes.len() as u8, batch)));
        }
        open
    }

    /// What to read next; `None` when nothing is wanted, or a fetch is under way.
    pub fn wants(&self) -> Option<Fetch> {
        if self.paused || self.ended || self.seek.is_some() {
            return None;
        }
        self.intake.wants(&self.lanes)
    }

    /// The fetch that `wants` gave has begun.
    pub fn fetching(&mut self) {
        if let Some(fetch) = self.wants() {
            self.intake.fetching(fetch.from);
        }
    }

    /// Records with contiguous positions from the fetch's `from` on; none when nothing stands there now. Just appended
    /// records may be handed over without a fetch while `wants` asks for the first of them.
    pub fn fetched(&mut self, records: &[Record], now: &Now) {
        let taken = self.intake.fetched(records, &mut self.lanes);
        if taken.filtered > 0 {
            self.commands.push_back(Command::Count(Event::Filtered(taken.filtered)));
        }
        self.progress |= taken.progress;
        self.advance(now);
    }

    /// The log now ends at `end`, exclusive.
    pub fn appended(&mut self, end: u64) {
        self.intake.appended(end);
    }

    /// Retention removed everything below `first`. Returns how many records were lost unread; it may count some that
    /// other lanes had read, when the lanes had not read equally far. Records that were read and not yet run are given up
    /// as `Trimmed`, those in flight when their attempt fails.
    pub fn skipped_to(&mut self, first: u64, now: &Now) -> u64 {
        let read_least = self.lanes.iter().map(|lane| lane.read_to).min().unwrap_or(first);
        for lane in &mut self.lanes {
            lane.read_to = lane.read_to.max(first);
        }
        let lost = first.saturating_sub(read_least);
        self.trimmed = self.trimmed.max(first);
        self.progress |= lost > 0;
        self.wake_lanes(now);
        lane_reset::raise_barrier(self);
        self.advance(now);
        lost
    }

    /// The shard takes no more records; it ends at `end`, exclusive.
    pub fn closed(&mut self, end: u64, now: &Now) {
        self.closed = Some(end);
        self.intake.appended(end);
        self.advance(now);
    }

    /// An attempt ended.
    pub fn completed(&mut self, batch: BatchId, outcome: &Outcome, now: &Now) {
        let Some(index) = self.lanes.iter().position(|lane| lane.phase == Phase::InFlight { batch }) else {
            debug_assert!(false, "batch {batch} is not in flight");
            return;
        };
        self.in_flight -= 1;
        self.lanes[index].phase = Phase::Free;
        // After a seek its records are passed by, or run again from the start: what became of them here means nothing.
        if self.seek.is_none() {
            self.settle(index, outcome, now);
        } else if !matches!(outcome, Outcome::NotInvoked | Outcome::Interrupted) {
            // Only that it has run to an end counts: it is not a suspect any more.
            self.lanes[index].batches.pop_front();
        }
        self.advance(now);
    }

    /// A batch in flight is past its deadline. It has failed and may never end: its lane stays held until it does, and nothing
    /// else waits for it any more.
    pub fn overdue(&mut self, batch: BatchId, now: &Now) {
        let lane = self.lanes.iter_mut().find(|lane| lane.phase == Phase::InFlight { batch });
        if let Some(batch) = lane.and_then(|lane| lane.batches.front_mut()) {
            batch.overdue = true;
            self.advance(now);
        }
    }

    /// A batch that `Run` gave was not handed out after all: as if it had not begun. Unless the machine is held (`pause`, `seek`),
    /// what is left of it begins again at once.
    pub fn withdrawn(&mut self, batch: BatchId, now: &Now) {
        let Some(index) = self.lanes.iter().position(|lane| lane.phase == Phase::InFlight { batch }) else {
            debug_assert!(false, "batch {batch} is not in flight");
            return;
        };
        self.in_flight -= 1;
        let lane = &mut self.lanes[index];
        lane.phase = Phase::Free;
        let skipped = lane.batches.front_mut().is_some_and(|batch| {
            batch.runs -= 1;
            batch.skipped
        });
        if skipped {
            self.give_up(index, Condition::Skipped);
        }
        self.advance(now);
    }

    /// Time has passed.
    pub fn due(&mut self, now: &Now) {
        self.advance(now);
    }

    /// When `due` must be called next, on the monotonic clock, if no other fact comes before.
    pub fn next_due(&self) -> Option<u64> {
        let flying = self.lanes.iter().filter(|lane| lane.is_in_flight());
        let expires_ns = flying.filter_map(|lane| lane.batches.front()?.expires_ns).min();
        if self.is_held() {
            return expires_ns;
        }
        let gathered_ns = self.settings.window_ms.saturating_mul(NS_PER_MS);
        let lanes = self.lanes.iter().filter_map(|lane| match lane.phase {
            Phase::Gathering { since_ns } => Some(since_ns.saturating_add(gathered_ns)),
            Phase::Waiting { wake_ns, .. } => Some(wake_ns),
            Phase::Lent { wake_ns } => wake_ns,
            Phase::Free | Phase::InFlight { .. } => None,
        });
        lanes.chain(self.window_due_ns).chain(expires_ns).min()
    }

    /// Change the settings, from the next batch on. Another parallelization factor takes effect once all lanes have met.
    pub fn configure(&mut self, settings: Settings, now: &Now) {
        self.settings = settings;
        self.intake.configure(&self.settings, self.lanes.len());
        lane_reset::raise_barrier(self);
        self.wake_lanes(now);
        self.advance(now);
    }

    /// Run and read nothing new; what is in flight ends as usual.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Go on after a pause.
    pub fn resume(&mut self, now: &Now) {
        self.paused = false;
        self.advance(now);
    }

    /// Go on at `position` in all lanes, backward or forward, once nothing is in flight. What was read is forgotten, and
    /// so is the tumbling window in progress. The checkpoint says so at once.
    pub fn seek(&mut self, position: u64, now: &Now) {
        self.seek = Some(position);
        self.progress = true;
        self.intake.forget_outstanding();
        self.advance(now);
    }

    /// Give up the batch a lane is stuck on (`None`: of each lane whose batch has failed), one in flight unless it
    /// succeeds. Returns how many there were.
    pub fn skip(&mut self, lane: Option<u8>, now: &Now) -> usize {
        // A seek under way has passed these batches by, or runs them again: there is nothing to give up.
        if self.seek.is_some() {
            return 0;
        }
        let mut skipped = 0;
        for index in 0..self.lanes.len() {
            let Some(batch) = self.lanes[index].batches.front_mut() else { continue };
            let is_stuck = batch.failures > 0 || batch.refusals > 0;
            if lane.map_or(!is_stuck, |lane| usize::from(lane) != index) {
                continue;
            }
            skipped += 1;
            batch.skipped = true;
            if !self.lanes[index].is_in_flight() {
                self.give_up(index, Condition::Skipped);
            }
        }
        self.advance(now);
        skipped
    }

    /// The next command, in the order in which they must be carried out.
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Batches in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Lanes that have work: a batch in flight, or one that waits to be retried.
    pub fn lanes_busy(&self) -> usize {
        self.lanes.iter().filter(|lane| !lane.batches.is_empty()).count()
    }

    /// Lanes in force; the settings' number once a barrier has been passed.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Progress as it is now.
    pub fn checkpoint(&self) -> Checkpoint {
        if let Some(position) = self.seek {
            return Checkpoint::starting_at(position, self.settings.parallelization_factor);
        }
        let marks = self.lanes.iter().map(Lane::mark).collect();
        let tried = self.lanes.iter().zip(0..).flat_map(|(lane, index)| lane.tries(index)).collect();
        Checkpoint { marks, window: self.window.clone(), ended: self.ended, tried }
    }

    /// The shard is closed and everything in it is done.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Everything below this position is done.
    pub fn low(&self) -> u64 {
        self.lanes.iter().map(Lane::mark).min().unwrap_or(0)
    }

    /// Everything below this position was read by the lane that has read furthest.
    pub fn next(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.read_to).max().unwrap_or(0)
    }

    /// Records read and not done; at most two look-aheads (see `intake`).
    pub fn held(&self) -> usize {
        self.lanes.iter().map(|lane| lane.pending.len()).sum()
    }

    /// Position of the oldest record read and not done, and its arrival, wall ms.
    pub fn oldest(&self) -> Option<(u64, u64)> {
        self.lanes
            .iter()
            .filter_map(|lane| lane.pending.front())
            .map(|record| (record.position, record.arrival_ms))
            .min()
    }
}
