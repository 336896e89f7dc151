//! What a run is made of, drawn from its seed: streams, mappings, handlers, and which misfortunes may strike.

use std::collections::BTreeSet;
use std::fmt;

use forebay_engine::limits::FunctionLimits;

use crate::chance::Chance;
use crate::settings::Settings;

/// A kind of misfortune, or something an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process is killed.
    Kill,
    /// The power goes.
    Power,
    /// The app is stopped in order and started again.
    Stop,
    /// The disk is full for a while.
    Full,
    /// A write fails: the store takes no more until a restart.
    Broken,
    /// Somebody sets the wall clock.
    Clock,
    /// A stream gets another number of shards.
    Reshard,
    /// Settings of a mapping or the timeout of a function change.
    Settings,
    /// A mapping is paused, and goes on later.
    Pause,
    /// A mapping goes on elsewhere.
    Seek,
    /// Batches that are stuck are given up.
    Skip,
    /// A mapping is deleted and declared again.
    Delete,
    /// Records grow too old or too many.
    Retention,
    /// Failures are run again.
    Redrive,
    /// Handlers raise.
    Error,
    /// Handlers run past their timeout, and on.
    Timeout,
    /// Batches do not reach the function, or are cut short.
    NoAttempt,
    /// Handlers report single failures.
    Report,
    /// Some records always fail.
    Poison,
    /// Some records kill the process.
    Killer,
    /// Destinations are slow, fail, or are down.
    Destination,
}

/// All of them.
pub const FAULTS: [Fault; 21] = [
    Fault::Kill,
    Fault::Power,
    Fault::Stop,
    Fault::Full,
    Fault::Broken,
    Fault::Clock,
    Fault::Reshard,
    Fault::Settings,
    Fault::Pause,
    Fault::Seek,
    Fault::Skip,
    Fault::Delete,
    Fault::Retention,
    Fault::Redrive,
    Fault::Error,
    Fault::Timeout,
    Fault::NoAttempt,
    Fault::Report,
    Fault::Poison,
    Fault::Killer,
    Fault::Destination,
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

impl Fault {
    /// The fault of a name as it is printed.
    pub fn named(name: &str) -> Option<Self> {
        FAULTS.into_iter().find(|fault| fault.to_string() == name)
    }
}

/// A bug that the simulator itself commits between the engine and the ledger, to show that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The disk loses acknowledged commits in a power cut.
    LostAck,
    /// Two records of a key change places on their way to the handler.
    SwappedOrder,
    /// A batch is handed to two handlers.
    DoubleFlight,
    /// Failure records are not written down.
    SilentDrop,
    /// A failed attempt is told to the engine as none.
    UnboundedRetry,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Everything is drawn from it.
    pub seed: u64,
    /// How much happens before the faults end.
    pub steps: u64,
    /// What does not happen although the seed says so.
    pub without: BTreeSet<Fault>,
    /// For the tests of the checkers.
    pub sabotage: Option<Sabotage>,
    /// Print every fact.
    pub tells: bool,
}

/// Steps of a run.
const STEPS: u64 = 6_000;

impl Plan {
    /// The run of a seed.
    pub fn of(seed: u64) -> Self {
        Self { seed, steps: STEPS, without: BTreeSet::new(), sabotage: None, tells: false }
    }

    /// What happens in this run: every seed has its own selection, so that each fault is also met alone and in peace.
    pub fn faults(&self) -> BTreeSet<Fault> {
        let mut chance = Chance::of(self.seed, "faults");
        let share = *chance.pick(&[0, 1, 3, 6, 10]);
        let drawn: Vec<Fault> = FAULTS.into_iter().filter(|_| chance.below(10) < share).collect();
        drawn.into_iter().filter(|fault| !self.without.contains(fault)).collect()
    }
}

impl fmt::Display for Plan {
    /// The command that runs it again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cargo run --release -p forebay-simulator -- --seed {}", self.seed)?;
        if self.steps != STEPS {
            write!(f, " --steps {}", self.steps)?;
        }
        if !self.without.is_empty() {
            let names: Vec<String> = self.without.iter().map(Fault::to_string).collect();
            write!(f, " --without {}", names.join(","))?;
        }
        Ok(())
    }
}

