//! Mappings that clients declare. A client runs none of them: what the owner's program has not is handled by nobody, and is shown so.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{json, Value};

use crate::api::mapping::{self, Binding, Unhandled};
use crate::base::error::{EngineError, Reply, Waiter};
use crate::commit::done;
use crate::runtime::rooms::Rooms;
use crate::sources::queue::requests;
use crate::sources::stream::mapping::Mapping;

/// State of a mapping that a client declares and nobody handles.
const UNHANDLED: &str = "Unhandled";
/// Most mappings that one client tells of.
const WANTED_MAX: usize = 10_000;

/// What the clients that are connected have declared.
#[derive(Default)]
pub(crate) struct Wanted {
    by_client: BTreeMap<u64, Vec<Binding>>,
    /// Clients that asked before this process had declared its own mappings.
    waiting: Vec<(u64, Waiter)>,
}

impl Wanted {
    /// A client has hung up.
    pub(crate) fn forget(&mut self, client: u64) {
        self.by_client.remove(&client);
        self.waiting.retain(|(waiting, _)| *waiting != client);
    }
}

/// A client tells of all mappings that it declares, and is told which of them nobody handles, once this process has declared its own.
pub(crate) fn mappings_wanted(rooms: &mut Rooms, client: u64, body: &[u8], waiter: Waiter) {
    let told = match serde_json::from_slice::<mapping::Wanted>(body) {
        Ok(told) if told.mappings.len() <= WANTED_MAX => told.mappings,
        Ok(told) => {
            let many = told.mappings.len();
            let text = format!("mappings has {many} entries: a client may declare at most {WANTED_MAX}");
            return rooms.ctx.answer(waiter, Err(EngineError::Invalid(text)));
        }
        Err(error) => return rooms.ctx.answer(waiter, Err(EngineError::Invalid(error.to_string()))),
    };
    rooms.wanted.by_client.insert(client, told);
    rooms.wanted.waiting.push((client, waiter));
    if rooms.ctx.started || rooms.ctx.closed {
        answer_wanted(rooms);
    }
}

/// Answer the clients that have asked: this process has started, or ends.
pub(crate) fn answer_wanted(rooms: &mut Rooms) {
    for (client, waiter) in std::mem::take(&mut rooms.wanted.waiting) {
        let answer = if rooms.ctx.closed {
            Err(EngineError::Closed("the app is stopped: it answers nothing more".into()))
        } else {
            let wanted = rooms.wanted.by_client.get(&client).into_iter().flatten();
            let unhandled = wanted.filter(|binding| !is_handled(rooms, binding)).cloned().collect();
            Ok(Reply::Json(done::json(Unhandled { app: rooms.ctx.app.clone(), unhandled })))
        };
        rooms.ctx.answer(waiter, answer);
    }
}

fn is_handled(rooms: &Rooms, binding: &Binding) -> bool {
    let Binding { stream, queue, function } = binding;
    let of_stream = stream.as_ref().and_then(|stream| {
        rooms.streams.mappings.get(&crate::sources::stream::mapping::mapping_id(&rooms.streams, stream, function)?)
    });
    let of_queue = queue.as_ref().is_some_and(|queue| requests::is_handled(&rooms.queues, queue, function));
    of_queue || of_stream.is_some_and(Mapping::is_handled)
}

/// Show in a list of mappings those that clients declare and nobody handles. One that an earlier process had is in it already.
pub(crate) fn show_unhandled(rooms: &Rooms, list: &mut Vec<Value>) {
    let wanted: BTreeSet<&Binding> = rooms.wanted.by_client.values().flatten().collect();
    for binding in wanted.into_iter().filter(|binding| rooms.ctx.started && !is_handled(rooms, binding)) {
        let mut named = json!(binding);
        let names = ["stream", "queue", "function"];
        match list.iter_mut().find(|listed| names.iter().all(|name| listed.get(name) == named.get(name))) {
            Some(listed) => listed["state"] = UNHANDLED.into(),
            None => {
                named["state"] = UNHANDLED.into();
                named["declared"] = false.into();
                for absent in ["batch_size", "parallelization_factor", "on_failure", "last_result"] {
                    named[absent] = Value::Null;
                }
                list.push(named);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::runtime::test_engine::TestEngine;

    /// A client that came while the owner was still declaring its mappings would be told that nobody handles them.
    #[test]
    fn a_client_is_told_once_the_owner_has_declared_its_mappings() {
        let engine = TestEngine::new();
        engine.engine.with(|state| state.ctx.started = false);
        let (sender, answers) = mpsc::channel();
        let body = br#"{"mappings": [{"stream": "s", "function": "f"}, {"queue": "q", "function": "g"}]}"#;
        let waiter = Waiter::Call(Box::new(move |answer| drop(sender.send(answer))));
        engine.engine.with(|state| mappings_wanted(state, 1, body, waiter));
        assert!(answers.try_recv().is_err());
        assert_eq!(engine.json("mapping.list", &json!({})), json!([]), "who has not started does not know yet");
        engine.engine.start().unwrap();
        let Ok(Ok(Reply::Json(told))) = answers.try_recv() else { panic!("no answer") };
        let told: Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told["unhandled"], json!([{"stream": "s", "function": "f"}, {"queue": "q", "function": "g"}]));
        assert_eq!(engine.json("mapping.list", &json!({}))[0]["queue"], "q");
        engine.engine.with(|state| state.wanted.forget(1));
        assert_eq!(engine.json("mapping.list", &json!({})), json!([]));
    }
}
