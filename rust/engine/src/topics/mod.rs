//! Topics: what is published to one goes to every queue and function that is subscribed to it and whose filter policy it matches.
//!
//! A topic holds no messages. A publication and everything it becomes are one commit (`publish`): each queue's message, each
//! function's asynchronous event, and, where the engine itself publishes, the end of what is told of. So nothing published is ever
//! lost on its way to a subscription, nor told to one of them alone.

mod envelope;
pub(crate) mod publish;
pub(crate) mod requests;
pub(crate) mod row;
#[cfg(test)]
mod tests;

use crate::payload::endpoint::Endpoint;
use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_core::pattern::policy::Policy;

use crate::base::error::{declared_are, EngineError};
use crate::commit::rows::damaged;
use crate::metrics::{Counter, Distribution, Metric, Registry};
use crate::store::port::{StoreError, Table};
pub use crate::topics::row::parse_policy;
use crate::topics::row::TopicRow;

use crate::ctx::Ctx;
use crate::dispatch::Dispatch;
use crate::failures::{FailureRoom, Failures};
use crate::sources::invocation::{EventQueues, InvocationRoom};
use crate::sources::queue::{QueueRoom, Queues};

/// Topics, with what lies below them.
pub(crate) struct TopicRoom<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) dispatch: &'a mut Dispatch,
    pub(crate) failures: &'a mut Failures,
    pub(crate) queues: &'a mut Queues,
    pub(crate) events: &'a mut EventQueues,
    pub(crate) topics: &'a mut Topics,
}

impl TopicRoom<'_> {
    pub(crate) fn queues(&mut self) -> QueueRoom<'_> {
        QueueRoom { ctx: self.ctx, dispatch: self.dispatch, queues: self.queues }
    }

    pub(crate) fn failures(&mut self) -> FailureRoom<'_> {
        FailureRoom { ctx: self.ctx, dispatch: self.dispatch, failures: self.failures }
    }

    pub(crate) fn events(&mut self) -> InvocationRoom<'_> {
        InvocationRoom { ctx: self.ctx, dispatch: self.dispatch, failures: self.failures, events: self.events }
    }
}

/// All topics of an engine, by name.
#[derive(Default)]
pub(crate) struct Topics {
    entries: BTreeMap<String, Topic>,
}

impl Topics {
    pub(crate) fn is_declared(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }
}

pub(crate) struct Topic {
    row: TopicRow,
    /// Of each subscription, in the row's order; `None`: it takes everything.
    policies: Vec<Option<Policy>>,
    /// Name and endpoints as they are remembered of each publication.
    name: Arc<str>,
    endpoints: Arc<[Endpoint]>,
    meters: TopicMeters,
}

#[derive(Clone)]
struct TopicMeters {
    published: Counter,
    size: Distribution,
    delivered: Counter,
    filtered_out: Counter,
}

impl TopicMeters {
    pub(crate) fn new(registry: &Registry, topic: &str) -> Self {
        Self {
            published: registry.counter(Metric::TopicMessagesPublished, &[topic]),
            size: registry.distribution(Metric::PublishSize, &[topic]),
            delivered: registry.counter(Metric::NotificationsDelivered, &[topic]),
            filtered_out: registry.counter(Metric::NotificationsFilteredOut, &[topic]),
        }
    }
}

impl Topics {
    pub(crate) fn topic(&self, name: &str) -> Result<&Topic, EngineError> {
        self.entries.get(name).ok_or_else(|| {
            let known = declared_are(self.entries.keys().map(String::as_str));
            EngineError::NotFound(format!("there is no topic {name:?}: {known}"))
        })
    }
}

impl TopicRoom<'_> {
    /// Read topics and their subscriptions.
    pub(crate) fn restore_topics(&mut self) -> Result<(), StoreError> {
        for (_, value) in self.ctx.commit.reader.scan(Table::Topic, &[], None, usize::MAX)? {
            let row: TopicRow = serde_json::from_slice(&value).map_err(|_| damaged("a topic's row"))?;
            self.put_topic(row).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        }
        Ok(())
    }

    /// Take a topic's row into memory.
    fn put_topic(&mut self, row: TopicRow) -> Result<(), EngineError> {
        let policies = row.subscriptions.iter().map(row::SubscriptionRow::policy).collect::<Result<_, _>>()?;
        let meters = TopicMeters::new(&self.ctx.registry, &row.name);
        let (name, endpoints) =
            (row.name.as_str().into(), row.subscriptions.iter().map(|one| one.settings.endpoint.clone()).collect());
        self.topics.entries.insert(row.name.clone(), Topic { row, policies, name, endpoints, meters });
        Ok(())
    }
}

impl Topics {
    /// The topics that a queue is subscribed to.
    pub(crate) fn topics_of_queue<'a>(&'a self, queue: &'a str) -> impl Iterator<Item = &'a str> {
        let has = move |topic: &&Topic| {
            let mut endpoints = topic.row.subscriptions.iter().map(|one| &one.settings.endpoint);
            endpoints.any(|endpoint| matches!(endpoint, Endpoint::Queue(name) if name == queue))
        };
        self.entries.values().filter(has).map(|topic| topic.row.name.as_str())
    }
}
