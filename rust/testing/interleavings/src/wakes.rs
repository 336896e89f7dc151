//! The engine's threads: whatever one of them leaves for another is done, and all of them end when the engine stops.

#[path = "../../../engine/src/runtime/wakes.rs"]
mod engine_wakes;

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread;

use self::engine_wakes::{Wakes, Wanted};
use crate::play;
use crate::play_bounded;

/// What is left of the engine: numbers of things to be done. Its clock stands.
#[derive(Default)]
struct Inner {
    driver_wakes: u64,
    /// For the driver, which makes reads of it.
    work: usize,
    reads: usize,
    second_ended: bool,
    launches: usize,
    orders: usize,
    stopped: bool,
    stopping: bool,
    done: usize,
    /// Results of the store that the driver has taken.
    results: usize,
}

impl Wanted for Inner {
    fn next_due(&self) -> Option<u64> {
        (self.work > 0).then_some(0)
    }

    fn driver_wakes(&mut self) -> &mut u64 {
        &mut self.driver_wakes
    }

    fn has_reads(&self) -> bool {
        self.reads > 0
    }

    fn has_second(&self) -> bool {
        self.second_ended
    }

    fn has_orders(&self) -> bool {
        self.orders > 0
    }

    fn has_launches(&self) -> bool {
        self.launches > 0 || self.stopped
    }

    fn is_stopping(&self) -> bool {
        self.stopping
    }
}

#[derive(Default)]
struct Engine {
    inner: Mutex<Inner>,
    wakes: Wakes,
    /// For whoever waits for what it left to be done.
    done: Condvar,
    /// What the store has for the driver.
    stored: AtomicUsize,
    /// What the store has for whoever reads with the lock held.
    read: Mutex<bool>,
    was_read: Condvar,
}

impl Engine {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn with(&self, act: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        act(&mut inner);
        self.wakes.leave(inner, || self.done.notify_one());
    }

    fn wait_for(&self, done: usize) {
        let mut inner = self.lock();
        while inner.done < done {
            inner = self.done.wait(inner).unwrap();
        }
    }

    fn stop(&self) {
        let mut inner = self.lock();
        inner.stopping = true;
        self.wakes.stop(&*inner);
    }

    /// As [`Engine::drive`], and does itself what it leaves for the reader.
    fn drive_alone(&self) {
        self.drive_with(|inner| {
            inner.done += std::mem::take(&mut inner.work);
            self.done.notify_one();
        });
    }

    /// The store's thread: it wakes the driver, and after that answers a read.
    fn store(&self) {
        self.stored.fetch_add(1, Ordering::Release);
        self.wakes.wake_driver();
        *self.read.lock().unwrap() = true;
        self.was_read.notify_one();
    }

    /// As the driver, of what the store has.
    fn drive_store(&self) {
        self.drive_with(|inner| {
            inner.results += self.stored.swap(0, Ordering::AcqRel);
            if inner.results > 0 {
                inner.done = inner.results;
                self.done.notify_one();
            }
        });
    }

    fn drive(&self) {
        self.drive_with(|inner| inner.reads += std::mem::take(&mut inner.work));
    }

    /// As `threads::drive`, without a disk. Loom's timed waits never end by time: whoever counts on that stands still.
    fn drive_with(&self, turn: impl Fn(&mut Inner)) {
        let mut inner = self.lock();
        loop {
            *inner.driver_wakes() = 0;
            turn(&mut inner);
            if inner.stopping {
                return;
            }
            self.wakes.rouse(&*inner);
            self.wakes.sleep(inner, 1, Duration::from_secs(1));
            inner = self.lock();
        }
    }

    fn read(&self) {
        while let Some(mut inner) = self.wakes.reads(|| self.lock()) {
            let many = std::mem::take(&mut inner.reads);
            drop(inner);
            self.with(|inner| inner.done += many);
        }
    }

    fn measure(&self) {
        while let Some(mut inner) = self.wakes.second(self.lock()) {
            inner.second_ended = false;
            drop(inner);
            self.with(|inner| inner.done += 1);
        }
    }

