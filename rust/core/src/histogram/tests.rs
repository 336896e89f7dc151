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

fn power(exponent: i32) -> f64 {
    2f64.powi(exponent)
}

/// Counted by themselves below, inside and above the range; sums of powers of two are exact.
fn mixed() -> Histogram {
    let mut histogram = of(&[0.0, power(-40), 3.0, 300.0, power(40)]);
    histogram.record_n(2.0, 5).unwrap();
    histogram
}

#[test]
fn a_value_counts_as_often_as_it_was_recorded() {
    let mut histogram = mixed();
    assert_eq!((histogram.count(), histogram.sum()), (10, 313.0 + power(40) + power(-40)));
    assert_eq!((histogram.zero(), histogram.below(), histogram.above()), (1, 1, 1));
    histogram.record_n(2.0, 0).unwrap();
    histogram.record_n(0.0, 0).unwrap();
    assert_eq!(histogram, mixed(), "no time at all");
    assert!(histogram.record_n(-1.0, 0).is_err());
    assert_eq!(Histogram::new().below(), 0);
}

#[test]
fn every_count_is_added_and_taken_away_by_itself() {
    let mut twice = mixed();
    twice.merge(&mixed());
    assert_eq!((twice.count(), twice.zero(), twice.below(), twice.above()), (20, 2, 2, 2));
    let mut other = of(&[power(-40)]);
    other.record_n(2.0, 8).unwrap();
    twice.subtract(&other).unwrap();
    assert_eq!((twice.count(), twice.zero(), twice.below(), twice.above()), (11, 2, 1, 2));
    assert_eq!(twice.sum().to_bits(), (610.0 + 2.0 * power(40) + power(-40)).to_bits());
    let ranks = (1..=11).map(|rank| percent((f64::from(rank) - 0.5) / 11.0 * 100.0));
    let left: Vec<f64> = ranks.map(|share| twice.percentile(share).unwrap()).collect();
    assert_eq!(left, [0.0, 0.0, MIN, 2.0, 2.0, 3.0, 3.0, 300.0, 300.0, power(40), power(40)]);
    let totals: Vec<u64> = twice.pages.iter().map(|page| page.iter().sum()).collect();
    assert_eq!(twice.totals, totals);
    twice.subtract(&of(&[3.0, 3.0])).unwrap();
    assert_eq!(twice.slots().map(|(slot, count)| (decimal(slot), count)).collect::<Vec<_>>(), [(2.0, 2), (300.0, 2)]);
}

#[test]
fn histograms_that_differ_anywhere_are_not_equal() {
    for (one, other) in [
        (of(&[1.0]), Histogram::new()),
        (of(&[1.0, 4.0, 6.0, 9.0]), of(&[1.0, 5.0, 5.0, 9.0])),
        (of(&[5.000_1]), of(&[5.000_2])),
        (of(&[0.0, 1.0]), of(&[1.0, 0.0, 0.0])),
    ] {
        assert_ne!(one, other);
    }
    assert_eq!(of(&[700.0, 1.0]), of(&[1.0, 700.0]), "whichever came first");
}

#[test]
fn refusals_say_what_is_wrong() {
    let told = |refusal: &dyn std::error::Error| refusal.to_string();
    let refused = of(&[]).record(-1.5).unwrap_err();
    assert_eq!(told(&refused), "value -1.5 cannot be recorded: a histogram takes finite numbers of 0 or more");
    let missing = of(&[1.0]).subtract(&of(&[2.0])).unwrap_err();
    assert_eq!(told(&missing), "the histogram to subtract holds values that this one does not");
    let share = Percent::new(100.5).unwrap_err();
    assert_eq!(told(&share), "percentile 100.5 is out of range: it must be from 0 to 100");
    let newer = Histogram::from_bytes(&[7]).unwrap_err();
    assert_eq!(told(&newer), "the histogram has format 7, this forebay reads format 1");
    let damaged = Histogram::from_bytes(&[]).unwrap_err();
    assert_eq!(told(&damaged), "the bytes are not a histogram, or are damaged");
}

