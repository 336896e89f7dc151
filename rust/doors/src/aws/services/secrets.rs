//! Secrets Manager: the secrets of EventBridge's connections, and those of stacks.

use forebay_engine::api::connection::ConnectionNamed;
use forebay_engine::api::{Empty, Request};
use serde_json::{json, Value as Json};

use crate::aws::call::{unavailable, Call, Output};
use crate::aws::fault::Fault;
use crate::aws::services::stacks;
use crate::aws::value::Value;

super::operations! {
    DescribeSecret => describe_secret,
    GetSecretValue => get_secret_value,
}

/// The service that owns these secrets.
const OWNER: &str = "events";

fn no_secret() -> Fault {
    Fault::new("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

/// The connection that a secret is of, by the secret's ARN or its name.
async fn connection(call: &Call<'_>) -> Result<Option<Json>, Fault> {
    let id = call.input.needed("SecretId");
    let listed = call.ask(Request::HttpConnectionList(Empty {})).await.map_err(|error| unavailable(&error))?;
    let mut all = listed.as_array().cloned().unwrap_or_default().into_iter();
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

/// The id of the one version of a secret: that of its connection.
fn version(connection: &Json) -> String {
    let arn = connection["arn"].as_str().unwrap_or_default();
    arn.rsplit('/').next().unwrap_or_default().to_owned()
}

async fn describe_secret(call: &Call<'_>) -> Result<Output, Fault> {
    let Some(given) = connection(call).await? else { return of_stack(call, "DescribeSecret").await };
    Ok(Value::structure()
        .with("ARN", given["secret_arn"].as_str())
        .with("Name", name(&given))
        .with("OwningService", OWNER)
        .with("CreatedDate", time(&given["created_ms"]))
        .with("LastChangedDate", time(&given["modified_ms"]))
        .into())
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
    let Some(given) = connection(call).await? else { return of_stack(call, "GetSecretValue").await };
    let asked = ConnectionNamed { name: given["name"].as_str().unwrap_or_default().to_owned() };
    let parameters = call.ask(Request::HttpConnectionSecret(asked)).await.map_err(|_| no_secret())?;
    Ok(Value::structure()
        .with("ARN", given["secret_arn"].as_str())
        .with("Name", name(&given))
        .with("VersionId", version(&given))
        .with("SecretString", written(&parameters).to_string())
        .with("VersionStages", vec![Value::from("AWSCURRENT")])
        .with("CreatedDate", time(&given["created_ms"]))
        .into())
}
