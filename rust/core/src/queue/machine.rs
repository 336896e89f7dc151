//! The state of one queue: facts in, commands out.
//!
//! Who is in the queue, and since when, stands here; `receive` hands out, `settle` takes back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ages::Ages;
use super::attempts::Attempts;
use super::fifo::GroupId;
use super::protocol::{Command, Depth, Kind, Look, Removal, Restored, Row, Sent, Settings};
use super::waiting::{Pulled, Waiting};
use crate::timeline::Timeline;
use crate::Now;

/// Longest visibility timeout, and longest time from a receive on: 12 hours.
pub const VISIBILITY_MS_MAX: u64 = 43_200_000;
/// Longest delay of a message.
pub const DELAY_MS_MAX: u64 = 900_000;
/// A message counts as older than those before it from this difference on.
const OLDER_MS: u64 = 1000;

/// What is known of a message that is not just waiting for its first receive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) receive_count: u32,
    pub(super) first_received_ms: u64,
    /// Of the last receive.
    pub(super) receipt: u64,
    /// To be delivered in a batch of its own.
    pub(super) alone: bool,
    /// When it was sent, where its number says nothing about that.
    pub(super) sent_at: Option<u64>,
    pub(super) place: Place,
}

/// ```text
/// Waiting -> Held     received
/// Held -> Waiting     its visibility timeout is over, or its handler failed
/// Held -> gone        deleted, or moved to the dead-letter queue
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Since then, or until then.
    Waiting {
        at_ms: u64,
    },
    Held(Held),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) group: Option<GroupId>,
    pub(super) received_at: u64,
    /// End of the visibility timeout; none while a handler of ours runs.
    pub(super) until: Option<u64>,
    /// When the handler wants it back if it fails (it changed the visibility).
    pub(super) back_at: Option<u64>,
    /// Deleted or purged while a handler runs: only its group still waits for the handler's end.
    pub(super) gone: bool,
    /// Its visibility was changed since it was received.
    pub(super) changed: bool,
    /// What `Known` said before it was received.
    pub(super) was_alone: bool,
    pub(super) receipt_before: u64,
}

/// A message on its way to the dead letters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    /// What `Known::sent_at` said; without it the message stays among the `ages` until it has arrived.
    pub(super) sent_at: Option<u64>,
    /// Waits for it.
    pub(super) group: Option<GroupId>,
}

/// One queue.
///
/// Promises: a message is in one pair of hands at a time; in a FIFO queue the messages of a group go out in order, and none
/// while an earlier one is in flight; a message leaves by deletion, redrive, retention or purge and by nothing else, and a
/// command says so; nothing waits longer than it was told to.
///
/// Costs: an untouched message of a standard queue none, of a FIFO queue 12 bytes; one that was received or is delayed about
/// 150. Every fact costs O(log n) at most, but for `purge` and what retention removes.
#[derive(Debug)]
pub struct QueueMachine {
    pub(super) settings: Settings,
    pub(super) timeline: Timeline,
    pub(super) waiting: Waiting,
    pub(super) ages: Ages,
    /// (sent, number) of messages that were sent long before others with lower numbers: moved from another queue.
    early: BTreeSet<(u64, u64)>,
    pub(super) known: BTreeMap<u64, Known>,
    /// Visibility timeouts in progress: (end, number).
    pub(super) deadlines: BTreeSet<(u64, u64)>,
    /// On their way to the dead letters: no longer here, but they come back where that cannot be done, as old as they were.
    pub(super) leaving: BTreeMap<u64, Leaving>,
    pub(super) attempts: Attempts,
    pub(super) in_flight: u64,
    pub(super) receives: u64,
    /// After the greatest number.
    end: u64,
    /// What waits below it is too old.
    pub(super) expired_below: u64,
    pub(super) commands: VecDeque<Command>,
}

impl QueueMachine {
    /// An empty queue; `restored` fills it.
    pub fn new(settings: Settings, now: &Now) -> Self {
        Self {
            timeline: Timeline::new(now),
            waiting: Waiting::new(settings.kind),
            settings,
            ages: Ages::default(),
            early: BTreeSet::new(),
            known: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            leaving: BTreeMap::new(),
            attempts: Attempts::default(),
            in_flight: 0,
            receives: 0,
            end: 0,
            expired_below: 0,
            commands: VecDeque::new(),
        }
    }

    /// How many more messages the queue takes. Ask before they are made durable: afterwards `sent` takes them all.
    pub fn room(&self) -> u64 {
        u64::from(self.settings.messages_max).saturating_sub(self.len())
    }

    /// A message has become durable. Numbers ascend.
    pub fn sent(&mut self, sent: &Sent<'_>, now: &Now) {
        self.restored(&Restored { sent: *sent, row: Row::default(), was_running: false }, now);
    }

