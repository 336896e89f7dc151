//! The ledger: what was put, what is durable, what was run and what became of it, seen from outside the engine; and the
//! checkers, which compare it with the promises at every step.
//!
//! It trusts four witnesses: the callers (what they put and were answered), the store (each commit that went through), the handlers
//! (what they were handed and how they ended) and the operator (what was asked for). It knows nothing of lanes, machines or timers.

mod attempts;
mod commits;
mod crash;
mod events;
mod failures;
mod given;
mod log;
mod progress;
mod queues;
mod routed;
mod rows;
mod topics;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use forebay_engine::store::port::ShardId;

pub use commits::SLOWEST_COMMIT_NS;
pub use crash::Ending;
pub use given::{replay_name, tick_text, Dues, Gift};
pub use log::{name_of, write_data, Answer};
pub use progress::End;
pub use queues::{body_of, name_of_body, MessagesEnd};
pub use topics::publication_of;

use crate::plan::Fault;
use crate::plan::FAULTS;
use crate::settings::Settings;
use failures::Failure;
use log::{Put, Shard};
use progress::{Flight, Progress};

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// An acknowledged put survives every crash, unchanged; a refused one is never seen.
    DurableAck,
    /// Nothing passes a checkpoint unless it was done, written down as failed, or given up by an operator.
    Conservation,
    /// The records of a key begin in order, and none before the one before it has ended.
    Order,
    /// No two attempts with the same key at once.
    Exclusion,
    /// Nothing that is done runs again, except after a crash what no checkpoint covered.
    Duplicates,
    /// No more attempts than the settings allow.
    Attempts,
    /// When the faults have ended, everything drains, and every question is answered.
    Liveness,
    /// Each failure is written down once, for a good reason, and kept until its destination has confirmed it.
    FailureRecords,
    /// A tumbling window's state counts every record once.
    Windows,
    /// Of two messages with one id within five minutes a FIFO queue takes the first.
    Deduplication,
    /// Nothing begins before its delay is over.
    Waits,
    /// A publication is, by one commit, wherever its subscriptions let it go, and nowhere else.
    Topics,
    /// A schedule fires once for each due time, and a replay gives each event to each target once.
    Buses,
    /// A step of an execution happens once, with everything that it sends.
    Workflows,
    /// Nothing that could run waits for ever while others do.
    Turns,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub promise: Promise,
    /// How.
    pub story: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.story)
    }
}

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records handed to handlers, each time counted.
    pub deliveries: u64,
    /// Batches handed to handlers.
    pub batches: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records refused.
    pub refused: u64,
    /// Records done that a crash made run again.
    pub repeated: u64,
    /// Records written down as failed.
    pub failed: u64,
    /// Failure records confirmed by a destination.
    pub confirmed: u64,
    /// Crashes of the process or the power.
    pub crashes: u64,
    /// Commits that went through.
    pub commits: u64,
    /// Messages that went to another queue.
    pub moved: u64,
    /// Messages that a queue had seen before.
    pub deduplicated: u64,
    /// Messages that grew too old.
    pub expired: u64,
    /// Events that came to their end.
    pub ended: u64,
    /// Publications acknowledged.
    pub published: u64,
    /// Firings of schedules.
    pub fired: u64,
    /// Copies that replays gave.
    pub replayed: u64,
    /// How often each kind of fault has really struck, in the order of [`FAULTS`].
    pub strikes: [u64; FAULTS.len()],
}

impl Counts {
    /// A fault has struck.
    pub fn strikes(&mut self, fault: Fault) {
        self.strikes[fault as usize] += 1;
    }

    /// Add those of another run.
    pub fn add(&mut self, other: &Self) {
        let sums = self.cells().into_iter().zip(other.named());
        sums.for_each(|((_, sum), (_, more))| *sum += more);
        for (sum, more) in self.strikes.iter_mut().zip(other.strikes) {
            *sum += more;
        }
    }

