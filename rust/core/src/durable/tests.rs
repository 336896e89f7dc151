//! What a durable function finds when it runs again.

use serde_json::{json, Value};

use super::{
    CheckpointNumber, Durable, InvokeEnd, Refused, Update, BYTES_MAX, OPERATIONS_MAX, PAGE_BYTES, UPDATES_MAX,
};

const NOW: u64 = 1_000_000;

fn update(given: Value) -> Update {
    serde_json::from_value(given).unwrap()
}

fn told(durable: &mut Durable, now_ms: u64, updates: &[Value]) -> Result<Vec<Value>, Refused> {
    let updates: Vec<Update> = updates.iter().cloned().map(update).collect();
    let number = durable.number();
    let told = durable.checkpoint(number, None, &updates, now_ms, &mut |id| format!("cb-{id}"))?;
    Ok(told.operations)
}

#[test]
fn a_step_is_tried_again_when_its_time_has_come() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(5, NOW, 100);
    let step = json!({"Id": "1", "Type": "STEP", "SubType": "Step", "Name": "charge", "Action": "START"});
    assert_eq!(told(&mut durable, NOW, std::slice::from_ref(&step)).unwrap()[0]["StepDetails"]["Attempt"], 1);
    let retry = json!({"Id": "1", "Type": "STEP", "SubType": "Step", "Name": "charge", "Action": "RETRY",
        "Error": {"ErrorType": "Busy"}, "StepOptions": {"NextAttemptDelaySeconds": 10}});
    assert_eq!(told(&mut durable, NOW, &[retry]).unwrap()[0]["Status"], "PENDING");
    assert_eq!(durable.due_ms(), Some(NOW + 10_000));
    assert!(!durable.has_changed(NOW + 9_999));
    assert!(durable.has_changed(NOW + 10_000));
    let (operations, updated) = durable.invoked(5, NOW + 10_000, 100);
    assert_eq!((operations[1]["Status"].as_str(), updated.as_slice()), (Some("READY"), ["1".to_owned()].as_slice()));
    assert_eq!(told(&mut durable, NOW + 10_000, &[step]).unwrap()[0]["StepDetails"]["Attempt"], 2);
}

#[test]
fn a_wait_ends_and_a_callback_is_told_once_or_too_late() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(5, NOW, 100);
    let wait = json!({"Id": "1", "Type": "WAIT", "Action": "START", "WaitOptions": {"WaitSeconds": 60}});
    let callback =
        |id: &str| json!({"Id": id, "Type": "CALLBACK", "Action": "START", "CallbackOptions": {"TimeoutSeconds": 30}});
    let found = told(&mut durable, NOW, &[wait, callback("2"), callback("3")]).unwrap();
    assert_eq!(found[1]["CallbackDetails"]["CallbackId"], "cb-2");
    assert!(durable.callback_told("cb-2", Ok("1".into()), NOW + 1));
    assert!(!durable.callback_told("cb-2", Ok("2".into()), NOW + 2));
    assert!(!durable.callback_told("cb-3", Ok("2".into()), NOW + 30_000), "it is too late");
    let (operations, updated) = durable.invoked(5, NOW + 60_000, 100);
    let statuses: Vec<&str> = operations.iter().map(|one| one["Status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["STARTED", "SUCCEEDED", "SUCCEEDED", "TIMED_OUT"]);
    assert_eq!(updated, ["1", "2", "3"]);
}

#[test]
fn a_token_is_good_once_and_the_same_client_token_is_answered_again() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(5, NOW, 100);
    let updates = [update(json!({"Id": "1", "Type": "STEP", "Action": "SUCCEED", "Payload": "7"}))];
    let number = durable.number();
    let mut ids = |id: &str| id.to_owned();
    let first = durable.checkpoint(number, Some("c"), &updates, NOW, &mut ids).unwrap();
    assert_eq!(durable.checkpoint(number, Some("c"), &updates, NOW, &mut ids).unwrap(), first);
    assert_eq!(durable.checkpoint(number, Some("d"), &updates, NOW, &mut ids), Err(Refused::OldToken));
    durable.invoked(5, NOW, 100);
    assert_eq!(
        durable.checkpoint(CheckpointNumber { generation: number.generation + 1, ..number }, None, &[], NOW, &mut ids),
        Err(Refused::OldToken)
    );
}

