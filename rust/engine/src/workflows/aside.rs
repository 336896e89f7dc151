//! Turns that are made aside, because their expressions take longer than the engine's lock may be held.
//!
//! A turn is tried under the lock for a few milliseconds. One that needs more is void: its execution stays as it was, and what has happened
//! is *held*, written beside the execution's state. The evaluator makes the turn, and then it is carried out as any other. What happens to the
//! execution meanwhile is held behind it, and is so after a restart. A stop and the execution's timeout wait for nothing: what is
//! held is written down before them, and a redrive goes on from it.
//!
//! What is held when a process dies is ordered from the evaluator at the next start: it is not tried under the lock again. What was not on
//! disk begins anew, and a machine's first turn is tried once, for no longer than any other.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Instant;

use forebay_core::workflow::budget::Budget;
use forebay_core::workflow::machine::driver::Seed;
use forebay_core::workflow::machine::{Command, Event, Execution, Fact, Refused, TaskId};
use forebay_core::workflow::scope::Entropy;
use serde::{Deserialize, Serialize};

use crate::workflows::row::RunId;
use crate::workflows::step::ended_call;
use crate::workflows::{Happened, Machine, Run, Step, WorkflowRoom, Workflows};

/// Milliseconds that a turn may take under the lock.
pub(crate) const PATIENCE_MS: u64 = 5;
/// So many turns of a machine are not tried under the lock after one that took too long.
const UNTRIED: u32 = 1_000;

/// What the evaluator is to do.
#[derive(Default)]
pub(crate) struct Aside {
    /// How long a turn is tried under the lock; `None`: there is no evaluator, so each turn is made there.
    patience_ms: Option<u64>,
    /// Executions that wait for the evaluator, with their orders. Machines take turns.
    waiting: VecDeque<(u64, VecDeque<(RunId, u64)>)>,
    last_order: u64,
}

/// What an execution is still to be brought. The turn of the first is made aside.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) facts: VecDeque<Fact>,
    /// The order that the evaluator was given for the first.
    #[serde(skip)]
    order: Option<u64>,
}

/// Whether turns of a machine take too long for the lock.
#[derive(Default)]
pub(crate) struct Slowness(AtomicU32);

/// A turn to be made. It holds nothing of the engine.
pub(crate) struct Order {
    pub(crate) run: RunId,
    number: u64,
    machine: Arc<Machine>,
    execution: Execution,
    fact: Fact,
    now_ms: u64,
    seed: u64,
}

/// A turn that was made.
pub(crate) struct Made {
    run: RunId,
    number: u64,
    turn: Result<(Execution, Vec<Command>), Refused>,
}

impl Slowness {
    /// Whether the next turn is not tried.
    fn passes_by(&self) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }

    fn seen(&self) {
        self.0.store(UNTRIED, Ordering::Relaxed);
    }
}

impl Held {
    pub(crate) fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// The order is lost with the step that it was given in.
    pub(crate) fn forget_order(&mut self) {
        self.order = None;
    }

    /// Whether a task's end is held.
    pub(crate) fn ends(&self, task: TaskId) -> bool {
        let mut others = self.facts.iter().filter(|fact| !matches!(fact, Fact::TaskSubmitted(..)));
        others.any(|fact| ended_call(fact) == Some(task))
    }
}

impl Order {
    /// Make the turn. It takes as long as its expressions do.
    pub(crate) fn carry_out(self) -> Made {
        let Self { run, number, machine, mut execution, fact, now_ms, seed } = self;
        let begun = Instant::now();
        let clock = || begun.elapsed().as_millis() as u64;
        let turn = execution.apply(machine.definition(), fact, now_ms, &mut Seed(seed), &Budget::whole(&clock));
        Made { run, number, turn: turn.map(|commands| (execution, commands)) }
    }
}

impl Run {
    /// Whether a fact has to wait until what is held was brought.
    pub(super) fn holds_back(&self, fact: &Fact, now_ms: u64) -> bool {
        let is_due = *fact == Fact::Due && now_ms >= self.execution.deadline_ms();
        let waits_for_nothing = self.execution.outcome().is_none() && (is_due || matches!(fact, Fact::Stop(_)));
        !self.held.is_empty() && !waits_for_nothing
    }

    /// Make a turn now; `None`: it takes too long, and nothing has changed.
    pub(super) fn try_turn(
        &mut self,
        fact: Fact,
        now_ms: u64,
        entropy: &mut dyn Entropy,
        patience_ms: Option<u64>,
    ) -> Result<Option<Vec<Command>>, Refused> {
        let noted = self.note_held(now_ms);
        let (execution, machine) = (&mut self.execution, &self.machine);
        let commands = match patience_ms {
            None => execution.apply(machine.definition(), fact, now_ms, entropy, &Budget::unclocked()),
            Some(patience_ms) => {
                // Most turns never look at the clock.
                let begun = OnceCell::new();
                let clock = || begun.get_or_init(Instant::now).elapsed().as_millis() as u64;
                let tries = !(machine.program.evaluates && machine.slowness.passes_by());
                let budget = Budget::short(if tries { patience_ms } else { 0 }, &clock);
                let before = machine.program.evaluates.then(|| execution.clone());
                let commands = execution.apply(machine.definition(), fact, now_ms, entropy, &budget);
                if let (Err(Refused::Unfinished), Some(before)) = (&commands, before) {
                    *execution = before;
                    if tries {
                        machine.slowness.seen();
                    }
                    return Ok(None);
                }
                commands
            }
        };
        commands.map(|mut commands| {
            if !noted.is_empty() {
                commands.insert(0, Command::Record(noted));
            }
            Some(commands)
        })
    }

