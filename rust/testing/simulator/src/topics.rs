//! Topics and what is subscribed to them, as the simulator draws, changes and declares them.

use serde_json::{json, Value};

use crate::chance::Chance;
use crate::shape::CalleePlan;
use crate::shape::QueuePlan;
use crate::shape::TOLD;

/// The topic that records of events are published to; nothing filters what goes to [`TOLD`].
pub const NOTICES: &str = "notices";
/// Kinds and weights of publications are below these.
const KINDS: u64 = 4;
const WEIGHTS: u64 = 100;

/// A topic of the run.
#[derive(Clone, Debug)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
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
            topics.push(Self { name: "topic".into(), pause_us, subscriptions });
        }
        if let (true, Some(told)) = (notices, told) {
            let others = standard.into_iter().map(|endpoint| Subscription::draw(endpoint, chance));
            let subscriptions = std::iter::once(Subscription::of_everything(told)).chain(others).collect();
            topics.push(Self { name: NOTICES.into(), pause_us: None, subscriptions });
        }
        topics
    }

    /// Somebody subscribes otherwise; which of the subscriptions is changed. What records of events need stays as it is.
    pub fn change(&mut self, chance: &mut Chance) -> Option<usize> {
        let first = usize::from(self.name == NOTICES);
        let count = self.subscriptions.len().checked_sub(first).filter(|&count| count > 0)?;
        let at = first + chance.below(count as u64) as usize;
        let endpoint = self.subscriptions[at].endpoint.clone();
        self.subscriptions[at] = Subscription::draw(endpoint, chance);
        Some(at)
    }
}

impl Subscription {
    fn of_everything(endpoint: Endpoint) -> Self {
        Self { endpoint, is_on: true, filter: Filter::Everything, by_body: false, raw: false }
    }

    fn draw(endpoint: Endpoint, chance: &mut Chance) -> Self {
        let raw = matches!(endpoint, Endpoint::Queue(_)) && chance.one_in(2);
        let (is_on, by_body) = (!chance.one_in(6), chance.one_in(2));
        Self { endpoint, is_on, filter: Filter::draw(chance), by_body, raw }
    }

    /// Whether it takes a publication.
    pub fn takes(&self, matter: Matter) -> bool {
        self.is_on && self.filter.passes(matter)
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
    /// As `topic.unsubscribe` takes it.
    pub fn to_json(&self, topic: &str) -> Value {
        match self {
            Self::Queue(name) => json!({"name": topic, "queue": name}),
            Self::Function(name) => json!({"name": topic, "function": name}),
        }
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
        let filling = ".".repeat(filling);
        let message = format!(r#"{{"p":{name},"kind":"k{kind}","weight":{weight},"filling":"{filling}"}}"#);
        json!({"name": topic, "message": message, "attributes": [
            {"name": "kind", "data_type": "String", "value": format!("k{kind}")},
            {"name": "weight", "data_type": "Number", "value": weight.to_string()},
        ]})
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
        let policy = match *self {
            Self::Everything => return None,
            Self::Kinds(one, other) => json!({"kind": [format!("k{one}"), format!("k{other}")]}),
            Self::NotKind(one) => json!({"kind": [{"anything-but": [format!("k{one}")]}]}),
            Self::AtLeast(least) => json!({"weight": [{"numeric": [">=", least]}]}),
            Self::KindBelow(one, limit) => {
                json!({"kind": [format!("k{one}")], "weight": [{"numeric": ["<", limit]}]})
            }
        };
        Some(policy.to_string())
    }
}
