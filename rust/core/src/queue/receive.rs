//! Handing messages out.

use super::attempts;
use super::fifo::GroupId;
use super::machine::{Held, Known, Place, QueueMachine};
use super::protocol::{Command, Delivery, Handle, Hold, Kind, OverLimit, Receive, Row};
use super::waiting::Pulled;
use crate::Now;

impl QueueMachine {
    /// Hand out messages: in a FIFO queue as many as possible of one group, then of the next one.
    ///
    /// A message that has been received as often as it may be is not handed out; a `Redrive` says so. Over the limit of
    /// messages in flight a standard queue refuses and a FIFO queue gives nothing, as on SQS.
    pub fn receive(&mut self, receive: &Receive<'_>, now: &Now) -> Result<Vec<Delivery>, OverLimit> {
        self.due(now);
        if let Some(again) = receive.attempt.and_then(|attempt| self.receive_again(attempt, receive.hold, now)) {
            return Ok(again);
        }
        let in_flight_max = self.settings.in_flight_max;
        let room = u64::from(in_flight_max).saturating_sub(self.in_flight);
        if room == 0 && self.settings.kind == Kind::Standard {
            return Err(OverLimit { in_flight_max });
        }
        let maximum = u64::from(receive.maximum).min(room) as usize;
        let pulled = self.pull(maximum, now);
        let deliveries: Vec<Delivery> = pulled.into_iter().map(|one| self.hand_out(one, receive.hold, now)).collect();
        if let Some(attempt) = receive.attempt.filter(|_| !deliveries.is_empty()) {
            let handles = deliveries.iter().map(|delivery| delivery.handle).collect();
            let until = self.timeline.after(attempts::VALID_MS, now);
            self.attempts.remember(attempt, handles, until, in_flight_max as usize);
        }
        Ok(deliveries)
    }

    /// Hand out one message out of turn, held `WhileRunning`. `None`: somebody has it, or it waits for a delay to end, or, in a
    /// FIFO queue, behind others of its group; or too many are in flight.
    pub fn receive_one(&mut self, number: u64, group: &str, now: &Now) -> Option<Delivery> {
        self.due(now);
        if self.in_flight >= u64::from(self.settings.in_flight_max) {
            return None;
        }
        let since = match self.known.get(&number).map(|known| known.place) {
            None => None,
            Some(Place::Waiting { at_ms }) => Some(at_ms),
            Some(Place::Held(_)) => return None,
        };
        let pulled = self.waiting.take_one(number, group, since, self.timeline.at(now))?;
        Some(self.hand_out(pulled, Hold::WhileRunning, now))
    }

    /// Take messages out of the line that may be handed out together.
    fn pull(&mut self, maximum: usize, now: &Now) -> Vec<Pulled> {
        let at = self.timeline.at(now);
        let mut together: Vec<Pulled> = Vec::new();
        loop {
            let mut pulled = self.waiting.take(maximum - together.len(), at);
            if pulled.is_empty() {
                break;
            }
            self.let_go(&mut pulled, at);
            if together.is_empty() {
                together = pulled;
            } else {
                together.append(&mut pulled);
            }
        }
        // One that was in flight when the process died goes alone; the others wait where they were.
        let is_alone = |one: &Pulled| self.known.get(&one.number).is_some_and(|known| known.alone);
        let cut = match together.iter().position(is_alone) {
            Some(0) => 1,
            Some(index) => index,
            None => together.len(),
        };
        for one in together.drain(cut..).rev() {
            self.put_back(one, at);
        }
        together
    }

    /// What was received as often as it may be moves to the dead letters; what stands behind it in its group goes back.
    fn let_go(&mut self, pulled: &mut Vec<Pulled>, at: u64) {
        let (mut leaving, mut behind) = (None, Vec::new());
        pulled.retain(|&one| {
            if self.redrive_if_used_up(one) {
                leaving = one.group;
                return false;
            }
            let is_behind = leaving.is_some() && one.group == leaving;
            if is_behind {
                behind.push(one);
            }
            !is_behind
        });
        for one in behind.into_iter().rev() {
            self.put_back(one, at);
        }
    }

    /// A message that was pulled and not handed out.
    fn put_back(&mut self, one: Pulled, at: u64) {
        if self.settings.kind == Kind::Standard {
            let known = self.known.entry(one.number).or_insert(Known::untouched(at));
            known.place = Place::Waiting { at_ms: at };
        }
        self.waiting.back(one, at, at);
    }

