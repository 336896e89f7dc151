//! EventBridge Scheduler: schedules. Their groups and tags are in `scheduler_groups`.

use forebay_engine::api::bus::{ListSchedules, PutSchedule, ScheduleNamed, SCHEDULES_LISTED_MAX};
use forebay_engine::api::Request;
use forebay_engine::base::error::EngineError;
use serde_json::{json, Value as Json};

use crate::aws::call::{unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::services::events::{self, settings};
use crate::aws::services::page::Token;
use crate::aws::services::scheduler_groups::{
    create_schedule_group, delete_schedule_group, get_schedule_group, list_schedule_groups, list_tags_for_resource,
    tag_resource, untag_resource,
};
use crate::aws::services::sqs_attributes::is_fifo;
use crate::aws::value::Value;

super::operations! {
    CreateSchedule => create_schedule,
    GetSchedule => get_schedule,
    ListSchedules => list_schedules,
    UpdateSchedule => update_schedule,
    DeleteSchedule => delete_schedule,
    CreateScheduleGroup => create_schedule_group,
    GetScheduleGroup => get_schedule_group,
    ListScheduleGroups => list_schedule_groups,
    DeleteScheduleGroup => delete_schedule_group,
    TagResource => tag_resource,
    UntagResource => untag_resource,
    ListTagsForResource => list_tags_for_resource,
}

/// Items of a page.
pub(super) const PAGE: usize = 100;
/// What holds of retries where nothing is said.
/// <https://docs.aws.amazon.com/scheduler/latest/APIReference/API_RetryPolicy.html>
const RETRIES_MAX: i64 = 185;
const EVENT_AGE_MS_MAX: i64 = 86_400_000;
/// Most pages of the engine that one call looks through.
const LOOKED_MAX: usize = 10;
/// The group of schedules that are in no other. Their names here are without it.
const GROUP: &str = "default";

pub(super) fn fault(error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(text) => Fault::new("ResourceNotFoundException", text).status(404),
        EngineError::Invalid(text) if text.starts_with("Invalid Schedule Expression") => {
            // AWS does not say what is wrong.
            let end = text.find(").").map_or(text.len(), |end| end + 2);
            Fault::validation(&text[..end])
        }
        EngineError::Invalid(text) | EngineError::TooLarge(text) => Fault::validation(text),
        EngineError::Conflict(text) => Fault::new("ConflictException", text).status(409),
        EngineError::TooMany { message, retry_after_ms, .. } => {
            Fault { retry_after_ms: Some(retry_after_ms), ..Fault::new("ThrottlingException", message).status(429) }
        }
        error => unavailable(&error),
    }
}

fn no_schedule(name: &str) -> Fault {
    Fault::new("ResourceNotFoundException", format!("Schedule {name} does not exist.")).status(404)
}

/// The schedule's name, as the engine has it.
fn schedule(call: &Call<'_>) -> String {
    let name = call.input.needed("Name");
    match call.input.text("GroupName") {
        None | Some(GROUP) => name.to_owned(),
        Some(group) => format!("{group}/{name}"),
    }
}

async fn described_schedule(call: &Call<'_>, name: &str) -> Result<Json, Fault> {
    call.ask(Request::ScheduleDescribe(ScheduleNamed { name: name.to_owned() })).await.map_err(|error| match error {
        EngineError::NotFound(_) => no_schedule(name),
        error => fault(error),
    })
}

/// The message group of a target, which a FIFO queue needs.
pub(super) fn message_group<'t>(target: &'t Value, kind: &str, name: &str) -> Result<Option<&'t str>, Fault> {
    let group = target.get("SqsParameters").and_then(|one| one.text("MessageGroupId"));
    if group.is_none() && kind == "queue" && is_fifo(name) {
        let of = target.text("Id").map_or_else(String::new, |id| format!(" for target: {id}"));
        return Err(Fault::validation(format!("Parameter(s) SqsParameters must be specified{of}.")));
    }
    Ok(group)
}

