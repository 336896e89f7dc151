//! runtime/hand_out.rs

use crate::base::ids::uuid_text;
use crate::base::timers::Timer;
use crate::dispatch::attempts::slot_record;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::attempts::Job;
use crate::dispatch::attempts::Task;
use crate::dispatch::attempts::Token;
use crate::dispatch::attempts::Work;
use crate::dispatch::ready_list::Kind;
use crate::observe::history::RequestEvent;
use crate::observe::operator_events::batch_of;
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::rooms::Rooms;
use crate::store::port::StoreError;
use serde_json::json;

impl Rooms {}

impl Rooms {
    /// Hand out at most `most` pieces of work. Attempts are counted on disk before this returns.
    pub(crate) fn take(&mut self, most: usize, works: &mut Vec<Work>) {
        while works.len() < most {
            let Some(token) = self.dispatch.ready_list.cancels.pop_front() else { break };
            if let Some(attempt) = self.dispatch.attempts.get_mut(token) {
                let slot = attempt.slot;
                let request = attempt.request;
                let task = Task::Cancel;
                works.push(Work { token, slot, request, deadline_ms: 0, qualifier: None, trace: None, task });
            }
        }
        self.give_permits();
        while works.len() < most {
            let Some(token) = self.dispatch.ready_list.next(self.ctx.draining) else { break };
            if let Some(work) = self.hand_out(token) {
                works.push(work);
            }
        }
        if let Err(error) = self.dispatch.count_attempts() {
            // Attempts that cannot be counted must not run.
            works.retain(|work| matches!(work.task, Task::Cancel));
            self.ctx.fail(StoreError::Failed(error.to_string()));
        }
    }
}

impl Rooms {
    pub(crate) fn hand_out(&mut self, token: Token) -> Option<Work> {
        let now = self.ctx.now;
        let attempt = self.dispatch.attempts.get_mut(token)?;
        let function = &mut self.dispatch.functions[attempt.slot];
        attempt.deadline_ns = now.mono_ns.saturating_add(function.timeout_ns);
        self.ctx.timers.arm(&mut function.armed, attempt.deadline_ns, Timer::Deadline(attempt.slot));
        // In order even when the timeout has become shorter while attempts are in flight.
        let at = function.deadlines.partition_point(|&(deadline, _)| deadline <= attempt.deadline_ns);
        function.deadlines.insert(at, (attempt.deadline_ns, token));
        let kind = attempt.job.kind();
        self.dispatch.ready_list.began(kind, attempt.alone);
        if let Some(lease) = attempt.lease {
            function.meters.in_flight.add(1.0);
            self.dispatch.permits.count_source(lease);
        }
        let mut suspect = None;
        let task = match &attempt.job {
            Job::Batch { poller, records, lane, window, interruptions, .. } => {
                suspect = attempt.alone.then_some(*poller);
                if let Some(poller) = self.streams.pollers[*poller].as_mut() {
                    self.dispatch.counted.push((token, slot_record(poller, records, (*lane, *interruptions), attempt)));
                    if let Some(mapping) = self.streams.mappings.get(&poller.source.mapping) {
                        mapping.meters.lanes_busy.add(1.0);
                        mapping.meters.invoked.add(records.positions.len() as u64);
                        mapping.meters.batch_size.record(records.positions.len() as f64);
                        if let (Some(&last), Some(chunk)) = (records.positions.last(), records.chunks.last()) {
                            poller.last_arrival_ms = chunk.meta(last).arrival_ms;
                            let age_ms = now.wall_ms.saturating_sub(poller.last_arrival_ms);
                            mapping.meters.iterator_age.record(age_ms as f64 / 1e3);
                        }
                    }
                }
                Task::Batch { records: records.clone(), window: window.clone(), as_event: function.as_event }
            }
            Job::Messages(job) => {
                self.dispatch.hops_running.insert(attempt.request, job.hops);
                self.dispatch.counted.extend(self.queues.handed_out(token, job, (attempt.number, attempt.alone)));
                Task::Messages { messages: job.messages.clone(), as_event: function.as_event }
            }
            Job::Redrive { records, .. } => {
                Task::Batch { records: records.clone(), window: None, as_event: function.as_event }
            }
            Job::Invoke { payload, .. } => {
                self.dispatch.ready_list.invoke_bytes -= payload.len();
                Task::Invoke(payload.clone())
            }
            Job::Event { queue, key, event, interruptions } => {
                let (queue, key, number) = (*queue, *key, attempt.number);
                let facts = (number, *interruptions, attempt.alone);
                self.dispatch.counted.push((token, crate::sources::invocation::slot_record(queue, key, facts)));
                self.ctx.observe.history.note(
                    now.wall_ms,
                    event.request,
                    RequestEvent::Started { queue, attempt: number },
                );
                if let Some(events) = self.events.queues.get_mut(&queue) {
                    let age_ms = now.wall_ms.saturating_sub(event.life.accepted_ms);
                    events.meters.age.record(age_ms as f64 / 1e3);
                    if let Some(slot) = events.suspects.remove(&key) {
                        self.dispatch.journal.release(slot);
                    }
                }
                Task::Event(event.payload.clone())
            }
            Job::Delivery { record, .. } => Task::Deliver(record.clone()),
        };
        let deadline_ms = now.wall_ms + function.timeout_ns / 1_000_000;
        let (slot, request) = (attempt.slot, attempt.request);
        let (qualifier, trace) = attempt.job.asked_with();
        let work = Work { token, slot, request, deadline_ms, qualifier, trace, task };
        if let Some(poller) = suspect {
            self.streams().keep_suspects(poller);
        }
        Some(work)
    }

