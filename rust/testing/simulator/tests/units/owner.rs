//! One process that owns a unit, or believes so: it reads the unit's log, does what it is told there, and tells other units.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::outbox::{fitting, Command, Cursors, Entry, Outbox, Sent};
use forebay_engine::store::port::{BlockingStore as _, Outcome, Store as _, Table, Token, Unit, Write};
use forebay_engine::store::streams::{Appended, Streams, UnitStore, MESSAGES_MAX};
use forebay_simulator::chance::Chance;

use crate::world::{Counts, UNITS};
use crate::Mistake;

/// Most entries of an outbox.
const ENTRIES_MAX: usize = 40;
/// Most messages that are read at once.
const READ_MAX: usize = 500;
/// Rows that are in each commit: the position in the log, and the last number.
const FIXED: usize = 2;

/// A message of a log: who has sent it, under which number, and how often what it leads to is told further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) sender: u64,
    pub(crate) number: u64,
    pub(crate) hops: u64,
}

impl Message {
    pub(crate) fn id(&self) -> String {
        format!("{}-{}", self.sender, self.number)
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        format!("{} {} {}", self.sender, self.number, self.hops).into_bytes()
    }

    fn read(body: &[u8]) -> Self {
        let numbers: Vec<_> = text(body).split(' ').map(|word| word.parse().unwrap()).collect();
        let [sender, number, hops] = numbers[..] else { panic!("{body:?}") };
        Self { sender, number, hops }
    }

    /// Whom a unit tells of it. The next owner's handlers may decide otherwise.
    fn targets(&self, unit: u32, epoch: u64) -> BTreeSet<u32> {
        let mut chance = Chance::of(self.sender << 32 | self.number, &format!("targets of {unit} in {epoch}"));
        let count = if self.hops == 0 { 0 } else { chance.below(4) };
        (0..count).map(|_| chance.below(u64::from(UNITS)) as u32).collect()
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The key of an entry's row says all of it.
fn entry_key(number: u64, hops: u64, to: &BTreeSet<u32>) -> String {
    let to: Vec<_> = to.iter().map(ToString::to_string).collect();
    format!("{number:020} {hops} {}", to.join(","))
}

/// What such a key says: the entry, and how often it is told further.
pub(crate) fn entry(key: &str) -> (Entry, u64) {
    let mut words = key.split(' ');
    let mut word = || words.next().unwrap();
    let (number, hops) = (word().parse().unwrap(), word().parse().unwrap());
    let to = word().split(',').filter(|unit| !unit.is_empty()).map(|unit| unit.parse().unwrap()).collect();
    (Entry { number, to }, hops)
}

fn set(table: Table, key: &str, value: u64) -> Write {
    Write::Set { table, key: key.into(), value: value.to_be_bytes().into() }
}

/// A commit that is under way.
struct UnderWay {
    writes: Vec<Write>,
    last: u64,
    removed: Vec<u64>,
}

pub(crate) struct Owner {
    pub(crate) unit: u32,
    streams: Streams,
    store: UnitStore,
    token: Token,
    /// The next position of its log.
    at: u64,
    cursors: Cursors,
    outbox: Outbox,
    /// By number: the entries of which rows are there, or will be.
    entries: BTreeMap<u64, (Entry, u64)>,
    sends: Vec<(u64, u32)>,
    /// What the next commit writes and removes.
    writes: Vec<Write>,
    removed: Vec<u64>,
    under_way: Option<UnderWay>,
    mistake: Option<Mistake>,
}

impl Owner {
    /// Take a unit, and find what its former owner left.
    pub(crate) fn take(streams: &Streams, unit: u32, mistake: Option<Mistake>) -> Self {
        let mut store = streams.unit(unit);
        let token = store.take_now(Unit::All).unwrap();
        let mut reader = store.reader().unwrap();
        let number = |value: Vec<u8>| u64::from_be_bytes(value.try_into().unwrap());
        let mut marks = |key: &[u8]| reader.get(Table::Meta, key).unwrap().map_or(0, number);
        let (at, last) = (marks(b"at"), marks(b"last"));
        let mut rows = |table| {
            let rows = reader.scan(table, b"", None, usize::MAX).unwrap().into_iter();
            rows.map(|(key, value)| (text(&key), number(value))).collect::<Vec<_>>()
        };
        let cursors = rows(Table::Checkpoint).into_iter().map(|(key, value)| (key.parse().unwrap(), value)).collect();
        let entries: BTreeMap<_, _> =
            rows(Table::Event).iter().map(|(key, _)| entry(key)).map(|found| (found.0.number, found)).collect();
        let last = if mistake == Some(Mistake::NumbersAnew) { 0 } else { last };
        let known: Vec<_> = entries.values().map(|(entry, _)| entry.clone()).collect();
        let (outbox, commands) = Outbox::restored(last, ENTRIES_MAX, known);
        let (streams, sends, writes, removed) = (streams.clone(), Vec::new(), Vec::new(), Vec::new());
        let under_way = None;
        let mut owner = Self {
            unit,
            streams,
            store,
            token,
            at,
            cursors,
            outbox,
            entries,
            sends,
            writes,
            removed,
            under_way,
            mistake,
        };
        owner.obey(commands);
        owner
    }

    fn obey(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Send { number, to } => {
                    self.sends.push((number, to));
                    if self.mistake == Some(Mistake::RemovedEarly) {
                        self.remove(number);
                    }
                }
                Command::Remove { number } => self.remove(number),
            }
        }
    }

