use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::base::error::Answer;
use crate::dispatch::attempts::Task;
use crate::environments::assignment::{assignments, AssignedTask, Assignment};
use crate::runtime::test_engine::{TestEngine, SECOND};

const CLIENT: u64 = 1;

/// What was answered to one kind of question.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Answer>>>);

impl Heard {
    fn waiter(&self) -> Waiter {
        let heard = self.clone();
        Waiter::Call(Box::new(move |answer| heard.0.lock().unwrap().push(answer)))
    }

    fn all(&self) -> Vec<Answer> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn assignments(&self) -> Vec<Assignment> {
        let answers = self.all().into_iter();
        let bytes = answers.filter_map(|answer| match answer {
            Ok(Reply::Assignments(bytes)) => Some(bytes),
            _ => None,
        });
        bytes.flat_map(|bytes| assignments(&bytes).unwrap()).collect()
    }
}

/// An engine with a function `f`, another process that has it, too, and those who have invoked it.
struct Shared {
    engine: TestEngine,
    runner: Heard,
    callers: Heard,
}

impl Shared {
    fn new() -> Self {
        let engine = TestEngine::new();
        for name in ["f", "own"] {
            engine.register(json!({"kind": "function", "name": name, "timeout_ms": 1_000, "isolation": "task"}));
        }
        let shared = Self { engine, runner: Heard::default(), callers: Heard::default() };
        shared.offer("m", CLIENT);
        shared.exchange(Vec::new(), 512);
        shared.engine.engine.members_live(&["m".into()], &BTreeMap::new());
        shared
    }

    fn offer(&self, member: &str, client: u64) {
        let offer = json!({"member": member, "functions": [["f", false], ["own", true]]}).to_string();
        let told = Heard::default();
        self.engine.engine.runner_offers(client, offer.as_bytes(), told.waiter());
        let accepted = json!({"epoch": 1, "connection": client});
        let told = told.all();
        let [Ok(Reply::Json(answer))] = &told[..] else { panic!("{told:?}") };
        assert_eq!(serde_json::from_slice::<serde_json::Value>(answer).unwrap(), accepted);
    }

    /// The process lives, and says this of what it ran.
    fn says(&self, epoch: u64, connection: u64) {
        let stopped = [("m".to_owned(), Stopped { epoch, connection })].into();
        self.engine.engine.members_live(&["m".into()], &stopped);
    }

    fn exchange(&self, settled: Vec<Settled>, most: usize) {
        self.engine.engine.runner_exchanges(CLIENT, settled, most, self.runner.waiter());
    }

    fn invoke(&self, function: &str, times: usize) {
        for _ in 0..times {
            self.engine.engine.invoke(function, (*b"{}").into(), None, self.callers.waiter());
        }
    }

    /// What this process's own loop gets.
    fn own(&self) -> usize {
        let (works, _) = self.engine.engine.exchange(Vec::new(), 512);
        works.iter().filter(|work| matches!(work.task, Task::Invoke(_))).count()
    }
}

fn returned(assignment: &Assignment) -> Settled {
    Settled { token: assignment.token, status: 0, body: Some(b"7".to_vec()), duration_ns: 1 }
}

#[test]
fn work_goes_to_whoever_has_less_and_to_this_process_where_both_have_the_same() {
    let shared = Shared::new();
    shared.invoke("f", 1);
    assert!(shared.runner.assignments().is_empty());
    assert_eq!(shared.own(), 1);
    shared.invoke("f", 1);
    let first = shared.runner.assignments();
    let [Assignment { task: AssignedTask::Run(run), .. }] = &first[..] else { panic!("{first:?}") };
    assert_eq!((run.function, run.reads, run.deadline_ms), (0, true, 1_600_000_001_000));
    assert!(shared.callers.all().is_empty());
    let processes = json!([{"member": null, "running": 1}, {"member": "m", "running": 1}]);
    assert_eq!(shared.engine.json("process.list", &json!({})), processes);
    shared.invoke("f", 4);
    shared.exchange(vec![returned(&first[0])], 512);
    assert_eq!(shared.callers.all(), [Ok(Reply::Json(b"7".to_vec()))]);
    // Five are under way or ready, of which this process has begun one.
    assert_eq!(shared.runner.assignments().len(), 2);
    assert_eq!(shared.own(), 2);
}

/// Of ten invocations that came one after the other the other process got one: its next question was still on its way.
#[test]
fn what_comes_one_after_the_other_is_shared_evenly() {
    let shared = Shared::new();
    for _ in 1..QUESTIONS {
        shared.exchange(Vec::new(), 512);
    }
    shared.invoke("f", 10);
    assert_eq!(shared.runner.assignments().len(), 5);
    assert_eq!(shared.own(), 5);
}

