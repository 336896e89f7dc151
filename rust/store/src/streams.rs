//! A second model of the port, in memory, for tests and the simulator: a broker of replicated streams. It promises less than a database.
//!
//! The rows of each unit are a stream, and each log is another. A commit is atomic in the stream of one unit's rows, with at most 1,000
//! messages, one of which is the unit's head; it appends to no log. Anybody appends to any log, under an id that the broker remembers for a
//! while. Whatever is asked may be without an answer: it was carried out, or never will be, or will be later, after it was asked for again.
//! Which of these happens is drawn from a seed, so that every run can be repeated.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Waker;

use crate::image::Image;
use crate::memory::MemoryReader;
use crate::port::at_once::{AtOnce, ReaderAtOnce};
use crate::port::{Done, Outcome, Reader, Store, StoreError, Table, Ticket, Token, Unit, Write};

/// Most messages of an atomic batch.
pub const MESSAGES_MAX: usize = 1_000;
/// For so many calls the broker knows an id again.
const WINDOW: u64 = 200;
/// What comes late comes within so many calls.
const LATE_MAX: u64 = 2 * WINDOW;

/// How an append has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The log has it, from now or from before, at this position.
    At(u64),
    /// Nobody knows: the same must be appended again, before anything that is to stand after it.
    Unknown,
    /// Nothing was written: the broker cannot be reached.
    Unavailable,
}

/// The broker. Clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct Streams(Arc<Mutex<Broker>>);

#[derive(Debug)]
struct Broker {
    random: u64,
    /// One in so many calls goes wrong; 0: none.
    one_in: u64,
    calls: u64,
    stamps: u64,
    units: BTreeMap<u32, Rows>,
    logs: BTreeMap<u32, Log>,
    /// What arrives later, by the call before which it does.
    late: Vec<(u64, Request)>,
}

/// The stream of a unit's rows.
#[derive(Debug, Default)]
struct Rows {
    image: Arc<RwLock<Image>>,
    token: Token,
    /// Tells the last commit from every other.
    stamp: u64,
    /// How often each row was set.
    times: BTreeMap<(Table, Vec<u8>), u32>,
}

#[derive(Debug, Default)]
struct Log {
    bodies: Vec<Vec<u8>>,
    /// By age: the call, the id, and the position.
    ids: VecDeque<(u64, String, u64)>,
}

#[derive(Clone, Debug)]
enum Request {
    Commit { unit: u32, token: Token, stamp: u64, writes: Vec<Write> },
    Append { log: u32, id: String, body: Vec<u8> },
}

/// What becomes of a call.
enum Fate {
    Done,
    Unavailable,
    /// It is carried out or not, and not told.
    Unknown(bool),
    Late(u64),
}

impl Streams {
    /// A broker without streams.
    pub fn new(seed: u64) -> Self {
        let (calls, stamps, one_in) = (0, 0, 0);
        let (units, logs, late) = Default::default();
        Self(Arc::new(Mutex::new(Broker { random: seed, one_in, calls, stamps, units, logs, late })))
    }

    /// Let one in so many calls go wrong from now on.
    pub fn trouble(&self, one_in: u64) {
        self.broker().one_in = one_in;
    }

    /// Let no call go wrong from now on, and what is late arrive.
    pub fn settle(&self) {
        let mut broker = self.broker();
        broker.one_in = 0;
        broker.arrive(u64::MAX);
    }

    /// A unit's rows, as a store that one owner has at a time.
    pub fn unit(&self, unit: u32) -> UnitStore {
        self.broker().units.entry(unit).or_default();
        UnitStore { unit, streams: self.clone(), doubtful: None, failed: None, answers: AtOnce::default() }
    }

    /// Append to a log that belongs to nobody. An id that the broker still knows is not appended again.
    pub fn append(&self, log: u32, id: &str, body: &[u8]) -> Appended {
        let mut broker = self.broker();
        let fate = broker.fate();
        let request = Request::Append { log, id: id.into(), body: body.into() };
        match fate {
            Fate::Unavailable => return Appended::Unavailable,
            Fate::Late(call) => broker.late.push((call, request)),
            Fate::Unknown(false) => {}
            Fate::Unknown(true) => drop(broker.carry_out(request)),
            Fate::Done => return Appended::At(broker.append(log, id.into(), body.into())),
        }
        Appended::Unknown
    }

    /// Messages of a log from a position on.
    pub fn read(&self, log: u32, from: u64, most: usize) -> Vec<Vec<u8>> {
        let broker = self.broker();
        let bodies = broker.logs.get(&log).map_or(&[][..], |log| log.bodies.as_slice());
        bodies.iter().skip(from as usize).take(most).cloned().collect()
    }

    /// How often each row of a unit was set by a commit that was carried out, removed or not.
    pub fn times_set(&self, unit: u32) -> BTreeMap<(Table, Vec<u8>), u32> {
        self.broker().units.get(&unit).map(|rows| rows.times.clone()).unwrap_or_default()
    }

    fn broker(&self) -> MutexGuard<'_, Broker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// A number below `limit`.
    fn draw(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % limit
    }

    /// Count a call, let arrive what is late until then, and draw what becomes of it.
    fn fate(&mut self) -> Fate {
        self.calls += 1;
        self.arrive(self.calls);
        if self.one_in == 0 || self.draw(self.one_in) > 0 {
            return Fate::Done;
        }
        match self.draw(4) {
            0 => Fate::Unavailable,
            1 => Fate::Unknown(true),
            2 => Fate::Unknown(false),
            _ => Fate::Late(self.calls + 1 + self.draw(LATE_MAX)),
        }
    }

