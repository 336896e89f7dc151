//! EventBridge: API destinations, the connections that authorize their requests, and what Secrets Manager says of those.
//!
//! The engine keeps their secrets in a file of its own, which only the store's user may read.

use forebay_engine::api::connection::{
    ApiDestinationSettings, AuthorizationKind, ConnectionNamed, PutApiDestination, PutAuthorization, PutConnection,
    Secret,
};
use forebay_engine::api::{Empty, Request};
use forebay_engine::base::error::EngineError;
use serde_json::{json, Map, Value as Json};

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::events::{fault, paged, settings};
use crate::aws::value::Value;

/// Requests in a second of an API destination that says nothing of them.
/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateApiDestination.html>
const RATE_DEFAULT: i64 = 300;
/// Members of `AuthParameters` that a kind needs, by the kind.
const NEEDED: [(AuthorizationKind, &str, &str); 3] = [
    (AuthorizationKind::Basic, "BASIC", "BasicAuthParameters"),
    (AuthorizationKind::ApiKey, "API_KEY", "ApiKeyAuthParameters"),
    (AuthorizationKind::OauthClientCredentials, "OAUTH_CLIENT_CREDENTIALS", "OAuthParameters"),
];
/// Methods of a request for a token.
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
/// Members that are secrets, wherever they stand.
const SECRETS: [&str; 3] = ["Password", "ApiKeyValue", "ClientSecret"];
/// Hosts that may be asked by http.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "localhost"];

fn time(ms: &Json) -> Value {
    ms.as_i64().map_or(Value::Null, Value::Time)
}

fn not_found(doing: &str, what: &str, error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(text) => {
            Fault::new("ResourceNotFoundException", format!("Failed to {doing} the {what}(s). {text}"))
        }
        EngineError::Conflict(text) => Fault::new("ResourceAlreadyExistsException", text),
        error => fault(error),
    }
}

fn connection_named(call: &Call<'_>) -> ConnectionNamed {
    ConnectionNamed { name: call.input.needed("Name").to_owned() }
}

/// A part of a request as JSON.
fn json_of(value: &Value) -> Json {
    match value {
        Value::Map(fields) => {
            fields.iter().map(|(name, one)| (name.to_string(), json_of(one))).collect::<Map<_, _>>().into()
        }
        Value::List(values) => values.iter().map(json_of).collect::<Vec<_>>().into(),
        Value::Text(text) => text.as_str().into(),
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        _ => Json::Null,
    }
}

