//! API destinations that AWS's calls make, and their connections: what is asked of them, and what is answered.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names a connection or an API destination.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConnectionNamed {
    /// Its name.
    pub name: String,
}

/// What is in no row and in no log.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Secret(pub Value);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}

/// Create a connection, or change one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PutConnection {
    /// Its name.
    pub name: String,
    /// For people; without it, as before, and at first empty.
    #[serde(default)]
    pub description: Option<String>,
    /// How it authorizes; without it, nothing of its authorization changes.
    #[serde(default)]
    pub authorization: Option<PutAuthorization>,
    /// Refused (`Conflict`) where there is one already.
    #[serde(default)]
    pub only_new: bool,
}

/// How a connection authorizes.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PutAuthorization {
    /// In which way.
    pub kind: AuthorizationKind,
    /// `AuthParameters` of AWS's call, with secrets. They are in no row of the store.
    pub parameters: Secret,
    /// The same without secrets.
    pub shown: Value,
}

/// A way of authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuthorizationKind {
    /// A user and a password.
    Basic,
    /// A header with a key.
    ApiKey,
    /// A token that OAuth's client credentials give.
    OauthClientCredentials,
}

/// Whether a connection can authorize.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectionState {
    /// It asks for its first token.
    Authorizing,
    /// It can.
    Authorized,
    /// It cannot.
    Deauthorized,
}

/// A connection.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HttpConnection {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// ARN of its secret.
    pub secret_arn: String,
    /// For people.
    pub description: String,
    /// In which way it authorizes.
    pub kind: AuthorizationKind,
    /// Its parameters without secrets.
    pub shown: Value,
    /// Whether it can authorize.
    pub state: ConnectionState,
    /// Why it cannot.
    pub reason: Option<String>,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// When it was changed last.
    pub modified_ms: u64,
    /// When it could authorize last.
    pub authorized_ms: Option<u64>,
}

/// Tell whether a token was given.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Authorized {
    /// The connection's name.
    pub name: String,
    /// Which of its settings asked.
    pub revision: u64,
    /// Why none was given; null: one was.
    #[serde(default)]
    pub error: Option<String>,
}

/// Create an API destination, or change one that exists.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PutApiDestination {
    /// Its name.
    pub name: String,
    /// Refused (`Conflict`) where there is one already.
    #[serde(default)]
    pub only_new: bool,
    /// Its settings.
    #[serde(flatten)]
    pub settings: ApiDestinationSettings,
}

/// Settings of an API destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApiDestinationSettings {
    /// The name of the connection that authorizes its requests.
    pub connection: String,
    /// The URL; each `*` in its path is filled by the rule.
    pub endpoint: String,
    /// The method.
    pub method: String,
    /// Most requests in a second.
    pub invocations_per_second: u32,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// An API destination.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApiDestination {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// ARN of its connection; null: that was deleted.
    pub connection_arn: Option<String>,
    /// Whether its connection can authorize.
    pub is_active: bool,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// When it was changed last.
    pub modified_ms: u64,
    /// Its settings.
    #[serde(flatten)]
    pub settings: ApiDestinationSettings,
}
