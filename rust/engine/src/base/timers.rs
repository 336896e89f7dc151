//! Timers by the time at which they are due.

use std::collections::BTreeSet;

use crate::base::ids::RoomId;

/// What rings when its time has come: whose timer it is, which of its timers, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(crate) room: RoomId,
    pub(crate) kind: u8,
    pub(crate) id: u64,
}

/// The room of what the runtime looks after itself.
pub(crate) const RUNTIME: RoomId = RoomId(u8::MAX);
/// Retention looks.
pub(crate) const SWEEP: Timer = Timer { room: RUNTIME, kind: 0, id: 0 };

/// Timers by time. Pollers and functions have one entry each: whoever wants to ring later than it is armed lets it ring and
/// arms it anew.
#[derive(Default)]
pub(crate) struct Timers(BTreeSet<(u64, Timer)>);

impl Timers {
    pub(crate) fn push(&mut self, due_ns: u64, timer: Timer) {
        self.0.insert((due_ns, timer));
    }

    /// Make sure that a timer with one entry rings at `due_ns` or before.
    pub(crate) fn arm(&mut self, armed: &mut Option<u64>, due_ns: u64, timer: Timer) {
        match *armed {
            Some(earlier) if earlier <= due_ns => return,
            Some(later) => {
                self.0.remove(&(later, timer));
            }
            None => {}
        }
        *armed = Some(due_ns);
        self.0.insert((due_ns, timer));
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.0.first().map(|(due, _)| *due)
    }

    /// When the first of all but this one is due.
    pub(crate) fn next_due_but(&self, left_out: Timer) -> Option<u64> {
        self.0.iter().find(|(_, timer)| *timer != left_out).map(|(due, _)| *due)
    }

    pub(crate) fn pop_due(&mut self, now_ns: u64) -> Option<(u64, Timer)> {
        if self.next_due()? > now_ns {
            return None;
        }
        self.0.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_ring_in_order_and_only_when_due() {
        let mut timers = Timers::default();
        let timer = |kind| Timer { room: RoomId(0), kind, id: 0 };
        timers.push(20, timer(1));
        timers.push(10, timer(2));
        assert_eq!(timers.pop_due(9), None);
        assert_eq!((timers.next_due_but(timer(1)), timers.next_due_but(timer(2))), (Some(10), Some(20)));
        assert_eq!(timers.pop_due(25), Some((10, timer(2))));
        assert_eq!(timers.pop_due(25), Some((20, timer(1))));
        assert_eq!(timers.pop_due(25), None);
    }
}
