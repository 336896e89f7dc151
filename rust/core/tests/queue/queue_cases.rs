//! `tests/cases/queue.json`: each step says what is done and, after the arrow, what comes of it.
//!
//! `send a b+500 c@-60000` sends messages 0, 1, … to groups (`-` in a standard queue), the second delayed, the third as if sent
//! a minute ago. `receive N for MS` and `receive N running` hand out, shown as `number#receive count`; `attempt ID` names it.
//! `one N` hands out one message out of turn, and `look N` tells how it stands; `ready`, `empty` and `behind N` ask.
//! `delete N`, `change N MS`: with the last receipt, `old` with the one before. `complete` ends the first running batch,
//! `end` the last one received, however it is held.
//! `moved N` says that a dead letter stands in its queue, `stuck N` that it could not be moved. `at T` lets time pass, `later T`
//! without anybody looking, `jump MS`
//! moves the wall clock alone, `restart` kills the process. What goes away is shown as well.

use std::collections::HashMap;
use std::fmt::Write;

use forebay_core::queue::protocol::{Depth, Handle, Hold, Kind, Look, Outcome, Receive, Refusal, Sent, Settings};
use forebay_core::queue::{QueueMachine, VISIBILITY_MS_MAX};
use forebay_core::stream::protocol::Backoff;
use forebay_core::Now;
use serde_json::Value;

use crate::store::{Store, START_MS};

const TABLE: &str = include_str!("../../../../tests/cases/queue.json");

fn settings_of(row: &Value) -> Settings {
    let number = |name: &str| row["settings"][name].as_u64();
    Settings {
        kind: if row["queue"] == "fifo" { Kind::Fifo } else { Kind::Standard },
        retention_ms: number("retention_ms").unwrap_or(345_600_000),
        maximum_receive_count: number("maximum_receive_count").map(|count| count as u32),
        in_flight_max: number("in_flight_max").unwrap_or(120_000) as u32,
        messages_max: number("messages_max").unwrap_or(1_000_000) as u32,
    }
}

struct Player {
    store: Store,
    /// Receipts of each message, the last one last.
    receipts: HashMap<u64, Vec<u64>>,
    /// As it was received.
    last: Vec<Handle>,
}

impl Player {
    fn play(&mut self, step: &str) -> String {
        let words: Vec<&str> = step.split(' ').collect();
        let said = match words[0] {
            "send" => self.send(&words[1..]),
            "receive" => self.receive(&words[1..]),
            "one" => self.receive_one(words[1].parse().unwrap()),
            "look" => self.look(words[1].parse().unwrap()),
            "delete" | "change" => self.request(&words),
            "complete" => {
                let batch = self.running();
                self.complete(&batch, &words[1..])
            }
            "end" => self.complete(&self.last.clone(), &words[1..]),
            "withdraw" => self.withdraw(),
            "at" => {
                self.store.run_until(words[1].parse().unwrap());
                String::new()
            }
            "later" => {
                self.store.elapsed_ms = words[1].parse().unwrap();
                String::new()
            }
            "ready" | "empty" | "behind" => self.ask(&words),
            "jump" => self.jump(words[1]),
            "restart" => {
                self.store.restart();
                String::new()
            }
            "purge" => {
                self.store.machine.purge();
                String::new()
            }
            "moved" | "stuck" => {
                self.store.move_ended(words[1].parse().unwrap(), words[0] == "moved");
                String::new()
            }
            "configure" => self.configure(&words[1..]),
            "depth" => {
                let Depth { visible, in_flight, delayed } = self.store.machine.depth();
                format!("{visible} visible {in_flight} in flight {delayed} delayed")
            }
            "age" => {
                let now = self.store.now();
                self.store.machine.oldest_age_ms(&now).map_or("none".to_owned(), |age| age.to_string())
            }
            "next" => {
                let next_ns = self.store.machine.next_due();
                next_ns.map_or("none".to_owned(), |ns| (ns / 1_000_000).to_string())
            }
            "room" => self.store.machine.room().to_string(),
            "low" => self.store.machine.low().to_string(),
            other => panic!("unknown step {other}"),
        };
        self.store.carry_out();
        let seen = std::mem::take(&mut self.store.seen);
        [said].into_iter().chain(seen).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }

    fn send(&mut self, words: &[&str]) -> String {
        for word in words {
            let (word, ago) = word.split_once("@-").unwrap_or((word, "0"));
            let (group, delay) = word.split_once('+').unwrap_or((word, "0"));
            self.store.send(group, delay.parse().unwrap(), ago.parse().unwrap());
        }
        String::new()
    }

