//! What must hold whatever comes: nothing is lost or ends twice, attempts and what is in flight are bounded, memory too.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::invocation::protocol::{Command, Condition, Key, Life, Outcome, Settings};
use forebay_core::invocation::EventQueue;
use forebay_core::Now;
use proptest::prelude::*;

use crate::cases::defaults;

const WAITING_MAX: usize = 6;
const FOUND_AT_ONCE: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Accept { hops: u32, delay_ms: u64 },
    End { which: usize, outcome: Outcome },
    Pass { ms: u64 },
    SetWall { by_ms: i64 },
    Restart,
    Configure { places: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Success),
        3 => Just(Outcome::Error),
        2 => Just(Outcome::NotInvoked),
        1 => Just(Outcome::Interrupted),
    ];
    prop_oneof![
        6 => (prop_oneof![9 => Just(0u32), 1 => 14..18u32], prop_oneof![3 => Just(0), 1 => 1..400_000u64])
            .prop_map(|(hops, delay_ms)| Step::Accept { hops, delay_ms }),
        8 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::End { which, outcome }),
        4 => prop_oneof![0..5_000u64, 50_000..200_000u64].prop_map(|ms| Step::Pass { ms }),
        1 => (-4_000_000..4_000_000i64).prop_map(|by_ms| Step::SetWall { by_ms }),
        1 => Just(Step::Restart),
        1 => (0..4usize).prop_map(|places| Step::Configure { places }),
    ]
}

/// A store, a function and a clock around a queue.
struct World {
    settings: Settings,
    /// How many may run at once.
    places: usize,
    queue: EventQueue,
    now: Now,
    store: BTreeMap<Key, Life>,
    running: Vec<Key>,
    /// By number: attempts that failed or succeeded.
    reached: BTreeMap<u64, u32>,
    ended: BTreeMap<u64, Condition>,
    accepted: BTreeSet<u64>,
    /// By number: when each is due for its first attempt, mono ns, unless the wall clock was set before a restart, which goes by it.
    due_ns: BTreeMap<u64, u64>,
    was_set: bool,
}

impl World {
    fn new() -> Self {
        let settings = Settings { waiting_max: WAITING_MAX, ..defaults() };
        Self {
            queue: EventQueue::new(settings.clone()),
            settings,
            places: 2,
            now: Now { mono_ns: 0, wall_ms: 1_577_836_800_000, entropy: 0 },
            store: BTreeMap::new(),
            running: Vec::new(),
            reached: BTreeMap::new(),
            ended: BTreeMap::new(),
            accepted: BTreeSet::new(),
            due_ns: BTreeMap::new(),
            was_set: false,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Accept { hops, delay_ms } => {
                let number = self.accepted.len() as u64;
                let key = self.queue.key(number, delay_ms, &self.now);
                let life = Life { accepted_ms: self.now.wall_ms, delay_ms, hops, ..Life::default() };
                self.due_ns.insert(number, self.now.mono_ns + delay_ms * 1_000_000);
                self.accepted.insert(number);
                self.store.insert(key, life);
                self.queue.accepted(key, life, &self.now);
            }
            Step::End { which, outcome } if !self.running.is_empty() => {
                let key = self.running.swap_remove(which % self.running.len());
                if matches!(outcome, Outcome::Success | Outcome::Error) {
                    *self.reached.entry(key.number).or_default() += 1;
                }
                self.queue.completed(key, outcome, &self.now);
            }
            Step::End { .. } => {}
            Step::Pass { ms } => self.pass(ms),
            Step::SetWall { by_ms } => {
                self.now.wall_ms = self.now.wall_ms.saturating_add_signed(by_ms);
                self.was_set = true;
            }
            Step::Restart => {
                if std::mem::take(&mut self.was_set) {
                    self.due_ns.clear();
                }
                self.queue = EventQueue::new(self.settings.clone());
                self.running.drain(..).for_each(|key| self.queue.suspect(key, 1));
            }
            Step::Configure { places } => {
                (self.places, self.settings.is_off) = (places, places == 0);
                self.queue.configure(self.settings.clone());
            }
        }
        self.carry_out();
    }

    fn pass(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.mono_ns += ms * 1_000_000;
    }

