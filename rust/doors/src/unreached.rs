//! An owner that cannot be reached yet, and how often the server is asked about it.

use std::time::{Duration, Instant};

/// How long the server is left alone at first, and at the most, when it was asked how an owner is reached that does not listen yet.
const ASKS_AFTER: Duration = Duration::from_millis(100);
const ASKS_WITHIN: Duration = Duration::from_secs(1);

/// Of whom, since when, and what follows.
pub(crate) struct Unreached {
    pub(crate) owner: String,
    pub(crate) since: Instant,
    /// When the server is asked again how it is reached.
    asks_at: Instant,
}

impl Unreached {
    pub(crate) fn new(owner: &str, now: Instant) -> Self {
        Self { owner: owner.into(), since: now, asks_at: now + ASKS_AFTER }
    }

    /// Whether the server is asked now. It is asked less and less often: all processes of the machine do so, each with a connection of its
    /// own, while the next owner needs the server for itself.
    pub(crate) fn asks(&mut self, now: Instant) -> bool {
        let is_due = now >= self.asks_at;
        if is_due {
            self.asks_at = now + pause_after(now.saturating_duration_since(self.since));
        }
        is_due
    }
}

/// How long the server is left alone when an owner has not been reached for so long.
pub(crate) fn pause_after(unreached: Duration) -> Duration {
    unreached.clamp(ASKS_AFTER, ASKS_WITHIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An owner that has just taken a store that opens for long was asked for some thirty times a second, with a login each time, by each
    /// process beside it. The server had no connection left for the owner itself.
    #[test]
    fn the_server_is_asked_less_and_less_often_how_an_owner_is_reached() {
        let begun = Instant::now();
        let mut unreached = Unreached::new("owner", begun);
        let asks_at = |ms: &u64| unreached.asks(begun + Duration::from_millis(*ms));
        let asked: Vec<u64> = (0..6_000).step_by(10).filter(asks_at).collect();
        assert_eq!(asked, [100, 200, 400, 800, 1_600, 2_600, 3_600, 4_600, 5_600]);
    }
}
