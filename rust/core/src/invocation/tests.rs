//! What a queue of events shows, and what becomes of those that wait.

use super::order::Order;
use super::protocol::{Command, Condition, Key, Life, Outcome, Settings};
use super::EventQueue;
use crate::Now;

const START_MS: u64 = 1_577_836_800_000;
const HOUR_MS: u64 = 3_600_000;

fn defaults() -> Settings {
    Settings {
        maximum_retry_attempts: 2,
        maximum_event_age_ms: 6 * HOUR_MS,
        retry_delays_ms: vec![60_000, 120_000],
        backoff_ms: (1_000, 300_000),
        is_off: false,
        waiting_max: 4,
    }
}

/// So many milliseconds after the start.
fn at(ms: u64) -> Now {
    Now { mono_ns: 5_000_000_000 + ms * 1_000_000, wall_ms: START_MS + ms, entropy: 0 }
}

/// A queue that has asked the store and found these.
fn holding(settings: Settings, events: &[(Key, Life)], all: bool) -> EventQueue {
    let mut queue = EventQueue::new(settings);
    queue.due(&at(0));
    assert_eq!(queue.poll(), Some(Command::Find { after: None }));
    queue.found(events, all, &at(0));
    queue
}

/// An event that is due some time after the start, and has waited for its delay until then.
fn delayed(number: u64, delay_ms: u64) -> (Key, Life) {
    (Key { due_ms: START_MS + delay_ms, number }, Life { accepted_ms: START_MS, delay_ms, ..Life::default() })
}

/// An event that was tried before, is due again some time after the start, and was accepted an hour before it.
fn tried(number: u64, due_ms: u64, failures: u32, unreached: u32) -> (Key, Life) {
    let life = Life { accepted_ms: START_MS - HOUR_MS, failures, unreached, ..Life::default() };
    (Key { due_ms: START_MS + due_ms, number }, life)
}

