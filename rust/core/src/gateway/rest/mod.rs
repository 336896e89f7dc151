//! REST APIs: what a request goes through, from its method to its answer.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-rest-api.html>

pub mod vtl;
