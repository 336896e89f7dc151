//! What the calls of this store take. Definitions are checked by this list, and calls read their parameters by it: what has no effect is refused.

use forebay_core::workflow::definition::Pattern;
use forebay_core::workflow::machine::ErrorDetails;
use serde_json::{Map, Value};

/// A call that the engine makes itself.
pub(super) struct StoreCall {
    service: &'static str,
    action: &'static str,
    pub(super) patterns: &'static [Pattern],
    parameters: &'static [Parameter],
}

/// A parameter of a call.
struct Parameter {
    name: &'static str,
    is_needed: bool,
    /// What each member of its list or of its object takes; empty: it is one value.
    of_each: &'static [Parameter],
}

const fn needed(name: &'static str) -> Parameter {
    Parameter { name, is_needed: true, of_each: &[] }
}

const fn may(name: &'static str) -> Parameter {
    Parameter { name, is_needed: false, of_each: &[] }
}

const ATTRIBUTES: Parameter = Parameter {
    name: "MessageAttributes",
    is_needed: false,
    of_each: &[may("DataType"), may("StringValue"), may("BinaryValue")],
};
const ENTRIES: Parameter = Parameter {
    name: "Entries",
    is_needed: true,
    of_each: &[may("Detail"), may("DetailType"), may("EventBusName"), may("Resources"), may("Source"), may("Time")],
};

const ANSWERED_OR_TOLD: &[Pattern] = &[Pattern::RequestResponse, Pattern::WaitForTaskToken];

/// Documented in `docs/workflows.md`; its table is compared with this list.
static CALLS: [StoreCall; 7] = [
    StoreCall {
        service: "lambda",
        action: "invoke",
        patterns: ANSWERED_OR_TOLD,
        parameters: &[
            needed("FunctionName"),
            may("InvocationType"),
            // It adds nothing to the answer: what a function writes is in its log.
            may("LogType"),
            may("Payload"),
            may("Qualifier"),
        ],
    },
    StoreCall {
        service: "sqs",
        action: "sendMessage",
        patterns: ANSWERED_OR_TOLD,
        parameters: &[
            may("DelaySeconds"),
            ATTRIBUTES,
            needed("MessageBody"),
            may("MessageDeduplicationId"),
            may("MessageGroupId"),
            needed("QueueUrl"),
        ],
    },
    StoreCall {
        service: "sns",
        action: "publish",
        patterns: ANSWERED_OR_TOLD,
        parameters: &[
            needed("Message"),
            ATTRIBUTES,
            may("MessageGroupId"),
            may("MessageStructure"),
            may("Subject"),
            needed("TopicArn"),
        ],
    },
    StoreCall {
        service: "kinesis",
        action: "putRecord",
        patterns: ANSWERED_OR_TOLD,
        // One of the stream's two names is needed.
        parameters: &[needed("Data"), needed("PartitionKey"), may("StreamARN"), may("StreamName")],
    },
    StoreCall { service: "events", action: "putEvents", patterns: ANSWERED_OR_TOLD, parameters: &[ENTRIES] },
    StoreCall {
        service: "states",
        action: "startExecution",
        patterns: &[Pattern::RequestResponse, Pattern::Sync, Pattern::Sync2, Pattern::WaitForTaskToken],
        parameters: &[may("Input"), may("Name"), needed("StateMachineArn")],
    },
    StoreCall {
        service: DURABLE,
        action: "durable",
        patterns: &[Pattern::RequestResponse],
        parameters: &[needed("FunctionName"), may("Payload")],
    },
];
/// Nobody writes its call but forebay.
const DURABLE: &str = "forebay";

/// What calls of integrations need, by their names.
const NEEDED: [(&str, &[&str]); 1] = [("http:invoke", &["ApiEndpoint", "Method"])];
/// What `http:invoke` may send.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html>
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"];

/// The call of a resource, if the engine makes it itself. `action` is without its pattern.
pub(super) fn store_call(service: &str, action: &str) -> Option<&'static StoreCall> {
    CALLS.iter().find(|call| (call.service, call.action) == (service, action))
}

/// Name what a definition may call, for people.
pub(super) fn names() -> String {
    let calls = CALLS.iter().filter(|call| call.service != DURABLE);
    calls.map(|call| format!("{}:{}", call.service, call.action)).collect::<Vec<_>>().join(", ")
}

