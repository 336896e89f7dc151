//! Four units, three who append to their logs, and fate: owners are followed by others while they go on, and answers are lost.

use std::collections::BTreeMap;

use forebay_engine::store::port::{Store as _, Table};
use forebay_engine::store::streams::{Appended, Streams};
use forebay_simulator::chance::Chance;

use crate::owner::{entry, text, Message, Owner};
use crate::Mistake;

pub(crate) const UNITS: u32 = 4;
const PRODUCERS: u64 = 3;
/// Producers are called by numbers from here on, and units by those below.
const FIRST_PRODUCER: u64 = 1_000;
/// How often what a record leads to is told further.
const HOPS: u64 = 2;
/// More than enough turns to end everything when nothing goes wrong.
const TURNS_MAX: u64 = 20_000;

/// What happened in a life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Messages that were handled for good.
    pub(crate) done: u64,
    /// Entries that a unit has told another.
    pub(crate) told: u64,
    /// Commits and appends without an answer.
    pub(crate) unanswered: u64,
    /// Copies that a cursor dropped.
    pub(crate) copies: u64,
    pub(crate) fenced: u64,
    pub(crate) takes: u64,
    /// Commits of more than nine tenths of what one may hold.
    pub(crate) full: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.done += other.done;
        self.told += other.told;
        self.unanswered += other.unanswered;
        self.copies += other.copies;
        self.fenced += other.fenced;
        self.takes += other.takes;
        self.full += other.full;
    }
}

/// Somebody who appends records: one at a time, and the same again until it is acknowledged.
struct Producer {
    name: u64,
    sent: u64,
    under_way: Option<(u32, Message)>,
    acknowledged: Vec<(u32, u64)>,
}

pub(crate) struct World {
    streams: Streams,
    chance: Chance,
    owners: Vec<Owner>,
    /// Processes that do not know yet that they were followed.
    former: Vec<Owner>,
    producers: Vec<Producer>,
    counts: Counts,
    mistake: Option<Mistake>,
}