/// A stream of the run.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// Its name.
    pub name: String,
    /// Shards at the beginning.
    pub shards: u64,
    /// How many keys there are.
    pub keys: u64,
    /// Most records of a put.
    pub put_most: u64,
    /// Mean time between puts, µs.
    pub pause_us: u64,
    /// Most filling bytes of a record.
    pub filling: u64,
    /// Age of records, ms.
    pub retention_ms: u64,
    /// Size of the stream.
    pub retention_bytes: Option<u64>,
}

/// A function with its mapping.
#[derive(Clone, Debug)]
pub struct FunctionPlan {
    /// Its name.
    pub name: String,
    /// Index of the stream that it reads.
    pub stream: usize,
    /// How long an attempt may take, ms.
    pub timeout_ms: u64,
    /// Usual time of an attempt, µs; some take ten times as long.
    pub takes_us: u64,
    /// Of 1,000 attempts so many go wrong in each of the ways that may happen.
    pub wrong: u64,
    /// The mapping's.
    pub settings: Settings,
}

/// The world at the beginning.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Streams.
    pub streams: Vec<StreamPlan>,
    /// Functions, each with a mapping.
    pub functions: Vec<FunctionPlan>,
    /// Most attempts at once.
    pub concurrency: u64,
    /// What each function is limited to.
    pub limits: Vec<FunctionLimits>,
    /// The disk takes its time, and is seen at work.
    pub slow_disk: bool,
    /// A power cut may lose the newest commits.
    pub lossy: bool,
    /// Mean time between two of an operator's or fate's doings, ms.
    pub act_ms: u64,
}

impl Shape {
    /// Draw it.
    pub fn of(plan: &Plan) -> Self {
        let mut chance = Chance::of(plan.seed, "shape");
        let dropping = plan.faults().contains(&Fault::Retention);
        let streams: Vec<StreamPlan> =
            (0..chance.between(1, 2)).map(|number| StreamPlan::draw(number, dropping, &mut chance)).collect();
        let functions: Vec<FunctionPlan> = (0..streams.len() as u64 + chance.below(2))
            .map(|number| FunctionPlan::draw(number, streams.len() as u64, &mut chance))
            .collect();
        let concurrency = if chance.one_in(4) { chance.between(1, 5) } else { 1_000 };
        let limits = limits(plan, concurrency, functions.len());
        Self {
            streams,
            functions,
            concurrency,
            limits,
            slow_disk: chance.one_in(2),
            lossy: chance.one_in(4) && plan.sabotage.is_none(),
            act_ms: *chance.pick(&[20, 100, 500]),
        }
    }
}

/// Where there is something to be set aside, half of the functions have some of it, and some start only so often.
fn limits(plan: &Plan, concurrency: u64, functions: usize) -> Vec<FunctionLimits> {
    let mut chance = Chance::of(plan.seed, "limits");
    let mut draw = || {
        let places = chance.between(1, 4) as u32;
        let has_room = concurrency > 100;
        FunctionLimits {
            reserved_concurrency: (chance.one_in(2) && has_room).then_some(places),
            provisioned_concurrency: if chance.one_in(4) && has_room { places.min(2) } else { 0 },
            rate_limit: chance.one_in(8).then(|| chance.between(200, 2_000) as f64),
        }
    };
    (0..functions).map(|_| draw()).collect()
}

impl StreamPlan {
    fn draw(number: u64, dropping: bool, chance: &mut Chance) -> Self {
        let heavy = chance.one_in(40);
        Self {
            name: format!("stream{number}"),
            shards: chance.between(1, 4),
            keys: *chance.pick(&[1, 5, 30, 100]),
            put_most: if heavy { 1 } else { *chance.pick(&[1, 10, 60]) },
            pause_us: *chance.pick(&[500, 5_000, 20_000]),
            filling: if heavy { 60_000 } else { chance.below(60) },
            retention_ms: if dropping && chance.one_in(2) { chance.between(10_000, 60_000) } else { 86_400_000 },
            retention_bytes: (dropping && chance.one_in(2)).then(|| chance.between(2_000, 60_000)),
        }
    }
}

impl FunctionPlan {
    fn draw(number: u64, streams: u64, chance: &mut Chance) -> Self {
        Self {
            name: format!("function{number}"),
            stream: (number % streams) as usize,
            timeout_ms: chance.between(100, 3_000),
            takes_us: *chance.pick(&[0, 1_000, 1_000, 20_000]),
            wrong: *chance.pick(&[2, 10, 50]),
            settings: Settings::draw(chance),
        }
    }
}
