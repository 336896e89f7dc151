//! REST APIs: one form for all control calls, by AWS's names and with AWS's members.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Carry out a control call of a REST API. `OPERATIONS` of `rust/core/src/gateway/rest/control` has the names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Call {
    /// `CreateRestApi`, `PutMethod`, …
    pub operation: String,
    /// Its members by AWS's names: `{"restApiId": …, "patchOperations": […]}`. A body is a text.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// The id that the API gets which the call makes; without one, it is drawn.
    #[serde(default)]
    pub api_id: Option<String>,
}

/// What came of a control call. A refusal is an answer, too: its code is AWS's.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RestAnswer {
    /// The HTTP status that AWS gives it.
    pub status: u16,
    /// Of a refusal: `BadRequestException`, `NotFoundException`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The members of the answer, or `message`.
    pub body: Value,
}