#[test]
fn a_process_gets_what_it_has_offered_and_no_more_than_it_takes() {
    let shared = Shared::new();
    shared.invoke("own", 4);
    assert!(shared.runner.assignments().is_empty(), "it takes batches there, and this process events");
    for _ in 0..QUESTIONS {
        shared.exchange(Vec::new(), 1);
    }
    assert!(
        matches!(&shared.runner.all()[..], [Ok(Reply::Assignments(none))] if none.is_empty()),
        "the oldest question"
    );
    shared.invoke("f", 4);
    assert_eq!(shared.runner.assignments().len(), 1);
    shared.exchange(Vec::new(), 1);
    assert!(shared.runner.assignments().is_empty());
    assert_eq!(shared.own(), 7);
}

#[test]
fn what_a_process_ran_fails_when_it_is_dead_and_not_when_it_has_only_hung_up() {
    let shared = Shared::new();
    shared.invoke("f", 2);
    let given = shared.runner.assignments();
    shared.engine.engine.client_left(CLIENT, false);
    shared.engine.engine.members_live(&["m".into()], &BTreeMap::new());
    assert!(shared.callers.all().is_empty());
    shared.engine.engine.members_live(&[], &BTreeMap::new());
    let told = shared.callers.all();
    let [Err(EngineError::Function { payload, .. })] = &told[..] else { panic!("{told:?}") };
    assert!(payload.contains("Runtime.ExitError"), "{payload}");
    // It was only stopped: nothing that it says counts any more.
    shared.exchange(vec![returned(&given[0])], 512);
    assert!(matches!(&shared.runner.all()[..], [Err(EngineError::OwnerLost(_))]));
    assert!(shared.callers.all().is_empty());
    assert_eq!(shared.own(), 1);
}

#[test]
fn what_a_process_ran_fails_when_it_comes_back_or_its_end_is_known() {
    for comes_back in [true, false] {
        let shared = Shared::new();
        shared.invoke("f", 2);
        assert_eq!(shared.runner.assignments().len(), 1);
        if comes_back {
            shared.offer("m", CLIENT + 1);
        } else {
            shared.engine.engine.client_left(CLIENT, true);
        }
        assert!(matches!(&shared.callers.all()[..], [Err(EngineError::Function { .. })]));
    }
}

/// A process that was cut off from the owner alone lived on, so its attempts were waited for until it had reached the owner again.
#[test]
fn what_a_process_ran_fails_when_it_says_that_it_has_stopped() {
    let shared = Shared::new();
    shared.invoke("f", 2);
    let given = shared.runner.assignments();
    shared.engine.engine.client_left(CLIENT, false);
    shared.says(2, CLIENT);
    assert!(shared.callers.all().is_empty(), "it ran that for another owner");
    shared.says(1, CLIENT);
    let told = shared.callers.all();
    let [Err(EngineError::Function { payload, .. })] = &told[..] else { panic!("{told:?}") };
    assert!(payload.contains("Runtime.ExitError"), "{payload}");
    // It may have been on its way when the connection was lost.
    shared.exchange(vec![returned(&given[0])], 512);
    assert!(matches!(&shared.runner.all()[..], [Err(EngineError::OwnerLost(_))]));
    assert!(shared.callers.all().is_empty());
}

#[test]
fn what_a_process_says_of_a_connection_is_read_late_and_says_nothing_of_a_newer_one() {
    let shared = Shared::new();
    shared.says(1, CLIENT);
    shared.offer("m", CLIENT + 2);
    let newer = Heard::default();
    shared.engine.engine.runner_exchanges(CLIENT + 2, Vec::new(), 512, newer.waiter());
    for connection in [CLIENT, CLIENT + 1] {
        shared.says(1, connection);
    }
    shared.invoke("f", 2);
    let given = newer.assignments();
    assert_eq!(given.len(), 1);
    shared.says(1, CLIENT);
    shared.engine.engine.runner_exchanges(CLIENT + 2, vec![returned(&given[0])], 512, newer.waiter());
    assert_eq!(shared.callers.all(), [Ok(Reply::Json(b"7".to_vec()))]);
}

