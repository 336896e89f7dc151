//! API Gateway's control plane (v2): the HTTP and WebSocket APIs of the app. Those that its program declares are told of; others are made
//! and changed.

use forebay_core::gateway::rest::control::fault::Fault as Refused;
use forebay_core::gateway::v2::{self, control, Home};
use forebay_engine::api::Request;

use crate::aws::call::{Call, Outcome, Output};
use crate::aws::fault::Fault;
use crate::aws::services::apigateway::{body_of, fault, params};
use crate::aws::services::members::from_json;
use crate::aws::services::SERVICES;
use crate::aws::value::Value;

/// The name that it signs by, which the first version has, too; and its version.
const SERVICE: (&str, &str) = ("apigateway", "2018-11-29");
const COUNT: usize = v2::OPERATIONS.len() + control::OPERATIONS.len();
const ALL: [&str; COUNT] = {
    let mut all = [""; COUNT];
    let (reads, mut at) = (v2::OPERATIONS.len(), 0);
    while at < COUNT {
        all[at] = if at < reads { v2::OPERATIONS[at] } else { control::OPERATIONS[at - reads] };
        at += 1;
    }
    all
};

/// The operations that are carried out.
pub(super) const OPERATIONS: &[&str] = &ALL;

/// Carry out an operation.
pub(super) fn call<'c>(call: &'c Call<'c>, operation: &'c str) -> Outcome<'c> {
    Box::pin(async move {
        let mut models = SERVICES.iter().map(super::Service::model);
        let model = models.find(|model| (model.signing_name, model.api_version) == SERVICE);
        let found = model.and_then(|model| Some((model, model.operation(operation)?)));
        let (model, operation) = found.ok_or_else(|| Fault::new("NotImplemented", operation).status(501))?;
        let members = params(call, model, operation);
        let body = if control::OPERATIONS.contains(&operation.name) {
            if operation.name != control::RESET {
                v2::check_made(&call.engine.apis().now(), &members).map_err(refused)?;
            }
            body_of(call, Request::HttpApiCall, operation, members).await.map_err(fault)?
        } else {
            let home = Home { region: call.region, account: call.account };
            let kept = call.engine.rest_apis().now();
            v2::call((&call.engine.apis().now(), &kept.http_apis), home, operation.name, &members).map_err(refused)?
        };
        let output = operation.output.map(|shape| from_json(model, model.shape(shape), &body));
        Ok(Output::from(output.unwrap_or_else(Value::structure)))
    })
}

fn refused(fault: Refused) -> Fault {
    Fault::new(fault.code, fault.message).status(fault.status)
}
