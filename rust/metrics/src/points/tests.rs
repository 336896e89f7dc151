use std::collections::BTreeMap;

use forebay_core::histogram::Percent;
use proptest::prelude::*;

use crate::points::*;

/// 2020-01-01T00:00:00Z.
const START: u64 = 1_577_836_800;

/// A registry, its points, and what a store would hold.
struct World {
    registry: Registry,
    points: Points,
    store: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl World {
    fn at(second: u64) -> Self {
        Self { registry: Registry::new(), points: Points::open(Vec::new(), second * 1000), store: BTreeMap::new() }
    }

    fn keep(&mut self, changes: Vec<RowChange>) {
        for RowChange { key, value } in changes {
            match value {
                Some(value) => drop(self.store.insert(key, value)),
                None => assert!(self.store.remove(&key).is_some(), "a row that is not there"),
            }
        }
    }

    fn roll(&mut self, second: u64) {
        let writes = self.points.roll(&self.registry, second * 1000);
        self.keep(writes);
    }

    /// End this process and begin another one on the same store.
    fn restart(mut self, second: u64) -> Self {
        let writes = self.points.close(&self.registry, self.points.now() * 1000);
        self.keep(writes);
        let rows = self.store.clone();
        Self { registry: Registry::new(), points: Points::open(rows, second * 1000), store: self.store }
    }

    fn pool(&mut self, metric: Metric, from: u64, to: u64) -> Histogram {
        self.points.settle(&self.registry);
        let ids: Vec<_> = self.points.series(metric).map(|(id, _)| id).collect();
        self.points.pool(&ids, from, to)
    }

    fn sum(&mut self, from: u64, to: u64) -> u64 {
        self.pool(Metric::RecordsPut, from, to).sum() as u64
    }

    fn put(&self, records: u64) {
        self.registry.counter(Metric::RecordsPut, &["flights"]).add(records);
    }

    fn lag(&self, records: f64) {
        self.registry.gauge(Metric::InFlight, &["handler"]).set(records);
    }

    fn took(&self, seconds: f64) {
        self.registry.distribution(Metric::InvocationDuration, &["handler"]).record(seconds);
    }
}

fn figures(values: &Histogram) -> (u64, f64, Option<f64>, Option<f64>) {
    (values.count(), values.sum(), values.min(), values.max())
}

#[test]
fn a_counter_is_known_by_its_growth_in_each_second_and_its_zeros_count_in_a_busy_minute() {
    let mut world = World::at(START);
    world.put(5);
    world.roll(START + 1);
    world.put(7);
    world.roll(START + 30);
    world.put(1);
    assert_eq!(figures(&world.pool(Metric::RecordsPut, START, START + 31)), (31, 13.0, Some(0.0), Some(7.0)));
    world.roll(START + 60);
    let ended = world.pool(Metric::RecordsPut, START, START + 60);
    assert_eq!(
        figures(&ended),
        (60, 13.0, Some(0.0), Some(7.0)),
        "an ended minute has a value for each of its seconds"
    );
    world.roll(START + 600);
    assert!(
        world.pool(Metric::RecordsPut, START + 60, START + 600).is_empty(),
        "nothing happened, so there is nothing"
    );
    assert_eq!(figures(&world.pool(Metric::RecordsPut, START, START + 600)), figures(&ended));
}

#[test]
fn a_gauge_is_known_by_its_greatest_level_in_each_second_and_keeps_its_level_between_turns() {
    let mut world = World::at(START);
    world.lag(9.0);
    world.lag(2.0);
    world.roll(START + 20);
    world.lag(0.0);
    world.roll(START + 21);
    world.roll(START + 60);
    // 9 in the first second, 2 for 20 seconds (in the last of which it fell to 0), 0 for the rest.
    let minute = world.pool(Metric::InFlight, START, START + 60);
    assert_eq!(figures(&minute), (60, 9.0 + 20.0 * 2.0, Some(0.0), Some(9.0)));
    world.lag(4.0);
    world.roll(START + 3600);
    let hour = world.pool(Metric::InFlight, START + 60, START + 3600);
    assert_eq!(figures(&hour), (3540, 4.0 * 3540.0, Some(4.0), Some(4.0)), "nobody turned for an hour");
    assert_eq!(figures(&world.pool(Metric::InFlight, START + 600, START + 603)), (3, 12.0, Some(4.0), Some(4.0)));
}

#[test]
fn a_gauge_that_is_gone_is_at_zero() {
    let mut world = World::at(START);
    world.lag(3.0);
    world.roll(START + 1);
    world.registry.forget(Metric::InFlight, &["handler"]);
    world.roll(START + 60);
    assert_eq!(figures(&world.pool(Metric::InFlight, START, START + 60)), (60, 6.0, Some(0.0), Some(3.0)));
}

#[test]
fn a_distribution_keeps_its_percentiles_through_every_width() {
    let mut world = World::at(START);
    for second in 0..7200u32 {
        world.took(f64::from(second % 100 + 1) / 1000.0);
        world.roll(START + u64::from(second) + 1);
    }
    for (from, to) in [(0, 60), (0, 300), (0, 3600), (3600, 7200), (0, 7200), (60, 7140), (17, 4317)] {
        let values = world.pool(Metric::InvocationDuration, START + from, START + to);
        assert_eq!(values.count(), to - from, "{from}..{to}");
        if (to - from).is_multiple_of(100) {
            assert_eq!(values.percentile(Percent::new(90.0).unwrap()), Some(0.09), "{from}..{to}");
        }
    }
}

#[test]
fn what_is_stored_is_found_again_and_a_minute_that_two_processes_shared_counts_once() {
    let mut world = World::at(START);
    for second in 0..3630 {
        world.put(1);
        world.took(0.25);
        world.roll(START + second + 1);
    }
    let mut world = world.restart(START + 3640);
    let whole = |world: &mut World| {
        let (records, took) = (Metric::RecordsPut, Metric::InvocationDuration);
        (world.pool(records, START, START + 7200).sum(), world.pool(took, START, START + 7200).count())
    };
    assert_eq!(whole(&mut world), (3630.0, 3630));
    world.put(10);
    world.took(0.25);
    assert_eq!(whole(&mut world), (3640.0, 3631), "in the minute that is shared");
    world.roll(START + 3660);
    assert_eq!(whole(&mut world), (3640.0, 3631), "after it has ended");
    world.roll(START + 7200);
    assert_eq!(whole(&mut world), (3640.0, 3631), "as part of an hour");
    let mut world = world.restart(START + 7200);
    assert_eq!(whole(&mut world), (3640.0, 3631), "from the store");
}

#[test]
fn points_are_kept_as_long_as_cloudwatch_keeps_them() {
    let mut world = World::at(START);
    let day = 86_400;
    for hour in (0..=460 * 24).step_by(6) {
        world.put(1);
        world.roll(START + hour * HOUR + 1);
    }
    let now = START + 460 * day;
    let oldest = |tier: usize| (now - world.points.tiers[tier].rows.front().unwrap().start) / day;
    assert_eq!((oldest(1), oldest(2), oldest(3)), (15, 63, 455));
    assert!(world.points.tiers[0].rows.is_empty(), "nothing happened in the last three hours");
    let stored = |tier: u8| world.store.keys().filter(|key| key[0] == tier).count();
    assert_eq!([stored(1), stored(2), stored(3)], [1, 2, 3].map(|tier: usize| world.points.tiers[tier].rows.len()));
    assert_eq!(world.sum(now - 400 * day, now), 400 * 4);
}

#[test]
fn memory_is_bounded_and_seconds_go_first() {
    let mut world = World::at(START);
    world.points.bytes_max = 200_000;
    for second in 0..7200u32 {
        for function in 0..20 {
            world.registry.counter(Metric::Errors, &[&format!("function-{function}")]).increment();
        }
        world.roll(START + u64::from(second) + 1);
        assert!(world.points.bytes <= 200_000 || world.points.tiers[0].rows.len() == ROWS_MIN);
    }
    assert!(world.points.tiers[0].rows.len() < 300);
    let counted: usize = world.points.tiers.iter().flat_map(|tier| &tier.rows).map(Row::bytes).sum();
    assert_eq!(counted, world.points.bytes);
    assert_eq!(
        world.pool(Metric::Errors, START, START + 7200).sum() as u64,
        20 * 7200,
        "minutes remember what seconds forgot"
    );
}

/// Found by rng: before the first process there was nothing, yet the hour's point was taken for it.
#[test]
fn a_window_before_the_first_process_is_empty() {
    let mut world = World::at(START).restart(START + 400);
    world.put(1);
    world.roll(START + 3600);
    assert_eq!(world.sum(START, START + 60), 0);
    let mut world = world.restart(START + 20 * 86_400);
    assert_eq!(world.sum(START + 400, START + 460), 1);
    world.roll(START + 20 * 86_400 + 1);
    assert_eq!(world.sum(START + 600, START + 660), 0, "the minutes are gone, the five minutes are not");
    assert_eq!(world.sum(START + 300, START + 360), 1, "which count whole");
}

#[test]
fn a_clock_that_goes_back_loses_nothing() {
    let mut world = World::at(START + 30);
    world.put(1);
    world.roll(START + 31);
    world.put(1);
    world.roll(START);
    world.put(1);
    world.roll(START + 40);
    assert_eq!(world.sum(START, START + 41), 3);
}

#[test]
fn a_long_pause_is_passed_over() {
    let mut world = World::at(START);
    world.lag(1.0);
    world.roll(START + 1);
    world.roll(START + 400 * 86_400);
    world.put(1);
    let now = START + 400 * 86_400;
    assert_eq!(world.sum(now, now + 1), 1);
    assert!(world.points.tiers[1].rows.len() <= 1 + 1440);
}

#[test]
fn rows_that_cannot_be_read_are_left_out() {
    let mut world = World::at(START);
    world.put(1);
    world.roll(START + 120);
    let mut rows: Vec<_> = world.store.clone().into_iter().collect();
    for bad in [vec![], vec![9], vec![1, 255, 255, 255, 255], rows[0].1[..rows[0].1.len() - 1].to_vec()] {
        rows.insert(0, (rows::key(1, START - 600), bad));
    }
    rows.push((vec![7], vec![1]));
    rows.push((rows::key(1, START + 10 * 86_400), rows[rows.len() - 2].1.clone()));
    let mut points = Points::open(rows, (START + 120) * 1000);
    points.settle(&Registry::new());
    let ids: Vec<_> = points.series(Metric::RecordsPut).map(|(id, _)| id).collect();
    assert_eq!(points.pool(&ids, START - 3600, START + 120).sum() as u64, 1);
}

#[test]
fn the_next_turn_is_wanted_at_the_end_of_a_busy_minute_only() {
    let mut world = World::at(START + 5);
    assert_eq!(world.points.next_due(), None);
    assert!(!world.points.is_due((START + 5) * 1000 + 999) && world.points.is_due((START + 6) * 1000));
    world.put(1);
    world.roll(START + 6);
    assert_eq!(world.points.next_due(), Some((START + 60) * 1000));
    world.roll(START + 60);
    assert_eq!(world.points.next_due(), None);
}

proptest! {
    /// Whatever is counted when: the sum over any window of whole minutes, and over any window within the last three hours, is what
    /// was counted in it, and restarts change nothing.
    #[test]
    fn every_count_is_in_its_window_once(
        steps in prop::collection::vec((0u64..400, 0u64..5, prop::bool::weighted(0.1)), 1..120),
        from in 0u64..8000, length in 1u64..8000, minutes in any::<bool>(),
    ) {
        let mut world = World::at(START);
        let mut counted = Vec::new();
        let (mut second, mut begun) = (START, START);
        for (pause, records, restart) in steps {
            world.put(records);
            counted.push((second, records));
            second += pause;
            if restart {
                world = world.restart(second);
                begun = second;
            } else {
                world.roll(second);
            }
        }
        let (mut from, mut to) = (START + from, START + from + length);
        // Seconds are kept for three hours, and not over a restart.
        if minutes || from < begun || from + 3 * 3600 <= second {
            (from, to) = (from / 60 * 60, to.div_ceil(60) * 60);
        }
        let inside = counted.iter().filter(|(second, _)| (from..to).contains(second));
        let expected: u64 = inside.map(|(_, records)| records).sum();
        prop_assert_eq!(world.sum(from, to), expected);
    }
}