    fn remove(&mut self, number: u64) {
        let Some((entry, hops)) = self.entries.get(&number) else { return };
        let key = entry_key(number, *hops, &entry.to);
        self.writes.push(Write::Remove { table: Table::Event, key: key.into() });
        self.removed.push(number);
    }

    /// Do what the log says, as much as the next commit can hold.
    pub(crate) fn handle(&mut self, counts: &mut Counts) {
        let room = (MESSAGES_MAX - 1 - FIXED).saturating_sub(self.writes.len());
        let read = self.streams.read(self.unit, self.at, READ_MAX.min(room));
        let messages: Vec<_> = read.iter().map(|body| Message::read(body)).collect();
        let epoch = self.token.epoch;
        let pieces = messages.iter().map(|message| 2 + usize::from(!message.targets(self.unit, epoch).is_empty()));
        let fit = fitting(pieces, room).unwrap_or(0);
        for message in &messages[..fit] {
            let to = message.targets(self.unit, epoch);
            if !to.is_empty() && self.outbox.room() == 0 {
                return;
            }
            self.at += 1;
            let is_new = self.cursors.take(message.sender, message.number);
            if !is_new && self.mistake != Some(Mistake::NoCursor) {
                counts.copies += 1;
                continue;
            }
            self.writes.push(set(Table::Failure, &message.id(), 0));
            if self.mistake != Some(Mistake::CursorForgotten) {
                self.writes.push(set(Table::Checkpoint, &message.sender.to_string(), message.number));
            }
            if !to.is_empty() {
                let number = self.outbox.tell(to.clone()).unwrap();
                self.writes.push(set(Table::Event, &entry_key(number, message.hops - 1, &to), 0));
                self.entries.insert(number, (Entry { number, to }, message.hops - 1));
                if self.mistake == Some(Mistake::SentEarly) {
                    let commands = self.outbox.committed(number);
                    self.obey(commands);
                }
            }
        }
    }

    /// Commit what was done, or the same again. False: another owns the unit.
    pub(crate) fn commit(&mut self, counts: &mut Counts) -> bool {
        if self.under_way.is_none() {
            let fits = MESSAGES_MAX - 1 - FIXED;
            // Removals alone may be more than a commit holds.
            let mut writes: Vec<_> = self.writes.drain(..self.writes.len().min(fits)).collect();
            let removed = std::mem::take(&mut self.removed);
            writes.push(set(Table::Meta, "at", self.at));
            writes.push(set(Table::Meta, "last", self.outbox.last()));
            self.under_way = Some(UnderWay { writes, last: self.outbox.last(), removed });
        }
        let Some(commit) = &self.under_way else { return true };
        counts.full += u64::from(commit.writes.len() > MESSAGES_MAX * 9 / 10);
        match self.store.submit_now(Unit::All, self.token, &commit.writes).unwrap() {
            Outcome::Committed { token, .. } => {
                self.token = token;
                let UnderWay { last, removed, .. } = self.under_way.take().unwrap();
                for number in removed {
                    self.outbox.removed(number);
                    self.entries.remove(&number);
                }
                let commands = self.outbox.committed(last);
                self.obey(commands);
            }
            Outcome::Unknown(_) | Outcome::Unavailable(_) => counts.unanswered += 1,
            Outcome::Fenced => {
                counts.fenced += 1;
                return false;
            }
            Outcome::Busy(error) => panic!("{error}"),
        }
        true
    }

    /// Send one entry. False: there is none.
    pub(crate) fn send(&mut self, chance: &mut Chance, counts: &mut Counts) -> bool {
        if self.sends.is_empty() {
            return false;
        }
        let (number, to) = self.sends.swap_remove(chance.below(self.sends.len() as u64) as usize);
        if self.mistake == Some(Mistake::TwoUnderWay) {
            let is_for = |(_, (entry, _)): &(&u64, &(Entry, u64))| entry.to.contains(&to);
            let later = self.entries.iter().rev().find(is_for).map(|(number, _)| *number);
            if let Some(later) = later {
                self.append(later, to);
            }
        }
        match self.append(number, to) {
            Appended::At(_) => {
                counts.told += 1;
                let commands = self.outbox.sent(number, to, Sent::Acknowledged);
                self.obey(commands);
            }
            Appended::Unknown => {
                counts.unanswered += 1;
                let commands = self.outbox.sent(number, to, Sent::Unknown);
                self.sends.extend(commands.iter().filter_map(|command| match command {
                    Command::Send { number, to } => Some((*number, *to)),
                    Command::Remove { .. } => None,
                }));
            }
            Appended::Unavailable => self.sends.push((number, to)),
        }
        true
    }

    fn append(&self, number: u64, to: u32) -> Appended {
        // Of one whose row was removed early nothing is left to say.
        let hops = self.entries.get(&number).map_or(0, |(_, hops)| *hops);
        let message = Message { sender: u64::from(self.unit), number, hops };
        self.streams.append(to, &message.id(), &message.body())
    }

    /// Nothing is left to be done.
    pub(crate) fn is_quiet(&self) -> bool {
        let has_read = self.streams.read(self.unit, self.at, 1).is_empty();
        has_read && self.sends.is_empty() && self.writes.is_empty() && self.under_way.is_none()
    }
}
