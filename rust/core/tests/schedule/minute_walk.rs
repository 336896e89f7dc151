//! Every expression against a walk over every minute, which looks at each field of the local time for itself.

use std::collections::BTreeSet;

use forebay_core::schedule::{CatchUp, TimeZone};
use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;

use crate::common::cases;
use crate::{schedule, shown};

const ZONES: [&str; 5] = ["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"];
const WALK_MINUTES: i64 = 2 * 1440;

/// A field of days: its text, and whether a date is one of them.
#[derive(Clone, Debug)]
enum Days {
    Every,
    Dates(BTreeSet<i8>),
    BeforeLast(i8),
    LastWorkday,
    NearestWorkday(i8),
    Weekdays(BTreeSet<i8>),
    LastOf(i8),
    Nth(i8, i8),
}

fn list(values: &BTreeSet<i8>) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl Days {
    fn fields(&self) -> (String, String) {
        let month = |text: String| (text, "?".to_owned());
        let week = |text: String| ("?".to_owned(), text);
        match self {
            Self::Every => month("*".into()),
            Self::Dates(days) => month(list(days)),
            Self::BeforeLast(0) => month("L".into()),
            Self::BeforeLast(days) => month(format!("L-{days}")),
            Self::LastWorkday => month("LW".into()),
            Self::NearestWorkday(day) => month(format!("{day}W")),
            Self::Weekdays(days) => week(list(days)),
            Self::LastOf(day) => week(format!("{day}L")),
            Self::Nth(day, nth) => week(format!("{day}#{nth}")),
        }
    }

    fn has(&self, date: Date) -> bool {
        let weekday = |date: Date| date.weekday().to_sunday_one_offset();
        let is_workday = |date: &Date| (2..=6).contains(&weekday(*date));
        let month: Vec<Date> = (1..=date.days_in_month())
            .map(|day| date.first_of_month().with().day(day).build().expect("a day"))
            .collect();
        match self {
            Self::Every => true,
            Self::Dates(days) => days.contains(&date.day()),
            Self::BeforeLast(days) => date.day() == date.days_in_month() - days,
            Self::LastWorkday => month.iter().rev().find(|date| is_workday(date)) == Some(&date),
            Self::NearestWorkday(day) => {
                // At one distance there are a day before and a day after only when the named one is itself no workday's
                // neighbour on both sides, which a weekend of two days rules out.
                let workdays = month.iter().filter(|date| is_workday(date));
                *day <= date.days_in_month() && workdays.min_by_key(|date| (date.day() - day).abs()) == Some(&date)
            }
            Self::Weekdays(days) => days.contains(&weekday(date)),
            Self::LastOf(day) => weekday(date) == *day && date.day() + 7 > date.days_in_month(),
            Self::Nth(day, nth) => weekday(date) == *day && (date.day() - 1) / 7 + 1 == *nth,
        }
    }
}

fn days() -> impl Strategy<Value = Days> {
    prop_oneof![
        Just(Days::Every),
        Just(Days::LastWorkday),
        proptest::collection::btree_set(1..=31i8, 1..6).prop_map(Days::Dates),
        (0..=30i8).prop_map(Days::BeforeLast),
        (1..=31i8).prop_map(Days::NearestWorkday),
        proptest::collection::btree_set(1..=7i8, 1..4).prop_map(Days::Weekdays),
        (1..=7i8).prop_map(Days::LastOf),
        (1..=7i8, 1..=5i8).prop_map(|(day, nth)| Days::Nth(day, nth)),
    ]
}

/// Some values of a field, or all.
fn some(first: i8, last: i8) -> impl Strategy<Value = (String, BTreeSet<i8>)> {
    let all: BTreeSet<i8> = (first..=last).collect();
    prop_oneof![
        Just(("*".to_owned(), all)),
        proptest::collection::btree_set(first..=last, 1..4).prop_map(|values| (list(&values), values)),
        (first..=last, first..=last, 1..=last).prop_map(move |(from, to, step)| {
            let length = (to - from).rem_euclid(last - first + 1);
            let values = (0..=length).step_by(step as usize);
            let values = values.map(|distance| first + (from - first + distance) % (last - first + 1)).collect();
            (format!("{from}-{to}/{step}"), values)
        }),
    ]
}

