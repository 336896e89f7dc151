//! What a run is made of, drawn from its seed: streams, queues, functions, mappings.

use forebay_engine::base::limits::FunctionLimits;

use crate::chance::Chance;
use crate::events::EventSettings;
use crate::plan::Fault;
use crate::plan::Plan;
use crate::plan::Room;
use crate::queues::QueueSettings;
use crate::queues::WorkerSettings;
use crate::settings::Settings;
use crate::topics::TopicPlan;
use crate::topics::NOTICES;

/// Most keys of a stream.
pub const KEYS_MAX: u64 = 100;

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

/// A function, whatever it is given.
#[derive(Clone, Debug)]
pub struct Handler {
    /// Its name.
    pub name: String,
    /// How long an attempt may take, ms.
    pub timeout_ms: u64,
    /// Usual time of an attempt, µs; some take ten times as long.
    pub takes_us: u64,
    /// Of 1,000 attempts so many go wrong in each of the ways that may happen.
    pub wrong: u64,
}

/// A function with its mapping on a stream.
#[derive(Clone, Debug)]
pub struct FunctionPlan {
    /// The function.
    pub handler: Handler,
    /// Index of the stream that it reads.
    pub stream: usize,
    /// The mapping's.
    pub settings: Settings,
}

/// A queue with its dead letters, and the function that reads it.
#[derive(Clone, Debug)]
pub struct QueuePlan {
    /// Its name.
    pub name: String,
    /// Name of its dead-letter queue.
    pub dead: String,
    /// How many groups there are.
    pub groups: u64,
    /// Most messages sent together.
    pub send_most: u64,
    /// Mean time between sends, µs.
    pub pause_us: u64,
    /// Most filling bytes of a message.
    pub filling: u64,
    /// The queue's.
    pub settings: QueueSettings,
    /// The function.
    pub handler: Handler,
    /// The mapping's.
    pub worker: WorkerSettings,
}

/// A function that is invoked asynchronously.
#[derive(Clone, Debug)]
pub struct CalleePlan {
    /// The function.
    pub handler: Handler,
    /// Mean time between calls, µs.
    pub pause_us: u64,
    /// How it is invoked.
    pub settings: EventSettings,
}

/// The queue that is told of events.
pub const TOLD: &str = "told";

/// The world at the beginning.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Streams.
    pub streams: Vec<StreamPlan>,
    /// Functions, each with a mapping on a stream.
    pub functions: Vec<FunctionPlan>,
    /// Queues, each with a function.
    pub queues: Vec<QueuePlan>,
    /// Functions that are invoked asynchronously.
    pub callees: Vec<CalleePlan>,
    /// Whoever may be told of their events.
    pub targets: Vec<String>,
    /// Topics.
    pub topics: Vec<TopicPlan>,
    /// Most attempts at once.
    pub concurrency: u64,
    /// What each function is limited to.
    pub limits: Vec<FunctionLimits>,
    /// What happens is counted, and the counts are saved.
    pub metrics: bool,
    /// The disk takes its time, and is seen at work.
    pub slow_disk: bool,
    /// A power cut may lose the newest commits.
    pub lossy: bool,
    /// Mean time between two of an operator's or fate's doings, ms.
    pub act_ms: u64,
}

