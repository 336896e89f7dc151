//! Who has messages in their hands: what they may be given, and how they let go of it.

use forebay_engine::dispatch::attempts::Token;
use forebay_engine::payload::message::Message as Content;
use forebay_engine::payload::messages::Messages;
use forebay_engine::store::port::ShardId;

use super::super::events::HOPS_MAX;
use super::super::{publication_of, turns, Ledger, Promise};
use super::{name_of_body, Entry, Flight, Log, MessagesEnd, Refuted, State, HANDED_WITHIN_NS, ROUNDED_NS};

impl Log {
    /// Messages of its group that stand before this one must be over, used up, or before it in the same batch.
    fn check_turn(
        &mut self,
        number: u64,
        group: u16,
        batch: u64,
        is_old: impl Fn(&Entry) -> bool,
    ) -> Result<(), Refuted> {
        let group = usize::from(group);
        if let Some(&(other, count)) = self.busy.get(group) {
            if count > 0 && other != batch {
                return Err((
                    Promise::Exclusion,
                    format!("{number} begins while a batch of its group g{group} is in flight"),
                ));
            }
        }
        let Some(line) = self.groups.get_mut(group) else { return Ok(()) };
        let before = line.iter().take_while(|&&earlier| earlier < number).count();
        // What is over stands no more in the line, so it is looked at once: also behind one that stays there for long.
        let entries = &self.entries;
        if line.range(..before).any(|&earlier| entries[earlier as usize].is_over()) {
            let left: Vec<u64> = line.drain(..before).filter(|&earlier| !entries[earlier as usize].is_over()).collect();
            left.into_iter().rev().for_each(|earlier| line.push_front(earlier));
        }
        for &earlier in line.iter().take_while(|&&earlier| earlier < number) {
            let entry = &entries[earlier as usize];
            let is_with_it = matches!(entry.state, State::Flying(of) | State::Held { by: of, .. } if of == batch);
            let is_excused = entry.may_go || earlier < self.purged_below;
            if !(is_with_it || is_excused || is_old(entry)) {
                let state = entry.state;
                return Err((
                    Promise::Order,
                    format!("{number} begins before {earlier} of its group g{group}, which is {state:?}"),
                ));
            }
        }
        Ok(())
    }
}

impl Ledger {
    /// A batch of messages is handed to the handler of a worker.
    pub fn begins_messages(&mut self, token: Token, worker: usize, messages: &Messages) {
        self.counts.batches += 1;
        self.counts.deliveries += messages.items.len() as u64;
        let (batch, log) = (self.counts.batches, messages.source.log);
        self.tell(|| {
            let numbers: Vec<u64> = messages.items.iter().map(|item| item.delivery.handle.number).collect();
            format!("begins {token:x} worker {worker} of {} {numbers:?}", messages.source.name)
        });
        if let Err((promise, story)) = self.check_worker(worker, messages.items.len()) {
            self.broken(promise, story);
        }
        let Some(known) = self.queues.workers.get(worker) else { return };
        let (strict, mapping) = (known.strict, known.mapping);
        let state = if strict {
            let now_ns = self.now.time_ns;
            let visibility_ms = self.queues.logs.get(&log).map_or(0, |log| log.visibility_least(now_ns));
            let since_ns = now_ns.saturating_sub(HANDED_WITHIN_NS);
            let until_ns = if self.disk_is_ill { 0 } else { self.held_until(since_ns, visibility_ms) };
            State::Held { until_ns, told_ns: until_ns, by: batch }
        } else {
            State::Flying(batch)
        };
        let mut numbers = Vec::with_capacity(messages.items.len());
        for item in messages.items.iter() {
            let number = item.delivery.handle.number;
            let told = (log, number, item.delivery.receive_count);
            if let Err((promise, story)) = self.receive_one(told, &item.message(), state, batch) {
                let story = format!("{}, batch {batch}: {story}", messages.source.name);
                self.broken(promise, story);
            }
            numbers.push(number);
        }
        if let Some(worker) = self.queues.workers.get_mut(worker) {
            worker.in_flight += 1;
        }
        self.flying += 1;
        let flight = Flight { worker, mapping, log, numbers, batch, zombie: false, strict };
        if self.queues.flights.insert(token, flight).is_some() {
            self.broken(Promise::Exclusion, "a token names two batches");
        }
    }

    fn check_worker(&mut self, worker: usize, count: usize) -> Result<(), Refuted> {
        let Some(worker) = self.queues.workers.get(worker) else {
            return Err((Promise::Conservation, "a batch for a function that has no mapping".into()));
        };
        if count > worker.batch_most as usize || count == 0 {
            return Err((Promise::Attempts, format!("a batch of {count} messages, allowed are {}", worker.batch_most)));
        }
        if worker.in_flight >= worker.concurrency_most {
            let story = format!("{} batches in flight, allowed are {}", worker.in_flight + 1, worker.concurrency_most);
            return Err((Promise::Exclusion, story));
        }
        Ok(())
    }

