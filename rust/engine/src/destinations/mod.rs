//! Destinations that are part of this store: what they are told is written in the commit of what it is about.

use std::sync::Arc;

use crate::base::error::EngineError;
use crate::base::trace::{kept, Carried};
use crate::commit::attachment::{AttachedRow, Attachment};
use crate::failures::log::{FailureKey, FailureRow, Part};
use crate::payload::message::{Attribute, NewMessage};
use crate::runtime::rooms::State;
use crate::sources::invocation::record::Ended;
use crate::sources::queue::Sender;
use crate::topics::Publication;

/// Begins the name of a destination that is a function of this store, a queue, or a topic.
const FUNCTION: &str = "function:";
const QUEUE: &str = "queue:";
const TOPIC: &str = "topic:";

/// A destination, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A function of this store, which is given an asynchronous event.
    Function(&'a str),
    /// A standard queue of this store, which is sent a message.
    Queue(&'a str),
    /// A topic of this store, to which it is published.
    Topic(&'a str),
    /// Something that a process has registered, and that has to be called.
    Registered,
}

impl<'a> Target<'a> {
    pub(crate) fn of(name: &'a str) -> Self {
        let named = |prefix| name.strip_prefix(prefix);
        let function = named(FUNCTION).map(Self::Function);
        function
            .or_else(|| named(QUEUE).map(Self::Queue))
            .or_else(|| named(TOPIC).map(Self::Topic))
            .unwrap_or(Self::Registered)
    }

    pub(crate) fn is_here(self) -> bool {
        self != Self::Registered
    }
}

/// What a destination is told: text, and the attributes of a dead notification; how far the chain has come that it belongs to.
pub(crate) struct Notification {
    text: String,
    attributes: Vec<Attribute>,
    hops: u32,
    trace: Option<Arc<str>>,
}

impl Notification {
    /// Of an event that has ended, in the form that the destination takes.
    pub(crate) fn of(ended: &Ended, trace: Option<&str>, key: FailureKey, payload: &[u8], target: Target<'_>) -> Self {
        let trace = kept(trace);
        if key.part != Part::DeadLetter || !matches!(target, Target::Queue(_) | Target::Topic(_)) {
            return Self { text: ended.text(key, payload, None), attributes: Vec::new(), hops: ended.hops, trace };
        }
        let attribute = |(name, data_type, value): (&str, &str, String)| Attribute {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            value,
        };
        Self {
            text: String::from_utf8_lossy(payload).into_owned(),
            attributes: ended.dead_letter_attributes().into_iter().map(attribute).collect(),
            hops: ended.hops,
            trace,
        }
    }

    /// Of whatever failed.
    pub(crate) fn of_failure(row: &FailureRow, key: FailureKey, payload: &[u8], target: Target<'_>) -> Self {
        match &row.ended {
            Some(ended) => Self::of(ended, row.trace.as_deref(), key, payload, target),
            None => Self {
                text: row.record.to_string(),
                attributes: Vec::new(),
                hops: 0,
                trace: kept(row.trace.as_deref()),
            },
        }
    }
}

impl State {
    /// A function that runs and has this destination, itself or by a mapping.
    pub(crate) fn told_by(&self, target: Target<'_>) -> Option<&str> {
        let is_it = |name: &str| Target::of(name) == target;
        let function = self.functions.iter().find(|function| function.asynchronous.destinations().any(is_it));
        let by_mapping = || {
            let mut mappings = self.mappings.values().filter(|mapping| mapping.slot.is_some());
            mappings.find(|mapping| mapping.row.on_failure.as_deref().is_some_and(is_it))
        };
        function.map(|function| function.name.as_str()).or_else(|| by_mapping().map(|one| one.row.function.as_str()))
    }

    /// Tell a destination of this store. `rows` are written in the commit that writes what it is told: at once where that is events
    /// of functions; where it is messages of queues that have no room on a full disk, later. Says whether that may be later.
    pub(crate) fn tell(
        &mut self,
        target: Target<'_>,
        notification: Notification,
        rows: Vec<AttachedRow>,
    ) -> Result<bool, EngineError> {
        match target {
            Target::Function(name) => {
                let (queue, qualifier) = self.event_queue(name)?;
                let payload: Arc<[u8]> = notification.text.into_bytes().into();
                let request = self.rng.uuid();
                let event = self.new_event(request, notification.hops + 1, payload, (notification.trace, qualifier));
                let events = vec![self.number_event(queue, event)];
                self.write_attachment(&Attachment { rows, events, published: None });
                Ok(false)
            }
            Target::Queue(name) => {
                let message = NewMessage {
                    body: notification.text,
                    attributes: notification.attributes,
                    ..NewMessage::default()
                };
                let carried = Carried { hops: notification.hops + 1, trace: notification.trace.as_deref() };
                self.queue_send(
                    name,
                    &message,
                    carried,
                    Sender::Attachment(Attachment { rows, ..Attachment::default() }),
                )?;
                Ok(true)
            }
            Target::Topic(name) => {
                let Notification { text: message, attributes, hops, trace } = notification;
                let publication = Publication { message, attributes, subject: None };
                self.tell_topic(name, &publication, Carried { hops: hops + 1, trace: trace.as_deref() }, rows)
            }
            Target::Registered => Err(EngineError::NotFound("the destination is not part of this store".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_a_destination_is() {
        assert_eq!(Target::of("function:f"), Target::Function("f"));
        assert_eq!(Target::of("queue:q"), Target::Queue("q"));
        assert_eq!(Target::of("topic:t"), Target::Topic("t"));
        assert_eq!(Target::of("on_failure:stream/f"), Target::Registered);
        assert!(!Target::of("on_success:f").is_here());
    }
}
