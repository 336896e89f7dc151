//! What a schedule fires after a stop.

use forebay_core::schedule::{Bounds, CatchUp, Dialect, Due, Expression, Schedule, TimeZone, MISSED_COUNT_MAX};

use crate::{at, schedule};

fn due(expression: &str, next_due: &str, now: &str, catch_up: CatchUp) -> Due {
    schedule(expression, "UTC").due(at(next_due), at(now), catch_up, 3)
}

#[test]
fn nothing_is_due_before_its_time() {
    let due = due("rate(5 minutes)", "2026-01-02T00:00:00Z", "2026-01-01T23:59:59Z", CatchUp::All);
    assert_eq!(due, Due { firings: vec![], next_due: Some(at("2026-01-02T00:00:00Z")), missed: 0 });
}

#[test]
fn what_is_late_by_a_minute_at_most_fires() {
    for expression in ["rate(5 minutes)", "cron(*/5 * * * ? *)"] {
        for catch_up in [CatchUp::None, CatchUp::One, CatchUp::All] {
            let due = due(expression, "2026-01-02T00:00:00Z", "2026-01-02T00:01:00Z", catch_up);
            let expected = vec![at("2026-01-02T00:00:00Z")];
            assert_eq!(due, Due { firings: expected, next_due: Some(at("2026-01-02T00:05:00Z")), missed: 0 });
        }
        let late = due(expression, "2026-01-02T00:00:00Z", "2026-01-02T00:01:00.001Z", CatchUp::None);
        assert_eq!(late, Due { firings: vec![], next_due: Some(at("2026-01-02T00:05:00Z")), missed: 1 });
    }
}

#[test]
fn missed_times_are_counted_or_the_latest_fires_or_all_do() {
    let after_stop = |catch_up| due("cron(*/10 * * * ? *)", "2026-01-02T00:00:00Z", "2026-01-02T00:45:00Z", catch_up);
    let next_due = Some(at("2026-01-02T00:50:00Z"));
    assert_eq!(after_stop(CatchUp::None), Due { firings: vec![], next_due, missed: 5 });
    assert_eq!(after_stop(CatchUp::One), Due { firings: vec![at("2026-01-02T00:40:00Z")], next_due, missed: 4 });
    let firings = ["00", "10", "20"].map(|minute| at(&format!("2026-01-02T00:{minute}:00Z"))).to_vec();
    // Three at most were asked for; the rest is due at once.
    assert_eq!(after_stop(CatchUp::All), Due { firings, next_due: Some(at("2026-01-02T00:30:00Z")), missed: 0 });
}

#[test]
fn one_that_is_on_time_stands_for_those_missed() {
    let due = due("rate(10 minutes)", "2026-01-02T00:00:00Z", "2026-01-02T00:20:30Z", CatchUp::One);
    let next_due = Some(at("2026-01-02T00:30:00Z"));
    assert_eq!(due, Due { firings: vec![at("2026-01-02T00:20:00Z")], next_due, missed: 2 });
}

#[test]
fn a_long_stop_costs_no_walk_over_all_of_it() {
    let after_years = |catch_up| due("cron(* * * * ? *)", "2026-01-01T00:00:00Z", "2056-01-01T00:00:30Z", catch_up);
    let none = after_years(CatchUp::None);
    assert_eq!((none.firings.len(), none.missed), (1, MISSED_COUNT_MAX));
    // Late by a minute and by none: both are on time.
    let two = due("cron(* * * * ? *)", "2026-01-01T00:00:00Z", "2056-01-01T00:01:00Z", CatchUp::None);
    assert_eq!(two.firings, [at("2056-01-01T00:00:00Z"), at("2056-01-01T00:01:00Z")]);
    // The latest before a long pause that is not over.
    let night = due("cron(* 0-7 * * ? *)", "2026-01-01T00:00:00Z", "2056-01-01T12:00:00Z", CatchUp::One);
    let (firings, next_due) = (vec![at("2056-01-01T07:59:00Z")], Some(at("2056-01-02T00:00:00Z")));
    assert_eq!(night, Due { firings, next_due, missed: MISSED_COUNT_MAX - 1 });
    let rare = due("rate(30 minutes)", "2026-01-01T00:00:00Z", "2036-01-01T00:29:30Z", CatchUp::One);
    assert_eq!(rare.firings, [at("2036-01-01T00:00:00Z")]);
    assert_eq!(rare.next_due, Some(at("2036-01-01T00:30:00Z")));
    // The last of so many was years ago.
    let over = due("cron(* * * * ? 2026)", "2026-01-01T00:00:00Z", "2056-01-01T00:00:00Z", CatchUp::One);
    assert_eq!(over, Due { firings: vec![at("2026-12-31T23:59:00Z")], next_due: None, missed: MISSED_COUNT_MAX - 1 });
}

#[test]
fn a_rate_that_has_ended_meanwhile_is_missed_up_to_its_end() {
    let (first, end) = (at("2026-01-02T00:00:00Z"), at("2026-01-02T00:20:00Z"));
    let bounds = Bounds { zone: TimeZone::UTC, enabled_ms: 0, start_ms: Some(first), end_ms: Some(end) };
    let expression = Expression::parse(Dialect::Scheduler, "rate(10 minutes)").expect("a rate");
    let schedule = Schedule::new(expression, bounds).expect("a schedule");
    let after_a_day = |catch_up| schedule.due(first, at("2026-01-03T00:00:00Z"), catch_up, 100);
    assert_eq!(after_a_day(CatchUp::None), Due { firings: vec![], next_due: None, missed: 3 });
    assert_eq!(after_a_day(CatchUp::One), Due { firings: vec![end], next_due: None, missed: 2 });
    assert_eq!(after_a_day(CatchUp::All).firings, [first, at("2026-01-02T00:10:00Z"), end]);
}

#[test]
fn at_fires_once_however_late() {
    for catch_up in [CatchUp::None, CatchUp::One, CatchUp::All] {
        let due = due("at(2026-01-02T00:00:00)", "2026-01-02T00:00:00Z", "2027-01-01T00:00:00Z", catch_up);
        assert_eq!(due, Due { firings: vec![at("2026-01-02T00:00:00Z")], next_due: None, missed: 0 });
    }
}
