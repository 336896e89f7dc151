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

pub(super) async fn create_function_url_config(call: &Call<'_>) -> Result<Value, Fault> {
    of(call, "CreateFunctionUrlConfig").await
}

pub(super) async fn get_function_url_config(call: &Call<'_>) -> Result<Value, Fault> {
    of(call, "GetFunctionUrlConfig").await
}

pub(super) async fn update_function_url_config(call: &Call<'_>) -> Result<Value, Fault> {
    of(call, "UpdateFunctionUrlConfig").await
}

pub(super) async fn delete_function_url_config(call: &Call<'_>) -> Result<Value, Fault> {
    of(call, "DeleteFunctionUrlConfig").await
}

pub(super) async fn list_function_url_configs(call: &Call<'_>) -> Result<Value, Fault> {
    of(call, "ListFunctionUrlConfigs").await
}
