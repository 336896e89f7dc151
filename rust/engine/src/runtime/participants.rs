//! The rooms with work of their own, each on one line: their fields in [`Rooms`], and who is brought what.

use std::convert::Infallible;

use crate::base::ids::RoomId;
use crate::base::timers::{Timer, RUNTIME};
use crate::buses::participant::BusParticipant;
use crate::buses::{self, Buses};
use crate::ctx::Ctx;
use crate::dispatch::participant::Participant;
use crate::dispatch::{self, Dispatch};
use crate::environments::Pools;
use crate::failures::{self, Failures};
use crate::gateways::rest::{self, RestApis, RestRoom};
use crate::gateways::Gateways;
use crate::runtime::runners::Runners;
use crate::runtime::wanted::Wanted;
use crate::schemas::{self, SchemaRoom, Schemas};
use crate::sources::invocation::{self, EventQueues, InvocationRoom};
use crate::sources::queue::{self, QueueRoom, Queues};
use crate::sources::stream::{self, StreamRoom, Streams};
#[cfg(test)]
use crate::sources::ticks::{self, TickRoom, Ticks};
use crate::topics::Topics;
use crate::workflows::participant::WorkflowParticipant;
use crate::workflows::{self, Workflows};

/// A minute of the metric points ends.
pub(crate) const POINTS: Timer = Timer { room: RUNTIME, kind: 1, id: 0 };

macro_rules! sources {
    ($($(#[$when:meta])* $name:ident: $state:ident => $view:ident, $room:path;)*) => {
        /// Everything an engine knows, room by room. Only `runtime` sees it whole.
        pub(crate) struct Rooms {
            pub(crate) ctx: Ctx,
            pub(crate) dispatch: Dispatch,
            pub(crate) failures: Failures,
            pub(crate) environments: Pools,
            pub(crate) topics: Topics,
            pub(crate) gateways: Gateways,
            /// When the running minute of the points ends.
            pub(crate) points_armed: Option<u64>,
            /// What clients declare and do not run.
            pub(crate) wanted: Wanted,
            /// Other processes that run handlers for this one.
            pub(crate) runners: Runners,
            $($(#[$when])* pub(crate) $name: $state,)*
        }

        impl Rooms {
            pub(crate) fn over(ctx: Ctx, dispatch: Dispatch) -> Self {
                Self {
                    ctx,
                    dispatch,
                    failures: Failures::default(),
                    environments: Pools::default(),
                    topics: Topics::default(),
                    gateways: Gateways::default(),
                    points_armed: None,
                    wanted: Wanted::default(),
                    runners: Runners::default(),
                    $($(#[$when])* $name: $state::default(),)*
                }
            }

            $($(#[$when])* pub(crate) fn $name(&mut self) -> $view<'_> {
                $view::new(&mut self.ctx, &mut self.dispatch, &mut self.failures, &mut self.$name)
            })*

            /// Bring something to a room.
            pub(crate) fn participant<R: Default>(
                &mut self,
                room: RoomId,
                act: impl FnOnce(&mut dyn Participant) -> R,
            ) -> R {
                match room {
                    dispatch::ROOM => act(&mut self.dispatch()),
                    $($(#[$when])* $room => act(&mut self.$name()),)*
                    failures::participant::ROOM => act(&mut self.failures()),
                    _ => R::default(),
                }
            }

            /// Bring something to every room, in this order.
            pub(crate) fn try_each_participant<E>(
                &mut self,
                mut act: impl FnMut(&mut dyn Participant) -> Result<(), E>,
            ) -> Result<(), E> {
                act(&mut self.dispatch())?;
                $($(#[$when])* act(&mut self.$name())?;)*
                act(&mut self.failures())
            }

            /// Whether it is so in any room.
            pub(crate) fn any_participant(&mut self, ask: impl Fn(&dyn Participant) -> bool) -> bool {
                let mut is_so = ask(&self.failures());
                $($(#[$when])* { is_so = is_so || ask(&self.$name()); })*
                is_so
            }
        }

        #[cfg(test)]
        const SOURCES: &[RoomId] = &[$($room),*];
    };
}

// A new kind of work is a folder and a line here.
sources! {
    streams: Streams => StreamRoom, stream::participant::ROOM;
    events: EventQueues => InvocationRoom, invocation::participant::ROOM;
    queues: Queues => QueueRoom, queue::participant::ROOM;
    schemas: Schemas => SchemaRoom, schemas::ROOM;
    buses: Buses => BusParticipant, buses::participant::ROOM;
    workflows: Workflows => WorkflowParticipant, workflows::participant::ROOM;
    rest_apis: RestApis => RestRoom, rest::ROOM;
    #[cfg(test)]
    ticks: Ticks => TickRoom, ticks::ROOM;
}

/// Bring something to every room, in the order of [`Rooms::try_each_participant`].
pub(crate) fn each_participant(rooms: &mut Rooms, mut act: impl FnMut(&mut dyn Participant)) {
    let done: Result<(), Infallible> = rooms.try_each_participant(|one| {
        act(one);
        Ok(())
    });
    match done {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_room_has_a_number_of_its_own() {
        let mut numbers: Vec<RoomId> = SOURCES.to_vec();
        numbers.extend([RUNTIME, crate::environments::ROOM, dispatch::ROOM, failures::participant::ROOM]);
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }
}