    /// Somebody outside was given messages, and has them from `since_ns` on for the time asked for, or (`Err`) for that of the queue, which
    /// was this when they were asked for and may have changed while the receive waited: number, receive count and text of each.
    pub fn hands(&mut self, log: ShardId, given: &[(u64, u32, &str)], (since_ns, asked): (u64, Result<u64, u64>)) {
        let of_queue = self.queues.logs.get(&log).map_or(u64::MAX, |log| log.visibility_ms);
        let visibility_ms = asked.unwrap_or_else(|before_ms| before_ms.min(of_queue));
        self.counts.deliveries += given.len() as u64;
        self.counts.batches += 1;
        let batch = self.counts.batches;
        let until_ns = self.held_until(since_ns, visibility_ms);
        let state = State::Held { until_ns, told_ns: until_ns, by: batch };
        for &(number, receive_count, body) in given {
            self.tell(|| format!("hands  {number} of log {log} for {visibility_ms} ms"));
            let outcome = self.check_content(log, number, None, body);
            if let Err((promise, story)) =
                outcome.and_then(|()| self.receive((log, number, receive_count), state, batch))
            {
                self.broken(promise, format!("log {log}, by hand: {story}"));
            }
        }
    }

    /// Until when a message is nobody else's that was received then; a clock that was set meanwhile makes that uncertain.
    fn held_until(&self, since_ns: u64, visibility_ms: u64) -> u64 {
        let is_certain = self.queues.clock_set_ns.is_none_or(|set_ns| set_ns < since_ns);
        let until_ns = since_ns + visibility_ms * 1_000_000;
        if is_certain {
            until_ns
        } else {
            0
        }
    }

    /// A receiver is about to change how long it has a message: from now on it may be somebody else's. Gives who has it until when.
    pub fn lets_go(&mut self, log: ShardId, number: u64) -> Option<(u64, u64)> {
        let now_ns = self.now.time_ns;
        let entry = self.queues.logs.get_mut(&log).and_then(|log| log.entry(number))?;
        let State::Held { until_ns, by, .. } = &mut entry.state else { return None };
        Some((*by, std::mem::replace(until_ns, (*until_ns).min(now_ns))))
    }

    /// Unless somebody else has it by now, it is in the hands of `holder` until then.
    pub fn holds(&mut self, log: ShardId, number: u64, (holder, until): (u64, u64)) {
        self.tell(|| format!("holds  {number} of log {log} until {until}"));
        let entry = self.queues.logs.get_mut(&log).and_then(|log| log.entry(number));
        if let Some(State::Held { until_ns, told_ns, by }) = entry.map(|entry| &mut entry.state) {
            if *by == holder {
                (*until_ns, *told_ns) = (until, until.min(*told_ns));
            }
        }
    }

    /// The holder was told that it has it until then. Another change may have been asked for since.
    pub fn keeps(&mut self, log: ShardId, number: u64, (holder, until): (u64, u64)) {
        let entry = self.queues.logs.get_mut(&log).and_then(|log| log.entry(number));
        if let Some(State::Held { until_ns, told_ns, by }) = entry.map(|entry| &mut entry.state) {
            if (*by, *until_ns) == (holder, until) {
                *told_ns = until;
            }
        }
    }

    fn receive_one(
        &mut self,
        told: (ShardId, u64, u32),
        message: &Content<'_>,
        state: State,
        batch: u64,
    ) -> Result<(), Refuted> {
        self.check_content(told.0, told.1, Some(message.id), message.body)?;
        if message.hops >= HOPS_MAX {
            return Err((Promise::Attempts, format!("{} begins, and its chain has come to its end", told.1)));
        }
        self.receive(told, state, batch)
    }

    fn check_content(&mut self, log: ShardId, number: u64, id: Option<u128>, body: &str) -> Result<(), Refuted> {
        let entry = self.queues.logs.get_mut(&log).and_then(|log| log.entry(number)).map(|entry| entry.message);
        let Some(name) = entry else {
            return Err((Promise::DurableAck, format!("{number} is handed out and not durable")));
        };
        let message = &self.queues.messages[name as usize];
        let is_other_copy = || message.publication.is_some() && publication_of(body) != message.publication;
        let is_other_id = id.is_some_and(|id| id != message.id);
        if is_other_id || name_of_body(body).is_some_and(|told| told != name) || is_other_copy() {
            return Err((Promise::DurableAck, format!("{number} should be message {name}, and says {body:.40}")));
        }
        Ok(())
    }

