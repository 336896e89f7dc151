//! Step Functions: versions and aliases of state machines.

use forebay_engine::api::workflow::{
    DeclareWorkflowAlias, DeleteWorkflowAlias, DeleteWorkflowVersion, Named, PublishWorkflow,
};
use forebay_engine::api::Request;
use forebay_engine::base::error::EngineError;
use serde_json::{json, Value as Json};

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::events::settings;
use crate::aws::services::page::{page, Token};
use crate::aws::services::states::{self, bad_token, fault, machine_fault, no_machine, revision_id, time, MachineArn};
use crate::aws::value::Value;

/// The versions and aliases of a machine; `None`: there is no such machine.
async fn qualified(call: &Call<'_>, name: &str) -> Result<Option<Json>, Fault> {
    match call.ask(Request::WorkflowVersions(Named { name: name.to_owned() })).await {
        Ok(told) => Ok(Some(told)),
        Err(EngineError::NotFound(_)) => Ok(None),
        Err(error) => Err(fault(error)),
    }
}

fn rows<'j>(told: Option<&'j Json>, kind: &str) -> Vec<&'j Json> {
    told.and_then(|told| told[kind].as_array()).into_iter().flatten().collect()
}

/// A version of a machine.
pub(super) async fn version_named(call: &Call<'_>, name: &str, version: u32) -> Result<Option<Json>, Fault> {
    let told = qualified(call, name).await?;
    Ok(rows(told.as_ref(), "versions").into_iter().find(|one| one["version"] == version).cloned())
}

pub(super) async fn publish_state_machine_version(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let MachineArn { name, .. } = states::machine(call)?;
    let machine = states::described_machine(call, name.clone(), None).await?;
    let current = revision_id(&machine).unwrap_or_else(|| "INITIAL".into());
    if let Some(asked) = input.text("revisionId").filter(|asked| *asked != current) {
        return Err(Fault::new(
            "ConflictException",
            format!(
                "Failed to publish the State Machine version for revision {asked}. The current State Machine revision is {current}."
            ),
        ));
    }
    let description = input.text("description").unwrap_or_default().to_owned();
    let version = call.ask(Request::WorkflowPublish(PublishWorkflow { name, description, revision: None })).await;
    let version = version.map_err(fault)?;
    Ok(Value::structure()
        .with("creationDate", time(&version["created_ms"]))
        .with("stateMachineVersionArn", version["arn"].as_str()))
}

pub(super) async fn list_state_machine_versions(call: &Call<'_>) -> Result<Value, Fault> {
    let told = qualified(call, &states::machine(call)?.name).await?;
    let from = Token::read(call.input.text("nextToken")).ok_or_else(bad_token)?;
    let before = from.name().and_then(|last| last.parse::<u64>().ok()).unwrap_or(u64::MAX);
    let mut versions = rows(told.as_ref(), "versions");
    versions.retain(|one| one["version"].as_u64().is_some_and(|version| version < before));
    let has_more = versions.len() > states::most(call);
    versions.truncate(states::most(call));
    let next = versions.last().filter(|_| has_more).map(|one| Token::after(&one["version"].to_string()));
    let shown = |one: &&Json| {
        Value::structure()
            .with("stateMachineVersionArn", one["arn"].as_str())
            .with("creationDate", time(&one["created_ms"]))
    };
    let versions: Vec<Value> = versions.iter().map(shown).collect();
    Ok(Value::structure().with("stateMachineVersions", versions).with("nextToken", next))
}

/// A version that is not there is already gone.
pub(super) async fn delete_state_machine_version(call: &Call<'_>) -> Result<Value, Fault> {
    let arn = call.input.needed("stateMachineVersionArn");
    let asked = states::machine_of(call, arn)?;
    let Some(version) = asked.version() else {
        return Err(Fault::validation(format!(
            "Value '{arn}' at 'stateMachineVersionArn' is not the ARN of a version"
        )));
    };
    let told = qualified(call, &asked.name).await?;
    let leads = |alias: &&Json| {
        let routes = alias["routes"].as_array().into_iter().flatten();
        routes.into_iter().any(|route| route["version"] == version)
    };
    let aliases = rows(told.as_ref(), "aliases").into_iter().filter(leads);
    let aliases: Vec<&str> = aliases.filter_map(|alias| alias["name"].as_str()).collect();
    if !aliases.is_empty() {
        return Err(Fault::new(
            "ConflictException",
            format!(
                "Version to be deleted must not be referenced by an alias. Current list of aliases referencing this version: [{}]",
                aliases.join(", ")
            ),
        ));
    }
    if told.is_some() {
        let delete = DeleteWorkflowVersion { name: asked.name, version };
        call.ask(Request::WorkflowDeleteVersion(delete)).await.map_err(fault)?;
    }
    Ok(Value::structure())
}

