//! SQS: permissions, which are statements of a queue's policy. The policy is kept and given back, and not evaluated.

use forebay_engine::api::notes::Annotate;
use forebay_engine::api::Request;
use serde_json::{json, Value as Json};

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::sqs::{fault, invalid};
use crate::aws::services::sqs_attributes::NOTE_POLICY;
use crate::aws::value::Value;

/// Most actions of a permission. <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_AddPermission.html>
const ACTIONS_MAX: usize = 7;

/// The policy of a queue, and the queue's name.
async fn policy(call: &Call<'_>) -> Result<(String, Json), Fault> {
    let name = call.queue()?;
    let queue = call.described_queue(name.clone()).await?;
    let text = queue["notes"][NOTE_POLICY].as_str().unwrap_or_default();
    let policy = serde_json::from_str::<Json>(text).ok().filter(|policy| policy["Statement"].is_array());
    let id = format!("{}/SQSDefaultPolicy", queue["arn"].as_str().unwrap_or_default());
    Ok((name, policy.unwrap_or_else(|| json!({"Version": "2012-10-17", "Id": id, "Statement": []}))))
}

async fn keep(call: &Call<'_>, name: String, policy: &Json) -> Result<Value, Fault> {
    let is_empty = policy["Statement"].as_array().is_none_or(Vec::is_empty);
    let text = (!is_empty).then(|| policy.to_string());
    let annotate = Annotate { name, notes: [(NOTE_POLICY.to_owned(), text)].into() };
    call.ask(Request::QueueAnnotate(annotate)).await.map_err(fault)?;
    Ok(Value::structure())
}

pub(super) async fn add_permission(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let label = input.needed("Label");
    let actions: Vec<String> = input.texts("Actions").map(|action| format!("SQS:{action}")).collect();
    let accounts: Vec<String> = input.texts("AWSAccountIds").map(|id| format!("arn:aws:iam::{id}:root")).collect();
    if actions.is_empty() || actions.len() > ACTIONS_MAX || accounts.is_empty() {
        let text = format!("A permission has an account and 1 to {ACTIONS_MAX} actions; {} are given.", actions.len());
        return Err(invalid(text));
    }
    let (name, mut policy) = policy(call).await?;
    let arn = format!("arn:aws:sqs:{}:{}:{name}", call.region, call.account);
    let Some(statements) = policy["Statement"].as_array_mut() else { return keep(call, name, &policy).await };
    if statements.iter().any(|one| one["Sid"] == label) {
        return Err(invalid(format!("Value {label} for parameter Label is invalid. Reason: Already exists.")));
    }
    statements.push(json!({
        "Sid": label, "Effect": "Allow", "Principal": {"AWS": accounts}, "Action": actions, "Resource": arn,
    }));
    keep(call, name, &policy).await
}

pub(super) async fn remove_permission(call: &Call<'_>) -> Result<Value, Fault> {
    let label = call.input.needed("Label");
    let (name, mut policy) = policy(call).await?;
    let Some(statements) = policy["Statement"].as_array_mut() else { return keep(call, name, &policy).await };
    let before = statements.len();
    statements.retain(|one| one["Sid"] != label);
    if statements.len() == before {
        return Err(invalid(format!(
            "Value {label} for parameter Label is invalid. Reason: can't find label on existing policy."
        )));
    }
    keep(call, name, &policy).await
}
