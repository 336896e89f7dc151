//! API Gateway's control plane (v1): the calls on REST APIs, their deployments, stages, keys and plans, and the test of a method.

use forebay_core::gateway::rest::control;
use forebay_engine::api::rest::Call as RestCall;
use forebay_engine::api::Request;
use forebay_engine::base::error::EngineError;
use serde_json::{json, Map, Value as Json};

use crate::aws::call::{unavailable, Call, Outcome, Output};
use crate::aws::fault::Fault;
use crate::aws::model::{Location, Member, Model, Operation};
use crate::aws::services::members::{from_json, to_json};
use crate::aws::services::SERVICES;
use crate::aws::value::Value;
use crate::gateway::rest_test;

/// What the core does not carry out: they run a method, and ask an authoriser.
const TESTS: [&str; 2] = ["TestInvokeMethod", "TestInvokeAuthorizer"];
const COUNT: usize = control::OPERATIONS.len() + TESTS.len();
const ALL: [&str; COUNT] = {
    let mut all = [TESTS[0]; COUNT];
    all[COUNT - 1] = TESTS[1];
    let mut at = 0;
    while at < control::OPERATIONS.len() {
        all[at] = control::OPERATIONS[at];
        at += 1;
    }
    all
};

/// The operations that are carried out.
pub(super) const OPERATIONS: &[&str] = &ALL;

/// Carry out an operation.
pub(super) fn call<'c>(call: &'c Call<'c>, operation: &'c str) -> Outcome<'c> {
    Box::pin(async move {
        let (model, operation) = found("apigateway", operation)?;
        if TESTS.contains(&operation.name) {
            return test(call, model, operation).await.map(Output::from);
        }
        control_call(call, model, operation).await.map(Output::from).map_err(fault)
    })
}

/// The tables of an operation.
pub(super) fn found(service: &str, operation: &str) -> Result<(&'static Model, &'static Operation), Fault> {
    let model = SERVICES.iter().find(|one| one.name == service).map(super::Service::model);
    let found = model.and_then(|model| Some((model, model.operation(operation)?)));
    found.ok_or_else(|| Fault::new("NotImplemented", operation).status(501))
}

/// Why a control call was refused: what AWS says, or what the engine says.
pub(super) enum Refused {
    /// The code, the status and the text.
    Said(String, u16, String),
    /// It was not reached.
    Engine(EngineError),
}

/// Make a control call of the core in AWS's own form.
pub(super) async fn control_call(call: &Call<'_>, model: &Model, operation: &Operation) -> Result<Value, Refused> {
    let body = body_of(call, Request::RestCall, operation, params(call, model, operation)).await?;
    let output = operation.output.map(|shape| from_json(model, model.shape(shape), &body));
    Ok(output.unwrap_or_else(Value::structure))
}

/// The body of the answer to a call of either version.
pub(super) async fn body_of(
    call: &Call<'_>,
    version: fn(RestCall) -> Request,
    operation: &Operation,
    params: Map<String, Json>,
) -> Result<Json, Refused> {
    let asked = RestCall { operation: operation.name.to_owned(), params, api_id: None };
    let mut told = call.ask(version(asked)).await.map_err(Refused::Engine)?;
    let status = told["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
    if let Some(code) = told["error"].as_str() {
        let text = told["body"]["message"].as_str().unwrap_or_default();
        return Err(Refused::Said(code.to_owned(), status, text.to_owned()));
    }
    Ok(told["body"].take())
}

/// The input by the members' own names.
pub(super) fn params(call: &Call<'_>, model: &Model, operation: &Operation) -> Map<String, Json> {
    let Some(input) = operation.input else { return Map::new() };
    let Json::Object(mut params) = to_json(model, model.shape(input), &call.input) else { return Map::new() };
    // A map in a query string has all fields of it: those of others are none of its own.
    if let Some(Json::Object(fields)) = params.get_mut("parameters") {
        let others = model.members(Some(input)).iter().filter(|member| member.location == Location::Query);
        for name in others.map(Member::wire_name).chain(operation.query.iter().map(|(name, _)| *name)) {
            fields.remove(name);
        }
    }
    params
}

pub(super) fn fault(refused: Refused) -> Fault {
    match refused {
        Refused::Said(code, status, text) => Fault::new(code, text).status(status),
        Refused::Engine(error) => unavailable(&error),
    }
}

/// Run a method, or ask an authoriser, as it stands now.
async fn test(call: &Call<'_>, model: &Model, operation: &Operation) -> Result<Value, Fault> {
    let Some(tester) = call.tester else {
        return Err(Fault::new("BadRequestException", "a method is not tested from within an integration"));
    };
    let mut params = params(call, model, operation);
    if params.remove("additionalContext").is_some_and(|context| context.as_object().is_some_and(|map| !map.is_empty()))
    {
        return Err(Fault::new("BadRequestException", "additionalContext: there is none here; leave it out"));
    }
    if params.get("clientCertificateId").is_some_and(|id| id == "") {
        params.remove("clientCertificateId");
    }
    let services = call.key.as_ref().map_or(&[][..], |key| key.services.as_slice());
    let answer =
        rest_test::test_method(&tester(), call.engine, &json!(params).to_string().into_bytes(), services).await;
    let told: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status != 200 {
        let code = answer.header("x-amzn-errortype").unwrap_or("InternalServerErrorException");
        let text = told["message"].as_str().unwrap_or_default();
        return Err(Fault::new(code, text).status(answer.status));
    }
    let output = operation.output.map(|shape| from_json(model, model.shape(shape), &told));
    Ok(output.unwrap_or_else(Value::structure))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use forebay_core::gateway::function_url;
    use forebay_core::gateway::rest::control::members::{MEMBERS, NESTED};

    use super::*;
    use crate::aws::model::{Kind, ShapeId};

    type Names = BTreeMap<String, BTreeSet<String>>;

    fn read(table: &[(&str, &str)]) -> Names {
        let names = |names: &str| names.split_whitespace().map(str::to_owned).collect();
        table.iter().map(|(of, members)| ((*of).to_owned(), names(members))).collect()
    }

    fn nest(model: &Model, shape: ShapeId, place: &str, found: &mut Names) {
        let of = |name: &str| format!("{place}.{name}");
        match &model.shape(shape).kind {
            Kind::Structure { members, .. } => {
                found.entry(place.to_owned()).or_default().extend(members.iter().map(|one| one.name.to_owned()));
                for one in members {
                    nest(model, one.shape, &of(one.name), found);
                }
            }
            Kind::List(item) => nest(model, item.shape, place, found),
            Kind::Map(_, held) if matches!(model.shape(held.shape).kind, Kind::Structure { .. }) => {
                found.insert(place.to_owned(), ["*".to_owned()].into());
                nest(model, held.shape, &of("*"), found);
            }
            _ => {}
        }
    }

    #[test]
    fn the_core_knows_the_members_of_each_call_as_the_models_have_them() {
        let (mut calls, mut nested) = (Names::new(), Names::new());
        for (service, operations) in [("apigateway", control::OPERATIONS), ("lambda", function_url::OPERATIONS)] {
            for operation in operations {
                let (model, operation) = found(service, operation).unwrap();
                let members = model.members(operation.input);
                let names = members.iter().map(|one| one.name.to_owned()).collect();
                calls.insert(operation.name.to_owned(), names);
                for one in members {
                    nest(model, one.shape, one.name, &mut nested);
                }
            }
        }
        assert_eq!(read(MEMBERS), calls);
        assert_eq!(read(NESTED), nested);
    }
}
