//! What an operator is to find in the log. The engine writes none: it hands what happened to the process around it, as an answer
//! that nobody asked for, folded where it happens often. No payload, no key and no error's text of a handler is in it.

use std::collections::BTreeMap;

use forebay_core::sequence;
use serde_json::{json, Map, Value};

use crate::base::error::Reply;
use crate::payload::records::Source;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OperatorEvent {
    /// An attempt ran past its deadline.
    TimedOut,
    /// A batch or an event was given up.
    GaveUp,
    /// Retention dropped records that a function had not been given.
    Expired,
    /// Retention dropped records of a stream that no mapping reads.
    Unread,
    /// A mapping stepped over runs of records that a salvage could not save.
    Lost,
    /// Something beside the store's file was damaged, and begun anew.
    Damaged,
    /// The store's server is not reached, or something there holds commits up.
    Store,
    /// A message went to a dead-letter queue.
    DeadLetter,
    /// A destination has not taken a failure for a day, or never will.
    Undelivered,
    /// The disk is full, or was.
    Disk,
    /// Attempts were in flight when the process before this one died.
    Interrupted,
    /// An execution environment ended while it worked, or did not start.
    EnvironmentEnded,
    /// Something else about an execution environment.
    Environment,
    /// Discovery of schemas has reached a bound.
    Discovery,
    /// The port of the metrics is held by another program, or is served now.
    Metrics,
    /// What happened was not put on the default bus, although the app wants it.
    NotEmitted,
    /// AWS's API was given events for a bus that is not there.
    NoBus,
    /// An API destination was made or changed. It has secrets: it is for the process around the engine, and for no log.
    ApiDestination,
    /// A connection wants a token. The same.
    Connection,
    /// An API was not served as its author will have wanted.
    Api,
    /// Another process that shares the store has died, or has left.
    Process,
    /// A job outside runs on although its task was given up.
    JobNotStopped,
    /// An Express execution keeps no more events.
    EventsLeftOut,
    /// The history of an execution comes near its limit.
    HistoryLong,
    /// An execution failed or timed out.
    ExecutionFailed,
    /// An execution ended whose start was traced. It is for the process around the engine, which makes its spans, and for no log.
    ExecutionEnded,
}

impl OperatorEvent {
    fn name(self) -> &'static str {
        match self {
            Self::TimedOut => "timed out",
            Self::GaveUp => "gave up",
            Self::Expired => "expired",
            Self::Unread => "unread",
            Self::Lost => "lost",
            Self::Damaged => "damaged",
            Self::Store => "store",
            Self::DeadLetter => "dead letter",
            Self::Undelivered => "undelivered",
            Self::Disk => "disk",
            Self::Interrupted => "interrupted",
            Self::EnvironmentEnded => "environment ended",
            Self::Environment => "environment",
            Self::Discovery => "discovery",
            Self::Metrics => "metrics",
            Self::NotEmitted => "not emitted",
            Self::NoBus => "no bus",
            Self::ApiDestination => "api destination",
            Self::Connection => "connection",
            Self::Api => "api",
            Self::Process => "process",
            Self::JobNotStopped => "job not stopped",
            Self::EventsLeftOut => "events left out",
            Self::HistoryLong => "history long",
            Self::ExecutionFailed => "execution failed",
            Self::ExecutionEnded => "execution ended",
        }
    }
}

/// What waits to be told: the newest of each kind of each function or queue, and how many there were. Numbers in the field `sums` are
/// those of all of them.
#[derive(Default)]
pub(crate) struct Notices(BTreeMap<(OperatorEvent, String, String), (u64, Value)>);

/// Most reasons of one API that wait each by itself; further ones are counted together.
const REASONS_MAX: usize = 16;

impl Notices {
    pub(crate) fn add(&mut self, what: OperatorEvent, of: &str, mut fields: Value) {
        let reason = self.reason(what, of, &fields);
        let notice = self.0.entry((what, of.to_owned(), reason)).or_default();
        let sums = fields.get_mut("sums").and_then(Value::as_object_mut);
        for (name, sum) in sums.into_iter().flatten() {
            let before = notice.1["sums"][name.as_str()].as_u64().unwrap_or(0);
            *sum = (before + sum.as_u64().unwrap_or(0)).into();
        }
        *notice = (notice.0 + 1, fields);
    }

    /// By what a notice is told apart from others of the same: one reason of an API hides no other.
    fn reason(&self, what: OperatorEvent, of: &str, fields: &Value) -> String {
        let text = fields["text"].as_str().filter(|_| what == OperatorEvent::Api).unwrap_or_default();
        let key = (what, of.to_owned(), text.to_owned());
        let others = (what, of.to_owned(), String::new())..;
        let is_of = |known: &(OperatorEvent, String, String)| known.0 == what && known.1 == of;
        let count = self.0.range(others).map(|(known, _)| known).take_while(|known| is_of(known)).count();
        if count < REASONS_MAX || self.0.contains_key(&key) {
            key.2
        } else {
            String::new()
        }
    }

