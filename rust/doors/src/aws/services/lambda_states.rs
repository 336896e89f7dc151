//! The states of functions that stacks deploy: whether one is being made or changed, and why it could not be.

use forebay_engine::base::error::EngineError;
use serde_json::{json, Value as Json};

use super::lambda::{fault, Target};
use super::stacks;
use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::services::lambda;
use crate::aws::value::Value;

/// What a deploy says of a function; null of one that serves and is not being changed.
pub(super) async fn of(call: &Call<'_>, name: &str) -> Json {
    stacks::told(call, &json!({"operation": "state", "function": name})).await
}

/// Whether a function serves: one that is being made does not yet, and one that could not be made never did.
pub(super) fn serves(state: &Json) -> bool {
    matches!(state["State"].as_str(), None | Some("Active"))
}

/// A configuration with its states.
pub(super) fn with(configuration: Value, state: &Json) -> Value {
    let text = |member: &str| state[member].as_str();
    configuration
        .with("State", text("State").unwrap_or("Active"))
        .with("StateReason", text("StateReason"))
        .with("StateReasonCode", text("StateReasonCode"))
        .with("LastUpdateStatus", text("LastUpdateStatus").unwrap_or("Successful"))
        .with("LastUpdateStatusReason", text("LastUpdateStatusReason"))
        .with("LastUpdateStatusReasonCode", text("LastUpdateStatusReasonCode"))
}

/// Why a function was not invoked: one that is being made is there, and does not serve yet.
pub(super) async fn refused(call: &Call<'_>, target: &Target, error: EngineError) -> Fault {
    if matches!(error, EngineError::NotFound(_)) {
        let state = of(call, &target.name).await;
        if !serves(&state) {
            let text = format!(
                "The operation cannot be performed at this time. The function is currently in the following state: {}",
                state["State"].as_str().unwrap_or_default()
            );
            return fault(EngineError::Conflict(text));
        }
    }
    lambda::function_fault(call, target, error)
}
