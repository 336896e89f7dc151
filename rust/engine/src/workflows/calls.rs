//! What tasks call. Queues, topics, buses and machines of this store are given theirs at once, in the commit of the step; a function is
//! called when that is durable.

use forebay_core::sequence;
use forebay_core::workflow::definition::{Pattern, Resource};
use forebay_core::workflow::machine::{Call, Data, ErrorDetails, Fact, TaskId, Text};
use forebay_core::workflow::timestamp::Timestamp;
use serde_json::{json, Map, Value};

use crate::api::bus::{Entry, EntryResult};
use crate::api::logs::GROUP;
use crate::api::topic::Publication;
use crate::api::workflow::Kind;
use crate::base::error::EngineError;
use crate::base::ids::uuid_text;
use crate::base::trace::Carried;
use crate::buses::{put, schemas};
use crate::payload::message::{Attribute, NewMessage};
use crate::sources::queue::send;
use crate::sources::stream::shards::check_record;
use crate::topics::publish;
use crate::workflows::parameters::{refuse_unknown, store_call, unnamed, Given, Written};
use crate::workflows::requests::TYPE_NOT_SUPPORTED;
use crate::workflows::row::{CallKind, OpenCall, Parent, RunId};
use crate::workflows::step::Begin;
use crate::workflows::{durable, express, outside, throttle, versions};
use crate::workflows::{Happened, WorkflowRoom};

/// The payload of a call that waits for an execution and is given its output as JSON.
pub(super) const AS_JSON: &str = "json";

/// A call's answer; `None`: it comes later.
type Answered = Result<Option<Value>, ErrorDetails>;

