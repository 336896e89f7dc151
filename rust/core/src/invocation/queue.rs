//! The asynchronous events of one function: facts in, commands out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::fate::{self, Fate};
use super::order::Order;
use super::protocol::{Command, Key, Life, Outcome, Settings};
use crate::timeline::Timeline;
use crate::Now;

const NS_PER_MS: u64 = 1_000_000;
/// The store is asked for what is due within this time, and for what lies behind that later: many events may have long delays.
const AHEAD_MS: u64 = 1_000;

/// An event that is held in memory.
#[derive(Clone, Copy, Debug)]
struct Held {
    life: Life,
    /// When it may run, mono ns.
    due_ns: u64,
    /// Its age at a moment, ms, and that moment, mono ns.
    aged: (u64, u64),
    /// When its maximum age is over, mono ns.
    expires_ns: u64,
}

/// A function's events.
///
/// ```text
/// waiting -> running -> gone                  ended, for whatever reason
/// waiting -> gone                             too old, or it must not run
/// running -> waiting, under a later key       failed or not reached
/// ```
///
/// An event with a delay waits from the start, and its age is 0 until it is due.
///
/// Promises: an accepted event ends once; it reaches the function once and `maximum_retry_attempts` times more at most, and
/// never at its maximum age or beyond, however long it waits for a place; no more than `waiting_max` that wait are in memory.
///
/// Times that were written down are wall time; inside one run of the process they are followed on the monotonic clock, so that a
/// jump of the wall clock makes no wait longer or shorter.
#[derive(Debug)]
pub struct EventQueue {
    settings: Settings,
    /// By key, at most `waiting_max`: those with the lowest keys.
    waiting: BTreeMap<Key, Held>,
    /// The same by when they are due, and by when they are too old.
    due: BTreeSet<(u64, Key)>,
    expiring: BTreeSet<(u64, Key)>,
    running: BTreeMap<Key, Held>,
    /// What was in flight when the process died, and how often that happened while it was alone.
    suspects: BTreeMap<Key, u32>,
    /// The store may hold more events than are known here, all above `known_to`.
    more: bool,
    known_to: Option<Key>,
    finding: bool,
    clocks: Clocks,
    order: Order,
    commands: VecDeque<Command>,
}

