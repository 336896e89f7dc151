//! The world around an engine: clocks, callers, handlers, a disk, an operator, and fate. One thread, virtual time, everything drawn
//! from the seed.

mod acts;
mod calls;
mod drain;
mod given;
mod life;
mod outcome;
mod queues;
mod topics;
mod work;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::{Arc, Mutex};

use forebay_core::Now;
use forebay_engine::base::error::{Answer, EngineError, Reply, Waiter};
use forebay_engine::dispatch::attempt_journal::InFlight;
use forebay_engine::dispatch::attempts::{Settled, Token};
use forebay_engine::runtime::engine::Engine;
use forebay_engine::store::fault::FaultStore;
use forebay_engine::store::port::{Durability, StoreError};
use serde_json::Value;

use crate::chance::Chance;
use crate::ledger;
use crate::ledger::Counts;
use crate::ledger::Ledger;
use crate::ledger::Moment;
use crate::ledger::Promise;
use crate::ledger::Violation;
use crate::plan::Fault;
use crate::plan::Plan;
use crate::plan::Sabotage;
use crate::shape::Shape;
use crate::shape::KEYS_MAX;
use crate::watched::open;
use crate::watched::Shared;
use work::Running;

/// Where wall time begins: 2020-01-01T00:00:00Z.
const WALL_START_MS: u64 = 1_577_836_800_000;
const NS_PER_MS: u64 = 1_000_000;
const NS_PER_US: u64 = 1_000;
/// Turns at one moment after which the engine is taken to go round in circles.
const SPINS_MAX: u32 = 20_000;
/// How often somebody looks at whose turn it is.
const LOOK_NS: u64 = 500 * NS_PER_MS;

/// What happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Somebody puts records.
    Put { stream: usize },
    /// A handler ends.
    Ends { token: Token },
    /// The disk has done what it was given.
    Disk,
    /// An operator or fate does something.
    Act,
    /// A fault that lasts is over.
    Mend,
    /// A mapping goes on.
    Resume { function: usize },
    /// A record kills the process.
    Kill { token: Token },
    /// The process starts again.
    Start,
    /// Somebody sends messages.
    Send { queue: usize },
    /// Somebody asks for messages.
    Receive { queue: usize },
    /// Somebody does something with a message in their hands.
    Hand { at: usize },
    /// The mapping of a worker goes on.
    ResumeWorker { queue: usize },
    /// Somebody invokes a function asynchronously.
    Invoke { callee: usize },
    /// Somebody publishes to a topic.
    Publish { topic: usize },
    /// Somebody declares a schedule.
    Tick,
    /// Somebody begins a replay.
    Replay,
    /// A full disk has room again, and things change.
    Brim { changes: u64 },
    /// The process is killed soon after that.
    Fall,
}

/// A run under way.
pub struct World {
    plan: Plan,
    shape: Shape,
    faults: BTreeSet<Fault>,
    /// What was seen, and whether it was right.
    pub ledger: Shared,
    store: FaultStore,
    engine: Option<Engine>,
    /// Lives of the process so far.
    lives: u64,
    /// Takes part in the present life only.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    time_ns: u64,
    /// What the monotonic clock of the present process showed at its start, and when that was.
    mono_start_ns: u64,
    born_ns: u64,
    /// By how much the wall clock was set, ms.
    wall_shift_ms: i64,
    /// When the engine wants its next turn.
    due_ns: Option<u64>,
    spins: u32,
    /// Deliveries at the last step.
    seen: u64,
    steps: u64,
    /// When somebody looks next at whose turn it is.
    look_ns: u64,
    /// Number of the batch by which every suspect of the last crash may have had a batch of its own: others wait for them.
    suspects_over: u64,
    /// By token without its generation.
    running: Vec<Option<Running>>,
    settled: Vec<Settled>,
    /// The engine said that its store takes no more.
    store_failed: bool,
    disk_waits: bool,
    full: bool,
    /// The faults have ended.
    peace: bool,
    paused: Vec<bool>,
    /// Redrives and seeks of a mapping exclude each other: a redriven record would look like one that was sought.
    sought: Vec<bool>,
    redrove: Vec<bool>,
    dead_until_ns: u64,
    /// Nobody has invoked it yet.
    asleep: Option<usize>,
    old_slots: Vec<InFlight>,
    workers_paused: Vec<bool>,
    /// Deduplication ids so far.
    next_key: u64,
    mailbox: queues::Mailbox,
    hands: Vec<Option<queues::Hand>>,
    /// Until then nobody puts, sends or asks anything.
    calm_until_ns: u64,
    /// Names of keys; scratch for the data of a put.
    keys: Vec<String>,
    data: Vec<u8>,
    chance: Chances,
}

