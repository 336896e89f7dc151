//! `events.list`

use crate::api::function::Events;
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::sources::invocation::InvocationRoom;

impl InvocationRoom<'_> {
    pub(crate) fn events_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let rows = self.events.queues.values().map(|events| {
            let (waiting, more) = events.machine.waiting();
            Events {
                function: events.name(),
                registered: events.slot.is_some(),
                waiting,
                more,
                running: events.machine.running(),
                oldest_age_ms: events.machine.oldest_age_ms(&self.ctx.now),
            }
        });
        let rows: Vec<Events> = rows.filter(|row| row.waiting > 0 || row.running > 0).collect();
        Ok(Done::at_once(rows))
    }
}