    fn carry_out(&mut self) {
        self.queue.due(&self.now);
        loop {
            let Some(command) = self.queue.poll() else {
                if self.running.len() < self.places && self.queue.start(&self.now) {
                    continue;
                }
                break;
            };
            match command {
                Command::Run { key, attempt, .. } => {
                    let life = self.store[&key];
                    assert!(!self.running.contains(&key), "{key:?} runs twice at once");
                    assert!(self.running.len() < self.places, "without a place");
                    assert_eq!(attempt, life.failures + 1);
                    let due_ns = self.due_ns.get(&key.number).copied().unwrap_or(0);
                    assert!(due_ns <= self.now.mono_ns, "{key:?} runs before it is due");
                    self.running.push(key);
                }
                Command::Retry { key, to, life } => {
                    assert_eq!(key.number, to.number);
                    assert!(self.store.remove(&key).is_some());
                    assert_eq!(self.store.insert(to, life), None);
                }
                Command::End { key, condition, .. } => {
                    assert!(self.store.remove(&key).is_some(), "{key:?} is already gone");
                    assert_eq!(self.ended.insert(key.number, condition), None, "{key:?} ends twice");
                }
                Command::Find { after } => {
                    let above = self.store.range((
                        after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded),
                        std::ops::Bound::Unbounded,
                    ));
                    let found: Vec<(Key, Life)> = above.take(FOUND_AT_ONCE).map(|(key, life)| (*key, *life)).collect();
                    self.queue.found(&found, found.len() < FOUND_AT_ONCE, &self.now);
                    self.queue.due(&self.now);
                }
            }
        }
        self.check();
    }

    fn check(&self) {
        let kept: BTreeSet<u64> = self.store.keys().map(|key| key.number).chain(self.ended.keys().copied()).collect();
        assert_eq!(kept, self.accepted, "every event is in the store or has ended");
        assert_eq!(kept.len(), self.store.len() + self.ended.len(), "and never both");
        assert!(self.reached.values().all(|&attempts| attempts <= 1 + self.settings.maximum_retry_attempts));
        assert!(self.queue.waiting().0 <= WAITING_MAX);
        assert_eq!(self.queue.running(), self.running.len());
        assert!(self.queue.next_due(&self.now).is_none_or(|due_ns| due_ns > self.now.mono_ns), "what is due was done");
    }

    /// Let everything succeed, until nothing is left.
    fn drain(&mut self) {
        (self.places, self.settings.is_off) = (2, false);
        self.queue.configure(self.settings.clone());
        self.carry_out();
        for _ in 0..10_000 {
            while !self.running.is_empty() {
                self.take(&Step::End { which: 0, outcome: Outcome::Success });
            }
            let Some(due_ns) = self.queue.next_due(&self.now) else { break };
            self.pass((due_ns - self.now.mono_ns).div_ceil(1_000_000));
            self.carry_out();
        }
        assert!(self.store.is_empty(), "left behind: {:?}", self.store);
        assert_eq!(self.ended.len(), self.accepted.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_lost_and_nothing_runs_more_often_than_it_may(steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new();
        world.carry_out();
        for step in steps {
            world.take(&step);
        }
        world.drain();
    }
}

/// The numbers of 100 events in the order in which they begin, one after the other, while another comes for each that ends. There are 20
/// when the clock is set back by an hour, and the process may start again then.
fn begun_after_a_set_clock(restarts: bool) -> Vec<u64> {
    let mut world = World::new();
    world.places = 1;
    world.carry_out();
    let accept = |world: &mut World| {
        world.take(&Step::Accept { hops: 0, delay_ms: 0 });
        world.take(&Step::Pass { ms: 1 });
    };
    (0..20).for_each(|_| accept(&mut world));
    world.take(&Step::SetWall { by_ms: -3_600_000 });
    if restarts {
        world.take(&Step::Restart);
    }
    let begins = (0..100).map(|_| {
        let begun = world.running[0].number;
        accept(&mut world);
        world.take(&Step::End { which: 0, outcome: Outcome::Success });
        begun
    });
    begins.collect()
}

/// Those that had come before stood in the store behind whatever came after, and while there were more than memory holds none of them
/// had its turn.
#[test]
fn what_came_before_the_clock_was_set_back_has_its_turn_before_what_comes_after() {
    assert_eq!(begun_after_a_set_clock(false), (0..100).collect::<Vec<u64>>());
    let after_restart = begun_after_a_set_clock(true);
    assert!((0..20).all(|old| after_restart[..50].contains(&old)), "{after_restart:?}");
}