    /// Every count but those of the faults, by its name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let mut copy = *self;
        copy.cells().map(|(name, count)| (name, *count)).into_iter()
    }

    /// How often each kind of fault has struck.
    pub fn faults(&self) -> impl Iterator<Item = (Fault, u64)> {
        FAULTS.into_iter().zip(self.strikes)
    }

    fn cells(&mut self) -> [(&'static str, &mut u64); 16] {
        [
            ("deliveries", &mut self.deliveries),
            ("batches", &mut self.batches),
            ("acknowledged", &mut self.acknowledged),
            ("refused", &mut self.refused),
            ("repeated", &mut self.repeated),
            ("failed", &mut self.failed),
            ("confirmed", &mut self.confirmed),
            ("crashes", &mut self.crashes),
            ("commits", &mut self.commits),
            ("moved", &mut self.moved),
            ("deduplicated", &mut self.deduplicated),
            ("expired", &mut self.expired),
            ("ended", &mut self.ended),
            ("published", &mut self.published),
            ("fired", &mut self.fired),
            ("replayed", &mut self.replayed),
        ]
    }
}

impl fmt::Display for Counts {
    /// One line, and one more with the faults.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = self.deliveries as f64 / self.batches.max(1) as f64;
        for (name, count) in self.named() {
            write!(f, "{name} {count}, ")?;
        }
        write!(f, "mean batch {mean:.1}\nfaults:")?;
        self.faults().try_for_each(|(fault, count)| write!(f, " {fault} {count}"))
    }
}

/// The moment of a fact.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Virtual time since the run began, ns.
    pub time_ns: u64,
    /// What the wall clock shows, ms.
    pub wall_ms: u64,
}

/// A mapping as the ledger knows it.
#[derive(Debug)]
struct Mapping {
    stream: String,
    function: String,
    settings: Settings,
    /// Settings were changed since the last start, so that counts of attempts are only bounds.
    changed: bool,
    progress: BTreeMap<ShardId, Progress>,
    /// An operator gave a batch up since the last crash.
    skips: bool,
    /// An operator had failures run again.
    redrives: bool,
    /// Keys of what is run again just now, by the row of the failure.
    redriving: BTreeMap<Vec<u8>, BTreeSet<u16>>,
    /// It was told to go; its rows may still be there.
    deleted: bool,
    /// Its row was seen in a commit.
    is_durable: bool,
}

/// A mapping that was asked for and whose row was not seen yet.
#[derive(Clone, Debug)]
struct Declared {
    settings: Settings,
    /// Other settings were asked for before.
    changed: bool,
    starts: BTreeMap<ShardId, u64>,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What was seen.
    pub counts: Counts,
    now: Moment,
    /// When this life of the process began.
    born: Moment,
    violation: Option<Violation>,
    puts: Vec<Put>,
    /// Puts that nobody has answered.
    unanswered: usize,
    /// Shards of each stream, in the order of their indices.
    streams: BTreeMap<String, Vec<ShardId>>,
    shards: BTreeMap<ShardId, Shard>,
    mappings: BTreeMap<u64, Mapping>,
    declared: BTreeMap<(String, String), Declared>,
    /// Mappings that were deleted.
    graveyard: BTreeMap<u64, Mapping>,
    /// By token without its generation.
    flights: Vec<Option<Flight>>,
    flying: usize,
    failures: BTreeMap<Vec<u8>, Failure>,
    queues: queues::Queues,
    events: events::Events,
    topics: topics::Topics,
    given: given::Given,
    routed: routed::Routed,
    /// A broken disk, a full one or a crash: progress may be saved late.
    pub disk_is_ill: bool,
    /// Print every fact.
    tells: bool,
}

impl Ledger {
    /// An empty ledger. `tells`: it prints every fact.
    pub fn new(tells: bool) -> Self {
        Self { tells, ..Self::default() }
    }

    /// The first promise that was broken.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Records, messages, events and publications that nobody has answered for.
    pub fn unanswered(&self) -> usize {
        self.unanswered
            + self.queues.unanswered
            + self.events.unanswered
            + self.topics.unanswered
            + self.given.unanswered
    }

