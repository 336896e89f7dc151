//! What tasks call. Queues, topics, buses and machines of this store are given theirs at once, in the commit of the step; a function is
//! called when that is durable.

use forebay_core::sequence;
use forebay_core::workflow::definition::{Pattern, Resource};
use forebay_core::workflow::machine::{Call, Data, ErrorDetails, Fact, TaskId, Text};
use serde_json::{json, Map, Value};

use crate::api::bus::{Entry, EntryResult};
use crate::api::topic::Publication;
use crate::api::workflow::Kind;
use crate::base::error::EngineError;
use crate::base::ids::uuid_text;
use crate::base::trace::Carried;
use crate::payload::message::{Attribute, NewMessage};
use crate::sources::stream::shards::check_record;
use crate::workflows::requests::TYPE_NOT_SUPPORTED;
use crate::workflows::row::{CallKind, OpenCall, Parent, RunId};
use crate::workflows::step::Begin;
use crate::workflows::{durable, express, outside, throttle, versions};
use crate::workflows::{Happened, WorkflowRoom};

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
                match (service.as_str(), action.split('.').next().unwrap_or_default()) {
                    ("lambda", _) => self.invoke(id, call, arguments),
                    ("sqs", _) => self.send_message(arguments, carried).map(Some),
                    ("sns", _) => self.publish(arguments, carried).map(Some),
                    ("events", _) => self.put_events(arguments, carried).map(Some),
                    ("kinesis", _) => self.put_record(arguments, carried).map(Some),
                    ("states", _) => self.start_execution(id, call, *pattern),
                    ("forebay", _) => durable::begin_durable(self, id, call).map(|()| None),
                    _ => {
                        outside::call_outside(self, id, call);
                        Ok(None)
                    }
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
    fn invoke(&mut self, id: RunId, call: &Call, arguments: &Value) -> Answered {
        let fault = |text: String| ErrorDetails::new("Lambda.SdkClientException", Some(text));
        let kind = arguments.get("InvocationType").and_then(Value::as_str).unwrap_or("RequestResponse");
        if kind != "RequestResponse" {
            return Err(fault(format!("InvocationType {kind:?} is not supported: allowed is \"RequestResponse\"")));
        }
        let name = text(arguments, "FunctionName").ok_or_else(|| fault("FunctionName is missing".into()))?;
        let function = match text(arguments, "Qualifier") {
            Some(qualifier) => format!("{name}:{qualifier}"),
            None => name,
        };
        let payload = arguments.get("Payload").map_or_else(|| "{}".into(), ToString::to_string);
        let goes_on = call.resource.pattern().is_submitted();
        let kind = if goes_on { CallKind::Submitted } else { CallKind::Wrapped };
        self.call_later(id, call.task, &function, payload.into(), kind);
        Ok(None)
    }

    /// <https://docs.aws.amazon.com/step-functions/latest/dg/connect-sqs.html>
    fn send_message(&mut self, arguments: &Value, carried: Carried<'_>) -> Result<Value, ErrorDetails> {
        let fault = |error: &EngineError| failure("SQS", "QueueDoesNotExistException", error);
        let url = text(arguments, "QueueUrl").ok_or_else(|| missing("SQS", "QueueUrl"))?;
        let name = url.rsplit(['/', ':']).next().unwrap_or_default();
        let delay_ms = arguments.get("DelaySeconds").and_then(Value::as_u64).map(|seconds| seconds * 1_000);
        let message = NewMessage {
            body: text(arguments, "MessageBody").ok_or_else(|| missing("SQS", "MessageBody"))?,
            group_id: text(arguments, "MessageGroupId"),
            deduplication_id: text(arguments, "MessageDeduplicationId"),
            delay_ms,
            attributes: attributes(arguments),
        };
        let queue = self.below.queues.queue_id(name).map_err(|error| fault(&error))?;
        let mut queues = self.below.queues();
        let outgoing = queues.accept_part(queue, &message, carried).map_err(|error| fault(&error))?;
        let id = outgoing.id();
        queues.queue_outgoing(queue, outgoing);
        Ok(json!({"MessageId": uuid_text(id), "MD5OfMessageBody": crate::payload::message::md5_text(&message.body)}))
    }

    /// <https://docs.aws.amazon.com/step-functions/latest/dg/connect-sns.html>
    fn publish(&mut self, arguments: &Value, carried: Carried<'_>) -> Result<Value, ErrorDetails> {
        let arn = text(arguments, "TopicArn").ok_or_else(|| missing("Sns", "TopicArn"))?;
        let name = arn.rsplit(':').next().unwrap_or_default();
        let publication = Publication {
            message: text(arguments, "Message").ok_or_else(|| missing("Sns", "Message"))?,
            subject: text(arguments, "Subject"),
            attributes: attributes(arguments),
        };
        let published = self.below.topics().publish_part(name, &publication, carried);
        let id = published.map_err(|error| failure("Sns", "NotFoundException", &error))?;
        Ok(json!({"MessageId": uuid_text(id)}))
    }

    /// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html>
    fn put_record(&mut self, arguments: &Value, carried: Carried<'_>) -> Result<Value, ErrorDetails> {
        let stream = text(arguments, "StreamName").or_else(|| text(arguments, "StreamARN"));
        let stream = stream.ok_or_else(|| missing("Kinesis", "StreamName"))?;
        let stream = stream.rsplit('/').next().unwrap_or_default();
        let data = text(arguments, "Data").ok_or_else(|| missing("Kinesis", "Data"))?;
        let key = text(arguments, "PartitionKey").ok_or_else(|| missing("Kinesis", "PartitionKey"))?;
        let fault = |error: EngineError| failure("Kinesis", "ResourceNotFoundException", &error);
        check_record(&key, data.as_bytes()).map_err(fault)?;
        let record = [(key.as_str(), data.as_bytes())];
        let numbers = self.below.streams().accept_all(stream, record.into_iter(), carried.trace).map_err(fault)?;
        let number = numbers.first().copied().unwrap_or_default().to_string();
        let shard = sequence::parse(&number).map_or_else(String::new, |(index, _)| sequence::shard_id(index));
        Ok(json!({"SequenceNumber": number, "ShardId": shard}))
    }

    /// <https://docs.aws.amazon.com/step-functions/latest/dg/connect-eventbridge.html>
    fn put_events(&mut self, arguments: &Value, carried: Carried<'_>) -> Result<Value, ErrorDetails> {
        let given =
            arguments.get("Entries").and_then(Value::as_array).ok_or_else(|| missing("EventBridge", "Entries"))?;
        let mut entries = Vec::with_capacity(given.len());
        for one in given {
            let bus = text(one, "EventBusName").unwrap_or_else(|| "default".into());
            let bus = bus.rsplit('/').next().unwrap_or_default().to_owned();
            let resources = one.get("Resources").and_then(Value::as_array).into_iter().flatten();
            let entry = Entry {
                source: text(one, "Source").unwrap_or_default(),
                detail_type: text(one, "DetailType").unwrap_or_default(),
                detail: text(one, "Detail").unwrap_or_default(),
                resources: resources.filter_map(Value::as_str).map(str::to_owned).collect(),
                time_ms: None,
            };
            // An event that is refused fails the task: none of the others is put either.
            self.below
                .buses
                .check_bus(&bus)
                .map_err(|error| failure("EventBridge", "ResourceNotFoundException", &error))?;
            if let Err(EntryResult::Refused { error_code, error_message }) = self.below.check_event(&bus, &entry) {
                return Err(ErrorDetails::new(
                    "EventBridge.FailedEntry",
                    Some(format!("{error_code}: {error_message}")),
                ));
            }
            entries.push((bus, entry));
        }
        let put = entries.iter().map(|(bus, entry)| json!({"EventId": self.below.accept_event(bus, entry, carried)}));
        Ok(json!({"Entries": put.collect::<Vec<_>>(), "FailedEntryCount": 0}))
    }

    /// <https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html>
    fn start_execution(&mut self, id: RunId, call: &Call, pattern: Pattern) -> Answered {
        let arguments = call.arguments.value();
        let fault = |error: &EngineError| {
            let name = match error {
                EngineError::Conflict(_) => "ExecutionAlreadyExistsException",
                EngineError::NotFound(_) => "StateMachineDoesNotExistException",
                EngineError::TooMany { .. } => "ThrottlingException",
                _ => "ValidationException",
            };
            ErrorDetails::new(format!("StepFunctions.{name}"), Some(error.to_string()))
        };
        let arn = text(arguments, "StateMachineArn").ok_or_else(|| missing("StepFunctions", "StateMachineArn"))?;
        let asked = arn.split_once(":stateMachine:").map_or(arn.as_str(), |(_, asked)| asked).to_owned();
        let machine = versions::choose(self, &asked).map_err(|error| fault(&error))?.machine;
        let workflow = machine.row.name.as_str();
        let input = match arguments.get("Input") {
            Some(Value::String(text)) => Data::parse(text)
                .map_err(|error| fault(&EngineError::Invalid(format!("Input is not JSON: {error:?}"))))?,
            // As on AWS, no input is an empty object.
            Some(Value::Null) | None => Data::new(Value::Object(Map::new())),
            Some(value) => Data::new(value.clone()),
        };
        let name = text(arguments, "Name");
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
            let accepted = express::accept(self, &machine, Begin { name, input, parent: None, depth, trace });
            let (id, name) = accepted.map_err(|error| fault(&error))?;
            let arn = self.below.ctx.run_arn(&machine.row, id, &name);
            return Ok(Some(json!({"ExecutionArn": arn, "StartDate": self.below.ctx.now.wall_ms})));
        }
        if let Some(name) = &name {
            if self.find(machine.row.id, name).map_err(|error| fault(&error))?.is_some() {
                let arn = self.below.ctx.execution_arn(workflow, name);
                return Err(fault(&EngineError::Conflict(format!("Execution Already Exists: '{arn}'"))));
            }
        }
        throttle::take_start(self, machine.row.kind).map_err(|error| fault(&error))?;
        let parent = waits.then_some(Parent { run: id, task: call.task, as_json: pattern == Pattern::Sync2 });
        let child = self.begin(&machine, Begin { name, input, parent, depth, trace }).map_err(|error| fault(&error))?;
        if let Some(run) = self.workflows.runs.get_mut(&id).filter(|_| waits) {
            let (function, payload, kind) = (workflow.to_owned(), Text::default(), CallKind::Execution(child));
            run.calls.insert(call.task, OpenCall { function, payload, kind });
        }
        let name = self.workflows.runs.get(&child).map(|run| run.row.name.clone()).unwrap_or_default();
        let arn = self.below.ctx.execution_arn(workflow, &name);
        Ok(Some(json!({"ExecutionArn": arn, "StartDate": self.below.ctx.now.wall_ms})))
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

/// An argument as a text; what is no text is sent as its JSON.
fn text(arguments: &Value, name: &str) -> Option<String> {
    match arguments.get(name)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// `MessageAttributes` as SQS and SNS have them.
fn attributes(arguments: &Value) -> Vec<Attribute> {
    let given = arguments.get("MessageAttributes").and_then(Value::as_object).into_iter().flatten();
    let attribute = |(name, of): (&String, &Value)| Attribute {
        name: name.clone(),
        data_type: text(of, "DataType").unwrap_or_default(),
        value: text(of, "StringValue").or_else(|| text(of, "BinaryValue")).unwrap_or_default(),
    };
    given.map(attribute).collect()
}

/// An error as AWS's services name it: `Service.Name`.
fn failure(service: &str, not_found: &str, error: &EngineError) -> ErrorDetails {
    let name = if matches!(error, EngineError::NotFound(_)) { not_found } else { "SdkClientException" };
    ErrorDetails::new(format!("{service}.{name}"), Some(error.to_string()))
}

fn missing(service: &str, argument: &str) -> ErrorDetails {
    ErrorDetails::new(format!("{service}.SdkClientException"), Some(format!("{argument} is missing")))
}
