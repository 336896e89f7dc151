//! What a definition names beside AWS's language. What cannot be called here is refused when a machine is declared, never ignored. What is
//! not there, as a queue, an activity or a function, may come before its task does: it is told of, and as on AWS no reason to refuse.

use forebay_core::workflow::definition::{Pattern, Resource};
use serde_json::{Map, Value};

use crate::api::workflow::{DeclareIntegrations, Problem};
use crate::base::error::EngineError;
use crate::workflows::calls::{activity_name, function_name};
use crate::workflows::outside::{object_action, resource_name, Integrations};
use crate::workflows::parameters::Written;
use crate::workflows::{parameters, WorkflowRoom};

/// Codes of problems: AWS's, and forebay's own.
const WRONG: &str = "SCHEMA_VALIDATION_FAILED";
const NOT_SUPPORTED: &str = "NOT_SUPPORTED";

/// Services of AWS's own integrations that have the same names and actions in its SDK.
const NAMED_AS_IN_SDK: [&str; 8] =
    ["athena", "batch", "codebuild", "databrew", "dynamodb", "ecs", "glue", "mediaconvert"];

/// Something of a state that cannot be: the code, the field, and why.
type Found = (&'static str, String, String);

/// Refuse a definition that was found good but names what cannot be called.
pub(super) fn check_definition(room: &WorkflowRoom<'_>, definition: &Value) -> Result<(), EngineError> {
    refuse_first(&unsupported(room, definition))
}

/// The same where no app runs: refuse a definition that is good as the start of an app does that has these integrations.
pub fn check_callable(definition: &str, integrations: DeclareIntegrations) -> Result<(), EngineError> {
    refuse_first(&uncallable(&states(definition), &Integrations::from(integrations)))
}

fn refuse_first(problems: &[Problem]) -> Result<(), EngineError> {
    match problems.first() {
        Some(problem) => Err(EngineError::Invalid(format!("{}: {}", problem.location, problem.message))),
        None => Ok(()),
    }
}

/// Everything in a definition that cannot be called.
pub(super) fn unsupported(room: &WorkflowRoom<'_>, definition: &Value) -> Vec<Problem> {
    uncallable(definition, &room.workflows.integrations)
}

fn uncallable(definition: &Value, integrations: &Integrations) -> Vec<Problem> {
    let mut problems = Vec::new();
    each_state_of(definition, "", &mut |state, place| {
        let found = of_state(state, integrations);
        problems.extend(found.into_iter().map(|(code, field, message)| Problem {
            code: code.into(),
            message,
            location: format!("{place}/{field}"),
        }));
    });
    problems
}

/// Functions, activities, queues, topics, streams, buses and workflows that a definition names and that are not there. AWS accepts such a definition:
/// the task fails.
pub(super) fn missing(room: &WorkflowRoom<'_>, definition: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    each_state_of(definition, "", &mut |state, place| {
        for (field, what, name) in named(state) {
            if !is_there(room, what, &name) {
                problems.push(Problem {
                    code: "NOT_FOUND".into(),
                    message: format!("{what} {name:?} is not there"),
                    location: format!("{place}/{field}"),
                });
            }
        }
    });
    problems
}

fn is_there(room: &WorkflowRoom<'_>, what: &str, name: &str) -> bool {
    let below = &room.below;
    match what {
        "function" => {
            let function = crate::dispatch::versions::split(name).0;
            below.dispatch.function_names.contains_key(function)
        }
        "activity" => room.workflows.activities.is_declared(name),
        "queue" => below.queues.queue_id(name).is_ok(),
        "topic" => below.topics.is_declared(name),
        "stream" => below.streams.by_name.contains_key(name),
        "bus" => below.buses.check_bus(name).is_ok(),
        _ => room.workflows.machine(name).is_ok(),
    }
}

/// The durable function that a definition runs, if that is all that it does.
pub(super) fn durable_of(definition: &Value) -> Option<String> {
    let states = definition.get("States")?.as_object()?;
    let mut states = states.values();
    let (Some(state), None) = (states.next(), states.next()) else { return None };
    let Resource::Service { service, action, .. } = Resource::parse(state.get("Resource")?.as_str()?)? else {
        return None;
    };
    let function = state.get("Parameters")?.get("FunctionName")?.as_str()?;
    (service.as_str() == "forebay" && action.as_str() == "durable").then(|| function_name(function).to_owned())
}

