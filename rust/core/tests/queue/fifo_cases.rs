//! `tests/cases/fifo.json`: each step says what is done and, after the arrow, what must come of it.
//!
//! `put a b+500` adds messages 0, 1, … to groups, the second one delayed; `take N` makes a batch; `settle` settles the first
//! batch in flight (`second`: the second), with `failed` messages that come back after `delay`; `at T` moves the clock.

use forebay_core::queue::fifo::{FifoBatcher, Taken};
use serde_json::Value;

const TABLE: &str = include_str!("../../../../tests/cases/fifo.json");

struct Player {
    batcher: FifoBatcher,
    batches: Vec<Vec<Taken>>,
    put: u64,
    now: u64,
}

impl Player {
    fn play(&mut self, step: &str) -> String {
        let mut words = step.split(' ');
        match words.next().unwrap() {
            "put" => {
                for word in words {
                    let (group, delay) = word.split_once('+').unwrap_or((word, "0"));
                    let delay: u64 = delay.parse().unwrap();
                    let visible_at = if delay == 0 { 0 } else { self.now + delay };
                    if self.batcher.push(self.put, group, visible_at).is_err() {
                        return "refused".to_owned();
                    }
                    self.put += 1;
                }
                String::new()
            }
            "at" => {
                self.now = words.next().unwrap().parse().unwrap();
                String::new()
            }
            "take" => {
                let batch = self.batcher.take(words.next().unwrap().parse().unwrap(), self.now);
                if batch.is_empty() {
                    return "nothing".to_owned();
                }
                let shown: Vec<String> =
                    batch.iter().map(|taken| format!("{}{}", taken.number, self.batcher.name(taken.group))).collect();
                self.batches.push(batch);
                shown.join(" ")
            }
            "settle" => self.settle(words),
            other => panic!("unknown step {other}"),
        }
    }

    fn settle<'a>(&mut self, mut words: impl Iterator<Item = &'a str>) -> String {
        let (mut nth, mut failed, mut visible_at) = (0, Vec::new(), 0);
        while let Some(word) = words.next() {
            match word {
                "second" => nth = 1,
                "failed" => {}
                "delay" => visible_at = self.now + words.next().unwrap().parse::<u64>().unwrap(),
                number => failed.push(number.parse::<u64>().unwrap()),
            }
        }
        let batch = self.batches.remove(nth);
        let back = self.batcher.settle(&batch, |number| failed.contains(&number), visible_at);
        let list = |wanted: bool, title: &str| {
            let numbers = batch.iter().zip(&back).filter(|(_, back)| **back == wanted);
            let shown: Vec<String> = numbers.map(|(taken, _)| taken.number.to_string()).collect();
            (!shown.is_empty()).then(|| format!("{title} {}", shown.join(" ")))
        };
        [list(false, "done"), list(true, "back")].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn every_row_of_the_table_happens_as_it_says() {
    let table: Vec<Value> = serde_json::from_str(TABLE).unwrap();
    for row in &table {
        assert!(row["source"].as_str().is_some_and(|source| !source.is_empty()), "{} has no source", row["name"]);
        let batcher = FifoBatcher::new(row["maximum_messages"].as_u64().unwrap_or(1000) as u32);
        let mut player = Player { batcher, batches: Vec::new(), put: 0, now: 0 };
        for step in row["steps"].as_array().unwrap() {
            let step = step.as_str().unwrap();
            let (action, expected) = step.split_once(" -> ").unwrap_or((step, ""));
            assert_eq!(player.play(action), expected, "{}: {step}", row["name"]);
        }
    }
}