impl World {
    pub(crate) fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        let streams = Streams::new(seed);
        let owners = (0..UNITS).map(|unit| Owner::take(&streams, unit, mistake)).collect();
        let producer = |name| Producer { name, sent: 0, under_way: None, acknowledged: Vec::new() };
        let producers = (FIRST_PRODUCER..FIRST_PRODUCER + PRODUCERS).map(producer).collect();
        let chance = Chance::of(seed, "units");
        streams.trouble([3, 10, 1_000][seed as usize % 3]);
        Self { streams, chance, owners, former: Vec::new(), producers, counts: Counts::default(), mistake }
    }

    pub(crate) fn play(&mut self, turns: u64) {
        for _ in 0..turns {
            let unit = self.chance.below(u64::from(UNITS)) as usize;
            match self.chance.below(100) {
                0..25 => self.produce(),
                25..45 => self.owners[unit].handle(&mut self.counts),
                45..65 => self.commit(unit),
                65..90 => {
                    for _ in 0..self.chance.between(1, 6) {
                        self.owners[unit].send(&mut self.chance, &mut self.counts);
                    }
                }
                90..97 => self.act_late(),
                _ => self.take(unit),
            }
        }
    }

    fn produce(&mut self) {
        let burst = if self.chance.below(40) == 0 { 600 } else { self.chance.between(1, 12) };
        let (streams, chance) = (&self.streams, &mut self.chance);
        let producer = &mut self.producers[chance.below(PRODUCERS) as usize];
        let unit = chance.below(u64::from(UNITS)) as u32;
        for _ in 0..burst {
            let Producer { name, sent, .. } = producer;
            let (to, message) = producer.under_way.unwrap_or_else(|| {
                *sent += 1;
                (unit, Message { sender: *name, number: *sent, hops: HOPS * u64::from(chance.below(12) == 0) })
            });
            producer.under_way = Some((to, message));
            if !producer.append(streams) {
                self.counts.unanswered += 1;
                return;
            }
        }
    }

    fn commit(&mut self, unit: usize) {
        if !self.owners[unit].commit(&mut self.counts) {
            self.owners[unit] = Owner::take(&self.streams, unit as u32, self.mistake);
        }
    }

    /// Another process takes a unit; the one before has died, or goes on for a while.
    fn take(&mut self, unit: usize) {
        self.counts.takes += 1;
        let next = Owner::take(&self.streams, unit as u32, self.mistake);
        let former = std::mem::replace(&mut self.owners[unit], next);
        if self.chance.below(2) == 0 {
            self.former.push(former);
        }
    }

    fn act_late(&mut self) {
        if self.former.is_empty() {
            return;
        }
        let at = self.chance.below(self.former.len() as u64) as usize;
        match self.chance.below(4) {
            0 => self.former[at].handle(&mut self.counts),
            1 => {
                if !self.former[at].commit(&mut self.counts) {
                    self.former.swap_remove(at);
                }
            }
            _ => {
                self.former[at].send(&mut self.chance, &mut self.counts);
            }
        }
    }

    /// Nothing goes wrong any more, and all that was begun ends.
    pub(crate) fn drain(&mut self) -> Result<(), String> {
        self.streams.settle();
        self.former.clear();
        for _ in 0..TURNS_MAX {
            let mut is_over = true;
            for producer in self.producers.iter_mut().filter(|producer| producer.under_way.is_some()) {
                producer.append(&self.streams);
            }
            for unit in 0..UNITS as usize {
                self.owners[unit].handle(&mut self.counts);
                self.commit(unit);
                while self.owners[unit].send(&mut self.chance, &mut self.counts) {}
                is_over &= self.owners[unit].is_quiet();
            }
            if is_over {
                return Ok(());
            }
        }
        Err(format!("it does not end: {:?}", self.counts))
    }

    /// Hold what the store has against what was acknowledged and what was told.
    pub(crate) fn check(&self) -> Result<Counts, String> {
        let mut expected: Vec<BTreeMap<String, u32>> = vec![BTreeMap::new(); UNITS as usize];
        let mut expect = |unit: u32, sender: u64, number: u64| {
            expected[unit as usize].insert(Message { sender, number, hops: 0 }.id(), 1);
        };
        for producer in &self.producers {
            producer.acknowledged.iter().for_each(|(unit, number)| expect(*unit, producer.name, *number));
        }
        let mut found = Vec::new();
        for unit in 0..UNITS {
            let mut done = BTreeMap::new();
            let mut last = 0;
            for ((table, key), times) in self.streams.times_set(unit) {
                let key = text(&key);
                match table {
                    Table::Failure => {
                        done.insert(key, times);
                    }
                    Table::Event => {
                        let entry = entry(&key).0;
                        if times > 1 || entry.number == last {
                            return Err(format!("unit {unit}: number {} was given out twice", entry.number));
                        }
                        last = entry.number;
                        entry.to.iter().for_each(|to| expect(*to, u64::from(unit), entry.number));
                    }
                    _ => {}
                }
            }
            let left = self.streams.unit(unit).reader().unwrap().scan(Table::Event, b"", None, 9).unwrap();
            if !left.is_empty() {
                return Err(format!("unit {unit}: entries are left: {left:?}"));
            }
            found.push(done);
        }
        let mut counts = self.counts.clone();
        for (unit, (found, expected)) in found.iter().zip(&expected).enumerate() {
            if let Some(lost) = expected.keys().find(|id| !found.contains_key(*id)) {
                return Err(format!("unit {unit}: {lost} was acknowledged, and is lost"));
            }
            if let Some((id, times)) = found.iter().find(|(id, times)| expected.get(*id) != Some(*times)) {
                return Err(format!(
                    "unit {unit}: {id} was committed {times} times, and was asked for {:?}",
                    expected.get(id)
                ));
            }
            counts.done += found.len() as u64;
        }
        Ok(counts)
    }
}

impl Producer {
    /// Append what is under way. False: it is not known whether that was done.
    fn append(&mut self, streams: &Streams) -> bool {
        let Some((to, message)) = self.under_way else { return true };
        let is_known = matches!(streams.append(to, &message.id(), &message.body()), Appended::At(_));
        if is_known {
            self.under_way = None;
            self.acknowledged.push((to, message.number));
        }
        is_known
    }
}
