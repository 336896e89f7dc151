use crate::query::*;

/// 2020-01-01T00:00:00Z.
const START: u64 = 1_577_836_800;

fn world() -> (Registry, Points) {
    let registry = Registry::new();
    let durations = registry.distribution(Metric::InvocationDuration, &["handler"]);
    for milliseconds in [120.0, 190.0, 200.0, 250.0, 300.0, 330.0, 370.0, 420.0, 530.0, 60_000.0] {
        durations.record(milliseconds / 1000.0);
    }
    registry.distribution(Metric::InvocationDuration, &["other"]).record(9.0);
    registry.distribution(Metric::IteratorAge, &["flights/handler"]).record(2.0);
    registry.distribution(Metric::IteratorAge, &["flights/other"]).record(3.0);
    registry.counter(Metric::Invocations, &["handler", "success"]).add(7);
    registry.counter(Metric::Invocations, &["handler", "error"]).add(3);
    (registry, Points::open(Vec::new(), START * 1000))
}

fn question(name: &str, statistic: &str, labels: &[(&str, &str)]) -> Question {
    let labels = labels.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    Question { name: name.into(), statistic: statistic.into(), period: 60, labels, since: None, until: None }
}

#[test]
fn names_of_cloudwatch_answer_in_its_units_and_names_of_prometheus_in_theirs() {
    let (registry, mut points) = world();
    let handler = &[("function", "handler")];
    for (name, stat, labels, value, unit) in [
        ("Duration", "p90", handler.as_slice(), 530.0, "Milliseconds"),
        ("Duration", "Average", handler, 6271.0, "Milliseconds"),
        ("Duration", "PR(:300)", handler, 50.0, "Milliseconds"),
        ("forebay_invocation_duration_seconds", "p90", handler, 0.53, "seconds"),
        ("Duration", "SampleCount", &[], 11.0, "Milliseconds"),
        ("Invocations", "Sum", handler, 10.0, "Count"),
        ("Invocations", "Sum", &[("outcome", "error")], 3.0, "Count"),
        ("IteratorAge", "Maximum", handler, 2000.0, "Milliseconds"),
        ("IteratorAge", "Maximum", &[("stream", "flights")], 3000.0, "Milliseconds"),
        ("IteratorAge", "Maximum", &[("mapping", "flights/handler")], 2000.0, "Milliseconds"),
    ] {
        let answer = statistic(&mut points, &registry, &question(name, stat, labels)).unwrap();
        assert_eq!(answer, json!({"value": value, "unit": unit}), "{name} {stat} {labels:?}");
    }
    let nobody = question("Duration", "p90", &[("function", "nobody")]);
    let answer = statistic(&mut points, &registry, &nobody).unwrap();
    assert_eq!(answer, json!({"value": null, "unit": "Milliseconds"}));
}

#[test]
fn a_series_has_a_point_for_each_period_in_which_something_happened() {
    let (registry, mut points) = world();
    points.roll(&registry, (START + 200) * 1000);
    registry.counter(Metric::Invocations, &["handler", "success"]).add(5);
    let mut sum = question("Invocations", "Sum", &[]);
    let answer = series(&mut points, &registry, &sum).unwrap();
    assert_eq!(answer, json!({"points": [[START, 10.0], [START + 180, 5.0]], "unit": "Count"}));
    sum.since = Some(60);
    assert_eq!(series(&mut points, &registry, &sum).unwrap()["points"], json!([[START + 180, 5.0]]));
    (sum.period, sum.since) = (1, Some(3600));
    assert!(series(&mut points, &registry, &sum).unwrap_err().starts_with("You have requested up to 3600 datapoints"));
    (sum.period, sum.since) = (1, Some(300));
    assert_eq!(series(&mut points, &registry, &sum).unwrap()["points"], json!([[START, 10.0], [START + 200, 5.0]]));
}

/// A process that began at 00:00:07 showed nothing of its first 10, 20 or 30 seconds: what its first invocations did was not there.
#[test]
fn the_period_in_which_the_process_began_is_shown_from_there_on() {
    let registry = Registry::new();
    let mut points = Points::open(Vec::new(), (START + 7) * 1000);
    let invocations = registry.counter(Metric::Invocations, &["handler", "success"]);
    for (second, count) in [(8, 4), (15, 2), (61, 1), (130, 8)] {
        points.roll(&registry, (START + second) * 1000);
        invocations.add(count);
    }
    for (period, expected) in [
        (5, json!([[START + 5, 4.0], [START + 15, 2.0], [START + 60, 1.0], [START + 130, 8.0]])),
        (10, json!([[START, 4.0], [START + 10, 2.0], [START + 60, 1.0], [START + 130, 8.0]])),
        (20, json!([[START, 6.0], [START + 60, 1.0], [START + 120, 8.0]])),
        (30, json!([[START, 6.0], [START + 60, 1.0], [START + 120, 8.0]])),
        (60, json!([[START, 6.0], [START + 60, 1.0], [START + 120, 8.0]])),
    ] {
        let asked = Question { period, ..question("Invocations", "Sum", &[]) };
        let told = series(&mut points, &registry, &asked).unwrap();
        let busy: Value =
            told["points"].as_array().unwrap().iter().filter(|one| one[1] != json!(0.0)).cloned().collect();
        assert_eq!(busy, expected, "{period}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_what_may_have_been_meant() {
    let (registry, mut points) = world();
    let mut refusal = |name, stat, period, labels: &[(&str, &str)]| {
        let asked = Question { period, ..question(name, stat, labels) };
        statistic(&mut points, &registry, &asked).unwrap_err()
    };
    for (found, expected) in [
        (refusal("Durations", "p90", 60, &[]), "there is no metric \"Durations\": did you mean Duration?"),
        (refusal("xyzzy", "p90", 60, &[]), "there is no metric \"xyzzy\": `forebay metrics list` names what there is"),
        (refusal("Duration", "p900", 60, &[]), "there is no statistic \"p900\": did you mean p90 or p50 or p99?"),
        (refusal("Duration", "Avg", 60, &[]), "there is no statistic \"Avg\": there are Average, Sum, "),
        (refusal("Duration", "min", 60, &[]), "did you mean Minimum?"),
        (refusal("Duration", "p90", 45, &[]), "try 30 or 60"),
        (refusal("Duration", "p90", 0, &[]), "try 1"),
        (refusal("Duration", "p90", 61, &[]), "try 60 or 120"),
        (refusal("Duration", "p90", 86_400 * 456, &[]), "try 39312000"),
        (
            refusal("Duration", "p90", 60, &[("stream", "s")]),
            "forebay_invocation_duration_seconds has no label \"stream\": it has function",
        ),
        (refusal("forebay_store_commits_total", "Sum", 60, &[("a", "b")]), "has no labels, so none named \"a\""),
    ] {
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn names_of_cloudwatch_are_unique() {
    let mut names: Vec<_> = METRICS.iter().filter_map(|metric| metric.describe().aws).map(|aws| aws.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn the_list_has_every_metric_and_how_many_series_it_has() {
    let (registry, mut points) = world();
    let list = list(&mut points, &registry);
    assert_eq!(list.as_array().unwrap().len(), METRICS.len());
    let duration = list.as_array().unwrap().iter().find(|one| one["aws_name"] == "Duration").unwrap();
    assert_eq!(
        (&duration["series"], &duration["unit"], &duration["aws_unit"]),
        (&json!(2), &json!("seconds"), &json!("Milliseconds"))
    );
}
