//! Destinations that are part of this store: what they are told is written in the commit of what it is about.

use std::sync::Arc;

use super::record::Ended;
use crate::error::EngineError;
use crate::failures::{FailureKey, FailureRow, Part};
use crate::queue::{Attribute, BoundRow, NewMessage, Sender};
use crate::state::State;

/// Begins the name of a destination that is a function of this store, or a queue.
const FUNCTION: &str = "function:";
const QUEUE: &str = "queue:";

/// A destination, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A function of this store, which is given an asynchronous event.
    Function(&'a str),
    /// A standard queue of this store, which is sent a message.
    Queue(&'a str),
    /// Something that a process has registered, and that has to be called.
    Registered,
}

impl<'a> Target<'a> {
    pub(crate) fn of(name: &'a str) -> Self {
        match (name.strip_prefix(FUNCTION), name.strip_prefix(QUEUE)) {
            (Some(function), _) => Self::Function(function),
            (_, Some(queue)) => Self::Queue(queue),
            _ => Self::Registered,
        }
    }

    pub(crate) fn is_here(self) -> bool {
        self != Self::Registered
    }
}

/// What a destination is told: text, and the attributes of a dead letter; how far the chain has come that it belongs to.
pub(crate) struct Letter {
    text: String,
    attributes: Vec<Attribute>,
    hops: u32,
}

impl Letter {
    /// Of an event that has ended, in the form that the destination takes.
    pub(crate) fn of(ended: &Ended, key: FailureKey, payload: &[u8], target: Target<'_>) -> Self {
        if key.part != Part::DeadLetter || !matches!(target, Target::Queue(_)) {
            return Self { text: ended.text(key, payload, None), attributes: Vec::new(), hops: ended.hops };
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
        }
    }

    /// Of whatever failed.
    pub(crate) fn of_failure(row: &FailureRow, key: FailureKey, payload: &[u8], target: Target<'_>) -> Self {
        match &row.ended {
            Some(ended) => Self::of(ended, key, payload, target),
            None => Self { text: row.record.to_string(), attributes: Vec::new(), hops: 0 },
        }
    }
}

impl State {
    /// Tell a destination of this store. `rows` are written in the commit that writes what it is told: at once for a function; for a
    /// queue that has no room on a full disk, later. Says whether that may be later.
    pub(crate) fn tell(
        &mut self,
        target: Target<'_>,
        letter: Letter,
        rows: Vec<BoundRow>,
    ) -> Result<bool, EngineError> {
        match target {
            Target::Function(name) => {
                let queue = self.event_queue(name)?;
                for (table, key, value) in rows {
                    match value {
                        Some(value) => self.pending.set(table, key, value),
                        None => self.pending.remove(table, key),
                    }
                }
                let payload: Arc<[u8]> = letter.text.into_bytes().into();
                let request = self.chance.uuid();
                let event = self.new_event(request, letter.hops + 1, payload);
                self.bear_event(queue, event);
                Ok(false)
            }
            Target::Queue(name) => {
                let message = NewMessage { body: letter.text, attributes: letter.attributes, ..NewMessage::default() };
                self.queue_send(name, &message, Sender::Rows(rows))?;
                Ok(true)
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
        assert_eq!(Target::of("on_failure:stream/f"), Target::Registered);
        assert!(!Target::of("on_success:f").is_here());
    }
}
