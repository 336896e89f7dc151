//! The order in which events stand in the store: by a wall clock that is never set back.

use crate::timeline::Timeline;
use crate::Now;

/// When events are due. It agrees with the wall clock until that is set back, and then goes on as if it had not been: what comes later
/// stands behind what came before, also in the store, of which only the first are known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order(Timeline);

impl Order {
    /// The present moment.
    pub(super) fn at(&self, now: &Now) -> u64 {
        now.wall_ms.max(self.0.at(now))
    }

    /// This moment is not after the present one, whatever the wall clock says.
    pub(super) fn reach(&mut self, wall_ms: u64, now: &Now) {
        if wall_ms > self.0.at(now) {
            self.0 = Timeline::showing(wall_ms, now);
        }
    }
}