impl WorkflowRoom<'_> {
    /// Make the call of a task, or write down that it is to be made.
    pub(crate) fn call(&mut self, id: RunId, call: &Call) {
        let task = call.task;
        let goes_on = call.resource.pattern().is_submitted();
        let before = self.workflows.inbox.len();
        let answered = self.answered(id, call);
        let waits = answered.is_ok() && self.workflows.is_in_memory(id);
        let fact = match answered {
            Ok(None) => return,
            Ok(Some(answer)) if goes_on => Fact::TaskSubmitted(task, Data::new(answer)),
            Ok(Some(answer)) => Fact::TaskSucceeded(task, Data::new(answer)),
            Err(details) if goes_on => Fact::TaskSubmitFailed(task, details),
            Err(details) => Fact::TaskFailed(task, details),
        };
        if waits {
            // What it has sent may be refused with the commit: nothing of the execution itself would be taken back then.
            self.below.ctx.commit.pending.urgent = true;
            self.workflows.express.tell_when_durable(id, fact);
        } else {
            // An execution that it has begun may be over already: that it was begun comes first.
            self.workflows.inbox.insert(before, Happened { run: id, fact, is_kept: false, brings: None });
        }
    }

    fn answered(&mut self, id: RunId, call: &Call) -> Answered {
        let arguments = call.arguments.value();
        let trace = self.workflows.runs.get(&id).and_then(|run| run.row.trace.clone());
        let hops = self.workflows.runs.get(&id).map_or(0, |run| run.row.depth);
        // What an execution sends knows how long its chain is.
        let carried = Carried { hops, trace: trace.as_deref() };
        match &call.resource {
            Resource::Function(arn) => {
                self.call_later(id, call.task, arn, call.arguments.text().clone(), CallKind::Plain);
                Ok(None)
            }
            Resource::Service { service, action, pattern } => {
                let action = action.split('.').next().unwrap_or_default();
                let Some(known) = store_call(service, action) else {
                    let name = format!("{service}:{action}");
                    let allowed = self.workflows.integrations.parameters(&name);
                    if let Some((allowed, given)) = allowed.zip(arguments.as_object()) {
                        refuse_unknown(&unnamed(allowed, given, Written::Plain, &name))?;
                    }
                    outside::call_outside(self, id, call);
                    return Ok(None);
                };
                // What a definition has outright was looked at when it was declared.
                refuse_unknown(
                    &arguments.as_object().map_or_else(Vec::new, |given| known.wrong(given, Written::Plain)),
                )?;
                let given = known.given(arguments);
                match service.as_str() {
                    "lambda" => self.invoke(id, call, given),
                    "sqs" => self.send_message(given, carried).map(Some),
                    "sns" => self.publish(given, carried).map(Some),
                    "events" => self.put_events(id, given, carried).map(Some),
                    "kinesis" => self.put_record(given, carried).map(Some),
                    "states" => self.start_execution(id, call, *pattern, given),
                    _ => durable::begin_durable(self, id, call, given).map(|()| None),
                }
            }
            Resource::Activity(arn) => {
                let name = activity_name(arn);
                if !self.workflows.activities.is_declared(name) {
                    let text = format!("Activity Does Not Exist: '{arn}'");
                    return Err(ErrorDetails::new("States.Runtime", Some(text)));
                }
                let kind = CallKind::Activity { token: call.token.clone().unwrap_or_default(), is_taken: false };
                self.call_later(id, call.task, name, call.arguments.text().clone(), kind);
                Ok(None)
            }
        }
    }

    /// Write down that a function is to be called.
    pub(super) fn call_later(&mut self, id: RunId, task: TaskId, function: &str, payload: Text, kind: CallKind) {
        let open = OpenCall { function: function_name(function).to_owned(), payload, kind };
        if let Some(run) = self.workflows.runs.get_mut(&id) {
            run.calls.insert(task, open);
        }
        let memory = self.workflows.runs.get(&id).and_then(|run| run.memory.as_ref());
        if let Some(is_again) = memory.map(|memory| memory.is_again) {
            // Those of an app that has not started wait for its start.
            if self.below.ctx.started {
                self.participant().begin_call(id, task, !is_again);
            }
        } else if let Some(step) = self.workflows.unsaved.by_run.get_mut(&id) {
            step.calls.push(task);
        }
    }

    /// <https://docs.aws.amazon.com/step-functions/latest/dg/connect-lambda.html>
    fn invoke(&mut self, id: RunId, call: &Call, given: Given<'_>) -> Answered {
        let fault = |text: String| ErrorDetails::new("Lambda.SdkClientException", Some(text));
        let allowed = [("InvocationType", &["RequestResponse"][..]), ("LogType", &["None", "Tail"][..])];
        for (parameter, allowed) in allowed {
            if let Some(text) = given.text(parameter).filter(|text| !allowed.contains(&text.as_str())) {
                let allowed = allowed.join(", ");
                return Err(fault(format!("{parameter} {text:?} is not supported: allowed are {allowed}")));
            }
        }
        let name = given.text("FunctionName").ok_or_else(|| missing("Lambda", "FunctionName"))?;
        let function = match given.text("Qualifier") {
            Some(qualifier) => format!("{name}:{qualifier}"),
            None => name,
        };
        let payload = given.value("Payload").map_or_else(|| "{}".into(), ToString::to_string);
        let goes_on = call.resource.pattern().is_submitted();
        let kind = if goes_on { CallKind::Submitted } else { CallKind::Wrapped };
        self.call_later(id, call.task, &function, payload.into(), kind);
        Ok(None)
    }

    /// <https://docs.aws.amazon.com/step-functions/latest/dg/connect-sqs.html>
    fn send_message(&mut self, given: Given<'_>, carried: Carried<'_>) -> Result<Value, ErrorDetails> {
        let fault = |error: &EngineError| failure("SQS", "QueueDoesNotExistException", error);
        let url = given.text("QueueUrl").ok_or_else(|| missing("SQS", "QueueUrl"))?;
        let name = url.rsplit(['/', ':']).next().unwrap_or_default();
        let delay_s = given.number("DelaySeconds").map_err(|text| client_fault("SQS", text))?;
        let delay_ms = delay_s.map(|seconds| seconds.saturating_mul(1_000));
        let message = NewMessage {
            body: given.text("MessageBody").ok_or_else(|| missing("SQS", "MessageBody"))?,
            group_id: given.text("MessageGroupId"),
            deduplication_id: given.text("MessageDeduplicationId"),
            delay_ms,
            attributes: attributes(given),
        };
        let queue = self.below.queues.queue_id(name).map_err(|error| fault(&error))?;
        let mut queues = self.below.queues();
        let outgoing = send::accept_part(&mut queues, queue, &message, carried).map_err(|error| fault(&error))?;
        let id = outgoing.id();
        send::queue_outgoing(&mut queues, queue, outgoing);
        Ok(json!({"MessageId": uuid_text(id), "MD5OfMessageBody": crate::payload::message::md5_text(&message.body)}))
    }

    /// <https://docs.aws.amazon.com/step-functions/latest/dg/connect-sns.html>
    fn publish(&mut self, given: Given<'_>, carried: Carried<'_>) -> Result<Value, ErrorDetails> {
        let arn = given.text("TopicArn").ok_or_else(|| missing("Sns", "TopicArn"))?;
        let name = arn.rsplit(':').next().unwrap_or_default();
        let message = given.text("Message").ok_or_else(|| missing("Sns", "Message"))?;
        let publication = match given.text("MessageStructure").as_deref() {
            None => Publication { message, ..Publication::default() },
            Some("json") => Publication::by_protocol(&message)
                .map_err(|why| ErrorDetails::new("Sns.InvalidParameterException", Some(why.to_owned())))?,
            Some(other) => {
                let text = format!("MessageStructure {other:?} is not supported: allowed is \"json\"");
                return Err(client_fault("Sns", text));
            }
        };
        let (subject, group_id) = (given.text("Subject"), given.text("MessageGroupId"));
        let publication = Publication { subject, group_id, attributes: attributes(given), ..publication };
        let published = publish::publish_part(&mut self.below.topics(), name, &publication, carried);
        let id = published.map_err(|error| failure("Sns", "NotFoundException", &error))?;
        Ok(json!({"MessageId": uuid_text(id)}))
    }

    /// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html>
    fn put_record(&mut self, given: Given<'_>, carried: Carried<'_>) -> Result<Value, ErrorDetails> {
        let stream = given.text("StreamName").or_else(|| given.text("StreamARN"));
        let stream = stream.ok_or_else(|| missing("Kinesis", "StreamName"))?;
        let stream = stream.rsplit('/').next().unwrap_or_default();
        if stream.starts_with(GROUP) {
            // A log group is a stream of the store, and none of Kinesis's.
            let text = format!("Stream {stream} not found.");
            return Err(ErrorDetails::new("Kinesis.ResourceNotFoundException", Some(text)));
        }
        let data = given.text("Data").ok_or_else(|| missing("Kinesis", "Data"))?;
        let key = given.text("PartitionKey").ok_or_else(|| missing("Kinesis", "PartitionKey"))?;
        let fault = |error: EngineError| failure("Kinesis", "ResourceNotFoundException", &error);
        check_record(&key, data.as_bytes()).map_err(fault)?;
        let record = [(key.as_str(), data.as_bytes())];
        let numbers = crate::sources::stream::put::accept_all(
            &mut self.below.streams(),
            stream,
            record.into_iter(),
            carried.trace,
        )
        .map_err(fault)?;
        let number = numbers.first().copied().unwrap_or_default().to_string();
        let shard = sequence::parse(&number).map_or_else(String::new, |(index, _)| sequence::shard_id(index));
        Ok(json!({"SequenceNumber": number, "ShardId": shard}))
    }

    /// <https://docs.aws.amazon.com/step-functions/latest/dg/connect-eventbridge.html>
    fn put_events(&mut self, id: RunId, given: Given<'_>, carried: Carried<'_>) -> Result<Value, ErrorDetails> {
        let given = given.each("Entries").ok_or_else(|| missing("EventBridge", "Entries"))?;
        let mut entries = Vec::with_capacity(given.len());
        let about = self.workflows.runs.get(&id).map(|run| run.execution.identity());
        let about = about.map(|about| [about.execution_arn.as_str().to_owned(), about.machine_arn.as_str().to_owned()]);
        for one in given {
            let bus = one.text("EventBusName").unwrap_or_else(|| "default".into());
            let bus = bus.rsplit('/').next().unwrap_or_default().to_owned();
            let mut resources = texts_of(one).map_err(|text| client_fault("EventBridge", text))?;
            resources.extend(about.iter().flatten().cloned());
            let entry = Entry {
                source: one.text("Source").unwrap_or_default(),
                detail_type: one.text("DetailType").unwrap_or_default(),
                detail: one.text("Detail").unwrap_or_default(),
                resources,
                time_ms: time_of(one).map_err(|text| client_fault("EventBridge", text))?,
            };
            // An event that is refused fails the task: none of the others is put either.
            self.below
                .buses
                .check_bus(&bus)
                .map_err(|error| failure("EventBridge", "ResourceNotFoundException", &error))?;
            if let Err(EntryResult::Refused { error_code, error_message }) =
                schemas::check_event(&mut self.below, &bus, &entry)
            {
                return Err(ErrorDetails::new(
                    "EventBridge.FailedEntry",
                    Some(format!("{error_code}: {error_message}")),
                ));
            }
            entries.push((bus, entry));
        }
        let put = entries
            .iter()
            .map(|(bus, entry)| json!({"EventId": put::accept_event(&mut self.below, bus, entry, carried)}));
        Ok(json!({"Entries": put.collect::<Vec<_>>(), "FailedEntryCount": 0}))
    }

    /// <https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html>
    fn start_execution(&mut self, id: RunId, call: &Call, pattern: Pattern, given: Given<'_>) -> Answered {
        let fault = |error: &EngineError| {
            let name = match error {
                EngineError::Conflict(_) => "ExecutionAlreadyExistsException",
                EngineError::NotFound(_) => "StateMachineDoesNotExistException",
                EngineError::TooMany { .. } => "ThrottlingException",
                _ => "ValidationException",
            };
            ErrorDetails::new(format!("StepFunctions.{name}"), Some(error.to_string()))
        };
        let arn = given.text("StateMachineArn").ok_or_else(|| missing("StepFunctions", "StateMachineArn"))?;
        let asked = arn.split_once(":stateMachine:").map_or(arn.as_str(), |(_, asked)| asked).to_owned();
        let chosen = versions::choose(self, &asked).map_err(|error| fault(&error))?;
        let machine = &chosen.machine;
        let workflow = machine.row.name.as_str();
        let input = match given.get("Input") {
            Some(Value::String(text)) => Data::parse(text)
                .map_err(|error| fault(&EngineError::Invalid(format!("Input is not JSON: {error:?}"))))?,
            // As on AWS, no input is an empty object.
            None => Data::new(Value::Object(Map::new())),
            Some(value) => Data::new(value.clone()),
        };
        let name = given.text("Name");
        let waits = matches!(pattern, Pattern::Sync | Pattern::Sync2);
        let depth = self.workflows.runs.get(&id).map_or(0, |run| run.row.depth) + 1;
        let trace = self.workflows.runs.get(&id).and_then(|run| run.row.trace.clone());
        if machine.row.kind == Kind::Express {
            if waits {
                return Err(ErrorDetails::new(
                    "StepFunctions.StateMachineTypeNotSupportedException",
                    Some(TYPE_NOT_SUPPORTED.to_owned()),
                ));
            }
            throttle::take_start(self, Kind::Express).map_err(|error| fault(&error))?;
            let accepted = express::accept(self, &chosen, Begin { name, input, parent: None, depth, trace });
            let (id, name) = accepted.map_err(|error| fault(&error))?;
            let arn = self.below.ctx.run_arn(&machine.row, id, &name);
            return Ok(Some(json!({"ExecutionArn": arn, "StartDate": self.below.ctx.now.wall_ms})));
        }
        let parent = waits.then_some(Parent { run: id, task: call.task, as_json: pattern == Pattern::Sync2 });
        let known = name.as_ref().map(|name| self.begun_before(&machine.row, name, &input)).transpose();
        let child = if let Some((child, _)) = known.map_err(|error| fault(&error))?.flatten() {
            if let Some(parent) = parent {
                self.workflows.followers.entry(child).or_default().push(parent);
            }
            child
        } else {
            throttle::take_start(self, machine.row.kind).map_err(|error| fault(&error))?;
            self.begin(&chosen, Begin { name, input, parent, depth, trace }).map_err(|error| fault(&error))?
        };
        if let Some(run) = self.workflows.runs.get_mut(&id).filter(|_| waits) {
            // What the task is given of an execution that something else has begun.
            let payload = if pattern == Pattern::Sync2 { Text::from(AS_JSON) } else { Text::default() };
            let (function, kind) = (workflow.to_owned(), CallKind::Execution(child));
            run.calls.insert(call.task, OpenCall { function, payload, kind });
        }
        let row = self.workflows.runs.get(&child).map(|run| &run.row);
        let arn = row.map(|row| self.below.ctx.execution_arn(workflow, &row.name));
        Ok(Some(json!({"ExecutionArn": arn, "StartDate": row.map(|row| row.started_ms)})))
    }
}

