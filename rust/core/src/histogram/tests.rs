use super::*;
use proptest::prelude::*;

const DECK: [f64; 10] = [120.0, 190.0, 200.0, 250.0, 300.0, 330.0, 370.0, 420.0, 530.0, 700.0];

fn of(values: &[f64]) -> Histogram {
    let mut histogram = Histogram::new();
    for &value in values {
        histogram.record(value).unwrap();
    }
    histogram
}

fn percent(p: f64) -> Percent {
    Percent::new(p).unwrap()
}

/// The definition: sort, take the smallest rank at which the share is reached. `parts`: percentile in thousandths.
fn exact(sorted: &[f64], parts: u64) -> f64 {
    let rank = (parts * sorted.len() as u64).div_ceil(100_000).max(1);
    sorted[rank as usize - 1]
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    values: Vec<f64>,
    percentiles: Vec<(f64, Option<f64>)>,
    mean: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    iqm: Option<f64>,
}

fn close(found: Option<f64>, expected: f64) -> bool {
    found.is_some_and(|found| (found - expected).abs() <= expected * 1e-12)
}

#[test]
fn table_of_cases() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../../tests/cases/histogram.json")).unwrap();
    for case in cases {
        let histogram = of(&case.values);
        for (p, expected) in case.percentiles {
            assert_eq!(histogram.percentile(percent(p)), expected, "{}: p{p}", case.name);
        }
        assert_eq!((histogram.min(), histogram.max()), (case.min, case.max), "{}", case.name);
        assert!(case.mean.is_none_or(|mean| close(histogram.mean(), mean)), "{}", case.name);
        assert!(case.iqm.is_none_or(|mean| close(histogram.interquartile_mean(), mean)), "{}", case.name);
    }
}

#[test]
fn a_value_of_three_digits_comes_back_as_it_was_recorded() {
    for exponent in -9..=6 {
        for digits in 100..1000 {
            let value: f64 = format!("{digits}e{exponent}").parse().unwrap();
            assert_eq!(decimal(edges::slot(value)).to_bits(), value.to_bits(), "{value}");
        }
    }
}

#[test]
fn every_bucket_ends_at_its_edge_and_is_narrower_than_a_thousandth() {
    for slot in 0..SLOTS - 1 {
        let edge = upper_edge(slot);
        if edge >= MIN {
            assert_eq!(edges::slot(edge), slot);
        }
        assert_eq!(edges::slot(edge.next_up()), slot + 1);
        assert!(upper_edge(slot + 1) / edge < 1.000_68);
        let ideal = 2f64.powf((edge.log2() * 1024.0).round() / 1024.0);
        assert!((edge / ideal - 1.0).abs() < 1e-14, "{edge} {ideal}");
    }
}

#[test]
fn four_buckets_make_one_of_schema_8() {
    for slot in 1..SLOTS - 1 {
        let k = f64::from(edges::schema_8(slot));
        let (low, high) = (2f64.powf((k - 1.0) / 256.0), 2f64.powf(k / 256.0));
        assert!(low * (1.0 - 1e-14) <= upper_edge(slot - 1) && upper_edge(slot) <= high * (1.0 + 1e-14), "{slot}");
    }
}

/// Prometheus takes each bucket once.
#[test]
fn values_of_one_bucket_of_schema_8_are_counted_together() {
    let all: Vec<f64> = (1..=1_000).map(|step| 1.0 + f64::from(step) / 1_000.0).collect();
    let buckets = of(&all).schema_8();
    // So many buckets lie between 1 and 2.
    assert_eq!(buckets.iter().map(|&(k, _)| k).collect::<Vec<_>>(), (1..=256).collect::<Vec<_>>());
    for (k, count) in buckets {
        let [low, high] = [k - 1, k].map(|k| 2f64.powf(f64::from(k) / 256.0));
        assert_eq!(count, all.iter().filter(|value| low < **value && **value <= high).count() as u64, "{k}");
    }
}

#[test]
fn zero_is_exact_and_values_outside_the_range_are_counted_apart() {
    let histogram = of(&[0.0, -0.0, 1e-12, 1e-9, 5.0, 1e9, 3e12]);
    assert_eq!((histogram.zero(), histogram.below(), histogram.above(), histogram.count()), (2, 1, 1, 7));
    assert_eq!(histogram.percentile(percent(20.0)), Some(0.0));
    assert_eq!(histogram.percentile(percent(40.0)), Some(MIN), "below the range the range's end stands for a value");
    assert_eq!(histogram.percentile(percent(100.0)), Some(3e12), "the greatest value is exact wherever it lies");
    assert_eq!(of(&[1e-12]).percentile(percent(50.0)), Some(1e-12));
}

#[test]
fn nan_infinity_and_negative_numbers_are_refused() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -1e-300] {
        let mut histogram = Histogram::new();
        assert!(histogram.record(value).is_err());
        assert_eq!(histogram, Histogram::new());
    }
    assert!(Percent::new(100.1).is_err() && Percent::new(-0.1).is_err() && Percent::new(f64::NAN).is_err());
}

#[test]
fn rank_is_exact_where_floats_are_not() {
    // 99.9 / 100 * 1000 is a little more than 999 in floating point, which would give rank 1000.
    let values: Vec<f64> = (1..=1000).map(f64::from).collect();
    assert_eq!(of(&values).percentile(percent(99.9)), Some(999.0));
}

