//! Plays botocore's protocol cases from the side of a server, for `make compat` (`tests/compat/aws_protocols.py`).
//!
//! A file has a case in each line: a table in botocore's form, and either a request, of which the input is told, or what an operation
//! gives, of which the answer is told.
#![allow(clippy::unwrap_used)]

#[path = "../smithy/values.rs"]
#[allow(dead_code)]
mod values;

use std::io::Write as _;

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use forebay_doors::aws::codec::{read, write, write_error, Protocol};
use forebay_doors::aws::fault::Fault;
use forebay_doors::aws::model::Model;
use forebay_doors::aws::protocol::rest::{pairs, route, Request, Written};
use forebay_doors::aws::value::Value;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{json, Map, Value as Json};
use values::value;

const REQUEST_ID: &str = "00000000-0000-4000-8000-000000000000";

fn protocol(case: &Json) -> Protocol {
    match case["protocol"].as_str().unwrap() {
        "query" => Protocol::Query,
        "json" if case["model"]["metadata"]["jsonVersion"] == "1.1" => Protocol::Json("application/x-amz-json-1.1"),
        "json" => Protocol::Json("application/x-amz-json-1.0"),
        "rest-json" | "rest-xml" => Protocol::Rest,
        "smithy-rpc-v2-cbor" => Protocol::RpcV2Cbor,
        other => panic!("no service here speaks {other}"),
    }
}

/// A value as the cases write it: bytes are text, moments are seconds, and the numbers that are none have names.
fn told(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Double(number) if number.is_nan() => "NaN".into(),
        Value::Double(number) if number.is_infinite() => if *number > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        Value::Double(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
        Value::Time(millis) => (*millis as f64 / 1000.0).into(),
        Value::List(values) => values.iter().map(told).collect(),
        Value::Map(fields) => {
            Json::Object(fields.iter().map(|(key, one)| (key.clone().into_owned(), told(one))).collect())
        }
        Value::Document(json) => (**json).clone(),
    }
}

fn decoded(model: &Model, case: &Json) -> Result<Json, String> {
    let operation = model.operation(case["operation"].as_str().unwrap()).unwrap();
    let uri = case["uri"].as_str().unwrap();
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let query = pairs(query).map_err(|error| error.to_string())?;
    let mut headers = HeaderMap::new();
    for (name, value) in case["headers"].as_object().into_iter().flatten() {
        let value = HeaderValue::from_str(value.as_str().unwrap()).unwrap();
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    let body = STANDARD.decode(case["body"].as_str().unwrap()).unwrap();
    let protocol = protocol(case);
    let labels = if protocol == Protocol::Rest {
        let method = case["method"].as_str().unwrap();
        route(model, method, path, &query).ok_or_else(|| format!("no route for {method} {path}"))?.2
    } else {
        Vec::new()
    };
    let request = Request { labels: &labels, query: &query, headers: &headers, body: &body };
    read(protocol, model, operation, request).map(|value| told(&value)).map_err(|error| error.to_string())
}

fn encoded(model: &Model, case: &Json) -> Written {
    let operation = model.operation(case["operation"].as_str().unwrap()).unwrap();
    let given = |shape| match value(model, shape, &case["result"]) {
        Value::Null => Value::structure(),
        members => members,
    };
    let Some(name) = case["error"].as_str() else {
        let output = operation.output.map_or_else(Value::structure, |id| given(model.shape(id)));
        return write(protocol(case), model, operation, &output, REQUEST_ID);
    };
    let mut fault = Fault::new(name, case["message"].as_str().unwrap_or_default());
    fault.members = model.named(name).map_or_else(Value::structure, given);
    write_error(protocol(case), model, &fault, REQUEST_ID)
}

/// What comes of a case, or what it failed with.
fn outcome(case: &Json) -> Json {
    let model = match Model::read(&case["model"].to_string()) {
        Ok(model) => model,
        Err(error) => return json!({ "refused": error }),
    };
    if case["direction"] == "input" {
        return match decoded(model, case) {
            Ok(input) => json!({ "input": input }),
            Err(refused) => json!({ "refused": refused }),
        };
    }
    let Written { status, headers, body } = encoded(model, case);
    let headers: Map<String, Json> = headers.into_iter().map(|(name, text)| (name, text.into())).collect();
    json!({ "status": status, "headers": headers, "body": STANDARD.encode(body) })
}

#[test]
#[ignore = "`make compat ARGS=aws_protocols` names its files"]
fn plays_the_cases_of_a_file() {
    let cases = std::fs::read_to_string(std::env::var("FOREBAY_BOTOCORE_CASES").unwrap()).unwrap();
    let mut played = std::fs::File::create(std::env::var("FOREBAY_BOTOCORE_PLAYED").unwrap()).unwrap();
    for line in cases.lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        // One case that is like no other does not end the rest.
        let told = std::panic::catch_unwind(|| outcome(&case)).unwrap_or_else(|_| json!({ "refused": "a panic" }));
        writeln!(played, "{told}").unwrap();
    }
}
