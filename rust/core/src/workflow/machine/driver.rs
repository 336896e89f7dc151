//! Plays an execution on a virtual clock, with what its tasks answer given: a year's wait takes no time.

use std::collections::BTreeMap;

use serde_json::Value;

use super::failure::HEARTBEAT_TIMEOUT;
use super::{
    task, Call, Command, Data, ErrorDetails, Event, Execution, Fact, FrameId, Identity, Outcome, ReadRequest, Refused,
    RunKey, TaskId, WriteRequest,
};
use crate::workflow::budget::Budget;
use crate::workflow::definition::Definition;
use crate::workflow::scope::Entropy;

/// Facts that one execution may be brought; a loop that waits never ends by itself.
pub const FACTS_MAX: usize = 1_000_000;
/// Items of a page that a reader brings.
const PAGE_ITEMS: usize = 1_000;
/// Child executions inside one another.
pub const DEPTH_MAX: usize = 50;

/// What a task answers.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Milliseconds until it is there.
    pub after_ms: u64,
    /// The worker that takes an activity; an activity without one is never taken.
    pub worker: Option<Option<String>>,
    /// What the call itself answers, where the task goes on.
    pub submitted: Option<Data>,
    /// Its end; `None`: it never ends.
    pub end: Option<Result<Data, ErrorDetails>>,
}

/// What is outside of an execution.
pub trait World {
    /// A task is called.
    fn call(&mut self, call: &Call) -> Answer;
    /// Items are read.
    fn read(&mut self, request: &ReadRequest) -> Result<Vec<Value>, ErrorDetails>;
    /// Results are written: the executions' inputs and outcomes in their order.
    fn write(&mut self, request: &WriteRequest, children: &[(Data, Outcome)]) -> Result<Data, ErrorDetails>;
}

/// An execution that was played to its end.
#[derive(Clone, Debug)]
pub struct Played {
    /// Its last state.
    pub execution: Execution,
    /// Its events.
    pub events: Vec<Event>,
    /// How it ended.
    pub outcome: Outcome,
    /// When, in milliseconds since 1970.
    pub ended_ms: u64,
    /// What a redrive goes on with.
    left: Left,
}

/// Children of a run, with what each was given and how it ended.
type Children = BTreeMap<u32, (Data, Outcome)>;

/// What the runs of distributed Maps have outside of the execution.
#[derive(Clone, Debug, Default)]
struct Left {
    /// The children of the run that a frame has.
    children: BTreeMap<FrameId, (RunKey, Children)>,
    /// Items that were read and not brought yet.
    unread: BTreeMap<FrameId, Vec<Value>>,
    /// The events of each child execution, and of theirs.
    histories: Vec<Vec<Event>>,
}

impl Played {
    /// The events of each child execution that its distributed Maps began, and of theirs.
    pub fn child_histories(&self) -> &[Vec<Event>] {
        &self.left.histories
    }
}

/// Why an execution cannot be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// It waits for something that never comes.
    Waiting,
    /// It goes on and on.
    Endless,
}

/// Random numbers out of a seed (SplitMix64): the same seed, the same numbers.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub u64);

impl Entropy for Seed {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Plays executions of one definition.
pub struct Driver<'d> {
    definition: &'d Definition,
    world: &'d mut dyn World,
    seed: Seed,
    depth: usize,
}

/// One execution while it is played.
struct Play {
    execution: Execution,
    events: Vec<Event>,
    /// Facts by the time at which they come, and the order in which they were planned.
    agenda: BTreeMap<(u64, u64), Fact>,
    planned: u64,
    /// Tasks of which heartbeats come, and until when they keep them.
    beats: BTreeMap<TaskId, u64>,
    now_ms: u64,
    left: Left,
}

impl<'d> Driver<'d> {
    /// A driver with what is outside.
    pub fn new(definition: &'d Definition, world: &'d mut dyn World, seed: u64) -> Self {
        Self { definition, world, seed: Seed(seed), depth: 0 }
    }

