//! What became of an attempt: its permit is free, and the room whose job it was is told.

use crate::dispatch::attempts::Settled;
use crate::dispatch::participant::Ended;
use crate::dispatch::ready_list::Kind;
use crate::dispatch::{answers, permits};
use crate::runtime::participants;
use crate::runtime::rooms::Rooms;

/// An attempt has ended.
pub(crate) fn settle(rooms: &mut Rooms, settled: Settled) {
    settle_all(rooms, [settled]);
}

/// Attempts have ended. What rooms do once for all of them follows when all of them are settled.
pub(crate) fn settle_all(rooms: &mut Rooms, settled: impl IntoIterator<Item = Settled>) {
    for one in settled {
        settle_one(rooms, one);
        rooms.conduct();
    }
    participants::each_participant(rooms, |one| one.all_settled());
}

/// A token that names nothing is an answer that came twice or too late: it is refused.
fn settle_one(rooms: &mut Rooms, settled: Settled) {
    let Some(attempt) = rooms.dispatch.attempts.remove(settled.token) else { return };
    let kind = attempt.job.kind();
    rooms.dispatch.ready_list.ended(kind, attempt.alone, attempt.timed_out);
    permits::free_permit(&mut rooms.dispatch(), attempt.lease);
    for &slot in &attempt.file_slots {
        rooms.dispatch.journal.release(slot);
    }
    let status = if attempt.timed_out { 2 } else { settled.status };
    let timed_out = (status == 2 && kind != Kind::Delivery)
        .then(|| answers::timeout_error(&rooms.dispatch, attempt.handler, attempt.request).1);
    let (body, late) = match timed_out {
        Some(error) => (Some(error.into_bytes()), settled.body.filter(|_| settled.status == 0)),
        None => (settled.body, None),
    };
    answers::measure(&mut rooms.dispatch(), &attempt, status, settled.duration_ns);
    let room = attempt.job.room();
    let ended = Ended { status, body, late, duration_ns: settled.duration_ns };
    rooms.participant(room, |one| one.settled(attempt, ended));
    if rooms.dispatch.ready_list.rings(rooms.ctx.is_paused()) {
        rooms.ctx.ring = true;
    }
}
