//! The engine's threads: the driver, who carries commits to the store, the reader, who fetches chunks, and the evaluator, who makes long turns
//! of executions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay_core::Now;
use serde_json::json;

use crate::base::lease::Lease;
use crate::commit::read_jobs::ReadJob;
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::commits;
use crate::runtime::engine::Shared;
use crate::runtime::wakes::{Wakes, Wanted};
use crate::store::port::{Found, Reader, Store, StoreError, Ticket, Unit};

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
/// Most reads under way at a time.
pub(crate) const READS: usize = 16;

/// Wakes a thread when the store has a result. It takes no lock of the engine, as [`Wakes`] says.
struct StoreWakes {
    shared: Arc<Shared>,
    /// Tells the thread that it is the store that has woken it.
    woke: Arc<AtomicBool>,
    wake: fn(&Wakes),
}

impl Wake for StoreWakes {
    fn wake(self: Arc<Self>) {
        self.woke.store(true, Ordering::Release);
        (self.wake)(&self.shared.wakes);
    }
}

/// The driver: turns the engine when something is due and carries commits to the store. The lock is free while it waits and
/// while the disk works.
pub(crate) fn drive(shared: &Arc<Shared>, mut store: Box<dyn Store>) {
    drive_until_stopped(shared, store.as_mut());
    let token = shared.lock().to_release();
    if let Some(token) = token {
        store.release(Unit::All, token);
    }
}

fn drive_until_stopped(shared: &Arc<Shared>, store: &mut dyn Store) {
    let mut inner = shared.enter();
    let woke = inner.store_woke.clone();
    let waker = Waker::from(Arc::new(StoreWakes { shared: shared.clone(), woke, wake: Wakes::wake_driver }));
    let mut more_to_give = true;
    let mut given_at = Instant::now();
    loop {
        *inner.driver_wakes() = 0;
        inner.state.turn();
        inner.begin_commit();
        if let Some(mut under_way) = inner.commit_to_go_on() {
            shared.leave(inner);
            let outcome = under_way.go_on(store, &waker);
            let took_ns = under_way.begun.elapsed().as_nanos() as u64;
            more_to_give |= outcome.is_some() && under_way.commit.trims();
            inner = shared.enter();
            if !inner.went_on(under_way, outcome, took_ns) {
                return;
            }
            continue;
        }
        if inner.stopping && (!inner.is_committing() || inner.state.ctx.commit.is_lost()) {
            return;
        }
        if inner.state.ctx.ring {
            shared.leave(inner);
            inner = shared.enter();
            continue;
        }
        shared.wakes.rouse(&*inner);
        let now = inner.state.ctx.now.mono_ns;
        let wait = inner.next_due().map_or(IDLE, |due| Duration::from_nanos(due.saturating_sub(now)).min(IDLE));
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
        if let Some(text) = store.notice() {
            inner.state.ctx.notice(OperatorEvent::Store, "server", json!({"text": text}));
            continue;
        }
        if wait > Duration::ZERO {
            shared.wakes.sleep(inner, now, wait);
            inner = shared.lock();
        }
        shared.tell_time(&mut inner.state);
    }
}

/// Whether a step of giving room back fits into a wait, so long after the last one.
fn may_give_back(wait: Duration, since: Duration) -> bool {
    wait > LULL || (wait > STEP && since > STEP_EVERY)
}

/// The reader: makes the reads that take longer than the lock may be held.
pub(crate) fn read(shared: &Arc<Shared>, mut reader: Box<dyn Reader>) {
    let woke = shared.lock().reads_woke.clone();
    let waker = StoreWakes { shared: shared.clone(), woke: woke.clone(), wake: Wakes::wake_reader };
    let waker = Waker::from(Arc::new(waker));
    let mut reads = Reads { under_way: Vec::with_capacity(READS), ended: Vec::with_capacity(READS) };
    while let Some(mut inner) = shared.wakes.reads(|| shared.lock()) {
        woke.store(false, Ordering::Release);
        let many = inner.state.ctx.commit.reads.len().min(READS - reads.under_way.len());
        let jobs: Vec<_> = inner.state.ctx.commit.reads.drain(..many).collect();
        drop(inner);
        for job in jobs {
            reads.go_on(job, reader.as_mut());
        }
        while let Some((ticket, found)) = reader.poll(&waker) {
            reads.found(ticket, found, reader.as_mut());
        }
        let mut inner = shared.enter();
        inner.reads_under_way = reads.under_way.len();
        for job in reads.ended.drain(..) {
            commits::fetched(&mut inner.state, job);
        }
        shared.leave(inner);
    }
    // Those who wait for these are told when the engine has stopped.
    let abandoned = reads.under_way.into_iter().map(|(_, job)| job);
    shared.lock().state.ctx.commit.reads.extend(abandoned);
}

/// The evaluator: makes the turns of executions that take longer than the lock may be held.
pub(crate) fn evaluate(shared: &Arc<Shared>) {
    while let Some(inner) = shared.wakes.order(shared.lock()) {
        drop(inner);
        let mut inner = shared.enter();
        let order = inner.state.next_order();
        shared.leave(inner);
        if let Some(order) = order {
            let made = order.carry_out();
            let mut inner = shared.enter();
            inner.state.made(made);
            shared.leave(inner);
        }
    }
}

/// The jobs of the reader.
struct Reads {
    /// Jobs with a read under way.
    under_way: Vec<(Ticket, Box<dyn ReadJob>)>,
    ended: Vec<Box<dyn ReadJob>>,
}

impl Reads {
    fn go_on(&mut self, mut job: Box<dyn ReadJob>, reader: &mut dyn Reader) {
        match job.next() {
            Some(read) => self.under_way.push((reader.submit(read), job)),
            None => self.ended.push(job),
        }
    }

    fn found(&mut self, ticket: Ticket, found: Result<Found, StoreError>, reader: &mut dyn Reader) {
        let Some(at) = self.under_way.iter().position(|(of, _)| *of == ticket) else { return };
        let (_, mut job) = self.under_way.remove(at);
        job.found(found);
        self.go_on(job, reader);
    }
}

/// The machine's clock, and the store's if it has one; `start` is the engine's.
pub(crate) fn read_clock(start: Instant, lease: &Lease) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        mono_ns: start.elapsed().as_nanos() as u64,
        wall_ms: lease.wall_ms().unwrap_or(wall.as_millis() as u64),
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
