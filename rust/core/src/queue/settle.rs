//! Taking messages back: deleted, failed, timed out, used up.

use std::collections::BTreeSet;

use super::machine::{Held, Leaving, Place, QueueMachine, VISIBILITY_MS_MAX};
use super::protocol::{Command, Handle, Outcome, Refusal, Removal};
use super::waiting::{Pulled, Waiting};
use crate::stream::protocol::Backoff;
use crate::Now;

const NS_PER_MS: u64 = 1_000_000;

/// How a message comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    /// It was received and not done: the receive counts, and may have been the last one.
    Counted { at_ms: u64 },
    /// It is not to blame: as if it had not been received.
    Uncounted { at_ms: u64 },
}

/// The numbers of a batch that have failed.
fn failed_of(batch: &[Handle], outcome: &Outcome) -> BTreeSet<u64> {
    if *outcome == Outcome::Success {
        return BTreeSet::new();
    }
    let all: BTreeSet<u64> = batch.iter().map(|handle| handle.number).collect();
    match outcome {
        Outcome::Failed(numbers) if numbers.iter().all(|number| all.contains(number)) => {
            numbers.iter().copied().collect()
        }
        _ => all,
    }
}

impl QueueMachine {
    /// A message is done. What is already gone is not an error; a receipt that is not the last one, or in a FIFO queue not in
    /// force any more, is, and so is one of a message on its way to the dead letters: it may yet come back.
    pub fn delete(&mut self, handle: Handle) -> Result<(), Refusal> {
        if self.leaving.contains_key(&handle.number) {
            return Err(Refusal::StaleReceipt);
        }
        let Some(known) = self.known.get(&handle.number).copied() else { return Ok(()) };
        if known.receipt != handle.receipt || known.receipt == 0 {
            return Err(Refusal::StaleReceipt);
        }
        match known.place {
            Place::Held(held) if held.gone => {}
            Place::Held(held) => self.delete_held(handle.number, held),
            // Its visibility timeout is over, but nobody has received it since: no reason to do it again.
            Place::Waiting { at_ms } => {
                let Waiting::Standard(line) = &mut self.waiting else { return Err(Refusal::StaleReceipt) };
                line.remove(handle.number, at_ms);
                self.forget(handle.number);
                self.removed(handle.number, 1, Removal::Deleted);
            }
        }
        Ok(())
    }

    fn delete_held(&mut self, number: u64, held: Held) {
        self.in_flight -= 1;
        self.removed(number, 1, Removal::Deleted);
        match held.until {
            Some(until) => {
                self.deadlines.remove(&(until, number));
                self.forget(number);
                self.waiting.done(Pulled { number, group: held.group });
            }
            // The handler deletes it itself, and goes on running.
            None => self.set_gone(number, held),
        }
    }

    fn set_gone(&mut self, number: u64, held: Held) {
        self.leave_ages(number);
        if let Some(known) = self.known.get_mut(&number) {
            known.place = Place::Held(Held { gone: true, ..held });
        }
    }

    /// Let a message be visible `visibility_ms` from now, 0..=43,200,000; 0 at once. For one that a handler of ours has in
    /// its hands it says when it comes back if the handler fails, instead of the back-off.
    pub fn change_visibility(&mut self, handle: Handle, visibility_ms: u64, now: &Now) -> Result<(), Refusal> {
        self.due(now);
        let at = self.timeline.at(now);
        let Some(mut held) = self.held(handle) else {
            let waits = self.known.get(&handle.number).is_some_and(|known| known.receipt == handle.receipt);
            return Err(if waits { Refusal::NotInFlight } else { Refusal::StaleReceipt });
        };
        let until = self.timeline.after(visibility_ms, now);
        let is_running = held.until.is_none();
        if !is_running && at + visibility_ms - held.received_at > VISIBILITY_MS_MAX {
            return Err(Refusal::TooLong);
        }
        held.changed = true;
        if is_running {
            held.back_at = Some(until);
        }
        if let Some(known) = self.known.get_mut(&handle.number) {
            known.place = Place::Held(held);
        }
        if !is_running && visibility_ms == 0 {
            self.give_back(handle.number, Back::Counted { at_ms: at }, now);
        } else if !is_running {
            self.hold_until(handle.number, until, now);
        }
        Ok(())
    }

    /// A handler's attempt at a batch ended; `batch` in the order in which it was delivered.
    ///
    /// Messages held `WhileRunning`: what failed comes back after `backoff` (retry = times received), or when the handler
    /// said by `change_visibility`. In a FIFO queue whatever of the same group stands behind it in the batch comes back as
    /// well, whether the handler said so or not; that does not count as a receive, for it was not to blame.
    ///
    /// Messages held `For` a time, which is AWS's own way: what is done is deleted, and everything else waits for the end of
    /// its visibility timeout.
    pub fn completed(&mut self, batch: &[Handle], outcome: &Outcome, backoff: &Backoff, now: &Now) {
        self.due(now);
        let failed = failed_of(batch, outcome);
        let counts = !matches!(outcome, Outcome::NotInvoked | Outcome::Interrupted);
        let mut broken = BTreeSet::new();
        for &handle in batch {
            let Some(known) = self.known.get(&handle.number).filter(|known| known.receipt == handle.receipt) else {
                continue;
            };
            let Place::Held(held) = known.place else { continue };
            let receive_count = known.receive_count;
            let has_failed = failed.contains(&handle.number) && !held.gone;
            if held.until.is_some() {
                if !has_failed {
                    self.delete_held(handle.number, held);
                }
                continue;
            }
            if held.gone {
                self.gone_ends(handle.number, held);
            } else if has_failed {
                broken.extend(held.group);
                let retry = if counts { receive_count } else { 1 };
                let at_ms = match outcome {
                    Outcome::Interrupted => self.timeline.at(now),
                    _ => held.back_at.unwrap_or_else(|| self.retry_at(handle, retry, backoff, now)),
                };
                let back = if counts { Back::Counted { at_ms } } else { Back::Uncounted { at_ms } };
                self.give_back(handle.number, back, now);
            } else if held.group.is_some_and(|group| broken.contains(&group)) {
                let at_ms = self.timeline.at(now);
                self.give_back(handle.number, Back::Uncounted { at_ms }, now);
            } else {
                self.done(handle.number, held);
            }
        }
    }