/// Near a change of clocks of 2026 in one of the zones, near the ends of months, or anywhere in 28 years.
fn after() -> impl Strategy<Value = i64> {
    let near =
        [1_774_746_000, 1_792_890_000, 1_772_953_200, 1_793_512_800, 1_775_314_800, 1_790_434_800, 1_772_323_200];
    prop_oneof![
        (proptest::sample::select(near.to_vec()), -180..180i64).prop_map(|(at, minutes)| at + 60 * minutes),
        1_577_836_800..2_461_449_600i64,
    ]
}

fn matches(local: DateTime, minutes: &BTreeSet<i8>, hours: &BTreeSet<i8>, days: &Days, months: &BTreeSet<i8>) -> bool {
    minutes.contains(&local.minute())
        && hours.contains(&local.hour())
        && months.contains(&local.month())
        && days.has(local.date())
}

/// Whether an instant is the first of its local time, and what local times lie in a gap right before it.
fn locals(zone: &TimeZone, at: Timestamp) -> Vec<DateTime> {
    let local = zone.to_datetime(at);
    let before = zone.to_datetime(at - 1.minute());
    let first = zone.to_ambiguous_timestamp(local).earlier().expect("in range") == at;
    let mut locals: Vec<DateTime> = first.then_some(local).into_iter().collect();
    let mut skipped = before + 1.minute();
    while skipped < local {
        locals.push(skipped);
        skipped += 1.minute();
    }
    locals
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(192)))]

    #[test]
    fn the_next_due_time_is_the_first_minute_that_fits(
        minutes in some(0, 59), hours in some(0, 23), days in days(), months in some(1, 12),
        zone in proptest::sample::select(ZONES.to_vec()), minute in after(), seconds in 0..60i64,
    ) {
        let (day_of_month, day_of_week) = days.fields();
        let expression = format!("cron({} {} {day_of_month} {} {day_of_week} *)", minutes.0, hours.0, months.0);
        let first = Timestamp::from_second(minute.div_euclid(60) * 60).unwrap();
        let after_ms = (first.as_millisecond() + seconds * 1000) as u64;
        let next = schedule(&expression, zone).next_after(after_ms);
        prop_assert!(next.is_none_or(|next| next > after_ms));

        let zone = jiff::tz::db().get(zone).unwrap();
        let walked = (1..=WALK_MINUTES).map(|minute| first + minute.minutes()).find(|at| {
            locals(&zone, *at).into_iter().any(|local| matches(local, &minutes.1, &hours.1, &days, &months.1))
        });
        let end_ms = (first + WALK_MINUTES.minutes()).as_millisecond() as u64;
        let found = next.filter(|next| *next <= end_ms);
        prop_assert_eq!(found.map(shown), walked.map(|at| at.to_string()), "{}", expression);
    }

    #[test]
    fn each_due_time_fires_or_is_missed_once(
        minutes in 1..90u64, stopped in 1..3000u64, chunk in 1..40usize,
        catch_up in proptest::sample::select(vec![CatchUp::None, CatchUp::One, CatchUp::All]),
    ) {
        let schedule = schedule(&format!("rate({minutes} minutes)"), "UTC");
        let first = schedule.next_after(crate::at("2026-03-01T00:00:00Z")).unwrap();
        let now = first + stopped * 60_000;
        let (mut next, mut fired, mut missed) = (first, Vec::new(), 0);
        while next <= now {
            let due = schedule.due(next, now, catch_up, chunk);
            fired.extend(due.firings);
            missed += due.missed;
            next = due.next_due.unwrap();
        }
        let all: Vec<u64> = (0..=stopped / minutes).map(|step| first + step * minutes * 60_000).collect();
        prop_assert_eq!(fired.len() as u64 + missed, all.len() as u64);
        prop_assert!(fired.iter().all(|due| all.contains(due)) && fired.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(catch_up != CatchUp::All || missed == 0);
        prop_assert!(catch_up == CatchUp::None || fired.last() == all.last());
    }
}
