//! What a record, a percentile, a bucket, a token and an API key cost, without Python: `cargo bench -p forebay-core`.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::time::Instant;

use base64::prelude::{Engine as _, BASE64_URL_SAFE_NO_PAD};
use forebay_core::gateway::authorizer::{digest, Digest};
use forebay_core::gateway::jwt::{Claims, Token, Wanted};
use forebay_core::gateway::rest::model::{ApiKey, UsagePlan};
use forebay_core::gateway::rest::plans::{Directory, Place, Usage};
use forebay_core::histogram::{Histogram, Percent};
use forebay_core::token_bucket::{Rate, TokenBucket};

/// Nanoseconds of one call: the median of seven rounds.
fn measure(name: &str, times: u32, mut call: impl FnMut(u32)) {
    let mut rounds: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            (0..times).for_each(&mut call);
            start.elapsed().as_secs_f64() * 1e9 / f64::from(times)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name:<44}{:>9.2} ns {:>9.1} million/s", rounds[3], 1e3 / rounds[3]);
}

/// Values spread as latencies are: log-normal around 20 ms, by a fixed sequence.
fn latencies(count: usize) -> Vec<f64> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut uniform = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as f64 / (1u64 << 53) as f64
    };
    let normal = std::iter::repeat_with(move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0);
    normal.take(count).map(|z| 0.02 * z.exp()).collect()
}

fn main() {
    let values = latencies(1 << 16);
    let mut histogram = Histogram::new();
    measure("Histogram::record, log-normal values", 10_000_000, |i| {
        let _ = black_box(histogram.record(black_box(values[i as usize & 0xffff])));
    });
    println!("{:<44}{:>9} bytes, {} as bytes to keep", "  its size", histogram.memory(), histogram.to_bytes().len());
    let p999 = Percent::new(99.9).expect("in range");
    measure("Histogram::percentile, p99.9", 100_000, |_| {
        black_box(black_box(&histogram).percentile(p999));
    });
    let other = histogram.clone();
    measure("Histogram::merge", 2_000, |_| histogram.merge(black_box(&other)));

    let mut bucket = TokenBucket::new(Rate::per_second(6000.0).expect("in range"), 6000, 0).expect("in range");
    measure("TokenBucket::try_acquire, granted", 10_000_000, |i| {
        black_box(bucket.try_acquire(1, black_box(u64::from(i) * 1_000_000)));
    });
    measure("TokenBucket::try_acquire, mostly refused", 10_000_000, |i| {
        black_box(bucket.try_acquire(1, black_box(u64::from(i) * 20)));
    });
    plans();
    tokens();
}

/// A token that was found good: known again by its digest among others, and held against the scopes of its route.
fn tokens() {
    let (header, signature) = (r#"{"alg":"RS256","kid":"one","typ":"JWT"}"#, [7; 256]);
    let token = |number: u32| {
        let claims = format!(
            r#"{{"iss":"https://issuer.example.com","sub":"user-{number:06}","aud":"shop","exp":1795999999,"iat":1,"nbf":1,"scope":"orders:read orders:write"}}"#
        );
        let parts =
            [header.as_bytes(), claims.as_bytes(), &signature[..]].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        format!("Bearer {}", parts.join("."))
    };
    let wanted = Wanted { issuer: "https://issuer.example.com".into(), audiences: vec!["shop".into()] };
    let place = |text: &str| digest(&["abcdefghij", "users", text]);
    let known: HashMap<Digest, Claims> = (0..10_000)
        .map(|number| {
            let text = token(number);
            let claims = Token::parse(&text).and_then(|token| token.check(&wanted, 1_795_000_000)).expect("a token");
            (place(&text), claims)
        })
        .collect();
    let (text, scopes) = (token(4_711), ["orders:read".to_owned()]);
    measure("a token that is known, and a scope of it", 1_000_000, |_| {
        let claims = known.get(&place(black_box(&text))).expect("a known token");
        assert!(black_box(claims.granted(&scopes)).is_ok());
    });
    println!("{:<44}{:>9} bytes", "  its size", text.len());
}

/// A request's key and plan: found among others, held against a rate and a quota, and counted.
fn plans() {
    let id = |number: u32| format!("key{number:07}");
    let key =
        |number: u32| ApiKey { id: id(number), value: format!("{number:040}"), enabled: true, ..ApiKey::default() };
    let keys: BTreeMap<String, ApiKey> = (0..10_000).map(|number| (id(number), key(number))).collect();
    let plan = serde_json::json!({
        "id": "gold",
        "name": "gold",
        "throttle": {"rateLimit": 1e6, "burstLimit": 1_000_000},
        "quota": {"limit": 2_000_000_000, "offset": 0, "period": "MONTH"},
        "apiStages": [{"apiId": "api", "stage": "prod"}],
        "keys": keys.keys().collect::<Vec<_>>(),
    });
    let plan: UsagePlan = serde_json::from_value(plan).expect("a plan");
    let plans = BTreeMap::from([(plan.id.clone(), plan)]);
    let (directory, place) = (Directory::new(&keys, &plans), Place { api: "api", stage: "prod", method: "/pets/GET" });
    let (mut usage, value) = (Usage::default(), format!("{:040}", 4_711));
    measure("an API key of 10,000, its rate and its quota", 1_000_000, |i| {
        let client = directory.client((&keys, &plans), place, black_box(&value)).expect("a key of the plan");
        let admitted = usage.admit(client, place, (u64::from(i) * 1_000, 1_795_867_200_000), || true);
        assert!(black_box(admitted).is_ok());
    });
}