    fn receive(&mut self, words: &[&str]) -> String {
        let (hold, rest) = match words[1] {
            "running" => (Hold::WhileRunning, &words[2..]),
            _ => (Hold::For { visibility_ms: words[2].parse().unwrap() }, &words[3..]),
        };
        let now = self.store.now();
        let attempt = rest.get(1).copied();
        let receive = Receive { maximum: words[0].parse().unwrap(), hold, attempt };
        let deliveries = match self.store.machine.receive(&receive, &now) {
            Ok(deliveries) => deliveries,
            Err(over) => return format!("over the limit of {}", over.in_flight_max),
        };
        self.store.remember(&deliveries, hold);
        if deliveries.is_empty() {
            return "nothing".to_owned();
        }
        self.last = deliveries.iter().map(|delivery| delivery.handle).collect();
        let mut shown = Vec::new();
        for delivery in deliveries {
            let Handle { number, receipt } = delivery.handle;
            self.receipts.entry(number).or_default().push(receipt);
            shown.push(format!("{number}#{}{}", delivery.receive_count, if delivery.alone { " alone" } else { "" }));
        }
        shown.join(" ")
    }

    fn ask(&mut self, words: &[&str]) -> String {
        let now = self.store.now();
        let machine = &self.store.machine;
        let is_so = match words[0] {
            "ready" => machine.is_ready(&now),
            "empty" => machine.is_empty(),
            _ => {
                let number: u64 = words[1].parse().unwrap();
                machine.is_behind(number, &self.store.messages[&number].group)
            }
        };
        if is_so { "yes" } else { "no" }.to_owned()
    }

    fn receive_one(&mut self, number: u64) -> String {
        let (group, now) = (self.store.messages[&number].group.clone(), self.store.now());
        let Some(delivery) = self.store.machine.receive_one(number, &group, &now) else { return "nothing".to_owned() };
        let shown = format!("{}#{}", delivery.handle.number, delivery.receive_count);
        self.receipts.entry(number).or_default().push(delivery.handle.receipt);
        self.store.remember(&[delivery], Hold::WhileRunning);
        shown
    }

    fn look(&mut self, number: u64) -> String {
        let now = self.store.now();
        let Look { receive_count, first_received_ms, is_held, is_running, visible_at_ms } =
            self.store.machine.look(number, &now);
        let name = match (is_held, is_running) {
            (true, true) => "running",
            (true, false) => "held",
            (false, _) => "waiting",
        };
        let mut shown = format!("{name} #{receive_count}");
        if first_received_ms > 0 {
            let _ = write!(shown, " first {}", first_received_ms - START_MS);
        }
        if let Some(visible_at_ms) = visible_at_ms {
            let _ = write!(shown, " visible {}", visible_at_ms - START_MS);
        }
        shown
    }

    fn request(&mut self, words: &[&str]) -> String {
        let number: u64 = words[1].parse().unwrap();
        let receipts = &self.receipts[&number];
        let back = if words.contains(&"old") { 2 } else { 1 };
        let handle = Handle { number, receipt: receipts[receipts.len() - back] };
        let now = self.store.now();
        let done = match words[0] {
            "delete" => self.store.machine.delete(handle),
            _ => self.store.machine.change_visibility(handle, words[2].parse().unwrap(), &now),
        };
        match done {
            Ok(()) => "",
            Err(Refusal::StaleReceipt) => "stale",
            Err(Refusal::NotInFlight) => "not in flight",
            Err(Refusal::TooLong) => "too long",
        }
        .to_owned()
    }

    fn complete(&mut self, batch: &[Handle], words: &[&str]) -> String {
        let outcome = match words[0] {
            "ok" => Outcome::Success,
            "error" => Outcome::Error,
            "not-invoked" => Outcome::NotInvoked,
            "interrupted" => Outcome::Interrupted,
            "failed" => Outcome::Failed(words[1..].iter().map(|number| number.parse().unwrap()).collect()),
            other => panic!("unknown outcome {other}"),
        };
        let backoff = Backoff { base_ms: 1000, cap_ms: 30_000, jitter: 0.0 };
        let now = self.store.now();
        self.store.machine.completed(batch, &outcome, &backoff, &now);
        String::new()
    }

    /// The batch that a handler has had for the longest time.
    fn running(&mut self) -> Vec<Handle> {
        self.store.running.remove(0).iter().map(|delivery| delivery.handle).collect()
    }

