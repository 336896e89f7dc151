//! Due times of single expressions, written out.

use forebay_core::schedule::{Bounds, Dialect, Expression, Schedule, TimeZone};

use crate::{at, schedule, shown};

fn check(expression: &str, zone: &str, after: &str, expected: &[&str]) {
    let due = schedule(expression, zone).upcoming(at(after), expected.len());
    let due: Vec<String> = due.into_iter().map(shown).collect();
    assert_eq!(due, expected, "{expression} in {zone} after {after}");
}

#[test]
fn days_that_are_not_named_by_their_date() {
    for (expression, after, expected) in [
        ("cron(0 9 L * ? *)", "2028-02-01T00:00:00Z", ["2028-02-29T09:00:00Z", "2028-03-31T09:00:00Z"]),
        ("cron(0 9 L-3 * ? *)", "2026-02-01T00:00:00Z", ["2026-02-25T09:00:00Z", "2026-03-28T09:00:00Z"]),
        // The last of January and of February 2026 are Saturdays, that of May is a Sunday.
        ("cron(0 9 LW * ? *)", "2026-01-01T00:00:00Z", ["2026-01-30T09:00:00Z", "2026-02-27T09:00:00Z"]),
        ("cron(0 9 LW 5,6 ? *)", "2026-01-01T00:00:00Z", ["2026-05-29T09:00:00Z", "2026-06-30T09:00:00Z"]),
        // A Sunday goes on to Monday, a Saturday back to Friday; neither leaves its month.
        ("cron(0 9 15W 2,8 ? *)", "2026-01-01T00:00:00Z", ["2026-02-16T09:00:00Z", "2026-08-14T09:00:00Z"]),
        ("cron(0 9 1W 8,11 ? *)", "2026-01-01T00:00:00Z", ["2026-08-03T09:00:00Z", "2026-11-02T09:00:00Z"]),
        ("cron(0 9 31W 1,2,5 ? *)", "2026-01-01T00:00:00Z", ["2026-01-30T09:00:00Z", "2026-05-29T09:00:00Z"]),
        ("cron(0 9 ? * 6L *)", "2026-01-01T00:00:00Z", ["2026-01-30T09:00:00Z", "2026-02-27T09:00:00Z"]),
        ("cron(0 9 ? * L *)", "2026-01-01T00:00:00Z", ["2026-01-03T09:00:00Z", "2026-01-10T09:00:00Z"]),
        ("cron(0 9 ? * SAT#3 *)", "2026-01-01T00:00:00Z", ["2026-01-17T09:00:00Z", "2026-02-21T09:00:00Z"]),
        ("cron(0 9 ? * 5#5 *)", "2026-01-01T00:00:00Z", ["2026-01-29T09:00:00Z", "2026-04-30T09:00:00Z"]),
        ("cron(0 9 ? * 6-2 *)", "2026-01-04T10:00:00Z", ["2026-01-05T09:00:00Z", "2026-01-09T09:00:00Z"]),
        // A step goes on over the end of a range that wraps.
        ("cron(0 9 1 NOV-MAR/3 ? *)", "2026-01-01T00:00:00Z", ["2026-02-01T09:00:00Z", "2026-11-01T09:00:00Z"]),
        ("cron(0 9 30-3/3 * ? *)", "2026-01-05T00:00:00Z", ["2026-01-30T09:00:00Z", "2026-02-02T09:00:00Z"]),
        ("cron(0 9 ? * FRI-TUE/3 *)", "2026-01-04T10:00:00Z", ["2026-01-05T09:00:00Z", "2026-01-09T09:00:00Z"]),
        ("cron(0 9 29 2 ? *)", "2026-01-01T00:00:00Z", ["2028-02-29T09:00:00Z", "2032-02-29T09:00:00Z"]),
        ("cron(30/20 23-0 * * ? *)", "2026-01-01T00:31:00Z", ["2026-01-01T00:50:00Z", "2026-01-01T23:30:00Z"]),
    ] {
        check(expression, "UTC", after, &expected);
    }
}

