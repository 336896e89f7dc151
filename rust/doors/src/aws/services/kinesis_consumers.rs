//! Kinesis: registered consumers. They are kept as notes beside their stream.

use forebay_engine::api::notes::Annotate;
use forebay_engine::api::Request;
use serde_json::Value as Json;

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::page::{page, Token};
use crate::aws::services::{kinesis, kinesis_streams};
use crate::aws::value::Value;

/// Begins the notes that are consumers: the name follows, and the note is when it was registered, milliseconds since 1970.
const NOTE: &str = "consumer:";
/// Most consumers of a stream. <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const CONSUMERS_MAX: usize = 20;

/// A consumer of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Consumer {
    pub(super) stream: String,
    pub(super) name: String,
    created_ms: i64,
}

impl Consumer {
    fn arn(&self, stream_arn: &str) -> String {
        format!("{stream_arn}/consumer/{}:{}", self.name, self.created_ms / 1000)
    }

    fn described(&self, stream_arn: &str) -> Value {
        Value::structure()
            .with("ConsumerName", self.name.as_str())
            .with("ConsumerARN", self.arn(stream_arn))
            .with("ConsumerStatus", "ACTIVE")
            .with("ConsumerCreationTimestamp", Value::Time(self.created_ms))
    }
}

/// The consumers of a stream, by their names.
pub(super) fn consumers_of(stream: &Json) -> Vec<Consumer> {
    let notes = stream["notes"].as_object().into_iter().flatten();
    let consumer = |(note, text): (&String, &Json)| {
        Some(Consumer {
            stream: stream["name"].as_str()?.to_owned(),
            name: note.strip_prefix(NOTE)?.to_owned(),
            created_ms: text.as_str()?.parse().ok()?,
        })
    };
    notes.filter_map(consumer).collect()
}

fn none(call: &Call<'_>, name: &str) -> Fault {
    let text = format!("Consumer {name} under account {} not found.", call.account);
    Fault::new("ResourceNotFoundException", text)
}

/// The consumer that the input names, by its ARN or by its name and its stream's, and that stream.
async fn named(call: &Call<'_>) -> Result<(Json, Consumer), Fault> {
    let input = &call.input;
    if let Some(arn) = input.text("ConsumerARN") {
        return by_arn(call, arn).await;
    }
    let (Some(stream), Some(name)) = (input.text("StreamARN"), input.text("ConsumerName")) else {
        let text = "Give a ConsumerARN, or a StreamARN and a ConsumerName.";
        return Err(Fault::new("InvalidArgumentException", text));
    };
    let stream = kinesis_streams::described_stream(call, &kinesis::stream_of_arn(call, stream)?).await?;
    let found = consumers_of(&stream).into_iter().find(|one| one.name == name);
    found.map(|one| (stream, one)).ok_or_else(|| none(call, name))
}

pub(super) async fn by_arn(call: &Call<'_>, arn: &str) -> Result<(Json, Consumer), Fault> {
    let Some((stream_arn, name)) = arn.split_once("/consumer/") else { return Err(none(call, arn)) };
    let stream = kinesis_streams::described_stream(call, &kinesis::stream_of_arn(call, stream_arn)?).await?;
    let found = consumers_of(&stream).into_iter().find(|one| one.arn(stream_arn) == arn);
    found.map(|one| (stream, one)).ok_or_else(|| none(call, name))
}

async fn note(call: &Call<'_>, stream: &str, consumer: &str, text: Option<String>) -> Result<(), Fault> {
    let notes = [(format!("{NOTE}{consumer}"), text)].into();
    let annotate = Annotate { name: stream.to_owned(), notes };
    call.ask(Request::StreamAnnotate(annotate)).await.map_err(|error| kinesis::stream_fault(call, stream, error))?;
    Ok(())
}

/// Consumers come by this door alone.
static REGISTERING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub(super) async fn register_stream_consumer(call: &Call<'_>) -> Result<Value, Fault> {
    let (arn, name) = (call.input.needed("StreamARN"), call.input.needed("ConsumerName"));
    // From the look to the note it is one client's turn: of two at once both were told that the consumer was theirs.
    let _turn = REGISTERING.lock().await;
    let stream = kinesis_streams::described_stream(call, &kinesis::stream_of_arn(call, arn)?).await?;
    let known = consumers_of(&stream);
    if known.iter().any(|one| one.name == name) {
        let text = format!("Consumer {name} under stream {arn} already exists.");
        return Err(Fault::new("ResourceInUseException", text));
    }
    if known.len() >= CONSUMERS_MAX {
        let text = format!("A stream has at most {CONSUMERS_MAX} consumers.");
        return Err(Fault::new("LimitExceededException", text));
    }
    if !call.input.entries("Tags").is_empty() {
        return Err(Fault::new("InvalidArgumentException", "Tags: forebay's consumers have no tags; tag the stream"));
    }
    let stream_name = stream["name"].as_str().unwrap_or_default().to_owned();
    let consumer = Consumer { stream: stream_name, name: name.to_owned(), created_ms: call.now_ms() };
    note(call, &consumer.stream, name, Some(consumer.created_ms.to_string())).await?;
    Ok(Value::structure().with("Consumer", consumer.described(arn)))
}

pub(super) async fn deregister_stream_consumer(call: &Call<'_>) -> Result<Value, Fault> {
    let (_, consumer) = named(call).await?;
    note(call, &consumer.stream, &consumer.name, None).await?;
    Ok(Value::structure())
}

pub(super) async fn describe_stream_consumer(call: &Call<'_>) -> Result<Value, Fault> {
    let (stream, consumer) = named(call).await?;
    let arn = stream["arn"].as_str().unwrap_or_default();
    Ok(Value::structure().with("ConsumerDescription", consumer.described(arn).with("StreamARN", arn)))
}

pub(super) async fn list_stream_consumers(call: &Call<'_>) -> Result<Value, Fault> {
    let arn = call.input.needed("StreamARN");
    let stream = kinesis_streams::described_stream(call, &kinesis::stream_of_arn(call, arn)?).await?;
    let from = Token::read(call.input.text("NextToken"))
        .ok_or_else(|| Fault::new("ExpiredNextTokenException", "NextToken is invalid."))?;
    let most = call.input.int("MaxResults").unwrap_or(100).clamp(1, 100) as usize;
    let (consumers, next) = page(consumers_of(&stream), most, from, |one| &one.name);
    let consumers: Vec<Value> = consumers.iter().map(|one| one.described(arn)).collect();
    Ok(Value::structure().with("Consumers", consumers).with("NextToken", next))
}