/// A stream of chance for each concern.
struct Chances {
    entropy: Chance,
    puts: Chance,
    handlers: Chance,
    acts: Chance,
    disk: Chance,
    messages: Chance,
    hands: Chance,
    calls: Chance,
    options: Chance,
    topics: Chance,
    given: Chance,
    dues: Chance,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(plan: Plan) -> Self {
        let shape = Shape::of(&plan);
        let durability = match plan.sabotage {
            Some(Sabotage::LostAck) => Durability::ProcessCrash,
            _ if shape.lossy => Durability::ProcessCrash,
            _ => Durability::PowerLoss,
        };
        let chance = |concern| Chance::of(plan.seed, concern);
        let functions = shape.functions.len();
        Self {
            faults: plan.faults(),
            ledger: Arc::new(Mutex::new(Ledger::new(plan.tells))),
            store: FaultStore::new(plan.seed, durability),
            engine: None,
            lives: 0,
            events: BinaryHeap::new(),
            order: 0,
            time_ns: 0,
            mono_start_ns: 0,
            born_ns: 0,
            wall_shift_ms: 0,
            due_ns: None,
            spins: 0,
            seen: 0,
            steps: 0,
            look_ns: 0,
            suspects_over: 0,
            running: Vec::new(),
            settled: Vec::new(),
            store_failed: false,
            disk_waits: false,
            full: false,
            peace: false,
            paused: vec![false; functions],
            sought: vec![false; functions],
            redrove: vec![false; functions],
            dead_until_ns: 0,
            asleep: None,
            old_slots: Vec::new(),
            workers_paused: vec![false; shape.queues.len()],
            next_key: 0,
            mailbox: queues::Mailbox::default(),
            hands: Vec::new(),
            calm_until_ns: 0,
            keys: (0..KEYS_MAX).map(|key| format!("k{key}")).collect(),
            data: Vec::new(),
            chance: Chances {
                entropy: chance("entropy"),
                puts: chance("puts"),
                handlers: chance("handlers"),
                acts: chance("acts"),
                disk: chance("disk"),
                messages: chance("messages"),
                hands: chance("hands"),
                calls: chance("calls"),
                options: chance("options"),
                topics: chance("publications"),
                given: chance("given"),
                dues: chance("dues"),
            },
            shape,
            plan,
        }
    }

    /// Live until the steps are used up, then until everything has drained.
    pub fn run(mut self) -> Result<Counts, Violation> {
        self.start();
        for stream in 0..self.shape.streams.len() {
            self.after(0, Event::Put { stream });
        }
        for queue in 0..self.shape.queues.len() {
            self.after(0, Event::Send { queue });
            self.after(0, Event::Receive { queue });
        }
        let callees = self.shape.callees.len();
        self.asleep = callees.checked_sub(1).filter(|_| self.may(Fault::Brim));
        for callee in 0..self.asleep.unwrap_or(callees) {
            self.after(0, Event::Invoke { callee });
        }
        for topic in 0..self.shape.topics.len() {
            self.after(0, Event::Publish { topic });
        }
        self.begin_giving();
        self.after(self.shape.act_ms * NS_PER_MS, Event::Act);
        while self.steps < self.plan.steps && self.is_well() {
            self.step();
        }
        self.drain();
        let ledger = open(&self.ledger);
        ledger.violation().cloned().map_or(Ok(ledger.counts), Err)
    }

