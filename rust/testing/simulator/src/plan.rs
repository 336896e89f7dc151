//! One run: its seed, how long it is, and which misfortunes may strike.

use std::collections::BTreeSet;
use std::fmt;

use crate::chance::Chance;

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
    /// Nobody puts, sends or asks anything for minutes.
    Calm,
    /// Somebody receives messages by hand, deletes them, holds them longer, gives them back, forgets them.
    Hand,
    /// A queue is emptied.
    Purge,
    /// Dead letters are moved to where they came from, or elsewhere.
    Move,
    /// The app is stopped on a full disk, or killed soon after one has room again, while what is new is put into what is new itself.
    Brim,
}

/// All of them.
pub const FAULTS: [Fault; 26] = [
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
    Fault::Calm,
    Fault::Hand,
    Fault::Purge,
    Fault::Move,
    Fault::Brim,
];

/// What is picked when an operator or fate does something next: all but [`Fault::Brim`], which comes with a full disk.
pub const PICKED: [Fault; FAULTS.len() - 1] = {
    let mut picked = [Fault::Kill; FAULTS.len() - 1];
    let (mut at, mut many) = (0, 0);
    while at < FAULTS.len() {
        if !matches!(FAULTS[at], Fault::Brim) {
            picked[many] = FAULTS[at];
            many += 1;
        }
        at += 1;
    }
    picked
};

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

impl Fault {
    /// Whether an operator or fate does it at one moment; other faults come with the work.
    pub fn is_act(self) -> bool {
        !matches!(
            self,
            Self::Retention
                | Self::Error
                | Self::Timeout
                | Self::NoAttempt
                | Self::Report
                | Self::Poison
                | Self::Killer
                | Self::Hand
                | Self::Brim
        )
    }

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
    /// What was handled is told to the engine as never begun.
    ForgottenEnd,
    /// Of some that were handled the engine is told nothing.
    LostEnd,
    /// A destination's confirmation is told to the engine as a failure.
    ForgottenConfirmation,
    /// The state of a tumbling window comes back with one record more.
    Miscount,
    /// A queue knows nothing of its delay.
    ForgottenDelay,
    /// A sender's repeated id does not reach the queue.
    ForgottenId,
    /// Work of the first function never begins.
    Starved,
    /// A topic knows nothing of one of its subscriptions.
    LostCopy,
    /// A topic knows nothing of the filters of its subscriptions.
    LeakyFilter,
}

/// What functions are fed from in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Streams.
    Streams,
    /// Queues.
    Queues,
    /// Asynchronous invocations.
    Events,
    /// All of them, in one engine.
    All,
    /// Executions of workflows, in a world of their own: never drawn, only asked for.
    Workflows,
}

impl Room {
    /// The room of a name as it is printed.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Streams, Self::Queues, Self::Events, Self::All, Self::Workflows]
            .into_iter()
            .find(|room| room.to_string() == name)
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
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
    /// What there is; `None`: drawn from the seed.
    pub room: Option<Room>,
    /// For the tests of the checkers.
    pub sabotage: Option<Sabotage>,
    /// Print every fact.
    pub tells: bool,
}

/// Steps of a run.
const STEPS: u64 = 4_000;

impl Plan {
    /// The run of a seed.
    pub fn of(seed: u64) -> Self {
        Self { seed, steps: STEPS, without: BTreeSet::new(), room: None, sabotage: None, tells: false }
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
        if let Some(room) = self.room {
            write!(f, " --room {room}")?;
        }
        if !self.without.is_empty() {
            let names: Vec<String> = self.without.iter().map(Fault::to_string).collect();
            write!(f, " --without {}", names.join(","))?;
        }
        Ok(())
    }
}