    /// As `threads::evaluate`: an order is taken with the lock, and made without it.
    fn evaluate(&self) {
        while let Some(mut inner) = self.wakes.order(self.lock()) {
            inner.orders -= 1;
            drop(inner);
            self.with(|inner| inner.done += 1);
        }
    }

    fn launch(&self) {
        loop {
            let mut inner = self.wakes.launch(self.lock());
            if inner.stopped {
                return;
            }
            inner.launches -= 1;
            drop(inner);
            self.with(|inner| inner.done += 1);
        }
    }
}

/// An engine with these threads while `act` does something.
fn model(threads: &'static [fn(&Engine)], act: fn(&Engine)) -> impl Fn() + Sync + Send + 'static {
    move || {
        let engine = Arc::new(Engine::default());
        engine.lock().driver_wakes = u64::MAX;
        let threads = threads.iter().map(|&thread| {
            let engine = engine.clone();
            thread::spawn(move || thread(&engine))
        });
        let threads: Vec<_> = threads.collect();
        act(&engine);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

/// Run an engine with these threads while `act` does something.
fn run(threads: &'static [fn(&Engine)], act: fn(&Engine)) {
    match threads.len() {
        1 => play(model(threads, act)),
        _ => play_bounded(model(threads, act)),
    }
}

#[test]
fn what_is_left_for_the_driver_and_by_it_for_the_reader_is_done() {
    run(&[Engine::drive, Engine::read], |engine| {
        engine.with(|inner| inner.work += 1);
        engine.wait_for(1);
        engine.with(|inner| inner.work += 1);
        engine.wait_for(2);
        engine.stop();
    });
}

/// A store has one thread for commits and reads. It waited for the lock to wake the driver, while the holder of the lock waited for its
/// read.
#[test]
fn the_store_wakes_the_driver_while_whoever_holds_the_lock_waits_for_the_store() {
    run(&[Engine::drive_store, Engine::store], |engine| {
        let inner = engine.lock();
        let mut read = engine.read.lock().unwrap();
        while !*read {
            read = engine.was_read.wait(read).unwrap();
        }
        drop((read, inner));
        engine.wait_for(1);
        engine.stop();
    });
}

/// Without a bound it takes minutes: the reader's alarm has a lock of its own.
#[test]
fn what_is_left_for_the_reader_is_read() {
    play_bounded(model(&[Engine::read], |engine| {
        for read in 1..=2 {
            engine.with(|inner| inner.reads += 1);
            engine.wait_for(read);
        }
        engine.stop();
    }));
}

/// Two others leave work: the second one wakes nobody when the first has, and the driver must see what both have left.
#[test]
fn what_two_threads_leave_for_the_driver_is_done() {
    fn give(engine: &Engine) {
        engine.with(|inner| inner.work += 1);
    }
    run(&[Engine::drive_alone, give], |engine| {
        give(engine);
        engine.wait_for(2);
        engine.stop();
    });
}

#[test]
fn all_threads_end_when_the_engine_stops_whatever_they_are_about() {
    run(&[Engine::drive, Engine::read], |engine| {
        engine.with(|inner| inner.work += 1);
        engine.stop();
    });
    run(&[Engine::measure], |engine| {
        engine.with(|inner| inner.second_ended = true);
        engine.stop();
    });
}

#[test]
fn each_second_that_ends_is_taken_in() {
    run(&[Engine::measure], |engine| {
        for second in 1..=2 {
            engine.with(|inner| inner.second_ended = true);
            engine.wait_for(second);
        }
        engine.stop();
    });
}

#[test]
fn every_turn_that_is_to_be_made_aside_is_made() {
    run(&[Engine::evaluate], |engine| {
        engine.with(|inner| inner.orders += 2);
        engine.wait_for(2);
        engine.with(|inner| inner.orders += 1);
        engine.wait_for(3);
        engine.stop();
    });
}

#[test]
fn every_environment_is_launched_and_the_launcher_ends() {
    run(&[Engine::launch], |engine| {
        engine.with(|inner| inner.launches += 2);
        engine.wait_for(2);
        engine.with(|inner| inner.launches += 1);
        engine.with(|inner| inner.stopped = true);
    });
}