/// Whether results of a distributed Map are written by an integration.
pub(super) fn writes_results(definition: &Value) -> bool {
    let mut writes = false;
    each_state_of(definition, "", &mut |state, _| {
        writes |= state.get("ResultWriter").is_some_and(|writer| writer.get("Resource").is_some());
    });
    writes
}

/// What the functions here look at. What is not a definition has no states.
pub(super) fn states(definition: &str) -> Value {
    serde_json::from_str(definition).unwrap_or_default()
}

/// Visit the states of a machine, a branch or a processor, each with its place.
fn each_state_of(flow: &Value, place: &str, visit: &mut dyn FnMut(&Map<String, Value>, &str)) {
    for (name, state) in flow.get("States").and_then(Value::as_object).into_iter().flatten() {
        let Some(state) = state.as_object() else { continue };
        let place = format!("{place}/States/{name}");
        visit(state, &place);
        let branches = state.get("Branches").and_then(Value::as_array).into_iter().flatten().enumerate();
        for (at, branch) in branches {
            each_state_of(branch, &format!("{place}/Branches[{at}]"), visit);
        }
        for field in ["ItemProcessor", "Iterator"] {
            if let Some(processor) = state.get(field) {
                each_state_of(processor, &format!("{place}/{field}"), visit);
            }
        }
    }
}

/// What of a state cannot be called.
fn of_state(state: &Map<String, Value>, integrations: &Integrations) -> Vec<Found> {
    let mut problems = Vec::new();
    for (field, verb) in [("ItemReader", "read"), ("ResultWriter", "written")] {
        let resource = state.get(field).and_then(|of| of.get("Resource")).and_then(Value::as_str);
        if let Some(resource) = resource.filter(|resource| !integrations.has(object_action(resource))) {
            problems.push((
                NOT_SUPPORTED,
                format!("{field}/Resource"),
                format!("{resource:?}: no object store is declared from which files are {verb}: `App.integrate(ObjectStore(…))`"),
            ));
        }
    }
    problems.extend(of_reader(state));
    if state.contains_key("Credentials") {
        let text = "there are no roles here, so a task cannot take one; remove the field";
        problems.push((NOT_SUPPORTED, "Credentials".into(), text.into()));
    }
    let resource = state.get("Resource").filter(|_| state.get("Type").is_some_and(|kind| kind == "Task"));
    let Some(resource) = resource.and_then(Value::as_str) else { return problems };
    if let Some(Resource::Service { service, pattern: Pattern::Sync | Pattern::Sync2, .. }) = Resource::parse(resource)
    {
        if service.starts_with("aws-sdk:") {
            let text = format!(
                "{resource:?}: calls of AWS's SDK have no .sync, for nothing says when what they begin has ended: ask for it in a state \
                 of its own, or use an integration with .sync"
            );
            problems.push((WRONG, "Resource".into(), text));
            return problems;
        }
    }
    match Resource::parse(resource).filter(|resource| can_be_called(resource, integrations)) {
        Some(Resource::Service { service, action, .. }) => {
            problems.extend(parameters_of(&service, action.split('.').next().unwrap_or_default(), state, integrations));
        }
        Some(Resource::Function(_) | Resource::Activity(_)) => {}
        None => {
            let text = format!(
                "{resource:?} cannot be called here; supported are functions and activities by ARN, {} (each also with .waitForTaskToken, the \
                 last one also with .sync or .sync:2), and what the app's integrations call: `App.integrate`{}",
                parameters::names(),
                instead_of(resource, integrations)
            );
            problems.push((NOT_SUPPORTED, "Resource".into(), text));
        }
    }
    problems
}

/// What may have been meant by a call that there is not.
fn instead_of(resource: &str, integrations: &Integrations) -> String {
    let Some(Resource::Service { service, action, pattern }) = Resource::parse(resource) else { return String::new() };
    let known = integrations.of_service(&service);
    if !known.is_empty() {
        return format!(". Of {service} that is {}", known.join(", "));
    }
    match service.as_str() {
        sdk if sdk == "elasticmapreduce" || sdk.starts_with("aws-sdk:") => {
            format!(". {service} needs boto3 (`pip install \"forebay[aws]\"`)")
        }
        named if pattern == Pattern::RequestResponse && NAMED_AS_IN_SDK.contains(&named) => {
            format!(". With boto3, aws-sdk:{named}:{action} does the same")
        }
        _ => String::new(),
    }
}