    /// A message was found in the store, or comes back after a redrive that could not be done. Numbers ascend, but for the
    /// latter.
    pub fn restored(&mut self, restored: &Restored<'_>, now: &Now) {
        let Restored { sent, mut row, was_running } = *restored;
        if was_running {
            row.receive_count += 1;
            row.alone = true;
            self.commands.push_back(Command::Set { number: sent.number, row });
        }
        let at = self.timeline.at(now);
        let left = self.arrived(sent.number);
        let sent_at = left.and_then(|left| left.sent_at).unwrap_or_else(|| self.timeline.past(sent.sent_ms, now));
        let delayed_ms = if sent.delay_ms > 0 { sent.sent_ms + sent.delay_ms } else { 0 };
        let wait_max = if row.visible_at_ms > delayed_ms { VISIBILITY_MS_MAX } else { DELAY_MS_MAX };
        let visible_at = self.timeline.deadline(row.visible_at_ms.max(delayed_ms), wait_max, now);
        self.end = self.end.max(sent.number + 1);
        let is_early = match left {
            Some(left) => left.sent_at.is_some(),
            None => self.settings.kind == Kind::Standard && self.ages.newest_ms() >= sent_at + OLDER_MS,
        };
        if is_early {
            self.early.insert((sent_at, sent.number));
        } else if sent.number < self.expired_below {
            if left.is_some() {
                self.ages.remove(sent.number);
            }
            return self.removed(sent.number, 1, Removal::Expired);
        } else if left.is_none() {
            self.ages.add(sent.number, sent_at);
        }
        let known = Known {
            receive_count: row.receive_count,
            first_received_ms: row.first_received_ms,
            receipt: row.receipt,
            alone: row.alone,
            sent_at: is_early.then_some(sent_at),
            place: Place::Waiting { at_ms: visible_at },
        };
        if row.receipt != 0 && visible_at > at {
            return self.hold_again(&sent, known, visible_at, at);
        }
        let is_untouched = row.receive_count == 0;
        match &mut self.waiting {
            Waiting::Fifo(line) => {
                line.add(sent.number, sent.group, if visible_at > at { visible_at } else { 0 });
                if is_untouched {
                    return;
                }
            }
            Waiting::Standard(line) => {
                if is_untouched && !is_early && visible_at <= at && line.push(sent.number) {
                    return;
                }
                line.wait(sent.number, visible_at, at);
            }
        }
        self.known.insert(sent.number, known);
    }

    /// Somebody outside the process holds it still.
    fn hold_again(&mut self, sent: &Sent<'_>, known: Known, until: u64, at: u64) {
        let group = match &mut self.waiting {
            Waiting::Fifo(line) => Some(line.hold(sent.group)),
            Waiting::Standard(_) => None,
        };
        let held = Held::new(group, at, Some(until), &known);
        self.known.insert(sent.number, Known { place: Place::Held(held), ..known });
        self.deadlines.insert((until, sent.number));
        self.in_flight += 1;
    }

    /// Time has passed.
    pub fn due(&mut self, now: &Now) {
        let at = self.timeline.at(now);
        while let Some((_, number)) = self.deadlines.first().copied().filter(|(until, _)| *until <= at) {
            self.visibility_is_over(number, at);
        }
        self.waiting.due(at);
        self.attempts.due(at);
        self.expire(at);
    }

    /// When `due` must be called next, on the monotonic clock, if no other fact comes before.
    pub fn next_due(&self) -> Option<u64> {
        let retention_ms = self.settings.retention_ms;
        let visible = self.deadlines.first().map(|(until, _)| *until);
        let expires = self.ages.next_end_ms(self.expired_below).map(|sent_at| sent_at + retention_ms);
        let expires_early = self.early.first().map(|(sent_at, _)| sent_at + retention_ms);
        let all = [visible, self.waiting.next_due(), expires, expires_early];
        all.into_iter().flatten().min().map(|at| self.timeline.mono_ns(at))
    }

    /// Change the settings; the kind stays. A shorter retention and a lower receive count apply to messages that are there.
    pub fn configure(&mut self, settings: Settings, now: &Now) {
        self.settings = Settings { kind: self.settings.kind, ..settings };
        self.due(now);
    }

    /// Remove everything, in flight or not. Receipts become stale; a group whose message a handler has in its hands is held
    /// back until it has ended.
    pub fn purge(&mut self) {
        self.waiting.clear();
        self.ages.clear();
        self.early.clear();
        self.deadlines.clear();
        self.in_flight = 0;
        for (number, left) in std::mem::take(&mut self.leaving) {
            self.waiting.done(Pulled { number, group: left.group });
        }
        for (number, mut known) in std::mem::take(&mut self.known) {
            let Place::Held(held) = known.place else { continue };
            if held.until.is_none() {
                known.place = Place::Held(Held { gone: true, ..held });
                known.sent_at = None;
                self.known.insert(number, known);
            } else {
                self.waiting.done(Pulled { number, group: held.group });
            }
        }
        self.commands.push_back(Command::Purge { before: self.end });
    }

    /// The next command, in the order in which they must be carried out.
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Messages by state, as of the last `due`.
    pub fn depth(&self) -> Depth {
        Depth { in_flight: self.in_flight, ..self.waiting.depth() }
    }

