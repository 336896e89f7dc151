//! EventBridge Schemas: registries, schemas and their versions, what is learned of buses and of samples.

use forebay_core::schema::{envelope_of, render, Format, Node};
use forebay_engine::api::schema::{
    Describe, Export, List, PutRegistry, PutSchema, RegistryNamed, SchemaNamed, SchemaType, VersionNamed,
};
use forebay_engine::api::{bus, Empty, Request};
use forebay_engine::base::error::EngineError;
use serde_json::{json, Value as Json};

use crate::aws::call::{unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::protocol::base64_text;
use crate::aws::services::page::{page, Token};
use crate::aws::services::stacks;
use crate::aws::value::Value;

super::operations! {
    CreateRegistry => create_registry,
    DescribeRegistry => describe_registry,
    UpdateRegistry => update_registry,
    DeleteRegistry => delete_registry,
    ListRegistries => list_registries,
    CreateSchema => create_schema,
    UpdateSchema => update_schema,
    DescribeSchema => describe_schema,
    DeleteSchema => delete_schema,
    DeleteSchemaVersion => delete_schema_version,
    ListSchemas => list_schemas,
    ListSchemaVersions => list_schema_versions,
    SearchSchemas => search_schemas,
    ExportSchema => export_schema,
    GetDiscoveredSchema => get_discovered_schema,
    CreateDiscoverer => create_discoverer,
    DescribeDiscoverer => describe_discoverer,
    ListDiscoverers => list_discoverers,
    UpdateDiscoverer => update_discoverer,
    StartDiscoverer => start_discoverer,
    StopDiscoverer => stop_discoverer,
    DeleteDiscoverer => delete_discoverer,
    PutCodeBinding => put_code_binding,
    DescribeCodeBinding => describe_code_binding,
    GetCodeBindingSource => get_code_binding_source,
}

/// Most items of a page.
const PAGE: i64 = 100;
/// Begins the id of a bus's discoverer, and the ARN of a bus has it as well.
const DISCOVERER: &str = "events-event-bus-";

fn named(name: &str, status: u16, text: impl Into<String>) -> Fault {
    Fault::new(name, text).status(status).with("Code", name.trim_end_matches("Exception"))
}

fn bad(text: impl Into<String>) -> Fault {
    named("BadRequestException", 400, text)
}

fn fault(error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(text) => named("NotFoundException", 404, text),
        EngineError::Invalid(text) | EngineError::TooLarge(text) => bad(text),
        // Its model has no conflict for what is deleted, and AWS says so too.
        EngineError::Conflict(text) => named("BadRequestException", 400, text),
        EngineError::TooMany { message, retry_after_ms, .. } => {
            Fault { retry_after_ms: Some(retry_after_ms), ..named("TooManyRequestsException", 429, message) }
        }
        error => unavailable(&error),
    }
}

/// Tags are kept nowhere.
fn refuse_tags(call: &Call<'_>) -> Result<(), Fault> {
    if call.input.entries("Tags").is_empty() {
        return Ok(());
    }
    Err(bad("tags: registries and schemas have no tags here; leave them out"))
}

fn limit(call: &Call<'_>) -> usize {
    call.input.int("Limit").unwrap_or(PAGE).clamp(1, PAGE) as usize
}

fn after(call: &Call<'_>) -> Result<Token, Fault> {
    Token::read(call.input.text("NextToken")).ok_or_else(|| bad("nextToken is invalid."))
}

fn time(given: &Json) -> Value {
    given.as_i64().map_or(Value::Null, Value::Time)
}

// ---- registries

fn registry_name(call: &Call<'_>) -> String {
    call.input.needed("RegistryName").to_owned()
}

async fn described_registry(call: &Call<'_>) -> Result<Json, Fault> {
    call.ask(Request::RegistryDescribe(RegistryNamed { name: registry_name(call) })).await.map_err(fault)
}

fn registry(given: &Json) -> Value {
    Value::structure()
        .with("RegistryArn", given["arn"].as_str())
        .with("RegistryName", given["name"].as_str())
        .with("Description", given["description"].as_str().filter(|text| !text.is_empty()))
}

