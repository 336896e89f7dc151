//! The attributes of a queue: which of its settings each is, and which are kept as notes.

use std::collections::BTreeMap;

use forebay_core::queue::dedup::Scope;
use forebay_engine::api::queue::Settings;
use forebay_engine::base::error::EngineError;
use serde_json::{json, Value as Json};

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::sqs::{fault, invalid};
use crate::aws::value::{Key, Value};

/// Begins the notes that are tags.
pub(super) const NOTE_TAG: &str = "tag:";
/// The note that is the policy.
pub(super) const NOTE_POLICY: &str = "sqs:Policy";
/// Begins the notes that are attributes.
const NOTE_ATTRIBUTE: &str = "sqs:";
/// Attributes that are kept and given back as they are, and on which nothing acts.
const NOTED: [&str; 2] = ["Policy", "RedriveAllowPolicy"];
/// Kept as well: the door waits for the first one, and the engine has no limit for the second to choose.
const WAIT: &str = "ReceiveMessageWaitTimeSeconds";
const THROUGHPUT: &str = "FifoThroughputLimit";
/// What `FifoThroughputLimit` is where nothing is said, and what needs a `DeduplicationScope` of `messageGroup`.
const PER_QUEUE: &str = "perQueue";
const PER_GROUP: &str = "perMessageGroupId";
/// Bytes of a message, and the only limit there is.
const MESSAGE_BYTES: i64 = 1_048_576;
/// How often a message may be received before it goes to the dead-letter queue, where nothing is said.
const RECEIVE_COUNT: u32 = 10;

/// Ends the name of a FIFO queue.
const FIFO: &str = ".fifo";

const KNOWN: [&str; 25] = [
    "Policy",
    "VisibilityTimeout",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
    "ApproximateNumberOfMessagesDelayed",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
    "RedrivePolicy",
    "FifoQueue",
    "ContentBasedDeduplication",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "DeduplicationScope",
    "FifoThroughputLimit",
    "RedriveAllowPolicy",
    "SqsManagedSseEnabled",
    "ApproximateAgeOfOldestMessage",
    "QueueName",
    "OwnerAccountId",
    "All",
];

/// Whether a queue of this name is a FIFO queue.
pub(super) fn is_fifo(queue: &str) -> bool {
    queue.ends_with(FIFO)
}

/// Whether SQS has an attribute of this name.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Changes of notes, by their names.
pub(super) type NoteChanges = BTreeMap<String, Option<String>>;

/// How long a receive waits that does not say so, ms.
pub(super) fn receive_wait_ms(queue: &Json) -> u64 {
    let seconds = queue["notes"][noted(WAIT)].as_str();
    seconds.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1000
}

/// The attributes of a queue, as `GetQueueAttributes` gives them.
pub(super) fn attributes_of(call: &Call<'_>, queue: &Json) -> Vec<(&'static str, String)> {
    let number = |name: &str| queue[name].as_u64().unwrap_or(0);
    let seconds = |name: &str| (number(name) / 1000).to_string();
    let mut attributes = vec![
        ("QueueArn", queue["arn"].as_str().unwrap_or_default().to_owned()),
        ("ApproximateNumberOfMessages", number("visible").to_string()),
        ("ApproximateNumberOfMessagesNotVisible", number("in_flight").to_string()),
        ("ApproximateNumberOfMessagesDelayed", number("delayed").to_string()),
        ("CreatedTimestamp", seconds("created_ms")),
        ("LastModifiedTimestamp", seconds("modified_ms")),
        ("VisibilityTimeout", seconds("visibility_timeout_ms")),
        ("MaximumMessageSize", MESSAGE_BYTES.to_string()),
        ("MessageRetentionPeriod", seconds("retention_ms")),
        ("DelaySeconds", seconds("delay_ms")),
        (WAIT, (receive_wait_ms(queue) / 1000).to_string()),
        ("SqsManagedSseEnabled", "false".to_owned()),
    ];
    if let Some(name) = queue["dead_letter_queue"].as_str() {
        let arn = format!("arn:aws:sqs:{}:{}:{name}", call.region, call.account);
        let policy = json!({"deadLetterTargetArn": arn, "maxReceiveCount": number("maximum_receive_count")});
        attributes.push(("RedrivePolicy", policy.to_string()));
    }
    if queue["fifo"] == true {
        let scope = queue["deduplication_scope"].as_str().unwrap_or("queue");
        // Of a queue that code declares, or an earlier release has made, the scope tells it.
        let derived = if scope == "messageGroup" { PER_GROUP } else { PER_QUEUE };
        let throughput = queue["notes"][noted(THROUGHPUT)].as_str().unwrap_or(derived);
        attributes.extend([
            ("FifoQueue", "true".to_owned()),
            ("ContentBasedDeduplication", queue["content_based_deduplication"].to_string()),
            ("DeduplicationScope", scope.to_owned()),
            (THROUGHPUT, throughput.to_owned()),
        ]);
    }
    for name in NOTED {
        if let Some(text) = queue["notes"][noted(name)].as_str() {
            attributes.push((name, text.to_owned()));
        }
    }
    attributes
}