async fn put(call: &Call<'_>, name: &str, only_new: bool) -> Result<Value, Fault> {
    let input = &call.input;
    if input.text("KmsKeyArn").is_some() {
        return Err(Fault::validation("KmsKeyArn: forebay's schedules do not have it"));
    }
    let empty = Value::structure();
    let target = input.get("Target").unwrap_or(&empty);
    let known = ["Arn", "RoleArn", "Input", "SqsParameters", "DeadLetterConfig", "RetryPolicy"];
    if let Value::Map(fields) = target {
        if let Some((other, _)) = fields.iter().find(|(name, _)| !known.contains(&name.as_ref())) {
            return Err(Fault::validation(format!("Target.{other}: forebay's schedules do not have it")));
        }
    }
    let (kind, recipient) = events::recipient(call, target.needed("Arn"))?;
    let dead_letters = target.get("DeadLetterConfig").and_then(|config| config.text("Arn"));
    let dead_letters = dead_letters.map(|arn| events::recipient(call, arn).map(|(_, name)| name)).transpose()?;
    let window = input.get("FlexibleTimeWindow").unwrap_or(&empty);
    let minutes = match (window.text("Mode"), window.int("MaximumWindowInMinutes")) {
        (Some("FLEXIBLE"), None) => {
            let text = "FlexibleTimeWindow: Mode FLEXIBLE needs a MaximumWindowInMinutes of 1 to 1440.";
            return Err(Fault::validation(text));
        }
        (Some("FLEXIBLE"), Some(minutes)) => minutes,
        _ => 0,
    };
    let retry = target.get("RetryPolicy").unwrap_or(&empty);
    let mut given = json!({
        "name": name,
        "only_new": only_new,
        "expression": input.needed("ScheduleExpression"),
        "timezone": input.text("ScheduleExpressionTimezone").unwrap_or("UTC"),
        "start_ms": input.time("StartDate"),
        "end_ms": input.time("EndDate"),
        "flexible_minutes": minutes,
        "enabled": input.text("State") != Some("DISABLED"),
        "group_id": message_group(target, kind, &recipient)?,
        "input": target.text("Input"),
        "dead_letter_queue": dead_letters,
        "maximum_retry_attempts": retry.int("MaximumRetryAttempts"),
        "maximum_event_age_ms": retry.int("MaximumEventAgeInSeconds").map(|seconds| seconds * 1000),
        "delete_after_completion": input.text("ActionAfterCompletion") == Some("DELETE"),
        "description": input.text("Description").unwrap_or_default(),
        "role": target.text("RoleArn"),
    });
    given[kind] = recipient.into();
    let put: PutSchedule = settings(given)?;
    let put = call.ask(Request::SchedulePut(put)).await.map_err(fault)?;
    Ok(Value::structure().with("ScheduleArn", put["arn"].as_str()))
}

async fn create_schedule(call: &Call<'_>) -> Result<Value, Fault> {
    let name = schedule(call);
    if described_schedule(call, &name).await.is_ok() {
        if let Some(answer) = call.remembered.answered_before("CreateSchedule", &call.input) {
            return Ok(answer);
        }
    }
    let made = put(call, &name, true).await?;
    call.remembered.keep_answer("CreateSchedule", &call.input, &made);
    Ok(made)
}

async fn update_schedule(call: &Call<'_>) -> Result<Value, Fault> {
    let name = schedule(call);
    described_schedule(call, &name).await?;
    put(call, &name, false).await
}

pub(super) fn time(ms: &Json) -> Value {
    ms.as_i64().map_or(Value::Null, Value::Time)
}

/// Group and name of a schedule.
fn named(given: &Json) -> (&str, &str) {
    let name = given["name"].as_str().unwrap_or_default();
    name.split_once('/').unwrap_or((GROUP, name))
}

fn state(given: &Json) -> &'static str {
    if given["enabled"] == true {
        "ENABLED"
    } else {
        "DISABLED"
    }
}

/// AWS says what holds, said or not.
fn retry_policy(given: &Json) -> Value {
    let age_ms = given["maximum_event_age_ms"].as_i64().unwrap_or(EVENT_AGE_MS_MAX);
    Value::structure()
        .with("MaximumEventAgeInSeconds", age_ms / 1000)
        .with("MaximumRetryAttempts", given["maximum_retry_attempts"].as_i64().unwrap_or(RETRIES_MAX))
}

