//! EventBridge: tags of event buses and rules, and the policies of buses. Both are kept and given back; a policy is not evaluated,
//! since an app has one account.

use forebay_engine::api::bus::{AnnotateRule, Named, RuleNamed};
use forebay_engine::api::notes::{Annotate, Notes};
use forebay_engine::api::Request;
use serde_json::{json, Value as Json};

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::events::{self, fault, no_bus, rule_fault};
use crate::aws::value::Value;

/// Begins the notes that are tags.
const NOTE_TAG: &str = "tag:";
/// The note that is a bus's policy.
const NOTE_POLICY: &str = "policy";
/// Most tags of a resource. <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-tagging.html>
const TAGS_MAX: usize = 50;
/// Most characters of a policy. <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutPermission.html>
const POLICY_CHARACTERS_MAX: usize = 10_240;

/// Changes of notes; `None` removes one.
type Changes = std::collections::BTreeMap<String, Option<String>>;

/// What has tags.
enum Tagged {
    Bus(String),
    Rule(RuleNamed),
}

impl Tagged {
    fn of(call: &Call<'_>, arn: &str) -> Result<Self, Fault> {
        let prefix = format!("arn:aws:events:{}:{}:", call.region, call.account);
        let resource = arn.strip_prefix(&prefix).and_then(|resource| resource.split_once('/'));
        match resource {
            Some(("event-bus", name)) => Ok(Self::Bus(name.to_owned())),
            Some(("rule", path)) => {
                let (bus, name) = path.rsplit_once('/').unwrap_or(("default", path));
                Ok(Self::Rule(RuleNamed { bus: bus.to_owned(), name: name.to_owned() }))
            }
            _ => Err(Fault::new("ResourceNotFoundException", format!("Resource {arn} does not exist or has no tags."))),
        }
    }

    async fn described(&self, call: &Call<'_>) -> Result<Json, Fault> {
        match self {
            Self::Bus(name) => {
                let asked = Request::BusDescribe(Named { name: name.clone() });
                call.ask(asked).await.map_err(|error| no_bus(name, error))
            }
            Self::Rule(named) => {
                call.ask(Request::RuleDescribe(named.clone())).await.map_err(|error| rule_fault(named, error))
            }
        }
    }

    async fn annotate(self, call: &Call<'_>, notes: Changes) -> Result<Json, Fault> {
        let asked = match self {
            Self::Bus(name) => Request::BusAnnotate(Annotate { name, notes }),
            Self::Rule(RuleNamed { bus, name }) => Request::RuleAnnotate(AnnotateRule { bus, name, notes }),
        };
        call.ask(asked).await.map_err(fault)
    }
}

/// Notes that are the tags of a list.
pub(super) fn tag_notes(tags: &[Value]) -> Changes {
    tags.iter().map(|tag| (format!("{NOTE_TAG}{}", tag.needed("Key")), Some(tag.needed("Value").to_owned()))).collect()
}

/// The tags among notes, as a list.
pub(super) fn tags_of(described: &Json) -> Vec<Value> {
    let notes = described["notes"].as_object().into_iter().flatten();
    let tags = notes.filter_map(|(note, text)| Some((note.strip_prefix(NOTE_TAG)?, text.as_str()?)));
    tags.map(|(key, text)| Value::structure().with("Key", key).with("Value", text)).collect()
}

/// Refuse more tags than something may have.
pub(super) fn check_tags(described: &Json, changes: &Changes) -> Result<(), Fault> {
    let notes = serde_json::from_value::<Notes>(described["notes"].clone()).unwrap_or_default();
    let kept = notes.keys().filter(|note| note.starts_with(NOTE_TAG) && !changes.contains_key(*note)).count();
    if kept + changes.values().flatten().count() <= TAGS_MAX {
        return Ok(());
    }
    Err(Fault::validation(format!("A resource has at most {TAGS_MAX} tags.")))
}

/// Changes that remove tags.
pub(super) fn untagged(call: &Call<'_>) -> Changes {
    call.input.texts("TagKeys").map(|key| (format!("{NOTE_TAG}{key}"), None)).collect()
}

pub(super) async fn tag_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let tagged = Tagged::of(call, call.input.needed("ResourceARN"))?;
    let notes = tag_notes(call.input.list("Tags"));
    check_tags(&tagged.described(call).await?, &notes)?;
    tagged.annotate(call, notes).await?;
    Ok(Value::structure())
}