/// What is wrong with parameters.
pub(super) struct Wrong {
    /// Where, below the parameters: `/Entries[0]/Sorce`.
    pub(super) place: String,
    pub(super) message: String,
    /// It is not there.
    pub(super) is_missing: bool,
}

/// How parameters are written.
#[derive(Clone, Copy)]
pub(super) enum Written {
    /// As JSONPath's templates: a name ends in `.$` if its value is a path.
    Template,
    /// As they are: in JSONata, and what a task is given.
    Plain,
}

impl Written {
    fn name(self, key: &str) -> &str {
        match self {
            Self::Template => key.strip_suffix(".$").unwrap_or(key),
            Self::Plain => key,
        }
    }
}

impl StoreCall {
    /// What is wrong with parameters.
    pub(super) fn wrong(&self, given: &Map<String, Value>, written: Written) -> Vec<Wrong> {
        let mut found = Vec::new();
        look(self.parameters, (given, written), "", &format!("{}:{}", self.service, self.action), &mut found);
        found
    }

    /// A task's arguments.
    pub(super) fn given<'a>(&self, arguments: &'a Value) -> Given<'a> {
        Given { value: arguments, known: self.parameters }
    }
}

fn look(
    known: &[Parameter],
    (given, written): (&Map<String, Value>, Written),
    place: &str,
    call: &str,
    found: &mut Vec<Wrong>,
) {
    for (key, value) in given {
        let name = written.name(key);
        let Some(parameter) = known.iter().find(|parameter| parameter.name == name) else {
            let message = unsupported(name, call, known.iter().map(|parameter| parameter.name));
            found.push(Wrong { place: format!("{place}/{key}"), message, is_missing: false });
            continue;
        };
        let place = format!("{place}/{key}");
        let mut each = |member: &Value, at: &dyn Fn() -> String| {
            if let (false, Some(member)) = (parameter.of_each.is_empty(), member.as_object()) {
                look(parameter.of_each, (member, written), &at(), call, found);
            }
        };
        match value {
            Value::Array(members) => {
                for (number, member) in members.iter().enumerate() {
                    each(member, &|| format!("{place}[{number}]"));
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    each(member, &|| format!("{place}/{name}"));
                }
            }
            _ => {}
        }
    }
    let needed = known.iter().filter(|parameter| parameter.is_needed).map(|parameter| parameter.name);
    found.extend(missing(needed, given, written, place));
}

/// The parameters that are needed and not there.
fn missing<'a>(
    needed: impl Iterator<Item = &'a str>,
    given: &Map<String, Value>,
    written: Written,
    place: &str,
) -> Vec<Wrong> {
    let is_given = |name: &str| given.keys().any(|key| written.name(key) == name);
    let wrong = |name: &str| {
        let message = format!("The field {name:?} is required but was missing");
        Wrong { place: place.to_owned(), message, is_missing: true }
    };
    needed.filter(|name| !is_given(name)).map(wrong).collect()
}

/// What is wrong with the parameters of an integration's call: not among those that it names, or needed and not there.
pub(super) fn of_integration(
    allowed: &[String],
    given: &Map<String, Value>,
    written: Written,
    call: &str,
) -> Vec<Wrong> {
    let mut found = unnamed(allowed, given, written, call);
    let Some((_, needed)) = NEEDED.iter().find(|(name, _)| *name == call) else { return found };
    found.extend(missing(needed.iter().copied(), given, written, ""));
    // One that an expression gives is known when the task runs.
    let method = given.get("Method").filter(|method| !method.as_str().is_some_and(|text| text.starts_with("{%")));
    if let Some(method) = method {
        let name = method.as_str().unwrap_or_default().to_ascii_uppercase();
        if !METHODS.contains(&name.as_str()) {
            let message = format!("{method} is no method of {call}: allowed are {}", METHODS.join(", "));
            found.push(Wrong { place: "/Method".into(), message, is_missing: false });
        }
    }
    found
}

/// What is given and not allowed.
pub(super) fn unnamed(allowed: &[String], given: &Map<String, Value>, written: Written, call: &str) -> Vec<Wrong> {
    let strange = given.keys().filter(|key| !allowed.iter().any(|name| name == written.name(key)));
    let wrong = |key: &String| {
        let message = unsupported(written.name(key), call, allowed.iter().map(String::as_str));
        Wrong { place: format!("/{key}"), message, is_missing: false }
    };
    strange.map(wrong).collect()
}

fn unsupported<'a>(name: &str, call: &str, allowed: impl Iterator<Item = &'a str>) -> String {
    let allowed = allowed.collect::<Vec<_>>().join(", ");
    format!("The field {name:?} is not supported by {call}: allowed are {allowed}")
}