/// The attribute in which a queue that exists differs from what is asked for.
pub(super) fn is_same(call: &Call<'_>, queue: &Json, given: &[(Key, Value)]) -> Option<String> {
    let has = attributes_of(call, queue);
    let differs = given.iter().find(|(name, value)| {
        let value = value.as_text().unwrap_or_default();
        let own = has.iter().find(|(own, _)| own == name).map(|(_, own)| own.as_str());
        match own {
            Some(own) if name == "RedrivePolicy" => {
                let read = |text: &str| redrive_policy(call, text).ok();
                read(own) != read(value)
            }
            Some(own) => own != value,
            None => !value.is_empty() && value != "false",
        }
    });
    differs.map(|(name, _)| name.clone().into_owned())
}

/// The settings and notes of a queue, `existing` or new, with the attributes that are given.
pub(super) fn changed(
    call: &Call<'_>,
    name: &str,
    existing: Option<&Json>,
    given: &[(Key, Value)],
) -> Result<(Settings, NoteChanges), Fault> {
    let settings = match existing {
        Some(queue) => serde_json::from_value(queue.clone()).map_err(|error| invalid(error.to_string()))?,
        None => Settings {
            visibility_timeout_ms: 30_000,
            delay_ms: 0,
            retention_ms: 345_600_000,
            content_based_deduplication: false,
            deduplication_scope: Scope::Queue,
            dead_letter_queue: None,
            maximum_receive_count: RECEIVE_COUNT,
        },
    };
    let (is_fifo, is_new) = (is_fifo(name), existing.is_none());
    let mut change = Change { settings, notes: NoteChanges::new(), is_fifo, is_new };
    for (attribute, value) in given {
        change.set(call, attribute, value.as_text().unwrap_or_default())?;
    }
    let kept = existing.and_then(|queue| queue["notes"][noted(THROUGHPUT)].as_str().map(str::to_owned));
    let throughput = change.notes.get(&noted(THROUGHPUT)).cloned().unwrap_or(kept);
    let is_asked = given.iter().any(|(name, _)| name == THROUGHPUT || name == "DeduplicationScope");
    if is_asked
        && throughput.as_deref() == Some(PER_GROUP)
        && change.settings.deduplication_scope != Scope::MessageGroup
    {
        return Err(invalid_value(THROUGHPUT, PER_GROUP));
    }
    if (is_new || is_asked) && throughput.is_none() && change.settings.deduplication_scope == Scope::MessageGroup {
        // AWS's default, and not what such a queue of an earlier release has.
        change.notes.insert(noted(THROUGHPUT), Some(PER_QUEUE.to_owned()));
    }
    // A queue ends in .fifo by its attribute, which a client must not forget.
    let says_fifo = given.iter().any(|(name, value)| name == "FifoQueue" && value.as_text() == Some("true"));
    if is_fifo && is_new && !says_fifo {
        return Err(invalid("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"));
    }
    Ok((change.settings, change.notes))
}

/// A queue that is being made or changed.
struct Change {
    settings: Settings,
    notes: NoteChanges,
    is_fifo: bool,
    is_new: bool,
}

impl Change {
    fn set(&mut self, call: &Call<'_>, attribute: &str, text: &str) -> Result<(), Fault> {
        let wrong = || invalid_value(attribute, text);
        let within = |low: i64, high: i64| {
            text.parse::<i64>().ok().filter(|value| (low..=high).contains(value)).ok_or_else(wrong)
        };
        match attribute {
            "VisibilityTimeout" => self.settings.visibility_timeout_ms = within(0, 43_200)? as u64 * 1000,
            "DelaySeconds" => self.settings.delay_ms = within(0, 900)? as u64 * 1000,
            "MessageRetentionPeriod" => self.settings.retention_ms = within(60, 1_209_600)? as u64 * 1000,
            "MaximumMessageSize" if text == MESSAGE_BYTES.to_string() => {}
            "MaximumMessageSize" => {
                let reason = format!("forebay's queues take {MESSAGE_BYTES} bytes.");
                return Err(refused(format!("Invalid value for the parameter MaximumMessageSize. Reason: {reason}")));
            }
            "RedrivePolicy" if text.is_empty() => self.settings.dead_letter_queue = None,
            "RedrivePolicy" => {
                let (queue, count) = redrive_policy(call, text)?;
                self.settings.dead_letter_queue = Some(queue);
                self.settings.maximum_receive_count = count;
            }
            "FifoQueue" | "ContentBasedDeduplication" | "DeduplicationScope" | THROUGHPUT => {
                return self.set_fifo(attribute, text)
            }
            WAIT => self.note(attribute, Some(within(0, 20)?.to_string())),
            "Policy" | "RedriveAllowPolicy" if text.is_empty() => self.note(attribute, None),
            "Policy" | "RedriveAllowPolicy" => {
                if !serde_json::from_str::<Json>(text).is_ok_and(|json| json.is_object()) {
                    return Err(wrong());
                }
                self.note(attribute, Some(text.to_owned()));
            }
            // Nothing is encrypted with a key of AWS: whoever asks for that is told so.
            "SqsManagedSseEnabled" if text == "false" => {}
            "KmsMasterKeyId" if text.is_empty() => {}
            "SqsManagedSseEnabled" | "KmsMasterKeyId" | "KmsDataKeyReusePeriodSeconds" => {
                return Err(refused(format!(
                    "{attribute}: forebay encrypts no queue; encrypt the disk under the store"
                )))
            }
            name if is_known(name) => return Err(wrong()),
            name => return Err(unknown(name)),
        }
        Ok(())
    }

