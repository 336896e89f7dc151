//! The order in which events stand in the store: by a wall clock that is never set back.

use crate::Now;

const NS_PER_MS: u64 = 1_000_000;

/// When events are due. It agrees with the wall clock until that is set back, and then goes on as if it had not been: what comes later
/// stands behind what came before, also in the store, of which only the first are known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    wall_ms: u64,
    mono_ns: u64,
}

impl Order {
    /// The present moment.
    pub(super) fn at(&self, now: &Now) -> u64 {
        now.wall_ms.max(self.ahead(now))
    }

    /// This moment is not after the present one, whatever the wall clock says.
    pub(super) fn reach(&mut self, wall_ms: u64, now: &Now) {
        if wall_ms > self.ahead(now) {
            *self = Self { wall_ms, mono_ns: now.mono_ns };
        }
    }

    fn ahead(&self, now: &Now) -> u64 {
        self.wall_ms + now.mono_ns.saturating_sub(self.mono_ns) / NS_PER_MS
    }
}
