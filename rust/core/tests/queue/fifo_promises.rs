//! The batcher against a model that is short enough to be read at a glance, over random sequences of operations.
//!
//! Ordinarily 40,000 sequences, a million and a half of operations; `PROPTEST_CASES` says how many else.

use std::collections::BTreeMap;

use forebay_core::queue::fifo::{FifoBatcher, Taken};
use proptest::prelude::*;

use crate::common::cases;

/// What the batcher promises, in lists.
#[derive(Default)]
struct Model {
    /// (number, group, visible from), by number.
    waiting: BTreeMap<u64, (u8, u64)>,
    in_flight: BTreeMap<u64, u8>,
    line: Vec<u8>,
    now: u64,
}

impl Model {
    fn first(&self, group: u8) -> Option<(u64, u64)> {
        self.waiting.iter().find(|(_, (of, _))| *of == group).map(|(number, (_, at))| (*number, *at))
    }

    fn ready(&self, group: u8) -> bool {
        !self.in_flight.values().any(|of| *of == group) && self.first(group).is_some_and(|(_, at)| at <= self.now)
    }

    /// Who is ready stands in the line, in the order in which they became so.
    fn place(&mut self, group: u8) {
        if !self.ready(group) {
            self.line.retain(|of| *of != group);
        } else if !self.line.contains(&group) {
            self.line.push(group);
        }
    }

    fn pass(&mut self, now: u64) {
        let is_over = |(_, (_, at)): &(&u64, &(u8, u64))| *at > self.now && *at <= now;
        let mut ends: Vec<_> = self.waiting.iter().filter(is_over).map(|(n, (group, at))| (*at, *n, *group)).collect();
        ends.sort_unstable();
        for (at, _, group) in ends {
            self.now = at;
            self.place(group);
        }
        self.now = now;
    }

    fn take(&mut self, maximum: usize) -> Vec<u64> {
        let mut taken = Vec::new();
        while taken.len() < maximum && !self.line.is_empty() {
            let group = self.line.remove(0);
            while let Some((number, _)) = self.first(group).filter(|(_, at)| *at <= self.now && taken.len() < maximum) {
                self.waiting.remove(&number);
                self.in_flight.insert(number, group);
                taken.push(number);
            }
        }
        taken
    }

