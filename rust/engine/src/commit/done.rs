//! What carrying out a request gives: its answer, and when the caller may have it.

use std::sync::Arc;

use serde::Serialize;

use crate::base::error::Written;
use crate::commit::read_jobs::ReadJob;

/// An answer, most often JSON, and when the caller may have it.
pub(crate) enum Done {
    AtOnce(Vec<u8>),
    /// At once: typed for a client that takes typed answers, JSON for all others.
    Typed(Arc<dyn Written>),
    /// When the next commit is durable.
    WhenDurable(Vec<u8>),
    /// When the reader has found it.
    WhenRead(Box<dyn ReadJob>),
}

impl Done {
    pub(crate) fn at_once(answer: impl Serialize) -> Self {
        Self::AtOnce(json(answer))
    }

    pub(crate) fn when_durable(answer: impl Serialize) -> Self {
        Self::WhenDurable(json(answer))
    }
}

/// An answer as JSON. Its keys are texts, so nothing in it can be refused.
pub(crate) fn json(answer: impl Serialize) -> Vec<u8> {
    serde_json::to_vec(&answer).unwrap_or_default()
}