impl EventQueue {
    /// A queue that knows nothing of what the store holds.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            waiting: BTreeMap::new(),
            due: BTreeSet::new(),
            expiring: BTreeSet::new(),
            running: BTreeMap::new(),
            suspects: BTreeMap::new(),
            more: true,
            known_to: None,
            finding: false,
            clocks: Clocks::default(),
            order: Order::default(),
            commands: VecDeque::new(),
        }
    }

    /// Take other settings. Waits under way stay as they are, ages are held against the new maximum.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
        self.expiring.clear();
        for (key, held) in &mut self.waiting {
            held.expires_ns = expiry_ns(&self.settings, held.aged);
            self.expiring.insert((held.expires_ns, *key));
        }
        for held in self.running.values_mut() {
            held.expires_ns = expiry_ns(&self.settings, held.aged);
        }
    }

    /// The key of an event that is accepted now, to be tried after a delay.
    pub fn key(&mut self, number: u64, delay_ms: u64, now: &Now) -> Key {
        self.order.reach(now.wall_ms, now);
        Key { due_ms: self.order.at(now) + delay_ms, number }
    }

    /// By how much keys are ahead of the wall clock, since that was set back.
    pub fn ahead_ms(&self, now: &Now) -> u64 {
        self.order.at(now) - now.wall_ms
    }

    /// An event that was accepted at `now` has become durable.
    pub fn accepted(&mut self, key: Key, life: Life, now: &Now) {
        self.clocks.follow(key.number, now);
        // The order may have gone on since.
        self.add(key, life, now, (now.wall_ms, life.delay_ms));
    }

    /// What [`Command::Find`] asked for, ascending. `all`: there are no others.
    pub fn found(&mut self, events: &[(Key, Life)], all: bool, now: &Now) {
        self.finding = false;
        let Some((last, _)) = events.last() else {
            self.more &= !all;
            return;
        };
        self.more = !all;
        self.known_to = self.known_to.max(Some(*last));
        for (key, life) in events {
            if !life.was_tried() {
                self.order.reach(key.due_ms.saturating_sub(life.delay_ms), now);
            }
            let wall_ms = self.clocks.wall_ms(key.number, now);
            // What was never tried waits for its delay by the clock that it was accepted by: the order goes forth with every other clock.
            // Nothing waits longer than it ever does.
            let wait_ms = if life.was_tried() {
                key.due_ms.saturating_sub(self.order.at(now)).min(self.settings.longest_wait_ms())
            } else {
                life.born_ms().saturating_sub(wall_ms).min(life.delay_ms)
            };
            self.add(*key, *life, now, (wall_ms, wait_ms));
        }
    }

    /// An event was in flight when the process died. `interruptions`: how often it died while nothing else was.
    pub fn suspect(&mut self, key: Key, interruptions: u32) {
        self.suspects.insert(key, interruptions);
    }

    /// An attempt has ended.
    pub fn completed(&mut self, key: Key, outcome: Outcome, now: &Now) {
        let Some(mut held) = self.running.remove(&key) else { return };
        let left_ns = held.expires_ns.saturating_sub(now.mono_ns);
        match fate::after(&self.settings, &mut held.life, outcome, left_ns) {
            Fate::End(condition) => self.commands.push_back(Command::End { key, life: held.life, condition }),
            Fate::Again => {
                held.due_ns = now.mono_ns;
                self.hold(key, held);
            }
            Fate::Later { delay_ms } => {
                let to = self.key(key.number, delay_ms, now);
                held.due_ns = now.mono_ns + delay_ms * NS_PER_MS;
                self.commands.push_back(Command::Retry { key, to, life: held.life });
                self.hold(to, held);
            }
        }
    }

    /// Give up what is too old or must never run, and ask for more where little is left.
    pub fn due(&mut self, now: &Now) {
        if self.clocks.0.is_empty() {
            self.clocks.follow(0, now);
        }
        while let Some(&(expires_ns, key)) = self.expiring.first() {
            if expires_ns > now.mono_ns {
                break;
            }
            self.begin(key, now);
        }
        if self.settings.is_off {
            // Where nothing may ever run, nothing waits either, but for what was not due yet.
            let is_over = |(due_ns, key): &&(u64, Key)| {
                *due_ns <= now.mono_ns || self.waiting.get(key).is_some_and(|held| held.life.was_tried())
            };
            for (_, key) in self.due.iter().filter(is_over).copied().collect::<Vec<_>>() {
                self.begin(key, now);
            }
        }
        if self.wants_more() && self.unknown_in_ms(now) == 0 {
            self.finding = true;
            self.commands.push_back(Command::Find { after: self.known_to });
        }
    }

    /// Whether an event waits for nothing but a place.
    pub fn is_ready(&self, now: &Now) -> bool {
        self.due.first().is_some_and(|&(due_ns, _)| due_ns <= now.mono_ns)
    }

    /// Run the next event, for which there is a place; false if none is ready. It may end instead, or be a suspect that runs alone.
    pub fn start(&mut self, now: &Now) -> bool {
        let Some(&(_, key)) = self.due.first().filter(|_| self.is_ready(now)) else { return false };
        self.begin(key, now);
        true
    }

    /// The next command.
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When `due` has something to do next, or an event becomes ready, mono ns.
    pub fn next_due(&self, now: &Now) -> Option<u64> {
        let due = self.due.first().map(|(due_ns, _)| *due_ns).filter(|&due_ns| due_ns > now.mono_ns);
        let expires = self.expiring.first().map(|(expires_ns, _)| *expires_ns);
        let find = Some(self.unknown_in_ms(now)).filter(|&ms| ms > 0 && self.wants_more());
        [due, expires, find.map(|ms| now.mono_ns + ms * NS_PER_MS)].into_iter().flatten().min()
    }

    /// Whether there is room in memory for events that only the store knows.
    fn wants_more(&self) -> bool {
        self.more && !self.finding && self.waiting.len() < self.settings.waiting_max.div_ceil(2)
    }

    /// How long it takes until those may be needed, ms.
    fn unknown_in_ms(&self, now: &Now) -> u64 {
        let from = self.known_to.filter(|_| !self.settings.is_off).map_or(0, |key| key.due_ms);
        from.saturating_sub(self.order.at(now) + AHEAD_MS)
    }

    /// Events in flight.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Waiting events in memory, and whether the store may hold others.
    pub fn waiting(&self) -> (usize, bool) {
        (self.waiting.len(), self.more)
    }

    /// Age of the oldest waiting event in memory, ms.
    pub fn oldest_age_ms(&self, now: &Now) -> Option<u64> {
        let (_, oldest) = self.expiring.first()?;
        let (age_ms, at_ns) = self.waiting.get(oldest)?.aged;
        Some(age_ms + now.mono_ns.saturating_sub(at_ns) / NS_PER_MS)
    }

    /// Run an event that waits, or end it.
    fn begin(&mut self, key: Key, now: &Now) {
        let Some(held) = self.let_go(key) else { return };
        let left_ns = held.expires_ns.saturating_sub(now.mono_ns);
        let suspected = self.suspects.remove(&key);
        let interruptions = suspected.unwrap_or(0);
        if let Some(condition) = fate::before(&self.settings, &held.life, interruptions, left_ns) {
            self.commands.push_back(Command::End { key, life: held.life, condition });
            return;
        }
        self.running.insert(key, held);
        let attempt = held.life.failures + 1;
        self.commands.push_back(Command::Run { key, attempt, alone: suspected.is_some(), interruptions });
    }

    /// `wall_ms`: what the wall clock would show if nobody had set it since the event was accepted.
    fn add(&mut self, key: Key, life: Life, now: &Now, (wall_ms, wait_ms): (u64, u64)) {
        let due_ns = now.mono_ns + wait_ms * NS_PER_MS;
        let is_young = wait_ms > 0 && !life.was_tried();
        let aged = if is_young { (0, due_ns) } else { (wall_ms.saturating_sub(life.born_ms()), now.mono_ns) };
        let held = Held { life, due_ns, aged, expires_ns: expiry_ns(&self.settings, aged) };
        self.hold(key, held);
    }

    /// Keep an event in memory, if it is among the first; the others stay in the store until they are.
    fn hold(&mut self, key: Key, held: Held) {
        if self.running.contains_key(&key) || self.waiting.contains_key(&key) {
            return;
        }
        if self.more && Some(key) > self.known_to {
            return;
        }
        self.waiting.insert(key, held);
        self.due.insert((held.due_ns, key));
        self.expiring.insert((held.expires_ns, key));
        if self.waiting.len() > self.settings.waiting_max {
            if let Some((&last, _)) = self.waiting.last_key_value() {
                self.let_go(last);
            }
            self.more = true;
            self.known_to = self.waiting.last_key_value().map(|(key, _)| *key);
        }
    }

    fn let_go(&mut self, key: Key) -> Option<Held> {
        let held = self.waiting.remove(&key)?;
        self.due.remove(&(held.due_ns, key));
        self.expiring.remove(&(held.expires_ns, key));
        Some(held)
    }
}

