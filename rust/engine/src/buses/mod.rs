//! Event buses: an event that is put on one goes to the targets of every rule whose pattern it matches.
//!
//! A bus holds no events; an archive (`archive`) keeps those of its bus, and a replay (`replay`) gives them to its rules again. An event and
//! everything it becomes are one commit (`put`): a queue's message, a function's asynchronous event, a topic's copies, a stream's record.
//! What a target does not take goes to the rule's dead-letter queue, or is listed as failed. A schedule (`schedule`) gives its target an
//! event when it is due, in the commit that says when it is due next.

pub(crate) mod again;
mod archive;
mod archive_requests;
mod before;
mod connection_secrets;
pub(crate) mod connections;
pub(crate) mod deliver;
mod envelope;
pub(crate) mod groups;
mod http_parameters;
pub(crate) mod participant;
pub(crate) mod put;
pub(crate) mod replay;
pub(crate) mod requests;
pub(crate) mod row;
pub(crate) mod schedule;
pub(crate) mod schemas;
#[cfg(test)]
mod tests;

pub use row::check_rule;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_core::pattern::index::{Rules, Scratch};

use crate::api::bus::Recipient;
use crate::base::error::EngineError;
use crate::base::time::iso_seconds;
use crate::buses::archive::Archives;
use crate::buses::connections::Connections;
use crate::buses::deliver::Delivered;
use crate::buses::groups::Groups;
use crate::buses::participant::Undelivered;
use crate::buses::replay::Replays;
use crate::buses::row::{gives_to, BusRow, Compiled, RuleRow};
use crate::buses::schedule::Schedules;
use crate::ctx::Ctx;
use crate::dispatch::Dispatch;
use crate::failures::{CountDeliveries, Failures};
use crate::metrics::{Counter, Metric, Registry};
use crate::observe::history::routes::Routed;
use crate::payload::failure_key::{FailureKey, Part};
use crate::schemas::Schemas;
use crate::sources::invocation::{EventQueues, InvocationRoom};
use crate::sources::queue::{QueueRoom, Queues};
use crate::sources::stream::{StreamRoom, Streams};
use crate::topics::{TopicRoom, Topics};

/// Buses, with what lies below them.
pub(crate) struct BusRoom<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) dispatch: &'a mut Dispatch,
    pub(crate) failures: &'a mut Failures,
    pub(crate) streams: &'a mut Streams,
    pub(crate) queues: &'a mut Queues,
    pub(crate) events: &'a mut EventQueues,
    pub(crate) topics: &'a mut Topics,
    pub(crate) buses: &'a mut Buses,
    pub(crate) schemas: &'a mut Schemas,
}

impl BusRoom<'_> {
    pub(crate) fn streams(&mut self) -> StreamRoom<'_> {
        StreamRoom::new(self.ctx, self.dispatch, self.failures, self.streams)
    }

    pub(crate) fn queues(&mut self) -> QueueRoom<'_> {
        QueueRoom { ctx: self.ctx, dispatch: self.dispatch, queues: self.queues }
    }

    pub(crate) fn events(&mut self) -> InvocationRoom<'_> {
        InvocationRoom { ctx: self.ctx, dispatch: self.dispatch, failures: self.failures, events: self.events }
    }

    pub(crate) fn topics(&mut self) -> TopicRoom<'_> {
        TopicRoom {
            ctx: self.ctx,
            dispatch: self.dispatch,
            failures: self.failures,
            queues: self.queues,
            events: self.events,
            topics: self.topics,
        }
    }
}

/// All buses of an engine, by name, and what they leave for the next commit.
#[derive(Default)]
pub(crate) struct Buses {
    entries: BTreeMap<String, Bus>,
    pub(crate) schedules: Schedules,
    groups: Groups,
    pub(crate) connections: Connections,
    archives: Archives,
    pub(crate) replays: Replays,
    /// Memory that matching needs.
    scratch: Scratch,
    /// What targets did not take, of events that are not durable yet.
    undelivered: Vec<Undelivered>,
    /// Those of the commit under way that are tried again.
    failing: Vec<FailureKey>,
    /// Rules that were deleted while a commit under way may write failures of theirs.
    deleted: Vec<u64>,
    /// Failures that targets were given again, whose rows go with what those were given: of the next commit, and of the one under way.
    given_again: Vec<FailureKey>,
    leaving: Vec<FailureKey>,
    /// Where events went that are not durable yet, and those of the commit under way.
    routed: Vec<Routed>,
    committing: Vec<Routed>,
    /// A second, and how it is written.
    ingested: Option<(u64, Arc<str>)>,
}

