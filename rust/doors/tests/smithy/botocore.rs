//! botocore's own protocol tests, from the side of a server. They are in its source distribution alone, which `make compat ARGS=botocore`
//! fetches.

use std::path::{Path, PathBuf};

use forebay_doors::aws::codec::{write, Protocol};
use forebay_doors::aws::model::Model;
use forebay_doors::aws::value::Value;
use serde_json::{json, Map, Value as Json};

use crate::values::value;
use crate::{Suite, Tally};

const FILES: [(&str, Protocol); 8] = [
    ("json", Protocol::Json("application/x-amz-json-1.1")),
    ("json_1_0", Protocol::Json("application/x-amz-json-1.0")),
    ("json_1_0-query-compatible", Protocol::Json("application/x-amz-json-1.0")),
    ("query", Protocol::Query),
    ("rest-json", Protocol::Rest),
    ("rest-xml", Protocol::Rest),
    ("smithy-rpc-v2-cbor", Protocol::RpcV2Cbor),
    ("smithy-rpc-v2-cbor-query-compatible", Protocol::RpcV2Cbor),
];

/// Where the cases are, if somebody has fetched them.
fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("FOREBAY_BOTOCORE_PROTOCOLS").map(PathBuf::from);
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/botocore/protocols");
    let folder = named.unwrap_or(fetched);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: botocore's protocol tests are not here; `make compat ARGS=botocore` fetches and plays them");
    None
}

/// Every suite of a file, and its cases.
fn suites(folder: &Path, side: &str, file: &str, protocol: Protocol) -> Vec<(Suite, Vec<Json>)> {
    let text = std::fs::read_to_string(folder.join(side).join(format!("{file}.json"))).unwrap();
    let given: Vec<Json> = serde_json::from_str(&text).unwrap();
    let made = given.into_iter().map(|mut suite| {
        let cases = suite["cases"].take().as_array().cloned().unwrap_or_default();
        let operations: Map<String, Json> = cases
            .iter()
            .map(|case| (case["given"]["name"].as_str().unwrap().to_owned(), case["given"].clone()))
            .collect();
        let mut metadata = suite["metadata"].clone();
        metadata["endpointPrefix"] = "test".into();
        let table = json!({"metadata": metadata, "operations": operations, "shapes": suite["shapes"]}).to_string();
        let model = Model::read(&table).unwrap();
        let suite = Suite { ast: Map::new(), service: String::new(), trait_name: "", model, protocol };
        (suite, cases)
    });
    made.collect()
}

fn name(case: &Json) -> String {
    case["id"].as_str().or(case["description"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn inputs_of_botocore() {
    let Some(folder) = folder() else { return };
    let mut tally = Tally::default();
    for (file, protocol) in FILES {
        for (suite, cases) in suites(&folder, "input", file, protocol) {
            for case in cases {
                let operation = suite.model.operation(case["given"]["name"].as_str().unwrap()).unwrap();
                let mut sent = case["serialized"].clone();
                sent["params"] = case["params"].clone();
                tally.note(&format!("{file}: {}", name(&case)), suite.request(operation, &sent));
            }
        }
    }
    tally.end(300);
}

#[test]
fn outputs_of_botocore() {
    let Some(folder) = folder() else { return };
    let mut tally = Tally::default();
    for (file, protocol) in FILES {
        for (suite, cases) in suites(&folder, "output", file, protocol) {
            for case in cases.iter().filter(|case| case["error"].is_null()) {
                let operation = suite.model.operation(case["given"]["name"].as_str().unwrap()).unwrap();
                let shape = operation.output.map(|id| suite.model.shape(id));
                let output = shape.map_or(Value::Null, |shape| value(suite.model, shape, &case["result"]));
                let output = if output == Value::Null { Value::structure() } else { output };
                let wanted = wanted(file, &case["response"]);
                let written = write(protocol, suite.model, operation, &output, crate::request_id(&wanted));
                tally.note(&format!("{file}: {}", name(case)), suite.compare(&wanted, &written));
            }
        }
    }
    tally.end(250);
}

/// A response in the form of Smithy's cases.
fn wanted(file: &str, response: &Json) -> Json {
    let kind = match file {
        "query" | "rest-xml" => "application/xml",
        "smithy-rpc-v2-cbor" | "smithy-rpc-v2-cbor-query-compatible" => "application/cbor",
        _ => "application/json",
    };
    let is_whole = response["body"].as_str().is_some_and(|body| body.starts_with(['{', '<', '[']));
    let kind = if is_whole || kind.ends_with("cbor") { kind } else { "" };
    json!({
        "code": response["status_code"], "headers": response["headers"], "body": response["body"], "bodyMediaType": kind,
    })
}