async fn get_schedule(call: &Call<'_>) -> Result<Value, Fault> {
    let given = described_schedule(call, &schedule(call)).await?;
    let one = |name: &'static str, text: Option<&str>| text.map(|text| Value::structure().with(name, text));
    // One of the app's code has none, and a client looks for one.
    let role =
        given["role"].as_str().map_or_else(|| format!("arn:aws:iam::{}:role/forebay", call.account), str::to_owned);
    let target = Value::structure()
        .with("Arn", events::recipient_arn(call, &given))
        .with("RoleArn", role)
        .with("Input", given["input"].as_str())
        .with("SqsParameters", one("MessageGroupId", given["group_id"].as_str()))
        .with("DeadLetterConfig", one("Arn", events::queue_arn(call, given["dead_letter_queue"].as_str()).as_deref()))
        .with("RetryPolicy", retry_policy(&given));
    let minutes = given["flexible_minutes"].as_i64().filter(|minutes| *minutes > 0);
    let window = Value::structure()
        .with("Mode", if minutes.is_some() { "FLEXIBLE" } else { "OFF" })
        .with("MaximumWindowInMinutes", minutes);
    Ok(Value::structure()
        .with("Arn", given["arn"].as_str())
        .with("Name", named(&given).1)
        .with("GroupName", named(&given).0)
        .with("ScheduleExpression", given["expression"].as_str())
        .with("ScheduleExpressionTimezone", given["timezone"].as_str())
        .with("StartDate", time(&given["start_ms"]))
        .with("EndDate", time(&given["end_ms"]))
        .with("State", state(&given))
        .with("CreationDate", time(&given["created_ms"]))
        .with("LastModificationDate", time(&given["modified_ms"]))
        .with("FlexibleTimeWindow", window)
        .with("ActionAfterCompletion", if given["delete_after_completion"] == true { "DELETE" } else { "NONE" })
        .with("Description", given["description"].as_str())
        .with("Target", target))
}

/// Schedules after one, as many as a page of the engine has.
async fn listed(call: &Call<'_>, prefix: &str, after: Option<String>) -> Result<Vec<Json>, Fault> {
    let asked = ListSchedules { prefix: prefix.to_owned(), after, limit: SCHEDULES_LISTED_MAX };
    match call.ask(Request::ScheduleList(asked)).await.map_err(fault)? {
        Json::Array(schedules) => Ok(schedules),
        _ => Ok(Vec::new()),
    }
}

async fn list_schedules(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let prefix = input.text("NamePrefix").unwrap_or_default();
    let (wanted, group) = (input.text("State"), input.text("GroupName"));
    // A schedule of the default group is named without it.
    let begin = group.filter(|group| *group != GROUP).map(|group| format!("{group}/{prefix}")).unwrap_or_default();
    let is_wanted = |one: &Json| {
        // Those of rules are not schedules of the Scheduler.
        one["rule"].is_null()
            && named(one).1.starts_with(prefix)
            && group.is_none_or(|group| named(one).0 == group)
            && wanted.is_none_or(|wanted| state(one) == wanted)
    };
    let from = Token::read(input.text("NextToken")).ok_or_else(|| Fault::validation("NextToken is invalid."))?;
    let most = input.int("MaxResults").map_or(PAGE, |most| most.clamp(1, PAGE as i64) as usize);
    let (mut schedules, mut after, mut next) = (Vec::new(), from.name().map(str::to_owned), None);
    for looked in 1.. {
        let found = listed(call, &begin, after).await?;
        let has_more = !found.is_empty();
        after = found.last().and_then(|one| one["name"].as_str()).map(str::to_owned);
        for one in found.into_iter().filter(is_wanted) {
            if schedules.len() == most {
                next = schedules.last().and_then(|last: &Json| last["name"].as_str()).map(Token::after);
                break;
            }
            schedules.push(one);
        }
        if next.is_some() || !has_more {
            break;
        }
        if looked == LOOKED_MAX {
            // A page may have fewer than were asked for, and another one after it.
            next = after.as_deref().map(Token::after);
            break;
        }
    }
    let shown = |one: &Json| {
        Value::structure()
            .with("Arn", one["arn"].as_str())
            .with("Name", named(one).1)
            .with("GroupName", named(one).0)
            .with("State", state(one))
            .with("CreationDate", time(&one["created_ms"]))
            .with("LastModificationDate", time(&one["modified_ms"]))
            .with("Target", Value::structure().with("Arn", events::recipient_arn(call, one)))
    };
    let schedules: Vec<Value> = schedules.iter().map(shown).collect();
    Ok(Value::structure().with("Schedules", schedules).with("NextToken", next))
}

async fn delete_schedule(call: &Call<'_>) -> Result<Value, Fault> {
    let name = schedule(call);
    if let Err(missing) = described_schedule(call, &name).await {
        return call.remembered.answered_before("DeleteSchedule", &call.input).ok_or(missing);
    }
    call.ask(Request::ScheduleDelete(ScheduleNamed { name })).await.map_err(fault)?;
    call.remembered.keep_answer("DeleteSchedule", &call.input, &Value::structure());
    Ok(Value::structure())
}
