//! What discovery costs an event on one core: `cargo bench -p forebay-core --bench schemas`. Rates are per second of the thread's
//! processor time where Linux tells it, so that a busy machine does not count.

mod clock;

use std::hint::black_box;

use clock::clock;
use forebay_core::schema::{Discoverer, Document, Format, Node};

const EVENTS: u32 = 300_000;
const ROUNDS: usize = 5;

/// An order, as a shop would put it: 26 keys, 600 bytes.
const EVENT: &str = r#"{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-bf3703467718","detail-type":"Order Placed","source":"com.example.shop","account":"111111111111","time":"2026-01-31T23:59:59Z","region":"us-east-1","resources":[],"detail":{"orderId":183214,"customer":{"id":"c-77120","name":"Ada Lovelace","email":"ada@example.com","vip":false},"placedAt":"2026-01-31T23:59:58.123Z","currency":"EUR","total":149.95,"coupon":null,"lines":[{"sku":"BX-1002","title":"A box of nails","quantity":3,"price":19.99},{"sku":"HM-0001","title":"A hammer","quantity":1,"price":89.98}],"tags":["web","first"]}}"#;

fn main() {
    println!("{:>40} {:>12} {:>10}", "event of 600 bytes", "events/s", "ns/event");
    let mut discoverer = Discoverer::default();
    discoverer.observe("com.example.shop", "Order Placed", EVENT, 0).expect("an event");
    tell("discovery, shape known", || {
        black_box(discoverer.observe("com.example.shop", "Order Placed", black_box(EVENT), 0)).is_ok()
    });
    let detail = EVENT.split_once("\"detail\":").map_or(EVENT, |(_, rest)| &rest[..rest.len() - 1]);
    let kind = ("com.example.shop", "Order Placed");
    discoverer.observe_put(kind, (&[], detail), EVENT, 0).expect("an event");
    tell("the same, as a bus writes it", || {
        black_box(discoverer.observe_put(kind, (&[], black_box(detail)), black_box(EVENT), 0)).is_ok()
    });
    let known = Node::infer(EVENT).expect("a sample");
    let mut node = known.clone();
    tell("infer and merge", || {
        node.merge(black_box(Node::infer(black_box(EVENT)).expect("a sample")));
        true
    });
    let text = forebay_core::schema::render(&known, Some(("com.example.shop", "Order Placed")), Format::OpenApi3);
    let document = Document::parse(Format::OpenApi3, &text).expect("a schema");
    tell("held against its schema", || black_box(document.check(black_box(EVENT))).is_ok());
}

fn tell(name: &str, mut work: impl FnMut() -> bool) {
    let mut seconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = clock();
            for _ in 0..EVENTS {
                assert!(work());
            }
            clock().saturating_sub(started).as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let cost = seconds[ROUNDS / 2] * 1e9 / f64::from(EVENTS);
    println!("{name:>40} {:>12.0} {cost:>10.1}", 1e9 / cost);
}
