//! What an engine finds in its store when it opens it, room by room.

use serde_json::json;

use crate::dispatch::attempt_journal::JournalError;
use crate::metrics::points::Points;
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::rooms::Rooms;
use crate::store::format::keys::{MIGRATING, MOVED};
use crate::store::migrate::{moved, UNFINISHED};
use crate::store::port::{StoreError, Table};

/// Let every room read what is its own; gives the metric points, which no room has.
pub(crate) fn restore(rooms: &mut Rooms) -> Result<Points, StoreError> {
    rooms.ctx.commit.reader.read_ahead()?;
    if rooms.ctx.commit.reader.get(Table::Meta, MIGRATING)?.is_some() {
        return Err(StoreError::Refused(UNFINISHED.into()));
    }
    if let Some(mark) = rooms.ctx.commit.reader.get(Table::Meta, MOVED)? {
        return Err(StoreError::Refused(moved(&mark)));
    }
    rooms.try_each_participant(|one| one.restore())?;
    rooms.topics().restore_topics()?;
    let points = rooms.ctx.commit.reader.scan(Table::Metric, &[], None, usize::MAX)?;
    take_over(rooms)?;
    rooms.try_each_participant(|one| one.resume())?;
    Ok(Points::open(points, rooms.ctx.now.wall_ms))
}

/// Tell what the last process was doing when it died: the app starts, which does it again. A process that runs no app does not.
pub(crate) fn tell_of_interrupted(rooms: &mut Rooms) {
    let attempts = std::mem::take(&mut rooms.dispatch.found_in_flight);
    if attempts > 0 {
        rooms.ctx.notice(OperatorEvent::Interrupted, "", json!({"attempts": attempts}));
    }
}

/// Take over what the last process left, in the slots where it stands. What belongs to nothing any more is let go.
fn take_over(rooms: &mut Rooms) -> Result<(), StoreError> {
    let failed = |error: JournalError| StoreError::Failed(error.to_string());
    let adopted = rooms.dispatch.journal.adopt().map_err(failed)?;
    rooms.dispatch.found_in_flight = adopted.len();
    for (record, slot) in adopted {
        let mut is_ours = false;
        rooms.try_each_participant(|one| -> Result<(), StoreError> {
            is_ours = is_ours || one.take_over(&record, slot)?;
            Ok(())
        })?;
        if !is_ours {
            rooms.dispatch.journal.release(slot);
        }
    }
    rooms.dispatch.journal.flush().map_err(failed)
}
