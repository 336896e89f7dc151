//! EventBridge Scheduler: groups of schedules, and their tags.

use forebay_engine::api::bus::{CreateGroup, ScheduleNamed};
use forebay_engine::api::notes::Annotate;
use forebay_engine::api::{Empty, Request};
use forebay_engine::base::error::EngineError;
use serde_json::Value as Json;

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::events_tags::{check_tags, tag_notes, tags_of, untagged};
use crate::aws::services::page::{page, Token};
use crate::aws::services::scheduler::{fault, time, PAGE};
use crate::aws::value::Value;

fn named(call: &Call<'_>) -> ScheduleNamed {
    ScheduleNamed { name: call.input.needed("Name").to_owned() }
}

pub(super) async fn create_schedule_group(call: &Call<'_>) -> Result<Value, Fault> {
    let notes = tag_notes(call.input.list("Tags"));
    check_tags(&Json::Null, &notes)?;
    let create = CreateGroup { name: call.input.needed("Name").to_owned(), notes };
    let made = match call.ask(Request::ScheduleGroupCreate(create)).await {
        Err(conflict @ EngineError::Conflict(_)) => {
            return call.remembered.answered_before("CreateScheduleGroup", &call.input).ok_or_else(|| fault(conflict));
        }
        made => made.map_err(fault)?,
    };
    let answer = Value::structure().with("ScheduleGroupArn", made["arn"].as_str());
    call.remembered.keep_answer("CreateScheduleGroup", &call.input, &answer);
    Ok(answer)
}

fn group(given: &Json) -> Value {
    Value::structure()
        .with("Arn", given["arn"].as_str())
        .with("Name", given["name"].as_str())
        .with("State", "ACTIVE")
        .with("CreationDate", time(&given["created_ms"]))
        .with("LastModificationDate", time(&given["created_ms"]))
}

pub(super) async fn get_schedule_group(call: &Call<'_>) -> Result<Value, Fault> {
    Ok(group(&call.ask(Request::ScheduleGroupDescribe(named(call))).await.map_err(fault)?))
}

pub(super) async fn list_schedule_groups(call: &Call<'_>) -> Result<Value, Fault> {
    let listed = call.ask(Request::ScheduleGroupList(Empty {})).await.map_err(fault)?;
    let prefix = call.input.text("NamePrefix").unwrap_or_default();
    let mut groups: Vec<&Json> = listed.as_array().into_iter().flatten().collect();
    groups.retain(|one| one["name"].as_str().is_some_and(|name| name.starts_with(prefix)));
    let from = Token::read(call.input.text("NextToken")).ok_or_else(|| Fault::validation("NextToken is invalid."))?;
    let most = call.input.int("MaxResults").map_or(PAGE, |most| most.clamp(1, PAGE as i64) as usize);
    let (groups, next) = page(groups, most, from, |one| one["name"].as_str().unwrap_or_default());
    let groups: Vec<Value> = groups.into_iter().map(group).collect();
    Ok(Value::structure().with("ScheduleGroups", groups).with("NextToken", next))
}

pub(super) async fn delete_schedule_group(call: &Call<'_>) -> Result<Value, Fault> {
    match call.ask(Request::ScheduleGroupDelete(named(call))).await {
        Err(missing @ EngineError::NotFound(_)) => {
            return call.remembered.answered_before("DeleteScheduleGroup", &call.input).ok_or_else(|| fault(missing));
        }
        deleted => deleted.map_err(fault)?,
    };
    call.remembered.keep_answer("DeleteScheduleGroup", &call.input, &Value::structure());
    Ok(Value::structure())
}

/// The group that an ARN names.
async fn tagged(call: &Call<'_>) -> Result<(String, Json), Fault> {
    let arn = call.input.needed("ResourceArn");
    let prefix = format!("arn:aws:scheduler:{}:{}:schedule-group/", call.region, call.account);
    let Some(name) = arn.strip_prefix(&prefix).map(str::to_owned) else {
        return Err(Fault::validation(format!("Resource {arn} has no tags: schedule groups have them.")));
    };
    let asked = Request::ScheduleGroupDescribe(ScheduleNamed { name: name.clone() });
    Ok((name, call.ask(asked).await.map_err(fault)?))
}

pub(super) async fn tag_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let (name, described) = tagged(call).await?;
    let notes = tag_notes(call.input.list("Tags"));
    check_tags(&described, &notes)?;
    call.ask(Request::ScheduleGroupAnnotate(Annotate { name, notes })).await.map_err(fault)?;
    Ok(Value::structure())
}

pub(super) async fn untag_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let (name, _) = tagged(call).await?;
    call.ask(Request::ScheduleGroupAnnotate(Annotate { name, notes: untagged(call) })).await.map_err(fault)?;
    Ok(Value::structure())
}

pub(super) async fn list_tags_for_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let (_, described) = tagged(call).await?;
    Ok(Value::structure().with("Tags", tags_of(&described)))
}
