//! Records that were given up: written down, sent to their destination, listed, redriven.

pub(crate) mod delivery;
mod invocation_rate;
pub(crate) mod invocation_record;
pub(crate) mod log;
pub(crate) mod participant;
pub(crate) mod requests;
pub(crate) mod routed;
pub(crate) mod search;
pub(crate) mod setback;

use crate::failures::search::Search;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ctx::Ctx;
use crate::dispatch::{Dispatch, DispatchRoom};
use crate::failures::delivery::Deliveries;
use crate::failures::invocation_record::Ended;
use crate::payload::failure_key::{FailureKey, Part};

/// Records that were given up, and their deliveries.
#[derive(Default)]
pub(crate) struct Failures {
    pub(crate) deliveries: Deliveries,
    /// When listed failures were last looked through, wall ms.
    pub(crate) swept_ms: u64,
    /// Whose records may fail: mappings, and functions' events.
    pub(crate) owners: BTreeMap<u64, Owner>,
    /// Events that had failed and are to have another life.
    pub(crate) revived: Vec<Revived>,
    /// Failures to send when their rows are durable, and those of the commit under way.
    pub(crate) undelivered: BTreeSet<FailureKey>,
    pub(crate) committing: BTreeSet<FailureKey>,
    /// Searches that have looked through everything.
    pub(crate) found: Vec<Search>,
    /// Owners of which something may be sent now.
    pub(crate) to_send: BTreeSet<u64>,
}

/// An event that had failed and is to have another life.
pub(crate) struct Revived {
    pub(crate) key: FailureKey,
    pub(crate) ended: Ended,
    pub(crate) trace: Option<String>,
    pub(crate) payload: Box<[u8]>,
}

/// Whose records may fail: a mapping of a stream, the events of a function, a rule of a bus, or schedules.
pub(crate) struct Owner {
    /// The function; of a rule `bus/rule`.
    pub(crate) function: String,
    /// The stream, if it is a mapping.
    pub(crate) stream: Option<String>,
    /// Its failures are events for targets, not for a function.
    pub(crate) is_rule: bool,
    pub(crate) meters: Box<dyn CountDeliveries>,
}

impl Owner {
    pub(crate) fn of_rule(name: String, meters: Box<dyn CountDeliveries>) -> Self {
        Self { function: name, stream: None, is_rule: true, meters }
    }
}

/// Counts what became of deliveries.
pub(crate) trait CountDeliveries: Send {
    /// A destination confirmed so many records, or did not.
    fn count(&self, part: Part, records: usize, confirmed: bool);

    /// A dead-letter queue has what a target did not take.
    fn dead_lettered(&self) {}

    /// A target has no room now, or was given as many as it may be in a second.
    fn throttled(&self) {}
}

impl Failures {
    /// The function that a failure is of, and the stream, if it is a batch.
    pub(crate) fn failed_of(&self, key: FailureKey) -> Option<(&str, Option<&str>)> {
        self.owners.get(&key.mapping).map(|owner| (owner.function.as_str(), owner.stream.as_deref()))
    }

    /// The same function, or rule, to be remembered.
    pub(crate) fn name_of(&self, key: FailureKey) -> Arc<str> {
        self.failed_of(key).map_or("", |(name, _)| name).into()
    }

    /// An owner is gone: its failures go with it.
    pub(crate) fn forget(&mut self, owner: u64) {
        self.owners.remove(&owner);
        self.deliveries.forget(owner);
    }
}

/// Failures, with what lies below them.
pub(crate) struct FailureRoom<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) dispatch: &'a mut Dispatch,
    pub(crate) failures: &'a mut Failures,
}

impl FailureRoom<'_> {
    pub(crate) fn dispatch(&mut self) -> DispatchRoom<'_> {
        DispatchRoom { ctx: self.ctx, dispatch: self.dispatch }
    }
}