    /// Messages that were received and that nobody was given: they wait again at once, as if they had not been received,
    /// however they are held.
    pub fn withdrawn(&mut self, batch: &[Handle], now: &Now) {
        self.due(now);
        let at_ms = self.timeline.at(now);
        for &handle in batch {
            let Some(known) = self.known.get(&handle.number).filter(|known| known.receipt == handle.receipt) else {
                continue;
            };
            match known.place {
                Place::Held(held) if held.gone => self.gone_ends(handle.number, held),
                Place::Held(_) => self.give_back(handle.number, Back::Uncounted { at_ms }, now),
                Place::Waiting { .. } => {}
            }
        }
    }

    /// A handler has let go of a message that was deleted or purged meanwhile.
    fn gone_ends(&mut self, number: u64, held: Held) {
        self.known.remove(&number);
        self.waiting.done(Pulled { number, group: held.group });
    }

    fn retry_at(&self, handle: Handle, retry: u32, backoff: &Backoff, now: &Now) -> u64 {
        // Messages that fail at the same moment must not come back at the same moment.
        let delay_ns = backoff.delay_ns(retry, now.entropy.wrapping_add(handle.number));
        self.timeline.after(delay_ns.div_ceil(NS_PER_MS).min(VISIBILITY_MS_MAX), now)
    }

    /// A handler has done a message.
    fn done(&mut self, number: u64, held: Held) {
        self.in_flight -= 1;
        self.forget(number);
        self.waiting.done(Pulled { number, group: held.group });
        self.removed(number, 1, Removal::Deleted);
    }

    /// Nobody has deleted it in time.
    pub(super) fn visibility_is_over(&mut self, number: u64, at: u64) {
        let Some(Place::Held(held)) = self.known.get(&number).map(|known| known.place) else { return };
        self.release(number, held, at, at);
    }

    /// A held message waits again.
    fn give_back(&mut self, number: u64, back: Back, now: &Now) {
        let at = self.timeline.at(now);
        let Some(known) = self.known.get_mut(&number) else { return };
        let Place::Held(held) = known.place else { return };
        let (Back::Counted { at_ms } | Back::Uncounted { at_ms }) = back;
        let is_counted = matches!(back, Back::Counted { .. });
        if !is_counted {
            known.receive_count -= 1;
            (known.alone, known.receipt) = (held.was_alone, held.receipt_before);
            if known.receive_count == 0 {
                known.first_received_ms = 0;
            }
        }
        let has_row = held.until.is_some();
        if !self.release(number, held, at_ms, at) {
            return;
        }
        let Some(known) = self.known.get(&number).copied() else { return };
        if is_counted || has_row || at_ms > at {
            self.write(number, &known, at_ms, now);
        }
    }

    /// Put a held message back into the line, unless it is used up or too old. Whether it is in the line now.
    fn release(&mut self, number: u64, held: Held, at_ms: u64, at: u64) -> bool {
        let pulled = Pulled { number, group: held.group };
        self.in_flight -= 1;
        if let Some(until) = held.until {
            self.deadlines.remove(&(until, number));
        }
        if self.redrive_if_used_up(pulled) {
            return false;
        }
        let Some(known) = self.known.get_mut(&number) else { return false };
        known.place = Place::Waiting { at_ms };
        let known = *known;
        if self.is_expired(number, &known, at) {
            self.forget(number);
            self.waiting.done(pulled);
            self.removed(number, 1, Removal::Expired);
            return false;
        }
        self.enter_early(number, &known);
        self.waiting.back(pulled, at_ms, at);
        true
    }

    /// A message that was to move to the dead letters stands there, or is gone.
    pub fn redriven(&mut self, number: u64) {
        if self.arrived(number).is_some_and(|left| left.sent_at.is_none()) {
            self.ages.remove(number);
        }
    }

    /// A message is no longer on its way to the dead letters, and its group goes on. `None`: it was not.
    pub(super) fn arrived(&mut self, number: u64) -> Option<Leaving> {
        let left = self.leaving.remove(&number)?;
        self.waiting.done(Pulled { number, group: left.group });
        Some(left)
    }

    /// Move a message that has left the line to the dead-letter queue if it was received as often as it may be. Its group waits until
    /// it stands there: a crash may yet bring it back, and a later message would have passed it.
    pub(super) fn redrive_if_used_up(&mut self, pulled: Pulled) -> bool {
        let Some(most) = self.settings.maximum_receive_count else { return false };
        let number = pulled.number;
        let Some(&known) = self.known.get(&number).filter(|known| known.receive_count >= most) else { return false };
        self.known.remove(&number);
        self.leave_early(number, &known);
        self.leaving.insert(number, Leaving { sent_at: known.sent_at, group: pulled.group });
        self.commands.push_back(Command::Redrive { number, receive_count: known.receive_count });
        true
    }
}