    fn is_well(&self) -> bool {
        open(&self.ledger).violation().is_none()
    }

    fn may(&self, fault: Fault) -> bool {
        !self.peace && self.faults.contains(&fault)
    }

    /// A fault has really struck.
    fn strikes(&self, fault: Fault) {
        open(&self.ledger).counts.strikes(fault);
    }

    fn broken(&mut self, promise: Promise, story: String) {
        open(&self.ledger).report(promise, story);
    }

    /// Let an event happen after some time.
    fn after(&mut self, delay_ns: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((self.time_ns + delay_ns, self.order, event)));
    }

    fn wall_ms(&self) -> u64 {
        (WALL_START_MS + self.time_ns / NS_PER_MS).saturating_add_signed(self.wall_shift_ms)
    }

    fn mono_ns(&self) -> u64 {
        self.mono_start_ns + (self.time_ns - self.born_ns)
    }

    fn now(&mut self) -> Now {
        Now { mono_ns: self.mono_ns(), wall_ms: self.wall_ms(), entropy: self.chance.entropy.number() }
    }

    /// Go on to the next moment at which something happens, and let all of it happen.
    fn step(&mut self) {
        let next = self.events.peek().map(|Reverse((at, _, _))| *at);
        let Some(at) = next.into_iter().chain(self.due_ns).min() else {
            return self.broken(Promise::Liveness, "nothing will ever happen again".into());
        };
        let deliveries = open(&self.ledger).counts.deliveries;
        let moves = at > self.time_ns || deliveries > self.seen;
        (self.spins, self.seen) = (if moves { 0 } else { self.spins + 1 }, deliveries);
        if self.spins > SPINS_MAX {
            return self.broken(Promise::Liveness, "the engine goes round in circles".into());
        }
        self.time_ns = self.time_ns.max(at);
        self.turn();
        while let Some(&Reverse((at, _, event))) = self.events.peek() {
            if at > self.time_ns {
                break;
            }
            self.events.pop();
            self.steps += 1;
            self.happen(event);
        }
        self.exchange();
        self.turn();
        self.empty_mailbox();
        if self.time_ns >= self.look_ns {
            self.look_ns = self.time_ns + LOOK_NS;
            self.look_at_turns();
        }
    }

    /// Look whether anything waits for its turn while others have theirs.
    fn look_at_turns(&self) {
        let mut ledger = open(&self.ledger);
        let suspects = ledger.counts.batches < self.suspects_over;
        if self.engine.is_none() || self.full || self.store_failed || suspects {
            return ledger.forget_turns();
        }
        let limited = |function: &str| {
            let at = self.shape.handlers().position(|handler| handler.name == function);
            at.is_none_or(|id| self.shape.limits[id].rate_limit.is_some())
        };
        let workers: Vec<(&str, &str)> =
            self.shape.queues.iter().map(|queue| (queue.name.as_str(), queue.handler.name.as_str())).collect();
        ledger.look_at_turns(|function| !limited(function), &workers);
    }

    /// How long a caller waits who would wait so long, unless everybody does nothing.
    fn calm(&self, pause_ns: u64) -> u64 {
        pause_ns.max(self.calm_until_ns.saturating_sub(self.time_ns))
    }

    /// Tell everybody the time, and the engine to do what is due.
    fn turn(&mut self) {
        let now = self.now();
        open(&self.ledger).tell_time(Moment { time_ns: self.time_ns, wall_ms: now.wall_ms });
        let Some(engine) = &self.engine else {
            self.due_ns = None;
            return;
        };
        let due = engine.turn(now);
        self.due_ns = due.map(|due| self.born_ns + due.saturating_sub(self.mono_start_ns));
        if engine.disk_busy() && !self.disk_waits {
            self.disk_waits = true;
            let takes_ns = self.chance.disk.between(50_000, ledger::SLOWEST_COMMIT_NS);
            self.after(takes_ns, Event::Disk);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Put { stream } => self.put(stream),
            Event::Ends { token } => self.end(token),
            Event::Disk => self.disk_done(),
            Event::Act => self.act(),
            Event::Mend => self.mend(),
            Event::Resume { function } => self.resume(function),
            Event::Kill { token } => self.kill_by(token),
            Event::Start => self.start(),
            Event::Send { queue } => self.send(queue),
            Event::Receive { queue } => self.receive(queue),
            Event::Hand { at } => self.hand(at),
            Event::ResumeWorker { queue } => self.resume_worker(queue),
            Event::Invoke { callee } => self.invoke(callee),
            Event::Publish { topic } => self.publish(topic),
            Event::Tick => self.tick(),
            Event::Replay => self.replay(),
            Event::Brim { .. } | Event::Fall if !self.may(Fault::Brim) => {}
            Event::Brim { changes } => self.change_on_the_brim(changes),
            Event::Fall => self.fall(),
        }
    }

    fn disk_done(&mut self) {
        self.disk_waits = false;
        if let Some(engine) = &self.engine {
            engine.disk_done();
        }
    }

    /// Somebody puts some records into a stream.
    fn put(&mut self, stream: usize) {
        let Some(plan) = self.shape.streams.get(stream).filter(|_| !self.peace) else { return };
        let pause_ns = self.chance.puts.below(2 * plan.pause_us + 1) * NS_PER_US;
        self.after(self.calm(pause_ns), Event::Put { stream });
        self.put_now(stream);
    }

    pub(super) fn put_now(&mut self, stream: usize) {
        let (plan, chance) = (&self.shape.streams[stream], &mut self.chance.puts);
        let count = chance.between(1, plan.put_most);
        let drawn: Vec<(u16, usize)> =
            (0..count).map(|_| (chance.below(plan.keys) as u16, chance.below(plan.filling + 1) as usize)).collect();
        let name = plan.name.clone();
        let Some(engine) = &self.engine else { return };
        let mut ledger = open(&self.ledger);
        self.data.clear();
        let (mut first, mut records) = (None, Vec::with_capacity(drawn.len()));
        for (key, filling) in drawn {
            let put = ledger.puts(key);
            first.get_or_insert(put);
            let begin = self.data.len();
            ledger::write_data(put, filling, &mut self.data);
            records.push((key, begin..self.data.len()));
        }
        drop(ledger);
        let (first, stream, shared) = (first.unwrap_or_default(), name.clone(), self.ledger.clone());
        let told = Box::new(move |answer: Answer| {
            let answer = match answer {
                Ok(Reply::Numbers(numbers)) => ledger::Answer::Acknowledged(numbers),
                Err(EngineError::Closed(_) | EngineError::Store(StoreError::Failed(_))) => ledger::Answer::Unknown,
                Ok(_) | Err(_) => ledger::Answer::Refused,
            };
            open(&shared).answered(&stream, first, count as u32, &answer);
        });
        let records = records.iter().map(|(key, range)| (&*self.keys[usize::from(*key)], &self.data[range.clone()]));
        engine.put(&name, records, None, Waiter::Call(told));
    }

    /// Ask the engine, and wait for its answer if it comes at once.
    fn request(&self, verb: &str, body: &Value) -> Option<Result<Value, EngineError>> {
        let engine = self.engine.as_ref()?;
        let heard = Arc::new(Mutex::new(None));
        let ear = heard.clone();
        let told = Box::new(move |answer: Answer| {
            let answer = answer.map(|reply| match reply {
                Reply::Json(json) | Reply::Added(json) => serde_json::from_slice(&json).unwrap_or_default(),
                Reply::Numbers(_)
                | Reply::Request(_)
                | Reply::Executed { .. }
                | Reply::Assignments(_)
                | Reply::Typed(_) => Value::Null,
            });
            *ear.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(answer);
        });
        engine.request(verb, body.to_string().as_bytes(), Waiter::Call(told));
        let answer = heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        answer
    }
}