async fn put_registry(call: &Call<'_>) -> Result<Value, Fault> {
    let description = call.input.text("Description").map(str::to_owned);
    let put = PutRegistry { name: registry_name(call), description };
    Ok(registry(&call.ask(Request::RegistryPut(put)).await.map_err(fault)?))
}

async fn create_registry(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_tags(call)?;
    if described_registry(call).await.is_ok() {
        return Err(named(
            "ConflictException",
            409,
            format!("Registry with name {} already exists.", registry_name(call)),
        ));
    }
    put_registry(call).await
}

async fn update_registry(call: &Call<'_>) -> Result<Value, Fault> {
    described_registry(call).await?;
    put_registry(call).await
}

async fn describe_registry(call: &Call<'_>) -> Result<Value, Fault> {
    Ok(registry(&described_registry(call).await?))
}

async fn delete_registry(call: &Call<'_>) -> Result<Value, Fault> {
    call.ask(Request::RegistryDelete(RegistryNamed { name: registry_name(call) })).await.map_err(fault)?;
    Ok(Value::structure())
}

async fn list_registries(call: &Call<'_>) -> Result<Value, Fault> {
    let prefix = call.input.text("RegistryNamePrefix").unwrap_or_default();
    let is_aws = |name: &str| name.starts_with("aws.");
    let listed = call.ask(Request::RegistryList(Empty {})).await.map_err(fault)?;
    let name = |one: &Json| one["name"].as_str().unwrap_or_default().to_owned();
    let mut found: Vec<(String, &Json)> = listed.as_array().into_iter().flatten().map(|one| (name(one), one)).collect();
    found.retain(|(name, _)| {
        name.starts_with(prefix)
            && match call.input.text("Scope") {
                Some("AWS") => is_aws(name),
                Some("LOCAL") => !is_aws(name),
                _ => true,
            }
    });
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let (found, next) = page(found, limit(call), after(call)?, |(name, _)| name);
    let found: Vec<Value> = found.into_iter().map(|(_, one)| registry(one)).collect();
    Ok(Value::structure().with("Registries", found).with("NextToken", next))
}

// ---- schemas

fn version(call: &Call<'_>) -> Result<Option<u32>, Fault> {
    let given = call.input.text("SchemaVersion").filter(|text| !text.is_empty());
    given.map(|text| text.parse().map_err(|_| bad(format!("The schema version {text:?} is invalid.")))).transpose()
}

fn which(call: &Call<'_>) -> Result<Describe, Fault> {
    Ok(Describe {
        registry: registry_name(call),
        name: call.input.needed("SchemaName").to_owned(),
        version: version(call)?,
    })
}

fn kind(text: &str) -> Result<SchemaType, Fault> {
    serde_json::from_value(text.into())
        .map_err(|_| bad(format!("The type {text:?} is invalid: allowed are OpenApi3 and JSONSchemaDraft4.")))
}

fn schema(given: &Json) -> Value {
    Value::structure()
        .with("SchemaArn", given["arn"].as_str())
        .with("SchemaName", given["name"].as_str())
        .with("SchemaVersion", given["version"].as_u64().map(|number| number.to_string()))
        .with("Type", given["schema_type"].as_str())
        .with("Description", given["description"].as_str().filter(|text| !text.is_empty()))
        .with("LastModified", time(&given["updated_ms"]))
        .with("VersionCreatedDate", time(&given["version_created_ms"]))
}

async fn put_schema(call: &Call<'_>, schema_type: SchemaType, content: String) -> Result<Value, Fault> {
    let Describe { registry, name, .. } = which(call)?;
    let description = call.input.text("Description").map(str::to_owned);
    let put = PutSchema { registry, name, schema_type, content, description };
    Ok(schema(&call.ask(Request::SchemaPut(put)).await.map_err(fault)?))
}

async fn create_schema(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_tags(call)?;
    let wanted = which(call)?;
    let name = wanted.name.clone();
    if call.ask(Request::SchemaDescribe(wanted)).await.is_ok() {
        return Err(named("ConflictException", 409, format!("Schema with name {name} already exists.")));
    }
    put_schema(call, kind(call.input.needed("Type"))?, call.input.needed("Content").to_owned()).await
}

