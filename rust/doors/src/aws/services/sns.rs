//! SNS: topics, their subscriptions, publications.

use std::collections::BTreeMap;

use forebay_engine::api::notes::Annotate;
use forebay_engine::api::topic::{
    Declare, Named, PolicyScope, Publication, Publish, Subscribe, Subscription, Unsubscribe,
};
use forebay_engine::api::{Empty, Request};
use forebay_engine::base::error::EngineError;
use forebay_engine::payload::endpoint::Endpoint;
use forebay_engine::payload::message::{is_binary, Attribute};
use serde_json::Value as Json;

use crate::aws::call::{unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::protocol::text_of_bytes;
use crate::aws::services::page::{page, Token};
use crate::aws::services::sqs::of_attributes;
use crate::aws::services::sqs_messages::is_entry_id;
use crate::aws::value::{Key, Value};

super::operations! {
    CreateTopic => create_topic,
    DeleteTopic => delete_topic,
    ListTopics => list_topics,
    GetTopicAttributes => get_topic_attributes,
    SetTopicAttributes => set_topic_attributes,
    Subscribe => subscribe,
    Unsubscribe => unsubscribe,
    ListSubscriptions => list_subscriptions,
    ListSubscriptionsByTopic => list_subscriptions_by_topic,
    GetSubscriptionAttributes => get_subscription_attributes,
    SetSubscriptionAttributes => set_subscription_attributes,
    Publish => publish,
    PublishBatch => publish_batch,
    TagResource => tag_resource,
    UntagResource => untag_resource,
    ListTagsForResource => list_tags_for_resource,
}

/// Items of a page.
const PAGE: usize = 100;
/// Most entries of a batch.
const ENTRIES_MAX: usize = 10;
/// Most bytes of the messages of a batch. <https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html>
const BATCH_BYTES_MAX: usize = 262_144;
/// Most tags of a topic. <https://docs.aws.amazon.com/sns/latest/dg/sns-tags.html>
const TAGS_MAX: usize = 50;
/// How often a change of a subscription is tried that another one came before.
const TRIES: usize = 100;
/// Begins the notes that are tags.
const NOTE_TAG: &str = "tag:";
/// Begins the notes that are attributes.
const NOTE_ATTRIBUTE: &str = "sns:";
/// Attributes that are kept, and on which nothing acts.
const NOTED: [&str; 2] = ["DisplayName", "Policy"];

fn fault(error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(_) => no_topic(),
        EngineError::Invalid(text) | EngineError::TooLarge(text) => invalid(of_attributes(text)),
        EngineError::Conflict(text) => Fault::new("ConcurrentAccessException", text),
        EngineError::TooMany { message, retry_after_ms, .. } => {
            Fault { retry_after_ms: Some(retry_after_ms), ..Fault::new("ThrottledException", message) }
        }
        error => unavailable(&error),
    }
}

fn no_topic() -> Fault {
    Fault::new("NotFoundException", "Topic does not exist").status(404).code("NotFound")
}

fn invalid(text: impl Into<String>) -> Fault {
    let text: String = text.into();
    let text = if text.starts_with("Invalid parameter") { text } else { format!("Invalid parameter: {text}") };
    Fault::new("InvalidParameterException", text).code("InvalidParameter")
}

/// A subscription of a topic, by its ARN.
struct Found {
    topic: String,
    endpoint: Endpoint,
    subscription: Subscription,
}

fn topic_of_arn(call: &Call<'_>, arn: &str) -> Result<String, Fault> {
    let prefix = format!("arn:aws:sns:{}:{}:", call.region, call.account);
    if arn.split(':').count() != 6 {
        return Err(invalid("TopicArn"));
    }
    arn.strip_prefix(&prefix).map(str::to_owned).ok_or_else(no_topic)
}

fn topic(call: &Call<'_>) -> Result<String, Fault> {
    topic_of_arn(call, call.input.needed("TopicArn"))
}

async fn described_topic(call: &Call<'_>, name: String) -> Result<Json, Fault> {
    call.ask(Request::TopicDescribe(Named { name })).await.map_err(fault)
}

