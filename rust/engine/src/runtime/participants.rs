//! The rooms with work of their own, each on one line: their fields in [`Rooms`], and who is brought what.

use crate::base::ids::RoomId;
use crate::base::timers::{Timer, RUNTIME};
use crate::dispatch::participant::Participant;
use crate::runtime::rooms::Rooms;

/// A minute of the metric points ends.
pub(crate) const POINTS: Timer = Timer { room: RUNTIME, kind: 1, id: 0 };

macro_rules! participants {
    ($($room:path => $name:ident;)*) => {
        impl Rooms {
            /// Bring something to a room.
            pub(crate) fn participant<R: Default>(
                &mut self,
                room: RoomId,
                act: impl FnOnce(&mut dyn Participant) -> R,
            ) -> R {
                match room {
                    $($room => act(&mut self.$name()),)*
                    _ => R::default(),
                }
            }

            /// Bring something to every room, in this order.
            pub(crate) fn each_participant(&mut self, mut act: impl FnMut(&mut dyn Participant)) {
                $(act(&mut self.$name());)*
            }

            /// Whether it is so in any room.
            pub(crate) fn any_participant(&mut self, ask: impl Fn(&dyn Participant) -> bool) -> bool {
                $(ask(&self.$name()) ||)* false
            }
        }

        #[cfg(test)]
        const ALL: &[RoomId] = &[$($room),*];
    };
}

participants! {
    crate::dispatch::ROOM => dispatch;
    crate::sources::stream::participant::ROOM => streams;
    crate::sources::invocation::participant::ROOM => events;
    crate::sources::queue::participant::ROOM => queues;
    crate::failures::participant::ROOM => failures;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_room_has_a_number_of_its_own() {
        let mut numbers: Vec<RoomId> = ALL.iter().copied().chain([RUNTIME, crate::environments::ROOM]).collect();
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }
}
