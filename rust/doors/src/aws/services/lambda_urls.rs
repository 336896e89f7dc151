//! Lambda: the URLs of functions.

use crate::aws::call::{unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::services::apigateway::{control_call, found, Refused};
use crate::aws::value::Value;

async fn of(call: &Call<'_>, operation: &str) -> Result<Value, Fault> {
    let (model, operation) = found("lambda", operation)?;
    control_call(call, model, operation).await.map_err(|refused| match refused {
        Refused::Said(code, status, text) => Fault::new(code, text).status(status).with("Type", "User"),
        Refused::Engine(error) => unavailable(&error),
    })
}

/// Refuse what nobody here would do.
fn refuse_streaming(call: &Call<'_>) -> Result<(), Fault> {
    if call.input.text("InvokeMode") == Some("RESPONSE_STREAM") {
        let text = "InvokeMode RESPONSE_STREAM: responses are not streamed here; BUFFERED is the other mode.";
        return Err(Fault::new("InvalidParameterValueException", text).with("Type", "User"));
    }
    Ok(())
}

pub(super) async fn create_function_url_config(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_streaming(call)?;
    of(call, "CreateFunctionUrlConfig").await
}

pub(super) async fn get_function_url_config(call: &Call<'_>) -> Result<Value, Fault> {
    of(call, "GetFunctionUrlConfig").await
}

pub(super) async fn update_function_url_config(call: &Call<'_>) -> Result<Value, Fault> {
    refuse_streaming(call)?;
    of(call, "UpdateFunctionUrlConfig").await
}

pub(super) async fn delete_function_url_config(call: &Call<'_>) -> Result<Value, Fault> {
    of(call, "DeleteFunctionUrlConfig").await
}

pub(super) async fn list_function_url_configs(call: &Call<'_>) -> Result<Value, Fault> {
    of(call, "ListFunctionUrlConfigs").await
}
