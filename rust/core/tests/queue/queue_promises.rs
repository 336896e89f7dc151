//! What must hold of a queue whatever happens: one pair of hands, order in a group, nothing lost, bounded receives.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::queue::protocol::{Handle, Hold, Kind, Outcome, Receive, Settings};
use forebay_core::stream::protocol::Backoff;
use proptest::prelude::*;

use crate::common::cases;
use crate::store::Store;

const MOST_RECEIVES: u32 = 4;

#[derive(Clone, Debug)]
enum Step {
    Send { group: u8, delay: u64 },
    Receive { maximum: u32, hold: Option<u64> },
    Delete { nth: usize, is_old: bool },
    Change { nth: usize, ms: u64 },
    Complete { nth: usize, how: u8, failed: u16 },
    Pass { ms: u64 },
    Jump { ms: i64 },
    Restart,
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    let delay = prop_oneof![4 => Just(0_u64), 1 => 1_u64..500];
    let hold = prop_oneof![Just(None), (0_u64..2000).prop_map(Some)];
    prop_oneof![
        30 => (0_u8..6, delay).prop_map(|(group, delay)| Step::Send { group, delay }),
        20 => (1_u32..=10, hold).prop_map(|(maximum, hold)| Step::Receive { maximum, hold }),
        10 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(nth, is_old)| Step::Delete { nth, is_old }),
        5 => (any::<usize>(), 0_u64..3000).prop_map(|(nth, ms)| Step::Change { nth, ms }),
        20 => (any::<usize>(), 0_u8..6, any::<u16>()).prop_map(|(nth, how, failed)| Step::Complete { nth, how, failed }),
        15 => (1_u64..3000).prop_map(|ms| Step::Pass { ms }),
        2 => (-5000_i64..5000).prop_map(|ms| Step::Jump { ms }),
        2 => Just(Step::Restart),
        1 => Just(Step::Purge),
    ]
}

/// An observer that knows what was handed out and how it ended, and nothing of the machine.
struct Ledger {
    store: Store,
    kind: Kind,
    /// Messages in somebody's hands: receipt, and when the visibility timeout ends (`None`: a handler runs).
    hands: BTreeMap<u64, (u64, Option<u64>)>,
    /// Groups of messages that a running handler deleted, or that were purged under it.
    ghosts: BTreeMap<u64, String>,
    counts: BTreeMap<u64, u32>,
    old: Vec<Handle>,
    sent_at: BTreeMap<u64, u64>,
    from: BTreeMap<u64, u64>,
}

impl Ledger {
    fn new(kind: Kind, retention_ms: u64) -> Self {
        let settings = Settings {
            kind,
            retention_ms,
            maximum_receive_count: Some(MOST_RECEIVES),
            in_flight_max: 30,
            messages_max: 100_000,
        };
        Self {
            store: Store::new(settings),
            kind,
            hands: BTreeMap::new(),
            ghosts: BTreeMap::new(),
            counts: BTreeMap::new(),
            old: Vec::new(),
            sent_at: BTreeMap::new(),
            from: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send { group, delay } => {
                self.sent_at.insert(self.store.sent, self.store.elapsed_ms);
                self.from.insert(self.store.sent, self.store.elapsed_ms + delay);
                self.store.send(&group.to_string(), delay, 0);
            }
            Step::Receive { maximum, hold } => self.receive(maximum, hold),
            Step::Delete { nth, is_old } => self.delete(nth, is_old),
            Step::Change { nth, ms } => self.change(nth, ms),
            Step::Complete { nth, how, failed } => self.complete(nth, how, failed),
            Step::Pass { ms } => self.store.run_until(self.store.elapsed_ms + ms),
            Step::Jump { ms } => self.store.jumped_ms += ms,
            Step::Restart => {
                self.store.restart();
                // Handlers die with the process, others go on; their receipts stay good.
                self.hands.retain(|_, (_, until)| until.is_some());
                self.ghosts.clear();
            }
            Step::Purge => {
                let running = self.hands.iter().filter(|(_, (_, until))| until.is_none());
                let running: Vec<u64> = running.map(|(number, _)| *number).collect();
                for number in running {
                    self.ghosts.insert(number, self.store.messages[&number].group.clone());
                }
                self.store.machine.purge();
                self.store.carry_out();
                self.hands.clear();
            }
        }
        self.store.due();
        self.store.all_arrive();
        let at = self.store.elapsed_ms;
        self.hands.retain(|_, (_, until)| until.is_none_or(|until| until > at));
        self.check();
    }