    /// The clocks have moved.
    pub fn tell_time(&mut self, now: Moment) {
        self.now = now;
    }

    /// A process begins.
    pub fn begins_life(&mut self, now: Moment) {
        (self.now, self.born) = (now, now);
    }

    /// Somebody else has seen a promise broken.
    pub fn report(&mut self, promise: Promise, story: String) {
        self.broken(promise, story);
    }

    /// Something that is worth a line when every fact is printed.
    pub fn note(&self, fact: impl FnOnce() -> String) {
        self.tell(fact);
    }

    fn tell(&self, fact: impl FnOnce() -> String) {
        if self.tells {
            println!("{:>12.6} {}", self.now.time_ns as f64 / 1e9, fact());
        }
    }

    fn broken(&mut self, promise: Promise, story: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation { promise, story: story.into() });
        }
    }

    /// A mapping is about to be declared. What it begins with is known when it is new.
    pub fn declares(&mut self, stream: &str, function: &str, settings: &Settings) {
        self.tell(|| format!("declares {function} on {stream}: {settings:?}"));
        if let Some(mapping) = self.mapping_of(stream, function) {
            mapping.configure(settings);
            return;
        }
        let starts = self.starts(stream, settings.start);
        let fresh = Declared { settings: settings.clone(), changed: false, starts };
        let declared = self.declared.entry((stream.into(), function.into())).or_insert(fresh);
        declared.changed |= declared.settings != *settings;
        declared.settings = settings.clone();
    }

    /// A mapping's settings are about to change.
    pub fn configures(&mut self, stream: &str, function: &str, settings: &Settings) {
        self.declares(stream, function, settings);
    }

    /// An operator gives batches of a mapping up.
    pub fn skips(&mut self, stream: &str, function: &str) {
        if let Some(mapping) = self.mapping_of(stream, function) {
            mapping.skips = true;
        }
    }

    /// An operator has the failures of a mapping run again.
    pub fn redrives(&mut self, stream: &str, function: &str) {
        if let Some(mapping) = self.mapping_of(stream, function) {
            mapping.redrives = true;
        }
    }

    /// A mapping is about to be deleted. What it has in flight ends without a meaning.
    pub fn deletes(&mut self, stream: &str, function: &str) {
        self.tell(|| format!("deletes {function} on {stream}"));
        let Some(id) = self.id_of(stream, function) else { return };
        if let Some(mapping) = self.mappings.get_mut(&id) {
            mapping.deleted = true;
        }
        self.disown(id, None);
    }

    /// What is in flight of a mapping (on one shard) has no meaning any more.
    fn disown(&mut self, mapping: u64, shard: Option<ShardId>) {
        for flight in self.flights.iter_mut().flatten() {
            if flight.mapping == mapping && shard.is_none_or(|shard| shard == flight.shard) {
                flight.disowned = true;
            }
        }
    }

    fn id_of(&self, stream: &str, function: &str) -> Option<u64> {
        let is_it = |mapping: &Mapping| !mapping.deleted && mapping.stream == stream && mapping.function == function;
        self.mappings.iter().find(|(_, mapping)| is_it(mapping)).map(|(&id, _)| id)
    }

    fn mapping_of(&mut self, stream: &str, function: &str) -> Option<&mut Mapping> {
        let id = self.id_of(stream, function)?;
        self.mappings.get_mut(&id)
    }
}

impl Mapping {
    fn new(stream: &str, function: &str, declared: Declared) -> Self {
        let progress = declared.starts.into_iter().map(|(shard, start)| (shard, Progress::starting_at(start)));
        Self {
            stream: stream.into(),
            function: function.into(),
            settings: declared.settings,
            changed: declared.changed,
            progress: progress.collect(),
            skips: false,
            redrives: false,
            redriving: BTreeMap::new(),
            deleted: false,
            is_durable: false,
        }
    }

    fn configure(&mut self, settings: &Settings) {
        if self.settings == *settings {
            return;
        }
        self.settings = settings.clone();
        self.changed = true;
        for progress in self.progress.values_mut() {
            progress.forget_attempts();
        }
    }
}