async fn update_schema(call: &Call<'_>) -> Result<Value, Fault> {
    let before = call.ask(Request::SchemaDescribe(which(call)?)).await.map_err(fault)?;
    let own = before["schema_type"].as_str().unwrap_or_default();
    let content = call.input.text("Content").or(before["content"].as_str()).unwrap_or_default().to_owned();
    put_schema(call, kind(call.input.text("Type").unwrap_or(own))?, content).await
}

async fn describe_schema(call: &Call<'_>) -> Result<Value, Fault> {
    let given = call.ask(Request::SchemaDescribe(which(call)?)).await.map_err(fault)?;
    Ok(schema(&given).with("Content", given["content"].as_str()))
}

async fn export_schema(call: &Call<'_>) -> Result<Value, Fault> {
    let export = Export { of: which(call)?, schema_type: kind(call.input.needed("Type"))? };
    let given = call.ask(Request::SchemaExport(export)).await.map_err(fault)?;
    Ok(schema(&given).with("Content", given["content"].as_str()))
}

async fn delete_schema(call: &Call<'_>) -> Result<Value, Fault> {
    let Describe { registry, name, .. } = which(call)?;
    call.ask(Request::SchemaDelete(SchemaNamed { registry, name })).await.map_err(fault)?;
    Ok(Value::structure())
}

async fn delete_schema_version(call: &Call<'_>) -> Result<Value, Fault> {
    let Describe { registry, name, version } = which(call)?;
    let version = version.ok_or_else(|| bad("The schema version is missing."))?;
    call.ask(Request::SchemaDeleteVersion(VersionNamed { registry, name, version })).await.map_err(fault)?;
    Ok(Value::structure())
}

/// A page of the schemas of a registry, and the token of the next one.
async fn listed(call: &Call<'_>, prefix: &str, keywords: &str) -> Result<(Vec<Json>, Option<String>), Fault> {
    let list = List {
        registry: registry_name(call),
        prefix: prefix.to_owned(),
        keywords: keywords.to_owned(),
        after: after(call)?.name().map(str::to_owned),
        limit: Some(limit(call)),
    };
    let given = call.ask(Request::SchemaList(list)).await.map_err(fault)?;
    let next = given["next"].as_str().map(Token::after);
    Ok((given["schemas"].as_array().cloned().unwrap_or_default(), next))
}

async fn list_schemas(call: &Call<'_>) -> Result<Value, Fault> {
    let (found, next) = listed(call, call.input.text("SchemaNamePrefix").unwrap_or_default(), "").await?;
    let summary = |one: &Json| {
        Value::structure()
            .with("SchemaArn", one["arn"].as_str())
            .with("SchemaName", one["name"].as_str())
            .with("LastModified", time(&one["updated_ms"]))
            .with("VersionCount", one["versions"].as_array().map(Vec::len))
    };
    let found: Vec<Value> = found.iter().map(summary).collect();
    Ok(Value::structure().with("Schemas", found).with("NextToken", next))
}

async fn search_schemas(call: &Call<'_>) -> Result<Value, Fault> {
    let (found, next) = listed(call, "", call.input.needed("Keywords")).await?;
    let summary = |one: &Json| {
        let versions = one["versions"].as_array().into_iter().flatten().rev();
        let version = |number: &Json| {
            Value::structure().with("SchemaVersion", number.to_string()).with("Type", one["schema_type"].as_str())
        };
        Value::structure()
            .with("RegistryName", one["registry"].as_str())
            .with("SchemaArn", one["arn"].as_str())
            .with("SchemaName", one["name"].as_str())
            .with("SchemaVersions", versions.map(version).collect::<Vec<Value>>())
    };
    let found: Vec<Value> = found.iter().map(summary).collect();
    Ok(Value::structure().with("Schemas", found).with("NextToken", next))
}

