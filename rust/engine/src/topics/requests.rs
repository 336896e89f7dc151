//! `topic.*`: the words are written down in `python/forebay/_wire/verbs.py`.

use serde::Deserialize;
use serde_json::{json, Value};

use crate::api::{read, Done};
use crate::base::error::{EngineError, Waiter};
use crate::base::ids::{parse_uuid, uuid_text};
use crate::base::trace::Origin;
use crate::dispatch::versions::check_unqualified;
use crate::payload::endpoint::Endpoint;
use crate::store::port::Table;
use crate::topics::row::{SubscriptionRow, TopicRow, SUBSCRIPTIONS_MAX};
use crate::topics::TopicRoom;
use crate::topics::{Publication, Topic};

#[derive(Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
}

#[derive(Deserialize)]
struct Subscribe {
    name: String,
    #[serde(flatten)]
    subscription: SubscriptionRow,
}

#[derive(Deserialize)]
struct Unsubscribe {
    name: String,
    #[serde(flatten)]
    endpoint: Endpoint,
}

#[derive(Deserialize)]
struct Publish {
    name: String,
    #[serde(flatten)]
    publication: Publication,
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    trace: Option<String>,
}

impl TopicRoom<'_> {
    /// `topic.publish`, which is answered when it is durable.
    pub(crate) fn topic_publish(&mut self, body: &[u8], waiter: Waiter) {
        match read::<Publish>(body) {
            Ok(asked) => {
                let origin =
                    Origin { parent: asked.parent.as_deref().and_then(parse_uuid), trace: asked.trace.as_deref() };
                self.publish(&asked.name, &asked.publication, origin, waiter);
            }
            Err(error) => self.ctx.answer(waiter, Err(error)),
        }
    }

    pub(crate) fn topic_verb(&mut self, verb: &str, body: &[u8]) -> Result<Done, EngineError> {
        match verb {
            "topic.declare" => self.topic_declare(read(body)?),
            "topic.list" => Ok(Done::at_once(
                self.topics.entries.values().map(|topic| self.describe_topic(topic)).collect::<Value>(),
            )),
            "topic.describe" => {
                let topic = self.topics.topic(&read::<Named>(body)?.name)?;
                Ok(Done::at_once(self.describe_topic(topic)))
            }
            "topic.subscribe" => self.topic_subscribe(read(body)?),
            "topic.unsubscribe" => self.topic_unsubscribe(&read(body)?),
            _ => Err(EngineError::Invalid(format!("there is no verb {verb:?}"))),
        }
    }

    fn topic_declare(&mut self, row: TopicRow) -> Result<Done, EngineError> {
        row.check()?;
        let name = row.name.clone();
        if self.topics.topic(&name).is_err() {
            self.save_topic(TopicRow { created_ms: self.ctx.now.wall_ms, subscriptions: Vec::new(), ..row })?;
        }
        Ok(Done::when_durable(self.describe_topic(self.topics.topic(&name)?)))
    }

    /// Remove a topic with its subscriptions.
    pub(crate) fn delete_topic(&mut self, name: &str) -> Done {
        self.topics.entries.remove(name);
        self.ctx.registry.forget_all("topic", name);
        self.ctx.commit.pending.remove(Table::Topic, name.as_bytes().to_vec());
        self.ctx.commit.pending.urgent = true;
        Done::when_durable(json!({}))
    }

    fn save_topic(&mut self, row: TopicRow) -> Result<(), EngineError> {
        let value = serde_json::to_vec(&row).unwrap_or_default();
        self.ctx.commit.pending.set(Table::Topic, row.name.clone().into_bytes(), value);
        self.ctx.commit.pending.urgent = true;
        self.put_topic(row)
    }

    /// Subscribe a queue or a function; one that is subscribed already takes the new settings.
    fn topic_subscribe(&mut self, asked: Subscribe) -> Result<Done, EngineError> {
        let Subscribe { name, mut subscription } = asked;
        let mut row = self.topics.topic(&name)?.row.clone();
        subscription.check()?;
        match &subscription.endpoint {
            Endpoint::Queue(queue) => drop(self.queues.queue_id(queue)?),
            Endpoint::Function(function) => {
                check_unqualified(function, "subscription")?;
                self.events().event_queue(function)?;
            }
        }
        match row.subscriptions.iter().position(|one| one.endpoint == subscription.endpoint) {
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

    fn topic_unsubscribe(&mut self, asked: &Unsubscribe) -> Result<Done, EngineError> {
        let mut row = self.topics.topic(&asked.name)?.row.clone();
        let before = row.subscriptions.len();
        row.subscriptions.retain(|one| one.endpoint != asked.endpoint);
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
    fn describe_topic(&self, topic: &Topic) -> Value {
        let arn = self.topic_arn(&topic.row.name);
        let mut answer = serde_json::to_value(&topic.row).unwrap_or_default();
        for subscription in answer["subscriptions"].as_array_mut().into_iter().flatten() {
            let id = subscription.as_object_mut().and_then(|fields| fields.remove("id")).unwrap_or_default();
            subscription["arn"] = format!("{arn}:{}", id.as_str().unwrap_or_default()).into();
        }
        answer["arn"] = arn.into();
        answer
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
