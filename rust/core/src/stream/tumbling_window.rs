//! Tumbling windows: which one a record falls into, and when one is over.
//!
//! Windows follow arrival time and never go back: a record stamped before the window in progress joins it. A window is
//! over when a record of a later one is next, or, with nothing left to read, [`LINGER_MS`] after its end by the wall
//! clock (AWS waits up to two minutes; our records are stamped by the process that reads them, so a second is enough). It
//! ends early when its state passes [`STATE_BYTES_MAX`], when the shard ends, and when the mapping's window length is
//! changed.

use super::checkpoint::WindowState;
use super::protocol::Window;

/// Largest state that is carried on, bytes of JSON text.
pub(super) const STATE_BYTES_MAX: usize = 1024 * 1024;

/// How long after a window's end a record stamped inside it may still become readable, ms.
pub(super) const LINGER_MS: u64 = 1000;

/// State of a window in which nothing has been done.
const STATE_EMPTY: &str = "{}";

/// The window of `length_ms` that holds `arrival_ms`.
pub(super) fn opened(arrival_ms: u64, length_ms: u64) -> WindowState {
    let start_ms = arrival_ms - arrival_ms % length_ms;
    WindowState { start_ms, end_ms: start_ms + length_ms, state: STATE_EMPTY.into() }
}

impl WindowState {
    /// Whether a record that arrived then belongs here rather than to a later window.
    pub(super) fn takes(&self, arrival_ms: u64) -> bool {
        arrival_ms < self.end_ms
    }

    pub(super) fn length_ms(&self) -> u64 {
        self.end_ms - self.start_ms
    }

    /// Whether its state may not be carried on.
    pub(super) fn is_too_large(&self) -> bool {
        self.state.len() > STATE_BYTES_MAX
    }

    /// Milliseconds until it is over when no more records come, at most its length and the linger.
    pub(super) fn remaining_ms(&self, wall_ms: u64) -> u64 {
        let longest = self.length_ms() + LINGER_MS;
        (self.end_ms + LINGER_MS).saturating_sub(wall_ms).min(longest)
    }

    /// As a batch carries it; `next_ms` is the arrival of the lane's first record, if there is one.
    pub(super) fn handed(&self, is_final: bool, next_ms: Option<u64>, wall_ms: u64) -> Window {
        let has_had_its_time = wall_ms >= self.end_ms || next_ms.is_some_and(|arrival_ms| !self.takes(arrival_ms));
        Window {
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            state: self.state.clone(),
            is_final,
            is_terminated_early: is_final && (self.is_too_large() || !has_had_its_time),
        }
    }
}