#[test]
fn what_never_comes_is_never_due() {
    for expression in ["cron(0 0 31 2 ? *)", "cron(15 10 ? * 6L 2002-2005)", "at(2022-12-31T23:59:59)"] {
        assert_eq!(schedule(expression, "UTC").next_after(at("2026-01-01T00:00:00Z")), None, "{expression}");
    }
    let once = schedule("at(2026-05-01T12:00:00)", "UTC");
    let [before, then] = ["2026-05-01T11:59:59.999Z", "2026-05-01T12:00:00Z"].map(at);
    assert_eq!((once.next_after(before), once.next_after(then)), (Some(then), None), "it was due");
    assert_eq!(schedule("cron(* * * * ? *)", "UTC").next_after(at("2199-12-31T23:59:00Z")), None);
    assert_eq!(schedule("rate(1 minute)", "UTC").next_after(u64::MAX), None);
}

#[test]
fn a_local_time_that_does_not_exist_is_due_behind_the_gap_and_once() {
    // Paris: from 02:00 to 03:00 on 29 March 2026, which is 01:00 UTC.
    let (paris, after) = ("Europe/Paris", "2026-03-28T12:00:00Z");
    check("cron(30 2 * * ? *)", paris, after, &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    check("cron(*/20 2 * * ? *)", paris, after, &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]);
    check("cron(0 2-3 * * ? *)", paris, after, &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]);
    check("at(2026-03-29T02:59:30)", paris, after, &["2026-03-29T01:00:00Z"]);
    // Samoa had no 30 December 2011.
    check("cron(0 9 30 12 ? 2011)", "Pacific/Apia", "2011-12-01T00:00:00Z", &["2011-12-30T10:00:00Z"]);
}

#[test]
fn a_local_time_that_comes_twice_is_due_once() {
    // Paris: from 03:00 back to 02:00 on 25 October 2026, which is 01:00 UTC.
    let (paris, after) = ("Europe/Paris", "2026-10-24T12:00:00Z");
    check("cron(30 2 * * ? *)", paris, after, &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    check("cron(*/30 2,3 * * ? *)", paris, "2026-10-25T00:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"]);
    check("at(2026-10-25T02:30:00)", paris, after, &["2026-10-25T00:30:00Z"]);
    // Within the hour that comes again nothing is due, and what follows is.
    check("cron(30 2 * * ? *)", paris, "2026-10-25T01:10:00Z", &["2026-10-26T01:30:00Z"]);
}

#[test]
fn rates_run_on_elapsed_time_from_when_they_were_enabled() {
    check("rate(7 minutes)", "Europe/Paris", "2026-01-01T00:00:00Z", &["2026-01-01T00:07:00Z", "2026-01-01T00:14:00Z"]);
    check("rate(1 day)", "Europe/Paris", "2026-03-28T12:00:00Z", &["2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"]);
}

#[test]
fn a_start_and_an_end_bound_what_is_due() {
    let bounded = |expression| {
        let bounds = Bounds {
            zone: TimeZone::UTC,
            enabled_ms: at("2026-01-01T00:00:00Z"),
            start_ms: Some(at("2026-02-01T00:10:00Z")),
            end_ms: Some(at("2026-02-01T00:30:00Z")),
        };
        Schedule::new(Expression::parse(Dialect::Scheduler, expression).expect("an expression"), bounds)
    };
    for expression in ["rate(10 minutes)", "cron(*/10 * * * ? *)"] {
        let due = bounded(expression).expect("a schedule").upcoming(at("2026-01-01T00:00:00Z"), 9);
        let due: Vec<String> = due.into_iter().map(shown).collect();
        assert_eq!(due, ["2026-02-01T00:10:00Z", "2026-02-01T00:20:00Z", "2026-02-01T00:30:00Z"], "{expression}");
    }
    assert!(bounded("at(2026-02-01T00:20:00)").is_err());
}
