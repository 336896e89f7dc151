//! `tests/cases/invocation.json`: the life of one event, with the source of each row.

use std::collections::VecDeque;

use forebay_core::invocation::protocol::{Command, Key, Life, Outcome, Settings};
use forebay_core::invocation::EventQueue;
use forebay_core::Now;
use serde_json::Value;

const TABLE: &str = include_str!("../../../../tests/cases/invocation.json");
const START_MS: u64 = 1_577_836_800_000;

pub(crate) fn defaults() -> Settings {
    Settings {
        maximum_retry_attempts: 2,
        maximum_event_age_ms: 21_600_000,
        retry_delays_ms: vec![60_000, 120_000],
        backoff_ms: (1_000, 300_000),
        is_off: false,
        waiting_max: 100,
    }
}

fn settings_of(row: &Value) -> Settings {
    let mut settings = defaults();
    for (name, value) in row["settings"].as_object().into_iter().flatten() {
        match name.as_str() {
            "retries" => settings.maximum_retry_attempts = value.as_u64().unwrap() as u32,
            "age_ms" => settings.maximum_event_age_ms = value.as_u64().unwrap(),
            "is_off" => settings.is_off = value.as_bool().unwrap(),
            "delays_ms" => {
                settings.retry_delays_ms = value.as_array().unwrap().iter().map(|ms| ms.as_u64().unwrap()).collect();
            }
            other => panic!("unknown setting {other}"),
        }
    }
    settings
}

fn outcome_of(word: &str) -> Outcome {
    match word {
        "ok" => Outcome::Success,
        "error" => Outcome::Error,
        "not invoked" => Outcome::NotInvoked,
        "interrupted" => Outcome::Interrupted,
        other => panic!("unknown outcome {other}"),
    }
}

fn life_of(row: &Value) -> Vec<String> {
    let mut queue = EventQueue::new(settings_of(row));
    let mut now = Now { mono_ns: 5_000_000_000, wall_ms: START_MS, entropy: 0 };
    let delay_ms = row["delay_ms"].as_u64().unwrap_or(0);
    let key = Key { due_ms: START_MS + delay_ms, number: 7 };
    let life = Life {
        accepted_ms: START_MS.checked_add_signed(row["accepted_ms"].as_i64().unwrap_or(0)).unwrap(),
        delay_ms,
        hops: row["hops"].as_u64().unwrap_or(0) as u32,
        ..Life::default()
    };
    if let Some(interruptions) = row["interruptions"].as_u64() {
        queue.suspect(key, interruptions as u32);
    }
    let mut outcomes: VecDeque<&str> =
        row["outcomes"].as_array().unwrap().iter().map(|o| o.as_str().unwrap()).collect();
    let takes_ms = row["takes_ms"].as_u64().unwrap_or(0);
    let mut happens = Vec::new();
    queue.due(&now);
    loop {
        queue.start(&now);
        let at = now.wall_ms - START_MS;
        match queue.poll() {
            Some(Command::Find { after }) => {
                assert_eq!(after, None);
                queue.found(&[(key, life)], true, &now);
                queue.due(&now);
            }
            Some(Command::Run { key, attempt, alone, .. }) => {
                happens.push(format!("{at} run {attempt}{}", if alone { " alone" } else { "" }));
                now.wall_ms += takes_ms;
                now.mono_ns += takes_ms * 1_000_000;
                queue.completed(key, outcome_of(outcomes.pop_front().expect("one more attempt than outcomes")), &now);
                queue.due(&now);
            }
            Some(Command::Retry { to, .. }) => assert!(to.due_ms >= now.wall_ms),
            Some(Command::End { life, condition, .. }) => {
                happens.push(format!("{at} end {} {}", condition.as_str(), life.failures));
            }
            None => {
                let Some(due_ns) = queue.next_due(&now) else { break };
                assert!(due_ns > now.mono_ns, "what is due was done");
                now.wall_ms += (due_ns - now.mono_ns) / 1_000_000;
                now.mono_ns = due_ns;
                queue.due(&now);
            }
        }
    }
    assert!(outcomes.is_empty(), "{} outcomes are left over", outcomes.len());
    happens
}

