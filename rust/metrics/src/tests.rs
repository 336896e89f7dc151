use crate::catalogue::{Kind, Unit};
use crate::*;

fn line<'a>(page: &'a str, start: &str) -> &'a str {
    page.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no line {start} in\n{page}"))
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    for described in CATALOGUE {
        let name = described.name;
        assert!(name.starts_with("forebay_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), described.kind == Kind::Counter, "{name}");
        assert_eq!(described.buckets.is_empty(), described.kind != Kind::Distribution, "{name}");
        assert!(described.buckets.is_sorted(), "{name}");
        if described.unit != Unit::Count {
            let unit = described.unit.as_str();
            assert!(name.trim_end_matches("_total").ends_with(unit), "{name} must end in {unit}");
        }
        assert!(described.help.ends_with('.') && !described.help.contains(['\n', '\\']), "{name}");
        assert!(!described.labels.iter().any(|label| ["le", "quantile"].contains(label)), "{name}");
        assert_eq!(CATALOGUE.iter().filter(|other| other.name == name).count(), 1, "{name}");
    }
}

#[test]
fn handles_of_the_same_labels_count_together() {
    let registry = Registry::new();
    registry.counter(Metric::Retries, &["flights:handler"]).add(2);
    registry.counter(Metric::Retries, &["flights:handler"]).increment();
    assert_eq!(registry.counter(Metric::Retries, &["flights:handler"]).get(), 3);
    let gauge = registry.gauge(Metric::InFlight, &["handler"]);
    gauge.add(3.0);
    gauge.add(-1.0);
    assert!((registry.gauge(Metric::InFlight, &["handler"]).get() - 2.0).abs() < f64::EPSILON);
}

#[test]
fn past_its_most_series_a_metric_counts_under_other() {
    let registry = Registry::new();
    for number in 0..registry::SERIES_MAX + 500 {
        registry.counter(Metric::RecordsPut, &[&format!("stream-{number}")]).increment();
    }
    assert_eq!(registry.gather(Metric::RecordsPut).len(), registry::SERIES_MAX + 1);
    assert_eq!(registry.counter(Metric::RecordsPut, &[registry::OTHER]).get(), 500);
    assert_eq!(registry.counter(Metric::RecordsPut, &["stream-7"]).get(), 1, "a series that was there stays");
}

#[test]
fn a_value_no_distribution_takes_is_counted_as_refused() {
    let registry = Registry::new();
    let duration = registry.distribution(Metric::InvocationDuration, &["handler"]);
    duration.record(f64::NAN);
    duration.record(-1.0);
    assert_eq!(duration.total().count(), 0);
    assert_eq!(registry.counter(Metric::MetricValuesRefused, &[]).get(), 2);
}

#[test]
fn a_series_that_is_forgotten_is_not_shown() {
    let registry = Registry::new();
    registry.gauge(Metric::ShardLag, &["flights", "shardId-000000000000", "handler"]).set(5.0);
    registry.forget(Metric::ShardLag, &["flights", "shardId-000000000000", "handler"]);
    assert!(!exposition::render(&registry, Format::Text).contains("shard_lag"));
}

#[test]
fn text_page_has_classic_buckets_and_escaped_labels() {
    let registry = Registry::new();
    registry.counter(Metric::RecordsPut, &["a\"b\\c\nd"]).add(7);
    let duration = registry.distribution(Metric::InvocationDuration, &["handler"]);
    for value in [0.003, 0.005, 0.2, 60.0] {
        duration.record(value);
    }
    let page = exposition::render(&registry, Format::Text);
    assert_eq!(line(&page, "forebay_records_put_total"), r#"forebay_records_put_total{stream="a\"b\\c\nd"} 7"#);
    assert_eq!(line(&page, "# TYPE forebay_records_put"), "# TYPE forebay_records_put_total counter");
    let bucket = |le: &str| {
        let start = format!("forebay_invocation_duration_seconds_bucket{{function=\"handler\",le=\"{le}\"}} ");
        line(&page, &start)[start.len()..].parse::<u64>().unwrap()
    };
    assert_eq!([bucket("0.005"), bucket("0.1"), bucket("0.25"), bucket("10.0"), bucket("+Inf")], [2, 2, 3, 3, 4]);
    assert!(page.contains("forebay_invocation_duration_seconds_sum{function=\"handler\"} 60.208\n"));
    assert!(page.contains("forebay_invocation_duration_seconds_count{function=\"handler\"} 4\n"));
    assert!(!page.contains("EOF"));
}

#[test]
fn percentiles_are_gauges_beside_the_buckets() {
    let registry = Registry::new();
    let duration = registry.distribution(Metric::InvocationDuration, &["handler"]);
    assert!(!exposition::render(&registry, Format::Text).contains("percentile"), "of nothing there are no percentiles");
    for millisecond in 1..=1000 {
        duration.record(f64::from(millisecond) / 1000.0);
    }
    let page = exposition::render(&registry, Format::OpenMetrics1);
    let name = "forebay_invocation_duration_percentile_seconds";
    assert!(page.contains(&format!("# TYPE {name} gauge\n# UNIT {name} seconds\n")));
    for (percent, value) in [("50", "0.5"), ("90", "0.9"), ("95", "0.95"), ("99", "0.99"), ("99.9", "0.999")] {
        assert!(page.contains(&format!("{name}{{function=\"handler\",percentile=\"{percent}\"}} {value}\n")), "{page}");
    }
    registry.distribution(Metric::StoreCommitDuration, &[]).record(0.001);
    let page = exposition::render(&registry, Format::Text);
    assert!(page.contains("forebay_store_commit_duration_percentile_seconds{percentile=\"50\"} 0.001\n"));
}

#[test]
fn openmetrics_page_names_families_without_suffix_and_ends() {
    let registry = Registry::new();
    registry.counter(Metric::BytesPut, &["flights"]).add(7);
    let page = exposition::render(&registry, Format::OpenMetrics1);
    assert_eq!(line(&page, "# TYPE forebay_put"), "# TYPE forebay_put_bytes counter");
    assert_eq!(line(&page, "# UNIT forebay_put"), "# UNIT forebay_put_bytes bytes");
    assert_eq!(line(&page, "forebay_put"), "forebay_put_bytes_total{stream=\"flights\"} 7");
    assert_eq!(line(&page, "# TYPE forebay_build"), "# TYPE forebay_build info");
    assert!(page.ends_with("\n# EOF\n"));
}

#[test]
fn openmetrics_2_carries_native_buckets() {
    let registry = Registry::new();
    let size = registry.distribution(Metric::BatchSize, &["flights:handler"]);
    for value in [0.0, 1.0, 1.0, 2.0, 2.005, 1e10] {
        size.record(value);
    }
    let page = exposition::render(&registry, Format::OpenMetrics2);
    let native = "count:6,sum:10000000006.005,schema:8,zero_threshold:1e-9,zero_count:1,\
                  positive_spans:[0:1,255:2,8247:1],positive_buckets:[2,1,1,1],bucket:[1.0:3,2.0:4,";
    assert!(line(&page, "forebay_batch_size{").contains(native), "{page}");
    assert_eq!(line(&page, "# TYPE forebay_build"), "# TYPE forebay_build_info info");
}

#[test]
fn many_native_buckets_are_merged_until_they_fit() {
    let registry = Registry::new();
    let size = registry.distribution(Metric::BatchSize, &["flights:handler"]);
    for step in 0..20_000 {
        size.record(1.001_f64.powi(step));
    }
    let page = exposition::render(&registry, Format::OpenMetrics2);
    let (_, buckets) = line(&page, "forebay_batch_size{").split_once("positive_buckets:[").unwrap();
    let counts: Vec<u64> = buckets.split_once(']').unwrap().0.split(',').map(|n| n.parse().unwrap()).collect();
    assert!(counts.len() <= 1000 && counts.iter().sum::<u64>() == 20_000);
    assert!(page.contains("schema:5"), "20,000 values over 29 powers of two");
}

#[test]
fn scraper_gets_the_format_it_likes_best() {
    let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                      application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, format) in [
        ("", Format::Text),
        ("*/*", Format::Text),
        ("text/html", Format::Text),
        ("text/plain;version=0.0.4", Format::Text),
        (prometheus, Format::OpenMetrics1),
        ("text/plain;q=0.9, application/openmetrics-text; version=2.0.0; q=0.95", Format::OpenMetrics2),
        ("text/plain, application/openmetrics-text; version=\"2.0.0\"; q=0.5", Format::Text),
        ("application/openmetrics-text;q=nonsense", Format::Text),
    ] {
        assert_eq!(Format::negotiate(accept), format, "{accept}");
    }
}