// ---- aliases

fn missing() -> Fault {
    Fault::new("ResourceNotFound", "Request references a resource that does not exist.")
}

/// Where an alias is to lead: the machine's name, and the routes as the engine has them.
fn routing(call: &Call<'_>) -> Result<Option<(String, Json)>, Fault> {
    let items = call.input.list("routingConfiguration");
    if items.is_empty() {
        return Ok(None);
    }
    let arns: Vec<&str> = items.iter().map(|item| item.needed("stateMachineVersionArn")).collect();
    let refuse = |what: &str| {
        let text = format!("Routing configuration must contain {what} ARNs. Received: [{}]", arns.join(", "));
        Err(Fault::validation(text))
    };
    let versions = arns.iter().map(|arn| states::machine_of(call, arn)).collect::<Result<Vec<_>, _>>()?;
    if versions.iter().any(|version| version.version().is_none()) {
        return refuse("state machine version");
    }
    if arns.len() == 2 && arns[0] == arns[1] {
        return refuse("distinct state machine version");
    }
    if versions.iter().any(|version| version.name != versions[0].name) {
        return refuse("versions of one state machine, and only their");
    }
    let weights: Vec<i64> = items.iter().map(|item| item.int("weight").unwrap_or_default()).collect();
    if weights.iter().sum::<i64>() != 100 {
        return Err(Fault::validation(format!(
            "Sum of routing configuration weights must equal 100. Received: {}",
            json!(weights).to_string().replace(',', ", ")
        )));
    }
    let routes = versions.iter().zip(weights).map(|(one, weight)| json!({"version": one.version(), "weight": weight}));
    Ok(Some((versions[0].name.clone(), routes.collect())))
}

/// Letters, digits, `_`, `-` and `.`, and not digits alone: the model's expression looks ahead, which ours do not.
fn check_alias_name(name: &str) -> Result<(), Fault> {
    let allowed = |one: char| one.is_ascii_alphanumeric() || "_-.".contains(one);
    if name.chars().all(allowed) && name.chars().any(|one| allowed(one) && !one.is_ascii_digit()) {
        return Ok(());
    }
    Err(Fault::validation(format!(
        "1 validation error detected: Value '{name}' at 'name' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: ^(?=.*[a-zA-Z_\\-\\.])[a-zA-Z0-9_\\-\\.]+$"
    )))
}

fn alias_arn(call: &Call<'_>, workflow: &str, alias: &str) -> String {
    states::states_arn(call, "stateMachine", &format!("{workflow}:{alias}"))
}

async fn declare_alias(call: &Call<'_>, alias: DeclareWorkflowAlias) -> Result<Json, Fault> {
    call.ask(Request::WorkflowAlias(alias)).await.map_err(|error| match error {
        EngineError::NotFound(_) => missing(),
        error => fault(error),
    })
}

pub(super) async fn create_state_machine_alias(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let name = input.needed("name");
    check_alias_name(name)?;
    let Some((workflow, routes)) = routing(call)? else {
        return Err(Fault::validation("routingConfiguration: an alias leads to one or two versions"));
    };
    let known = qualified(call, &workflow).await?.ok_or_else(missing)?;
    let description = input.text("description").unwrap_or_default();
    let known = rows(Some(&known), "aliases").into_iter().find(|alias| alias["name"] == name).cloned();
    let alias = match known {
        Some(known) if known["routes"] == routes && known["description"] == description => known,
        Some(_) => {
            let text = "Failed to create alias because an alias with the same name and a different routing configuration already exists.";
            return Err(Fault::new("ConflictException", text));
        }
        None => {
            let declare = json!({"workflow": workflow, "name": name, "description": description, "routes": routes});
            declare_alias(call, settings(declare)?).await?
        }
    };
    Ok(Value::structure()
        .with("stateMachineAliasArn", alias_arn(call, &workflow, name))
        .with("creationDate", time(&alias["created_ms"])))
}