async fn subscription(call: &Call<'_>) -> Result<Found, Fault> {
    let arn = call.input.needed("SubscriptionArn");
    let missing = || Fault::new("NotFoundException", "Subscription does not exist").status(404).code("NotFound");
    let (topic_arn, _) = arn.rsplit_once(':').ok_or_else(|| invalid("SubscriptionId"))?;
    let topic = topic_of_arn(call, topic_arn).map_err(|_| missing())?;
    let described = described_topic(call, topic.clone()).await.map_err(|_| missing())?;
    let mut listed = described["subscriptions"].as_array().into_iter().flatten();
    let one = listed.find(|one| one["arn"] == arn).ok_or_else(missing)?;
    let subscription: Subscription = serde_json::from_value(one.clone()).map_err(|_| missing())?;
    Ok(Found { topic, endpoint: subscription.endpoint.clone(), subscription })
}

/// What an endpoint's ARN names.
fn endpoint(call: &Call<'_>, protocol: &str, arn: &str) -> Result<Endpoint, Fault> {
    let within = |service: &str, kind: &str| {
        let prefix = format!("arn:aws:{service}:{}:{}:{kind}", call.region, call.account);
        arn.strip_prefix(&prefix).filter(|name| !name.is_empty()).map(str::to_owned)
    };
    match protocol {
        "sqs" => within("sqs", "").map(Endpoint::Queue).ok_or_else(|| invalid("SQS endpoint ARN")),
        "lambda" => within("lambda", "function:").map(Endpoint::Function).ok_or_else(|| invalid("Lambda endpoint ARN")),
        other => {
            Err(invalid(format!("Does not support this protocol string: {other}. forebay delivers to sqs and lambda")))
        }
    }
}

/// Whether a topic that is there has another text for a note than the one that is asked for. What it lacks is no difference: in earlier
/// releases whoever made it could be ended between the topic and its notes.
fn differs(topic: &Json, notes: &BTreeMap<String, Option<String>>, prefix: &str) -> bool {
    let mut asked = notes.iter().filter(|(note, _)| note.starts_with(prefix));
    asked.any(|(note, text)| topic["notes"][note].as_str().is_some_and(|own| Some(own) != text.as_deref()))
}

/// Refuse more tags than a topic may have.
fn check_tags(topic: &Json, changes: &BTreeMap<String, Option<String>>) -> Result<(), Fault> {
    let is_tag = |note: &str| note.starts_with(NOTE_TAG);
    let kept = topic["notes"].as_object().into_iter().flatten();
    let kept = kept.filter(|(note, _)| is_tag(note) && !changes.contains_key(*note)).count();
    if kept + changes.keys().filter(|note| is_tag(note)).count() <= TAGS_MAX {
        return Ok(());
    }
    let text = "Could not complete request: tag quota of per resource exceeded";
    Err(Fault::new("TagLimitExceededException", text).code("TagLimitExceeded"))
}

async fn create_topic(call: &Call<'_>) -> Result<Value, Fault> {
    let name = call.input.needed("Name").to_owned();
    let mut notes = BTreeMap::new();
    for (attribute, value) in call.input.entries("Attributes") {
        note_attribute(attribute, value.as_text().unwrap_or_default(), &mut notes)?;
    }
    for tag in call.input.list("Tags") {
        notes.insert(format!("{NOTE_TAG}{}", tag.needed("Key")), Some(tag.needed("Value").to_owned()));
    }
    check_tags(&Json::Null, &notes)?;
    let declare = Declare { name: name.clone(), notes: notes.clone() };
    match call.ask(Request::TopicDeclare(declare)).await {
        Ok(topic) => Ok(Value::structure().with("TopicArn", topic["arn"].as_str())),
        Err(EngineError::Conflict(_)) => {
            let topic = described_topic(call, name).await?;
            let what = if differs(&topic, &notes, NOTE_ATTRIBUTE) { "Attributes" } else { "Tags" };
            let text = format!("{what} Reason: Topic already exists with different {}", what.to_lowercase());
            Err(invalid(text))
        }
        Err(error) => Err(fault(error)),
    }
}

fn note_attribute(name: &str, text: &str, notes: &mut BTreeMap<String, Option<String>>) -> Result<(), Fault> {
    match name {
        "FifoTopic" | "ContentBasedDeduplication" if text == "false" => Ok(()),
        name if NOTED.contains(&name) => {
            notes.insert(format!("{NOTE_ATTRIBUTE}{name}"), Some(text.to_owned()).filter(|text| !text.is_empty()));
            Ok(())
        }
        "KmsMasterKeyId" => Err(invalid(
            "Attributes Reason: forebay encrypts no topic; encrypt the disk under the store (KmsMasterKeyId)",
        )),
        "FifoTopic" => Err(invalid("Attributes Reason: forebay has no FIFO topics; send to FIFO queues themselves")),
        other => Err(invalid(format!("Attributes Reason: forebay does not know the attribute {other}"))),
    }
}

