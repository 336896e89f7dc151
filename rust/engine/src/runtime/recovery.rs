//! What an engine finds in its store when it opens it, room by room.

use serde_json::json;

use crate::dispatch::attempt_journal::JournalError;
use crate::metrics::points::Points;
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::rooms::Rooms;
use crate::store::format::keys::{MIGRATING, MOVED};
use crate::store::migrate::{moved, UNFINISHED};
use crate::store::port::{StoreError, Table};

impl Rooms {
    /// Let every room read what is its own; gives the metric points, which no room has.
    pub(crate) fn restore(&mut self) -> Result<Points, StoreError> {
        self.ctx.commit.reader.read_ahead()?;
        if self.ctx.commit.reader.get(Table::Meta, MIGRATING)?.is_some() {
            return Err(StoreError::Refused(UNFINISHED.into()));
        }
        if let Some(mark) = self.ctx.commit.reader.get(Table::Meta, MOVED)? {
            return Err(StoreError::Refused(moved(&mark)));
        }
        self.try_each_participant(|one| one.restore())?;
        self.topics().restore_topics()?;
        let points = self.ctx.commit.reader.scan(Table::Metric, &[], None, usize::MAX)?;
        self.take_over()?;
        self.try_each_participant(|one| one.resume())?;
        Ok(Points::open(points, self.ctx.now.wall_ms))
    }

    /// Tell what the last process was doing when it died: the app starts, which does it again. A process that runs no app does not.
    pub(crate) fn tell_of_interrupted(&mut self) {
        let attempts = std::mem::take(&mut self.dispatch.found_in_flight);
        if attempts > 0 {
            self.ctx.notice(OperatorEvent::Interrupted, "", json!({"attempts": attempts}));
        }
    }

    /// Take over what the last process left, in the slots where it stands. What belongs to nothing any more is let go.
    fn take_over(&mut self) -> Result<(), StoreError> {
        let failed = |error: JournalError| StoreError::Failed(error.to_string());
        let adopted = self.dispatch.journal.adopt().map_err(failed)?;
        self.dispatch.found_in_flight = adopted.len();
        for (record, slot) in adopted {
            let mut is_ours = false;
            self.try_each_participant(|one| -> Result<(), StoreError> {
                is_ours = is_ours || one.take_over(&record, slot)?;
                Ok(())
            })?;
            if !is_ours {
                self.dispatch.journal.release(slot);
            }
        }
        self.dispatch.journal.flush().map_err(failed)
    }
}