/// An activity's name out of its ARN.
pub(crate) fn activity_name(arn: &str) -> &str {
    arn.split_once(":activity:").map_or(arn, |(_, name)| name)
}

/// A function's name, perhaps with its qualifier, out of its ARN.
pub(crate) fn function_name(arn: &str) -> &str {
    if !arn.starts_with("arn:") {
        return arn;
    }
    arn.split_once(":function:").map_or(arn, |(_, name)| name)
}

/// `MessageAttributes` as SQS and SNS have them.
fn attributes(given: Given<'_>) -> Vec<Attribute> {
    let attribute = |(name, of): (&String, Given<'_>)| Attribute {
        name: name.clone(),
        data_type: of.text("DataType").unwrap_or_default(),
        value: of.text("StringValue").or_else(|| of.text("BinaryValue")).unwrap_or_default(),
    };
    given.by_name("MessageAttributes").into_iter().map(attribute).collect()
}

/// The ARNs that an event is about.
fn texts_of(entry: Given<'_>) -> Result<Vec<String>, String> {
    let Some(given) = entry.get("Resources") else { return Ok(Vec::new()) };
    let texts = given.as_array().and_then(|list| list.iter().map(|one| one.as_str().map(str::to_owned)).collect());
    texts.ok_or_else(|| format!("Resources is {given}: allowed is a list of texts"))
}

