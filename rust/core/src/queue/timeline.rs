//! Wall time that does not jump: how waits are measured on the monotonic clock and yet written down as wall time.

use crate::Now;

const NS_PER_MS: u64 = 1_000_000;

/// A count of milliseconds that agrees with the wall clock when it is made, and from then on follows the monotonic clock.
///
/// Inside one run of the process a jump of the wall clock changes no wait. What a row says after a restart is wall time of
/// another run; it is taken over with a clamp, so that no wait is negative or longer than its maximum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeline {
    start_ms: u64,
    start_ns: u64,
}

impl Timeline {
    pub(super) fn new(now: &Now) -> Self {
        Self { start_ms: now.wall_ms, start_ns: now.mono_ns }
    }

    /// The present moment.
    pub(super) fn at(&self, now: &Now) -> u64 {
        self.start_ms + now.mono_ns.saturating_sub(self.start_ns) / NS_PER_MS
    }

    /// When the monotonic clock will be at a moment.
    pub(super) fn mono_ns(&self, at_ms: u64) -> u64 {
        at_ms.saturating_sub(self.start_ms).saturating_mul(NS_PER_MS).saturating_add(self.start_ns)
    }

    /// What to write down for a moment to come.
    pub(super) fn wall_ms(&self, at_ms: u64, now: &Now) -> u64 {
        now.wall_ms + at_ms.saturating_sub(self.at(now))
    }

    /// A deadline that was written down, at most `wait_ms_max` from now.
    pub(super) fn deadline(&self, wall_ms: u64, wait_ms_max: u64, now: &Now) -> u64 {
        self.at(now) + wall_ms.saturating_sub(now.wall_ms).min(wait_ms_max)
    }

    /// A moment in the past that was written down; one that seems to lie ahead is now.
    pub(super) fn past(&self, wall_ms: u64, now: &Now) -> u64 {
        self.at(now).saturating_sub(now.wall_ms.saturating_sub(wall_ms))
    }
}