    fn land(&mut self, number: u64, back_at: Option<u64>) {
        let group = self.in_flight.remove(&number).unwrap();
        if let Some(at) = back_at {
            self.waiting.insert(number, (group, at));
        }
        self.place(group);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push {
        group: u8,
        delay: u64,
    },
    Take {
        maximum: usize,
    },
    /// Settle the `nth` batch in flight; the messages whose bit is set failed.
    Settle {
        nth: usize,
        failed: u16,
        delay: u64,
    },
    /// Settle one message of it alone.
    Land {
        nth: usize,
        back: bool,
    },
    Pass {
        ms: u64,
    },
    Expire {
        back: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let delay = prop_oneof![4 => Just(0_u64), 1 => 1_u64..40];
    prop_oneof![
        8 => (0_u8..9, delay.clone()).prop_map(|(group, delay)| Step::Push { group, delay }),
        3 => (1_usize..=10).prop_map(|maximum| Step::Take { maximum }),
        3 => (any::<usize>(), any::<u16>(), delay).prop_map(|(nth, failed, delay)| Step::Settle { nth, failed, delay }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(nth, back)| Step::Land { nth, back }),
        1 => (1_u64..20).prop_map(|ms| Step::Pass { ms }),
        1 => (0_u64..200).prop_map(|back| Step::Expire { back }),
    ]
}

/// The two side by side, and what was taken and not settled.
struct Pair {
    model: Model,
    batcher: FifoBatcher,
    batches: Vec<Vec<Taken>>,
    pushed: u64,
}

impl Pair {
    fn step(&mut self, step: &Step) {
        let at = |model: &Model, delay: u64| if delay == 0 { 0 } else { model.now + delay };
        match *step {
            Step::Push { group, delay } => {
                let visible_at = at(&self.model, delay);
                self.batcher.push(self.pushed, &group.to_string(), visible_at).unwrap();
                self.model.waiting.insert(self.pushed, (group, visible_at));
                self.model.place(group);
                self.pushed += 1;
            }
            Step::Take { maximum } => {
                let taken = self.batcher.take(maximum, self.model.now);
                let numbers: Vec<u64> = taken.iter().map(|message| message.number).collect();
                assert_eq!(numbers, self.model.take(maximum));
                if !taken.is_empty() {
                    self.batches.push(taken);
                }
            }
            Step::Settle { nth, failed, delay } if !self.batches.is_empty() => {
                let batch = self.batches.remove(nth % self.batches.len());
                let has_failed = |number: u64| failed & (1 << (number % 16)) != 0;
                let visible_at = at(&self.model, delay);
                let back = self.batcher.settle(&batch, has_failed, visible_at);
                for (index, message) in batch.iter().enumerate() {
                    let group = self.model.in_flight[&message.number];
                    let mut earlier = batch[..=index].iter().filter(|other| other.group == message.group);
                    let comes_back = earlier.any(|other| has_failed(other.number));
                    assert_eq!(back[index], comes_back, "message {} of group {group}", message.number);
                    self.model.land(message.number, comes_back.then_some(visible_at));
                }
            }
            Step::Land { nth, back } if !self.batches.is_empty() => {
                let index = nth % self.batches.len();
                let batch = &mut self.batches[index];
                let message = batch.remove(nth % batch.len());
                if batch.is_empty() {
                    self.batches.remove(index);
                }
                if back {
                    self.batcher.back(message, 0);
                } else {
                    self.batcher.done(message.group);
                }
                self.model.land(message.number, back.then_some(0));
            }
            Step::Pass { ms } => {
                self.model.pass(self.model.now + ms);
                self.batcher.due(self.model.now);
            }
            Step::Expire { back } => {
                let below = self.pushed.saturating_sub(back);
                let mut gone = self.batcher.expire(below);
                gone.sort_unstable();
                let kept = self.model.waiting.split_off(&below);
                let old = std::mem::replace(&mut self.model.waiting, kept);
                assert_eq!(gone, old.keys().copied().collect::<Vec<_>>());
                let mut groups: Vec<u8> = (0..9).collect();
                groups.sort_by_key(|group| self.model.first(*group));
                for group in groups {
                    self.model.place(group);
                }
            }
            Step::Settle { .. } | Step::Land { .. } => {}
        }
    }

    fn check(&self) {
        let (model, batcher) = (&self.model, &self.batcher);
        let delayed = model.waiting.values().filter(|(_, at)| *at > model.now).count();
        assert_eq!(batcher.delayed(), delayed);
        assert_eq!(batcher.visible(), model.waiting.len() - delayed);
        assert_eq!(batcher.in_flight(), model.in_flight.len());
        assert_eq!(batcher.is_ready(model.now), !model.line.is_empty());
        let groups =
            (0_u8..9).filter(|group| model.first(*group).is_some() || model.in_flight.values().any(|of| of == group));
        assert_eq!(batcher.groups(), groups.count());
        let next = model.waiting.values().map(|(_, at)| *at).filter(|at| *at > model.now).min();
        assert_eq!(batcher.next_due(), next);
    }
}

/// Most mistakes show within a few steps, so many short sequences find more than few long ones; a long one fills every group.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![49 => prop::collection::vec(step(), 1..60), 1 => prop::collection::vec(step(), 400..800)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(40_000)))]

    #[test]
    fn the_batcher_does_what_the_model_does(steps in steps()) {
        let mut pair = Pair {
            model: Model::default(),
            batcher: FifoBatcher::new(10_000),
            batches: Vec::new(),
            pushed: 0,
        };
        for step in &steps {
            pair.step(step);
            pair.check();
        }
    }
}

proptest! {
    #[test]
    fn no_group_waits_longer_than_those_before_it_in_the_line(
        sizes in prop::collection::vec(1_u64..40, 1..40), maximum in 1_usize..=10, refill in any::<bool>(),
    ) {
        let mut batcher = FifoBatcher::new(100_000);
        let mut pushed = 0;
        let mut push = |batcher: &mut FifoBatcher, group: usize| {
            batcher.push(pushed, &group.to_string(), 0).unwrap();
            pushed += 1;
        };
        for (group, size) in sizes.iter().enumerate() {
            (0..*size).for_each(|_| push(&mut batcher, group));
        }
        let mut served = vec![0; sizes.len()];
        for round in 1..=sizes.len() * 4 {
            let batch = batcher.take(maximum, 0);
            for message in &batch {
                let group: usize = batcher.name(message.group).parse().unwrap();
                served[group] = round;
                // A busy sender keeps its group from ever being empty.
                if refill {
                    push(&mut batcher, group);
                }
            }
            batcher.settle(&batch, |number| number % 3 == 0, 0);
            if refill {
                // All are always ready, so each has at most all the others before it.
                prop_assert!(served.iter().all(|at| at + sizes.len() >= round), "round {}: {:?}", round, served);
            }
        }
        if !refill {
            prop_assert!(served.iter().all(|at| *at > 0), "{:?}", served);
        }
    }
}

#[test]
fn a_huge_group_that_is_held_back_hides_no_other() {
    let mut batcher = FifoBatcher::new(2_000_000);
    for number in 0..1_000_000 {
        batcher.push(number, "huge", 0).unwrap();
    }
    let held = batcher.take(10, 0);
    batcher.push(1_000_000, "small", 0).unwrap();
    let next = batcher.take(10, 0);
    assert_eq!(next.iter().map(|message| message.number).collect::<Vec<_>>(), [1_000_000]);
    assert!(batcher.take(10, 0).is_empty());
    batcher.settle(&held, |_| false, 0);
    assert_eq!(batcher.take(3, 0).iter().map(|message| message.number).collect::<Vec<_>>(), [10, 11, 12]);
}

#[test]
fn it_is_full_at_its_bound_and_takes_again_when_something_is_done() {
    let mut batcher = FifoBatcher::new(3);
    for number in 0..3 {
        batcher.push(number, "a", 0).unwrap();
    }
    let batch = batcher.take(1, 0);
    assert_eq!(batcher.push(3, "b", 0).unwrap_err().messages_max, 3);
    batcher.settle(&batch, |_| true, 0);
    assert!(batcher.push(3, "b", 0).is_err(), "what came back still counts");
    let batch = batcher.take(1, 0);
    batcher.done(batch[0].group);
    batcher.push(3, "b", 0).unwrap();
}

#[test]
#[should_panic(expected = "settled twice")]
fn a_message_settled_twice_is_a_mistake_that_shows() {
    let mut batcher = FifoBatcher::new(3);
    batcher.push(0, "a", 0).unwrap();
    batcher.push(1, "a", 0).unwrap();
    let batch = batcher.take(1, 0);
    batcher.done(batch[0].group);
    batcher.done(batch[0].group);
}

#[test]
fn a_message_is_behind_what_waits_before_it_in_its_own_group() {
    let mut line = FifoBatcher::new(10);
    line.push(3, "b", 0).unwrap();
    line.push(5, "a", 0).unwrap();
    assert!(line.is_behind(6, "a") && !line.is_behind(5, "a") && !line.is_behind(4, "a"));
    assert!(!line.is_behind(6, "c"));
    for taken in line.take(10, 0) {
        assert!(!line.is_behind(9, "a"), "what is in flight does not wait");
        if taken.number == 5 {
            line.back(taken, 100);
        }
    }
    assert!(line.is_behind(6, "a"), "what is delayed does");
}