struct Bus {
    row: BusRow,
    /// Its name, as it is remembered of each event.
    name: Arc<str>,
    /// By name, so that an event goes to their targets in one order.
    rules: BTreeMap<Arc<str>, Arc<Rule>>,
    /// The patterns of those that are enabled, and of archives.
    patterns: Rules<Taker>,
    /// Archives that keep every event.
    archives: BTreeSet<u64>,
    meters: BusMeters,
}

/// What takes the events that match a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Taker {
    Rule(Arc<str>),
    Archive(u64),
}

/// A rule, as events are held against it.
struct Rule {
    row: RuleRow,
    compiled: Compiled,
    arn: String,
    meters: RuleMeters,
}

#[derive(Clone)]
struct BusMeters {
    events: Counter,
    matched: Counter,
}

impl BusMeters {
    fn new(registry: &Registry, bus: &str) -> Self {
        Self {
            events: registry.counter(Metric::BusEvents, &[bus]),
            matched: registry.counter(Metric::MatchedEvents, &[bus]),
        }
    }
}

/// What is counted of a rule, or of a schedule.
#[derive(Clone)]
struct RuleMeters {
    triggered: Counter,
    invocations: Counter,
    failed: Counter,
    dead_lettered: Counter,
    throttled: Counter,
}

impl RuleMeters {
    /// Stop showing what was counted of a rule that is gone.
    fn forget(registry: &Registry, bus: &str, rule: &str) {
        let all = [
            Metric::TriggeredRules,
            Metric::RuleInvocations,
            Metric::FailedRuleInvocations,
            Metric::RuleInvocationsSentToDlq,
            Metric::ThrottledRules,
        ];
        for metric in all {
            registry.forget(metric, &[bus, rule]);
        }
    }

    fn new(registry: &Registry, bus: &str, rule: &str) -> Self {
        let counter = |metric| registry.counter(metric, &[bus, rule]);
        Self {
            triggered: counter(Metric::TriggeredRules),
            invocations: counter(Metric::RuleInvocations),
            failed: counter(Metric::FailedRuleInvocations),
            dead_lettered: counter(Metric::RuleInvocationsSentToDlq),
            throttled: counter(Metric::ThrottledRules),
        }
    }

    fn count_at_once(&self, delivered: &Delivered) {
        if let Some(is_taken) = delivered.fate.is_taken() {
            self.count(Part::Whole, 0, is_taken);
        }
        if delivered.is_dead_lettered {
            self.dead_lettered.increment();
        }
    }
}

impl CountDeliveries for RuleMeters {
    fn count(&self, _: Part, _: usize, confirmed: bool) {
        if confirmed {
            self.invocations.increment();
        } else {
            self.failed.increment();
        }
    }

    fn dead_lettered(&self) {
        self.dead_lettered.increment();
    }

    fn throttled(&self) {
        self.throttled.increment();
    }
}

impl Buses {
    /// The time of ingestion, as it is written. It is the same for all events of a second.
    fn ingested(&mut self, now_ms: u64) -> Arc<str> {
        match &self.ingested {
            Some((second, text)) if *second == now_ms / 1000 => text.clone(),
            _ => {
                let text: Arc<str> = iso_seconds(now_ms).into();
                self.ingested = Some((now_ms / 1000, text.clone()));
                text
            }
        }
    }

    /// Refuse the name of a bus that is not declared.
    pub(crate) fn check_bus(&self, name: &str) -> Result<(), EngineError> {
        self.bus(name).map(|_| ())
    }

    fn bus(&self, name: &str) -> Result<&Bus, EngineError> {
        self.entries.get(name).ok_or_else(|| EngineError::NotFound(format!("Event bus {name} does not exist.")))
    }

    fn rule(&self, bus: &str, name: &str) -> Result<&Arc<Rule>, EngineError> {
        self.bus(bus)?
            .rules
            .get(name)
            .ok_or_else(|| EngineError::NotFound(format!("Rule {name} does not exist on EventBus {bus}.")))
    }

    /// A rule or a schedule that gives events to this queue, topic, stream or function, in words.
    pub(crate) fn target_of(&self, recipient: &Recipient) -> Option<String> {
        let mut rules = self.entries.values().flat_map(|bus| bus.rules.values());
        let rule = rules.find(|rule| {
            let mut targets = rule.row.settings.targets.iter();
            targets.any(|target| gives_to(&target.to, target.dead_letter_queue.as_deref(), recipient))
        });
        rule.map(|rule| format!("rule {:?} of bus {:?}", rule.row.name, rule.row.bus))
            .or_else(|| self.schedules.target_of(recipient))
    }
}
