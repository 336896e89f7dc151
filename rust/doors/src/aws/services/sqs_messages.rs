//! SQS: sending, receiving, deleting, holding back.

use std::collections::BTreeSet;

use forebay_engine::api::queue::{ChangeVisibility, DeleteMessage, DeleteMessages, Receive, Send};
use forebay_engine::api::Request;
use forebay_engine::base::bytes::hex;
use forebay_engine::base::error::EngineError;
use forebay_engine::base::ids::uuid_text;
use forebay_engine::payload::message::{is_binary, receipt_text, Attribute, NewMessage, BODY_MAX};
use forebay_engine::payload::messages::{Item, MessageIds, Messages, QueueSource};
use md5::{Digest, Md5};
use serde_json::Value as Json;

use crate::ask::typed;
use crate::aws::call::{ended, typed_of, Call};
use crate::aws::fault::Fault;
use crate::aws::protocol::{base64_text, text_of_bytes};
use crate::aws::services::sqs::{self, fault, invalid};
use crate::aws::services::sqs_attributes::{is_fifo, is_known, receive_wait_ms, unknown};
use crate::aws::value::{Fields, Key, Value};

/// What a message says of itself.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
const SYSTEM_ATTRIBUTES: [&str; 10] = [
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
];
/// Most entries of a batch.
const ENTRIES_MAX: usize = 10;
/// Most characters of an entry's id.
const ID_MAX: usize = 80;
/// Most characters of a `ReceiveRequestAttemptId`.
const ATTEMPT_ID_MAX: usize = 128;

/// A message out of the input of a send, or of one entry of a batch, and the sum of its attributes.
fn message_of(given: &Value) -> Result<(NewMessage, Option<String>), Fault> {
    let mut attributes = Vec::new();
    for (name, value) in given.entries("MessageAttributes") {
        attributes.push(attribute(name, value)?);
    }
    let sum = md5_of_attributes(&attributes);
    let delay_ms = match given.int("DelaySeconds") {
        Some(seconds) if !(0..=900).contains(&seconds) => {
            return Err(invalid(format!(
                "Value {seconds} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."
            )))
        }
        seconds => seconds.map(|seconds| seconds as u64 * 1000),
    };
    let message = NewMessage {
        body: given.needed("MessageBody").to_owned(),
        group_id: given.text("MessageGroupId").map(str::to_owned),
        deduplication_id: given.text("MessageDeduplicationId").map(str::to_owned),
        delay_ms,
        attributes,
    };
    Ok((message, sum))
}

fn attribute(name: &str, given: &Value) -> Result<Attribute, Fault> {
    let data_type = given.needed("DataType").to_owned();
    let value = match (given.text("StringValue"), given.blob("BinaryValue")) {
        (None, Some(bytes)) if is_binary(&data_type) => text_of_bytes(bytes),
        (Some(text), None) if !is_binary(&data_type) => text.to_owned(),
        _ => {
            let text = format!("The message attribute '{name}' must contain a non-empty message attribute value for message attribute type '{data_type}'.");
            return Err(invalid(text));
        }
    };
    Ok(Attribute { name: name.to_owned(), data_type, value })
}

/// `MD5OfMessageAttributes`: lengths, names, types and values, in the order of the names.
fn md5_of_attributes(attributes: &[Attribute]) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut sorted: Vec<&Attribute> = attributes.iter().collect();
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    let mut sum = Md5::new();
    for attribute in sorted {
        let is_binary = is_binary(&attribute.data_type);
        let value = if is_binary {
            base64_text(&attribute.value).unwrap_or_default()
        } else {
            attribute.value.clone().into_bytes()
        };
        for text in [&attribute.name, &attribute.data_type] {
            sum.update((text.len() as u32).to_be_bytes());
            sum.update(text);
        }
        sum.update([1 + u8::from(is_binary)]);
        sum.update((value.len() as u32).to_be_bytes());
        sum.update(value);
    }
    Some(hex(&sum.finalize()))
}

