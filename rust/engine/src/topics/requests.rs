//! `topic.*`

use crate::api::notes::{Annotate, Notes};
use crate::api::topic::{Declare, Named, Publish, Subscribe, Subscribed, Topic as Answer, Unsubscribe};
use crate::api::Empty;
use crate::base::error::{EngineError, Waiter};
use crate::base::ids::{parse_uuid, uuid_text};
use crate::base::trace::Origin;
use crate::commit::done::Done;
use crate::dispatch::versions::check_unqualified;
use crate::payload::endpoint::Endpoint;
use crate::store::port::Table;
use crate::topics::publish;
use crate::topics::row::{SubscriptionRow, TopicRow, SUBSCRIPTIONS_MAX};
use crate::topics::Topic;
use crate::topics::TopicRoom;

impl TopicRoom<'_> {
    /// Answered when it is durable.
    pub(crate) fn topic_publish(&mut self, asked: Publish, waiter: Waiter) {
        let origin = Origin { parent: asked.parent.as_deref().and_then(parse_uuid), trace: asked.trace.as_deref() };
        publish::publish(self, &asked.name, &asked.publication, origin, waiter);
    }

    pub(crate) fn topic_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let list: Vec<Answer> = self.topics.entries.values().map(|topic| self.describe_topic(topic)).collect();
        Ok(Done::at_once(list))
    }

    pub(crate) fn topic_describe(&mut self, named: Named) -> Result<Done, EngineError> {
        Ok(Done::at_once(self.describe_topic(self.topics.topic(&named.name)?)))
    }

    pub(crate) fn topic_declare(&mut self, asked: Declare) -> Result<Done, EngineError> {
        let Declare { name, notes } = asked;
        let known = self.topics.topic(&name).ok().map(|topic| topic.row.clone());
        let is_new = known.is_none();
        let created_ms = self.ctx.now.wall_ms;
        let new = || TopicRow { name: name.clone(), created_ms, subscriptions: Vec::new(), notes: Notes::new() };
        let mut row = known.unwrap_or_else(new);
        row.check()?;
        let is_other = |(note, text): (&String, &Option<String>)| {
            row.notes.get(note).is_some_and(|own| text.as_ref() != Some(own))
        };
        if notes.iter().any(is_other) {
            return Err(EngineError::Conflict(format!("topic {name:?} exists with other notes")));
        }
        let notes = Annotate { name: name.clone(), notes }.applied(&row.notes)?;
        if is_new || notes != row.notes {
            row.notes = notes;
            self.save_topic(row)?;
        }
        Ok(Done::when_durable(self.describe_topic(self.topics.topic(&name)?)))
    }

    pub(crate) fn topic_annotate(&mut self, asked: Annotate) -> Result<Done, EngineError> {
        let name = asked.name.clone();
        let mut row = self.topics.topic(&name)?.row.clone();
        row.notes = asked.applied(&row.notes)?;
        self.save_topic(row)?;
        Ok(Done::when_durable(self.describe_topic(self.topics.topic(&name)?)))
    }

    /// Remove a topic with its subscriptions.
    pub(crate) fn delete_topic(&mut self, name: &str) -> Done {
        self.topics.entries.remove(name);
        self.ctx.registry.forget_all("topic", name);
        self.ctx.commit.pending.remove(Table::Topic, name.as_bytes().to_vec());
        self.ctx.commit.pending.urgent = true;
        Done::when_durable(Empty {})
    }

    fn save_topic(&mut self, row: TopicRow) -> Result<(), EngineError> {
        let value = serde_json::to_vec(&row).unwrap_or_default();
        self.ctx.commit.pending.set(Table::Topic, row.name.clone().into_bytes(), value);
        self.ctx.commit.pending.urgent = true;
        self.put_topic(row)
    }

    /// Subscribe a queue or a function; one that is already subscribed takes the new settings.
    pub(crate) fn topic_subscribe(&mut self, asked: Subscribe) -> Result<Done, EngineError> {
        let Subscribe { name, subscription, instead_of } = asked;
        let mut row = self.topics.topic(&name)?.row.clone();
        let mut subscription = SubscriptionRow { id: String::new(), settings: subscription };
        subscription.check()?;
        match &subscription.settings.endpoint {
            Endpoint::Queue(queue) => drop(self.queues.queue_id(queue)?),
            Endpoint::Function(function) => {
                check_unqualified(function, "subscription")?;
                self.events().event_queue(function)?;
            }
        }
        let at = row.subscriptions.iter().position(|one| one.settings.endpoint == subscription.settings.endpoint);
        if instead_of.is_some_and(|wanted| at.is_none_or(|at| row.subscriptions[at].settings != wanted)) {
            return Err(EngineError::Conflict(format!("a subscription of topic {name:?} was changed meanwhile")));
        }
        match at {
            Some(at) => {
                subscription.id.clone_from(&row.subscriptions[at].id);
                row.subscriptions[at] = subscription;
            }
            None if row.subscriptions.len() >= SUBSCRIPTIONS_MAX => {
                return Err(EngineError::Invalid(format!(
                    "topic {name:?} has {SUBSCRIPTIONS_MAX} subscriptions, which is as many as a topic may have"
                )));
            }
            None => {
                subscription.id = uuid_text(self.ctx.rng.uuid());
                row.subscriptions.push(subscription);
            }
        }
        if row != self.topics.topic(&name)?.row {
            self.save_topic(row)?;
        }
        Ok(Done::when_durable(self.describe_topic(self.topics.topic(&name)?)))
    }

    pub(crate) fn topic_unsubscribe(&mut self, asked: Unsubscribe) -> Result<Done, EngineError> {
        let mut row = self.topics.topic(&asked.name)?.row.clone();
        let before = row.subscriptions.len();
        row.subscriptions.retain(|one| one.settings.endpoint != asked.endpoint);
        if row.subscriptions.len() == before {
            let (kind, endpoint) = asked.endpoint.shown();
            return Err(EngineError::NotFound(format!(
                "Subscription does not exist: the {kind} {endpoint:?} is not subscribed to topic {:?}",
                asked.name
            )));
        }
        self.save_topic(row)?;
        Ok(Done::when_durable(self.describe_topic(self.topics.topic(&asked.name)?)))
    }
}

impl TopicRoom<'_> {
    fn describe_topic(&self, topic: &Topic) -> Answer {
        let TopicRow { name, created_ms, subscriptions, notes } = &topic.row;
        let arn = self.ctx.topic_arn(name);
        let subscribed = subscriptions
            .iter()
            .map(|row| Subscribed { subscription: row.settings.clone(), arn: format!("{arn}:{}", row.id) });
        Answer {
            name: name.clone(),
            created_ms: *created_ms,
            subscriptions: subscribed.collect(),
            arn,
            notes: notes.clone(),
        }
    }
}

impl Endpoint {
    fn shown(&self) -> (&'static str, &str) {
        match self {
            Self::Queue(name) => ("queue", name),
            Self::Function(name) => ("function", name),
        }
    }
}
