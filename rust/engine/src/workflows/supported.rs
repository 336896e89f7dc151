//! What a definition may name that is good in AWS's language and not built here: refused when a machine is declared, never ignored.

use forebay_core::workflow::definition::{Pattern, Resource};
use serde_json::{Map, Value};

use crate::base::error::EngineError;

/// Fields of distributed Maps.
const DISTRIBUTED: [&str; 3] = ["ItemReader", "ItemBatcher", "ResultWriter"];
const SUPPORTED: &str =
    "functions by ARN, lambda:invoke, sqs:sendMessage, sns:publish, events:putEvents (each also with \
                         .waitForTaskToken), and states:startExecution with .sync or .sync:2";

/// Refuse a definition that was found good but names what is not built.
pub(crate) fn check_supported(definition: &str) -> Result<(), EngineError> {
    let machine: Value = serde_json::from_str(definition).unwrap_or_default();
    match find_unsupported(&machine, "") {
        Some(text) => Err(EngineError::Invalid(text)),
        None => Ok(()),
    }
}

/// What is the matter with a machine, a branch or a processor, and its place.
fn find_unsupported(flow: &Value, place: &str) -> Option<String> {
    let states = flow.get("States")?.as_object()?;
    states.iter().find_map(|(name, state)| {
        let place = format!("{place}/States/{name}");
        let state = state.as_object()?;
        of_state(state, &place).or_else(|| {
            let branches = state.get("Branches").and_then(Value::as_array).into_iter().flatten().enumerate();
            let branches = branches.map(|(at, branch)| (branch, format!("{place}/Branches[{at}]")));
            let processors = ["ItemProcessor", "Iterator"].into_iter();
            let processors = processors.filter_map(|field| Some((state.get(field)?, format!("{place}/{field}"))));
            branches.chain(processors).find_map(|(flow, place)| find_unsupported(flow, &place))
        })
    })
}

fn of_state(state: &Map<String, Value>, place: &str) -> Option<String> {
    let is_distributed = state
        .get("ItemProcessor")
        .and_then(|processor| processor.pointer("/ProcessorConfig/Mode"))
        .is_some_and(|mode| mode == "DISTRIBUTED");
    if is_distributed {
        return Some(format!("{place}: a Map in DISTRIBUTED mode cannot run here; use INLINE mode"));
    }
    if let Some(field) = DISTRIBUTED.into_iter().find(|field| state.contains_key(*field)) {
        return Some(format!("{place}/{field}: only a Map in DISTRIBUTED mode has it, which cannot run here"));
    }
    if state.contains_key("Credentials") {
        return Some(format!(
            "{place}/Credentials: there are no roles here, so a task cannot take one; remove the field"
        ));
    }
    let resource = state.get("Resource").filter(|_| state.get("Type").is_some_and(|kind| kind == "Task"))?.as_str()?;
    let is_supported = Resource::parse(resource).is_some_and(|resource| can_be_called(&resource));
    (!is_supported).then(|| format!("{place}/Resource: {resource:?} cannot be called here; supported are {SUPPORTED}"))
}

fn can_be_called(resource: &Resource) -> bool {
    match resource {
        Resource::Function(_) => true,
        Resource::Activity(_) => false,
        Resource::Service { service, action, pattern } => {
            let action = action.split('.').next().unwrap_or_default();
            match (service.as_str(), action) {
                ("lambda", "invoke") | ("sqs", "sendMessage") | ("sns", "publish") | ("events", "putEvents") => {
                    matches!(pattern, Pattern::RequestResponse | Pattern::WaitForTaskToken)
                }
                ("states", "startExecution") => true,
                _ => false,
            }
        }
    }
}