    /// Write down what is held: only what waits for nothing comes before it, and that ends the execution.
    fn note_held(&mut self, now_ms: u64) -> Vec<Event> {
        let held = std::mem::take(&mut self.held).facts;
        let (execution, definition) = (&mut self.execution, self.machine.definition());
        held.into_iter().flat_map(|fact| execution.note(definition, fact, now_ms)).collect()
    }
}

impl Workflows {
    /// There is an evaluator: turns are tried so long under the lock.
    pub(crate) fn make_turns_aside(&mut self, patience_ms: u64) {
        self.aside.patience_ms = Some(patience_ms);
    }

    pub(super) fn patience_ms(&self) -> Option<u64> {
        self.aside.patience_ms
    }

    /// Whether the evaluator has something to do.
    pub(crate) fn has_orders(&self) -> bool {
        !self.aside.waiting.is_empty()
    }

    /// The next turn that is to be made aside.
    pub(crate) fn next_order(&mut self, now_ms: u64, seed: u64) -> Option<Order> {
        while let Some((machine, mut runs)) = self.aside.waiting.pop_front() {
            let next = runs.pop_front();
            if !runs.is_empty() {
                self.aside.waiting.push_back((machine, runs));
            }
            // One that was stopped meanwhile waits for nothing.
            let Some((id, number)) = next else { continue };
            let Some(run) = self.runs.get(&id).filter(|run| run.held.order == Some(number)) else { continue };
            let Some(fact) = run.held.facts.front().cloned() else { continue };
            let (machine, execution) = (run.machine.clone(), run.execution.clone());
            return Some(Order { run: id, number, machine, execution, fact, now_ms, seed });
        }
        None
    }

    /// Hold what has happened to an execution, and have its turn made.
    pub(super) fn hold(&mut self, id: RunId, fact: Fact) {
        if let Some(run) = self.runs.get_mut(&id) {
            // One sign of life is as good as many: they may come as long as the turn takes.
            let is_known =
                matches!(fact, Fact::Heartbeat(_)) && run.held.facts.iter().skip(1).any(|held| *held == fact);
            if !is_known {
                run.held.facts.push_back(fact);
            }
        }
        self.order_turn(id);
    }

    /// Have the turn of what is held made, unless that is under way. The execution may time out meanwhile.
    pub(super) fn order_turn(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id).filter(|run| !run.held.is_empty()) else { return };
        if run.held.order.is_none() {
            self.aside.last_order += 1;
            run.held.order = Some(self.aside.last_order);
            let (machine, order) = (run.row.machine(id), (id, self.aside.last_order));
            match self.aside.waiting.iter_mut().find(|(of, _)| *of == machine) {
                Some((_, runs)) => runs.push_back(order),
                None => self.aside.waiting.push_back((machine, VecDeque::from([order]))),
            }
        }
        let due_ms = run.execution.outcome().is_none().then(|| run.execution.deadline_ms());
        self.set_due(id, due_ms);
    }
}

/// Carry out a turn that was made aside, and bring the execution what was held behind it.
pub(crate) fn take_made(room: &mut WorkflowRoom<'_>, made: Made) {
    let Made { run: id, number, turn } = made;
    if room.workflows.runs.get(&id).is_none_or(|run| run.held.order != Some(number)) {
        return;
    }
    let mut held = take_held(room, id);
    held.pop_front();
    // What is refused came too late: its task has ended.
    if let Ok((execution, commands)) = turn {
        if let Some(run) = room.workflows.runs.get_mut(&id) {
            run.execution = execution;
        }
        room.carry_out_all(id, commands);
    }
    bring_each(room, id, held);
    // It may wait now until a time.
    room.participant().arm();
}

/// Bring an execution what was held before a restart, where there is no evaluator.
pub(super) fn bring_held(room: &mut WorkflowRoom<'_>, id: RunId) {
    let held = take_held(room, id);
    bring_each(room, id, held);
}

/// What is held leaves the execution's state with its next step. If that is taken back, it is held as before.
fn take_held(room: &mut WorkflowRoom<'_>, id: RunId) -> VecDeque<Fact> {
    let workflows = &mut *room.workflows;
    let Some(run) = workflows.runs.get_mut(&id) else { return VecDeque::new() };
    if run.memory.is_none() {
        room.below.ctx.commit.pending.urgent = true;
        let step = || Step { before: Some(run.clone()), ..Step::default() };
        workflows.unsaved.by_run.entry(id).or_insert_with(step);
    }
    std::mem::take(&mut run.held).facts
}

fn bring_each(room: &mut WorkflowRoom<'_>, id: RunId, held: VecDeque<Fact>) {
    for fact in held {
        let _too_late = room.bring_all(Happened { run: id, fact, is_kept: false, brings: None });
    }
}