/// What of a reader's configuration is AWS's and nothing here.
fn of_reader(state: &Map<String, Value>) -> Vec<Found> {
    let config = state.get("ItemReader").and_then(|reader| reader.get("ReaderConfig"));
    let given = |name: &str| config.and_then(|config| config.get(name));
    let place = |name: &str| format!("ItemReader/ReaderConfig/{name}");
    let mut problems = Vec::new();
    if given("Transformation").is_some_and(|transformation| transformation == "LOAD_AND_FLATTEN") {
        let text = "LOAD_AND_FLATTEN is not supported: a list of files gives their names, so let each item's task read its file";
        problems.push((NOT_SUPPORTED, place("Transformation"), text.into()));
    }
    if given("ExpectedBucketOwner").is_some() {
        let text = "the folders of an object store have no owner; remove the field";
        problems.push((NOT_SUPPORTED, place("ExpectedBucketOwner"), text.into()));
    }
    problems
}

/// What is wrong with the parameters of a call, as far as the definition has them outright.
fn parameters_of(service: &str, action: &str, state: &Map<String, Value>, integrations: &Integrations) -> Vec<Found> {
    let given = ["Parameters", "Arguments"].into_iter().find_map(|field| Some((field, state.get(field)?)));
    // The state's input may be all of them, or one expression give it: then they are known when the task runs.
    let Some((field, Value::Object(given))) = given else { return Vec::new() };
    let written = if field == "Parameters" { Written::Template } else { Written::Plain };
    let name = format!("{service}:{action}");
    let wrong = match parameters::store_call(service, action) {
        Some(call) => call.wrong(given, written),
        None => integrations
            .parameters(&name)
            .map_or_else(Vec::new, |allowed| parameters::of_integration(allowed, given, written, &name)),
    };
    let code = |is_missing: bool| if is_missing { WRONG } else { NOT_SUPPORTED };
    wrong.into_iter().map(|one| (code(one.is_missing), format!("{field}{}", one.place), one.message)).collect()
}

fn can_be_called(resource: &Resource, integrations: &Integrations) -> bool {
    match resource {
        Resource::Function(_) | Resource::Activity(_) => true,
        Resource::Service { service, action, pattern } => {
            match parameters::store_call(service, action.split('.').next().unwrap_or_default()) {
                Some(call) => call.patterns.contains(pattern),
                // Files are for Maps: a task has `aws-sdk:s3`.
                None if service.as_str() == "s3" => false,
                None => resource_name(resource).is_some_and(|name| integrations.has(&name)),
            }
        }
    }
}

/// What of this store a state names outright: the field, what it is, and its name.
fn named(state: &Map<String, Value>) -> Vec<(&'static str, &'static str, String)> {
    let Some(resource) = state.get("Resource").and_then(Value::as_str) else { return Vec::new() };
    let (field, given) = match (state.get("Parameters"), state.get("Arguments")) {
        (Some(given), _) => ("Parameters", given),
        (None, Some(given)) => ("Arguments", given),
        (None, None) => ("Resource", &Value::Null),
    };
    let text = |of: &Value, name: &str| {
        let text = of.get(name).and_then(Value::as_str).filter(|text| !text.starts_with("{%"))?;
        Some(text.to_owned())
    };
    let last = |text: String, of: &[char]| text.rsplit(of).next().unwrap_or_default().to_owned();
    let found = match Resource::parse(resource) {
        Some(Resource::Activity(arn)) => return vec![("Resource", "activity", activity_name(&arn).to_owned())],
        Some(Resource::Function(arn)) => return vec![("Resource", "function", function_name(&arn).to_owned())],
        Some(Resource::Service { service, .. }) => match service.as_str() {
            "lambda" => text(given, "FunctionName").map(|arn| ("function", function_name(&arn).to_owned())),
            "sqs" => text(given, "QueueUrl").map(|url| ("queue", last(url, &['/', ':']))),
            "sns" => text(given, "TopicArn").map(|arn| ("topic", last(arn, &[':']))),
            "kinesis" => {
                let stream = text(given, "StreamName").or_else(|| text(given, "StreamARN"));
                stream.map(|stream| ("stream", last(stream, &['/'])))
            }
            "states" => text(given, "StateMachineArn").map(|arn| ("workflow", last(arn, &[':']))),
            "events" => {
                let entries = given.get("Entries").and_then(Value::as_array).into_iter().flatten();
                let buses = entries.filter_map(|entry| text(entry, "EventBusName"));
                return buses.map(|bus| (field, "bus", last(bus, &['/']))).collect();
            }
            _ => None,
        },
        _ => None,
    };
    found.map(|(what, name)| (field, what, name)).into_iter().collect()
}