/// The trace that a sender gives as AWS's header, in W3C's form, and the sum of what holds it.
fn trace_of(given: &Value) -> Result<(Option<String>, Option<String>), Fault> {
    let system = given.entries("MessageSystemAttributes");
    if let Some((name, _)) = system.iter().find(|(name, _)| name != "AWSTraceHeader") {
        return Err(invalid(format!("Message system attribute name '{name}' is invalid.")));
    }
    let Some((name, value)) = system.first() else { return Ok((None, None)) };
    let held = attribute(name, value)?;
    Ok((w3c_trace(&held.value), md5_of_attributes(&[held])))
}

/// `Root=1-…;Parent=…;Sampled=1` as a `traceparent`.
fn w3c_trace(header: &str) -> Option<String> {
    let part = |name: &str| header.split(';').find_map(|part| part.trim().strip_prefix(name));
    let root: String = part("Root=1-")?.chars().filter(|one| *one != '-').collect();
    let parent = part("Parent=")?;
    let is_hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|one| one.is_ascii_hexdigit());
    let sampled = if part("Sampled=") == Some("1") { "01" } else { "00" };
    (is_hex(&root, 32) && is_hex(parent, 16)).then(|| format!("00-{root}-{parent}-{sampled}"))
}

/// A `traceparent` as AWS's header.
fn aws_trace(context: &str) -> Option<String> {
    let parts: Vec<&str> = context.lines().next()?.split('-').collect();
    let [_, root, parent, flags] = parts[..] else { return None };
    let (time, rest) = root.split_at_checked(8)?;
    Some(format!("Root=1-{time}-{rest};Parent={parent};Sampled={}", u8::from(flags.ends_with('1'))))
}