/// JSON as a part of an answer. Names of members are those of a model.
fn value_of(json: &Json) -> Value {
    match json {
        Json::Object(fields) => {
            Value::Map(fields.iter().map(|(name, one)| (name.clone().into(), value_of(one))).collect())
        }
        Json::Array(values) => Value::List(values.iter().map(value_of).collect()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Bool(flag) => Value::Bool(*flag),
        _ => Value::Null,
    }
}

/// Parameters without their secrets.
fn shown(parameters: &Json) -> Json {
    match parameters {
        Json::Object(fields) => {
            let is_hidden = fields.get("IsValueSecret").and_then(Json::as_bool) == Some(true);
            let kept = fields
                .iter()
                .filter(|(name, _)| !(SECRETS.contains(&name.as_str()) || is_hidden && name.as_str() == "Value"));
            kept.map(|(name, one)| (name.clone(), shown(one))).collect::<Map<_, _>>().into()
        }
        Json::Array(values) => values.iter().map(shown).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// How a connection is to authorize, if the request says so.
fn authorization(call: &Call<'_>, before: Option<&Json>) -> Result<Option<PutAuthorization>, Fault> {
    let said = call.input.text("AuthorizationType").or_else(|| before.and_then(|one| one["kind"].as_str()));
    let Some(given) = call.input.get("AuthParameters") else {
        return match call.input.text("AuthorizationType") {
            Some(_) => Err(Fault::validation("AuthParameters must be given with AuthorizationType.")),
            None => Ok(None),
        };
    };
    let Some((kind, name, member)) = NEEDED.iter().find(|(_, name, _)| Some(*name) == said) else {
        return Err(Fault::validation("AuthorizationType must be given with AuthParameters."));
    };
    if given.get("ConnectivityParameters").is_some() {
        return Err(Fault::validation("ConnectivityParameters: forebay's connections do not have them"));
    }
    if given.get(member).is_none() {
        return Err(Fault::validation(format!("AuthParameters.{member} must be given for {name}.")));
    }
    let method = given.get("OAuthParameters").and_then(|oauth| oauth.text("HttpMethod"));
    // AWS takes them in small letters, too.
    if method.is_some_and(|method| !METHODS.contains(&method.to_ascii_uppercase().as_str())) {
        let methods = METHODS.join(", ");
        return Err(Fault::validation(format!("HttpMethod of OAuthParameters: allowed are {methods}")));
    }
    let parameters = json_of(given);
    let shown = shown(&parameters);
    Ok(Some(PutAuthorization { kind: *kind, parameters: Secret(parameters), shown }))
}

async fn described(call: &Call<'_>, doing: &str) -> Result<Json, Fault> {
    let asked = Request::HttpConnectionDescribe(connection_named(call));
    call.ask(asked).await.map_err(|error| not_found(doing, "connection", error))
}

fn changed(given: &Json) -> Value {
    Value::structure()
        .with("ConnectionArn", given["arn"].as_str())
        .with("ConnectionState", given["state"].as_str())
        .with("CreationTime", time(&given["created_ms"]))
        .with("LastModifiedTime", time(&given["modified_ms"]))
        .with("LastAuthorizedTime", time(&given["authorized_ms"]))
}

fn refuse_unknown(call: &Call<'_>) -> Result<(), Fault> {
    for member in ["KmsKeyIdentifier", "InvocationConnectivityParameters"] {
        if call.input.get(member).is_some() {
            return Err(Fault::validation(format!("{member}: forebay's connections do not have it; leave it out")));
        }
    }
    Ok(())
}

async fn put_connection(
    call: &Call<'_>,
    authorization: Option<PutAuthorization>,
    only_new: bool,
) -> Result<Json, Fault> {
    let description = call.input.text("Description").map(str::to_owned);
    let put = PutConnection { name: call.input.needed("Name").to_owned(), description, authorization, only_new };
    call.ask(Request::HttpConnectionPut(put)).await.map_err(|error| not_found("put", "connection", error))
}

pub(super) async fn create_connection(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_unknown(call)?;
    let made = put_connection(call, authorization(call, None)?, true).await?;
    Ok(Value::structure()
        .with("ConnectionArn", made["arn"].as_str())
        .with("ConnectionState", made["state"].as_str())
        .with("CreationTime", time(&made["created_ms"]))
        .with("LastModifiedTime", time(&made["modified_ms"])))
}

pub(super) async fn update_connection(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_unknown(call)?;
    let before = described(call, "update").await?;
    Ok(changed(&put_connection(call, authorization(call, Some(&before))?, false).await?))
}

fn connection(given: &Json) -> Value {
    changed(given)
        .with("Name", given["name"].as_str())
        .with("AuthorizationType", given["kind"].as_str())
        .with("StateReason", given["reason"].as_str())
}

pub(super) async fn describe_connection(call: &Call<'_>) -> Result<Value, Fault> {
    let given = described(call, "describe").await?;
    Ok(connection(&given)
        .with("Description", given["description"].as_str().filter(|text| !text.is_empty()))
        .with("SecretArn", given["secret_arn"].as_str())
        .with("AuthParameters", value_of(&given["shown"])))
}

pub(super) async fn list_connections(call: &Call<'_>) -> Result<Value, Fault> {
    let listed = call.ask(Request::HttpConnectionList(Empty {})).await.map_err(fault)?;
    let state = call.input.text("ConnectionState");
    let mut listed = named(call, &listed);
    listed.retain(|one| state.is_none_or(|state| one["state"] == state));
    let (listed, next) = paged(call, listed, |one| one["name"].as_str().unwrap_or_default())?;
    let listed: Vec<Value> = listed.into_iter().map(connection).collect();
    Ok(Value::structure().with("Connections", listed).with("NextToken", next))
}

/// Those of a list whose names begin as the request says.
fn named<'j>(call: &Call<'_>, listed: &'j Json) -> Vec<&'j Json> {
    let prefix = call.input.text("NamePrefix").unwrap_or_default();
    let all = listed.as_array().into_iter().flatten();
    all.filter(|one| one["name"].as_str().is_some_and(|name| name.starts_with(prefix))).collect()
}

pub(super) async fn deauthorize_connection(call: &Call<'_>) -> Result<Value, Fault> {
    let asked = Request::HttpConnectionDeauthorize(connection_named(call));
    let given = call.ask(asked).await.map_err(|error| not_found("deauthorize", "connection", error))?;
    Ok(changed(&given))
}

pub(super) async fn delete_connection(call: &Call<'_>) -> Result<Value, Fault> {
    let asked = Request::HttpConnectionDelete(connection_named(call));
    let mut given = call.ask(asked).await.map_err(|error| not_found("delete", "connection", error))?;
    given["state"] = "DELETING".into();
    Ok(changed(&given))
}

/// What is asked of an API destination; what is not said of one that exists stays.
async fn put_destination(call: &Call<'_>, before: Option<&Json>) -> Result<Value, Fault> {
    let input = &call.input;
    let known = |member: &str| before.and_then(|one| one[member].as_str()).unwrap_or_default();
    let prefix = format!("arn:aws:events:{}:{}:connection/", call.region, call.account);
    let connection = match input.text("ConnectionArn") {
        Some(arn) => arn.strip_prefix(&prefix).and_then(|path| path.split('/').next()).ok_or_else(|| {
            Fault::validation(format!("Parameter ConnectionArn is not valid. Reason: {arn} is not a connection's ARN."))
        })?,
        None => known("connection"),
    };
    let endpoint = input.text("InvocationEndpoint").unwrap_or_else(|| known("endpoint"));
    if !endpoint.starts_with("https://") && !is_loopback(endpoint) {
        return Err(Fault::validation(format!(
            "Parameter InvocationEndpoint is not valid. Reason: {endpoint} is not an https URL; on this machine it may be http."
        )));
    }
    let rate = input.int("InvocationRateLimitPerSecond").or_else(|| before?["invocations_per_second"].as_i64());
    let settings: ApiDestinationSettings = settings(json!({
        "connection": connection,
        "endpoint": endpoint,
        "method": input.text("HttpMethod").unwrap_or_else(|| known("method")),
        "invocations_per_second": rate.unwrap_or(RATE_DEFAULT),
        "description": input.text("Description").unwrap_or_else(|| known("description")),
    }))?;
    let put = PutApiDestination { name: input.needed("Name").to_owned(), only_new: before.is_none(), settings };
    let made = call.ask(Request::ApiDestinationPut(put)).await.map_err(|error| match error {
        EngineError::NotFound(text) => Fault::new("ResourceNotFoundException", text),
        EngineError::Conflict(text) => Fault::new("ResourceAlreadyExistsException", text),
        error => fault(error),
    })?;
    Ok(Value::structure()
        .with("ApiDestinationArn", made["arn"].as_str())
        .with("ApiDestinationState", state(&made))
        .with("CreationTime", time(&made["created_ms"]))
        .with("LastModifiedTime", time(&made["modified_ms"])))
}

fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.strip_prefix("http://").and_then(|rest| rest.split(['/', ':', '?']).next());
    host.is_some_and(|host| LOOPBACK.contains(&host)) || endpoint.starts_with("http://[::1]")
}

fn state(given: &Json) -> &'static str {
    if given["is_active"] == true {
        "ACTIVE"
    } else {
        "INACTIVE"
    }
}

async fn described_destination(call: &Call<'_>, doing: &str) -> Result<Json, Fault> {
    let asked = Request::ApiDestinationDescribe(connection_named(call));
    call.ask(asked).await.map_err(|error| not_found(doing, "api-destination", error))
}

pub(super) async fn create_api_destination(call: &Call<'_>) -> Result<Value, Fault> {
    put_destination(call, None).await
}

pub(super) async fn update_api_destination(call: &Call<'_>) -> Result<Value, Fault> {
    let before = described_destination(call, "update").await?;
    put_destination(call, Some(&before)).await
}

fn destination(given: &Json) -> Value {
    Value::structure()
        .with("ApiDestinationArn", given["arn"].as_str())
        .with("Name", given["name"].as_str())
        .with("ApiDestinationState", state(given))
        .with("ConnectionArn", given["connection_arn"].as_str())
        .with("InvocationEndpoint", given["endpoint"].as_str())
        .with("HttpMethod", given["method"].as_str())
        .with("InvocationRateLimitPerSecond", given["invocations_per_second"].as_i64())
        .with("CreationTime", time(&given["created_ms"]))
        .with("LastModifiedTime", time(&given["modified_ms"]))
}

pub(super) async fn describe_api_destination(call: &Call<'_>) -> Result<Value, Fault> {
    let given = described_destination(call, "describe").await?;
    let description = given["description"].as_str().filter(|text| !text.is_empty());
    Ok(destination(&given).with("Description", description))
}

pub(super) async fn list_api_destinations(call: &Call<'_>) -> Result<Value, Fault> {
    let listed = call.ask(Request::ApiDestinationList(Empty {})).await.map_err(fault)?;
    let connection = call.input.text("ConnectionArn");
    let mut listed = named(call, &listed);
    listed.retain(|one| connection.is_none_or(|arn| one["connection_arn"] == arn));
    let (listed, next) = paged(call, listed, |one| one["name"].as_str().unwrap_or_default())?;
    let listed: Vec<Value> = listed.into_iter().map(destination).collect();
    Ok(Value::structure().with("ApiDestinations", listed).with("NextToken", next))
}

pub(super) async fn delete_api_destination(call: &Call<'_>) -> Result<Value, Fault> {
    let asked = Request::ApiDestinationDelete(connection_named(call));
    call.ask(asked).await.map_err(|error| not_found("delete", "api-destination", error))?;
    Ok(Value::structure())
}