#[test]
fn an_offer_that_arrives_after_the_next_connection_takes_nothing_from_it() {
    let shared = Shared::new();
    shared.offer("m", CLIENT + 1);
    let (newer, late) = (Heard::default(), Heard::default());
    shared.engine.engine.runner_exchanges(CLIENT + 1, Vec::new(), 512, newer.waiter());
    shared.engine.engine.members_live(&["m".into()], &BTreeMap::new());
    shared.invoke("f", 2);
    assert_eq!(newer.assignments().len(), 1);
    let offer = json!({"member": "m", "functions": [["f", false]]}).to_string();
    shared.engine.engine.runner_offers(CLIENT, offer.as_bytes(), late.waiter());
    assert!(matches!(&late.all()[..], [Err(EngineError::OwnerLost(_))]));
    assert!(shared.callers.all().is_empty());
}

/// The log of the owner had a line only where attempts had failed, so it did not tell that a machine was gone.
#[test]
fn a_process_that_ran_nothing_is_told_of_when_it_is_gone() {
    let shared = Shared::new();
    shared.engine.engine.client_left(CLIENT, true);
    let told = shared.engine.notices();
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&told["what"], &told["of"], &told["expected"]), (&"process".into(), &"m".into(), &true.into()));
    let text = "process m runs no handlers of this store any more: it has ended";
    assert_eq!(told["text"], text);
}

#[test]
fn nothing_is_given_to_a_process_that_is_not_known_to_live() {
    let shared = Shared::new();
    shared.offer("other", CLIENT + 1);
    let other = Heard::default();
    shared.engine.engine.runner_exchanges(CLIENT + 1, Vec::new(), 512, other.waiter());
    shared.invoke("f", 6);
    assert!(other.assignments().is_empty());
    shared.engine.engine.members_live(&["m".into(), "other".into()], &BTreeMap::new());
    assert_eq!(other.assignments().len(), 2);
}

#[test]
fn an_attempt_past_its_deadline_is_stopped_where_it_runs() {
    let mut shared = Shared::new();
    shared.invoke("f", 2);
    let given = shared.runner.assignments();
    shared.exchange(Vec::new(), 512);
    shared.engine.advance(2 * SECOND);
    let stop = shared.runner.assignments();
    assert!(matches!(&stop[..], [Assignment { token, task: AssignedTask::Stop }] if *token == given[0].token));
    assert!(matches!(&shared.callers.all()[..], [Err(EngineError::Function { .. })]));
    assert!(!shared.engine.engine.idle());
    shared.exchange(vec![Settled { status: 2, body: None, ..returned(&given[0]) }], 512);
    assert!(shared.callers.all().is_empty());
}

#[test]
fn an_engine_that_drains_gives_nothing_and_waits_for_what_others_run() {
    let shared = Shared::new();
    shared.invoke("f", 2);
    let given = shared.runner.assignments();
    shared.exchange(Vec::new(), 512);
    shared.engine.engine.drain();
    assert!(!shared.engine.engine.idle());
    shared.engine.engine.interrupt_runners();
    let interrupt = shared.runner.assignments();
    assert!(
        matches!(&interrupt[..], [Assignment { token, task: AssignedTask::Interrupt }] if *token == given[0].token)
    );
    shared.exchange(vec![Settled { status: 4, body: None, ..returned(&given[0]) }], 0);
    assert!(matches!(&shared.runner.all()[..], [Ok(Reply::Assignments(none))] if none.is_empty()));
    assert!(shared.engine.engine.idle());
}

#[test]
fn a_gauge_shows_what_each_process_runs_and_forgets_one_that_is_gone() {
    let shared = Shared::new();
    shared.invoke("f", 3);
    assert_eq!(shared.own(), 2);
    let registry = shared.engine.engine.registry();
    let shown = |process| registry.gauge(Metric::ProcessAttempts, &[process]).get().to_string();
    shared.engine.engine.with(|rooms| rooms.runners().show());
    assert_eq!((shown("m"), shown("owner")), ("1".into(), "2".into()));
    shared.engine.engine.client_left(CLIENT, true);
    shared.engine.engine.with(|rooms| rooms.runners().show());
    assert_eq!(registry.gather(Metric::ProcessAttempts).len(), 1);
    assert_eq!(shown("owner"), "2");
}

#[test]
fn an_invocation_whose_lines_are_wanted_stays_in_this_process() {
    let shared = Shared::new();
    let tail = shared.engine.engine.invoke_tailed("f", (*b"{}").into(), shared.callers.waiter());
    shared.invoke("f", 3);
    assert!(shared.runner.assignments().is_empty());
    drop(tail);
    shared.invoke("f", 1);
    assert_eq!(shared.runner.assignments().len(), 2);
}