    fn hand_out(&mut self, pulled: Pulled, hold: Hold, now: &Now) -> Delivery {
        let at = self.timeline.at(now);
        self.receives += 1;
        let until = match hold {
            Hold::For { visibility_ms } => Some(self.timeline.after(visibility_ms, now)),
            Hold::WhileRunning => None,
        };
        let known = self.known.entry(pulled.number).or_insert(Known::untouched(at));
        let held = Held::new(pulled.group, at, until, known);
        known.receive_count += 1;
        let alone = std::mem::take(&mut known.alone);
        if known.first_received_ms == 0 {
            known.first_received_ms = now.wall_ms;
        }
        // Differs from every other receipt of this message, in this run of the process and most likely in all others.
        known.receipt = now.entropy.wrapping_add(self.receives).max(1);
        known.place = Place::Held(held);
        let known = *known;
        self.in_flight += 1;
        if let Some(until) = until {
            self.deadlines.insert((until, pulled.number));
            self.write(pulled.number, &known, until, now);
        }
        Delivery { alone, ..known.delivery(pulled.number) }
    }

    /// The receive with this attempt id, if nobody has touched its messages; their visibility timeout begins anew.
    fn receive_again(&mut self, attempt: &str, hold: Hold, now: &Now) -> Option<Vec<Delivery>> {
        let Hold::For { visibility_ms } = hold else { return None };
        let handles = self.attempts.find(attempt)?.to_vec();
        let untouched = |handle: &Handle| {
            let held = self.held(*handle)?;
            (!held.changed).then_some(())
        };
        handles.iter().map(untouched).collect::<Option<Vec<()>>>()?;
        let until = self.timeline.after(visibility_ms, now);
        let mut deliveries = Vec::with_capacity(handles.len());
        for Handle { number, .. } in handles {
            self.hold_until(number, until, now);
            deliveries.extend(self.known.get(&number).map(|known| known.delivery(number)));
        }
        Some(deliveries)
    }

    /// Move the end of a visibility timeout.
    pub(super) fn hold_until(&mut self, number: u64, until: u64, now: &Now) {
        let Some(known) = self.known.get_mut(&number) else { return };
        let Place::Held(held) = &mut known.place else { return };
        if let Some(before) = held.until.replace(until) {
            self.deadlines.remove(&(before, number));
        }
        self.deadlines.insert((until, number));
        let known = *known;
        self.write(number, &known, until, now);
    }

    /// What is known of a held message, if the receipt is that of its last receive.
    pub(super) fn held(&self, handle: Handle) -> Option<Held> {
        let known = self.known.get(&handle.number).filter(|known| known.receipt == handle.receipt)?;
        match known.place {
            Place::Held(held) if !held.gone => Some(held),
            _ => None,
        }
    }

    /// Have the row of a message written, visible from a moment on.
    pub(super) fn write(&mut self, number: u64, known: &Known, visible_at: u64, now: &Now) {
        let row = Row {
            receive_count: known.receive_count,
            first_received_ms: known.first_received_ms,
            visible_at_ms: self.timeline.wall_ms(visible_at, now),
            receipt: if matches!(known.place, Place::Held(_)) { known.receipt } else { 0 },
            alone: known.alone,
        };
        self.commands.push_back(Command::Set { number, row });
    }
}

impl Held {
    /// Received just now.
    pub(super) fn new(group: Option<GroupId>, received_at: u64, until: Option<u64>, before: &Known) -> Self {
        let (was_alone, receipt_before) = (before.alone, before.receipt);
        Self { group, received_at, until, back_at: None, gone: false, changed: false, was_alone, receipt_before }
    }
}

impl Known {
    pub(super) fn untouched(at_ms: u64) -> Self {
        Self {
            receive_count: 0,
            first_received_ms: 0,
            receipt: 0,
            alone: false,
            sent_at: None,
            place: Place::Waiting { at_ms },
        }
    }

    fn delivery(&self, number: u64) -> Delivery {
        Delivery {
            handle: Handle { number, receipt: self.receipt },
            receive_count: self.receive_count,
            first_received_ms: self.first_received_ms,
            alone: false,
        }
    }
}