    fn receive(&mut self, maximum: u32, hold: Option<u64>) {
        let hold = hold.map_or(Hold::WhileRunning, |visibility_ms| Hold::For { visibility_ms });
        let now = self.store.now();
        let received = self.store.machine.receive(&Receive { maximum, hold, attempt: None }, &now);
        let Ok(deliveries) = received else {
            assert_eq!((self.kind, self.hands.len()), (Kind::Standard, 30), "refused below the limit");
            return;
        };
        assert!(deliveries.len() <= maximum as usize && self.hands.len() + deliveries.len() <= 30);
        let before: BTreeSet<String> = self.hands.keys().map(|n| self.store.messages[n].group.clone()).collect();
        let mut together = BTreeSet::new();
        for delivery in &deliveries {
            let Handle { number, receipt } = delivery.handle;
            assert!(!self.hands.contains_key(&number), "message {number} is in two pairs of hands");
            assert!(self.from[&number] <= self.store.elapsed_ms, "message {number} goes out before its delay is over");
            let count = self.counts.entry(number).or_default();
            *count += 1;
            assert!(delivery.receive_count <= MOST_RECEIVES, "message {number} goes out too often");
            assert_eq!(delivery.receive_count, *count, "receive count of message {number}");
            if self.kind == Kind::Fifo {
                let group = &self.store.messages[&number].group;
                assert!(!before.contains(group), "two receives of group {group}");
                assert!(self.ghosts.values().all(|ghost| ghost != group), "group {group} beside a running handler");
                let is_redriven = |n: &u64| self.counts.get(n).is_some_and(|count| *count >= MOST_RECEIVES);
                let mut earlier = self.store.messages.range(..number).filter(|(_, message)| message.group == *group);
                assert!(earlier.all(|(n, _)| together.contains(n) || is_redriven(n)), "{number} before an earlier one");
            }
            together.insert(number);
            let until = match hold {
                Hold::For { visibility_ms } => Some(self.store.elapsed_ms + visibility_ms),
                Hold::WhileRunning => None,
            };
            self.hands.insert(number, (receipt, until));
            self.old.push(delivery.handle);
        }
        self.store.remember(&deliveries, hold);
        self.store.carry_out();
    }

    /// A handle, sometimes one that is long stale.
    fn handle(&self, nth: usize, is_old: bool) -> Option<Handle> {
        if is_old {
            return self.old.get(nth % self.old.len().max(1)).copied();
        }
        let hand = self.hands.iter().nth(nth % self.hands.len().max(1));
        hand.map(|(&number, &(receipt, _))| Handle { number, receipt }).filter(|handle| handle.receipt != 0)
    }

    fn delete(&mut self, nth: usize, is_old: bool) {
        let Some(handle) = self.handle(nth, is_old) else { return };
        let is_held = self.hands.get(&handle.number).is_some_and(|(receipt, _)| *receipt == handle.receipt);
        let was_there = self.store.messages.contains_key(&handle.number);
        let group = self.store.messages.get(&handle.number).map(|message| message.group.clone());
        let done = self.store.machine.delete(handle);
        self.store.carry_out();
        let is_gone = !self.store.messages.contains_key(&handle.number);
        if is_held {
            assert!(done.is_ok() && is_gone, "the holder deletes");
            let (_, until) = self.hands.remove(&handle.number).unwrap();
            if until.is_none() {
                self.ghosts.insert(handle.number, group.unwrap());
            }
        } else if self.hands.contains_key(&handle.number) || self.kind == Kind::Fifo {
            assert!(!was_there || !is_gone, "a stale receipt deletes nothing");
        }
    }

    fn change(&mut self, nth: usize, ms: u64) {
        let Some(handle) = self.handle(nth, false) else { return };
        let now = self.store.now();
        self.store.machine.change_visibility(handle, ms, &now).unwrap();
        self.store.carry_out();
        let at = self.store.elapsed_ms;
        if let Some((_, Some(until))) = self.hands.get_mut(&handle.number) {
            *until = at + ms;
        }
    }

