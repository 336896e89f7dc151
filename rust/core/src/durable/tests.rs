//! What a durable function finds when it runs again.

use serde_json::{json, Value};

use super::{CheckpointNumber, Durable, InvokeEnd, Refused, Update};

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
