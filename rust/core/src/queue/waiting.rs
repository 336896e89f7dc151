//! The waiting messages of a queue of either kind, behind one face.

use super::fifo::{FifoBatcher, GroupId, Taken, MESSAGES_MAX};
use super::protocol::{Depth, Kind};
use super::standard::StandardWaiting;

#[derive(Debug)]
pub(super) enum Waiting {
    Standard(StandardWaiting),
    Fifo(FifoBatcher),
}

/// A message out of the line, and its group in a FIFO queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulled {
    pub(super) number: u64,
    pub(super) group: Option<GroupId>,
}

impl Waiting {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Standard => Self::Standard(StandardWaiting::default()),
            // The bound is the machine's: what is durable cannot be refused here any more.
            Kind::Fifo => Self::Fifo(FifoBatcher::new(MESSAGES_MAX)),
        }
    }

    pub(super) fn take(&mut self, maximum: usize, now_ms: u64) -> Vec<Pulled> {
        match self {
            Self::Standard(line) => {
                line.due(now_ms);
                let one = || line.take().map(|number| Pulled { number, group: None });
                std::iter::from_fn(one).take(maximum).collect()
            }
            Self::Fifo(line) => {
                let taken = line.take(maximum, now_ms).into_iter();
                taken.map(|Taken { number, group }| Pulled { number, group: Some(group) }).collect()
            }
        }
    }

    /// Take one message out of turn, which waits since then or (`None`) was never taken; unless it may not be taken yet.
    pub(super) fn take_one(&mut self, number: u64, group: &str, since: Option<u64>, now_ms: u64) -> Option<Pulled> {
        match self {
            Self::Standard(line) => {
                let is_taken = match since {
                    None => line.take_fresh(number),
                    Some(at_ms) if at_ms > now_ms => false,
                    Some(at_ms) => {
                        line.remove(number, at_ms);
                        true
                    }
                };
                is_taken.then_some(Pulled { number, group: None })
            }
            Self::Fifo(line) => {
                let taken = line.take_first(group, number, now_ms)?;
                Some(Pulled { number, group: Some(taken.group) })
            }
        }
    }

    /// A message that was pulled is no longer the line's business.
    pub(super) fn done(&mut self, pulled: Pulled) {
        if let (Self::Fifo(line), Some(group)) = (self, pulled.group) {
            line.done(group);
        }
    }

    /// A message that was pulled waits again, from `at_ms` on.
    pub(super) fn back(&mut self, pulled: Pulled, at_ms: u64, now_ms: u64) {
        match (self, pulled.group) {
            (Self::Fifo(line), Some(group)) => {
                let visible_at_ms = if at_ms > now_ms { at_ms } else { 0 };
                line.back(Taken { number: pulled.number, group }, visible_at_ms);
            }
            (Self::Standard(line), _) => line.wait(pulled.number, at_ms, now_ms),
            (Self::Fifo(_), None) => debug_assert!(false, "message {} has no group", pulled.number),
        }
    }

    pub(super) fn due(&mut self, now_ms: u64) {
        match self {
            Self::Standard(line) => line.due(now_ms),
            Self::Fifo(line) => line.due(now_ms),
        }
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        match self {
            Self::Standard(line) => line.next_due(),
            Self::Fifo(line) => line.next_due(),
        }
    }

    /// Visible and delayed; what is in flight the machine knows.
    pub(super) fn depth(&self) -> Depth {
        let (visible, delayed) = match self {
            Self::Standard(line) => (line.visible(), line.delayed()),
            Self::Fifo(line) => (line.visible() as u64, line.delayed() as u64),
        };
        Depth { visible, delayed, in_flight: 0 }
    }

    /// Whether `take` would give something.
    pub(super) fn is_ready(&self, now_ms: u64) -> bool {
        match self {
            Self::Standard(line) => line.visible() > 0 || line.next_due().is_some_and(|at_ms| at_ms <= now_ms),
            Self::Fifo(line) => line.is_ready(now_ms),
        }
    }

    /// Drop everything that waits.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Standard(line) => line.clear(),
            Self::Fifo(line) => drop(line.expire(u64::MAX)),
        }
    }
}
