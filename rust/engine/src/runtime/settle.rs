//! What became of an attempt: told to its machine, its caller or its failure.

use forebay_core::sequence;
use forebay_core::stream::protocol::{BatchId, Outcome, Report};
use forebay_core::stream::report;

use crate::dispatch::attempts::{Attempt, Job, Settled};
use crate::dispatch::ready_list::Kind;
use crate::observe::history::batches::{runs_of, About, Failed, Tried, Which};
use crate::payload::records::Records;
use crate::runtime::rooms::Rooms;
use crate::sources::stream::poller::PollerId;

impl Rooms {
    /// An attempt has ended.
    pub(crate) fn settle(&mut self, settled: Settled) {
        self.settle_all([settled]);
    }

    /// Attempts have ended. Their queues are served when all of them are settled, once each.
    pub(crate) fn settle_all(&mut self, settled: impl IntoIterator<Item = Settled>) {
        for one in settled {
            self.settle_one(one);
            self.conduct();
        }
        self.queues().serve_settled_queues();
    }

    /// A token that names nothing is an answer that came twice or too late: it is refused.
    fn settle_one(&mut self, settled: Settled) {
        let Some(attempt) = self.dispatch.attempts.remove(settled.token) else { return };
        let kind = attempt.job.kind();
        self.dispatch.ready_list.ended(kind, attempt.alone, attempt.timed_out);
        self.dispatch().free_permit(attempt.lease);
        for &slot in &attempt.file_slots {
            self.dispatch.journal.release(slot);
        }
        let status = if attempt.timed_out { 2 } else { settled.status };
        let timed_out = (status == 2 && kind != Kind::Delivery)
            .then(|| self.dispatch.timeout_error(attempt.slot, attempt.request).1);
        let body = timed_out.map(String::into_bytes).or(settled.body);
        self.dispatch().measure(&attempt, status, settled.duration_ns);
        match attempt.job {
            Job::Batch { poller, batch, ref records, ref window, .. } => {
                let reads = window.is_some() || self.reads_response(records.source.mapping);
                let outcome = outcome_of(status, reads, records.source.shard_index, body.as_deref());
                self.keep_at_hand(poller, status, records);
                self.note_batch(&attempt, (poller, records), (status, settled.duration_ns), &outcome, body.as_deref());
                self.batch_ended(poller, batch, (attempt.request, status), &outcome, body);
                if attempt.timed_out {
                    self.streams().release_redrives(records.source.mapping);
                }
            }
            Job::Messages(ref job) => {
                self.dispatch.hops_running.remove(&attempt.request);
                self.queues().messages_settled(job, (&attempt, settled.duration_ns), status, body.as_deref());
            }
            Job::Redrive { key, ref records } => {
                // A batch of which any record failed again stays listed whole.
                let reads = self.reads_response(key.mapping);
                let outcome = outcome_of(status, reads, records.source.shard_index, body.as_deref());
                let succeeded = matches!(outcome, Outcome::Success { report: Report::AllSucceeded, .. });
                self.note_redrive(&attempt, (status, settled.duration_ns), &outcome, body.as_deref());
                self.streams().redrive_ended(&key, succeeded, body);
                self.streams().redrive_on(&key);
                if attempt.timed_out {
                    self.streams().release_redrives(key.mapping);
                }
            }
            Job::Invoke { waiter: Some(waiter), qualifier, .. } => {
                let is_qualified = qualifier.is_some();
                let answer = self.dispatch.invoke_answer(attempt.slot, attempt.request, is_qualified, (status, body));
                self.ctx.answer(waiter, answer);
            }
            Job::Invoke { waiter: None, .. } => {}
            Job::Event { queue, key, event, .. } => self.events().event_ended(queue, key, event, status, body),
            Job::Delivery { key, .. } => self.failures().delivery_ended(key, status == 0, body),
        }
        if self.dispatch.ready_list.rings(self.ctx.draining) {
            self.ctx.ring = true;
        }
    }

