//! Who sleeps beside the engine's lock, and who is woken when it is let go. A wake-up that goes missing is work that stands still.

use std::time::Duration;

use crate::base::sync::{Condvar, Mutex, MutexGuard, PoisonError};

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
    /// A turn of an execution is to be made aside.
    fn has_orders(&self) -> bool;
    /// Environments are to be started, or none ever again.
    fn has_launches(&self) -> bool;
    /// The engine's threads end.
    fn is_stopping(&self) -> bool;
}

/// What each thread sleeps on.
#[derive(Default)]
pub(crate) struct Wakes {
    driver: Alarm,
    reader: Alarm,
    measurer: Condvar,
    evaluator: Condvar,
    launcher: Condvar,
}

/// Whose thread has something to do, beside the driver's.
struct Sleepers {
    reader: bool,
    measurer: bool,
    evaluator: bool,
    launcher: bool,
}

impl Sleepers {
    fn wanted(inner: &impl Wanted) -> Self {
        Self {
            reader: inner.has_reads(),
            measurer: inner.has_second(),
            evaluator: inner.has_orders(),
            launcher: inner.has_launches(),
        }
    }
}

/// What a thread sleeps on that a store wakes, too. A store's thread must never wait for the engine's lock: whoever holds that lock may
/// wait for a read which the same thread of the store is to answer. So the alarm has a lock of its own, which nobody holds while he waits,
/// and it stays rung until the thread has heard it.
#[derive(Default)]
struct Alarm {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Alarm {
    fn ring(&self) {
        *self.lock() = true;
        self.changed.notify_one();
    }

    /// Wait until it is rung.
    fn wait(&self) {
        let mut rung = self.lock();
        while !*rung {
            rung = self.changed.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
        *rung = false;
    }

    /// The same, for so long at most.
    fn wait_for(&self, time: Duration) {
        let mut rung = self.lock();
        if !*rung {
            rung = self.changed.wait_timeout(rung, time).unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung = false;
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wakes {
    /// Wake the driver. Never waits for the engine's lock.
    pub(crate) fn wake_driver(&self) {
        self.driver.ring();
    }

    /// Wake the reader. Never waits for the engine's lock.
    pub(crate) fn wake_reader(&self) {
        self.reader.ring();
    }

    /// Unlock, and wake whoever has something to do now. In this order: a thread that is woken by the holder of the lock runs
    /// into it and sleeps again. `ring` comes behind the driver.
    pub(crate) fn leave<T: Wanted>(&self, mut inner: MutexGuard<'_, T>, ring: impl FnOnce()) {
        let wakes = *inner.driver_wakes();
        let drives = wakes > 0 && inner.next_due().is_some_and(|due| due < wakes);
        if drives {
            *inner.driver_wakes() = 0;
        }
        let wanted = Sleepers::wanted(&*inner);
        drop(inner);
        if drives {
            self.driver.ring();
        }
        ring();
        self.notify(&wanted);
    }

    /// The driver goes on with the lock, and wakes whoever has something to do meanwhile.
    pub(crate) fn rouse(&self, inner: &impl Wanted) {
        self.notify(&Sleepers::wanted(inner));
    }

    fn notify(&self, wanted: &Sleepers) {
        if wanted.reader {
            self.reader.ring();
        }
        let others =
            [(&self.measurer, wanted.measurer), (&self.evaluator, wanted.evaluator), (&self.launcher, wanted.launcher)];
        for (sleeps_on, is_wanted) in others {
            if is_wanted {
                sleeps_on.notify_one();
            }
        }
    }

    /// The driver sleeps until it is woken, or so long. The lock is free when it wakes.
    pub(crate) fn sleep<T: Wanted>(&self, mut inner: MutexGuard<'_, T>, now_ns: u64, wait: Duration) {
        *inner.driver_wakes() = now_ns.saturating_add(wait.as_nanos() as u64);
        drop(inner);
        self.driver.wait_for(wait);
    }

    /// Wait for something to be read; `None` when the engine stops.
    pub(crate) fn reads<'a, T: Wanted>(&self, lock: impl Fn() -> MutexGuard<'a, T>) -> Option<MutexGuard<'a, T>> {
        loop {
            let inner = lock();
            if inner.is_stopping() {
                return None;
            }
            if inner.has_reads() {
                return Some(inner);
            }
            drop(inner);
            self.reader.wait();
        }
    }

    /// Wait for the end of a second; `None` when the engine stops.
    pub(crate) fn second<'a, T: Wanted>(&self, inner: MutexGuard<'a, T>) -> Option<MutexGuard<'a, T>> {
        let inner = sleep_until(&self.measurer, inner, |inner| inner.has_second() || inner.is_stopping());
        (!inner.is_stopping()).then_some(inner)
    }

    /// Wait for a turn that is to be made aside; `None` when the engine stops.
    pub(crate) fn order<'a, T: Wanted>(&self, inner: MutexGuard<'a, T>) -> Option<MutexGuard<'a, T>> {
        let inner = sleep_until(&self.evaluator, inner, |inner| inner.has_orders() || inner.is_stopping());
        (!inner.is_stopping()).then_some(inner)
    }

    /// Wait for an environment to be started, or for the end of that.
    pub(crate) fn launch<'a, T: Wanted>(&self, inner: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        sleep_until(&self.launcher, inner, T::has_launches)
    }

    /// The engine stops: with the lock held, so that none of its threads is on the way into its sleep.
    pub(crate) fn stop(&self, _inner: &impl Wanted) {
        self.driver.ring();
        self.reader.ring();
        self.measurer.notify_all();
        self.evaluator.notify_all();
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
