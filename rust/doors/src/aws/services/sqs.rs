//! SQS: queues, their tags and redrives.

use forebay_engine::api::notes::Annotate;
use forebay_engine::api::queue::{Before, Declare, Named, Redrive, Settings};
use forebay_engine::api::{Empty, Request};
use forebay_engine::base::error::EngineError;
use serde_json::Value as Json;

use crate::aws::call::{unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::services::page::{page, Token};
use crate::aws::services::sqs_attributes::{attributes_of, changed, is_same, refused_settings, NoteChanges, NOTE_TAG};
use crate::aws::services::sqs_messages::{
    change_message_visibility, change_message_visibility_batch, delete_message, delete_message_batch, receive_message,
    send_message, send_message_batch,
};
use crate::aws::services::sqs_permissions::{add_permission, remove_permission};
use crate::aws::value::{Fields, Key, Value};

super::operations! {
    CreateQueue => create_queue,
    GetQueueUrl => get_queue_url,
    ListQueues => list_queues,
    GetQueueAttributes => get_queue_attributes,
    SetQueueAttributes => set_queue_attributes,
    DeleteQueue => delete_queue,
    PurgeQueue => purge_queue,
    SendMessage => send_message,
    SendMessageBatch => send_message_batch,
    ReceiveMessage => receive_message,
    DeleteMessage => delete_message,
    DeleteMessageBatch => delete_message_batch,
    ChangeMessageVisibility => change_message_visibility,
    ChangeMessageVisibilityBatch => change_message_visibility_batch,
    TagQueue => tag_queue,
    UntagQueue => untag_queue,
    ListQueueTags => list_queue_tags,
    ListDeadLetterSourceQueues => list_dead_letter_source_queues,
    StartMessageMoveTask => start_message_move_task,
    ListMessageMoveTasks => list_message_move_tasks,
    CancelMessageMoveTask => cancel_message_move_task,
    AddPermission => add_permission,
    RemovePermission => remove_permission,
}

/// Most messages that a task moves in a second, and most tasks of an answer.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html>
const MOVE_RATE_MAX: i64 = 500;
const MOVES_MAX: i64 = 10;
/// Most tags of a queue.
const TAGS_MAX: usize = 50;
/// Most bytes of a queue's URL: the name of a server and a path of some hundred.
const URL_MAX: usize = 2_048;
/// Most names of a list of attributes, and most bytes of all. A message has ten attributes, and a receive waits with its list.
const NAMES_MAX: usize = 100;
const NAMES_BYTES_MAX: usize = 8_192;
/// How often a change is tried that another one came before.
const TRIES: usize = 100;

/// An engine's refusal in SQS's words.
pub(super) fn fault(error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(_) => no_queue(),
        EngineError::Invalid(text) | EngineError::TooLarge(text) => refusal(text),
        EngineError::Conflict(text) => {
            Fault::new("UnsupportedOperation", text).code("AWS.SimpleQueueService.UnsupportedOperation")
        }
        EngineError::TooMany { message, reason, retry_after_ms } => {
            let name = if reason == "OverLimit" { "OverLimit" } else { "RequestThrottled" };
            Fault { retry_after_ms: Some(retry_after_ms), ..Fault::new(name, message) }
        }
        error => unavailable(&error),
    }
}

/// The kind of a mistake is in the engine's text, which is AWS's.
fn refusal(text: String) -> Fault {
    if text.starts_with("The request must contain the parameter") {
        return Fault::new("MissingRequiredParameterException", text).code("MissingParameter");
    }
    if text.starts_with("The input receipt handle") {
        return Fault::new("ReceiptHandleIsInvalid", text);
    }
    if text.starts_with("Batch requests cannot be longer") {
        return Fault::new("BatchRequestTooLong", text).code("AWS.SimpleQueueService.BatchRequestTooLong");
    }
    if text.starts_with("Invalid characters found") {
        return Fault::new("InvalidMessageContents", text);
    }
    if text.contains("not available for visibility timeout change") {
        return Fault::new("MessageNotInflight", text).code("AWS.SimpleQueueService.MessageNotInflight");
    }
    invalid(of_attributes(text))
}

