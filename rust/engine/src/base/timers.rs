//! Timers by the time at which they are due.

use std::collections::BTreeSet;

use crate::dispatch::attempts::HandlerId;
use crate::sources::queue::QueueId;
use crate::sources::stream::poller::PollerId;

/// What rings when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Poller(PollerId),
    Deadline(HandlerId),
    Environments(HandlerId),
    /// Somebody waits for a place that comes with time.
    Permits,
    /// Failures of a mapping or a function are due at their destination.
    Deliveries(u64),
    Redrives,
    Events(u64),
    Queue(QueueId),
    /// The window of a mapping on a queue.
    QueueMapping(u64),
    /// Messages on their way from queue to queue.
    Transfers,
    Sweep,
    Points,
}

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
        timers.push(20, Timer::Sweep);
        timers.push(10, Timer::Transfers);
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(25), Some((10, Timer::Transfers)));
        assert_eq!(timers.pop_due(25), Some((20, Timer::Sweep)));
        assert_eq!(timers.pop_due(25), None);
    }
}
