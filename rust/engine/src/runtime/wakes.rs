//! Who sleeps beside the engine's lock, and who is woken when it is let go. A wake-up that goes missing is work that stands still.

use std::time::Duration;

use crate::base::sync::{Condvar, MutexGuard, PoisonError};

/// What the threads wait for, as it stands under the lock.
pub(crate) trait Wanted {
    /// When the next turn is needed, mono ns.
    fn next_due(&self) -> Option<u64>;
    /// When the driver wakes by itself, mono ns; 0 while it is awake, or has been woken.
    fn driver_wakes(&mut self) -> &mut u64;
    /// There is something to be read.
    fn has_reads(&self) -> bool;
    /// A second has ended, and what was counted in it is not taken in.
    fn has_second(&self) -> bool;
    /// Environments are to be started, or none ever again.
    fn has_launches(&self) -> bool;
    /// The engine's threads end.
    fn is_stopping(&self) -> bool;
}

/// What each thread sleeps on.
#[derive(Default)]
pub(crate) struct Wakes {
    driver: Condvar,
    reader: Condvar,
    measurer: Condvar,
    launcher: Condvar,
}

impl Wakes {
    /// Unlock, and wake whoever has something to do now. In this order: a thread that is woken by the holder of the lock runs
    /// into it and sleeps again. `ring` comes behind the driver.
    pub(crate) fn leave<T: Wanted>(&self, mut inner: MutexGuard<'_, T>, ring: impl FnOnce()) {
        let wakes = *inner.driver_wakes();
        let drives = wakes > 0 && inner.next_due().is_some_and(|due| due < wakes);
        if drives {
            *inner.driver_wakes() = 0;
        }
        let (reads, second, launches) = (inner.has_reads(), inner.has_second(), inner.has_launches());
        drop(inner);
        if drives {
            self.driver.notify_one();
        }
        ring();
        self.notify(reads, second, launches);
    }

    /// The driver goes on with the lock, and wakes whoever has something to do meanwhile.
    pub(crate) fn rouse(&self, inner: &impl Wanted) {
        self.notify(inner.has_reads(), inner.has_second(), inner.has_launches());
    }

    fn notify(&self, reads: bool, second: bool, launches: bool) {
        for (sleeps_on, is_wanted) in [(&self.reader, reads), (&self.measurer, second), (&self.launcher, launches)] {
            if is_wanted {
                sleeps_on.notify_one();
            }
        }
    }

    /// The driver sleeps until it is woken, or so long.
    pub(crate) fn sleep<'a, T: Wanted>(
        &self,
        mut inner: MutexGuard<'a, T>,
        now_ns: u64,
        wait: Duration,
    ) -> MutexGuard<'a, T> {
        *inner.driver_wakes() = now_ns.saturating_add(wait.as_nanos() as u64);
        self.driver.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Wait for something to be read; `None` when the engine stops.
    pub(crate) fn reads<'a, T: Wanted>(&self, inner: MutexGuard<'a, T>) -> Option<MutexGuard<'a, T>> {
        let inner = sleep_until(&self.reader, inner, |inner| inner.has_reads() || inner.is_stopping());
        (!inner.is_stopping()).then_some(inner)
    }

    /// Wait for the end of a second; `None` when the engine stops.
    pub(crate) fn second<'a, T: Wanted>(&self, inner: MutexGuard<'a, T>) -> Option<MutexGuard<'a, T>> {
        let inner = sleep_until(&self.measurer, inner, |inner| inner.has_second() || inner.is_stopping());
        (!inner.is_stopping()).then_some(inner)
    }

    /// Wait for an environment to be started, or for the end of that.
    pub(crate) fn launch<'a, T: Wanted>(&self, inner: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        sleep_until(&self.launcher, inner, T::has_launches)
    }

    /// The engine stops: with the lock held, so that none of its threads is on the way into its sleep.
    pub(crate) fn stop(&self, _inner: &impl Wanted) {
        for sleeps_on in [&self.driver, &self.reader, &self.measurer] {
            sleeps_on.notify_all();
        }
    }
}

fn sleep_until<'a, T>(
    sleeps_on: &Condvar,
    mut inner: MutexGuard<'a, T>,
    is_over: impl Fn(&T) -> bool,
) -> MutexGuard<'a, T> {
    while !is_over(&inner) {
        inner = sleeps_on.wait(inner).unwrap_or_else(PoisonError::into_inner);
    }
    inner
}