    /// Play an execution from its start. `facts` come at their times.
    pub fn run(
        &mut self,
        identity: Identity,
        input: Data,
        now_ms: u64,
        facts: Vec<(u64, Fact)>,
    ) -> Result<Played, Stuck> {
        let execution = Execution::new(self.definition, identity, input, now_ms);
        self.play(execution, now_ms, facts)
    }

    /// Let an execution that has ended go on.
    pub fn redrive(&mut self, played: Played, now_ms: u64) -> Result<Played, Stuck> {
        let mut again = self.play_from(played.execution, played.left, now_ms, vec![(now_ms, Fact::Redrive)])?;
        let mut events = played.events;
        events.append(&mut again.events);
        again.events = events;
        Ok(again)
    }

    fn play(&mut self, execution: Execution, now_ms: u64, mut facts: Vec<(u64, Fact)>) -> Result<Played, Stuck> {
        facts.insert(0, (now_ms, Fact::Start));
        self.play_from(execution, Left::default(), now_ms, facts)
    }

    fn play_from(
        &mut self,
        execution: Execution,
        left: Left,
        now_ms: u64,
        facts: Vec<(u64, Fact)>,
    ) -> Result<Played, Stuck> {
        let (events, agenda, beats) = Default::default();
        let mut play = Play { execution, events, agenda, planned: 0, beats, now_ms, left };
        for (at_ms, fact) in facts {
            play.plan(at_ms, fact);
        }
        for _ in 0..FACTS_MAX {
            let Some(((at_ms, _), fact)) = play.agenda.pop_first() else { return Err(Stuck::Waiting) };
            play.now_ms = play.now_ms.max(at_ms);
            let budget = Budget::unclocked();
            let of = match &fact {
                Fact::TaskStarted(task, _) | Fact::Heartbeat(task) => Some(*task),
                _ => None,
            };
            let commands = play.execution.apply(self.definition, fact, play.now_ms, &mut self.seed, &budget);
            // A wake-up or an answer may come after what it was for.
            let commands = match commands {
                Ok(commands) => commands,
                Err(
                    Refused::Closed
                    | Refused::NoTask
                    | Refused::NotExpected
                    | Refused::NotRedrivable
                    | Refused::Unfinished,
                ) => continue,
            };
            if let Some(task) = of {
                play.beat(task);
            }
            for command in commands {
                self.carry_out(&mut play, command)?;
            }
            if let Some(outcome) = play.execution.outcome().cloned() {
                let Play { execution, events, now_ms, left, .. } = play;
                return Ok(Played { execution, events, outcome, ended_ms: now_ms, left });
            }
        }
        Err(Stuck::Endless)
    }

    fn carry_out(&mut self, play: &mut Play, command: Command) -> Result<(), Stuck> {
        match command {
            Command::Record(events) => play.events.extend(events),
            Command::Call(call) => {
                let answer = self.world.call(&call);
                play.plan_answer(&call, answer);
            }
            Command::Spawn { run, children, .. } => {
                for child in children {
                    self.spawn(play, run, &child)?;
                }
            }
            Command::Read(call, request) => match self.world.read(&request) {
                Ok(items) => {
                    play.left.unread.insert(call.frame(), items);
                    play.plan_page(call);
                }
                Err(details) => play.plan(play.now_ms, Fact::ReadFailed(call, details)),
            },
            Command::ReadMore(call) => play.plan_page(call),
            Command::Write(call, request) => {
                let children = play.left.children.get(&call.frame());
                let children: Vec<(Data, Outcome)> =
                    children.map(|(_, children)| children.values().cloned().collect()).unwrap_or_default();
                let fact = match self.world.write(&request, &children) {
                    Ok(output) => Fact::Written(call, output),
                    Err(details) => Fact::WriteFailed(call, details),
                };
                play.plan(play.now_ms, fact);
            }
            Command::WakeAt(at_ms) => play.plan(at_ms, Fact::Due),
            Command::Continue => play.plan(play.now_ms, Fact::Due),
            Command::Cancel(_) | Command::AbortRun(_) | Command::ForgetRun(_) | Command::End(_) => {}
        }
        Ok(())
    }

