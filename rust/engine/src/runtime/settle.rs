//! What became of an attempt: its permit is free, and the room whose job it was is told.

use crate::dispatch::attempts::Settled;
use crate::dispatch::participant::Ended;
use crate::dispatch::ready_list::Kind;
use crate::runtime::rooms::Rooms;

impl Rooms {
    /// An attempt has ended.
    pub(crate) fn settle(&mut self, settled: Settled) {
        self.settle_all([settled]);
    }

    /// Attempts have ended. What rooms do once for all of them follows when all of them are settled.
    pub(crate) fn settle_all(&mut self, settled: impl IntoIterator<Item = Settled>) {
        for one in settled {
            self.settle_one(one);
            self.conduct();
        }
        self.each_participant(|one| one.all_settled());
    }

    /// A token that names nothing is an answer that came twice or too late: it is refused.
    fn settle_one(&mut self, settled: Settled) {
        let Some(attempt) = self.dispatch.attempts.remove(settled.token) else { return };
        let kind = attempt.job.kind();
        self.dispatch.ready_list.ended(kind, attempt.alone, attempt.timed_out);
        self.dispatch().free_permit(attempt.lease);
        for &slot in &attempt.file_slots {
            self.dispatch.journal.release(slot);
        }
        let status = if attempt.timed_out { 2 } else { settled.status };
        let timed_out = (status == 2 && kind != Kind::Delivery)
            .then(|| self.dispatch.timeout_error(attempt.handler, attempt.request).1);
        let (body, late) = match timed_out {
            Some(error) => (Some(error.into_bytes()), settled.body.filter(|_| settled.status == 0)),
            None => (settled.body, None),
        };
        self.dispatch().measure(&attempt, status, settled.duration_ns);
        let room = attempt.job.room();
        let ended = Ended { status, body, late, duration_ns: settled.duration_ns };
        self.participant(room, |one| one.settled(attempt, ended));
        if self.dispatch.ready_list.rings(self.ctx.is_paused()) {
            self.ctx.ring = true;
        }
    }
}