    /// A function's oldest deadline passed: cancel what is still running.
    pub(crate) fn deadline_due(&mut self, slot: HandlerId) {
        self.dispatch.functions[slot].armed = None;
        while let Some(&(deadline, token)) = self.dispatch.functions[slot].deadlines.front() {
            let is_alive = self.dispatch.attempts.get_mut(token).is_some_and(|attempt| attempt.deadline_ns == deadline);
            if deadline > self.ctx.now.mono_ns {
                if is_alive {
                    self.ctx.timers.arm(&mut self.dispatch.functions[slot].armed, deadline, Timer::Deadline(slot));
                    return;
                }
            } else if is_alive {
                self.time_out(token);
            }
            self.dispatch.functions[slot].deadlines.pop_front();
        }
    }

    /// An attempt is past its deadline. It has failed, and may never end: its lane and its place stay held, nothing else waits.
    fn time_out(&mut self, token: Token) {
        let Some(attempt) = self.dispatch.attempts.get_mut(token) else { return };
        attempt.timed_out = true;
        let (slot, request, waiter) = (attempt.slot, attempt.request, attempt.take_waiter());
        let is_alone = attempt.alone;
        let is_qualified = matches!(attempt.job, Job::Invoke { qualifier: Some(_), .. });
        let (batch, redrive) = match attempt.job {
            Job::Batch { poller, batch, .. } => (Some((poller, batch)), None),
            Job::Redrive { key, .. } => (None, Some(key)),
            _ => (None, None),
        };
        let kind = attempt.job.kind();
        self.notice_timeout(token);
        if kind != Kind::Delivery {
            self.dispatch.functions[slot].meters.overdue.add(1.0);
        }
        self.dispatch.ready_list.overdue(kind, is_alone.then_some(token));
        if !self.environments.stop_attempt(slot, token, self.ctx.now.mono_ns) {
            self.dispatch.ready_list.cancels.push_back(token);
            self.ctx.ring = true;
        }
        if let Some(waiter) = waiter {
            let answer = self.dispatch.invoke_answer(slot, request, is_qualified, (2, None));
            self.ctx.answer(waiter, answer);
        }
        if let Some((id, batch)) = batch {
            let now = self.ctx.now;
            if let Some(poller) = self.streams.pollers[id].as_mut() {
                poller.machine.overdue(batch, &now);
            }
            self.streams().pump(id);
        }
        if let Some(failure) = redrive {
            self.streams().redrive_overdue(&failure);
        }
    }
}

impl Rooms {
    /// An attempt is past its deadline.
    pub(crate) fn notice_timeout(&mut self, token: Token) {
        let Some(attempt) = self.dispatch.attempts.get_mut(token) else { return };
        let function = &self.dispatch.functions[attempt.slot];
        let (name, seconds) = (function.qualified(), function.timeout_ns as f64 / 1e9);
        let mut fields = match &attempt.job {
            Job::Batch { records, lane, .. } => {
                let mut batch = batch_of(&records.source, &records.positions);
                batch["lane"] = (*lane).into();
                batch
            }
            Job::Redrive { records, .. } => batch_of(&records.source, &records.positions),
            Job::Messages(job) => json!({"queue": &*job.messages.source.name, "records": job.messages.items.len()}),
            Job::Invoke { .. } | Job::Event { .. } | Job::Delivery { .. } => json!({}),
        };
        fields["seconds"] = seconds.into();
        fields["attempt"] = attempt.number.into();
        fields["request"] = uuid_text(attempt.request).into();
        if attempt.job.kind() == Kind::Delivery {
            fields["destinations"] = [name.as_str()].as_slice().into();
        }
        self.ctx.notice(OperatorEvent::TimedOut, &name, fields);
    }
}