/// A message on its way, and the sums that its sender is told.
struct Sending<'c> {
    given: &'c Value,
    message: NewMessage,
    trace: Option<String>,
    sums: [(&'static str, Option<String>); 3],
}

impl<'c> Sending<'c> {
    fn of(given: &'c Value) -> Result<Self, Fault> {
        let (message, sum) = message_of(given)?;
        let (trace, system) = trace_of(given)?;
        let sums = [
            ("MD5OfMessageBody", Some(hex(&Md5::digest(message.body.as_bytes())))),
            ("MD5OfMessageAttributes", sum),
            ("MD5OfMessageSystemAttributes", system),
        ];
        Ok(Self { given, message, trace, sums })
    }

    fn bytes(&self) -> usize {
        self.message.body.len() + self.message.attributes.iter().map(Attribute::size).sum::<usize>()
    }
}

/// The id of a message, and its number if its queue is FIFO.
type Named = (u128, Option<u64>);

/// Send messages; how they are named, in their order.
async fn send_all(call: &Call<'_>, send: Send) -> Result<Vec<Named>, EngineError> {
    let sent = typed(|waiter| call.engine.call(Request::QueueSend(send), waiter)).await?;
    let ids: &MessageIds = typed_of(&sent)?;
    Ok(ids.all().collect())
}

fn sent((id, number): Named, sums: [(&'static str, Option<String>); 3]) -> Value {
    let number = number.map(|number| number.to_string());
    let told = Value::structure().with("MessageId", uuid_text(id)).with("SequenceNumber", number);
    sums.into_iter().fold(told, |told, (name, sum)| told.with(name, sum))
}

pub(super) async fn send_message(call: &Call<'_>) -> Result<Value, Fault> {
    let Sending { message, trace, sums, .. } = Sending::of(&call.input)?;
    let send = Send { name: sqs::queue(call)?, messages: vec![message], parent: None, trace };
    let ids = send_all(call, send).await.map_err(fault)?;
    Ok(sent(ids.first().copied().unwrap_or_default(), sums))
}

/// The entries of a batch by their ids.
fn entries<'c>(call: &'c Call<'_>) -> Result<Vec<(&'c str, &'c Value)>, Fault> {
    let given = call.input.list("Entries");
    let batch = |name: &'static str, code: &'static str, text: String| Err(Fault::new(name, text).code(code));
    if given.is_empty() {
        let text = "There should be at least one entry in the request.".to_owned();
        return batch("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", text);
    }
    if given.len() > ENTRIES_MAX {
        let text = format!("Maximum number of entries per request are {ENTRIES_MAX}. You have sent {}.", given.len());
        let code = "AWS.SimpleQueueService.TooManyEntriesInBatchRequest";
        return batch("TooManyEntriesInBatchRequest", code, text);
    }
    let mut seen = BTreeSet::new();
    for entry in given {
        let id = entry.needed("Id");
        if !is_entry_id(id) {
            let text = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.";
            return batch("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId", text.to_owned());
        }
        if !seen.insert(id) {
            let code = "AWS.SimpleQueueService.BatchEntryIdsNotDistinct";
            return batch("BatchEntryIdsNotDistinct", code, format!("Id {id} repeated."));
        }
    }
    Ok(given.iter().map(|entry| (entry.needed("Id"), entry)).collect())
}

/// Whether an entry of a batch may have this id.
pub(super) fn is_entry_id(id: &str) -> bool {
    let is_word = id.bytes().all(|one| one.is_ascii_alphanumeric() || one == b'-' || one == b'_');
    !id.is_empty() && id.len() <= ID_MAX && is_word
}

fn failed(id: &str, fault: &Fault) -> Value {
    Value::structure()
        .with("Id", id)
        .with("SenderFault", fault.status < 500)
        .with("Code", fault.code.unwrap_or(&fault.name))
        .with("Message", fault.message.as_str())
}

fn batch_result(successful: Vec<Value>, failed: Vec<Value>) -> Value {
    let listed = |values: Vec<Value>| if values.is_empty() { Value::Null } else { Value::List(values) };
    Value::structure().with("Successful", Value::List(successful)).with("Failed", listed(failed))
}

/// Which message of several the engine refused, and why.
fn refused_entry(error: &EngineError) -> Option<(usize, EngineError)> {
    let split = |text: &str| {
        let (at, reason) = text.strip_prefix("messages[")?.split_once("]: ")?;
        Some((at.parse().ok()?, reason.to_owned()))
    };
    match error {
        EngineError::Invalid(text) => split(text).map(|(at, reason)| (at, EngineError::Invalid(reason))),
        EngineError::TooLarge(text) => split(text).map(|(at, reason)| (at, EngineError::TooLarge(reason))),
        _ => None,
    }
}

/// What has become of the entries of a batch so far.
#[derive(Default)]
struct Outcomes {
    successful: Vec<Value>,
    failed: Vec<Value>,
}

/// All entries that can be sent are sent, those of one trace in one commit; each of the others is told why it is not.
pub(super) async fn send_message_batch(call: &Call<'_>) -> Result<Value, Fault> {
    let name = sqs::queue(call)?;
    let mut outcomes = Outcomes::default();
    let mut runs: Vec<Vec<(&str, Sending<'_>)>> = Vec::new();
    let mut bytes = 0;
    for (id, entry) in entries(call)? {
        match Sending::of(entry) {
            Ok(sending) => {
                bytes += sending.bytes();
                match runs.last_mut().filter(|run| run[0].1.trace == sending.trace) {
                    Some(run) => run.push((id, sending)),
                    None => runs.push(vec![(id, sending)]),
                }
            }
            Err(fault) => outcomes.failed.push(failed(id, &fault)),
        }
    }
    if runs.len() > 1 && bytes > BODY_MAX {
        let text = format!("Batch requests cannot be longer than {BODY_MAX} bytes. You have sent {bytes} bytes.");
        return Err(fault(EngineError::TooLarge(text)));
    }
    // One after the other: messages of a group keep their order.
    for run in runs {
        let ids: Vec<&str> = run.iter().map(|(id, _)| *id).collect();
        match send_run(call, &name, run, &mut outcomes).await {
            Err(error) if outcomes.successful.is_empty() => return Err(fault(error)),
            // Whoever sent the others again would send twice what was sent.
            Err(error) => {
                let why = fault(error);
                let told: Vec<Value> = outcomes.failed.iter().filter_map(|one| one.get("Id").cloned()).collect();
                let others = ids.into_iter().filter(|id| !told.contains(&Value::from(*id)));
                outcomes.failed.extend(others.map(|id| failed(id, &why)));
            }
            Ok(()) => {}
        }
    }
    Ok(batch_result(outcomes.successful, outcomes.failed))
}

/// Send what has one trace; the error is one of all that is not among the outcomes.
async fn send_run(
    call: &Call<'_>,
    name: &str,
    mut run: Vec<(&str, Sending<'_>)>,
    outcomes: &mut Outcomes,
) -> Result<(), EngineError> {
    while !run.is_empty() {
        let is_alone = run.len() == 1;
        let mut messages = Vec::with_capacity(run.len());
        for (_, sending) in &mut run {
            messages.push(std::mem::take(&mut sending.message));
        }
        let send = Send { name: name.to_owned(), messages, parent: None, trace: run[0].1.trace.clone() };
        let error = match send_all(call, send).await {
            Ok(ids) => {
                let told = run.into_iter().zip(ids).map(|((id, sending), own)| sent(own, sending.sums).with("Id", id));
                outcomes.successful.extend(told);
                return Ok(());
            }
            Err(error) => error,
        };
        let (at, reason) = match refused_entry(&error) {
            Some((at, reason)) if at < run.len() => (at, reason),
            _ if is_alone && matches!(error, EngineError::Invalid(_) | EngineError::TooLarge(_)) => (0, error),
            _ => return Err(error),
        };
        outcomes.failed.push(failed(run.remove(at).0, &fault(reason)));
        // The others are read once more: they went with the request.
        for (_, sending) in &mut run {
            if let Ok((message, _)) = message_of(sending.given) {
                sending.message = message;
            }
        }
    }
    Ok(())
}

pub(super) async fn receive_message(call: &Call<'_>) -> Result<Value, Fault> {
    let name = sqs::queue(call)?;
    let input = &call.input;
    let maximum = input.int("MaxNumberOfMessages").unwrap_or(1);
    let wait = match input.int("WaitTimeSeconds") {
        Some(seconds) => seconds,
        None => (receive_wait_ms(&sqs::described_queue(call, name.clone()).await?) / 1000) as i64,
    };
    let within =
        |value: i64, high: i64, text: String| (0..=high).contains(&value).then_some(value).ok_or_else(|| invalid(text));
    let text = format!(
        "Value {maximum} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
    );
    let maximum = within(maximum, 10, text)?;
    let text =
        format!("Value {wait} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.");
    let wait = within(wait, 20, text)?;
    let visibility = input.int("VisibilityTimeout").map(visible_after).transpose()?;
    let wanted = Wanted::of(call)?;
    if input.text("ReceiveRequestAttemptId").is_some_and(|id| id.len() > ATTEMPT_ID_MAX) {
        let reason =
            "ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to 128 in length.";
        return Err(invalid(format!("Value for parameter ReceiveRequestAttemptId is invalid. Reason: {reason}")));
    }
    let receive = Receive {
        name,
        maximum: maximum as u32,
        wait_ms: wait as u64 * 1000,
        visibility_timeout_ms: visibility,
        attempt_id: input.text("ReceiveRequestAttemptId").map(str::to_owned),
    };
    let received = typed(|waiter| call.engine.call(Request::QueueReceive(receive), waiter)).await.map_err(fault)?;
    let received: &Messages = typed_of(&received).map_err(fault)?;
    let messages: Vec<Value> = wanted.messages(received).collect();
    Ok(Value::structure().with("Messages", if messages.is_empty() { Value::Null } else { Value::List(messages) }))
}

/// What a receiver wants to see.
struct Wanted<'c> {
    system: Vec<&'c str>,
    own: Vec<&'c str>,
}

impl<'c> Wanted<'c> {
    /// Thousands may wait with theirs: neither list is long.
    fn of(call: &'c Call<'_>) -> Result<Self, Fault> {
        let mut system = sqs::names(call, "AttributeNames")?;
        system.extend(sqs::names(call, "MessageSystemAttributeNames")?);
        // `AttributeNames` was one list for queues and messages: a queue's attribute is none of a message's, and no mistake.
        match system.iter().find(|name| !SYSTEM_ATTRIBUTES.contains(name) && !is_known(name)) {
            Some(name) => Err(unknown(name)),
            None => Ok(Self { system, own: sqs::names(call, "MessageAttributeNames")? }),
        }
    }

    fn has_own(&self, name: &str) -> bool {
        self.own.iter().any(|wanted| match wanted.strip_suffix(".*") {
            Some(prefix) => prefix.is_empty() || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')),
            None => *wanted == "All" || *wanted == name,
        })
    }

    fn messages<'m>(&'m self, received: &'m Messages) -> impl Iterator<Item = Value> + 'm {
        received.items.iter().map(|item| self.message(item, &received.source))
    }

    fn message(&self, item: &Item, source: &QueueSource) -> Value {
        let message = item.message();
        let mut system = Fields::new();
        if !self.system.is_empty() {
            let trace = item.trace().and_then(aws_trace).map(|trace| ("AWSTraceHeader", trace));
            for (name, text) in item.system_attributes(source).into_iter().chain(trace) {
                if self.system.iter().any(|wanted| *wanted == "All" || *wanted == name) {
                    system.push((Key::Borrowed(name), text.into()));
                }
            }
        }
        let (mut own, mut shown) = (Fields::new(), Vec::new());
        for (name, data_type, value) in message.attributes().filter(|(name, ..)| self.has_own(name)) {
            let attribute = Value::structure().with("DataType", data_type);
            let (attribute, value) = if is_binary(data_type) {
                (attribute.with("BinaryValue", Value::Blob(value.to_vec())), text_of_bytes(value))
            } else {
                let text = String::from_utf8_lossy(value).into_owned();
                (attribute.with("StringValue", text.as_str()), text)
            };
            own.push((Key::Owned(name.to_owned()), attribute));
            shown.push(Attribute { name: name.to_owned(), data_type: data_type.to_owned(), value });
        }
        let listed = |fields: Fields| if fields.is_empty() { Value::Null } else { Value::Map(fields) };
        Value::structure()
            .with("MessageId", uuid_text(message.id))
            .with("ReceiptHandle", receipt_text(source.log, item.delivery.handle))
            .with("MD5OfBody", message.md5_of_body())
            .with("Body", message.body)
            .with("Attributes", listed(system))
            .with("MD5OfMessageAttributes", md5_of_attributes(&shown))
            .with("MessageAttributes", listed(own))
    }
}

fn visible_after(seconds: i64) -> Result<u64, Fault> {
    let text = format!(
        "Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200, if provided."
    );
    (0..=43_200).contains(&seconds).then(|| seconds as u64 * 1000).ok_or_else(|| invalid(text))
}

/// A receipt that has expired is no mistake for who deletes from a standard queue: the message is somebody else's by now, or gone. In a
/// FIFO queue it is one: the message is done once more.
fn deleted(queue: &str, done: Result<Json, EngineError>) -> Result<(), Fault> {
    match done {
        Err(EngineError::Invalid(text)) if text.contains("The receipt handle has expired") && !is_fifo(queue) => Ok(()),
        Err(EngineError::Invalid(text)) if text.contains("Message does not exist") => Ok(()),
        done => done.map(drop).map_err(fault),
    }
}

pub(super) async fn delete_message(call: &Call<'_>) -> Result<Value, Fault> {
    let (name, receipt_handle) = (sqs::queue(call)?, call.input.needed("ReceiptHandle").to_owned());
    let asked = DeleteMessage { name: name.clone(), receipt_handle };
    deleted(&name, call.ask(Request::QueueDeleteMessage(asked)).await)?;
    Ok(Value::structure())
}

pub(super) async fn delete_message_batch(call: &Call<'_>) -> Result<Value, Fault> {
    let name = sqs::queue(call)?;
    let (ids, receipt_handles): (Vec<&str>, Vec<String>) =
        entries(call)?.into_iter().map(|(id, entry)| (id, entry.needed("ReceiptHandle").to_owned())).unzip();
    let asked = DeleteMessages { name: name.clone(), receipt_handles };
    let told = call.ask(Request::QueueDeleteMessages(asked)).await.map_err(fault)?;
    let (mut successful, mut refused) = (Vec::new(), Vec::new());
    for (id, why) in ids.into_iter().zip(told.as_array().into_iter().flatten()) {
        match deleted(&name, why.as_str().map_or(Ok(Json::Null), |why| Err(EngineError::Invalid(why.to_owned())))) {
            Ok(()) => successful.push(Value::structure().with("Id", id)),
            Err(fault) => refused.push(failed(id, &fault)),
        }
    }
    Ok(batch_result(successful, refused))
}

pub(super) async fn change_message_visibility(call: &Call<'_>) -> Result<Value, Fault> {
    let change = ChangeVisibility {
        name: sqs::queue(call)?,
        receipt_handle: call.input.needed("ReceiptHandle").to_owned(),
        visibility_timeout_ms: visible_after(call.input.int("VisibilityTimeout").unwrap_or(0))?,
    };
    call.ask(Request::QueueChangeVisibility(change)).await.map_err(fault)?;
    Ok(Value::structure())
}

pub(super) async fn change_message_visibility_batch(call: &Call<'_>) -> Result<Value, Fault> {
    let name = sqs::queue(call)?;
    sqs::described_queue(call, name.clone()).await?;
    let mut begun = Vec::new();
    let (mut successful, mut refused) = (Vec::new(), Vec::new());
    for (id, entry) in entries(call)? {
        match visible_after(entry.int("VisibilityTimeout").unwrap_or(0)) {
            Err(fault) => refused.push(failed(id, &fault)),
            Ok(visibility_timeout_ms) => {
                let receipt_handle = entry.needed("ReceiptHandle").to_owned();
                let change = ChangeVisibility { name: name.clone(), receipt_handle, visibility_timeout_ms };
                begun.push((id, call.begin(Request::QueueChangeVisibility(change))));
            }
        }
    }
    for (id, receiver) in begun {
        match ended(receiver).await {
            Ok(_) => successful.push(Value::structure().with("Id", id)),
            Err(error) => refused.push(failed(id, &fault(error))),
        }
    }
    Ok(batch_result(successful, refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_from_one_form_to_the_other_and_back() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let context = w3c_trace(header).unwrap();
        assert_eq!(context, "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01");
        assert_eq!(aws_trace(&context).as_deref(), Some(header));
        assert_eq!(w3c_trace("Root=1-x"), None);
    }

    #[test]
    fn names_of_attributes_may_end_in_a_wildcard() {
        let wanted = |own| Wanted { system: vec![], own };
        assert!(wanted(vec!["All"]).has_own("a"));
        assert!(wanted(vec![".*"]).has_own("a"));
        assert!(wanted(vec!["a.*"]).has_own("a.b"));
        assert!(!wanted(vec!["a.*"]).has_own("ab.c"));
        assert!(!wanted(vec![]).has_own("a"));
    }
}
