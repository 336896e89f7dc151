//! The engine's two threads: the driver, who carries commits to the store, and the reader, who fetches chunks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay_core::Now;

use crate::commit::read_jobs::ReadJob;
use crate::runtime::engine::Shared;
use crate::runtime::wakes::Wanted;
use crate::store::port::{Reader, Store};

/// Longest sleep of a thread that has nothing to do.
const IDLE: Duration = Duration::from_secs(3600);
/// Room is given back when nothing is due for so long. A backlog that is drained commits every 5 ms: what would be moved under it to make the
/// file shorter is about to be freed itself.
const LULL: Duration = Duration::from_millis(20);
/// A store that never rests so long gives back a step as often as this, where nothing is due for a `STEP`. While commits follow each other
/// without such a rest it gives back nothing: what they free is written again by those behind them.
const STEP_EVERY: Duration = Duration::from_millis(100);
/// Less than that is too short for a step.
const STEP: Duration = Duration::from_millis(1);
/// Reads taken from the queue at once.
const READS: usize = 16;

/// The driver: turns the engine when something is due and carries commits to the store. The lock is free while it waits and
/// while the disk works.
pub(crate) fn drive(shared: &Shared, mut store: Box<dyn Store>) {
    let mut inner = shared.enter();
    let mut more_to_give = true;
    let mut given_at = Instant::now();
    loop {
        *inner.driver_wakes() = 0;
        inner.state.turn();
        let now = inner.state.ctx.now.mono_ns;
        if let Some(commit) = if inner.commit_is_due() { inner.state.take_commit() } else { None } {
            shared.leave(inner);
            let begun = Instant::now();
            let result = store.commit(&commit.writes);
            more_to_give |= commit.trims();
            inner = shared.enter();
            let refused = result.is_err();
            inner.state.committed(commit, result, begun.elapsed().as_nanos() as u64);
            if !inner.goes_on(refused) {
                return;
            }
            continue;
        }
        if inner.stopping {
            return;
        }
        if inner.state.ctx.ring {
            shared.leave(inner);
            inner = shared.enter();
            continue;
        }
        shared.wakes.rouse(&*inner);
        let wait = inner.state.next_due().map_or(IDLE, |due| Duration::from_nanos(due.saturating_sub(now)).min(IDLE));
        if more_to_give && may_give_back(wait, given_at.elapsed()) {
            drop(inner);
            let given = store.give_back();
            given_at = Instant::now();
            inner = shared.enter();
            match given {
                Ok(more) => more_to_give = more,
                Err(error) => {
                    more_to_give = false;
                    inner.state.ctx.fail(error);
                }
            }
            continue;
        }
        if wait > Duration::ZERO {
            inner = shared.wakes.sleep(inner, now, wait);
        }
        shared.tell_time(&mut inner.state);
    }
}

/// Whether a step of giving room back fits into a wait, so long after the last one.
fn may_give_back(wait: Duration, since: Duration) -> bool {
    wait > LULL || (wait > STEP && since > STEP_EVERY)
}

/// The reader: fetches chunks for machines that want records which are not in memory.
pub(crate) fn read(shared: &Shared, mut reader: Box<dyn Reader>) {
    let mut batch: Vec<Box<dyn ReadJob>> = Vec::with_capacity(READS);
    while let Some(mut inner) = shared.wakes.reads(shared.lock()) {
        let many = inner.state.ctx.commit.reads.len().min(READS);
        batch.extend(inner.state.ctx.commit.reads.drain(..many));
        drop(inner);
        for job in &mut batch {
            job.run(reader.as_mut());
        }
        let mut inner = shared.enter();
        for job in batch.drain(..) {
            inner.state.fetched(job);
        }
        shared.leave(inner);
    }
}

/// The machine's clock; `start` is the engine's.
pub(crate) fn read_clock(start: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        mono_ns: start.elapsed().as_nanos() as u64,
        wall_ms: wall.as_millis() as u64,
        entropy: wall.as_nanos() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backlog's pages were moved between any two commits of its drain, to be freed a moment later: a third of what a message cost.
    #[test]
    fn room_is_given_back_when_the_store_rests_and_now_and_then_when_it_never_does() {
        let ms = Duration::from_millis;
        assert!(may_give_back(ms(50), ms(1)), "nothing is due");
        assert!(!may_give_back(ms(5), ms(50)), "between two commits of a drain");
        assert!(may_give_back(ms(5), ms(101)), "it never rests");
        assert!(!may_give_back(ms(1), ms(500)), "too short a wait");
    }
}