async fn delete_topic(call: &Call<'_>) -> Result<Value, Fault> {
    match call.ask(Request::TopicDelete(Named { name: topic(call)? })).await {
        // What is not there is deleted, as on AWS.
        Ok(_) | Err(EngineError::NotFound(_)) => Ok(Value::structure()),
        Err(error) => Err(fault(error)),
    }
}

fn token(call: &Call<'_>) -> Result<Token, Fault> {
    Token::read(call.input.text("NextToken")).ok_or_else(|| invalid("NextToken"))
}

async fn list_topics(call: &Call<'_>) -> Result<Value, Fault> {
    let listed = call.ask(Request::TopicList(Empty {})).await.map_err(fault)?;
    let mut arns: Vec<&str> = listed.as_array().into_iter().flatten().filter_map(|one| one["arn"].as_str()).collect();
    arns.sort_unstable();
    let (arns, next) = page(arns, PAGE, token(call)?, |arn| arn);
    let topics: Vec<Value> = arns.into_iter().map(|arn| Value::structure().with("TopicArn", arn)).collect();
    Ok(Value::structure().with("Topics", topics).with("NextToken", next))
}

fn map(entries: Vec<(&'static str, String)>) -> Value {
    Value::Map(entries.into_iter().map(|(name, text)| (Key::Borrowed(name), text.into())).collect())
}

async fn get_topic_attributes(call: &Call<'_>) -> Result<Value, Fault> {
    let topic = described_topic(call, topic(call)?).await?;
    let subscriptions = topic["subscriptions"].as_array().map_or(0, Vec::len);
    let mut attributes = vec![
        ("TopicArn", topic["arn"].as_str().unwrap_or_default().to_owned()),
        ("Owner", call.account.to_owned()),
        ("SubscriptionsConfirmed", subscriptions.to_string()),
        ("SubscriptionsPending", "0".to_owned()),
        ("SubscriptionsDeleted", "0".to_owned()),
    ];
    for name in NOTED {
        let text = topic["notes"][format!("{NOTE_ATTRIBUTE}{name}")].as_str().unwrap_or_default();
        if name == "DisplayName" || !text.is_empty() {
            attributes.push((name, text.to_owned()));
        }
    }
    Ok(Value::structure().with("Attributes", map(attributes)))
}

async fn set_topic_attributes(call: &Call<'_>) -> Result<Value, Fault> {
    let mut notes = BTreeMap::new();
    let text = call.input.text("AttributeValue").unwrap_or_default();
    note_attribute(call.input.needed("AttributeName"), text, &mut notes)?;
    call.ask(Request::TopicAnnotate(Annotate { name: topic(call)?, notes })).await.map_err(fault)?;
    Ok(Value::structure())
}

fn set_attribute(subscription: &mut Subscription, name: &str, text: &str) -> Result<(), Fault> {
    match name {
        "RawMessageDelivery" => {
            subscription.raw_message_delivery = text
                .to_ascii_lowercase()
                .parse()
                .map_err(|_| invalid("Attributes Reason: RawMessageDelivery: Invalid value"))?;
        }
        "FilterPolicy" => {
            subscription.filter_policy = Some(text.to_owned()).filter(|text| !text.is_empty() && text != "{}");
        }
        "FilterPolicyScope" => {
            subscription.filter_policy_scope = match text {
                "MessageAttributes" => PolicyScope::MessageAttributes,
                "MessageBody" => PolicyScope::MessageBody,
                _ => return Err(invalid("FilterPolicyScope: Invalid value")),
            };
        }
        "RedrivePolicy" => return Err(invalid(
            "RedrivePolicy: subscriptions have none here: a copy comes in the commit of the publication; leave it out",
        )),
        other => return Err(invalid(format!("AttributeName: forebay does not know {other}"))),
    }
    Ok(())
}

async fn subscribe(call: &Call<'_>) -> Result<Value, Fault> {
    let name = topic(call)?;
    let endpoint = endpoint(call, call.input.needed("Protocol"), call.input.text("Endpoint").unwrap_or_default())?;
    let mut subscription = Subscription {
        endpoint: endpoint.clone(),
        filter_policy: None,
        filter_policy_scope: PolicyScope::default(),
        raw_message_delivery: false,
    };
    for (attribute, value) in call.input.entries("Attributes") {
        set_attribute(&mut subscription, attribute, value.as_text().unwrap_or_default())?;
    }
    let topic = described_topic(call, name.clone()).await?;
    if let Some((arn, existing)) = subscribed_at(&topic, &endpoint) {
        let policy = |one: &Subscription| {
            one.filter_policy.as_deref().map(|text| serde_json::from_str::<Json>(text).unwrap_or_default())
        };
        let is_same = existing.raw_message_delivery == subscription.raw_message_delivery
            && policy(&existing) == policy(&subscription)
            && existing.filter_policy_scope == subscription.filter_policy_scope;
        // Without attributes it is asked whether it is there.
        if !is_same && !call.input.entries("Attributes").is_empty() {
            return Err(invalid("Attributes Reason: Subscription already exists with different attributes"));
        }
        return Ok(Value::structure().with("SubscriptionArn", arn));
    }
    let topic = call.ask(Request::TopicSubscribe(Subscribe { name, subscription, instead_of: None })).await.map_err(
        |error| match error {
            // The engine names what there is; a key may be one that must not know it.
            EngineError::NotFound(_) => {
                let endpoint = call.input.text("Endpoint").unwrap_or_default();
                invalid(format!("Endpoint Reason: {endpoint} does not exist"))
            }
            error => fault(error),
        },
    )?;
    Ok(Value::structure().with("SubscriptionArn", subscribed_at(&topic, &endpoint).map(|(arn, _)| arn)))
}

/// The subscription of an endpoint, and its ARN.
fn subscribed_at<'t>(topic: &'t Json, endpoint: &Endpoint) -> Option<(&'t str, Subscription)> {
    let mut listed = topic["subscriptions"].as_array().into_iter().flatten();
    listed.find_map(|one| {
        let subscription: Subscription = serde_json::from_value(one.clone()).ok()?;
        (subscription.endpoint == *endpoint).then_some((one["arn"].as_str()?, subscription))
    })
}

