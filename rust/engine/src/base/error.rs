//! Everything an engine refuses or fails at, as its callers (Python, a client's socket) see it.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use forebay_core::alias::Version;
use serde::{Deserialize, Serialize};

use crate::store::port::StoreError;

/// Some of the names that there are, for whoever has asked for another one.
pub(crate) fn declared_are<'a>(mut names: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = names.by_ref().take(8).collect();
    match names.count() {
        _ if known.is_empty() => "none is declared yet".into(),
        0 => format!("declared are {}", known.join(", ")),
        more => format!("declared are {} and {more} more", known.join(", ")),
    }
}

/// One refusal or failure. The binding turns each kind into one Python exception; the socket carries it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum EngineError {
    /// An argument was refused; the text names it, its value and the allowed range.
    #[error("{0}")]
    Invalid(String),
    /// A payload or record over its limit.
    #[error("{0}")]
    TooLarge(String),
    /// No such stream, mapping, function or failure.
    #[error("{0}")]
    NotFound(String),
    /// The name exists with other settings.
    #[error("{0}")]
    Conflict(String),
    /// The engine is not running any more.
    #[error("{0}")]
    Closed(String),
    /// The function ran and failed.
    #[error("{message}")]
    Function {
        /// For people.
        message: String,
        /// Lambda's error object, JSON.
        payload: String,
        /// The version that ran: of an owner that knows none, what is declared.
        #[serde(default = "latest")]
        version: String,
    },
    /// A bound was reached.
    #[error("{message}")]
    TooMany {
        /// For people.
        message: String,
        /// Which limit.
        reason: String,
        /// When another try makes sense.
        retry_after_ms: u64,
    },
    /// The store did not do what was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The owner went away before it answered.
    #[error("{0}")]
    OwnerLost(String),
    /// The owner stopped in an orderly way and has not accepted the request: ask the next owner.
    #[error("{0}")]
    OwnerLeft(String),
}

fn latest() -> String {
    Version::Latest.to_string()
}

/// What an engine call gives in the end.
pub type Answer = Result<Reply, EngineError>;

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Sequence numbers of accepted records, in the order in which they were given.
    Numbers(Vec<u64>),
    /// Request id of an accepted event.
    Request(u128),
    /// JSON bytes: a handler's response or a verb's.
    Json(Vec<u8>),
    /// A handler's response, JSON bytes, and the version that ran: to whoever asked by a qualifier.
    Executed {
        /// The response.
        json: Vec<u8>,
        /// `$LATEST`, or a number.
        version: String,
    },
    /// The same as `Json` of something that was added, which a full disk refuses.
    Added(Vec<u8>),
    /// Work for a process that runs handlers for the owner: `environments::assignment` reads it.
    Assignments(Vec<u8>),
    /// What would be `Json`, as it is: for a client that takes it so.
    Typed(Typed),
}

/// An answer that can be written as JSON.
pub trait Written: Any + Debug + Send + Sync {
    /// The same as JSON.
    fn json(&self) -> Vec<u8>;
}

/// An answer as it is. It is equal to itself alone.
#[derive(Clone, Debug)]
pub struct Typed(pub Arc<dyn Written>);

impl Typed {
    /// The answer, if it is of this type.
    pub fn of<T: Any>(&self) -> Option<&T> {
        let any: &dyn Any = &*self.0;
        any.downcast_ref()
    }
}

impl Reply {
    /// An answer as this client takes it.
    pub(crate) fn of(answer: Arc<dyn Written>, waiter: &Waiter) -> Self {
        if waiter.takes_typed() {
            Self::Typed(Typed(answer))
        } else {
            Self::Json(answer.json())
        }
    }

    /// The answer, if it came as it is and is of this type.
    pub fn typed<T: Any>(&self) -> Option<&T> {
        match self {
            Self::Typed(typed) => typed.of(),
            _ => None,
        }
    }
}

impl PartialEq for Typed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Typed {}

/// Names a request whose answer comes through the bell.
pub type Ticket = u64;

/// Who waits for an answer.
pub enum Waiter {
    /// The event loop: the answer is handed over at the next exchange.
    Bell(Ticket),
    /// Anybody else. Called with the engine's lock held: hand the answer on, do nothing more.
    Call(Box<dyn FnOnce(Answer) + Send>),
    /// The same, of somebody who may leave while it waits.
    Client(Box<dyn Client>),
}

/// Somebody who waits for an answer, and may leave meanwhile.
pub trait Client: Send {
    /// Hand the answer on, and do nothing more: the engine's lock is held.
    fn answer(self: Box<Self>, answer: Answer);

    /// Whether nobody hears the answer any more.
    fn has_left(&self) -> bool;

    /// Whether an answer may come as [`Reply::Typed`].
    fn takes_typed(&self) -> bool {
        false
    }
}

impl Waiter {
    /// Whether nobody hears the answer any more, as far as is known.
    pub(crate) fn has_left(&self) -> bool {
        matches!(self, Self::Client(client) if client.has_left())
    }

    /// Whether an answer may come as [`Reply::Typed`].
    pub(crate) fn takes_typed(&self) -> bool {
        matches!(self, Self::Client(client) if client.takes_typed())
    }
}

/// The ticket of what nobody asked for: that the store has failed, and what is to be told to the log.
pub(crate) const UNSOLICITED: Ticket = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_left_out_are_counted() {
        let names: Vec<String> = (0..10).map(|number| format!("f{number}")).collect();
        let told = |count: usize| declared_are(names.iter().take(count).map(String::as_str));
        assert_eq!(told(10), "declared are f0, f1, f2, f3, f4, f5, f6, f7 and 2 more");
        assert_eq!(told(2), "declared are f0, f1", "it looked as if eight were all");
        assert_eq!(told(0), "none is declared yet");
    }
}