    /// Everything that waits, if anything does: a list, JSON.
    pub(crate) fn take(&mut self) -> Option<Reply> {
        let told = std::mem::take(&mut self.0).into_iter().map(|((what, of, _), (count, fields))| {
            let mut notice = Map::from_iter([
                ("what".to_owned(), Value::from(what.name())),
                ("of".to_owned(), of.into()),
                ("count".to_owned(), count.into()),
            ]);
            if let Value::Object(fields) = fields {
                notice.extend(fields);
            }
            Value::Object(notice)
        });
        let told: Vec<Value> = told.collect();
        (!told.is_empty()).then(|| Reply::Json(Value::from(told).to_string().into_bytes()))
    }
}

/// Which records of a stream a batch holds.
pub(crate) fn batch_of(source: &Source, positions: &[u64]) -> Value {
    let number = |at: Option<&u64>| at.map(|&at| sequence::number(source.shard_index, at).to_string());
    json!({
        "stream": source.stream, "shard_id": source.shard_id, "records": positions.len(),
        "first": number(positions.first()), "last": number(positions.last()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::EngineError;
    use crate::runtime::test_engine::{queue, TestEngine, SECOND};
    use crate::store::fault::{Fault, Repeat};

    /// The first refused put told its caller, and the log nothing.
    #[test]
    fn a_full_disk_is_told_when_it_begins_and_when_it_ends_and_not_for_each_refusal() {
        let mut engine = TestEngine::new();
        engine.json("queue.declare", &queue("q"));
        let body = json!({"name": "q", "messages": [{"body": "one"}]});
        engine.store.fail(1, Fault::Full, Repeat::Always);
        for _ in 0..3 {
            assert!(matches!(engine.ask("queue.send", &body), Err(EngineError::Store(_))));
            engine.advance(SECOND);
        }
        let [begin] = &engine.notices()[..] else { panic!("one notice") };
        assert_eq!((&begin["what"], &begin["count"]), (&json!("disk"), &json!(1)));
        assert!(begin["error"].as_str().unwrap().contains("is full"));
        engine.store.mend();
        engine.json("queue.send", &body);
        assert_eq!(engine.notices(), [json!({"what": "disk", "of": "", "count": 1, "error": null})]);
        engine.json("queue.send", &body);
        assert!(engine.notices().is_empty());
    }

    /// Of three routes that failed in one second the log told the last one's reason.
    #[test]
    fn reasons_of_an_api_are_told_each_and_too_many_together() {
        let engine = TestEngine::new();
        for text in ["one", "two", "one"] {
            engine.engine.remark_on_api("a", text);
        }
        engine.engine.remark_on_api("b", "one");
        let told = |notice: &Value| (notice["of"].clone(), notice["text"].clone(), notice["count"].clone());
        let all: Vec<_> = engine.notices().iter().map(told).collect();
        let expected = [("a", "one", 2), ("a", "two", 1), ("b", "one", 1)];
        assert_eq!(all, expected.map(|(of, text, count)| (json!(of), json!(text), json!(count))));
        for number in 0..100 {
            engine.engine.remark_on_api("a", &format!("{number}"));
        }
        let counts: Vec<u64> = engine.notices().iter().filter_map(|notice| notice["count"].as_u64()).collect();
        assert_eq!((counts.len(), counts.iter().sum::<u64>()), (REASONS_MAX + 1, 100));
    }

    #[test]
    fn what_the_death_of_a_process_interrupted_is_told_by_the_next_one() {
        let engine = TestEngine::new();
        engine.register(json!({"kind": "function", "name": "f", "timeout_ms": 3_000}));
        engine.engine.invoke_async(
            "f",
            b"1",
            crate::base::trace::Origin::default(),
            crate::base::error::Waiter::Bell(9),
        );
        assert_eq!(engine.engine.exchange(Vec::new(), 10).0.len(), 1);
        let engine = engine.crashed();
        assert_eq!(engine.notices(), [json!({"what": "interrupted", "of": "", "count": 1, "attempts": 1})]);
    }

    #[test]
    fn what_happens_often_is_folded_while_nobody_listens() {
        let mut notices = Notices::default();
        for number in 0..1_000 {
            notices.add(OperatorEvent::GaveUp, "f", json!({"number": number}));
            notices.add(OperatorEvent::GaveUp, "g", json!({}));
        }
        let Some(Reply::Json(list)) = notices.take() else { panic!("something to tell") };
        let list: Vec<Value> = serde_json::from_slice(&list).unwrap();
        assert_eq!(list[0], json!({"what": "gave up", "of": "f", "count": 1_000, "number": 999}));
        assert_eq!((list.len(), notices.take()), (2, None));
        for messages in [7, 1_000] {
            notices.add(OperatorEvent::Expired, "q", json!({"sums": {"messages": messages}}));
        }
        let Some(Reply::Json(list)) = notices.take() else { panic!("something to tell") };
        let list: Vec<Value> = serde_json::from_slice(&list).unwrap();
        assert_eq!(list, [json!({"what": "expired", "of": "q", "count": 2, "sums": {"messages": 1_007}})]);
    }
}