    fn spawn(&mut self, play: &mut Play, run: RunKey, child: &super::Child) -> Result<(), Stuck> {
        if self.depth >= DEPTH_MAX {
            return Err(Stuck::Endless);
        }
        let prefix = format!("{}.{}", play.execution.identity().token_prefix, child.index);
        let (of, children) = play.left.children.entry(run.frame()).or_insert((run, BTreeMap::new()));
        if *of != run {
            (*of, *children) = (run, BTreeMap::new());
        }
        let input = child.input.as_ref().or_else(|| children.get(&child.index).map(|(input, _)| input));
        let Some(input) = input.cloned() else { return Ok(()) };
        let child = &super::Child { input: Some(input.clone()), ..child.clone() };
        let execution = play.execution.child(self.definition, run.frame(), child, prefix.into(), play.now_ms);
        let Some(execution) = execution else { return Ok(()) };
        self.depth += 1;
        let played = self.play(execution, play.now_ms, Vec::new());
        self.depth -= 1;
        let played = played?;
        let result = (input, played.outcome.clone());
        if let Some((_, children)) = play.left.children.get_mut(&run.frame()) {
            children.insert(child.index, result);
        }
        play.left.histories.push(played.events);
        play.left.histories.extend(played.left.histories);
        play.plan(played.ended_ms, Fact::ChildEnded(run, child.index, played.outcome));
        Ok(())
    }
}

impl Play {
    fn plan(&mut self, at_ms: u64, fact: Fact) {
        self.planned += 1;
        self.agenda.insert((at_ms, self.planned), fact);
    }

    fn plan_page(&mut self, call: RunKey) {
        let frame = call.frame();
        let mut page = self.left.unread.remove(&frame).unwrap_or_default();
        let rest = page.split_off(page.len().min(PAGE_ITEMS));
        let is_last = rest.is_empty();
        self.left.unread.insert(frame, rest);
        self.plan(self.now_ms, Fact::Items(call, page, is_last));
    }

    fn plan_answer(&mut self, call: &Call, answer: Answer) {
        let task = call.task;
        let at_ms = self.now_ms.saturating_add(answer.after_ms);
        if let Some(worker) = answer.worker {
            self.plan(self.now_ms, Fact::TaskStarted(task, worker));
        }
        if let Some(submitted) = answer.submitted {
            self.plan(self.now_ms, Fact::TaskSubmitted(task, submitted));
        }
        let beats = call.heartbeat_seconds.is_some() && call.token.is_some();
        match answer.end {
            // Nothing is told: the machine itself finds that no heartbeat comes any more.
            Some(Err(details)) if details.error.as_deref() == Some(HEARTBEAT_TIMEOUT) && beats => {
                self.plan_beats(task, at_ms);
            }
            Some(Ok(output)) => self.plan(at_ms, Fact::TaskSucceeded(task, output)),
            Some(Err(details)) => self.plan(at_ms, Fact::TaskFailed(task, details)),
            None => {}
        }
    }

    /// Heartbeats keep a task until it times out for want of one. They may be millions, and nothing tells of them.
    fn plan_beats(&mut self, task: TaskId, until_ms: u64) {
        self.beats.insert(task, until_ms);
        self.beat(task);
        self.plan(until_ms, Fact::Due);
    }

    fn beat(&mut self, task: TaskId) {
        if let Some(&until_ms) = self.beats.get(&task) {
            task::beats_until(&mut self.execution, task, until_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the generator's own reference program with this seed: <https://prng.di.unimi.it/splitmix64.c>.
    #[test]
    fn a_seed_gives_the_numbers_of_splitmix64() {
        let mut seed = Seed(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| seed.next_u64()), expected);
    }
}
