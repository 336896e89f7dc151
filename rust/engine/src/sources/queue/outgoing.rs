//! Messages on their way into a queue, and who sends them.

use std::sync::Arc;

use forebay_core::queue::dedup::Key;

use crate::base::error::Waiter;
use crate::base::trace::kept;
use crate::commit::attachment::Attachment;
use crate::payload::message::{message_id, rename};
use crate::payload::messages::Numbered;
use crate::sources::queue::transfer::Transferred;
use crate::store::chunk::RecordView;

/// Who sends.
pub(crate) enum Sender {
    /// Somebody who is told the messages' ids, or that nothing was accepted.
    Caller(Waiter),
    /// Somebody who publishes to a topic, and is told when everything that comes of it is written.
    Publisher,
    /// The engine: this is written in the commit that writes the message, and not before. On a full disk both wait.
    Attachment(Attachment),
    /// The engine: the message leaves another queue in the commit that writes it.
    Move(Transferred),
}

impl Sender {
    pub(crate) fn is_engine(&self) -> bool {
        !matches!(self, Self::Caller(_))
    }
}

/// Messages that wait for the next commit.
pub(crate) struct Outgoing {
    pub(crate) packed: Vec<Packed>,
    /// Ids and numbers for the caller, of duplicates too.
    pub(crate) ids: Vec<Numbered>,
    pub(crate) sender: Sender,
}

impl Outgoing {
    pub(crate) fn sender(self) -> Sender {
        self.sender
    }

    /// The id of the only message.
    pub(crate) fn id(&self) -> u128 {
        self.ids.first().map(|(id, _)| *id).unwrap_or_default()
    }

    /// What was to be before it may be refused: its numbers are others then, and its ids must lead there. Gives them, by those before.
    pub(crate) fn renumber(&mut self, seed: u64, first: u64) -> Vec<(u128, u128)> {
        let numbered = self.packed.iter_mut().zip(&mut self.ids).zip(first..);
        let name = |((packed, named), number): ((&mut Packed, &mut Numbered), u64)| {
            let name = message_id(seed, number);
            rename(&mut packed.data, name);
            (std::mem::replace(named, (name, number)).0, name)
        };
        numbered.map(name).collect()
    }

    /// The same by the engine's own doing.
    pub(crate) fn bound_to(self, bound: Attachment) -> Self {
        Self { sender: Sender::Attachment(bound), ..self }
    }
}

/// A message in the form of its record.
pub(crate) struct Packed {
    pub(crate) group: String,
    pub(crate) data: Vec<u8>,
    pub(crate) trace: Option<Arc<str>>,
    pub(crate) sent_ms: u64,
    pub(crate) key: Option<Key>,
}

impl Packed {
    pub(crate) fn of(record: &RecordView<'_>) -> Self {
        let trace = kept(record.trace);
        Self { group: record.key.into(), data: record.data.into(), trace, sent_ms: record.arrival_ms, key: None }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.group.len() + self.data.len()
    }
}
