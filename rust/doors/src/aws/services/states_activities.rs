//! Step Functions: activities, tokens of tasks, and tags of machines and activities.

use std::collections::BTreeMap;

use forebay_engine::api::activity::{ActivityNamed, GetActivityTask};
use forebay_engine::api::notes::Annotate;
use forebay_engine::api::workflow::{TaskFailed, TaskHeartbeat, TaskSucceeded};
use forebay_engine::api::{Empty, Request};
use forebay_engine::base::error::EngineError;
use serde_json::Value as Json;

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::page::{page, Token};
use crate::aws::services::states::{self, bad_token, fault, time};
use crate::aws::value::Value;

/// How long a worker waits for a task.
/// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetActivityTask.html>
const WAIT_MS: u64 = 60_000;
/// Begins the notes that are tags.
const NOTE_TAG: &str = "tag:";
/// Most tags of a machine or an activity.
/// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_TagResource.html>
const TAGS_MAX: usize = 50;

/// The activity that the input names.
fn named_activity(call: &Call<'_>) -> Result<ActivityNamed, Fault> {
    let arn = call.input.needed("activityArn");
    let (_, name) = states::states_resource(call, arn, &["activity"])?.ok_or_else(|| no_activity(arn))?;
    Ok(ActivityNamed { name: name.to_owned() })
}

fn no_activity(arn: &str) -> Fault {
    Fault::new("ActivityDoesNotExist", format!("Activity Does Not Exist: '{arn}'"))
}

fn activity_fault(call: &Call<'_>, error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(_) => no_activity(call.input.needed("activityArn")),
        error => fault(error),
    }
}

fn shown(activity: &Json) -> Value {
    Value::structure().with("activityArn", activity["arn"].as_str()).with("creationDate", time(&activity["created_ms"]))
}

pub(super) async fn create_activity(call: &Call<'_>) -> Result<Value, Fault> {
    let key = call.input.get("encryptionConfiguration").and_then(|given| given.text("type"));
    if key.is_some_and(|key| key != "AWS_OWNED_KEY") {
        return Err(Fault::new(
            "InvalidEncryptionConfiguration",
            "Invalid Encryption Configuration: the store has no keys of customers; leave encryptionConfiguration out",
        ));
    }
    let name = call.input.needed("name").to_owned();
    let notes = notes_of_tags(call, &Json::Null)?;
    let mut activity = call.ask(Request::ActivityDeclare(ActivityNamed { name: name.clone() })).await.map_err(fault)?;
    if !notes.is_empty() {
        activity = call.ask(Request::ActivityAnnotate(Annotate { name, notes })).await.map_err(fault)?;
    }
    Ok(shown(&activity))
}

pub(super) async fn describe_activity(call: &Call<'_>) -> Result<Value, Fault> {
    let activity = call.ask(Request::ActivityDescribe(named_activity(call)?)).await;
    let activity = activity.map_err(|error| activity_fault(call, error))?;
    let encryption = Value::structure().with("type", "AWS_OWNED_KEY");
    Ok(shown(&activity).with("name", activity["name"].as_str()).with("encryptionConfiguration", encryption))
}

pub(super) async fn list_activities(call: &Call<'_>) -> Result<Value, Fault> {
    let listed = call.ask(Request::ActivityList(Empty {})).await.map_err(fault)?;
    let mut activities: Vec<&Json> = listed.as_array().into_iter().flatten().collect();
    activities.sort_by_key(|one| one["name"].as_str().unwrap_or_default().to_owned());
    let from = Token::read(call.input.text("nextToken")).ok_or_else(bad_token)?;
    let (activities, next) = page(activities, states::most(call), from, |one| one["name"].as_str().unwrap_or_default());
    let activities: Vec<Value> = activities.iter().map(|one| shown(one).with("name", one["name"].as_str())).collect();
    Ok(Value::structure().with("activities", activities).with("nextToken", next))
}

/// An activity that is not there is already gone.
pub(super) async fn delete_activity(call: &Call<'_>) -> Result<Value, Fault> {
    match call.ask(Request::ActivityDelete(named_activity(call)?)).await {
        Ok(_) | Err(EngineError::NotFound(_)) => Ok(Value::structure()),
        Err(error) => Err(fault(error)),
    }
}

/// Without a task in time, the answer has neither a token nor an input.
pub(super) async fn get_activity_task(call: &Call<'_>) -> Result<Value, Fault> {
    let ActivityNamed { name } = named_activity(call)?;
    let worker = call.input.text("workerName").map(str::to_owned);
    let task = call.ask(Request::ActivityGetTask(GetActivityTask { name, worker, wait_ms: WAIT_MS })).await;
    let task = task.map_err(|error| activity_fault(call, error))?;
    Ok(Value::structure().with("taskToken", task["token"].as_str()).with("input", task["input"].as_str()))
}