    fn arrive(&mut self, call: u64) {
        let (mut due, later): (Vec<_>, Vec<_>) = mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= call);
        self.late = later;
        due.sort_by_key(|(at, _)| *at);
        for (_, request) in due {
            drop(self.carry_out(request));
        }
    }

    /// Nobody hears how that ends.
    fn carry_out(&mut self, request: Request) -> Result<Outcome, StoreError> {
        match request {
            Request::Commit { unit, token, stamp, writes } => self.commit(unit, token, stamp, &writes),
            Request::Append { log, id, body } => {
                self.append(log, id, body);
                Ok(Outcome::Fenced)
            }
        }
    }

    /// The chain: a commit expects the head that the one before it wrote.
    fn commit(&mut self, unit: u32, token: Token, stamp: u64, writes: &[Write]) -> Result<Outcome, StoreError> {
        let rows = self.units.entry(unit).or_default();
        let next = Token { commits: token.commits + 1, ..token };
        if (rows.token, rows.stamp) == (next, stamp) {
            return Outcome::at_once(Ok(next), writes);
        }
        if rows.token != token {
            return Ok(Outcome::Fenced);
        }
        rows.image.write().unwrap_or_else(PoisonError::into_inner).apply(writes);
        for write in writes {
            if let Write::Set { table, key, .. } | Write::Add { table, key, .. } = write {
                *rows.times.entry((*table, key.clone())).or_default() += 1;
            }
        }
        (rows.token, rows.stamp) = (next, stamp);
        Outcome::at_once(Ok(next), writes)
    }

    fn append(&mut self, log: u32, id: String, body: Vec<u8>) -> u64 {
        let (calls, log) = (self.calls, self.logs.entry(log).or_default());
        let forgotten = log.ids.partition_point(|(call, ..)| call + WINDOW < calls);
        log.ids.drain(..forgotten);
        if let Some((.., at)) = log.ids.iter().find(|(_, known, _)| *known == id) {
            return *at;
        }
        let at = log.bodies.len() as u64;
        log.ids.push_back((calls, id, at));
        log.bodies.push(body);
        at
    }
}

/// One process's way to the rows of one unit.
#[derive(Clone, Debug)]
pub struct UnitStore {
    unit: u32,
    streams: Streams,
    /// A commit of which nobody knows whether it was written, and its stamp.
    doubtful: Option<(Token, u64)>,
    failed: Option<StoreError>,
    answers: AtOnce<Done>,
}

impl UnitStore {
    fn try_submit(&mut self, token: Token, writes: &[Write]) -> Result<Outcome, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if writes.iter().any(|write| matches!(write, Write::Append { .. } | Write::Trim { .. })) {
            return Err(StoreError::Failed(
                "a commit is atomic in the stream of its unit's rows, and a log is another".into(),
            ));
        }
        if writes.len() + 1 > MESSAGES_MAX {
            let text = format!("a commit of {} rows and the head has more than {MESSAGES_MAX} messages", writes.len());
            return Err(StoreError::Failed(text));
        }
        let mut broker = self.streams.broker();
        let stamp = match self.doubtful.take() {
            Some((of, stamp)) if of == token => stamp,
            _ => {
                broker.stamps += 1;
                broker.stamps
            }
        };
        let fate = broker.fate();
        let request = Request::Commit { unit: self.unit, token, stamp, writes: writes.to_vec() };
        match fate {
            Fate::Done => return broker.commit(self.unit, token, stamp, writes),
            Fate::Unavailable => {
                self.doubtful = Some((token, stamp));
                return Ok(Outcome::Unavailable(StoreError::Unavailable("as drawn".into())));
            }
            Fate::Unknown(false) => {}
            Fate::Unknown(true) => drop(broker.carry_out(request)),
            Fate::Late(call) => broker.late.push((call, request)),
        }
        self.doubtful = Some((token, stamp));
        Ok(Outcome::Unknown(StoreError::Unknown("as drawn".into())))
    }
}

impl Store for UnitStore {
    fn take(&mut self, _unit: Unit) -> Ticket {
        let mut broker = self.streams.broker();
        let rows = broker.units.entry(self.unit).or_default();
        (rows.token.epoch, rows.stamp) = (rows.token.epoch + 1, 0);
        let token = rows.token;
        drop(broker);
        self.answers.done(Done::Taken(self.failed.clone().map_or(Ok(token), Err)))
    }

    fn submit(&mut self, _unit: Unit, token: Token, writes: &[Write]) -> Ticket {
        let outcome = self.try_submit(token, writes);
        if let Err(error) = &outcome {
            self.failed.get_or_insert_with(|| error.clone());
        }
        self.answers.done(Done::Ended(outcome))
    }

    fn poll(&mut self, _waker: &Waker) -> Option<(Ticket, Done)> {
        self.answers.poll()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        let image = self.streams.broker().units.entry(self.unit).or_default().image.clone();
        Ok(Box::new(ReaderAtOnce::over(MemoryReader::of(image))))
    }

    fn give_back(&mut self) -> Result<bool, StoreError> {
        self.failed.clone().map_or(Ok(false), Err)
    }
}

#[cfg(test)]
mod tests;