    /// Remember an attempt at a batch of a stream, and count what failed.
    fn note_batch(
        &mut self,
        attempt: &Attempt,
        (poller, records): (PollerId, &Records),
        (status, took_ns): (u8, u64),
        outcome: &Outcome,
        body: Option<&[u8]>,
    ) {
        let (Some(&first), Some(&last)) = (records.positions.first(), records.positions.last()) else { return };
        let (Some(poller), Job::Batch { lane, .. }) = (self.streams.pollers[poller].as_ref(), &attempt.job) else {
            return;
        };
        if let Some(mapping) = self.streams.mappings.get(&poller.source.mapping) {
            mapping.meters.failed.add(match outcome {
                Outcome::Success { report: Report::AllSucceeded, .. } | Outcome::Interrupted => 0,
                Outcome::Success { report: Report::Failed(positions), .. } => positions.len() as u64,
                _ => records.positions.len() as u64,
            });
        }
        let tried = Tried {
            at_ms: self.ctx.now.wall_ms,
            mapping: poller.source.mapping,
            log: poller.shard,
            first,
            last,
            which: Which::Lane(*lane, poller.machine.lanes().max(1) as u32),
            about: About::of(attempt, (status, took_ns), failed_of(outcome), body),
        };
        self.ctx.observe.history.batches.tried(tried);
    }

    /// Remember that a batch which had been given up was run again.
    fn note_redrive(&mut self, attempt: &Attempt, ended: (u8, u64), outcome: &Outcome, body: Option<&[u8]>) {
        let Job::Redrive { key, records } = &attempt.job else { return };
        let (Some(&first), Some(&last)) = (records.positions.first(), records.positions.last()) else { return };
        self.ctx.observe.history.batches.tried(Tried {
            at_ms: self.ctx.now.wall_ms,
            mapping: key.mapping,
            log: key.shard,
            first,
            last,
            which: Which::of(&runs_of(records.positions.iter().copied())),
            about: About::of(attempt, ended, failed_of(outcome), body),
        });
    }

    fn reads_response(&self, mapping: u64) -> bool {
        self.streams.mappings.get(&mapping).is_some_and(|mapping| mapping.row.reads_response())
    }

    /// A batch that was not handled may be given up: retention must not have taken its records meanwhile.
    fn keep_at_hand(&mut self, id: PollerId, status: u8, records: &Records) {
        if let (true, Some(poller)) = (status != 0, self.streams.pollers[id].as_mut()) {
            for chunk in records.chunks.iter() {
                poller.hold(chunk.clone());
            }
        }
    }
}

impl Rooms {
    fn batch_ended(
        &mut self,
        id: PollerId,
        batch: BatchId,
        (request, status): (u128, u8),
        outcome: &Outcome,
        body: Option<Vec<u8>>,
    ) {
        let now = self.ctx.now;
        let Some(poller) = self.streams.pollers[id].as_mut() else { return };
        poller.last_request = request;
        if let Some(mapping) = self.streams.mappings.get_mut(&poller.source.mapping) {
            mapping.meters.lanes_busy.add(-1.0);
            mapping.last_result = if status == 0 { "OK" } else { "PROBLEM: Function call failed" };
        }
        if status != 0 {
            poller.last_error = body.map(|text| String::from_utf8_lossy(&text).into());
        }
        poller.machine.completed(batch, outcome, &now);
        self.streams().pump(id);
        self.streams().keep_suspects(id);
    }
}

/// Which records of a batch an attempt left unhandled.
fn failed_of(outcome: &Outcome) -> Failed {
    match outcome {
        Outcome::Success { report: Report::AllSucceeded, .. } => Failed::None,
        Outcome::Success { report: Report::Failed(positions), .. } => {
            positions.iter().min().map_or(Failed::None, |first| Failed::From(*first))
        }
        _ => Failed::All,
    }
}

/// What an attempt means to the rules. `reads`: the response matters.
fn outcome_of(status: u8, reads: bool, shard_index: u32, body: Option<&[u8]>) -> Outcome {
    match status {
        0 if reads => read_response(shard_index, body),
        0 => Outcome::Success { report: Report::AllSucceeded, state: None },
        2 => Outcome::Timeout,
        3 => Outcome::NotInvoked,
        4 => Outcome::Interrupted,
        _ => Outcome::Error,
    }
}

fn read_response(shard_index: u32, body: Option<&[u8]>) -> Outcome {
    let response = match body {
        None => None,
        Some(bytes) => match serde_json::from_slice::<serde_json::Value>(bytes) {
            Ok(value) => Some(value),
            Err(_) => return Outcome::Success { report: Report::Malformed, state: None },
        },
    };
    let position_of = |text: &str| sequence::parse(text).filter(|(shard, _)| *shard == shard_index).map(|(_, at)| at);
    Outcome::Success {
        report: report::failures(response.as_ref(), position_of),
        state: report::window_state(response.as_ref()),
    }
}

pub(crate) fn error_message(payload: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(payload).ok();
    let field = |name: &str| parsed.as_ref()?.get(name)?.as_str().map(str::to_owned);
    match (field("errorType"), field("errorMessage")) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (None, Some(message)) => message,
        _ => payload.to_owned(),
    }
}