/// Its number was counted in memory, so that the next process gave it again.
#[test]
fn a_token_is_of_one_process() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(5, NOW, 100);
    let number = durable.number();
    let written = serde_json::to_string(&durable).unwrap();
    let mut after: Durable = serde_json::from_str(&written).unwrap();
    let told = |durable: &mut Durable, number| durable.checkpoint(number, None, &[], NOW, &mut str::to_owned);
    assert_eq!(told(&mut after, number), Err(Refused::OldToken), "it has not been invoked");
    let mut before: Durable = serde_json::from_str(&written.replace("\"generation\":1", "\"generation\":0")).unwrap();
    before.invoked(6, NOW, 100);
    assert_eq!((before.number().generation, told(&mut before, number)), (1, Err(Refused::OldToken)));
    assert!(told(&mut durable, number).is_ok());
}

#[test]
fn a_function_waits_until_there_is_something_to_tell_it() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    assert!(!durable.is_waiting(NOW), "it has not run");
    durable.invoked(5, NOW, 100);
    let wait = json!({"Id": "1", "Type": "WAIT", "Action": "START", "WaitOptions": {"WaitSeconds": 60}});
    told(&mut durable, NOW, &[wait]).unwrap();
    assert!(!durable.is_waiting(NOW), "it runs");
    durable.waits();
    let mut read: Durable = serde_json::from_str(&serde_json::to_string(&durable).unwrap()).unwrap();
    assert_eq!([read.is_waiting(NOW + 59_999), read.is_waiting(NOW + 60_000)], [true, false]);
    read.invoked(6, NOW + 60_000, 100);
    assert!(!read.is_waiting(NOW + 60_000), "it runs");
}

#[test]
fn another_operation_at_the_same_place_is_refused_and_nothing_of_the_checkpoint_is_kept() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(5, NOW, 100);
    let step = |name: &str, action: &str| json!({"Id": "1", "Type": "STEP", "Name": name, "Action": action});
    told(&mut durable, NOW, &[step("charge", "START")]).unwrap();
    let other = json!({"Id": "2", "Type": "STEP", "Action": "START"});
    let Err(Refused::NonDeterministic(text)) = told(&mut durable, NOW, &[other, step("refund", "SUCCEED")]) else {
        panic!("it is refused")
    };
    assert!(text.contains("was step \"charge\"") && text.contains("is step \"refund\" now"), "{text}");
    assert_eq!(durable.len(), 2);
}

fn invoking(ids: &[&str]) -> Durable {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(5, NOW, 100);
    let invoke = |id: &&str| {
        update(json!({"Id": id, "Type": "CHAINED_INVOKE", "Action": "START", "Payload": "{\"n\":1}",
            "ChainedInvokeOptions": {"FunctionName": "other"}}))
    };
    let updates: Vec<Update> = ids.iter().map(invoke).collect();
    let number = durable.number();
    let made = durable.checkpoint(number, None, &updates, NOW, &mut |id| id.to_owned()).unwrap();
    let asked: Vec<(&str, &str)> =
        made.invokes.iter().map(|one| (one.function.as_str(), one.payload.as_str())).collect();
    assert_eq!(asked, vec![("other", "{\"n\":1}"); ids.len()]);
    durable
}

/// The function was invoked once for each START, and the operation took the end that came first.
#[test]
fn an_operation_that_begins_twice_invokes_its_function_once() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(5, NOW, 100);
    let start = update(json!({"Id": "1", "Type": "CHAINED_INVOKE", "Action": "START", "Payload": "1",
        "ChainedInvokeOptions": {"FunctionName": "other"}}));
    let mut begun = |updates: &[Update]| {
        let number = durable.number();
        let told = durable.checkpoint(number, None, updates, NOW, &mut |id| id.to_owned()).unwrap();
        (told.invokes.len(), told.operations[0]["Status"].clone())
    };
    assert_eq!(begun(&[start.clone(), start.clone()]), (1, json!("STARTED")));
    assert_eq!(begun(&[start]), (0, json!("STARTED")));
    assert!(durable.invoke_ended("1", InvokeEnd::Succeeded("7".into()), NOW));
}

