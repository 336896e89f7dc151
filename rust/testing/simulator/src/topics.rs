//! Topics with what is subscribed to them, and event buses with their rules, as the simulator draws, changes and declares them. To the
//! simulator a rule of a bus is a subscription: both say where copies go, in one commit.

use serde_json::{json, Value};

use crate::chance::Chance;
use crate::shape::CalleePlan;
use crate::shape::QueuePlan;
use crate::shape::TOLD;

/// The topic that records of events are published to; nothing filters what goes to [`TOLD`].
pub const NOTICES: &str = "notices";
/// The event bus.
pub const BUS: &str = "bus";
/// The bus that the event bus hands each event on to.
const INNER: &str = "inner";
/// The stream that rules put events into. Nobody reads it.
pub const ROUTED: &str = "routed";
/// How long it keeps them.
const RETENTION_MS: u64 = 86_400_000;
/// A queue that nobody declares: what goes there ends among dead letters.
const NOWHERE: &str = "nowhere";
/// Kinds and weights of publications are below these.
const KINDS: u64 = 4;
const WEIGHTS: u64 = 100;

/// Events on buses are from this source.
const SOURCE: &str = "simulator";

/// A topic of the run, or an event bus.
#[derive(Clone, Debug)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// It is an event bus: its subscriptions are rules with one target each.
    pub is_bus: bool,
    /// Mean time between publications, µs; `None`: nobody outside publishes.
    pub pause_us: Option<u64>,
    /// What may be subscribed to it; a function or a queue once.
    pub subscriptions: Vec<Subscription>,
}

/// What is subscribed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// A queue.
    Queue(String),
    /// A function.
    Function(String),
    /// A stream.
    Stream(String),
}

/// How events come to an endpoint by the rule that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is the rule's target.
    Straight,
    /// It is the target of a rule of the bus that each event is handed on to.
    HandedOn,
    /// It is the dead-letter queue of a target that is not there.
    DeadLetter,
}

impl Way {
    fn draw(chance: &mut Chance, endpoint: &Endpoint) -> Self {
        match (chance.below(4), endpoint) {
            (0, Endpoint::Queue(_)) => Self::DeadLetter,
            (1 | 2, _) => Self::HandedOn,
            _ => Self::Straight,
        }
    }
}

/// A subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// To whom copies go.
    pub endpoint: Endpoint,
    /// It is there now.
    pub is_on: bool,
    filter: Filter,
    by_body: bool,
    raw: bool,
    way: Way,
}

/// What a publication is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matter {
    kind: u64,
    weight: u64,
}

/// Which publications a subscription takes.
#[derive(Clone, Debug, PartialEq)]
enum Filter {
    Everything,
    Kinds(u64, u64),
    NotKind(u64),
    AtLeast(u64),
    KindBelow(u64, u64),
}

impl TopicPlan {
    /// Draw the topics of a run.
    pub fn draw_all(chance: &mut Chance, queues: &[QueuePlan], callees: &[CalleePlan], notices: bool) -> Vec<Self> {
        let standard = queues.iter().filter(|queue| !queue.is_fifo()).map(|queue| Endpoint::Queue(queue.name.clone()));
        let standard: Vec<Endpoint> = standard.collect();
        let told = (!callees.is_empty()).then(|| Endpoint::Queue(TOLD.into()));
        let functions = callees.iter().map(|callee| Endpoint::Function(callee.handler.name.clone()));
        let all: Vec<Endpoint> = standard.iter().cloned().chain(told.clone()).chain(functions).collect();
        let mut topics = Vec::new();
        if chance.one_in(2) && !all.is_empty() {
            let subscriptions = all.into_iter().map(|endpoint| Subscription::draw(endpoint, chance)).collect();
            let pause_us = Some(*chance.pick(&[2_000, 10_000, 40_000]));
            topics.push(Self { name: "topic".into(), is_bus: false, pause_us, subscriptions });
        }
        if let (true, Some(told)) = (notices, told) {
            let others = standard.into_iter().map(|endpoint| Subscription::draw(endpoint, chance));
            let subscriptions = std::iter::once(Subscription::of_everything(told)).chain(others).collect();
            topics.push(Self { name: NOTICES.into(), is_bus: false, pause_us: None, subscriptions });
        }
        topics
    }