async fn unsubscribe(call: &Call<'_>) -> Result<Value, Fault> {
    match subscription(call).await {
        Ok(Found { topic, endpoint, .. }) => {
            call.ask(Request::TopicUnsubscribe(Unsubscribe { name: topic, endpoint })).await.map_err(fault)?;
        }
        // One that is not there is gone already. What is no ARN of one is a mistake.
        Err(missing) if missing.status == 404 => {}
        Err(wrong) => return Err(wrong),
    }
    Ok(Value::structure())
}

fn subscribed(call: &Call<'_>, one: &Json) -> Value {
    let (protocol, arn) = match serde_json::from_value::<Subscription>(one.clone()).map(|one| one.endpoint) {
        Ok(Endpoint::Queue(name)) => ("sqs", format!("arn:aws:sqs:{}:{}:{name}", call.region, call.account)),
        Ok(Endpoint::Function(name)) => {
            ("lambda", format!("arn:aws:lambda:{}:{}:function:{name}", call.region, call.account))
        }
        Err(_) => ("", String::new()),
    };
    let own = one["arn"].as_str().unwrap_or_default();
    Value::structure()
        .with("SubscriptionArn", own)
        .with("Owner", call.account)
        .with("Protocol", protocol)
        .with("Endpoint", arn)
        .with("TopicArn", own.rsplit_once(':').map(|(topic, _)| topic))
}

fn subscriptions(call: &Call<'_>, mut listed: Vec<&Json>) -> Result<Value, Fault> {
    let arn = |one: &Json| one["arn"].as_str().unwrap_or_default().to_owned();
    listed.sort_by_key(|one| arn(one));
    let (listed, next) = page(listed, PAGE, token(call)?, |one| one["arn"].as_str().unwrap_or_default());
    let listed: Vec<Value> = listed.into_iter().map(|one| subscribed(call, one)).collect();
    Ok(Value::structure().with("Subscriptions", listed).with("NextToken", next))
}

async fn list_subscriptions(call: &Call<'_>) -> Result<Value, Fault> {
    let topics = call.ask(Request::TopicList(Empty {})).await.map_err(fault)?;
    let topics = topics.as_array().into_iter().flatten();
    subscriptions(call, topics.flat_map(|topic| topic["subscriptions"].as_array().into_iter().flatten()).collect())
}