    fn withdraw(&mut self) -> String {
        let batch = self.running();
        let now = self.store.now();
        self.store.machine.withdrawn(&batch, &now);
        String::new()
    }

    fn jump(&mut self, ms: &str) -> String {
        self.store.jumped_ms += ms.parse::<i64>().unwrap();
        self.store.due();
        String::new()
    }

    fn configure(&mut self, words: &[&str]) -> String {
        let value = words[1].parse().unwrap();
        match words[0] {
            "retention_ms" => self.store.settings.retention_ms = value,
            "maximum_receive_count" => self.store.settings.maximum_receive_count = Some(value as u32),
            other => panic!("unknown setting {other}"),
        }
        let (settings, now) = (self.store.settings, self.store.now());
        self.store.machine.configure(settings, &now);
        String::new()
    }
}

#[test]
fn every_row_of_the_table_happens_as_it_says() {
    let table: Vec<Value> = serde_json::from_str(TABLE).unwrap();
    let mut wrong = String::new();
    for row in &table {
        assert!(row["source"].as_str().is_some_and(|source| !source.is_empty()), "{} has no source", row["name"]);
        let mut player = Player { store: Store::new(settings_of(row)), receipts: HashMap::new(), last: Vec::new() };
        for step in row["steps"].as_array().unwrap() {
            let step = step.as_str().unwrap();
            let (action, expected) = step.split_once(" -> ").unwrap_or((step, ""));
            let happened = player.play(action);
            if happened != expected {
                let _ = writeln!(wrong, "\n{}\n  {step}\n  happened: {happened}", row["name"]);
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Found by reading: the millisecond in which a receive happened counted as a whole one, so another receiver could have the message
/// up to 1 ms before the visibility timeout was over.
#[test]
fn a_visibility_timeout_that_begins_in_the_middle_of_a_millisecond_does_not_end_early() {
    let at = |mono_ns| Now { mono_ns, wall_ms: START_MS + mono_ns / 1_000_000, entropy: 0 };
    let settings = settings_of(&Value::Null);
    let sent = Sent { number: 0, group: "", sent_ms: START_MS, delay_ms: 0 };
    let hold = Hold::For { visibility_ms: 1_000 };
    let asked = Receive { maximum: 1, hold, attempt: None };
    let mut machine = QueueMachine::new(settings, &at(0));
    machine.sent(&sent, &at(0));
    let handle = machine.receive(&asked, &at(700_000)).unwrap()[0].handle;
    assert_eq!(machine.receive(&asked, &at(1_000_699_999)).unwrap(), [], "until 1,000.7 ms");
    // The longest one from the same moment is not too long.
    machine.change_visibility(handle, VISIBILITY_MS_MAX, &at(700_000)).unwrap();
    machine.change_visibility(handle, 100, &at(900_000)).unwrap();
    assert_eq!(machine.receive(&asked, &at(100_899_999)).unwrap(), [], "until 100.9 ms");
    assert_eq!(machine.receive(&asked, &at(101_000_000)).unwrap().len(), 1);
}

/// Of two receives at the same moment, by the same entropy.
#[test]
fn no_two_receipts_of_a_message_are_the_same() {
    let now = Now { mono_ns: 0, wall_ms: START_MS, entropy: 7 };
    let mut machine = QueueMachine::new(settings_of(&Value::Null), &now);
    machine.sent(&Sent { number: 0, group: "", sent_ms: START_MS, delay_ms: 0 }, &now);
    let asked = Receive { maximum: 1, hold: Hold::For { visibility_ms: 0 }, attempt: None };
    let [first, second] = [(); 2].map(|()| machine.receive(&asked, &now).unwrap()[0].handle);
    assert_ne!(first.receipt, second.receipt);
    assert_eq!(machine.delete(first), Err(Refusal::StaleReceipt));
}

#[test]
fn a_queue_stays_of_its_kind_whatever_is_configured() {
    let now = Now { mono_ns: 0, wall_ms: START_MS, entropy: 7 };
    let asked = Receive { maximum: 1, hold: Hold::WhileRunning, attempt: None };
    for (kind, other) in [(Kind::Fifo, Kind::Standard), (Kind::Standard, Kind::Fifo)] {
        let settings = Settings { kind, in_flight_max: 0, ..settings_of(&Value::Null) };
        let mut machine = QueueMachine::new(settings, &now);
        machine.configure(Settings { kind: other, ..settings }, &now);
        // Over the limit in flight a FIFO queue gives nothing, a standard queue refuses.
        assert_eq!(machine.receive(&asked, &now).is_ok(), kind == Kind::Fifo);
    }
}