    /// Draw the event bus of a run, if it has one. `ways`: how its events come to their endpoints.
    pub fn draw_bus(
        chance: &mut Chance,
        ways: &mut Chance,
        queues: &[QueuePlan],
        callees: &[CalleePlan],
    ) -> Option<Self> {
        let standard = queues.iter().filter(|queue| !queue.is_fifo()).map(|queue| Endpoint::Queue(queue.name.clone()));
        let functions = callees.iter().map(|callee| Endpoint::Function(callee.handler.name.clone()));
        let all: Vec<Endpoint> = standard.chain(functions).collect();
        if all.is_empty() || !chance.one_in(2) {
            return None;
        }
        // The first takes everything: by it one sees whether a replay was whole.
        let (first, others) = all.split_first()?;
        let mut others: Vec<Subscription> =
            others.iter().map(|endpoint| Subscription::draw(endpoint.clone(), chance)).collect();
        let pause_us = Some(*chance.pick(&[10_000, 40_000, 200_000]));
        others.push(Subscription::draw(Endpoint::Stream(ROUTED.into()), ways));
        for other in &mut others {
            other.way = Way::draw(ways, &other.endpoint);
        }
        let subscriptions = std::iter::once(Subscription::of_everything(first.clone())).chain(others).collect();
        Some(Self { name: BUS.into(), is_bus: true, pause_us, subscriptions })
    }

    /// The verbs and the bodies that declare it, and what it always has.
    pub fn declared_by(&self) -> Vec<(&'static str, Value)> {
        let named = json!({ "name": self.name });
        if !self.is_bus {
            return vec![("topic.declare", named)];
        }
        let hand_on = json!({
            "bus": self.name, "name": "hand-on", "pattern": json!({"source": [SOURCE]}).to_string(),
            "targets": [{"id": "1", "bus": INNER}],
        });
        vec![
            ("bus.declare", named),
            ("bus.declare", json!({ "name": INNER })),
            ("stream.declare", json!({"name": ROUTED, "shards": 1, "retention_ms": RETENTION_MS})),
            ("rule.put", hand_on),
        ]
    }

    /// The verb and the body that let a subscription be as it is. `leaks`: without its filter.
    pub fn subscribed_by(&self, at: usize, leaks: bool) -> (&'static str, Value) {
        let subscription = &self.subscriptions[at];
        match (self.is_bus, subscription.is_on) {
            (true, _) => ("rule.put", subscription.to_rule(&self.name, leaks)),
            (false, true) => ("topic.subscribe", subscription.to_json(&self.name, leaks)),
            (false, false) => ("topic.unsubscribe", subscription.endpoint.to_json(&self.name)),
        }
    }

    /// The verb and the body that publish something.
    pub fn published_by(&self, matter: Matter, name: u32, filling: usize) -> (&'static str, Value) {
        if !self.is_bus {
            return ("topic.publish", matter.to_json(&self.name, name, filling));
        }
        let entry = json!({"source": SOURCE, "detail_type": "published", "detail": matter.text(name, filling)});
        ("bus.put", json!({"bus": self.name, "entries": [entry]}))
    }

    /// Somebody subscribes otherwise; which of the subscriptions is changed. What records of events need stays as it is.
    pub fn change(&mut self, chance: &mut Chance) -> Option<usize> {
        let first = usize::from(self.is_bus || self.name == NOTICES);
        let count = self.subscriptions.len().checked_sub(first).filter(|&count| count > 0)?;
        let at = first + chance.below(count as u64) as usize;
        let Subscription { endpoint, way, .. } = self.subscriptions[at].clone();
        self.subscriptions[at] = Subscription { way, ..Subscription::draw(endpoint, chance) };
        Some(at)
    }
}

impl Subscription {
    fn of_everything(endpoint: Endpoint) -> Self {
        Self { endpoint, is_on: true, filter: Filter::Everything, by_body: false, raw: false, way: Way::Straight }
    }

    fn draw(endpoint: Endpoint, chance: &mut Chance) -> Self {
        let raw = matches!(endpoint, Endpoint::Queue(_)) && chance.one_in(2);
        let (is_on, by_body) = (!chance.one_in(6), chance.one_in(2));
        Self { endpoint, is_on, filter: Filter::draw(chance), by_body, raw, way: Way::Straight }
    }

    /// Whether it takes a publication.
    pub fn takes(&self, matter: Matter) -> bool {
        self.is_on && self.filter.passes(matter)
    }

