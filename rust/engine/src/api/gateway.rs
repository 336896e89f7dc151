//! API gateways: what is asked of them, and what is answered.

use forebay_core::gateway::api::{Definition, Target};
use serde::{Deserialize, Serialize};

/// Declare an API; one of the same kind and name takes the new definition, and requests under way end by the old one.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Declare {
    /// `{name, kind?, cors?, routes?, stages?, authorizers?, hosts?}`, as `rust/core/src/gateway/api.rs` reads it.
    #[cfg_attr(test, schemars(with = "serde_json::Value"))]
    pub definition: Definition,
}

/// Names an API.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Named {
    /// Its id or its name.
    pub name: String,
}

/// Asks for an HTTP API as an `OpenAPI` document.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Export {
    /// Its id or its name.
    pub name: String,
    /// YAML in place of JSON.
    #[serde(default)]
    pub yaml: bool,
}

/// A document.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Exported {
    /// JSON or YAML.
    pub body: String,
}

/// What opens `/_routes` and `/_test/invoke-method`.
#[derive(Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Token {
    /// Whoever asks the owner through its socket is told it, and nobody else.
    pub token: String,
}

/// An API.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Api {
    /// Ten characters, the same over restarts.
    pub id: String,
    /// Its name; of a URL the function's.
    pub name: String,
    /// `http`, `url` or `websocket`.
    pub kind: &'static str,
    /// Its stages, by name.
    pub stages: Vec<String>,
    /// Its routes.
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Route {
    /// Its key.
    pub key: String,
    /// Where it goes: a function by its name, or the URL of another server.
    #[cfg_attr(test, schemars(with = "serde_json::Value"))]
    pub target: Target,
    /// The name of its authoriser.
    pub authorizer: Option<String>,
    /// How long an answer may take.
    pub timeout_ms: u32,
}

/// Send something to a client of a WebSocket API.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Post {
    /// Whom.
    #[serde(flatten)]
    pub to: OfConnection,
    /// A text, or bytes in base64.
    pub data: String,
    /// Whether it is base64.
    #[serde(default)]
    pub base64: bool,
}

/// Send the same to several clients.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PostMany {
    /// The API's id or its name.
    pub api: String,
    /// Whom: those of them who are connected to the API; without it, everybody who is.
    #[serde(default)]
    pub connection_ids: Option<Vec<String>>,
    /// A text, or bytes in base64.
    pub data: String,
    /// Whether it is base64.
    #[serde(default)]
    pub base64: bool,
}

/// What became of it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Posted {
    /// How many clients it is on its way to.
    pub sent: usize,
}

/// Names a connection.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OfConnection {
    /// Its id.
    pub connection_id: String,
    /// The id or the name of its API: one of another API is none. Without it, any API's.
    #[serde(default)]
    pub api: Option<String>,
    /// Its stage, likewise.
    #[serde(default)]
    pub stage: Option<String>,
    /// Whether `stage` is a part of a path that a proxy may have put there. It counts where some WebSocket API has a stage of that name.
    #[serde(default)]
    pub is_perhaps_stage: bool,
}

/// An open connection.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Connection {
    /// Its id.
    pub connection_id: String,
    /// The API's name.
    pub api: String,
    /// The API's id.
    pub api_id: String,
    /// The stage.
    pub stage: String,
    /// When it was opened.
    pub connected_ms: u64,
    /// When a message last went over it.
    pub last_active_ms: u64,
    /// The client's address.
    pub source_ip: String,
    /// What the client calls itself.
    pub user_agent: String,
}