async fn list_schema_versions(call: &Call<'_>) -> Result<Value, Fault> {
    let given = call.ask(Request::SchemaDescribe(which(call)?)).await.map_err(fault)?;
    let numbers = given["versions"].as_array().into_iter().flatten().filter_map(Json::as_u64);
    // Tokens name the last one that was given, in the order of texts.
    let numbers: Vec<String> = numbers.map(|number| format!("{number:0>10}")).collect();
    let (numbers, next) = page(numbers, limit(call), after(call)?, |number| number);
    let version = |number: &String| {
        Value::structure()
            .with("SchemaArn", given["arn"].as_str())
            .with("SchemaName", given["name"].as_str())
            .with("SchemaVersion", number.trim_start_matches('0'))
            .with("Type", given["schema_type"].as_str())
    };
    let versions: Vec<Value> = numbers.iter().map(version).collect();
    Ok(Value::structure().with("SchemaVersions", versions).with("NextToken", next))
}

/// What samples have in common. Those that are whole events give a schema with the envelope.
async fn get_discovered_schema(call: &Call<'_>) -> Result<Value, Fault> {
    let format = match kind(call.input.needed("Type"))? {
        SchemaType::OpenApi3 => Format::OpenApi3,
        SchemaType::JsonSchemaDraft4 => Format::JsonSchemaDraft4,
    };
    let (mut merged, mut envelope): (Option<Node>, _) = (None, None);
    for event in call.input.texts("Events") {
        let node = Node::infer(event).map_err(|error| bad(error.to_string()))?;
        envelope = envelope.or(envelope_of(event));
        match &mut merged {
            Some(merged) => merged.merge(node),
            None => merged = Some(node),
        }
    }
    let merged = merged.ok_or_else(|| bad("Events: at least one is needed."))?;
    let named = envelope.as_ref().map(|(source, detail_type)| (source.as_str(), detail_type.as_str()));
    Ok(Value::structure().with("Content", render(&merged, named, format)))
}

// ---- discoverers: each bus has one, which learns from its events or does not

async fn described_bus(call: &Call<'_>, name: &str) -> Result<Json, Fault> {
    call.ask(Request::BusDescribe(bus::Named { name: name.to_owned() })).await.map_err(fault)
}

/// The bus of the discoverer that the input names.
async fn bus_of(call: &Call<'_>) -> Result<Json, Fault> {
    let id = call.input.needed("DiscovererId");
    let missing = || named("NotFoundException", 404, format!("Discoverer with id {id} does not exist."));
    let name = id.strip_prefix(DISCOVERER).ok_or_else(missing)?;
    described_bus(call, name).await.map_err(|_| missing())
}

fn discoverer(call: &Call<'_>, given: &Json) -> Value {
    let id = format!("{DISCOVERER}{}", given["name"].as_str().unwrap_or_default());
    let state = if given["discovery"] == true { "STARTED" } else { "STOPPED" };
    Value::structure()
        .with("DiscovererArn", format!("arn:aws:schemas:{}:{}:discoverer/{id}", call.region, call.account))
        .with("DiscovererId", id)
        .with("SourceArn", given["arn"].as_str())
        .with("State", state)
        .with("CrossAccount", false)
}

async fn discover(call: &Call<'_>, given: &Json, discovery: bool) -> Result<Json, Fault> {
    let name = given["name"].as_str().unwrap_or_default().to_owned();
    let (discovery, notes) = (Some(discovery), std::collections::BTreeMap::new());
    let declare = bus::Declare { name, discovery, enforce: None, description: None, notes, only_new: false };
    call.ask(Request::BusDeclare(declare)).await.map_err(fault)
}

/// A discoverer is its bus's, and has nothing of its own.
fn refuse_settings(call: &Call<'_>) -> Result<(), Fault> {
    if call.input.flag("CrossAccount") == Some(true)
        || call.input.text("Description").is_some_and(|text| !text.is_empty())
    {
        return Err(bad(
            "a discoverer here has no Description, and one account; leave Description and CrossAccount out",
        ));
    }
    Ok(())
}

async fn create_discoverer(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_tags(call)?;
    refuse_settings(call)?;
    let arn = call.input.needed("SourceArn");
    let prefix = format!("arn:aws:events:{}:{}:event-bus/", call.region, call.account);
    let name = arn.strip_prefix(&prefix).ok_or_else(|| bad(format!("{arn} is not an event bus of this app.")))?;
    let given = described_bus(call, name).await?;
    if given["discovery"] == true {
        return Err(named("ConflictException", 409, format!("A discoverer of {arn} already exists.")));
    }
    Ok(discoverer(call, &discover(call, &given, true).await?))
}

