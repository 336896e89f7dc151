use serde_json::{json, Value};

use crate::exports::*;

const OPEN: &str = "forebay_dbproxy_database_connections";
const SHARE: &str = "forebay_dbproxy_availability_ratio";
const ASKED: &str = "forebay_dbproxy_query_requests_total";

fn told(source: &str, keep: Option<f64>, samples: &Value) -> Told {
    serde_json::from_value(json!({"source": source, "keep": keep, "samples": samples})).unwrap()
}

fn open(registry: &Registry) -> u64 {
    registry.gauge(Metric::ProxyConnections, &["orders"]).get() as u64
}

#[test]
fn sources_add_up_and_of_a_ratio_the_worst_is_shown() {
    let (registry, mut exports) = (Registry::new(), Exports::default());
    exports.tell(&registry, told("a", None, &json!([[OPEN, ["orders"], 3], [SHARE, ["orders"], 1.0]])), 0).unwrap();
    exports.tell(&registry, told("b", None, &json!([[OPEN, ["orders"], 4], [SHARE, ["orders"], 0.5]])), 0).unwrap();
    assert_eq!(open(&registry), 7);
    assert!((registry.gauge(Metric::ProxyAvailability, &["orders"]).get() - 0.5).abs() < f64::EPSILON);
    exports.tell(&registry, told("a", None, &json!([[OPEN, ["orders"], 1]])), 0).unwrap();
    assert_eq!(open(&registry), 5);
}

#[test]
fn what_a_silent_source_counted_stays_and_its_levels_go() {
    let (registry, mut exports) = (Registry::new(), Exports::default());
    let samples = json!([[OPEN, ["orders"], 3], [ASKED, ["orders"], 9]]);
    exports.tell(&registry, told("a", Some(10.0), &samples), 0).unwrap();
    exports.tell(&registry, told("b", Some(10.0), &json!([[OPEN, ["orders"], 2]])), 5_000_000_000).unwrap();
    exports.expire(&registry, 9_999_999_999);
    assert_eq!(open(&registry), 5);
    exports.expire(&registry, 10_000_000_000);
    assert_eq!(open(&registry), 2);
    exports.expire(&registry, 15_000_000_000);
    assert!(registry.gather(Metric::ProxyConnections).is_empty(), "nobody is left to have connections");
    assert_eq!(registry.counter(Metric::ProxyQueries, &["orders"]).get(), 9);
}

#[test]
fn an_environment_counts_as_there_until_it_leaves() {
    let (registry, mut exports) = (Registry::new(), Exports::default());
    let samples = json!([[OPEN, ["orders"], 3], [ASKED, ["orders"], 9]]).to_string();
    exports.tell(&registry, Told::in_a_process("a".into(), samples.as_bytes()).unwrap(), 0).unwrap();
    exports.expire(&registry, u64::MAX - 1);
    assert_eq!(open(&registry), 3);
    exports.leave(&registry, "a");
    exports.leave(&registry, "never heard of");
    assert!(registry.gather(Metric::ProxyConnections).is_empty());
    assert_eq!(registry.counter(Metric::ProxyQueries, &["orders"]).get(), 9);
    assert!(Told::in_a_process("a".into(), b"{}").is_err());
}

#[test]
fn values_of_a_distribution_are_merged() {
    let (registry, mut exports) = (Registry::new(), Exports::default());
    let mut values = Histogram::new();
    values.record_n(0.25, 4).unwrap();
    let bytes = STANDARD.encode(values.to_bytes());
    let samples = json!([["forebay_dbproxy_query_duration_seconds", ["orders"], bytes]]);
    for _ in 0..2 {
        exports.tell(&registry, told("a", None, &samples), 0).unwrap();
    }
    assert_eq!(registry.distribution(Metric::ProxyQueryDuration, &["orders"]).total().count(), 8);
}

#[test]
fn what_makes_no_sense_is_refused_whole() {
    let (registry, mut exports) = (Registry::new(), Exports::default());
    for (wrong, why) in [
        (json!(["forebay_unheard_of", [], 1]), "there is no metric \"forebay_unheard_of\""),
        (json!([OPEN, [], 1]), "forebay_dbproxy_database_connections has the labels [\"proxy\"], given were []"),
        (json!([OPEN, ["orders"], -1]), "is a gauge: it takes no Plain(-1.0)"),
        (json!([ASKED, ["orders"], "AAAA"]), "is a counter: it takes no Values"),
        (json!(["forebay_dbproxy_query_duration_seconds", ["orders"], 0.5]), "is a histogram: it takes no Plain(0.5)"),
        (
            json!(["forebay_dbproxy_query_duration_seconds", ["orders"], "////"]),
            "forebay_dbproxy_query_duration_seconds: ",
        ),
    ] {
        let error = exports.tell(&registry, told("a", None, &json!([[OPEN, ["orders"], 3], wrong])), 0).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert!(registry.gather(Metric::ProxyConnections).is_empty());
}

#[test]
fn the_number_of_sources_is_bounded() {
    let (registry, mut exports) = (Registry::new(), Exports::default());
    for number in 0..SOURCES_MAX {
        exports.tell(&registry, told(&number.to_string(), None, &json!([])), 0).unwrap();
    }
    assert!(exports.tell(&registry, told("one more", None, &json!([])), 0).is_err());
    assert!(exports.tell(&registry, told("7", None, &json!([])), 0).is_ok(), "who is known goes on");
}