/// When an event happened: seconds since 1970, or a moment as RFC 3339 writes it.
fn time_of(entry: Given<'_>) -> Result<Option<u64>, String> {
    let Some(given) = entry.get("Time") else { return Ok(None) };
    let seconds = |seconds: f64| (seconds >= 0.0).then_some((seconds * 1_000.0) as u64);
    let moment = |text: &str| u64::try_from(Timestamp::parse(text)?.milliseconds()).ok();
    let time_ms = given.as_f64().and_then(seconds).or_else(|| given.as_str().and_then(moment));
    let allowed = "seconds since 1970, or a moment as 2012-10-09T19:00:55Z";
    time_ms.map(Some).ok_or_else(|| format!("Time is {given}: allowed are {allowed}"))
}

/// What a task is told of its function's response.
pub(super) fn succeeded(task: TaskId, kind: &CallKind, response: &Data, version: &str, request: u128) -> Fact {
    if *kind == CallKind::Plain {
        return Fact::TaskSucceeded(task, response.clone());
    }
    let answer = Data::new(json!({
        "ExecutedVersion": version,
        "Payload": response.value(),
        "SdkResponseMetadata": {"RequestId": uuid_text(request)},
        "StatusCode": 200,
    }));
    if *kind == CallKind::Submitted {
        return Fact::TaskSubmitted(task, answer);
    }
    Fact::TaskSucceeded(task, answer)
}

/// The error of a function's error object: its type, with the whole object as its cause.
pub(super) fn error_of(body: String) -> ErrorDetails {
    let object: Value = serde_json::from_str(&body).unwrap_or_default();
    let name = object.get("errorType").and_then(Value::as_str).unwrap_or("Lambda.Unknown");
    ErrorDetails::new(name, Some(body))
}

/// An error as AWS's services name it: `Service.Name`.
fn failure(service: &str, not_found: &str, error: &EngineError) -> ErrorDetails {
    let name = if matches!(error, EngineError::NotFound(_)) { not_found } else { "SdkClientException" };
    ErrorDetails::new(format!("{service}.{name}"), Some(error.to_string()))
}

fn missing(service: &str, argument: &str) -> ErrorDetails {
    client_fault(service, format!("{argument} is missing"))
}

fn client_fault(service: &str, text: String) -> ErrorDetails {
    ErrorDetails::new(format!("{service}.SdkClientException"), Some(text))
}