// ---- tokens

pub(super) async fn send_task_success(call: &Call<'_>) -> Result<Value, Fault> {
    let text = |name: &str| call.input.needed(name).to_owned();
    let told = TaskSucceeded { token: text("taskToken"), output: text("output") };
    call.ask(Request::TaskSucceed(told)).await.map_err(fault)?;
    Ok(Value::structure())
}

pub(super) async fn send_task_failure(call: &Call<'_>) -> Result<Value, Fault> {
    let text = |name: &str| call.input.text(name).map(str::to_owned);
    let told =
        TaskFailed { token: call.input.needed("taskToken").to_owned(), error: text("error"), cause: text("cause") };
    call.ask(Request::TaskFail(told)).await.map_err(fault)?;
    Ok(Value::structure())
}

pub(super) async fn send_task_heartbeat(call: &Call<'_>) -> Result<Value, Fault> {
    let told = TaskHeartbeat { token: call.input.needed("taskToken").to_owned() };
    call.ask(Request::TaskHeartbeat(told)).await.map_err(fault)?;
    Ok(Value::structure())
}

// ---- tags

/// The notes that the input's tags are; refused if there are too many of them with those that are there.
pub(super) fn notes_of_tags(call: &Call<'_>, resource: &Json) -> Result<BTreeMap<String, Option<String>>, Fault> {
    let tags = call.input.list("tags").iter();
    let tag = |tag: &Value| (format!("{NOTE_TAG}{}", tag.needed("key")), Some(tag.needed("value").to_owned()));
    let notes: BTreeMap<String, Option<String>> = tags.map(tag).collect();
    let more = tags_of(resource).into_iter().filter(|(key, _)| !notes.contains_key(&format!("{NOTE_TAG}{key}")));
    if more.count() + notes.len() > TAGS_MAX {
        let text = format!("You've exceeded the number of tags allowed for a resource: {TAGS_MAX}");
        return Err(Fault::new("TooManyTags", text).with("resourceName", call.input.text("resourceArn")));
    }
    Ok(notes)
}

fn tags_of(resource: &Json) -> BTreeMap<&str, &str> {
    let notes = resource["notes"].as_object().into_iter().flatten();
    notes.filter_map(|(note, text)| Some((note.strip_prefix(NOTE_TAG)?, text.as_str()?))).collect()
}

/// What the input's ARN names: whether it is an activity, and what the engine says of it.
async fn tagged(call: &Call<'_>) -> Result<(bool, Json), Fault> {
    let arn = call.input.needed("resourceArn");
    let missing = || Fault::new("ResourceNotFound", format!("Resource not found: '{arn}'"));
    let (kind, name) = states::states_resource(call, arn, &["stateMachine", "activity"])?.ok_or_else(missing)?;
    if name.contains(':') {
        return Err(missing());
    }
    let is_activity = kind == "activity";
    let told = if is_activity {
        call.ask(Request::ActivityDescribe(ActivityNamed { name: name.to_owned() })).await.map_err(fault)
    } else {
        states::described_machine(call, name.to_owned(), None).await
    };
    Ok((is_activity, told.map_err(|_| missing())?))
}

async fn annotate(call: &Call<'_>, notes: BTreeMap<String, Option<String>>) -> Result<Value, Fault> {
    let (is_activity, resource) = tagged(call).await?;
    let name = resource["name"].as_str().unwrap_or_default().to_owned();
    let annotate = Annotate { name, notes };
    let request = if is_activity { Request::ActivityAnnotate(annotate) } else { Request::WorkflowAnnotate(annotate) };
    call.ask(request).await.map_err(fault)?;
    Ok(Value::structure())
}

pub(super) async fn tag_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let (_, resource) = tagged(call).await?;
    annotate(call, notes_of_tags(call, &resource)?).await
}

pub(super) async fn untag_resource(call: &Call<'_>) -> Result<Value, Fault> {
    annotate(call, call.input.texts("tagKeys").map(|key| (format!("{NOTE_TAG}{key}"), None)).collect()).await
}

pub(super) async fn list_tags_for_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let (_, resource) = tagged(call).await?;
    let tags = tags_of(&resource).into_iter();
    let tags = tags.map(|(key, value)| Value::structure().with("key", key).with("value", value));
    Ok(Value::structure().with("tags", tags.collect::<Vec<_>>()))
}