async fn list_subscriptions_by_topic(call: &Call<'_>) -> Result<Value, Fault> {
    let topic = described_topic(call, topic(call)?).await?;
    subscriptions(call, topic["subscriptions"].as_array().into_iter().flatten().collect())
}

async fn get_subscription_attributes(call: &Call<'_>) -> Result<Value, Fault> {
    let Found { topic, endpoint, subscription } = subscription(call).await?;
    let (protocol, service, name) = match &endpoint {
        Endpoint::Queue(name) => ("sqs", "sqs", name.clone()),
        Endpoint::Function(name) => ("lambda", "lambda", format!("function:{name}")),
    };
    let mut attributes = vec![
        ("SubscriptionArn", call.input.needed("SubscriptionArn").to_owned()),
        ("TopicArn", format!("arn:aws:sns:{}:{}:{topic}", call.region, call.account)),
        ("Owner", call.account.to_owned()),
        ("Protocol", protocol.to_owned()),
        ("Endpoint", format!("arn:aws:{service}:{}:{}:{name}", call.region, call.account)),
        ("RawMessageDelivery", subscription.raw_message_delivery.to_string()),
        ("PendingConfirmation", "false".to_owned()),
        ("ConfirmationWasAuthenticated", "true".to_owned()),
    ];
    if let Some(policy) = subscription.filter_policy {
        let scope = match subscription.filter_policy_scope {
            PolicyScope::MessageAttributes => "MessageAttributes",
            PolicyScope::MessageBody => "MessageBody",
        };
        attributes.extend([("FilterPolicy", policy), ("FilterPolicyScope", scope.to_owned())]);
    }
    Ok(Value::structure().with("Attributes", map(attributes)))
}

async fn set_subscription_attributes(call: &Call<'_>) -> Result<Value, Fault> {
    let text = call.input.text("AttributeValue").unwrap_or_default();
    for _ in 0..TRIES {
        let Found { topic, mut subscription, .. } = subscription(call).await?;
        let instead_of = Some(subscription.clone());
        set_attribute(&mut subscription, call.input.needed("AttributeName"), text)?;
        match call.ask(Request::TopicSubscribe(Subscribe { name: topic, subscription, instead_of })).await {
            // Another change came before: both are to hold.
            Err(EngineError::Conflict(_)) => {}
            done => return done.map(|_| Value::structure()).map_err(fault),
        }
    }
    Err(fault(EngineError::Conflict("The subscription is changed too often: try again.".into())))
}

fn attribute(name: &str, given: &Value) -> Result<Attribute, Fault> {
    let data_type = given.needed("DataType").to_owned();
    let value = match (given.text("StringValue"), given.blob("BinaryValue")) {
        (None, Some(bytes)) if is_binary(&data_type) => text_of_bytes(bytes),
        (Some(text), None) if !is_binary(&data_type) => text.to_owned(),
        _ => return Err(invalid(format!("Message attribute '{name}' must have a value of its type"))),
    };
    Ok(Attribute { name: name.to_owned(), data_type, value })
}

/// What is published.
fn publication(given: &Value) -> Result<Publication, Fault> {
    let mut attributes = Vec::new();
    for (name, value) in given.entries("MessageAttributes") {
        attributes.push(attribute(name, value)?);
    }
    if given.text("MessageDeduplicationId").is_some() {
        return Err(invalid("MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type"));
    }
    let publication = match given.text("MessageStructure") {
        None => Publication { message: given.needed("Message").to_owned(), ..Publication::default() },
        Some("json") => Publication::by_protocol(given.needed("Message")).map_err(invalid)?,
        Some(_) => return Err(invalid("MessageStructure")),
    };
    let text = |name: &str| given.text(name).map(str::to_owned);
    Ok(Publication { subject: text("Subject"), group_id: text("MessageGroupId"), attributes, ..publication })
}

async fn publish(call: &Call<'_>) -> Result<Value, Fault> {
    if call.input.text("PhoneNumber").is_some() {
        return Err(invalid("PhoneNumber Reason: forebay publishes to topics alone"));
    }
    let name = match (call.input.text("TopicArn"), call.input.text("TargetArn")) {
        (Some(arn), None) => topic_of_arn(call, arn)?,
        (None, Some(arn)) if arn.contains(":endpoint/") => {
            return Err(invalid("TargetArn Reason: forebay publishes to topics alone"))
        }
        (None, Some(arn)) => topic_of_arn(call, arn).map_err(|fault| match fault.status {
            404 => fault,
            _ => invalid("TargetArn Reason: No endpoint found for the target arn specified"),
        })?,
        (Some(_), Some(_)) => return Err(invalid("TopicArn or TargetArn Reason: only one of them may be given")),
        (None, None) => return Err(invalid("TopicArn or TargetArn Reason: no value for required parameter")),
    };
    let publication = publication(&call.input)?;
    let asked = Publish { name, publication, parent: None, trace: None };
    let id = call.ask(Request::TopicPublish(asked)).await.map_err(fault)?;
    Ok(Value::structure().with("MessageId", id.as_str()))
}

