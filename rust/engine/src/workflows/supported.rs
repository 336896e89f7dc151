//! What a definition may name that is good in AWS's language and not built here: refused when a machine is declared, never ignored.

use forebay_core::workflow::definition::{Pattern, Resource};
use serde_json::{Map, Value};

use crate::base::error::EngineError;
use crate::workflows::calls::activity_name;

const SUPPORTED: &str =
    "functions and activities by ARN, lambda:invoke, sqs:sendMessage, sns:publish, kinesis:putRecord, events:putEvents (each also with \
                         .waitForTaskToken), and states:startExecution with .sync or .sync:2";

/// Refuse a definition that was found good but names what is not built.
/// `has_activity` says whether an activity is declared.
pub(crate) fn check_supported(definition: &str, has_activity: &dyn Fn(&str) -> bool) -> Result<(), EngineError> {
    let machine: Value = serde_json::from_str(definition).unwrap_or_default();
    match find_unsupported(&machine, "", has_activity) {
        Some(text) => Err(EngineError::Invalid(text)),
        None => Ok(()),
    }
}

/// What is the matter with a machine, a branch or a processor, and its place.
fn find_unsupported(flow: &Value, place: &str, has_activity: &dyn Fn(&str) -> bool) -> Option<String> {
    let states = flow.get("States")?.as_object()?;
    states.iter().find_map(|(name, state)| {
        let place = format!("{place}/States/{name}");
        let state = state.as_object()?;
        of_state(state, &place, has_activity).or_else(|| {
            let branches = state.get("Branches").and_then(Value::as_array).into_iter().flatten().enumerate();
            let branches = branches.map(|(at, branch)| (branch, format!("{place}/Branches[{at}]")));
            let processors = ["ItemProcessor", "Iterator"].into_iter();
            let processors = processors.filter_map(|field| Some((state.get(field)?, format!("{place}/{field}"))));
            branches.chain(processors).find_map(|(flow, place)| find_unsupported(flow, &place, has_activity))
        })
    })
}

fn of_state(state: &Map<String, Value>, place: &str, has_activity: &dyn Fn(&str) -> bool) -> Option<String> {
    if state.contains_key("ItemReader") {
        return Some(format!("{place}/ItemReader: no files are read here; give the items in the state's input"));
    }
    if state.get("ResultWriter").is_some_and(|writer| writer.get("Resource").is_some()) {
        return Some(format!(
            "{place}/ResultWriter/Resource: no files are written here; the results are the state's output"
        ));
    }
    if state.contains_key("Credentials") {
        return Some(format!(
            "{place}/Credentials: there are no roles here, so a task cannot take one; remove the field"
        ));
    }
    let resource = state.get("Resource").filter(|_| state.get("Type").is_some_and(|kind| kind == "Task"))?.as_str()?;
    if let Some(Resource::Activity(arn)) = Resource::parse(resource) {
        let name = activity_name(&arn);
        return (!has_activity(name)).then(|| {
            format!(
                "{place}/Resource: activity {name:?} is not declared: declare it before the workflow (`app.activity`)"
            )
        });
    }
    let is_supported = Resource::parse(resource).is_some_and(|resource| can_be_called(&resource));
    (!is_supported).then(|| format!("{place}/Resource: {resource:?} cannot be called here; supported are {SUPPORTED}"))
}

fn can_be_called(resource: &Resource) -> bool {
    match resource {
        Resource::Function(_) | Resource::Activity(_) => true,
        Resource::Service { service, action, pattern } => {
            let action = action.split('.').next().unwrap_or_default();
            match (service.as_str(), action) {
                ("lambda", "invoke")
                | ("sqs", "sendMessage")
                | ("sns", "publish")
                | ("kinesis", "putRecord")
                | ("events", "putEvents") => {
                    matches!(pattern, Pattern::RequestResponse | Pattern::WaitForTaskToken)
                }
                ("states", "startExecution") => true,
                _ => false,
            }
        }
    }
}
