//! Gauges and counters: nothing that is counted goes missing between those who count and the one who takes it in each second.
// Small whole numbers are exact.
#![allow(clippy::float_cmp)]

#[path = "../../../metrics/src/numbers.rs"]
mod numbers;

use std::sync::Arc;

use loom::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use loom::thread;

use self::numbers::{Counter, Gauge};
use crate::play;
use crate::play_bounded;

/// A second told of 5 while the level was 10 from its beginning to its end: the level had been read before the peak was taken, and
/// what had been added between was thrown away with it.
#[test]
fn a_level_that_stands_is_told_in_every_second() {
    play(|| {
        let gauge = Gauge::default();
        gauge.set(5.0);
        let theirs = gauge.clone();
        let other = thread::spawn(move || theirs.add(5.0));
        let first = gauge.take_peak();
        other.join().unwrap();
        let second = gauge.take_peak();
        assert!(first >= 5.0 && second >= 10.0, "{first} {second}");
        assert!(gauge.take_peak() >= 10.0);
    });
}

/// One second's peak is taken while the level rises; it falls in the next one.
#[test]
fn a_level_that_was_shown_when_a_second_began_is_told_in_it() {
    play(|| {
        let gauge = Gauge::default();
        gauge.set(5.0);
        let begun = Arc::new(AtomicBool::new(false));
        let (theirs, has_begun) = (gauge.clone(), begun.clone());
        let other = thread::spawn(move || {
            theirs.add(5.0);
            let was_shown_in_the_second = has_begun.load(Acquire);
            theirs.add(-7.0);
            was_shown_in_the_second
        });
        let first = gauge.take_peak();
        begun.store(true, Release);
        let was_shown_in_the_second = other.join().unwrap();
        let second = gauge.take_peak();
        assert!(first.max(second) >= 10.0, "{first} {second}");
        assert!(!was_shown_in_the_second || second >= 10.0, "{first} {second}");
        assert_eq!([gauge.take_peak(), gauge.get()], [3.0, 3.0]);
    });
}

/// The level stands below the second's peak when it is raised, and the peak is taken meanwhile. A second told of 5 although 8 stood when it
/// began: whoever raised the level had seen the old peak, and wrote none that the one who took it could have come after.
#[test]
fn a_level_below_the_peak_that_was_shown_when_a_second_began_is_told_in_it() {
    let changes: [[fn(&Gauge); 2]; 2] =
        [[|gauge| gauge.set(8.0), |gauge| gauge.set(3.0)], [|gauge| gauge.add(3.0), |gauge| gauge.add(-5.0)]];
    for [rise, fall] in changes {
        play(move || {
            let gauge = Gauge::default();
            gauge.set(10.0);
            gauge.add(-5.0);
            let begun = Arc::new(AtomicBool::new(false));
            let (theirs, has_begun) = (gauge.clone(), begun.clone());
            let other = thread::spawn(move || {
                rise(&theirs);
                let was_shown_in_the_second = has_begun.load(Acquire);
                fall(&theirs);
                was_shown_in_the_second
            });
            let first = gauge.take_peak();
            begun.store(true, Release);
            let was_shown_in_the_second = other.join().unwrap();
            let second = gauge.take_peak();
            assert!(first >= 10.0 && second >= 3.0, "{first} {second}");
            assert!(!was_shown_in_the_second || second >= 8.0, "{first} {second}");
            assert_eq!([gauge.take_peak(), gauge.get()], [3.0, 3.0]);
        });
    }
}

#[test]
fn no_change_of_a_level_is_lost_and_no_peak_of_it_untold() {
    play_bounded(|| {
        let gauge = Gauge::default();
        let others = [2.0, 4.0].map(|change| {
            let theirs = gauge.clone();
            thread::spawn(move || theirs.add(change))
        });
        let first = gauge.take_peak();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!([first.max(gauge.take_peak()), gauge.get()], [6.0, 6.0]);
    });
}

#[test]
fn what_a_counter_grew_by_is_told_once() {
    play_bounded(|| {
        let counter = Counter::new();
        let others = [1, 2].map(|n| {
            let theirs = counter.clone();
            thread::spawn(move || theirs.add(n))
        });
        let told = counter.take() + counter.take();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(told + counter.take(), 3);
        assert_eq!([counter.take(), counter.get()], [0, 3]);
    });
}