async fn publish_batch(call: &Call<'_>) -> Result<Value, Fault> {
    let name = topic(call)?;
    described_topic(call, name.clone()).await?;
    let entries = call.input.list("PublishBatchRequestEntries");
    if entries.is_empty() {
        let text = "The batch request doesn't contain any entries.";
        return Err(Fault::new("EmptyBatchRequestException", text).code("EmptyBatchRequest"));
    }
    if entries.len() > ENTRIES_MAX {
        let text = "The batch request contains more entries than permissible.";
        return Err(Fault::new("TooManyEntriesInBatchRequestException", text).code("TooManyEntriesInBatchRequest"));
    }
    let ids: std::collections::BTreeSet<&str> = entries.iter().map(|entry| entry.needed("Id")).collect();
    if !ids.iter().all(|id| is_entry_id(id)) {
        let text = "The Id of a batch entry in a batch request doesn't abide by the specification.";
        return Err(Fault::new("InvalidBatchEntryIdException", text).code("InvalidBatchEntryId"));
    }
    if ids.len() < entries.len() {
        let text = "Two or more batch entries in the request have the same Id.";
        return Err(Fault::new("BatchEntryIdsNotDistinctException", text).code("BatchEntryIdsNotDistinct"));
    }
    if entries.iter().map(|entry| entry.needed("Message").len()).sum::<usize>() > BATCH_BYTES_MAX {
        let text = "The length of all the batch messages put together is more than the limit.";
        return Err(Fault::new("BatchRequestTooLongException", text).code("BatchRequestTooLong"));
    }
    let begun = entries.iter().map(|entry| {
        let begun = publication(entry).map(|publication| {
            call.begin(Request::TopicPublish(Publish { name: name.clone(), publication, parent: None, trace: None }))
        });
        (entry.needed("Id"), begun)
    });
    let begun: Vec<_> = begun.collect();
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, begun) in begun {
        let done = match begun {
            Ok(receiver) => crate::aws::call::ended(receiver).await.map_err(fault),
            Err(fault) => Err(fault),
        };
        let entry = Value::structure().with("Id", id);
        match done {
            Ok(message) => successful.push(entry.with("MessageId", message.as_str())),
            Err(fault) => failed.push(
                entry
                    .with("Code", fault.code.unwrap_or(&fault.name))
                    .with("Message", fault.message.as_str())
                    .with("SenderFault", fault.status < 500),
            ),
        }
    }
    Ok(Value::structure().with("Successful", successful).with("Failed", failed))
}

async fn tag_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let name = topic_of_arn(call, call.input.needed("ResourceArn"))?;
    let tags = call.input.list("Tags").iter();
    let notes = tags.map(|tag| (format!("{NOTE_TAG}{}", tag.needed("Key")), Some(tag.needed("Value").to_owned())));
    let notes = notes.collect();
    check_tags(&described_topic(call, name.clone()).await?, &notes)?;
    call.ask(Request::TopicAnnotate(Annotate { name, notes })).await.map_err(fault)?;
    Ok(Value::structure())
}

async fn untag_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let name = topic_of_arn(call, call.input.needed("ResourceArn"))?;
    let notes = call.input.texts("TagKeys").map(|key| (format!("{NOTE_TAG}{key}"), None)).collect();
    call.ask(Request::TopicAnnotate(Annotate { name, notes })).await.map_err(fault)?;
    Ok(Value::structure())
}

async fn list_tags_for_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let topic = described_topic(call, topic_of_arn(call, call.input.needed("ResourceArn"))?).await?;
    let notes = topic["notes"].as_object().into_iter().flatten();
    let tags = notes.filter_map(|(note, text)| Some((note.strip_prefix(NOTE_TAG)?, text.as_str()?)));
    let tags: Vec<Value> = tags.map(|(key, text)| Value::structure().with("Key", key).with("Value", text)).collect();
    Ok(Value::structure().with("Tags", tags))
}