/// Bytes of format 1: sum, least and greatest value, and LEB128 numbers in hexadecimal.
fn written(floats: [f64; 3], numbers: &str) -> Vec<u8> {
    let bytes = (0..numbers.len()).step_by(2).map(|at| u8::from_str_radix(&numbers[at..at + 2], 16).unwrap());
    std::iter::once(1).chain(floats.into_iter().flat_map(f64::to_le_bytes)).chain(bytes).collect()
}

#[test]
fn bytes_that_no_histogram_writes_are_damaged() {
    // 00 below and above, one slot: that of 1.0 (30614), once.
    let one = "0000000196ef0101";
    assert_eq!(Histogram::from_bytes(&written([1.0; 3], one)), Ok(of(&[1.0])));
    // 2^53 times, which is the most; and once more.
    let most = "0000000196ef018080808080808010";
    assert_eq!(Histogram::from_bytes(&written([1.0; 3], most)).map(|read| read.count()), Ok(1 << 53));
    let (nan, infinite) = (f64::NAN, f64::INFINITY);
    for (floats, numbers, what) in [
        ([1.0; 3], "0000000196ef018180808080808010", "too many"),
        ([1.0; 3], "0000000296ef01ffffffffffffffffff010001", "the same slot again"),
        ([1.0; 3], "0000000296ef01010001", "the same slot again"),
        ([1.0; 3], "0000000196ef0100", "a slot that holds nothing"),
        ([1.0; 3], "00000001aede0301", "a slot behind the last"),
        ([1.0; 3], "0000000196ef010100", "a byte too many"),
        ([infinite, 1.0, 1.0], one, "the sum"),
        ([nan, 1.0, 1.0], one, "the sum"),
        ([1.0, -1.0, 1.0], one, "the least value"),
        ([1.0, nan, 1.0], one, "the least value"),
        ([1.0, 2.0, 1.0], one, "the least is greater than the greatest"),
        ([1.0, 1.0, infinite], "0000010196ef0101", "the greatest value"),
        ([1.0, 1.0, 2e9], one, "the greatest value lies above the range, where none was counted"),
        ([1.0, 1.0, 1.0], "0000010196ef0101", "the greatest value lies inside, and one was counted above"),
        ([1.0, 1.0, 1.0], "0100000196ef0101", "zero was counted, and is not the least value"),
    ] {
        assert_eq!(Histogram::from_bytes(&written(floats, numbers)), Err(DecodeError::Damaged), "{what}");
    }
    assert_eq!(Histogram::from_bytes(&[0, 0]), Err(DecodeError::Damaged), "no format has the number 0");
}

/// Its last digit could be no other: the middle is nearer to it than to its neighbours.
#[test]
fn a_bucket_is_shown_by_the_decimal_nearest_its_middle() {
    for slot in (1..SLOTS - 1).step_by(5) {
        let (low, high, shown) = (upper_edge(slot - 1), upper_edge(slot), decimal(slot));
        assert!(low < shown && shown <= high, "{low} {shown} {high}");
        let text = format!("{shown:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap();
        let digits = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
        let last = 10f64.powi(exponent.parse::<i32>().unwrap() + 1 - digits);
        assert!(digits <= 5 && (shown - f64::midpoint(low, high)).abs() <= last * 0.500_001, "{low} {shown} {high}");
    }
}

#[test]
fn statistics_at_their_ends() {
    let values = of(&[1.0, 1.0, 1.0, 5.123_456]);
    assert_eq!(values.percentile(percent(100.0)), Some(5.123_456), "the greatest value is exact");
    let span = Span::Values { above: 2.0, up_to: 4.0 };
    assert_eq!(values.winsorized_mean(span), Some(10.0 / 4.0), "three ones became 2, the greatest 4");
    assert_eq!((values.percentile_rank(0.0, 1.0), values.percentile_rank(2.0, 4.0)), (Some(75.0), Some(0.0)));
    let none = Histogram::new();
    assert_eq!((none.winsorized_mean(span), none.percentile_rank(0.0, 1.0)), (None, None));
    assert_eq!(of(&[0.0, 1e-12, 1e-12, 1.0, 2e9]).cumulative(&[0.5, 1.0, 10.0]), [3, 4, 4], "what lies below counts");
}
