//! What a machine does after each fact: prepare lanes, run batches, settle outcomes, record progress.
//!
//! The order of effects stands in one place, `advance`: discards, then runs, then at most one checkpoint.

use super::batch;
use super::checkpoint::Tried;
use super::fate::{self, Fate, Verdict};
use super::lane::{Batch, Lane, PendingRecord, Phase};
use super::machine::{ShardMachine, NS_PER_MS};
use super::protocol::{Command, Condition, Event, Outcome};
use super::suspects::Finding;
use super::tumbling_window;
use crate::stream::lane_reset;
use crate::Now;

impl ShardMachine {
    /// Do everything that has become possible.
    pub(super) fn advance(&mut self, now: &Now) {
        lane_reset::restart_at_seek(self);
        self.recall_expired(now);
        if !self.is_held() {
            self.dispatch(now);
        }
        lane_reset::pass_barrier(self);
        lane_reset::end_shard(self);
        self.window_due_ns = self.window_deadline(now);
        if std::mem::take(&mut self.progress) {
            self.suspects.forget_done(self.low(), self.window.is_some());
            self.commands.push_back(Command::Checkpoint(self.checkpoint()));
        }
    }

    /// Nothing new may run.
    pub(super) fn is_held(&self) -> bool {
        let is_alone = |lane: &Lane| lane.is_running() && lane.is_next_alone();
        self.paused || self.seek.is_some() || self.lanes.iter().any(is_alone)
    }

    fn dispatch(&mut self, now: &Now) {
        for index in 0..self.lanes.len() {
            self.prepare(index, now);
        }
        let is_ready = |lane: &Lane| lane.phase == Phase::Free && !lane.batches.is_empty();
        // A suspect goes first, and waits until nothing runs.
        if let Some(index) = self.lanes.iter().position(|lane| is_ready(lane) && lane.is_next_alone()) {
            if !self.lanes.iter().any(Lane::is_running) {
                self.run(index, now);
            }
            return;
        }
        for index in 0..self.lanes.len() {
            if is_ready(&self.lanes[index]) {
                self.run(index, now);
            }
        }
    }

    /// Bring a lane that has nothing in flight to where its next batch could run, if it is time for one.
    fn prepare(&mut self, index: usize, now: &Now) {
        loop {
            match self.lanes[index].phase {
                Phase::InFlight { .. } => return,
                Phase::Waiting { wake_ns, .. } if now.mono_ns < wake_ns => return,
                Phase::Waiting { .. } | Phase::Gathering { .. } | Phase::Free | Phase::Lent { .. } => {}
            }
            if self.drop_trimmed(index) || self.drop_expired(index, now) {
                continue;
            }
            match self.lanes[index].phase {
                Phase::Waiting { until_ns, .. } if now.mono_ns < until_ns => {
                    return self.wait_until(index, until_ns, now);
                }
                Phase::Waiting { .. } => self.lanes[index].phase = Phase::Free,
                _ => {}
            }
            // Cut later: a suspect that is found now would have to run beside what has the lane.
            if self.lanes[index].lent && !self.lanes[index].is_next_alone() {
                return self.keep_lent(index, now);
            }
            if !self.lanes[index].batches.is_empty() || !self.cut(index, now) {
                return;
            }
        }
    }