/// The error of a task that was given what its call does not take.
pub(super) fn refuse_unknown(found: &[Wrong]) -> Result<(), ErrorDetails> {
    match found.iter().find(|wrong| !wrong.is_missing) {
        Some(wrong) => {
            let text = format!("{}: {}", wrong.place, wrong.message);
            Err(ErrorDetails::new("States.Runtime", Some(text)))
        }
        None => Ok(()),
    }
}

/// Arguments, or one member of a list among them: they are read by the names that the list above has.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    value: &'a Value,
    known: &'static [Parameter],
}

impl<'a> Given<'a> {
    /// As it was given, perhaps null.
    pub(super) fn value(self, name: &str) -> Option<&'a Value> {
        debug_assert!(self.known.iter().any(|parameter| parameter.name == name), "{name} is read and not listed");
        self.value.get(name)
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.value(name).filter(|value| !value.is_null())
    }

    /// An argument as a text; what is no text is sent as its JSON.
    pub(super) fn text(self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// A whole number of 0 or more.
    pub(super) fn number(self, name: &str) -> Result<Option<u64>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        // An expression of JSONata may give 5.0.
        let whole = |number: f64| (number >= 0.0 && number.fract() == 0.0).then_some(number as u64);
        let number = value.as_u64().or_else(|| value.as_f64().and_then(whole));
        number.map(Some).ok_or_else(|| format!("{name} is {value}: allowed is a whole number of 0 or more"))
    }

    /// The members of a list; `None`: there is no list.
    pub(super) fn each(self, name: &str) -> Option<Vec<Given<'a>>> {
        let members = self.get(name)?.as_array()?;
        Some(members.iter().map(|value| Given { value, known: self.of_each(name) }).collect())
    }

    /// The members of an object, by their names.
    pub(super) fn by_name(self, name: &str) -> Vec<(&'a String, Given<'a>)> {
        let members = self.get(name).and_then(Value::as_object).into_iter().flatten();
        members.map(|(key, value)| (key, Given { value, known: self.of_each(name) })).collect()
    }

    fn of_each(self, name: &str) -> &'static [Parameter] {
        self.known.iter().find(|parameter| parameter.name == name).map_or(&[], |parameter| parameter.of_each)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(service: &str, action: &str, given: &Value) -> Vec<(String, String)> {
        let found = store_call(service, action).unwrap().wrong(given.as_object().unwrap(), Written::Template);
        found.into_iter().map(|wrong| (wrong.place, wrong.message)).collect()
    }

    #[test]
    fn parameters_are_known_at_each_depth_and_needed_ones_are_there() {
        let attribute = json!({"DataType": "String", "StringValue.$": "$.x"});
        let good = json!({"QueueUrl.$": "$.q", "MessageBody": {"any": "thing"}, "MessageAttributes": {"a": attribute}});
        assert!(wrong("sqs", "sendMessage", &good).is_empty());
        let allowed = "allowed are DelaySeconds, MessageAttributes, MessageBody, MessageDeduplicationId, MessageGroupId, QueueUrl";
        let bad = json!({"QueueUrl": "q", "MesageBody.$": "$", "MessageAttributes": {"a": {"Value": 1}}});
        let of_attribute = "allowed are DataType, StringValue, BinaryValue";
        let unknown =
            |name: &str, allowed: &str| format!("The field \"{name}\" is not supported by sqs:sendMessage: {allowed}");
        let told = wrong("sqs", "sendMessage", &bad);
        let told: Vec<(&str, &str)> = told.iter().map(|(place, message)| (place.as_str(), message.as_str())).collect();
        assert_eq!(
            told,
            [
                ("/MesageBody.$", unknown("MesageBody", allowed).as_str()),
                ("/MessageAttributes/a/Value", unknown("Value", of_attribute).as_str()),
                ("", "The field \"MessageBody\" is required but was missing"),
            ]
        );
        let entries = json!({"Entries": [{"Source": "s"}, {"Source": "s", "TraceHeader": "x"}]});
        let found = wrong("events", "putEvents", &entries);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "/Entries[1]/TraceHeader");
        let given = json!({"Entries.$": []});
        let found = store_call("events", "putEvents").unwrap().wrong(given.as_object().unwrap(), Written::Plain);
        assert_eq!(found.len(), 2, "it is a name, and not a path");
    }
}