async fn describe_discoverer(call: &Call<'_>) -> Result<Value, Fault> {
    Ok(discoverer(call, &bus_of(call).await?))
}

async fn update_discoverer(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_settings(call)?;
    describe_discoverer(call).await
}

async fn list_discoverers(call: &Call<'_>) -> Result<Value, Fault> {
    let listed = call.ask(Request::BusList(Empty {})).await.map_err(fault)?;
    let id = |one: &Json| format!("{DISCOVERER}{}", one["name"].as_str().unwrap_or_default());
    let mut found: Vec<(String, &Json)> = listed.as_array().into_iter().flatten().map(|one| (id(one), one)).collect();
    let begins = |text: &str, asked: &str| call.input.text(asked).is_none_or(|prefix| text.starts_with(prefix));
    found.retain(|(id, one)| {
        one["discovery"] == true
            && begins(id, "DiscovererIdPrefix")
            && begins(one["arn"].as_str().unwrap_or_default(), "SourceArnPrefix")
    });
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let (found, next) = page(found, limit(call), after(call)?, |(id, _)| id);
    let found: Vec<Value> = found.into_iter().map(|(_, one)| discoverer(call, one)).collect();
    Ok(Value::structure().with("Discoverers", found).with("NextToken", next))
}

async fn start_discoverer(call: &Call<'_>) -> Result<Value, Fault> {
    let given = bus_of(call).await?;
    Ok(discoverer(call, &discover(call, &given, true).await?))
}

async fn stop_discoverer(call: &Call<'_>) -> Result<Value, Fault> {
    let given = bus_of(call).await?;
    Ok(discoverer(call, &discover(call, &given, false).await?))
}

async fn delete_discoverer(call: &Call<'_>) -> Result<Value, Fault> {
    stop_discoverer(call).await?;
    Ok(Value::structure())
}

// ---- code of schemas, which what runs the stacks makes: it is the same each time, so none is kept

async fn code_binding(call: &Call<'_>, operation: &str) -> Result<(Json, Json), Fault> {
    let given = call.ask(Request::SchemaDescribe(which(call)?)).await.map_err(fault)?;
    let asked = json!({
        "language": call.input.needed("Language"),
        "name": given["name"],
        "version": given["version"].to_string(),
        "content": given["content"],
        "format": given["schema_type"],
    });
    let line = json!({"operation": "wire", "service": "schemas", "action": operation, "input": asked});
    let told = match call.store {
        Some(store) => stacks::ask(store, line.to_string()).await?,
        None => None,
    };
    let text =
        "code of schemas is made where `forebay run` serves the app from a store: `forebay schema bind` makes it, too";
    let mut told = told.ok_or_else(|| Fault::new("NotImplemented", text).status(501))?;
    if told["error"].is_string() {
        return Err(bad(told["reasons"][0].as_str().unwrap_or_default()));
    }
    Ok((given, told["answer"].take()))
}

async fn described_binding(call: &Call<'_>, operation: &str) -> Result<Value, Fault> {
    let (given, _) = code_binding(call, operation).await?;
    Ok(Value::structure()
        .with("CreationDate", time(&given["version_created_ms"]))
        .with("LastModified", time(&given["version_created_ms"]))
        .with("SchemaVersion", given["version"].to_string())
        .with("Status", "CREATE_COMPLETE"))
}

async fn put_code_binding(call: &Call<'_>) -> Result<Value, Fault> {
    described_binding(call, "PutCodeBinding").await
}

async fn describe_code_binding(call: &Call<'_>) -> Result<Value, Fault> {
    described_binding(call, "DescribeCodeBinding").await
}

async fn get_code_binding_source(call: &Call<'_>) -> Result<Value, Fault> {
    let (_, code) = code_binding(call, "GetCodeBindingSource").await?;
    let zip =
        base64_text(code["zip"].as_str().unwrap_or_default()).map_err(|malformed| Fault::malformed(malformed.0))?;
    Ok(Value::structure().with("Body", Value::Blob(zip)))
}
