//! What is counted, remembered and told to an operator.

pub(crate) mod happenings;
pub(crate) mod history;
pub(crate) mod meters;
pub(crate) mod operator_events;

use crate::metrics::exports::Exports;
use crate::metrics::Registry;
use crate::observe::happenings::Happenings;
use crate::observe::history::History;
use crate::observe::meters::StoreMeters;
use crate::observe::operator_events::Notices;

/// What is counted of the store, told by other processes, remembered, and to be told to the log.
pub(crate) struct Observe {
    pub(crate) meters: StoreMeters,
    pub(crate) exports: Exports,
    pub(crate) history: History,
    pub(crate) notices: Notices,
    /// Events for the default bus.
    pub(crate) happenings: Happenings,
    /// Source and function of mappings that are gone, whose series go unless another mapping shares them.
    pub(crate) mappings_gone: Vec<(String, String)>,
}

impl Observe {
    pub(crate) fn new(registry: &Registry, wall_ms: u64) -> Self {
        Self {
            meters: StoreMeters::new(registry),
            exports: Exports::default(),
            history: History::since(wall_ms),
            notices: Notices::default(),
            happenings: Happenings::default(),
            mappings_gone: Vec::new(),
        }
    }
}
