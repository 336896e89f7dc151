//! Lambda: aliases of functions.

use forebay_engine::api::function::{AliasSettings, DeclareAlias, Named, UpdateAlias};
use forebay_engine::api::Request;
use forebay_engine::base::error::EngineError;
use serde_json::{json, Map, Value as Json};

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::lambda::{self, fault, paged, refuse_unversioned, Target};
use crate::aws::value::{Fields, Key, Value};

/// The alias of a function by its name.
fn named<'d>(described: &'d Json, name: &str) -> Option<&'d Json> {
    described["aliases"].as_array().into_iter().flatten().find(|one| one["name"] == name)
}

fn alias(given: &Json) -> Value {
    let weights = given["weights"].as_object().into_iter().flatten();
    let weights: Fields = weights
        .map(|(version, share)| (Key::Owned(version.clone()), share.as_f64().unwrap_or_default().into()))
        .collect();
    let routing =
        (!weights.is_empty()).then(|| Value::structure().with("AdditionalVersionWeights", Value::Map(weights)));
    Value::structure()
        .with("AliasArn", given["arn"].as_str())
        .with("Name", given["name"].as_str())
        .with("FunctionVersion", given["version"].as_str())
        .with("RoutingConfig", routing)
}

fn weights(call: &Call<'_>) -> Option<Map<String, Json>> {
    let routing = call.input.get("RoutingConfig")?;
    let given = routing.entries("AdditionalVersionWeights").iter();
    Some(given.map(|(version, share)| (version.clone().into_owned(), json!(share.as_double()))).collect())
}

/// A description is accepted nowhere in the engine, and there are no revisions to compare.
fn refuse_options(call: &Call<'_>) -> Result<(), Fault> {
    refuse_unversioned(call, &["RevisionId"], "aliases")?;
    match call.input.text("Description") {
        Some(text) if !text.is_empty() => {
            Err(fault(EngineError::Invalid("Description: forebay's aliases have none; leave it out".into())))
        }
        _ => Ok(()),
    }
}

pub(super) async fn create_alias(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_options(call)?;
    let target = Target { qualifier: None, ..lambda::function(call)? };
    let name = call.input.needed("Name").to_owned();
    let described = lambda::described_function(call, &target).await?;
    if named(&described, &name).is_some() {
        let arn = format!("{}:{name}", lambda::function_arn(call, &target.name));
        return Err(fault(EngineError::Conflict(format!("Alias already exists: {arn}"))));
    }
    let settings = AliasSettings {
        version: call.input.needed("FunctionVersion").to_owned(),
        weights: weights(call).unwrap_or_default(),
        provisioned_concurrency: 0,
    };
    let declare = DeclareAlias { function: target.name.clone(), name, settings };
    let version = Some(call.input.needed("FunctionVersion").to_owned());
    let declared = call.ask(Request::AliasDeclare(declare)).await;
    let declared =
        declared.map_err(|error| lambda::function_fault(call, &Target { qualifier: version, ..target }, error))?;
    Ok(alias(&declared))
}

pub(super) async fn get_alias(call: &Call<'_>) -> Result<Value, Fault> {
    let target = Target { qualifier: None, ..lambda::function(call)? };
    let described = lambda::described_function(call, &target).await?;
    let name = call.input.needed("Name");
    let arn = format!("{}:{name}", lambda::function_arn(call, &target.name));
    named(&described, name)
        .map(alias)
        .ok_or_else(|| fault(EngineError::NotFound(format!("Cannot find alias arn: {arn}"))))
}

pub(super) async fn list_aliases(call: &Call<'_>) -> Result<Value, Fault> {
    let target = Target { qualifier: None, ..lambda::function(call)? };
    let described = lambda::described_function(call, &target).await?;
    let mut aliases: Vec<&Json> = described["aliases"].as_array().into_iter().flatten().collect();
    let version = call.input.text("FunctionVersion");
    aliases.retain(|one| version.is_none_or(|version| one["version"] == version));
    aliases.sort_by_key(|one| one["name"].as_str().unwrap_or_default().to_owned());
    let (aliases, next) = paged(call, aliases, |one| one["name"].as_str().unwrap_or_default())?;
    let aliases: Vec<Value> = aliases.into_iter().map(alias).collect();
    Ok(Value::structure().with("Aliases", aliases).with("NextMarker", next))
}

pub(super) async fn update_alias(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_options(call)?;
    let target = Target { qualifier: None, ..lambda::function(call)? };
    let name = call.input.needed("Name").to_owned();
    let mut changes = Map::new();
    if let Some(version) = call.input.text("FunctionVersion") {
        changes.insert("version".into(), version.into());
    }
    if let Some(weights) = weights(call) {
        changes.insert("weights".into(), weights.into());
    }
    let described = lambda::described_function(call, &target).await?;
    if named(&described, &name).is_none() {
        let arn = format!("{}:{name}", lambda::function_arn(call, &target.name));
        return Err(fault(EngineError::NotFound(format!("Alias not found: {arn}"))));
    }
    let version = call.input.text("FunctionVersion").map(str::to_owned);
    let update = UpdateAlias { function: target.name.clone(), name, changes: changes.into() };
    let updated = call.ask(Request::AliasUpdate(update)).await;
    let updated =
        updated.map_err(|error| lambda::function_fault(call, &Target { qualifier: version, ..target }, error))?;
    Ok(alias(&updated))
}

/// An alias that is not there is gone already, as on AWS.
pub(super) async fn delete_alias(call: &Call<'_>) -> Result<Value, Fault> {
    let target = Target { qualifier: None, ..lambda::function(call)? };
    let described = lambda::described_function(call, &target).await?;
    let name = call.input.needed("Name");
    if named(&described, name).is_some() {
        let alias = Named { name: format!("{}:{name}", target.name) };
        call.ask(Request::FunctionDelete(alias)).await.map_err(fault)?;
    }
    Ok(Value::structure())
}
