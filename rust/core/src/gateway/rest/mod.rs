//! REST (v1) APIs: resources, methods and integrations, with models, templates, stages, keys and plans.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-rest-api.html>

pub mod answering;
pub mod aside;
pub mod cache;
pub mod compiled;
pub mod conditions;
pub mod context;
pub mod control;
pub mod event;
pub mod failure;
pub mod gate;
pub mod log;
mod mock;
pub mod model;
pub mod parameter_mapping;
pub mod pipeline;
pub mod plans;
pub mod uri;
pub mod validate;
pub mod vtl;

#[cfg(test)]
mod tests;