    /// Ask for batches back whose first record has become too old: they may wait for a place, and never get one.
    fn recall_expired(&mut self, now: &Now) {
        let Some(age_ms) = self.settings.maximum_record_age_ms else { return };
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let (Phase::InFlight { batch }, Some(oldest)) = (lane.phase, lane.pending.front()) else { continue };
            let first = lane.batches.front_mut().filter(|first| !first.is_final());
            let Some(first) = first.filter(|first| first.expires_ns.is_some_and(|at_ns| at_ns <= now.mono_ns)) else {
                continue;
            };
            first.expires_ns = (!oldest.is_older(age_ms, now)).then(|| oldest.expires_ns(age_ms, now));
            if first.expires_ns.is_none() {
                self.commands.push_back(Command::Recall { batch, lane: index as u8 });
            }
        }
    }

    /// Give up the records at the front that retention has removed.
    fn drop_trimmed(&mut self, index: usize) -> bool {
        let trimmed = self.trimmed;
        self.drop_front(index, Condition::Trimmed, |record| record.position < trimmed)
    }

    /// Give up the records at the front that are too old; the younger ones after them stay.
    fn drop_expired(&mut self, index: usize, now: &Now) -> bool {
        let Some(age_ms) = self.settings.maximum_record_age_ms else { return false };
        self.drop_front(index, Condition::RecordAgeExceeded, |record| record.is_older(age_ms, now))
    }

    fn drop_front(&mut self, index: usize, condition: Condition, is_lost: impl Fn(&PendingRecord) -> bool) -> bool {
        let lane = &self.lanes[index];
        let batch = lane.batches.front().copied();
        let limit = batch.map_or(self.settings.batch_size as usize, |batch| batch.len);
        let count = lane.pending.iter().take(limit).take_while(|record| is_lost(record)).count();
        if count == 0 {
            return false;
        }
        self.discard(index, condition, count, &batch.unwrap_or_default());
        let lane = &mut self.lanes[index];
        if let Some(batch) = lane.batches.front_mut() {
            batch.len -= count;
            if batch.len == 0 {
                lane.batches.pop_front();
                lane.phase = Phase::Free;
            }
        }
        true
    }

    /// Cut the lane's next batch, if it is time for one. Returns whether the front of the lane has changed.
    fn cut(&mut self, index: usize, now: &Now) -> bool {
        if self.window_is_over(now) {
            self.cut_final(index);
            return true;
        }
        let Some(&front) = self.lanes[index].pending.front() else {
            self.lanes[index].phase = Phase::Free;
            return false;
        };
        let length_ms = self.window_length_ms();
        let opened =
            (length_ms > 0 && self.window.is_none()).then(|| tumbling_window::opened(front.arrival_ms, length_ms));
        let window_end_ms = self.window.as_ref().or(opened.as_ref()).map(|window| window.end_ms);
        let belongs = |record: &PendingRecord| window_end_ms.is_none_or(|end_ms| record.arrival_ms < end_ms);

        let may_grow = self.may_grow(index, belongs);
        let mut next = match self.lanes[index].tried_next(front.position) {
            Some(Tried { last: Some(last), runs, failures, .. }) => {
                let lane = &self.lanes[index];
                if may_grow && lane.read_to <= last {
                    return false;
                }
                let len = lane.pending.iter().take_while(|record| record.position <= last).count();
                // Only a split leaves what was not tried among what was.
                Batch { len, runs, failures, half: failures == 0, ..Batch::default() }
            }
            _ => {
                if may_grow && !self.suspects.contains(&front) && self.is_gathering(index, now) {
                    return false;
                }
                Batch { len: batch::cut(&self.lanes[index], &self.settings, belongs), ..Batch::default() }
            }
        };
        match self.suspects.examine(&self.lanes[index], next.len, may_grow) {
            Finding::Clear { count } => next = next.cut_to(count),
            Finding::Wait => return false,
            Finding::Alone { count, interruptions } => {
                next = Batch { alone: true, interruptions, ..next.cut_to(count) };
            }
            Finding::Condemn { interruptions } => {
                self.discard(index, Condition::RuntimeInterrupted, 1, &Batch { runs: interruptions, ..next });
                return true;
            }
        }
        if opened.is_some() {
            self.window = opened;
        }
        let lane = &mut self.lanes[index];
        lane.phase = Phase::Free;
        lane.tried.pop_front();
        lane.batches.push_back(next);
        true
    }

    /// The final invoke of the window in progress is next.
    fn cut_final(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        lane.phase = Phase::Free;
        let tried = lane.tried.pop_front().filter(|tried| tried.last.is_none());
        let last = tried.map_or_else(Batch::default, |Tried { runs, failures, .. }| Batch {
            runs,
            failures,
            ..Batch::default()
        });
        match self.suspects.examine_final() {
            Finding::Alone { interruptions, .. } => {
                lane.batches.push_back(Batch { alone: true, interruptions, ..last });
            }
            Finding::Condemn { interruptions } => {
                lane.batches.push_back(Batch { runs: interruptions, ..Batch::default() });
                self.give_up(index, Condition::RuntimeInterrupted);
            }
            Finding::Clear { .. } | Finding::Wait => lane.batches.push_back(last),
        }
    }

    /// Whether a batch cut now could be larger if it were cut later.
    fn may_grow(&self, index: usize, belongs: impl Fn(&PendingRecord) -> bool) -> bool {
        let lane = &self.lanes[index];
        let is_last = self.intake.is_at_barrier(lane) || (self.closed.is_some() && self.intake.is_caught_up(lane));
        !batch::is_full(lane, &self.settings) && !is_last && lane.pending.back().is_some_and(belongs)
    }

    /// Whether the batching window of a free lane with a record at hand is still open; it begins here.
    fn is_gathering(&mut self, index: usize, now: &Now) -> bool {
        let lane = &mut self.lanes[index];
        let since_ns = match lane.phase {
            Phase::Gathering { since_ns } => since_ns,
            _ => now.mono_ns,
        };
        let is_open = now.mono_ns.saturating_sub(since_ns) < self.settings.window_ms.saturating_mul(NS_PER_MS);
        if is_open {
            lane.phase = Phase::Gathering { since_ns };
        }
        is_open
    }

    fn run(&mut self, index: usize, now: &Now) {
        let lane = &mut self.lanes[index];
        let oldest = lane.pending.front().copied();
        let Some(batch) = lane.batches.front_mut() else { return };
        batch.runs += 1;
        batch.overdue = false;
        // A final invoke has no record that could be too old: a time that nobody takes back would be due for ever.
        let aging = self.settings.maximum_record_age_ms.filter(|_| !batch.is_final());
        batch.expires_ns = aging.zip(oldest).map(|(age_ms, oldest)| oldest.expires_ns(age_ms, now));
        let batch = *batch;
        let id = self.next_batch;
        self.next_batch += 1;
        lane.phase = Phase::InFlight { batch: id };
        self.in_flight += 1;
        let positions = lane.positions(batch.len);
        let next_ms = lane.pending.front().map(|record| record.arrival_ms);
        let window = self.window.as_ref().map(|window| window.handed(batch.is_final(), next_ms, now.wall_ms));
        self.commands.push_back(Command::Run {
            batch: id,
            lane: index as u8,
            attempt: batch.runs,
            positions,
            window,
            alone: batch.alone,
            interruptions: batch.interruptions,
        });
    }

    /// Carry out what the outcome of the lane's first batch means.
    pub(super) fn settle(&mut self, index: usize, outcome: &Outcome, now: &Now) {
        let lane = &mut self.lanes[index];
        let Some(&batch) = lane.batches.front() else { return };
        let needs_state = self.window.is_some() && !batch.is_final();
        let verdict = fate::judge(outcome, lane, &batch, &self.settings, needs_state);
        match verdict {
            Verdict::Done => self.done(index, batch.len, outcome),
            Verdict::Partly { done } => {
                self.done(index, done, outcome);
                // The checkpoint has moved: the rest is a new batch with all its retries.
                let Batch { half, skipped, .. } = batch;
                let rest = Batch { len: batch.len - done, by_report: true, half, skipped, ..Batch::default() };
                self.lanes[index].batches.push_front(rest);
                if batch.skipped {
                    return self.give_up(index, Condition::Skipped);
                }
                self.commands.push_back(Command::Count(Event::Retry));
                self.wait(index, 1, now);
            }
            Verdict::Failed { by_report } => self.failed(index, by_report, now),
            Verdict::NotInvoked | Verdict::Interrupted => self.put_off(index, verdict, now),
        }
    }

    /// The first `count` records are done, and with them the first batch.
    fn done(&mut self, index: usize, count: usize, outcome: &Outcome) {
        let lane = &mut self.lanes[index];
        lane.finish(count);
        let batch = lane.batches.pop_front();
        self.progress = true;
        if batch.is_some_and(|batch| batch.is_final()) {
            self.window = None;
        } else if let (Some(window), Outcome::Success { state: Some(state), .. }) = (&mut self.window, outcome) {
            window.state.clone_from(state);
        }
    }

    fn failed(&mut self, index: usize, by_report: bool, now: &Now) {
        let lane = &mut self.lanes[index];
        let Some(batch) = lane.batches.front_mut() else { return };
        batch.failures += 1;
        batch.refusals = 0;
        batch.by_report = by_report;
        // It has run to an end, so it is not a suspect any more.
        batch.alone = false;
        let batch = *batch;
        // Its tries are told in the checkpoint.
        self.progress = true;
        match fate::of_failed(&batch, &self.settings) {
            Fate::Retry => {
                self.commands.push_back(Command::Count(Event::Retry));
                self.wait(index, batch.failures, now);
            }
            Fate::Split { left } => {
                lane.split(left);
                self.commands.push_back(Command::Count(Event::Bisect));
            }
            Fate::GiveUp if batch.skipped => self.give_up(index, Condition::Skipped),
            Fate::GiveUp => self.give_up(index, Condition::RetryAttemptsExhausted),
        }
    }

    /// Try again without a retry being used: the function did not get the batch, or could not end it because of us.
    fn put_off(&mut self, index: usize, verdict: Verdict, now: &Now) {
        let Some(batch) = self.lanes[index].batches.front_mut() else { return };
        if verdict == Verdict::NotInvoked {
            batch.runs -= 1;
            batch.refusals += 1;
        }
        if batch.skipped {
            return self.give_up(index, Condition::Skipped);
        }
        let nth = batch.refusals.max(1);
        self.wait(index, nth, now);
    }

    /// Wait before the first batch is tried again.
    fn wait(&mut self, index: usize, nth: u32, now: &Now) {
        // Lanes that fail at the same moment must not come back at the same moment.
        let entropy = now.entropy.wrapping_add(self.next_batch).wrapping_add(index as u64);
        let delay_ns = self.settings.backoff.delay_ns(nth, entropy);
        self.wait_until(index, now.mono_ns.saturating_add(delay_ns), now);
    }

    /// A record that becomes too old meanwhile ends the wait.
    fn wait_until(&mut self, index: usize, until_ns: u64, now: &Now) {
        let lane = &mut self.lanes[index];
        let oldest = self.settings.maximum_record_age_ms.zip(lane.pending.front());
        let expires_ns = oldest.map(|(age_ms, oldest)| oldest.expires_ns(age_ms, now));
        let wake_ns = expires_ns.map_or(until_ns, |expires_ns| until_ns.min(expires_ns));
        lane.phase = Phase::Waiting { until_ns, wake_ns };
    }

    /// Let every waiting lane look again at what it waits for, and at the age of what is in flight.
    pub(super) fn wake_lanes(&mut self, now: &Now) {
        for lane in &mut self.lanes {
            if let Phase::Waiting { wake_ns, .. } = &mut lane.phase {
                *wake_ns = now.mono_ns;
            } else if let (Phase::InFlight { .. }, Some(batch)) = (lane.phase, lane.batches.front_mut()) {
                batch.expires_ns =
                    self.settings.maximum_record_age_ms.filter(|_| !batch.is_final()).map(|_| now.mono_ns);
            }
        }
    }

    /// Discard the whole first batch.
    pub(super) fn give_up(&mut self, index: usize, condition: Condition) {
        let lane = &mut self.lanes[index];
        let Some(batch) = lane.batches.pop_front() else { return };
        lane.phase = Phase::Free;
        if batch.is_final() {
            self.window = None;
        }
        self.discard(index, condition, batch.len, &batch);
    }

    fn discard(&mut self, index: usize, condition: Condition, count: usize, batch: &Batch) {
        let lane = &mut self.lanes[index];
        let positions = lane.positions(count);
        lane.finish(count);
        self.progress = true;
        let attempts = batch.runs.max(1);
        let by_report = batch.by_report;
        self.commands.push_back(Command::Discard { condition, lane: index as u8, positions, attempts, by_report });
    }

    /// Length of the windows in force, 0 for none. Windows need the one lane.
    fn window_length_ms(&self) -> u64 {
        if self.lanes.len() == 1 {
            self.settings.tumbling_window_ms
        } else {
            0
        }
    }

    /// Whether the window in progress must have its final invoke before the lane does anything else.
    fn window_is_over(&self, now: &Now) -> bool {
        let (Some(window), [lane]) = (&self.window, self.lanes.as_slice()) else { return false };
        if window.is_too_large() || window.length_ms() != self.window_length_ms() {
            return true;
        }
        match lane.pending.front() {
            Some(front) => !window.takes(front.arrival_ms),
            None => self.intake.is_caught_up(lane) && (self.closed.is_some() || window.remaining_ms(now.wall_ms) == 0),
        }
    }

    /// When an idle lane's window is over if nothing more comes.
    fn window_deadline(&self, now: &Now) -> Option<u64> {
        let (Some(window), [lane]) = (&self.window, self.lanes.as_slice()) else { return None };
        let is_waiting = lane.is_idle() && !lane.lent && self.intake.is_caught_up(lane);
        is_waiting.then(|| now.mono_ns.saturating_add(window.remaining_ms(now.wall_ms).saturating_mul(NS_PER_MS)))
    }
}