impl Shape {
    /// Draw it: streams, queues or events alone, or all of them in one engine.
    pub fn of(plan: &Plan) -> Self {
        let mut chance = Chance::of(plan.seed, "shape");
        let dropping = plan.faults().contains(&Fault::Retention);
        let drawn = *chance.pick(&[Room::Streams, Room::Streams, Room::Queues, Room::Events, Room::All]);
        let room = plan.room.unwrap_or(drawn);
        let has = |one| room == one || room == Room::All;
        let (has_streams, has_queues, has_events) = (has(Room::Streams), has(Room::Queues), has(Room::Events));
        let count = |has: bool, chance: &mut Chance| if has { chance.between(1, 2) } else { 0 };
        let streams: Vec<StreamPlan> = (0..count(has_streams, &mut chance))
            .map(|number| StreamPlan::draw(number, dropping, &mut chance))
            .collect();
        let readers = if streams.is_empty() { 0 } else { streams.len() as u64 + chance.below(2) };
        let functions: Vec<FunctionPlan> =
            (0..readers).map(|number| FunctionPlan::draw(number, streams.len() as u64, &mut chance)).collect();
        let queues: Vec<QueuePlan> =
            (0..count(has_queues, &mut chance)).map(|number| QueuePlan::draw(number, dropping, &mut chance)).collect();
        let called = count(has_events, &mut chance);
        let mut of_topics = Chance::of(plan.seed, "topics");
        let notices = of_topics.one_in(2);
        let targets = targets(called, notices);
        let callees: Vec<CalleePlan> =
            (0..called).map(|number| CalleePlan::draw(number, &targets, &mut chance)).collect();
        let mut topics = TopicPlan::draw_all(&mut of_topics, &queues, &callees, notices);
        let (mut of_buses, mut of_ways) = (Chance::of(plan.seed, "buses"), Chance::of(plan.seed, "ways"));
        topics.extend(TopicPlan::draw_bus(&mut of_buses, &mut of_ways, &queues, &callees));
        let concurrency = if chance.one_in(4) { chance.between(1, 5) } else { 1_000 };
        let limits = limits(plan, concurrency, functions.len() + queues.len() + callees.len());
        Self {
            streams,
            functions,
            queues,
            callees,
            targets,
            topics,
            concurrency,
            limits,
            metrics: chance.one_in(4),
            slow_disk: chance.one_in(2),
            lossy: chance.one_in(4) && plan.sabotage.is_none(),
            act_ms: *chance.pick(&[20, 100, 500]),
        }
    }

    /// Every function, in the order in which they are registered.
    pub fn handlers(&self) -> impl Iterator<Item = &Handler> {
        let readers = self.functions.iter().map(|function| &function.handler);
        let workers = self.queues.iter().map(|queue| &queue.handler);
        readers.chain(workers).chain(self.callees.iter().map(|callee| &callee.handler))
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
            keys: *chance.pick(&[1, 5, 30, KEYS_MAX]),
            put_most: if heavy { 1 } else { *chance.pick(&[1, 30, 100]) },
            pause_us: *chance.pick(&[500, 5_000, 20_000]),
            filling: if heavy { 60_000 } else { chance.below(60) },
            retention_ms: if dropping && chance.one_in(2) { chance.between(10_000, 60_000) } else { 86_400_000 },
            retention_bytes: (dropping && chance.one_in(2)).then(|| chance.between(2_000, 60_000)),
        }
    }
}

impl Handler {
    fn draw(name: String, chance: &mut Chance) -> Self {
        Self {
            name,
            timeout_ms: chance.between(100, 3_000),
            takes_us: *chance.pick(&[0, 1_000, 1_000, 20_000]),
            wrong: *chance.pick(&[2, 10, 50]),
        }
    }
}

impl FunctionPlan {
    fn draw(number: u64, streams: u64, chance: &mut Chance) -> Self {
        Self {
            handler: Handler::draw(format!("function{number}"), chance),
            stream: (number % streams) as usize,
            settings: Settings::draw(chance),
        }
    }
}

impl QueuePlan {
    fn draw(number: u64, dropping: bool, chance: &mut Chance) -> Self {
        let end = if chance.one_in(2) { ".fifo" } else { "" };
        Self {
            name: format!("queue{number}{end}"),
            dead: format!("queue{number}-dead{end}"),
            groups: *chance.pick(&[1, 5, 30]),
            send_most: *chance.pick(&[1, 10, 10]),
            pause_us: *chance.pick(&[500, 5_000, 20_000]),
            filling: chance.below(60),
            settings: QueueSettings::draw(chance, dropping),
            handler: Handler::draw(format!("worker{number}"), chance),
            worker: WorkerSettings::draw(chance, !end.is_empty()),
        }
    }

    /// Whether it keeps order.
    pub fn is_fifo(&self) -> bool {
        crate::queues::is_fifo(&self.name)
    }
}

impl CalleePlan {
    fn draw(number: u64, targets: &[String], chance: &mut Chance) -> Self {
        Self {
            handler: Handler::draw(format!("callee{number}"), chance),
            pause_us: *chance.pick(&[1_000, 5_000, 20_000]),
            settings: EventSettings::draw(chance, targets),
        }
    }
}

/// Whoever may be told of events where so many functions are called. A topic that is told of events has no function subscribed:
/// each event of a chain would become several.
fn targets(called: u64, notices: bool) -> Vec<String> {
    let functions = (0..called).map(|number| format!("function:callee{number}"));
    let topic = notices.then(|| format!("topic:{NOTICES}"));
    functions.chain([format!("queue:{TOLD}"), DESTINATION.into()]).chain(topic).collect()
}

/// The destination that has to be called.
pub const DESTINATION: &str = "destination";
