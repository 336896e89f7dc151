//! What a durable function finds when it runs again.

use serde_json::{json, Value};

use super::{Durable, Refused, Update};

const NOW: u64 = 1_000_000;

fn update(given: Value) -> Update {
    serde_json::from_value(given).unwrap()
}

fn told(durable: &mut Durable, now_ms: u64, updates: &[Value]) -> Result<Vec<Value>, Refused> {
    let updates: Vec<Update> = updates.iter().cloned().map(update).collect();
    let generation = durable.generation();
    let told = durable.checkpoint(generation, None, &updates, now_ms, &mut |id| format!("cb-{id}"))?;
    Ok(told.operations)
}

#[test]
fn a_step_is_tried_again_when_its_time_has_come() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(NOW, 100);
    let step = json!({"Id": "1", "Type": "STEP", "SubType": "Step", "Name": "charge", "Action": "START"});
    assert_eq!(told(&mut durable, NOW, std::slice::from_ref(&step)).unwrap()[0]["StepDetails"]["Attempt"], 1);
    let retry = json!({"Id": "1", "Type": "STEP", "SubType": "Step", "Name": "charge", "Action": "RETRY",
        "Error": {"ErrorType": "Busy"}, "StepOptions": {"NextAttemptDelaySeconds": 10}});
    assert_eq!(told(&mut durable, NOW, &[retry]).unwrap()[0]["Status"], "PENDING");
    assert_eq!(durable.due_ms(), Some(NOW + 10_000));
    assert!(!durable.has_changed(NOW + 9_999));
    assert!(durable.has_changed(NOW + 10_000));
    let (operations, updated) = durable.invoked(NOW + 10_000, 100);
    assert_eq!((operations[1]["Status"].as_str(), updated.as_slice()), (Some("READY"), ["1".to_owned()].as_slice()));
    assert_eq!(told(&mut durable, NOW + 10_000, &[step]).unwrap()[0]["StepDetails"]["Attempt"], 2);
}

#[test]
fn a_wait_ends_and_a_callback_is_told_once_or_too_late() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(NOW, 100);
    let wait = json!({"Id": "1", "Type": "WAIT", "Action": "START", "WaitOptions": {"WaitSeconds": 60}});
    let callback =
        |id: &str| json!({"Id": id, "Type": "CALLBACK", "Action": "START", "CallbackOptions": {"TimeoutSeconds": 30}});
    let found = told(&mut durable, NOW, &[wait, callback("2"), callback("3")]).unwrap();
    assert_eq!(found[1]["CallbackDetails"]["CallbackId"], "cb-2");
    assert!(durable.callback_told("cb-2", Ok("1".into()), NOW + 1));
    assert!(!durable.callback_told("cb-2", Ok("2".into()), NOW + 2));
    assert!(!durable.callback_told("cb-3", Ok("2".into()), NOW + 30_000), "it is too late");
    let (operations, updated) = durable.invoked(NOW + 60_000, 100);
    let statuses: Vec<&str> = operations.iter().map(|one| one["Status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["STARTED", "SUCCEEDED", "SUCCEEDED", "TIMED_OUT"]);
    assert_eq!(updated, ["1", "2", "3"]);
}

#[test]
fn a_token_is_good_once_and_the_same_client_token_is_answered_again() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(NOW, 100);
    let updates = [update(json!({"Id": "1", "Type": "STEP", "Action": "SUCCEED", "Payload": "7"}))];
    let generation = durable.generation();
    let mut ids = |id: &str| id.to_owned();
    let first = durable.checkpoint(generation, Some("c"), &updates, NOW, &mut ids).unwrap();
    assert_eq!(durable.checkpoint(generation, Some("c"), &updates, NOW, &mut ids).unwrap(), first);
    assert_eq!(durable.checkpoint(generation, Some("d"), &updates, NOW, &mut ids), Err(Refused::OldToken));
    durable.invoked(NOW, 100);
    assert_eq!(durable.checkpoint(generation + 1, None, &[], NOW, &mut ids), Err(Refused::OldToken));
}

#[test]
fn another_operation_at_the_same_place_is_refused_and_nothing_of_the_checkpoint_is_kept() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(NOW, 100);
    let step = |name: &str, action: &str| json!({"Id": "1", "Type": "STEP", "Name": name, "Action": action});
    told(&mut durable, NOW, &[step("charge", "START")]).unwrap();
    let other = json!({"Id": "2", "Type": "STEP", "Action": "START"});
    let Err(Refused::NonDeterministic(text)) = told(&mut durable, NOW, &[other, step("refund", "SUCCEED")]) else {
        panic!("it is refused")
    };
    assert!(text.contains("was step \"charge\"") && text.contains("is step \"refund\" now"), "{text}");
    assert_eq!(durable.len(), 2);
}

#[test]
fn a_function_is_invoked_and_its_end_is_found() {
    let mut durable = Durable::new("run".into(), "{}".into(), NOW);
    durable.invoked(NOW, 100);
    let given = update(json!({"Id": "1", "Type": "CHAINED_INVOKE", "Action": "START", "Payload": "{\"n\":1}",
        "ChainedInvokeOptions": {"FunctionName": "other"}}));
    let generation = durable.generation();
    let made = durable.checkpoint(generation, None, &[given], NOW, &mut |id| id.to_owned()).unwrap();
    assert_eq!((made.invokes[0].function.as_str(), made.invokes[0].payload.as_str()), ("other", "{\"n\":1}"));
    assert_eq!(durable.open_invokes().collect::<Vec<_>>(), ["1"]);
    assert!(durable.invoke_ended("1", Err(json!({"ErrorType": "Lost"})), NOW));
    assert!(!durable.invoke_ended("1", Ok("1".into()), NOW));
    assert_eq!(durable.page(1, 1)[0]["ChainedInvokeDetails"]["Error"]["ErrorType"], "Lost");
}
