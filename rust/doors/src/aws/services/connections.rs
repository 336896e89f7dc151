//! The API Gateway Management API: what is sent to clients of WebSocket APIs.

use base64::prelude::{Engine as _, BASE64_STANDARD};
use forebay_core::gateway::apis::Named;
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

/// A connection of the API and the stage that are named, as far as they are.
fn named(call: &Call<'_>) -> OfConnection {
    let ([api, stage], is_perhaps_stage) = place(&call.before, &call.origin);
    OfConnection { connection_id: call.input.needed("ConnectionId").to_owned(), api, stage, is_perhaps_stage }
}

/// The API and the stage of a URL: `/{stage}/@connections/{id}`, `/_apis/{api}/{stage}/@connections/{id}`, and the API by a host
/// `{id}.execute-api.…`. Another path before it is a proxy's, and says nothing. One of a single part may be either: it is told so.
fn place(before: &str, origin: &str) -> ([Option<String>; 2], bool) {
    let parts: Vec<&str> = before.split('/').filter(|part| !part.is_empty()).collect();
    let (api, stage) = match parts[..] {
        ["_apis", api] => (Some(api), None),
        ["_apis", api, stage, ..] => (Some(api), Some(stage)),
        [stage] => (None, Some(stage)),
        _ => (None, None),
    };
    let [api, stage] = [api, stage].map(|part| part.map(|part| decoded(part).into_owned()));
    let authority = origin.strip_prefix("http://").unwrap_or(origin).to_ascii_lowercase();
    let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
    let by_host = match Named::by(host) {
        Some(Named::Id(id)) => Some(id.to_owned()),
        // Any name of this machine may stand there.
        Some(Named::Name(_)) | None => None,
    };
    ([api.or(by_host), stage], parts.len() == 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The endpoint behind a proxy's path was read as an API and a stage: each call answered that the client has gone. And who said by the host
    /// which API is meant reached the clients of another one with a stage of that name.
    #[test]
    fn a_url_says_which_api_and_which_stage_are_meant() {
        let plain = "http://127.0.0.1:4566";
        let by_host = "http://abc123.execute-api.eu-west-1.localhost:4566";
        for (before, origin, api, stage) in [
            ("", plain, None, None),
            ("/prod", plain, None, Some("prod")),
            ("/_apis/chat", plain, Some("chat"), None),
            ("/_apis/chat/prod", plain, Some("chat"), Some("prod")),
            ("/_apis/a%20b/prod", plain, Some("a b"), Some("prod")),
            ("/aws/prod", plain, None, None),
            ("/prod", by_host, Some("abc123"), Some("prod")),
            ("", by_host, Some("abc123"), None),
            ("/prod", "http://aws.localhost:4566", None, Some("prod")),
            ("/prod", "http://[::1]:4566", None, Some("prod")),
        ] {
            let is_perhaps_stage = before.matches('/').count() == 1;
            let told = ([api, stage].map(|one| one.map(str::to_owned)), is_perhaps_stage);
            assert_eq!(place(before, origin), told, "{before} {origin}");
        }
    }
}