/// A wall clock that differs by less was not set, ms.
const SET_MS: u64 = 100;
/// Most settings of the clock that are remembered. A clock that is slowly put right counts as set now and then.
const CLOCKS_MAX: usize = 512;

/// The wall clock as it was set when events from a number on were accepted. The first holds for those of earlier processes, too: their age
/// was what the wall clock said when this one began.
#[derive(Debug, Default)]
struct Clocks(VecDeque<(u64, Timeline)>);

impl Clocks {
    /// Events from `number` on are accepted by this clock. One that was accepted before others may become durable after them.
    fn follow(&mut self, number: u64, now: &Now) {
        let at = self.0.partition_point(|(from, _)| *from <= number);
        let before = at.checked_sub(1).and_then(|before| self.0.get(before));
        if before.is_some_and(|(_, clock)| clock.at(now).abs_diff(now.wall_ms) < SET_MS) {
            return;
        }
        self.0.insert(at, (number, Timeline::new(now)));
        if self.0.len() > CLOCKS_MAX {
            self.0.pop_front();
        }
    }

    /// What the clock by which an event was accepted would show now.
    fn wall_ms(&self, number: u64, now: &Now) -> u64 {
        let at = self.0.partition_point(|(from, _)| *from <= number);
        self.0.get(at.saturating_sub(1)).map_or(now.wall_ms, |(_, clock)| clock.at(now))
    }
}

/// When an event is too old, on the monotonic clock. However the wall clock was set meanwhile, it is never further away than the
/// maximum age.
fn expiry_ns(settings: &Settings, (age_ms, at_ns): (u64, u64)) -> u64 {
    at_ns + settings.maximum_event_age_ms.saturating_sub(age_ms) * NS_PER_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_remembered_as_it_was_for_each_event_and_the_oldest_settings_go() {
        let mut clocks = Clocks::default();
        let at = |wall_ms: u64| Now { mono_ns: 5_000_000_000, wall_ms, entropy: 0 };
        let shown = |clocks: &Clocks, number| clocks.wall_ms(number, &at(7));
        assert_eq!(shown(&clocks, 0), 7, "none was set yet");
        // Of two events each, the first comes when the clock is set by 100 ms, the second when it is off by a little less.
        let set_to = |nth: u64| 1_000_000 + nth * SET_MS;
        for nth in 0..CLOCKS_MAX as u64 {
            clocks.follow(10 * nth, &at(set_to(nth)));
            clocks.follow(10 * nth + 1, &at(set_to(nth) + SET_MS - 1));
        }
        for nth in 0..CLOCKS_MAX as u64 {
            assert_eq!([0, 1, 9].map(|more| shown(&clocks, 10 * nth + more)), [set_to(nth); 3], "{nth}");
        }
        clocks.follow(1_000_000, &at(1));
        let first = [0, 10, 20, 1_000_000].map(|number| shown(&clocks, number));
        assert_eq!(first, [set_to(1), set_to(1), set_to(2), 1], "those before have the first that is known");
        assert_eq!(clocks.0.len(), CLOCKS_MAX);
    }
}
