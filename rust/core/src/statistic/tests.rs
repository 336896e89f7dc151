use super::*;

/// The deck's ten durations, in seconds as they are recorded; asked for in milliseconds as CloudWatch shows them.
fn durations() -> Histogram {
    let mut histogram = Histogram::new();
    for milliseconds in [120.0, 190.0, 200.0, 250.0, 300.0, 330.0, 370.0, 420.0, 530.0, 700.0] {
        histogram.record(milliseconds / 1000.0).unwrap();
    }
    histogram
}

#[test]
fn every_statistic_of_the_ten_durations_in_milliseconds() {
    for (name, expected) in [
        ("SampleCount", 10.0),
        ("Sum", 3410.0),
        ("Average", 341.0),
        ("Minimum", 120.0),
        ("Maximum", 700.0),
        ("p90", 530.0),
        ("p90.0", 530.0),
        ("p0", 120.0),
        ("p100", 700.0),
        ("P50", 300.0),
        ("p99.9", 700.0),
        ("IQM", 312.0),
        ("tm90", 2710.0 / 9.0),
        ("TM(10%:90%)", 323.75),
        ("TM(:90%)", 2710.0 / 9.0),
        ("TM(50%:)", 470.0),
        ("TM(200:330)", 880.0 / 3.0),
        ("wm90", 324.0),
        ("WM(20%:90%)", 331.0),
        ("WM(200:330)", 280.0),
        ("tc90", 9.0),
        ("TC(95%:100%)", 0.5),
        ("TC(200:330)", 3.0),
        ("ts90", 2710.0),
        ("TS(200:)", 2900.0),
        ("PR(200:330)", 30.0),
        ("PR(:330)", 60.0),
        ("PR(330:)", 40.0),
    ] {
        let found = Statistic::parse(name).unwrap().of(&durations(), 1000.0).unwrap();
        assert!((found - expected).abs() < 1e-9 * expected, "{name} is {found}, not {expected}");
    }
}

#[test]
fn a_change_of_unit_leaves_no_dust() {
    let mut values = Histogram::new();
    values.record(0.004_1).unwrap();
    assert_eq!(Statistic::Maximum.of(&values, 1000.0), Some(4.1), "0.0041 * 1000 is a little less");
    assert_eq!(Statistic::Maximum.of(&values, 1.0), Some(0.004_1));
}

#[test]
fn what_is_no_statistic_is_refused() {
    for name in [
        "",
        "p",
        "p101",
        "p-1",
        "p1e1",
        "p.5",
        "99",
        "median",
        "tm",
        "tm101",
        "TM()",
        "TM(:)",
        "TM(90%:10%)",
        "TM(10:90%)",
        "TM(10%:90%",
        "PR(10%:90%)",
        "pr90",
        "IQR",
        "pnan",
        "é9",
        "sum5",
    ] {
        assert_eq!(Statistic::parse(name), None, "{name}");
    }
}

#[test]
fn of_nothing_there_is_nothing_to_tell() {
    for name in EXAMPLES {
        assert_eq!(Statistic::parse(name).unwrap().of(&Histogram::new(), 1.0), None, "{name}");
    }
    assert_eq!(Statistic::parse("TM(800:900)").unwrap().of(&durations(), 1000.0), None);
    assert_eq!(Statistic::parse("TC(800:900)").unwrap().of(&durations(), 1000.0), Some(0.0));
}

#[test]
fn a_mistyped_word_is_met_with_its_neighbours() {
    assert_eq!(nearest("Avrage", EXAMPLES.iter().copied()), ["Average"]);
    assert_eq!(nearest("Maximun", EXAMPLES.iter().copied())[0], "Maximum");
    assert_eq!(nearest("Durations", ["Duration", "Errors", "IteratorAge"]), ["Duration"]);
    assert!(nearest("nothing like it at all", ["Duration"]).is_empty());
    assert_eq!(nearest("max", ["Min", "MaximumOverTime"]), ["MaximumOverTime", "Min"], "it begins with the word");
    assert_eq!(
        nearest("Itxrxtxrxge", ["IteratorAge"]),
        ["IteratorAge"],
        "a third of its letters may be wrong, and one more"
    );
    assert!(nearest("m", ["MaximumOverTime"]).is_empty(), "one letter says nothing");
}

#[test]
fn two_words_are_as_far_apart_as_letters_are_changed_added_or_left_out() {
    for (one, other, far) in [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("abc", "abc", 0),
        ("abc", "bc", 1),
        ("bc", "abc", 1),
        ("abc", "ab", 1),
        ("abc", "adc", 1),
        ("kitten", "sitting", 3),
        ("flaw", "lawn", 2),
    ] {
        assert_eq!(distance(one, other), far, "{one} {other}");
    }
}