    fn set_fifo(&mut self, attribute: &str, text: &str) -> Result<(), Fault> {
        let wrong = || invalid_value(attribute, text);
        match attribute {
            "FifoQueue" if text == "true" && self.is_new && !self.is_fifo => Err(invalid(
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.",
            )),
            "FifoQueue" if text == self.is_fifo.to_string() => Ok(()),
            _ if !self.is_fifo => Err(unknown(attribute)),
            "ContentBasedDeduplication" => {
                self.settings.content_based_deduplication = text.parse().map_err(|_| wrong())?;
                Ok(())
            }
            "DeduplicationScope" => {
                self.settings.deduplication_scope = match text {
                    "queue" => Scope::Queue,
                    "messageGroup" => Scope::MessageGroup,
                    _ => return Err(wrong()),
                };
                Ok(())
            }
            THROUGHPUT if [PER_QUEUE, PER_GROUP].contains(&text) => {
                self.note(attribute, Some(text.to_owned()));
                Ok(())
            }
            _ => Err(wrong()),
        }
    }

    fn note(&mut self, attribute: &str, text: Option<String>) {
        self.notes.insert(noted(attribute), text);
    }
}

fn refused(text: String) -> Fault {
    Fault::new("InvalidAttributeValue", text)
}

pub(super) fn unknown(attribute: &str) -> Fault {
    Fault::new("InvalidAttributeName", format!("Unknown Attribute {attribute}."))
}

fn noted(attribute: &str) -> String {
    format!("{NOTE_ATTRIBUTE}{attribute}")
}

fn invalid_value(attribute: &str, text: &str) -> Fault {
    let shown: String = text.chars().take(100).collect();
    Fault::new(
        "InvalidAttributeValue",
        format!("Invalid value for the parameter {attribute}. Reason: {shown:?} is not allowed."),
    )
}

/// What the engine refuses of a queue with attributes; of its dead-letter queue in SQS's words.
pub(super) fn refused_settings(error: EngineError, given: &[(Key, Value)]) -> Fault {
    let policy = given.iter().find(|(name, _)| name == "RedrivePolicy").and_then(|(_, text)| text.as_text());
    let reason = match &error {
        EngineError::NotFound(_) => "Dead letter target does not exist.",
        EngineError::Invalid(text) if text.starts_with("dead_letter_queue: ") => {
            "Dead-letter queue must be same type of queue as the source."
        }
        _ => return fault(error),
    };
    match policy {
        Some(text) => invalid(format!("Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}")),
        None => fault(error),
    }
}

/// The dead-letter queue's name, and how often a message may be received.
fn redrive_policy(call: &Call<'_>, text: &str) -> Result<(String, u32), Fault> {
    let wrong = |reason: &str| {
        let text = format!("Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}");
        invalid(text)
    };
    let policy: Json = serde_json::from_str(text).map_err(|_| wrong("Redrive policy is not a valid JSON map."))?;
    let prefix = format!("arn:aws:sqs:{}:{}:", call.region, call.account);
    let arn = policy["deadLetterTargetArn"]
        .as_str()
        .ok_or_else(|| wrong("Redrive policy does not contain mandatory attribute: deadLetterTargetArn."))?;
    let queue = arn.strip_prefix(&prefix).ok_or_else(|| wrong("Dead letter target does not exist."))?;
    let count = match &policy["maxReceiveCount"] {
        Json::Number(number) => number.as_u64(),
        Json::String(text) => text.parse().ok(),
        Json::Null => Some(u64::from(RECEIVE_COUNT)),
        _ => None,
    };
    let count = count.and_then(|count| u32::try_from(count).ok()).filter(|count| (1..=1000).contains(count));
    let count = count.ok_or_else(|| wrong("Invalid value for maxReceiveCount: must be between 1 and 1000."))?;
    Ok((queue.to_owned(), count))
}
