//! SQS: permissions, which are statements of a queue's policy. The policy is kept and given back, and not evaluated.

use forebay_engine::api::queue::Settings;
use serde_json::{json, Value as Json};

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::sqs::{change_queue, invalid};
use crate::aws::services::sqs_attributes::{changed, NoteChanges, NOTE_POLICY};
use crate::aws::value::Value;

/// Most actions of a permission. <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_AddPermission.html>
const ACTIONS_MAX: usize = 7;

/// The policy of a queue as it is described.
fn policy_of(queue: &Json) -> Json {
    let text = queue["notes"][NOTE_POLICY].as_str().unwrap_or_default();
    let policy = serde_json::from_str::<Json>(text).ok().filter(|policy| policy["Statement"].is_array());
    let id = format!("{}/SQSDefaultPolicy", queue["arn"].as_str().unwrap_or_default());
    policy.unwrap_or_else(|| json!({"Version": "2012-10-17", "Id": id, "Statement": []}))
}

/// Change the statements of a queue's policy.
async fn change_statements(
    call: &Call<'_>,
    change: impl Fn(&str, &mut Vec<Json>) -> Result<(), Fault>,
) -> Result<Value, Fault> {
    let changes = |name: &str, queue: &Json| -> Result<(Settings, NoteChanges), Fault> {
        let mut policy = policy_of(queue);
        if let Some(statements) = policy["Statement"].as_array_mut() {
            change(name, statements)?;
        }
        let is_empty = policy["Statement"].as_array().is_none_or(Vec::is_empty);
        let (settings, _) = changed(call, name, Some(queue), &[])?;
        Ok((settings, [(NOTE_POLICY.to_owned(), (!is_empty).then(|| policy.to_string()))].into()))
    };
    change_queue(call, changes).await
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
    change_statements(call, |name, statements| {
        let arn = format!("arn:aws:sqs:{}:{}:{name}", call.region, call.account);
        if statements.iter().any(|one| one["Sid"] == label) {
            return Err(invalid(format!("Value {label} for parameter Label is invalid. Reason: Already exists.")));
        }
        statements.push(json!({
            "Sid": label, "Effect": "Allow", "Principal": {"AWS": accounts}, "Action": actions, "Resource": arn,
        }));
        Ok(())
    })
    .await
}

pub(super) async fn remove_permission(call: &Call<'_>) -> Result<Value, Fault> {
    let label = call.input.needed("Label");
    change_statements(call, |_, statements| {
        let before = statements.len();
        statements.retain(|one| one["Sid"] != label);
        if statements.len() == before {
            return Err(invalid(format!(
                "Value {label} for parameter Label is invalid. Reason: can't find label on existing policy."
            )));
        }
        Ok(())
    })
    .await
}