/// The numbers of the events that have ended, and why.
fn ended(queue: &mut EventQueue) -> Vec<(u64, Condition)> {
    std::iter::from_fn(|| queue.poll())
        .map(|command| match command {
            Command::End { key, condition, .. } => (key.number, condition),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn next_due_ms(queue: &EventQueue, now: &Now) -> Option<u64> {
    queue.next_due(now).map(|due_ns| (due_ns - at(0).mono_ns) / 1_000_000)
}

#[test]
fn what_was_tried_before_waits_for_its_next_attempt_and_no_longer_than_it_ever_does() {
    let delays = |retry_delays_ms: &[u64]| Settings { retry_delays_ms: retry_delays_ms.to_vec(), ..defaults() };
    for (settings, (failures, unreached), due_ms, waits_ms) in [
        (delays(&[60_000, 120_000]), (1, 0), 45_000, 45_000),
        (delays(&[60_000, 120_000]), (0, 3), 45_000, 45_000),
        (delays(&[60_000, 120_000]), (2, 1), 45_000, 45_000),
        // The wall clock was set back by an hour.
        (delays(&[60_000, 120_000]), (1, 0), HOUR_MS, 300_000),
        (delays(&[400_000, 120_000]), (0, 1), HOUR_MS, 400_000),
        (delays(&[]), (1, 0), HOUR_MS, 300_000),
    ] {
        let mut queue = holding(settings.clone(), &[tried(1, due_ms, failures, unreached)], true);
        assert_eq!(next_due_ms(&queue, &at(0)), Some(waits_ms), "{settings:?}, {failures}, {unreached}");
        assert!(!queue.start(&at(waits_ms - 1)));
        assert!(queue.start(&at(waits_ms)));
    }
}

#[test]
fn another_maximum_age_holds_for_what_waits_and_for_what_runs() {
    let younger = Settings { maximum_event_age_ms: 60_000, ..defaults() };
    let mut queue = holding(defaults(), &[delayed(1, 0), delayed(2, 0)], true);
    assert!(queue.start(&at(0)));
    assert!(matches!(queue.poll(), Some(Command::Run { key: Key { number: 1, .. }, .. })));
    queue.configure(younger);
    assert_eq!(next_due_ms(&queue, &at(10_000)), Some(60_000));
    queue.due(&at(59_999));
    assert_eq!(ended(&mut queue), []);
    queue.due(&at(60_000));
    assert_eq!(ended(&mut queue), [(2, Condition::EventAgeExceeded)]);
    queue.completed(Key { due_ms: START_MS, number: 1 }, Outcome::Error, &at(60_000));
    assert_eq!(ended(&mut queue), [(1, Condition::EventAgeExceeded)]);
}

#[test]
fn of_a_function_that_is_off_only_what_was_not_due_yet_goes_on_waiting() {
    let events = [delayed(1, 0), tried(2, 50_000, 1, 0), tried(3, 60_000, 0, 1), delayed(4, 70_000)];
    let mut queue = holding(Settings { is_off: true, ..defaults() }, &events, true);
    queue.due(&at(0));
    assert_eq!(ended(&mut queue), [1, 2, 3].map(|number| (number, Condition::ZeroReservedConcurrency)));
    queue.due(&at(69_999));
    assert_eq!((ended(&mut queue), queue.waiting()), (vec![], (1, false)));
    queue.due(&at(70_000));
    assert_eq!(ended(&mut queue), [(4, Condition::ZeroReservedConcurrency)]);
}

#[test]
fn the_store_is_asked_a_second_before_what_it_holds_may_be_due() {
    let (key, life) = delayed(1, HOUR_MS);
    let mut queue = holding(defaults(), &[(key, life)], false);
    queue.due(&at(0));
    assert_eq!((queue.poll(), next_due_ms(&queue, &at(0))), (None, Some(HOUR_MS - 1_000)));
    queue.due(&at(HOUR_MS - 1_001));
    assert_eq!(queue.poll(), None);
    queue.due(&at(HOUR_MS - 1_000));
    assert_eq!(queue.poll(), Some(Command::Find { after: Some(key) }));

    let mut off = holding(Settings { is_off: true, ..defaults() }, &[(key, life)], false);
    off.due(&at(0));
    assert_eq!(
        off.poll(),
        Some(Command::Find { after: Some(key) }),
        "what was tried before is over, whenever it is due"
    );
}

#[test]
fn a_queue_shows_how_many_wait_and_how_old_the_oldest_is() {
    let mut queue = EventQueue::new(defaults());
    let shown = |queue: &EventQueue, now: &Now| (queue.waiting(), queue.oldest_age_ms(now));
    assert_eq!(shown(&queue, &at(0)), ((0, true), None));
    queue.due(&at(0));
    queue.poll();
    queue.found(&[], true, &at(0));
    assert_eq!(shown(&queue, &at(0)), ((0, false), None));
    // One is due in ten seconds: it has no age before. One was accepted an hour ago.
    for ((key, life), expected) in
        [(delayed(1, 10_000), ((1, false), Some(0))), (tried(2, 0, 1, 0), ((2, false), Some(HOUR_MS)))]
    {
        queue.found(&[(key, life)], true, &at(0));
        assert_eq!(shown(&queue, &at(0)), expected);
    }
    assert_eq!(shown(&queue, &at(2_500)), ((2, false), Some(HOUR_MS + 2_500)));
    assert!(queue.start(&at(3_000)));
    for (ms, age_ms) in [(3_000, 0), (10_000, 0), (12_345, 2_345)] {
        assert_eq!(shown(&queue, &at(ms)), ((1, false), Some(age_ms)), "{ms}");
    }
}

#[test]
fn what_runs_and_what_waits_is_held_once_however_often_it_is_found() {
    let events = [delayed(1, 0), delayed(2, 0)];
    let mut queue = holding(defaults(), &events, true);
    assert!(queue.start(&at(0)));
    queue.found(&events, true, &at(1));
    assert_eq!((queue.running(), queue.waiting().0), (1, 1));
    assert!(queue.start(&at(1)));
    assert!(!queue.start(&at(1)));
}

#[test]
fn a_clock_that_shows_the_same_millisecond_again_holds_the_order_up_by_no_part_of_it() {
    let mut order = Order::default();
    let now = |mono_ns, wall_ms| Now { mono_ns, wall_ms, entropy: 0 };
    order.reach(START_MS, &now(5_000_000_000, START_MS));
    order.reach(START_MS, &now(5_000_900_000, START_MS));
    let back = [5_000_999_999, 5_001_000_000].map(|mono_ns| order.at(&now(mono_ns, 0)));
    assert_eq!(back, [START_MS, START_MS + 1]);
}