    /// Messages in the queue.
    pub fn len(&self) -> u64 {
        let Depth { visible, in_flight, delayed } = self.depth();
        visible + in_flight + delayed
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `receive` would give something.
    pub fn is_ready(&self, now: &Now) -> bool {
        self.waiting.is_ready(self.timeline.at(now)) && self.in_flight < u64::from(self.settings.in_flight_max)
    }

    /// Whether, in a FIFO queue, an earlier message of its group waits.
    pub fn is_behind(&self, number: u64, group: &str) -> bool {
        matches!(&self.waiting, Waiting::Fifo(line) if line.is_behind(number, group))
    }

    /// How a message stands; whoever asks knows that it is in the queue.
    pub fn look(&self, number: u64, now: &Now) -> Look {
        let Some(known) = self.known.get(&number) else { return Look::default() };
        let (held, at_ms) = match known.place {
            Place::Waiting { at_ms } => (None, Some(at_ms)),
            Place::Held(held) => (Some(held), held.until),
        };
        let ahead = at_ms.filter(|at_ms| *at_ms > self.timeline.at(now));
        Look {
            receive_count: known.receive_count,
            first_received_ms: known.first_received_ms,
            is_held: held.is_some(),
            is_running: held.is_some_and(|held| held.until.is_none()),
            visible_at_ms: ahead.map(|at_ms| self.timeline.wall_ms(at_ms, now)),
        }
    }

    /// Age of the oldest message, ms: `ApproximateAgeOfOldestMessage`. May be up to a second too great.
    pub fn oldest_age_ms(&self, now: &Now) -> Option<u64> {
        let early = self.early.first().map(|(sent_at, _)| *sent_at);
        let oldest = [self.ages.oldest_ms(), early].into_iter().flatten().min()?;
        Some(self.timeline.at(now).saturating_sub(oldest))
    }

    /// Every message below this number is gone. Moves on in steps of about a second's messages.
    pub fn low(&self) -> u64 {
        let known = self.known.keys().next().copied();
        [self.ages.oldest_number(), known].into_iter().flatten().min().unwrap_or(self.end)
    }

    /// Remove what waits and is older than the retention. What is in flight goes when it comes back.
    fn expire(&mut self, at: u64) {
        let Some(sent_at) = at.checked_sub(self.settings.retention_ms) else { return };
        while let Some((_, number)) = self.early.first().copied().filter(|(early, _)| *early <= sent_at) {
            let Some(Place::Waiting { at_ms }) = self.known.get(&number).map(|known| known.place) else {
                // In flight: it goes when it comes back.
                self.early.pop_first();
                continue;
            };
            if let Waiting::Standard(line) = &mut self.waiting {
                line.remove(number, at_ms);
            }
            self.forget(number);
            self.removed(number, 1, Removal::Expired);
        }
        let below = self.ages.sent_until(sent_at).min(self.end);
        if below <= self.expired_below {
            return;
        }
        self.expired_below = below;
        if self.ages.any_below(below) {
            self.expire_below(below);
        }
    }

    fn expire_below(&mut self, below: u64) {
        let mut gone = Vec::new();
        match &mut self.waiting {
            Waiting::Fifo(line) => gone = line.expire(below),
            Waiting::Standard(line) => {
                for part in line.expire_fresh(below) {
                    part.clone().for_each(|number| self.ages.remove(number));
                    let (first, count) = (part.start, part.end - part.start);
                    self.commands.push_back(Command::Remove { first, count, reason: Removal::Expired });
                }
                for (&number, known) in self.known.range(..below).filter(|(_, known)| known.sent_at.is_none()) {
                    if let Place::Waiting { at_ms } = known.place {
                        line.remove(number, at_ms);
                        gone.push(number);
                    }
                }
            }
        }
        for number in gone {
            self.forget(number);
            self.removed(number, 1, Removal::Expired);
        }
    }

    /// A message that waited or was held is no more. Its place in the line is already left.
    pub(super) fn forget(&mut self, number: u64) {
        self.leave_ages(number);
        self.known.remove(&number);
    }

    /// It needs no age any more.
    pub(super) fn leave_ages(&mut self, number: u64) {
        match self.known.get(&number).copied() {
            Some(known) if known.sent_at.is_some() => self.leave_early(number, &known),
            _ => self.ages.remove(number),
        }
    }

    /// Retention does not remove it while it is away.
    pub(super) fn leave_early(&mut self, number: u64, known: &Known) {
        if let Some(sent_at) = known.sent_at {
            self.early.remove(&(sent_at, number));
        }
    }

    /// It waits again, and retention may remove it.
    pub(super) fn enter_early(&mut self, number: u64, known: &Known) {
        if let Some(sent_at) = known.sent_at {
            self.early.insert((sent_at, number));
        }
    }

    pub(super) fn removed(&mut self, first: u64, count: u64, reason: Removal) {
        self.commands.push_back(Command::Remove { first, count, reason });
    }

    /// Too old to be given back.
    pub(super) fn is_expired(&self, number: u64, known: &Known, at: u64) -> bool {
        match known.sent_at {
            Some(sent_at) => sent_at + self.settings.retention_ms <= at,
            None => number < self.expired_below,
        }
    }
}