#[test]
fn an_empty_histogram_has_no_percentile_and_takes_no_heap() {
    let empty = Histogram::new();
    assert_eq!((empty.percentile(percent(50.0)), empty.mean(), empty.min(), empty.max()), (None, None, None, None));
    assert_eq!(empty.interquartile_mean(), None);
    assert_eq!(empty.memory(), std::mem::size_of::<Histogram>());
    // A page is of 64 counts, and has its number and its total.
    let one = of(&[1.0]);
    let pages = [one.directory.capacity() * 2, one.pages.capacity() * 512, one.totals.capacity() * 8];
    assert_eq!(one.memory(), empty.memory() + pages.iter().sum::<usize>());
}

#[test]
fn extended_statistics_of_the_ten_durations() {
    let ten = of(&DECK);
    let share = |from, to| Span::Share { from: percent(from), to: percent(to) };
    assert_eq!(ten.trimmed_mean(share(10.0, 90.0)), Some(323.75));
    // The middle half: half of 200 and of 420, and what lies between.
    assert_eq!(ten.interquartile_mean(), Some((100.0 + 250.0 + 300.0 + 330.0 + 370.0 + 210.0) / 5.0));
    assert_eq!(ten.slice(share(0.0, 95.0)), Slice { count: 9.5, sum: 2710.0 + 350.0 });
    assert_eq!(ten.percentile_rank(200.0, 420.0), Some(50.0), "lower bound exclusive, upper inclusive");
    let winsorized = (190.0 * 2.0 + 200.0 + 250.0 + 300.0 + 330.0 + 370.0 + 420.0 + 530.0 * 2.0) / 10.0;
    assert_eq!(ten.winsorized_mean(share(20.0, 90.0)), Some(winsorized));
    assert_eq!(ten.trimmed_mean(Span::Values { above: 300.0, up_to: 400.0 }), Some(350.0));
}

#[test]
fn what_was_merged_can_be_subtracted() {
    let (mut both, other) = (of(&[1.0, 2.0, 3.0]), of(&[2.0, 0.0, 5e10]));
    both.merge(&other);
    assert_eq!(both, of(&[1.0, 2.0, 3.0, 2.0, 0.0, 5e10]));
    both.subtract(&other).unwrap();
    assert_eq!((both.min(), both.max(), both.count(), both.zero(), both.above()), (Some(1.0), Some(3.0), 3, 0, 0));
    assert_eq!(both.subtract(&of(&[7.0])), Err(NotContained));
    both.subtract(&of(&[1.0, 2.0, 3.0])).unwrap();
    assert_eq!(both, Histogram::new());
}

#[test]
fn bytes_of_format_1_are_still_read() {
    let golden = "010000c08465cddd4100000000000000000000000065cddd410101010296e70102b45001";
    let values = of(&[0.0, 1e-12, 0.5, 0.5, 530.0, 2e9]);
    let text = values.to_bytes().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    assert_eq!(text, golden);
    assert_eq!(Histogram::from_bytes(&values.to_bytes()), Ok(values));
    assert_eq!(Histogram::from_bytes(&[2, 0]), Err(DecodeError::NewerFormat(2)));
}

#[test]
fn cumulative_counts_include_the_bound_itself() {
    let histogram = of(&[0.0, 0.005, 0.004_99, 0.01, 0.010_01, 20.0]);
    assert_eq!(histogram.cumulative(&[0.005, 0.01, 10.0]), [3, 4, 5]);
    assert_eq!(Histogram::new().cumulative(&[1.0]), [0]);
}

#[test]
fn memory_is_bounded_over_the_whole_range() {
    let mut histogram = Histogram::new();
    for slot in 0..SLOTS {
        histogram.record(upper_edge(slot).clamp(MIN, MAX)).unwrap();
    }
    assert!(histogram.memory() < 1_200_000, "{}", histogram.memory());
    assert_eq!(Histogram::from_bytes(&histogram.to_bytes()), Ok(histogram));
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![4 => (-9.0..9.0f64).prop_map(|e| 10f64.powf(e)), 1 => Just(0.0), 1 => (1u32..2000).prop_map(f64::from)];
    prop::collection::vec(value, 1..300)
}

proptest! {
    #[test]
    fn a_percentile_is_within_a_thousandth_of_the_exact_one(values in values(), parts in 0u64..=100_000) {
        let histogram = of(&values);
        let mut sorted = values;
        sorted.sort_by(f64::total_cmp);
        let exact = exact(&sorted, parts);
        let found = histogram.percentile(percent(parts as f64 / 1000.0)).unwrap();
        prop_assert!((found - exact).abs() <= exact * 0.001, "{found} for {exact}");
    }

    #[test]
    fn merging_is_recording_together_and_bytes_keep_everything(a in values(), b in values()) {
        let mut merged = of(&a);
        merged.merge(&of(&b));
        let together = of(&[a, b].concat());
        prop_assert!(merged.slots().eq(together.slots()));
        prop_assert_eq!((merged.min(), merged.max(), merged.count()), (together.min(), together.max(), together.count()));
        prop_assert!((merged.sum() - together.sum()).abs() <= together.sum() * 1e-12);
        prop_assert_eq!(Histogram::from_bytes(&merged.to_bytes()), Ok(merged));
    }

    #[test]
    fn damaged_bytes_are_refused_and_never_panic(values in values(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = of(&values).to_bytes();
        let cut = at.index(bytes.len());
        prop_assert!(Histogram::from_bytes(&bytes[..cut]).is_err());
        bytes[cut] = byte;
        if let Ok(read) = Histogram::from_bytes(&bytes) {
            let _ = read.percentile(percent(50.0));
        }
    }
}
