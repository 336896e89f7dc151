//! API Gateway's control plane (v2): what is told of the HTTP and WebSocket APIs that the app serves.

use forebay_core::gateway::v2::{self, Home};

use crate::aws::call::{Call, Outcome, Output};
use crate::aws::fault::Fault;
use crate::aws::services::apigateway::params;
use crate::aws::services::members::from_json;
use crate::aws::services::SERVICES;
use crate::aws::value::Value;

/// The name that it signs by, which the first version has, too; and its version.
const SERVICE: (&str, &str) = ("apigateway", "2018-11-29");

/// The operations that are carried out.
pub(super) const OPERATIONS: &[&str] = v2::OPERATIONS;

/// Carry out an operation.
pub(super) fn call<'c>(call: &'c Call<'c>, operation: &'c str) -> Outcome<'c> {
    Box::pin(async move {
        let mut models = SERVICES.iter().map(super::Service::model);
        let model = models.find(|model| (model.signing_name, model.api_version) == SERVICE);
        let found = model.and_then(|model| Some((model, model.operation(operation)?)));
        let (model, operation) = found.ok_or_else(|| Fault::new("NotImplemented", operation).status(501))?;
        let home = Home { region: call.region, account: call.account };
        let body = v2::call(&call.engine.apis().now(), home, operation.name, &params(call, model, operation))
            .map_err(|refused| Fault::new(refused.code, refused.message).status(refused.status))?;
        let output = operation.output.map(|shape| from_json(model, model.shape(shape), &body));
        Ok(Output::from(output.unwrap_or_else(Value::structure)))
    })
}
