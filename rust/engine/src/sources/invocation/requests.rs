//! `events.*`

use crate::api::event::{Invoke, Which};
use crate::api::function::Events;
use crate::api::Empty;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::ids::{parse_uuid, uuid_text};
use crate::base::trace::Origin;
use crate::commit::done::{json, Done};
use crate::sources::invocation::accept::{self, InvokeOptions};
use crate::sources::invocation::kept_results;
use crate::sources::invocation::InvocationRoom;

impl InvocationRoom<'_> {
    /// Answered when it is durable.
    pub(crate) fn event_invoke(&mut self, asked: Invoke, waiter: Waiter) {
        let origin = Origin { parent: asked.parent.as_deref().and_then(parse_uuid), trace: asked.trace.as_deref() };
        let reply = |request| Reply::Added(json(uuid_text(request)));
        match InvokeOptions::of(&asked, self.ctx.now.wall_ms) {
            Ok(options) => {
                accept::accept(
                    self,
                    &asked.function,
                    asked.payload.get().as_bytes(),
                    origin,
                    &options,
                    (waiter, reply),
                );
            }
            Err(error) => self.ctx.answer(waiter, Err(error)),
        }
    }

    pub(crate) fn events_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let rows = self.events.queues.values().map(|events| {
            let (waiting, more) = events.machine.waiting();
            Events {
                function: events.name(),
                registered: events.handler.is_some(),
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

/// What is carried out in the files that tell of it.
impl InvocationRoom<'_> {
    pub(crate) fn event_result(&mut self, asked: Which, waiter: Waiter) {
        kept_results::event_result(self, asked, waiter);
    }
}
