//! How many records a second filters judge on one core: `cargo bench -p forebay-core --bench filters`.

use std::hint::black_box;
use std::time::Instant;

use forebay_core::pattern::{Filter, Filters, KinesisRecord, KINESIS};

const RECORDS: u32 = 300_000;
const ROUNDS: usize = 5;

/// A flight, as a producer would write it: 20 fields, 500 bytes.
const FLIGHT: &str = r#"{"year":2013,"month":1,"day":1,"dep_time":517,"sched_dep_time":515,"dep_delay":2,"arr_time":830,"sched_arr_time":819,"arr_delay":11,"carrier":"UA","flight":1545,"tailnum":"N14228","origin":"EWR","dest":"IAH","air_time":227,"distance":1400,"hour":5,"minute":15,"time_hour":"2013-01-01T05:00:00Z","weather":{"temp":39.02,"dewp":28.04,"humid":64.43,"wind":[{"dir":260,"speed":12.65877},{"dir":270,"speed":14.96}],"precip":0,"pressure":1011.9,"visib":10,"note":"light snow \"possible\" until noon"}}"#;

fn main() {
    println!("{:>44} {:>12} {:>10}", "patterns", "records/s", "ns/record");
    let worst_wildcard = format!(r#"{{"data":{{"time_hour":[{{"wildcard":"{}z"}}]}}}}"#, "*0".repeat(200));
    let many: Vec<String> = (0..10).map(|n| format!(r#"{{"data":{{"origin":["X{n}"],"dest":["Y{n}"]}}}}"#)).collect();
    for (name, patterns) in [
        ("partition key only", vec![r#"{"partitionKey":["other"]}"#]),
        ("one field", vec![r#"{"data":{"carrier":["AA"]}}"#]),
        (
            "three operators, nested",
            vec![
                r#"{"data":{"dep_delay":[{"numeric":[">",60]}],"weather":{"wind":{"speed":[{"numeric":[">",30]}]}},"tailnum":[{"exists":true}]}}"#,
            ],
        ),
        ("ten filters of two fields", many.iter().map(String::as_str).collect()),
        ("a wildcard of 200 asterisks", vec![worst_wildcard.as_str()]),
    ] {
        let filters = patterns.iter().map(|text| Filter::parse(text).expect("a pattern")).collect();
        let filters = Filters::new(KINESIS, filters).expect("filters");
        let mut seconds: Vec<f64> = (0..ROUNDS).map(|_| round(&filters)).collect();
        seconds.sort_by(f64::total_cmp);
        let cost = seconds[ROUNDS / 2] * 1e9 / f64::from(RECORDS);
        println!("{name:>44} {:>12.0} {cost:>10.1}", 1e9 / cost);
    }
}

fn round(filters: &Filters) -> f64 {
    let record = KinesisRecord { partition_key: "N14228", sequence_number: 7, arrival_ms: 0, data: FLIGHT.as_bytes() };
    let started = Instant::now();
    for _ in 0..RECORDS {
        black_box(filters.passes_kinesis(black_box(&record)));
    }
    started.elapsed().as_secs_f64()
}
