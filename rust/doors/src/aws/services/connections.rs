//! The API Gateway Management API: what is sent to clients of WebSocket APIs.

use base64::prelude::{Engine as _, BASE64_STANDARD};
use forebay_core::gateway::wire::decoded;
use forebay_engine::api::gateway::{OfConnection, Post};
use forebay_engine::api::Request;
use forebay_engine::base::error::EngineError;

use crate::aws::call::{unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::value::Value;

super::operations! {
    PostToConnection => post_to_connection,
    GetConnection => get_connection,
    DeleteConnection => delete_connection,
}

/// Begins the path of each call; an API and its stage may stand before it.
pub(in crate::aws) const PATH: &str = "/@connections/";

fn fault(error: EngineError) -> Fault {
    match error {
        EngineError::NotFound(text) => Fault::new("GoneException", text).status(410),
        EngineError::Invalid(text) | EngineError::TooLarge(text) => {
            Fault::new("PayloadTooLargeException", text).status(413)
        }
        error => unavailable(&error),
    }
}

/// A connection of the API and the stage that stand in the path before it, as far as they do: `/{stage}/@connections/{id}`,
/// `/_apis/{api}/{stage}/@connections/{id}`.
fn named(call: &Call<'_>) -> OfConnection {
    let parts: Vec<&str> = call.before.split('/').filter(|part| !part.is_empty()).collect();
    let (api, stage) = match parts[..] {
        [] => (None, None),
        ["_apis", api] => (Some(api), None),
        [stage] => (None, Some(stage)),
        [.., api, stage] => (Some(api), Some(stage)),
    };
    let [api, stage] = [api, stage].map(|part| part.map(|part| decoded(part).into_owned()));
    OfConnection { connection_id: call.input.needed("ConnectionId").to_owned(), api, stage }
}

async fn post_to_connection(call: &Call<'_>) -> Result<Value, Fault> {
    let bytes = call.input.blob("Data").unwrap_or_default();
    // What is text goes as text: browsers tell the two apart.
    let (data, base64) = match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (BASE64_STANDARD.encode(bytes), true),
    };
    let post = Post { to: named(call), data, base64 };
    call.ask(Request::ConnectionPost(post)).await.map_err(fault)?;
    Ok(Value::structure())
}

async fn get_connection(call: &Call<'_>) -> Result<Value, Fault> {
    let found = call.ask(Request::ConnectionDescribe(named(call))).await.map_err(fault)?;
    let time = |name: &str| found[name].as_i64().map_or(Value::Null, Value::Time);
    let identity = Value::structure()
        .with("SourceIp", found["source_ip"].as_str())
        .with("UserAgent", found["user_agent"].as_str());
    Ok(Value::structure()
        .with("ConnectedAt", time("connected_ms"))
        .with("Identity", identity)
        .with("LastActiveAt", time("last_active_ms")))
}

async fn delete_connection(call: &Call<'_>) -> Result<Value, Fault> {
    call.ask(Request::ConnectionClose(named(call))).await.map_err(fault)?;
    Ok(Value::structure())
}