#[test]
fn every_row_of_the_table_happens_as_written() {
    let table: Vec<Value> = serde_json::from_str(TABLE).unwrap();
    for row in &table {
        let expected: Vec<&str> =
            row["happens"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        assert_eq!(life_of(row), expected, "{}", row["name"]);
    }
}

/// Events beyond those that memory holds were held against a wall clock that had been set since: all were given up as too old at once.
#[test]
fn what_only_the_store_holds_is_made_no_older_by_a_clock_that_is_set() {
    const YEAR_MS: u64 = 365 * 86_400_000;
    let mut now = Now { mono_ns: 5_000_000_000, wall_ms: START_MS, entropy: 0 };
    let mut queue = EventQueue::new(Settings { waiting_max: 1, ..defaults() });
    queue.due(&now);
    assert_eq!(queue.poll(), Some(Command::Find { after: None }));
    queue.found(&[], true, &now);
    let event =
        |number, now: &Now| (Key { due_ms: now.wall_ms, number }, Life { accepted_ms: now.wall_ms, ..Life::default() });
    // One of the process before, and two of this one; memory holds the second.
    let (earlier, first) = (event(3, &now), event(7, &now));
    queue.accepted(first.0, first.1, &now);
    now.wall_ms += YEAR_MS;
    let second = event(8, &now);
    queue.accepted(second.0, second.1, &now);
    now.wall_ms += YEAR_MS;
    for (key, life) in [first, second, earlier] {
        queue.due(&now);
        if key != first.0 {
            assert!(matches!(queue.poll(), Some(Command::Find { .. })));
            queue.found(&[(key, life)], false, &now);
        }
        assert!(queue.start(&now));
        let run = queue.poll();
        assert!(matches!(run, Some(Command::Run { key: of, .. }) if of == key), "{run:?}");
        queue.completed(key, Outcome::Success, &now);
        assert!(matches!(queue.poll(), Some(Command::End { condition, .. }) if condition.as_str() == "Success"));
        now.mono_ns += 1_000_000_000;
    }
}

/// Behind as many delayed events as memory holds stood another. The clock was set an hour forth, and it ran at once.
#[test]
fn what_only_the_store_holds_waits_for_its_delay_however_the_clock_is_set() {
    const HOUR_MS: u64 = 3_600_000;
    let mut now = Now { mono_ns: 5_000_000_000, wall_ms: START_MS, entropy: 0 };
    let mut queue = EventQueue::new(Settings { waiting_max: 2, ..defaults() });
    queue.due(&now);
    assert_eq!(queue.poll(), Some(Command::Find { after: None }));
    queue.found(&[], true, &now);
    let events = [10_000, 20_000, 30_000].map(|delay_ms| {
        let key = queue.key(delay_ms / 10_000, delay_ms, &now);
        let life = Life { accepted_ms: now.wall_ms, delay_ms, ..Life::default() };
        queue.accepted(key, life, &now);
        (key, life)
    });
    let accepted_ns = now.mono_ns;
    now.wall_ms += HOUR_MS;
    // Whatever is accepted now has a key that is an hour further on.
    queue.key(4, 0, &now);
    for (key, life) in events {
        while let Some(command) = queue.poll() {
            let Command::Find { after } = command else { panic!("{command:?}") };
            let found: Vec<(Key, Life)> = events.into_iter().filter(|(key, _)| Some(*key) > after).collect();
            queue.found(&found, true, &now);
        }
        let due_ns = accepted_ns + life.delay_ms * 1_000_000;
        assert!(!queue.start(&Now { mono_ns: due_ns - 1, ..now }), "{key:?} runs before its delay is over");
        now = Now { mono_ns: due_ns, wall_ms: now.wall_ms + 10_000, entropy: 0 };
        assert!(queue.start(&now));
        let run = queue.poll();
        assert!(matches!(run, Some(Command::Run { key: of, .. }) if of == key), "{run:?}");
        queue.completed(key, Outcome::Success, &now);
        assert!(matches!(queue.poll(), Some(Command::End { .. })));
        queue.due(&now);
    }
}

/// How far the wall clock was ahead of the monotonic one was kept in whole milliseconds, and could be one too many. Behind as many delayed
/// events as memory holds stood another, which ran 1.2 ms before its delay was over.
#[test]
fn what_only_the_store_holds_waits_for_its_delay_to_the_millisecond() {
    // The wall clock shows a tenth of a millisecond more than its number, the monotonic one nine tenths.
    let now = Now { mono_ns: 5_000_900_000, wall_ms: START_MS, entropy: 0 };
    let mut queue = EventQueue::new(Settings { waiting_max: 1, ..defaults() });
    queue.due(&now);
    assert_eq!(queue.poll(), Some(Command::Find { after: None }));
    queue.found(&[], true, &now);
    let accepted = Now { mono_ns: 6_000_200_000, wall_ms: START_MS + 999, entropy: 0 };
    let [_, (key, life)] = [5_000, 10_000].map(|delay_ms| {
        let key = queue.key(delay_ms / 5_000, delay_ms, &accepted);
        let life = Life { accepted_ms: accepted.wall_ms, delay_ms, ..Life::default() };
        queue.accepted(key, life, &accepted);
        (key, life)
    });
    let early = Now { mono_ns: 15_999_000_000, wall_ms: START_MS + 10_998, entropy: 0 };
    assert!(queue.start(&early));
    let Some(Command::Run { key: first, .. }) = queue.poll() else { panic!("the first one runs") };
    queue.completed(first, Outcome::Success, &early);
    assert!(matches!(queue.poll(), Some(Command::End { .. })));
    queue.due(&early);
    assert!(matches!(queue.poll(), Some(Command::Find { .. })));
    queue.found(&[(key, life)], true, &early);
    assert!(!queue.start(&early), "it runs 1.2 ms before its delay is over");
    assert!(queue.start(&Now { mono_ns: 16_000_000_000, wall_ms: START_MS + 10_999, entropy: 0 }));
}

/// An event that the engine bears may be durable before one that was accepted earlier, by another clock. It then had the other's clock: a
/// year too old, it was given up.
#[test]
fn what_is_durable_out_of_turn_keeps_the_clock_that_it_was_accepted_by() {
    const YEAR_MS: u64 = 365 * 86_400_000;
    let before = Now { mono_ns: 5_000_000_000, wall_ms: START_MS, entropy: 0 };
    let after = Now { wall_ms: START_MS - YEAR_MS, ..before };
    let mut queue = EventQueue::new(Settings { waiting_max: 1, ..defaults() });
    queue.due(&before);
    assert_eq!(queue.poll(), Some(Command::Find { after: None }));
    queue.found(&[], true, &before);
    let mut accepted = |number, now: &Now| {
        let key = queue.key(number, 0, now);
        (key, Life { accepted_ms: now.wall_ms, ..Life::default() }, *now)
    };
    let (earlier, later) = (accepted(1, &before), accepted(2, &after));
    queue.accepted(later.0, later.1, &later.2);
    queue.accepted(earlier.0, earlier.1, &earlier.2);
    for (key, life, _) in [earlier, later] {
        queue.due(&after);
        if key == later.0 {
            assert!(matches!(queue.poll(), Some(Command::Find { .. })));
            queue.found(&[(key, life)], true, &after);
        }
        assert!(queue.start(&after));
        let run = queue.poll();
        assert!(matches!(run, Some(Command::Run { key: of, .. }) if of == key), "{run:?}");
        queue.completed(key, Outcome::Success, &after);
        assert!(matches!(queue.poll(), Some(Command::End { condition, .. }) if condition.as_str() == "Success"));
    }
}

/// As many delayed events as memory holds, and more behind them in the store: each that came and went had the store asked again.
#[test]
fn what_is_due_much_later_stays_in_the_store_until_then() {
    const HOUR_MS: u64 = 3_600_000;
    let mut now = Now { mono_ns: 5_000_000_000, wall_ms: START_MS, entropy: 0 };
    let mut queue = EventQueue::new(Settings { waiting_max: 4, ..defaults() });
    queue.due(&now);
    assert_eq!(queue.poll(), Some(Command::Find { after: None }));
    queue.found(&[], true, &now);
    let accept = |queue: &mut EventQueue, number, delay_ms, now: &Now| {
        let key = queue.key(number, delay_ms, now);
        queue.accepted(key, Life { accepted_ms: now.wall_ms, delay_ms, ..Life::default() }, now);
        key
    };
    let later: Vec<Key> = (0..8).map(|n| accept(&mut queue, n, HOUR_MS + n, &now)).collect();
    for number in 8..20 {
        let key = accept(&mut queue, number, 0, &now);
        queue.due(&now);
        assert!(queue.start(&now));
        assert!(matches!(queue.poll(), Some(Command::Run { key: of, .. }) if of == key));
        queue.completed(key, Outcome::Success, &now);
        assert!(matches!(queue.poll(), Some(Command::End { .. })));
        queue.due(&now);
        assert_eq!(queue.poll(), None, "nothing is looked for that is due in an hour");
    }
    let mut begun = Vec::new();
    while let Some(due_ns) = queue.next_due(&now).filter(|_| begun.len() < later.len()) {
        now.wall_ms += (due_ns - now.mono_ns) / 1_000_000;
        now.mono_ns = due_ns;
        queue.due(&now);
        queue.start(&now);
        while let Some(command) = queue.poll() {
            match command {
                Command::Find { after } => {
                    let found = later.iter().filter(|key| Some(**key) > after);
                    let life =
                        |key: &Key| Life { accepted_ms: START_MS, delay_ms: key.due_ms - START_MS, ..Life::default() };
                    queue.found(&found.map(|key| (*key, life(key))).collect::<Vec<_>>(), true, &now);
                    queue.due(&now);
                }
                Command::Run { key, .. } => {
                    assert!(key.due_ms <= now.wall_ms);
                    begun.push(key);
                    queue.completed(key, Outcome::Success, &now);
                }
                _ => {}
            }
            queue.start(&now);
        }
    }
    assert_eq!(begun, later);
}

/// While an event was on its way to the disk others came: it began earlier by as much.
#[test]
fn a_delay_counts_from_when_the_event_was_accepted_however_late_it_is_durable() {
    let mut now = Now { mono_ns: 5_000_000_000, wall_ms: START_MS, entropy: 0 };
    let mut queue = EventQueue::new(defaults());
    queue.due(&now);
    assert_eq!(queue.poll(), Some(Command::Find { after: None }));
    queue.found(&[], true, &now);
    let (accepted, life) = (now, Life { accepted_ms: now.wall_ms, delay_ms: 10_000, ..Life::default() });
    let key = queue.key(1, life.delay_ms, &now);
    now = Now { mono_ns: now.mono_ns + 3_000_000_000, wall_ms: now.wall_ms + 3_000, entropy: 0 };
    queue.key(2, 0, &now);
    queue.accepted(key, life, &accepted);
    assert_eq!(queue.next_due(&now), Some(accepted.mono_ns + 10_000_000_000));
}

#[test]
fn keys_go_on_as_if_the_wall_clock_had_not_been_set_back() {
    let mut queue = EventQueue::new(defaults());
    let now = Now { mono_ns: 5_000_000_000, wall_ms: START_MS, entropy: 0 };
    assert_eq!((queue.key(1, 0, &now).due_ms, queue.ahead_ms(&now)), (START_MS, 0));
    let back = Now { mono_ns: 7_000_000_000, wall_ms: START_MS - 1000, entropy: 0 };
    assert_eq!((queue.key(2, 500, &back).due_ms, queue.ahead_ms(&back)), (START_MS + 2500, 3000));
    let later = Now { mono_ns: 8_000_000_000, wall_ms: START_MS + 9000, entropy: 0 };
    assert_eq!((queue.key(3, 0, &later).due_ms, queue.ahead_ms(&later)), (START_MS + 9000, 0));
}