    /// A message is in somebody's hands.
    fn receive(
        &mut self,
        (id, number, receive_count): (ShardId, u64, u32),
        state: State,
        batch: u64,
    ) -> Result<(), Refuted> {
        let now = self.now;
        let queues = &mut self.queues;
        let Some(log) = queues.logs.get_mut(&id) else { return Ok(()) };
        let messages = &queues.messages;
        let is_purged = number < log.purged_below;
        let (entry, most) = (log.entries[number as usize].clone(), log.receives_most);
        match entry.state {
            _ if is_purged || entry.may_go => {}
            _ if entry.gone && !entry.kept => {
                return Err((Promise::Duplicates, format!("{number} begins and is gone")))
            }
            State::Waiting => {}
            State::Held { until_ns, .. } if until_ns <= now.time_ns => {}
            State::Flying(_) | State::Held { .. } => {
                return Err((Promise::Exclusion, format!("{number} begins while somebody has it: {:?}", entry.state)))
            }
            State::Done => return Err((Promise::Duplicates, format!("{number} begins and is done"))),
        }
        if receive_count <= entry.failures || receive_count > most {
            let story = format!(
                "{number} is received for the {receive_count}. time after {} failures, allowed are {most}",
                entry.failures
            );
            return Err((Promise::Attempts, story));
        }
        let message = &messages[entry.message as usize];
        let due_ns = message.sent_ns + message.delay_ms * 1_000_000;
        if now.time_ns + ROUNDED_NS < due_ns && message.clock_sets == queues.clock_sets {
            return Err((
                Promise::Waits,
                format!("{number} is received {} ns before its delay is over", due_ns - now.time_ns),
            ));
        }
        if log.is_fifo && !is_purged {
            let (least_ms, clock_sets) = (log.retention_least_ms, queues.clock_sets);
            let is_old =
                |entry: &Entry| messages[entry.message as usize].is_old(entry.sent_ms, least_ms, now, clock_sets);
            log.check_turn(number, entry.group, batch, is_old)?;
            if let State::Flying(_) = state {
                let group = usize::from(entry.group);
                if log.busy.len() <= group {
                    log.busy.resize(group + 1, (0, 0));
                }
                log.busy[group] = (batch, log.busy[group].1 + 1);
            }
        }
        turns::begins(&mut log.turn, number.into());
        let entry = &mut log.entries[number as usize];
        (entry.state, entry.received) = (state, receive_count);
        Ok(())
    }

    /// A batch is past its deadline.
    pub(in super::super) fn messages_expire(&mut self, token: Token) {
        if let Some(flight) = self.queues.flights.get_mut(&token) {
            flight.zombie = true;
        }
    }

    /// A handler's batch has ended.
    pub fn ends_messages(&mut self, token: Token, end: &MessagesEnd) {
        self.tell(|| format!("ends   {token:x} {end:?}"));
        let now_ns = self.now.time_ns;
        let Some(flight) = self.queues.flights.remove(&token) else { return };
        self.flying -= 1;
        if let Some(worker) = self.queues.workers.get_mut(flight.worker) {
            worker.in_flight -= u32::from(worker.mapping == flight.mapping);
        }
        let Some(log) = self.queues.logs.get_mut(&flight.log) else { return };
        let mut broken_groups = Vec::new();
        for (place, &number) in flight.numbers.iter().enumerate() {
            let is_fifo = log.is_fifo;
            let entry = &mut log.entries[number as usize];
            let group = entry.group;
            let is_ours = match entry.state {
                State::Flying(batch) => batch == flight.batch,
                State::Held { by, .. } => by == flight.batch,
                _ => false,
            };
            if let (State::Flying(_), true) = (entry.state, is_fifo && is_ours) {
                if let Some(busy) = log.busy.get_mut(usize::from(group)) {
                    busy.1 = busy.1.saturating_sub(1);
                }
            }
            let has_failed = match end {
                MessagesEnd::Done { failed } => failed.contains(&place),
                MessagesEnd::Failed | MessagesEnd::NoAttempt => true,
            };
            let is_behind = is_fifo && !flight.strict && broken_groups.contains(&group);
            if has_failed {
                broken_groups.push(group);
            }
            if !is_ours {
                // Somebody else has received it since: the end of this one means nothing, or ends it for both.
                entry.may_go |= !has_failed;
                continue;
            }
            let entry = &mut log.entries[number as usize];
            match entry.state {
                State::Held { .. } if has_failed => entry.failures += u32::from(*end != MessagesEnd::NoAttempt),
                State::Held { until_ns, .. } if is_fifo && until_ns <= now_ns => {
                    (entry.may_go, entry.state) = (true, State::Waiting);
                }
                _ if has_failed => {
                    entry.failures += u32::from(*end != MessagesEnd::NoAttempt);
                    entry.state = State::Waiting;
                }
                _ if is_behind => entry.state = State::Waiting,
                _ => log.is_done(number, now_ns),
            }
        }
    }
}