    fn complete(&mut self, nth: usize, how: u8, failed: u16) {
        if self.store.running.is_empty() {
            return;
        }
        let batch = self.store.running.remove(nth % self.store.running.len());
        let handles: Vec<Handle> = batch.iter().map(|delivery| delivery.handle).collect();
        let listed: Vec<u64> = handles.iter().map(|h| h.number).filter(|n| failed & (1 << (n % 16)) != 0).collect();
        let outcome = match how {
            0 => Outcome::Success,
            1 => Outcome::Error,
            2 => Outcome::NotInvoked,
            3 => Outcome::Interrupted,
            _ => Outcome::Failed(listed.clone()),
        };
        let now = self.store.now();
        let backoff = Backoff { base_ms: 100, cap_ms: 1000, jitter: 0.2 };
        let groups: BTreeMap<u64, String> = handles
            .iter()
            .filter_map(|h| Some((h.number, self.store.messages.get(&h.number)?.group.clone())))
            .collect();
        self.store.machine.completed(&handles, &outcome, &backoff, &now);
        self.store.carry_out();
        let mut broken = BTreeSet::new();
        for handle in handles {
            self.ghosts.remove(&handle.number);
            if self.hands.remove(&handle.number).is_none() {
                continue;
            }
            let group = &groups[&handle.number];
            let has_failed = match outcome {
                Outcome::Success => false,
                Outcome::Failed(_) => listed.contains(&handle.number),
                _ => true,
            };
            let is_behind = self.kind == Kind::Fifo && broken.contains(group);
            let count = self.counts[&handle.number];
            let is_counted = has_failed && !matches!(outcome, Outcome::NotInvoked | Outcome::Interrupted);
            if has_failed {
                broken.insert(group.clone());
            }
            let is_there = self.store.messages.contains_key(&handle.number);
            // Past its retention a message may be gone, or still there after the wall clock was set: both are right.
            if self.store.elapsed_ms < self.sent_at[&handle.number] + self.store.settings.retention_ms {
                let stays = (has_failed || is_behind) && !(is_counted && count == MOST_RECEIVES);
                assert_eq!(is_there, stays, "message {} after {outcome:?}", handle.number);
            }
            if is_there && !is_counted {
                *self.counts.get_mut(&handle.number).unwrap() -= 1;
            }
        }
    }

    fn check(&self) {
        let depth = self.store.machine.depth();
        assert_eq!(depth.in_flight, self.hands.len() as u64, "in flight");
        assert_eq!(self.store.machine.len(), self.store.messages.len() as u64, "nothing is lost");
        let oldest = self.store.messages.keys().find(|number| !self.hands.contains_key(number));
        let age = oldest.map_or(0, |number| self.store.elapsed_ms - self.sent_at[number]);
        assert!(age < self.store.settings.retention_ms + 1000, "a message waits since {age} ms");
        let lowest = self.store.messages.keys().next().copied().unwrap_or(self.store.sent);
        assert!(self.store.machine.low() <= lowest, "the low mark passes message {lowest}");
        for seen in self.store.seen.iter().filter(|seen| seen.starts_with("redrive")) {
            assert!(seen.ends_with(&format!("#{MOST_RECEIVES}")), "{seen}");
        }
    }

    /// End everything, and see that nothing stays behind.
    fn drain(&mut self) {
        for _ in 0..1000 {
            while !self.store.running.is_empty() {
                self.complete(0, 0, 0);
            }
            self.store.run_until(self.store.elapsed_ms + 1000);
            let at = self.store.elapsed_ms;
            self.hands.retain(|_, (_, until)| until.is_none_or(|until| until > at));
            self.receive(10, None);
            self.store.all_arrive();
            if self.store.messages.is_empty() {
                break;
            }
        }
        assert!(self.store.machine.is_empty() && self.store.messages.is_empty(), "{:?}", self.store.machine.depth());
        assert_eq!(self.store.machine.next_due(), None, "an empty queue waits for nothing");
    }
}

/// A jump of the wall clock changes what a restart reads, which the table of cases tells: here it is one or the other.
fn live(kind: Kind, steps: &[Step], jumps: bool, retention_ms: u64) {
    let mut ledger = Ledger::new(kind, retention_ms);
    for step in steps {
        let is_other = if jumps { matches!(step, Step::Restart) } else { matches!(step, Step::Jump { .. }) };
        if !is_other {
            ledger.step(step);
        }
    }
    ledger.drain();
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![49 => prop::collection::vec(step(), 1..60), 1 => prop::collection::vec(step(), 100..400)]
}

fn retention() -> impl Strategy<Value = u64> {
    prop_oneof![Just(60_000), Just(1_209_600_000)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(20_000)))]

    #[test]
    fn a_standard_queue_keeps_its_promises(steps in steps(), jumps in any::<bool>(), retention_ms in retention()) {
        live(Kind::Standard, &steps, jumps, retention_ms);
    }

    #[test]
    fn a_fifo_queue_keeps_its_promises(steps in steps(), jumps in any::<bool>(), retention_ms in retention()) {
        live(Kind::Fifo, &steps, jumps, retention_ms);
    }
}