#[test]
fn functions_are_invoked_and_each_end_is_found_once() {
    let mut durable = invoking(&["1", "2", "3", "4"]);
    let error = |kind: &str| json!({"ErrorType": kind});
    let ends = [
        ("1", InvokeEnd::Succeeded("7".into())),
        ("2", InvokeEnd::Failed(error("Lost"))),
        ("3", InvokeEnd::TimedOut(error("Slow"))),
        ("4", InvokeEnd::Stopped(error("Enough"))),
    ];
    for (id, end) in ends {
        assert!(durable.invoke_ended(id, end, NOW));
        assert!(!durable.invoke_ended(id, InvokeEnd::Succeeded("8".into()), NOW), "it has ended");
    }
    // As it is read from its row after a restart.
    let mut durable: Durable = serde_json::from_value(serde_json::to_value(&durable).unwrap()).unwrap();
    let (operations, updated) = durable.invoked(5, NOW, 100);
    let statuses: Vec<&str> = operations[1..].iter().map(|one| one["Status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED"]);
    assert_eq!(operations[1]["ChainedInvokeDetails"]["Result"], "7");
    assert_eq!(operations[4]["ChainedInvokeDetails"]["Error"]["ErrorType"], "Enough");
    assert_eq!(updated, ["1", "2", "3", "4"]);
}

#[test]
fn a_function_that_cannot_be_invoked_has_failed_in_the_answer_to_its_checkpoint() {
    let mut durable = invoking(&["1"]);
    let told = durable.invoke_refused("1", json!({"ErrorType": "ResourceNotFoundException"}), NOW).unwrap();
    assert_eq!(told["Status"], "FAILED");
    assert_eq!(told["ChainedInvokeDetails"]["Error"]["ErrorType"], "ResourceNotFoundException");
    assert!(!durable.has_changed(NOW), "the function knows of it");
    assert_eq!(durable.invoke_refused("1", json!({}), NOW), None);
}

#[test]
fn releases_before_read_the_operation_of_a_function_that_was_stopped() {
    let mut durable = invoking(&["1", "2"]);
    assert!(durable.invoke_ended("1", InvokeEnd::Stopped(json!({"ErrorType": "Enough"})), NOW));
    let written = serde_json::to_value(&durable).unwrap();
    let [stopped, open] = written["operations"].as_array().unwrap().as_slice() else { panic!("they are two") };
    assert_eq!((&stopped["status"], &stopped["is_stopped"]), (&json!("FAILED"), &json!(true)));
    assert_eq!(open.get("is_stopped"), None, "the others are written as before");
}

#[test]
fn a_page_ends_where_it_has_enough_bytes_and_the_next_goes_on() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(5, NOW, 100);
    let step = |id: usize, bytes: usize| json!({"Id": id.to_string(), "Type": "STEP", "Action": "SUCCEED", "Payload": "x".repeat(bytes)});
    let sizes = [3 << 20, 1 << 19, 1 << 20, 5 << 20, 10];
    let updates: Vec<Value> = sizes.iter().enumerate().map(|(at, bytes)| step(at, *bytes)).collect();
    told(&mut durable, NOW, &updates).unwrap();
    let (mut from, mut pages) = (0, Vec::new());
    while from < durable.len() {
        let page = durable.page(from, 100);
        from += page.len();
        pages.push(page.len());
    }
    assert_eq!(pages, [3, 1, 1, 1], "the execution and two steps, then one that has room beside none");
    assert_eq!(durable.page(0, 2).len(), 2);
    let Err(Refused::Invalid(text)) = told(&mut durable, NOW, &[step(9, 7 << 20)]) else { panic!("it is too much") };
    assert_eq!(text, "the operations of an execution hold at most 16777216 bytes");
}

/// One that runs: nothing is told of it yet.
fn running() -> Durable {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(5, NOW, 100);
    durable
}

fn refused(durable: &mut Durable, updates: &[Value]) -> Option<String> {
    match told(durable, NOW, updates) {
        Err(Refused::Invalid(text)) => Some(text),
        other => other.map(|_| None).unwrap(),
    }
}

#[test]
fn an_operation_belongs_to_a_page_up_to_its_last_byte() {
    // The execution's own input has two bytes, and each operation counts 512 beside what it holds.
    let room = PAGE_BYTES - 2 - 512;
    for (result, error, expected) in [(room, 0, 2), (room + 1, 0, 1), (room - 20, 20, 2), (room - 20, 21, 1)] {
        let mut durable = running();
        // A step that was tried again has both; the quotes of the error count too.
        let error = (error > 0).then(|| "e".repeat(error - 2));
        told(
            &mut durable,
            NOW,
            &[json!({"Id": "1", "Type": "STEP", "Action": "RETRY", "Payload": "x".repeat(result), "Error": error})],
        )
        .unwrap();
        assert_eq!(durable.page(0, 100).len(), expected, "{result} bytes and {error:?}");
    }
}