/// A text on attributes of a message, which have another name in code.
pub(super) fn of_attributes(text: String) -> String {
    text.strip_prefix("attributes: ").map(|what| format!("MessageAttributes: {what}")).unwrap_or(text)
}

/// A parameter with a wrong value.
pub(super) fn invalid(text: impl Into<String>) -> Fault {
    Fault::new("InvalidParameterValueException", text).code("InvalidParameterValue")
}

fn no_queue() -> Fault {
    let text = "The specified queue does not exist.";
    Fault::new("QueueDoesNotExist", text).code("AWS.SimpleQueueService.NonExistentQueue")
}

/// The queue that the URL of the input names.
pub(super) fn queue(call: &Call<'_>) -> Result<String, Fault> {
    let url = call.input.needed("QueueUrl");
    if url.len() > URL_MAX {
        return Err(no_queue());
    }
    let mut parts = url.rsplit('/');
    let (name, account) = (parts.next().unwrap_or_default(), parts.next());
    // A bare name is what some clients give.
    if name.is_empty() || account.is_some_and(|account| account != call.account) {
        return Err(no_queue());
    }
    Ok(name.to_owned())
}

/// The names of a list of attributes.
pub(super) fn names<'a>(call: &'a Call<'_>, member: &'static str) -> Result<Vec<&'a str>, Fault> {
    let names: Vec<&str> = call.input.texts(member).collect();
    if names.len() > NAMES_MAX || names.iter().map(|name| name.len()).sum::<usize>() > NAMES_BYTES_MAX {
        let reason = format!("At most {NAMES_MAX} names of {NAMES_BYTES_MAX} bytes together are allowed.");
        return Err(invalid(format!("Value for parameter {member} is invalid. Reason: {reason}")));
    }
    Ok(names)
}

fn queue_url(call: &Call<'_>, name: &str) -> String {
    format!("{}/{}/{name}", call.origin, call.account)
}

pub(super) async fn described_queue(call: &Call<'_>, name: String) -> Result<Json, Fault> {
    call.ask(Request::QueueDescribe(Named { name })).await.map_err(fault)
}

/// A queue by its ARN.
fn queue_of_arn(call: &Call<'_>, arn: &str) -> Result<String, Fault> {
    let prefix = format!("arn:aws:sqs:{}:{}:", call.region, call.account);
    let name = arn.strip_prefix(&prefix).filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or_else(|| {
        Fault::new(
            "ResourceNotFoundException",
            "The resource that you specified for the SourceArn parameter doesn't exist.",
        )
        .status(404)
    })
}

/// The answer to who would create a queue that there is; `None`: there is none.
async fn created_before(call: &Call<'_>, name: &str) -> Option<Result<Value, Fault>> {
    let existing = described_queue(call, name.to_owned()).await.ok()?;
    if let Some(other) = is_same(call, &existing, call.input.entries("Attributes")) {
        let text = format!("A queue already exists with the same name and a different value for attribute {other}");
        return Some(Err(Fault::new("QueueNameExists", text).code("QueueAlreadyExists")));
    }
    Some(Ok(Value::structure().with("QueueUrl", queue_url(call, name))))
}

async fn create_queue(call: &Call<'_>) -> Result<Value, Fault> {
    let name = call.input.needed("QueueName").to_owned();
    let given = call.input.entries("Attributes");
    if let Some(answer) = created_before(call, &name).await {
        return answer;
    }
    let (settings, mut notes) = changed(call, &name, None, given)?;
    let tags = call.input.entries("tags");
    if tags.len() > TAGS_MAX {
        return Err(invalid(format!("Too many tags added for queue {name}.")));
    }
    for (key, value) in tags {
        notes.insert(tag_note(key)?, value.as_text().map(str::to_owned));
    }
    // All in one: of a queue that was made in part, this request would say for ever that it is another one.
    let declare = Declare { name: name.clone(), settings, notes, only_new: true, instead_of: None };
    match call.ask(Request::QueueDeclare(declare)).await {
        Ok(_) => Ok(Value::structure().with("QueueUrl", queue_url(call, &name))),
        Err(conflict @ EngineError::Conflict(_)) => {
            created_before(call, &name).await.unwrap_or_else(|| Err(fault(conflict)))
        }
        Err(EngineError::Invalid(text)) if text.starts_with("name is") => {
            Err(invalid("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"))
        }
        Err(error) => Err(refused_settings(error, given)),
    }
}