/// The alias that the input names: its machine's name, and itself.
async fn alias(call: &Call<'_>) -> Result<Option<(String, Json)>, Fault> {
    let MachineArn { name, qualifier } = states::machine_of(call, call.input.needed("stateMachineAliasArn"))?;
    let told = qualified(call, &name).await?;
    let found = rows(told.as_ref(), "aliases").into_iter().find(|alias| alias["name"].as_str() == qualifier.as_deref());
    Ok(found.cloned().map(|alias| (name, alias)))
}

pub(super) async fn describe_state_machine_alias(call: &Call<'_>) -> Result<Value, Fault> {
    let (workflow, alias) = alias(call).await?.ok_or_else(missing)?;
    let routes = alias["routes"].as_array().into_iter().flatten().map(|route| {
        let version = alias_arn(call, &workflow, &route["version"].to_string());
        Value::structure().with("stateMachineVersionArn", version).with("weight", route["weight"].as_i64())
    });
    let description = alias["description"].as_str().filter(|text| !text.is_empty());
    Ok(Value::structure()
        .with("stateMachineAliasArn", call.input.text("stateMachineAliasArn"))
        .with("name", alias["name"].as_str())
        .with("description", description)
        .with("routingConfiguration", routes.collect::<Vec<_>>())
        .with("creationDate", time(&alias["created_ms"]))
        .with("updateDate", time(&alias["updated_ms"])))
}

pub(super) async fn update_state_machine_alias(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let routed = routing(call)?;
    if routed.is_none() && input.text("description").is_none() {
        return Err(Fault::validation("Either the description or the routing configuration must be specified"));
    }
    let (workflow, alias) = alias(call).await?.ok_or_else(missing)?;
    if routed.as_ref().is_some_and(|(name, _)| *name != workflow) {
        return Err(missing());
    }
    let declare: DeclareWorkflowAlias = settings(json!({
        "workflow": workflow,
        "name": alias["name"],
        "description": input.text("description"),
        "routes": routed.map_or(alias["routes"].clone(), |(_, routes)| routes),
    }))?;
    let alias = declare_alias(call, declare).await?;
    Ok(Value::structure().with("updateDate", time(&alias["updated_ms"])))
}

pub(super) async fn list_state_machine_aliases(call: &Call<'_>) -> Result<Value, Fault> {
    let arn = call.input.needed("stateMachineArn");
    let asked = states::machine(call)?;
    let told = qualified(call, &asked.name).await?.ok_or_else(|| no_machine(arn))?;
    let mut aliases = rows(Some(&told), "aliases");
    if let Some(version) = asked.version() {
        aliases
            .retain(|alias| alias["routes"].as_array().into_iter().flatten().any(|route| route["version"] == version));
    }
    aliases.sort_by_key(|alias| alias["name"].as_str().unwrap_or_default().to_owned());
    let from = Token::read(call.input.text("nextToken")).ok_or_else(bad_token)?;
    let (aliases, next) = page(aliases, states::most(call), from, |alias| alias["name"].as_str().unwrap_or_default());
    let shown = |alias: &&Json| {
        Value::structure()
            .with("stateMachineAliasArn", alias_arn(call, &asked.name, alias["name"].as_str().unwrap_or_default()))
            .with("creationDate", time(&alias["created_ms"]))
    };
    let aliases: Vec<Value> = aliases.iter().map(shown).collect();
    Ok(Value::structure().with("stateMachineAliases", aliases).with("nextToken", next))
}

/// An alias that is not there is already gone.
pub(super) async fn delete_state_machine_alias(call: &Call<'_>) -> Result<Value, Fault> {
    let Some((workflow, alias)) = alias(call).await? else { return Ok(Value::structure()) };
    let delete: DeleteWorkflowAlias = settings(json!({"workflow": workflow, "name": alias["name"]}))?;
    let deleted = call.ask(Request::WorkflowDeleteAlias(delete)).await;
    deleted.map_err(|error| machine_fault(call.input.needed("stateMachineAliasArn"), error))?;
    Ok(Value::structure())
}