#[test]
fn it_has_run_when_it_was_invoked_and_holds_itself_from_the_beginning() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    assert_eq!((durable.has_run(), durable.len(), durable.is_empty()), (false, 1, false));
    for number in [5, 6] {
        durable.invoked(number, NOW, 100);
        assert!(durable.has_run());
    }
}

#[test]
fn the_last_operation_is_the_one_that_began_or_ended_last_and_no_context() {
    let last = |durable: &Durable| durable.last().map(|one| one.id.clone());
    let mut durable = running();
    assert_eq!(last(&durable), None);
    let one = |id: &str, kind: &str, action: &str| json!({"Id": id, "Type": kind, "Action": action});
    for (after_ms, update, expected) in [
        (1, one("c", "CONTEXT", "START"), None),
        (2, one("1", "STEP", "START"), Some("1")),
        (3, one("2", "STEP", "START"), Some("2")),
        (4, one("1", "STEP", "SUCCEED"), Some("1")),
        (5, one("c", "CONTEXT", "SUCCEED"), Some("1")),
    ] {
        told(&mut durable, NOW + after_ms, &[update]).unwrap();
        assert_eq!(last(&durable).as_deref(), expected, "after {after_ms} ms");
    }
}

#[test]
fn a_checkpoint_and_an_execution_hold_so_much_and_no_more() {
    let steps = |from: usize, count: usize| -> Vec<Value> {
        (from..from + count).map(|id| json!({"Id": id.to_string(), "Type": "STEP", "Action": "START"})).collect()
    };
    let mut durable = running();
    for count in [UPDATES_MAX + 1, UPDATES_MAX + 2] {
        let text = format!("{count} updates: allowed are {UPDATES_MAX}");
        assert_eq!(refused(&mut durable, &steps(0, count)), Some(text));
    }
    for from in (0..OPERATIONS_MAX).step_by(UPDATES_MAX) {
        assert_eq!(refused(&mut durable, &steps(from, UPDATES_MAX)), None);
    }
    let text = format!("an execution has at most {OPERATIONS_MAX} operations");
    assert_eq!(refused(&mut durable, &steps(OPERATIONS_MAX, 1)), Some(text));
    assert_eq!((refused(&mut durable, &steps(7, 1)), durable.len()), (None, OPERATIONS_MAX + 1), "those it has go on");

    let mut durable = running();
    let step =
        |id: &str, bytes: usize| json!({"Id": id, "Type": "STEP", "Action": "SUCCEED", "Payload": "x".repeat(bytes)});
    assert_eq!(refused(&mut durable, &[step("1", BYTES_MAX)]), None);
    assert!(refused(&mut durable, &[step("2", 1)]).is_some());
    for (length, is_id) in [(0, false), (1, true), (64, true), (65, false), (66, false)] {
        let id = "i".repeat(length);
        let text = format!("the id {id:?} has 1 to 64 characters");
        assert_eq!(refused(&mut running(), &[step(&id, 1)]), (!is_id).then_some(text), "{length}");
    }
}

#[test]
fn a_callback_is_too_late_by_its_timeout_or_for_want_of_a_heartbeat() {
    // Seconds: timeout and heartbeat, 0 as if there was none; when it is due, and what it has died of then.
    for (timeout, heartbeat, due, kind) in [
        (30, 0, 30, "Callback.Timeout"),
        (30, 10, 10, "Callback.Heartbeat"),
        (0, 10, 10, "Callback.Heartbeat"),
        (10, 10, 10, "Callback.Timeout"),
        (10, 20, 10, "Callback.Timeout"),
    ] {
        let mut durable = running();
        let options = json!({"TimeoutSeconds": timeout, "HeartbeatTimeoutSeconds": heartbeat});
        let start = json!({"Id": "1", "Type": "CALLBACK", "Action": "START", "CallbackOptions": options});
        told(&mut durable, NOW, &[start]).unwrap();
        assert_eq!(durable.due_ms(), Some(NOW + due * 1_000), "{options}");
        assert!(!durable.has_changed(NOW + due * 1_000 - 1), "{options}");
        // It was told to have died of its timeout when both were over before anybody looked.
        for looked_at in [due, 40] {
            let mut durable = durable.clone();
            assert!(durable.has_changed(NOW + looked_at * 1_000), "{options}");
            let one = durable.operations().next().unwrap();
            let told = (&one["Status"], &one["CallbackDetails"]["Error"]["ErrorType"]);
            assert_eq!(told, (&json!("TIMED_OUT"), &json!(kind)), "{options} at {looked_at}");
        }
    }
    let mut durable = running();
    told(
        &mut durable,
        NOW,
        &[json!({"Id": "1", "Type": "CALLBACK", "Action": "START", "CallbackOptions": {"TimeoutSeconds": 0}})],
    )
    .unwrap();
    assert_eq!(durable.due_ms(), None, "it may wait for ever");
}