/// Change a queue that is as it was described; false: another change came before.
async fn change(
    call: &Call<'_>,
    existing: Json,
    (settings, notes): (Settings, NoteChanges),
) -> Result<bool, EngineError> {
    let name = existing["name"].as_str().unwrap_or_default().to_owned();
    let before: Before = serde_json::from_value(existing).map_err(|error| EngineError::Invalid(error.to_string()))?;
    let declare = Declare { name, settings, notes, only_new: false, instead_of: Some(before) };
    match call.ask(Request::QueueDeclare(declare)).await {
        Ok(_) => Ok(true),
        Err(EngineError::Conflict(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Change a queue by what it is; `of` is asked again where another change came before, so that both hold.
pub(super) async fn change_queue(
    call: &Call<'_>,
    of: impl Fn(&str, &Json) -> Result<(Settings, NoteChanges), Fault>,
) -> Result<Value, Fault> {
    let name = queue(call)?;
    for _ in 0..TRIES {
        let existing = described_queue(call, name.clone()).await?;
        let changes = of(&name, &existing)?;
        let done = change(call, existing, changes).await;
        if done.map_err(|error| refused_settings(error, call.input.entries("Attributes")))? {
            return Ok(Value::structure());
        }
    }
    Err(fault(EngineError::Conflict(format!("Queue {name} is changed too often: try again."))))
}

async fn get_queue_url(call: &Call<'_>) -> Result<Value, Fault> {
    let name = call.input.needed("QueueName").to_owned();
    if call.input.text("QueueOwnerAWSAccountId").is_some_and(|account| account != call.account) {
        return Err(no_queue());
    }
    described_queue(call, name.clone()).await?;
    Ok(Value::structure().with("QueueUrl", queue_url(call, &name)))
}

async fn list_queues(call: &Call<'_>) -> Result<Value, Fault> {
    let prefix = call.input.text("QueueNamePrefix").unwrap_or_default();
    let listed = call.ask(Request::QueueList(Empty {})).await.map_err(fault)?;
    let mut names: Vec<&str> = listed.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    names.retain(|name| name.starts_with(prefix));
    names.sort_unstable();
    queue_urls(call, names, "QueueUrls")
}

/// A page of URLs. Without `MaxResults` there is one page of a thousand.
fn queue_urls(call: &Call<'_>, names: Vec<&str>, member: &'static str) -> Result<Value, Fault> {
    let most = match call.input.int("MaxResults") {
        Some(most) if !(1..=1000).contains(&most) => {
            let reason = "MaxResults must be an integer between 1 and 1000.";
            return Err(invalid(format!("Value {most} for parameter MaxResults is invalid. Reason: {reason}")));
        }
        most => most.map(|most| most as usize),
    };
    let wrong = || invalid("Invalid or expired next token.");
    let (names, next) =
        page(names, most.unwrap_or(1000), Token::read(call.input.text("NextToken")).ok_or_else(wrong)?, |name| name);
    let urls: Vec<String> = names.into_iter().map(|name| queue_url(call, name)).collect();
    let listed = if urls.is_empty() && member == "QueueUrls" { Value::Null } else { urls.into() };
    Ok(Value::structure().with(member, listed).with("NextToken", next.filter(|_| most.is_some())))
}

async fn get_queue_attributes(call: &Call<'_>) -> Result<Value, Fault> {
    let queue = described_queue(call, queue(call)?).await?;
    let attributes = attributes_of(call, &queue);
    let wanted = names(call, "AttributeNames")?;
    let mut given = Fields::new();
    for name in &wanted {
        if !crate::aws::services::sqs_attributes::is_known(name) && *name != "All" {
            return Err(Fault::new("InvalidAttributeName", format!("Unknown Attribute {name}.")));
        }
    }
    for (name, value) in attributes {
        if wanted.contains(&"All") || wanted.contains(&name) {
            given.push((Key::Borrowed(name), value.into()));
        }
    }
    let attributes = if given.is_empty() { Value::Null } else { Value::Map(given) };
    Ok(Value::structure().with("Attributes", attributes))
}

async fn set_queue_attributes(call: &Call<'_>) -> Result<Value, Fault> {
    let given = call.input.entries("Attributes");
    change_queue(call, |name, existing| changed(call, name, Some(existing), given)).await
}

async fn delete_queue(call: &Call<'_>) -> Result<Value, Fault> {
    call.ask(Request::QueueDelete(Named { name: queue(call)? })).await.map_err(fault)?;
    Ok(Value::structure())
}

async fn purge_queue(call: &Call<'_>) -> Result<Value, Fault> {
    call.ask(Request::QueuePurge(Named { name: queue(call)? })).await.map_err(fault)?;
    Ok(Value::structure())
}

/// The note that is a tag.
fn tag_note(key: &str) -> Result<String, Fault> {
    if key.to_ascii_lowercase().starts_with("aws:") {
        return Err(invalid(format!("Tag keys that begin with aws: are AWS's own; {key} is not allowed.")));
    }
    Ok(format!("{NOTE_TAG}{key}"))
}

async fn tag_queue(call: &Call<'_>) -> Result<Value, Fault> {
    let name = queue(call)?;
    let tags = call.input.entries("Tags").iter();
    let notes = tags.map(|(key, value)| Ok((tag_note(key)?, value.as_text().map(str::to_owned))));
    let notes: std::collections::BTreeMap<_, _> = notes.collect::<Result<_, Fault>>()?;
    let existing = described_queue(call, name.clone()).await?;
    let kept = existing["notes"].as_object().into_iter().flatten();
    let kept = kept.filter(|(note, _)| note.starts_with(NOTE_TAG) && !notes.contains_key(*note)).count();
    if kept + notes.len() > TAGS_MAX {
        return Err(invalid(format!("Too many tags added for queue {name}.")));
    }
    call.ask(Request::QueueAnnotate(Annotate { name, notes })).await.map_err(fault)?;
    Ok(Value::structure())
}

async fn untag_queue(call: &Call<'_>) -> Result<Value, Fault> {
    let notes = call.input.texts("TagKeys").map(|key| (format!("{NOTE_TAG}{key}"), None)).collect();
    call.ask(Request::QueueAnnotate(Annotate { name: queue(call)?, notes })).await.map_err(fault)?;
    Ok(Value::structure())
}

async fn list_queue_tags(call: &Call<'_>) -> Result<Value, Fault> {
    let queue = described_queue(call, queue(call)?).await?;
    let notes = queue["notes"].as_object().into_iter().flatten();
    let tags = notes.filter_map(|(note, text)| {
        Some((Key::Owned(note.strip_prefix(NOTE_TAG)?.to_owned()), text.as_str().unwrap_or_default().into()))
    });
    let tags: Fields = tags.collect();
    Ok(Value::structure().with("Tags", if tags.is_empty() { Value::Null } else { Value::Map(tags) }))
}

async fn list_dead_letter_source_queues(call: &Call<'_>) -> Result<Value, Fault> {
    let queue = described_queue(call, queue(call)?).await?;
    let sources = queue["dead_letter_sources"].as_array().into_iter().flatten();
    let mut names: Vec<&str> = sources.filter_map(Json::as_str).collect();
    names.sort_unstable();
    queue_urls(call, names, "queueUrls")
}

async fn start_message_move_task(call: &Call<'_>) -> Result<Value, Fault> {
    let arn = call.input.needed("SourceArn");
    let name = queue_of_arn(call, arn)?;
    let to = call.input.text("DestinationArn").map(|arn| queue_of_arn(call, arn)).transpose()?;
    let rate = within(call, "MaxNumberOfMessagesPerSecond", MOVE_RATE_MAX)?.map(|rate| rate as f64);
    call.ask(Request::QueueRedrive(Redrive { name: name.clone(), to, rate })).await.map_err(move_fault)?;
    let began_ms = described_queue(call, name).await?["redrive"]["began_ms"].as_i64();
    Ok(Value::structure().with("TaskHandle", task_handle(began_ms.unwrap_or_else(|| call.now_ms()), arn)))
}

/// A number of the input from 1 on.
fn within(call: &Call<'_>, member: &str, most: i64) -> Result<Option<i64>, Fault> {
    match call.input.int(member) {
        Some(number) if !(1..=most).contains(&number) => {
            let reason = format!("{member} must be an integer between 1 and {most}.");
            Err(invalid(format!("Value {number} for parameter {member} is invalid. Reason: {reason}")))
        }
        number => Ok(number),
    }
}

fn move_fault(error: EngineError) -> Fault {
    match error {
        // The engine names the queues that there are; a key may be one that must not know them.
        EngineError::NotFound(_) => {
            Fault::new("ResourceNotFoundException", "One or more specified resources don't exist.").status(404)
        }
        EngineError::Invalid(text) if text.contains("is not a queue's dead-letter queue") => {
            invalid("Source queue must be configured as a Dead Letter Queue.")
        }
        error => fault(error),
    }
}

/// A queue has one move at a time: when that began, and the queue's ARN, name it.
fn task_handle(began_ms: i64, arn: &str) -> String {
    crate::aws::protocol::text_of_bytes(format!("{began_ms} {arn}").as_bytes())
}

async fn list_message_move_tasks(call: &Call<'_>) -> Result<Value, Fault> {
    let arn = call.input.needed("SourceArn");
    within(call, "MaxResults", MOVES_MAX)?;
    let queue = described_queue(call, queue_of_arn(call, arn)?).await?;
    let redrive = &queue["redrive"];
    let mut results = Vec::new();
    if redrive.is_object() {
        let destination =
            redrive["to"].as_str().map(|name| format!("arn:aws:sqs:{}:{}:{name}", call.region, call.account));
        let is_running = redrive["status"] == "RUNNING";
        results.push(
            Value::structure()
                .with("TaskHandle", redrive["began_ms"].as_i64().filter(|_| is_running).map(|at| task_handle(at, arn)))
                .with("Status", redrive["status"].as_str())
                .with("SourceArn", arn)
                .with("DestinationArn", destination)
                .with("MaxNumberOfMessagesPerSecond", redrive["rate"].as_f64().map(|rate| rate as i64))
                .with("ApproximateNumberOfMessagesMoved", redrive["moved"].as_i64())
                .with("ApproximateNumberOfMessagesToMove", redrive["messages"].as_i64())
                .with("FailureReason", redrive["failure_reason"].as_str())
                .with("StartedTimestamp", redrive["began_ms"].as_i64()),
        );
    }
    Ok(Value::structure().with("Results", results))
}

async fn cancel_message_move_task(call: &Call<'_>) -> Result<Value, Fault> {
    let task = crate::aws::protocol::base64_text(call.input.needed("TaskHandle")).ok();
    let task = task.and_then(|bytes| String::from_utf8(bytes).ok());
    let missing = || Fault::new("ResourceNotFoundException", "The task handle does not exist.").status(404);
    let (began, arn) = task.as_deref().and_then(|task| task.split_once(' ')).ok_or_else(missing)?;
    let name = queue_of_arn(call, arn)?;
    let redrive = &described_queue(call, name.clone()).await?["redrive"];
    if redrive["status"] == "RUNNING" && redrive["began_ms"].as_i64() != began.parse().ok() {
        return Err(missing());
    }
    let moved = call.ask(Request::QueueCancelRedrive(Named { name })).await.map_err(move_fault)?;
    Ok(Value::structure().with("ApproximateNumberOfMessagesMoved", moved["moved"].as_i64()))
}
