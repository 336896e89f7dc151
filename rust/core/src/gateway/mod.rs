//! API gateways: routes, the events of requests, the answers of handlers, CORS, what authorisers say.
//!
//! A door gives the facts of a request and carries out what is decided here. Source:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api.html>

pub mod access_log;
pub mod answer;
pub mod api;
pub mod apis;
pub mod authorizer;
pub mod client_cert;
pub mod cors;
pub mod event;
pub mod forwarded;
pub mod function_url;
mod json;
pub mod jwt;
pub mod openapi;
pub mod policy;
pub mod request;
pub mod rest;
pub mod routes;
pub mod throttle;
pub mod v2;
pub mod websocket;
pub mod wire;

#[cfg(test)]
mod tests;