#[test]
fn a_heartbeat_puts_off_the_next_one_and_not_the_timeout() {
    let mut durable = running();
    let options = json!({"TimeoutSeconds": 30, "HeartbeatTimeoutSeconds": 20});
    told(&mut durable, NOW, &[json!({"Id": "1", "Type": "CALLBACK", "Action": "START", "CallbackOptions": options})])
        .unwrap();
    assert!(!durable.callback_heartbeat("cb-2", NOW), "there is none");
    assert!(durable.callback_heartbeat("cb-1", NOW + 5_000));
    assert_eq!(durable.due_ms(), Some(NOW + 25_000));
    assert!(durable.callback_heartbeat("cb-1", NOW + 24_999));
    assert_eq!(durable.due_ms(), Some(NOW + 30_000));
    assert!(!durable.callback_heartbeat("cb-1", NOW + 30_000), "it is too late");
}

#[test]
fn failures_are_counted_from_one_checkpoint_to_the_next() {
    let mut durable = running();
    assert_eq!([durable.failed(), durable.failed(), durable.failed()], [1, 2, 3]);
    told(&mut durable, NOW, &[]).unwrap();
    assert_eq!([durable.failed(), durable.failed()], [1, 2]);
}

#[test]
fn it_says_that_the_code_has_changed_until_a_checkpoint_is_good() {
    let mut durable = running();
    let step = |name: &str| json!({"Id": "1", "Type": "STEP", "Name": name, "Action": "START"});
    told(&mut durable, NOW, &[step("charge")]).unwrap();
    assert_eq!(durable.misfit(), None);
    let Err(Refused::NonDeterministic(text)) = told(&mut durable, NOW, &[step("refund")]) else {
        panic!("it is refused")
    };
    assert_eq!(durable.misfit(), Some(text.as_str()));
    told(&mut durable, NOW, &[step("charge")]).unwrap();
    assert_eq!(durable.misfit(), None);
}

#[test]
fn a_result_that_is_too_large_for_an_answer_is_written_before_it() {
    let end = |action: &str, given: Value| {
        let mut durable = running();
        assert_eq!(durable.result(), None);
        let mut update = json!({"Id": "run", "Type": "EXECUTION", "Action": action});
        update.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
        assert_eq!(told(&mut durable, NOW, &[update]).unwrap(), Vec::<Value>::new(), "it is no operation");
        durable.result().cloned().unwrap()
    };
    assert_eq!(end("SUCCEED", json!({"Payload": "[7]"})), Ok("[7]".into()));
    assert_eq!(end("SUCCEED", json!({})), Ok("null".into()));
    assert_eq!(end("FAIL", json!({"Error": {"ErrorType": "Lost"}})), Err(json!({"ErrorType": "Lost"})));
}

#[test]
fn an_operation_tells_when_it_is_tried_again_and_whether_its_children_run_again() {
    let mut durable = running();
    let options = json!({"NextAttemptDelaySeconds": 10});
    let step = |action: &str| json!({"Id": "1", "Type": "STEP", "Action": action, "StepOptions": options});
    for (action, at_ms) in [("START", None), ("RETRY", Some(NOW + 10_000))] {
        let told = told(&mut durable, NOW, &[step(action)]).unwrap();
        assert_eq!(told[0]["StepDetails"]["NextAttemptTimestamp"].as_u64(), at_ms, "{action}");
    }
    let ready = &durable.invoked(6, NOW + 10_000, 100).0[1];
    assert_eq!(
        (&ready["Status"], ready["StepDetails"].get("NextAttemptTimestamp")),
        (&json!("READY"), None),
        "it may be tried now"
    );
    for (id, options, expected) in [
        ("2", json!({"ReplayChildren": true}), true),
        ("3", json!({"ReplayChildren": false}), false),
        ("4", Value::Null, false),
    ] {
        let context = json!({"Id": id, "Type": "CONTEXT", "Action": "SUCCEED", "ContextOptions": options});
        assert_eq!(
            told(&mut durable, NOW, &[context]).unwrap()[0]["ContextDetails"]["ReplayChildren"],
            expected,
            "{id}"
        );
    }
}