    /// As `rule.put` takes it. `leaks`: without its pattern.
    fn to_rule(&self, bus: &str, leaks: bool) -> Value {
        let mut pattern = json!({"source": [SOURCE]});
        if let Some(detail) = self.filter.rules().filter(|_| !leaks) {
            pattern["detail"] = detail;
        }
        let (kind, name) = self.endpoint.named();
        // The whole event: a replayed one is known by its mark.
        let target = match self.way {
            Way::Straight | Way::HandedOn => json!({"id": "1", kind: name}),
            Way::DeadLetter => json!({"id": "1", "queue": NOWHERE, "dead_letter_queue": name}),
        };
        let bus = if self.way == Way::HandedOn { INNER } else { bus };
        let rule = format!("{kind}-{name}");
        json!({"bus": bus, "name": rule, "pattern": pattern.to_string(), "enabled": self.is_on, "targets": [target]})
    }

    /// As `topic.subscribe` takes it. `leaks`: without its filter.
    pub fn to_json(&self, topic: &str, leaks: bool) -> Value {
        let scope = if self.by_body { "MessageBody" } else { "MessageAttributes" };
        let mut body = self.endpoint.to_json(topic);
        body["filter_policy"] = self.filter.policy().filter(|_| !leaks).into();
        body["filter_policy_scope"] = scope.into();
        body["raw_message_delivery"] = self.raw.into();
        body
    }
}

impl Endpoint {
    /// Its kind, and its name.
    pub fn named(&self) -> (&'static str, &str) {
        match self {
            Self::Queue(name) => ("queue", name),
            Self::Function(name) => ("function", name),
            Self::Stream(name) => ("stream", name),
        }
    }

    /// As `topic.unsubscribe` takes it.
    pub fn to_json(&self, topic: &str) -> Value {
        let (kind, name) = self.named();
        json!({"name": topic, kind: name})
    }
}

impl Matter {
    /// Draw what a publication is about.
    pub fn draw(chance: &mut Chance) -> Self {
        Self { kind: chance.below(KINDS), weight: chance.below(WEIGHTS) }
    }

    /// As `topic.publish` takes it: attributes and body say the same.
    pub fn to_json(self, topic: &str, name: u32, filling: usize) -> Value {
        let Self { kind, weight } = self;
        let message = self.text(name, filling);
        json!({"name": topic, "message": message, "attributes": [
            {"name": "kind", "data_type": "String", "value": format!("k{kind}")},
            {"name": "weight", "data_type": "Number", "value": weight.to_string()},
        ]})
    }

    fn text(self, name: u32, filling: usize) -> String {
        let Self { kind, weight } = self;
        let filling = ".".repeat(filling);
        format!(r#"{{"p":{name},"kind":"k{kind}","weight":{weight},"filling":"{filling}"}}"#)
    }
}

impl Filter {
    fn draw(chance: &mut Chance) -> Self {
        let (kind, weight) = (chance.below(KINDS), chance.below(WEIGHTS));
        match chance.below(6) {
            0 => Self::Kinds(kind, (kind + 1) % KINDS),
            1 => Self::NotKind(kind),
            2 => Self::AtLeast(weight),
            3 => Self::KindBelow(kind, weight),
            _ => Self::Everything,
        }
    }

    fn passes(&self, Matter { kind, weight }: Matter) -> bool {
        match *self {
            Self::Everything => true,
            Self::Kinds(one, other) => kind == one || kind == other,
            Self::NotKind(one) => kind != one,
            Self::AtLeast(least) => weight >= least,
            Self::KindBelow(one, limit) => kind == one && weight < limit,
        }
    }

    fn policy(&self) -> Option<String> {
        self.rules().map(|rules| rules.to_string())
    }

    fn rules(&self) -> Option<Value> {
        let rules = match *self {
            Self::Everything => return None,
            Self::Kinds(one, other) => json!({"kind": [format!("k{one}"), format!("k{other}")]}),
            Self::NotKind(one) => json!({"kind": [{"anything-but": [format!("k{one}")]}]}),
            Self::AtLeast(least) => json!({"weight": [{"numeric": [">=", least]}]}),
            Self::KindBelow(one, limit) => {
                json!({"kind": [format!("k{one}")], "weight": [{"numeric": ["<", limit]}]})
            }
        };
        Some(rules)
    }
}