pub(super) async fn untag_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let tagged = Tagged::of(call, call.input.needed("ResourceARN"))?;
    tagged.described(call).await?;
    tagged.annotate(call, untagged(call)).await?;
    Ok(Value::structure())
}

pub(super) async fn list_tags_for_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let tagged = Tagged::of(call, call.input.needed("ResourceARN"))?;
    Ok(Value::structure().with("Tags", tags_of(&tagged.described(call).await?)))
}

/// The policy of a bus, as it stands in its description.
pub(super) fn policy_of(described: &Json) -> Option<&str> {
    described["notes"][NOTE_POLICY].as_str()
}

/// A statement of the policy that a bus is given by `PutPermission`.
fn statement(call: &Call<'_>, arn: &str) -> Result<Json, Fault> {
    let (Some(id), Some(action), Some(principal)) =
        (call.input.text("StatementId"), call.input.text("Action"), call.input.text("Principal"))
    else {
        return Err(Fault::validation("Parameter(s) StatementId, Action and Principal, or Policy must be specified."));
    };
    let principal = match principal {
        "*" => json!("*"),
        account => json!({"AWS": format!("arn:aws:iam::{account}:root")}),
    };
    let mut statement =
        json!({"Sid": id, "Effect": "Allow", "Principal": principal, "Action": action, "Resource": arn});
    if let Some(condition) = call.input.get("Condition") {
        let (kind, key) = (condition.needed("Type"), condition.needed("Key"));
        statement["Condition"] = json!({kind: {key: condition.needed("Value")}});
    }
    Ok(statement)
}

fn parsed(text: Option<&str>) -> Json {
    let policy = text.and_then(|text| serde_json::from_str::<Json>(text).ok());
    let policy = policy.filter(|policy| policy["Statement"].is_array());
    policy.unwrap_or_else(|| json!({"Version": "2012-10-17", "Statement": []}))
}

pub(super) async fn put_permission(call: &Call<'_>) -> Result<Value, Fault> {
    let bus = Tagged::Bus(events::bus_of(call, call.input.text("EventBusName"))?);
    let described = bus.described(call).await?;
    let text = match call.input.text("Policy") {
        Some(text) => {
            let policy = serde_json::from_str::<Json>(text).ok();
            if policy.is_none_or(|policy| policy.get("Statement").is_none()) {
                return Err(Fault::validation(
                    "Parameter Policy is not valid: a policy is a JSON object with Statement.",
                ));
            }
            text.to_owned()
        }
        None => {
            let new = statement(call, described["arn"].as_str().unwrap_or_default())?;
            let mut policy = parsed(policy_of(&described));
            if let Some(statements) = policy["Statement"].as_array_mut() {
                match statements.iter_mut().find(|one| one["Sid"] == new["Sid"]) {
                    Some(one) => *one = new,
                    None => statements.push(new),
                }
            }
            policy.to_string()
        }
    };
    if text.chars().count() > POLICY_CHARACTERS_MAX {
        let text = format!("The policy has more than {POLICY_CHARACTERS_MAX} characters.");
        return Err(Fault::new("PolicyLengthExceededException", text));
    }
    bus.annotate(call, [(NOTE_POLICY.to_owned(), Some(text))].into()).await?;
    Ok(Value::structure())
}

pub(super) async fn remove_permission(call: &Call<'_>) -> Result<Value, Fault> {
    let bus = Tagged::Bus(events::bus_of(call, call.input.text("EventBusName"))?);
    let described = bus.described(call).await?;
    let mut left = None;
    if call.input.flag("RemoveAllPermissions") != Some(true) {
        let id = call.input.text("StatementId").unwrap_or_default();
        let mut policy = parsed(policy_of(&described));
        let no_statement = || Fault::new("ResourceNotFoundException", "Statement with the provided id does not exist.");
        let statements = policy["Statement"].as_array_mut().ok_or_else(no_statement)?;
        let before = statements.len();
        statements.retain(|one| one["Sid"] != id);
        if statements.len() == before {
            return Err(no_statement());
        }
        left = (!statements.is_empty()).then(|| policy.to_string());
    }
    bus.annotate(call, [(NOTE_POLICY.to_owned(), left)].into()).await?;
    Ok(Value::structure())
}
