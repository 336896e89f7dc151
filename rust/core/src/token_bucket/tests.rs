use super::*;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    rate: f64,
    burst: u64,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    at: f64,
    acquire: Option<u64>,
    #[serde(default)]
    ok: bool,
    until: Option<u64>,
    seconds: Option<f64>,
}

fn ns(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

fn bucket(rate: f64, burst: u64) -> TokenBucket {
    TokenBucket::new(Rate::per_second(rate).unwrap(), burst, 0).unwrap()
}

#[test]
fn table_of_cases() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../../tests/cases/token_bucket.json")).unwrap();
    for case in cases {
        let mut bucket = bucket(case.rate, case.burst);
        for (number, step) in case.steps.iter().enumerate() {
            let now = ns(step.at);
            if let Some(n) = step.acquire {
                assert_eq!(bucket.try_acquire(n, now), step.ok, "{}: step {number}", case.name);
            }
            if let Some(n) = step.until {
                assert_eq!(bucket.time_until(n, now), step.seconds.map(ns), "{}: step {number}", case.name);
            }
        }
    }
}

#[test]
fn rates_and_bursts_outside_their_range_are_refused() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-10, 1.1e9] {
        assert_eq!(Rate::per_second(rate), None, "{rate}");
    }
    let rate = Rate::per_second(1.0).unwrap();
    assert_eq!(TokenBucket::new(rate, 0, 0), None);
    assert_eq!(TokenBucket::new(rate, BURST_MAX + 1, 0), None);
    assert_eq!(Rate::new(0, 1), None);
    assert_eq!(Rate::new(1, 0), None);
}

#[test]
fn five_hundred_a_minute_is_exact_for_a_day() {
    let minute = 60 * SECOND_NS;
    let mut bucket = TokenBucket::new(Rate::new(500, minute).unwrap(), 1000, 0).unwrap();
    assert!(bucket.try_acquire(1000, 0));
    for passed in 1..=24 * 60 {
        assert!(!bucket.try_acquire(500, passed * minute - 1));
        assert!(bucket.try_acquire(500, passed * minute));
    }
}

#[test]
fn a_changed_rate_keeps_what_is_there() {
    let mut bucket = bucket(0.5, 10);
    assert!(bucket.try_acquire(10, 0));
    assert!(bucket.configure(Rate::per_second(1000.0).unwrap(), 4, ns(5.0)));
    assert_eq!(bucket.save(ns(5.0)), (2, 500_000_000), "2.5 tokens came at the old rate");
    assert_eq!(bucket.save(ns(6.0)), (4, 0), "the new burst holds four");
    assert!(!bucket.configure(Rate::per_second(1.0).unwrap(), 0, ns(6.0)));
    assert_eq!(bucket.burst(), 4);
}

#[test]
fn a_kept_state_goes_on_where_it_was() {
    let mut before = bucket(2.0, 10);
    assert!(before.try_acquire(9, 0));
    let state = before.save(ns(0.25));
    let mut after = bucket(2.0, 10);
    after.restore(state, ns(1.0), ns(77.0));
    assert_eq!(after.save(ns(77.0)), (3, 500_000_000), "1.5 were kept, 2 came while nothing ran");
    after.restore((u64::MAX, u32::MAX), 0, 0);
    assert_eq!(after.save(0), (10, 0), "a state of more than the burst fills the bucket");
}

/// The same bucket in plain rational arithmetic: a level over a common denominator, without any shortcut.
struct Model {
    level: i128,
    at: u64,
}

proptest! {
    #[test]
    fn agrees_with_a_rational_model_and_never_lets_more_through(
        tokens in 1u64..5000, per_ns in 1u64..5_000_000, burst in 1u64..50,
        steps in prop::collection::vec((0u64..3_000_000, 1u64..60, any::<bool>()), 1..200),
    ) {
        let rate = Rate::new(tokens, per_ns).unwrap();
        let mut bucket = TokenBucket::new(rate, burst, 0).unwrap();
        let capacity = i128::from(burst) * i128::from(per_ns);
        let mut model = Model { level: capacity, at: 0 };
        let mut let_through = 0u128;
        for (pause, n, really) in steps {
            let now = model.at + pause;
            model.level = capacity.min(model.level + i128::from(pause) * i128::from(tokens));
            model.at = now;
            let wanted = i128::from(n) * i128::from(per_ns);
            let wait = bucket.time_until(n, now);
            prop_assert_eq!(wait == Some(0), wanted <= model.level);
            prop_assert_eq!(wait.is_none(), n > burst);
            if let Some(wait) = wait.filter(|&wait| wait > 0) {
                prop_assert!(!bucket.clone().try_acquire(n, now + wait - 1) && bucket.clone().try_acquire(n, now + wait));
            }
            if really {
                let taken = bucket.try_acquire(n, now);
                prop_assert_eq!(taken, wanted <= model.level);
                if taken {
                    model.level -= wanted;
                    let_through += u128::from(n);
                }
            }
            let bound = u128::from(burst) * u128::from(per_ns) + u128::from(now) * u128::from(tokens);
            prop_assert!(let_through * u128::from(per_ns) <= bound);
        }
    }

    #[test]
    fn nothing_overflows_at_the_ends_of_the_ranges(
        rate in prop_oneof![Just(RATE_MIN), Just(RATE_MAX), Just(0.123_456_789), RATE_MIN..RATE_MAX],
        burst in prop_oneof![Just(1), Just(BURST_MAX)], times in prop::collection::vec(any::<u64>(), 1..20), n in any::<u64>(),
    ) {
        let mut bucket = bucket(rate, burst);
        for now in times {
            let there = bucket.try_acquire(n.min(BURST_MAX), now);
            prop_assert!(!there || n.min(BURST_MAX) <= burst);
            let _ = (bucket.time_until(n, now), bucket.save(now));
            prop_assert!(bucket.configure(Rate::per_second(rate).unwrap(), burst, now));
        }
    }
}

#[test]
fn tokens_that_are_given_back_make_the_bucket_no_larger() {
    let mut bucket = TokenBucket::new(Rate::per_second(1.0).unwrap(), 2, 0).unwrap();
    assert!(bucket.try_acquire(2, 0));
    bucket.give_back(1, 0);
    assert!(bucket.try_acquire(1, 0) && !bucket.try_acquire(1, 0));
    bucket.give_back(5, 0);
    assert_eq!(bucket, TokenBucket::new(Rate::per_second(1.0).unwrap(), 2, 0).unwrap(), "it is full, and no more");
    assert!(bucket.try_acquire(2, 0) && !bucket.try_acquire(1, 0));
}

#[test]
fn rates_and_levels_are_told_as_numbers() {
    assert!((Rate::per_second(2.5).unwrap().get() - 2.5).abs() < 1e-9);
    assert!((Rate::new(500, 60 * SECOND_NS).unwrap().get() - 25.0 / 3.0).abs() < 1e-9);
    let mut bucket = bucket(2.0, 10);
    assert!(bucket.try_acquire(9, 0));
    assert!((bucket.tokens(ns(0.25)) - 1.5).abs() < 1e-9);
    assert!((bucket.rate().get() - 2.0).abs() < 1e-9);
}
