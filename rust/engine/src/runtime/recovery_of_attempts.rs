//! What the last process had in flight: taken over, room by room.

use crate::dispatch::attempt_journal::InFlightKind;
use crate::dispatch::attempt_journal::JournalError;
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::rooms::Rooms;
use crate::store::port::StoreError;
use serde_json::json;

impl Rooms {
    /// Take over what the last process left, in the slots where it stands. What belongs to a mapping that is gone is let go.
    pub(crate) fn take_over(&mut self) -> Result<(), StoreError> {
        let failed = |error: JournalError| StoreError::Failed(error.to_string());
        let adopted = self.dispatch.journal.adopt().map_err(failed)?;
        if !adopted.is_empty() {
            self.ctx.notice(OperatorEvent::Interrupted, "", json!({"attempts": adopted.len()}));
        }
        for (record, slot) in adopted {
            let is_ours = match record.kind {
                InFlightKind::Event => self.events().suspect_event(&record, slot)?,
                InFlightKind::Batch if self.streams.mappings.contains_key(&record.mapping) => {
                    self.streams.suspects.push((record, slot));
                    true
                }
                InFlightKind::Messages => {
                    self.queues.suspects.push((record, slot));
                    true
                }
                InFlightKind::Batch => false,
            };
            if !is_ours {
                self.dispatch.journal.release(slot);
            }
        }
        self.dispatch.journal.flush().map_err(failed)
    }
}
