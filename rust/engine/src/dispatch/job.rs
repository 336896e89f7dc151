//! What an attempt is about. Each room has jobs of its own; dispatch knows of them only this.

use std::any::Any;
use std::sync::Arc;

use serde_json::{json, Value};

use crate::base::ids::RoomId;
use crate::dispatch::attempts::Task;
use crate::dispatch::ready_list::Kind;
use crate::dispatch::waiters::SourceId;
use crate::payload::event::Qualifier;

/// What an attempt is about.
pub(crate) trait Job: Any + Send {
    /// Whose job it is.
    fn room(&self) -> RoomId;

    /// Whose turn it waits for: a mapping's number, or that of a function's event queue.
    fn source(&self) -> SourceId;

    /// How it is handed out.
    fn kind(&self) -> Kind {
        Kind::Work
    }

    /// The version or alias, and the trace context, that it was asked for with; a batch has its own.
    fn asked_with(&self) -> (Qualifier, Option<Arc<str>>) {
        (None, None)
    }

    /// What the log says of it when it is past its deadline.
    fn described(&self) -> Value {
        json!({})
    }

    /// Whether its answer may have to wait in memory: it is not begun while there is no room for more of them.
    fn may_wait(&self) -> bool {
        false
    }

    /// Whether it had been given up, and is run again.
    fn is_redrive(&self) -> bool {
        false
    }
}

impl dyn Job {
    /// The job, if it is of this kind.
    pub(crate) fn get<T: Job>(&self) -> Option<&T> {
        let any: &dyn Any = self;
        any.downcast_ref()
    }

    /// The same, to be changed.
    pub(crate) fn get_mut<T: Job>(&mut self) -> Option<&mut T> {
        let any: &mut dyn Any = self;
        any.downcast_mut()
    }

    /// The job itself, if it is of this kind.
    pub(crate) fn into<T: Job>(self: Box<Self>) -> Option<Box<T>> {
        let any: Box<dyn Any> = self;
        any.downcast().ok()
    }
}

/// A job in the form in which it is handed over.
pub(crate) struct Handed {
    pub(crate) task: Task,
    /// The handler's response matters, and whether it may name records that failed: where that is read out of a process.
    pub(crate) reads: bool,
    pub(crate) reports: bool,
}
