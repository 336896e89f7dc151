//! Deduplication against `tests/cases/dedup.json`, and against a list.

use std::collections::HashMap;
use std::fmt::Write;

use forebay_core::queue::dedup::{Deduplication, Key, Offer, Row, Scope, WINDOW_MS};
use forebay_core::Now;
use proptest::prelude::*;
use serde_json::Value;

const TABLE: &str = include_str!("../../../../tests/cases/dedup.json");
const START_MS: u64 = 1_577_836_800_000;

/// Deduplication with the rows that an engine keeps for it.
struct Kept {
    deduplication: Deduplication,
    ids_max: u32,
    rows: HashMap<Key, Row>,
    elapsed_ms: u64,
    jumped_ms: i64,
    sent: u64,
}

impl Kept {
    fn new(ids_max: u32) -> Self {
        let now = Now { mono_ns: 0, wall_ms: START_MS, entropy: 0 };
        let deduplication = Deduplication::new(ids_max, [], &now);
        Self { deduplication, ids_max, rows: HashMap::new(), elapsed_ms: 0, jumped_ms: 0, sent: 0 }
    }

    fn now(&self) -> Now {
        let wall_ms = (START_MS + self.elapsed_ms).saturating_add_signed(self.jumped_ms);
        Now { mono_ns: self.elapsed_ms * 1_000_000, wall_ms, entropy: 0 }
    }

    fn send(&mut self, key: Key) -> Offer {
        let offer = self.deduplication.offer(key, self.sent, &self.now());
        self.due();
        if let Offer::New { row } = offer {
            assert_eq!(row.number, self.sent);
            self.rows.insert(key, row);
            self.sent += 1;
        }
        offer
    }

    fn due(&mut self) {
        for key in self.deduplication.due(&self.now()) {
            assert!(self.rows.remove(&key).is_some(), "a row is removed once");
        }
    }

    fn take_back(&mut self, key: Key) {
        self.deduplication.take_back(key);
        self.rows.remove(&key);
    }

    fn restart(&mut self) {
        let rows: Vec<(Key, Row)> = self.rows.iter().map(|(key, row)| (*key, *row)).collect();
        self.deduplication = Deduplication::new(self.ids_max, rows, &self.now());
    }
}

fn play(kept: &mut Kept, scope: Scope, step: &str) -> String {
    let words: Vec<&str> = step.split(' ').collect();
    let key = |nth: usize| Key::new(scope, words.get(nth + 2).copied().unwrap_or("g"), words[nth]);
    match words[0] {
        "send" => match kept.send(key(1)) {
            Offer::New { row } => return format!("new {}", row.number),
            Offer::Duplicate { number } => return format!("duplicate of {number}"),
            Offer::Full { retry_after_ms } => return format!("full for {retry_after_ms}"),
        },
        "take" => kept.take_back(key(2)),
        "at" => kept.elapsed_ms = words[1].parse().unwrap(),
        "jump" => kept.jumped_ms += words[1].parse::<i64>().unwrap(),
        "restart" => kept.restart(),
        "remembered" => return kept.deduplication.len().to_string(),
        other => panic!("unknown step {other}"),
    }
    String::new()
}

#[test]
fn every_row_of_the_table_happens_as_it_says() {
    let table: Vec<Value> = serde_json::from_str(TABLE).unwrap();
    let mut wrong = String::new();
    for row in &table {
        assert!(row["source"].as_str().is_some_and(|source| !source.is_empty()), "{} has no source", row["name"]);
        let scope =
            if row["scope"].is_null() { Scope::Queue } else { serde_json::from_value(row["scope"].clone()).unwrap() };
        let mut kept = Kept::new(row["ids_max"].as_u64().unwrap_or(1000) as u32);
        for step in row["steps"].as_array().unwrap() {
            let step = step.as_str().unwrap();
            let (action, expected) = step.split_once(" -> ").unwrap_or((step, ""));
            let happened = play(&mut kept, scope, action);
            if happened != expected {
                let _ = writeln!(wrong, "\n{}\n  {step}\n  happened: {happened}", row["name"]);
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn its_rows_can_be_removed_when_their_time_is_over() {
    let mut kept = Kept::new(10);
    kept.send(Key(1));
    assert_eq!(kept.deduplication.next_due(), Some(WINDOW_MS * 1_000_000));
    kept.elapsed_ms = WINDOW_MS;
    kept.due();
    assert!(kept.rows.is_empty() && kept.deduplication.is_empty());
    assert_eq!(kept.deduplication.next_due(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Send(u8),
    TakeBack(u8),
    Pass(u64),
    Restart,
}

proptest! {
    #[test]
    fn it_tells_what_a_list_of_everything_ever_sent_tells(
        steps in prop::collection::vec(
            prop_oneof![
                10 => (0_u8..12).prop_map(Step::Send),
                1 => (0_u8..12).prop_map(Step::TakeBack),
                4 => (0_u64..120_000).prop_map(Step::Pass),
                1 => Just(Step::Restart),
            ],
            0..300,
        ),
    ) {
        const IDS_MAX: u32 = 9;
        let mut kept = Kept::new(IDS_MAX);
        // (id, number, accepted)
        let mut list: Vec<(u8, u64, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Send(id) => {
                    list.retain(|(_, _, at)| kept.elapsed_ms - at < WINDOW_MS);
                    let expected = match list.iter().find(|(other, ..)| *other == id) {
                        Some((_, number, _)) => Offer::Duplicate { number: *number },
                        None if list.len() == IDS_MAX as usize => {
                            let oldest = list.iter().map(|(_, _, at)| *at).min().unwrap();
                            Offer::Full { retry_after_ms: oldest + WINDOW_MS - kept.elapsed_ms }
                        }
                        None => {
                            list.push((id, kept.sent, kept.elapsed_ms));
                            Offer::New { row: Row { number: kept.sent, accepted_ms: START_MS + kept.elapsed_ms } }
                        }
                    };
                    let offered = kept.send(Key(u128::from(id)));
                    prop_assert_eq!(offered, expected);
                }
                Step::TakeBack(id) => {
                    list.retain(|(other, ..)| *other != id);
                    kept.take_back(Key(u128::from(id)));
                }
                Step::Pass(ms) => kept.elapsed_ms += ms,
                Step::Restart => kept.restart(),
            }
            kept.due();
            let live = list.iter().filter(|(_, _, at)| kept.elapsed_ms - at < WINDOW_MS).count();
            prop_assert_eq!(kept.deduplication.len(), live);
            prop_assert_eq!(kept.rows.len(), live, "rows are kept as long as their ids, and no longer");
        }
    }
}
