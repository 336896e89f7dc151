//! Secrets Manager: the secrets of EventBridge's connections, and those of stacks.

use forebay_engine::api::connection::ConnectionNamed;
use forebay_engine::api::{Empty, Request};
use serde_json::{json, Value as Json};

use crate::aws::call::{unavailable, Call, Output};
use crate::aws::fault::Fault;
use crate::aws::services::page::{page, Token};
use crate::aws::services::stacks;
use crate::aws::value::{Key, Value};

super::operations! {
    DescribeSecret => describe_secret,
    GetSecretValue => get_secret_value,
    ListSecrets => list_secrets,
    BatchGetSecretValue => batch_get_secret_value,
}

/// The service that owns these secrets.
const OWNER: &str = "events";
/// The stage of the one version.
const CURRENT: &str = "AWSCURRENT";
/// Most secrets of a page.
const PAGE: i64 = 100;

fn no_secret() -> Fault {
    Fault::new("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

async fn connections(call: &Call<'_>) -> Result<Vec<Json>, Fault> {
    let listed = call.ask(Request::HttpConnectionList(Empty {})).await.map_err(|error| unavailable(&error))?;
    Ok(listed.as_array().cloned().unwrap_or_default())
}

/// The connection that a secret is of, by the secret's ARN or its name.
async fn connection(call: &Call<'_>, id: &str) -> Result<Option<Json>, Fault> {
    let mut all = connections(call).await?.into_iter();
    Ok(all.find(|one| one["secret_arn"] == id || name(one) == id))
}

/// A secret that is not a connection's is a stack's, or is not there.
async fn of_stack(call: &Call<'_>, operation: &str) -> Result<Output, Fault> {
    stacks::if_run(("secretsmanager", "2017-10-17"), call, operation).await?.ok_or_else(no_secret)
}

/// A secret's name: its ARN without what stands before it, and without the six letters at its end.
fn name(connection: &Json) -> &str {
    let arn = connection["secret_arn"].as_str().unwrap_or_default();
    let named = arn.split_once(":secret:").map_or(arn, |(_, named)| named);
    named.rsplit_once('-').map_or(named, |(name, _)| name)
}

fn time(ms: &Json) -> Value {
    ms.as_i64().map_or(Value::Null, Value::Time)
}

/// The id of the one version of a secret: its connection's, which ends in when that was changed. Who compares ids sees each change.
fn version(connection: &Json) -> String {
    let arn = connection["arn"].as_str().unwrap_or_default();
    let id = arn.rsplit('/').next().unwrap_or_default();
    let begin = id.rsplit_once('-').map_or(id, |(begin, _)| begin);
    format!("{begin}-{:012x}", connection["modified_ms"].as_u64().unwrap_or_default())
}

fn stages() -> Value {
    Value::List(vec![CURRENT.into()])
}

/// There is one version of a secret. Another one that is asked for is not there.
fn refuse_other_version(call: &Call<'_>, current: Option<&str>) -> Result<(), Fault> {
    let missing = |what: String| {
        let text = format!("Secrets Manager can't find the specified secret value for {what}");
        Err(Fault::new("ResourceNotFoundException", text))
    };
    match (call.input.text("VersionId"), call.input.text("VersionStage")) {
        (Some(id), _) if Some(id) != current => missing(format!("VersionId: {id}")),
        (_, Some(stage)) if stage != CURRENT => missing(format!("staging label: {stage}")),
        _ => Ok(()),
    }
}

async fn describe_secret(call: &Call<'_>) -> Result<Output, Fault> {
    match connection(call, call.input.needed("SecretId")).await? {
        Some(given) => Ok(described(&given).into()),
        None => of_stack(call, "DescribeSecret").await,
    }
}

/// A description of one and a line of the list, whose names of the versions differ.
fn described(connection: &Json) -> Value {
    let versions = Value::Map(vec![(Key::Owned(version(connection)), stages())]);
    Value::structure()
        .with("ARN", connection["secret_arn"].as_str())
        .with("Name", name(connection))
        .with("OwningService", OWNER)
        .with("VersionIdsToStages", versions.clone())
        .with("SecretVersionsToStages", versions)
        .with("CreatedDate", time(&connection["created_ms"]))
        .with("LastChangedDate", time(&connection["modified_ms"]))
}

/// What EventBridge writes into the secret of a connection.
fn written(parameters: &Json) -> Json {
    let mut secret = json!({});
    let mut take = |name: &str, value: &Json| {
        if !value.is_null() {
            secret[name] = value.clone();
        }
    };
    take("username", &parameters["BasicAuthParameters"]["Username"]);
    take("password", &parameters["BasicAuthParameters"]["Password"]);
    take("api_key_name", &parameters["ApiKeyAuthParameters"]["ApiKeyName"]);
    take("api_key_value", &parameters["ApiKeyAuthParameters"]["ApiKeyValue"]);
    let oauth = &parameters["OAuthParameters"];
    take("client_id", &oauth["ClientParameters"]["ClientID"]);
    take("client_secret", &oauth["ClientParameters"]["ClientSecret"]);
    take("authorization_endpoint", &oauth["AuthorizationEndpoint"]);
    take("http_method", &oauth["HttpMethod"]);
    let invocation = &parameters["InvocationHttpParameters"];
    for (kind, of) in
        [("oauth_http_parameters", &oauth["OAuthHttpParameters"]), ("invocation_http_parameters", invocation)]
    {
        let mut parts = json!({});
        for (member, name) in [
            ("HeaderParameters", "header_parameters"),
            ("QueryStringParameters", "query_string_parameters"),
            ("BodyParameters", "body_parameters"),
        ] {
            let rows = of[member].as_array().into_iter().flatten();
            let rows: Vec<Json> = rows
                .map(|row| json!({"key": row["Key"], "value": row["Value"], "is_value_secret": row["IsValueSecret"] == true}))
                .collect();
            if !rows.is_empty() {
                parts[name] = rows.into();
            }
        }
        if parts.as_object().is_some_and(|parts| !parts.is_empty()) {
            take(kind, &parts);
        }
    }
    secret
}

async fn get_secret_value(call: &Call<'_>) -> Result<Output, Fault> {
    stacks::refuse_strangers(call)?;
    let given = match connection(call, call.input.needed("SecretId")).await? {
        Some(given) => value(call, &given).await?.into(),
        None => of_stack(call, "GetSecretValue").await?,
    };
    if let Output::Value(value) = &given {
        refuse_other_version(call, value.text("VersionId"))?;
    }
    Ok(given)
}

async fn value(call: &Call<'_>, connection: &Json) -> Result<Value, Fault> {
    let asked = ConnectionNamed { name: connection["name"].as_str().unwrap_or_default().to_owned() };
    let parameters = call.ask(Request::HttpConnectionSecret(asked)).await.map_err(|_| no_secret())?;
    Ok(Value::structure()
        .with("ARN", connection["secret_arn"].as_str())
        .with("Name", name(connection))
        .with("VersionId", version(connection))
        .with("SecretString", written(&parameters).to_string())
        .with("VersionStages", stages())
        .with("CreatedDate", time(&connection["modified_ms"])))
}

fn refuse_filters(call: &Call<'_>) -> Result<(), Fault> {
    if call.input.list("Filters").is_empty() {
        return Ok(());
    }
    Err(Fault::new("InvalidParameterException", "Filters: secrets are not searched here; name them, or list all"))
}

/// The list that what runs the stacks answers with.
async fn list_of_stacks(call: &Call<'_>, operation: &str, member: &str) -> Result<Vec<Value>, Fault> {
    let told = stacks::if_run(("secretsmanager", "2017-10-17"), call, operation).await?;
    Ok(match told {
        Some(Output::Value(told)) => told.list(member).to_vec(),
        _ => Vec::new(),
    })
}

async fn list_secrets(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_filters(call)?;
    if call.input.text("SortBy").is_some_and(|by| by != "name") || call.input.text("SortOrder") == Some("desc") {
        let text = "SortBy, SortOrder: secrets are listed by name, upwards; leave both out";
        return Err(Fault::new("InvalidParameterException", text));
    }
    let wrong = || Fault::new("InvalidNextTokenException", "NextToken is not one that an answer gave");
    let after = Token::read(call.input.text("NextToken")).ok_or_else(wrong)?;
    let mut all: Vec<Value> = connections(call).await?.iter().map(described).collect();
    all.extend(list_of_stacks(call, "ListSecrets", "SecretList").await?);
    all.sort_by(|one, other| one.needed("Name").cmp(other.needed("Name")));
    let most = call.input.int("MaxResults").unwrap_or(PAGE) as usize;
    let (listed, next) = page(all, most, after, |one| one.needed("Name"));
    Ok(Value::structure().with("SecretList", listed).with("NextToken", next))
}

async fn batch_get_secret_value(call: &Call<'_>) -> Result<Value, Fault> {
    stacks::refuse_strangers(call)?;
    refuse_filters(call)?;
    if call.input.list("SecretIdList").is_empty() {
        return Err(Fault::new("InvalidParameterException", "SecretIdList: name 1 to 20 secrets"));
    }
    let mut found = list_of_stacks(call, "BatchGetSecretValue", "SecretValues").await?;
    let mut errors = Vec::new();
    for id in call.input.texts("SecretIdList") {
        if found.iter().any(|one| one.needed("Name") == id || one.needed("ARN") == id) {
            continue;
        }
        match connection(call, id).await? {
            Some(given) => found.push(value(call, &given).await?),
            None => errors.push(
                Value::structure()
                    .with("SecretId", id)
                    .with("ErrorCode", "ResourceNotFoundException")
                    .with("Message", no_secret().message),
            ),
        }
    }
    Ok(Value::structure().with("SecretValues", found).with("Errors", errors))
}
