//! Smithy's protocol tests, from the side of a server: `../shared/cases/wire`.
#![allow(clippy::unwrap_used)]

mod convert;
mod values;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use convert::{short, Converter};
use forebay_doors::aws::check::violations;
use forebay_doors::aws::codec::{read, write, write_error, Protocol};
use forebay_doors::aws::fault::Fault;
use forebay_doors::aws::model::{Model, Operation, Shape};
use forebay_doors::aws::protocol::rest::{pairs, route, Request, Written};
use forebay_doors::aws::protocol::{cbor, xml_reader};
use forebay_doors::aws::value::Value;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value as Json};
use values::{comparable, comparable_cbor, comparable_xml, value};

const CASES: &str = "../shared/cases/wire/smithy-protocol-tests-1.73.0.ast.json.gz";

const NO_DEFAULTS: &str = "botocore's models, out of which the tables are, have no default values";
const NO_BODY: &str = "the case has no body: how a client compresses one is left to it";
const CLIENTS: &str = "it says what a client puts up with, or sends, and no server answers so";
const WHOLE_QUERY: &str =
    "the suite's case for servers, RestXmlServersPutAllQueryParamsInMap, has the map of a query string hold all of it";
const S3_HOSTS: &str = "it says how a client puts a bucket's name into a host; the door's routing sees to what comes";

/// Cases that are passed over, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("AwsJson10ServerPopulatesDefaultsWhenMissingInRequestBody", NO_DEFAULTS),
    ("AwsJson10ServerPopulatesDefaultsInResponseWhenMissingInParams", NO_DEFAULTS),
    ("AwsJson10ServerPopulatesNestedDefaultValuesWhenMissingInInResponseParams", NO_DEFAULTS),
    ("RestJsonServerPopulatesDefaultsWhenMissingInRequestBody", NO_DEFAULTS),
    ("RestJsonServerPopulatesDefaultsInResponseWhenMissingInParams", NO_DEFAULTS),
    ("RestJsonServerPopulatesNestedDefaultValuesWhenMissingInInResponseParams", NO_DEFAULTS),
    ("AwsJson10ServerPopulatesNestedDefaultsWhenMissingInRequestBody", NO_DEFAULTS),
    ("RestJsonServerPopulatesNestedDefaultsWhenMissingInRequestBody", NO_DEFAULTS),
    ("RpcV2CborServerPopulatesDefaultsWhenMissingInRequestBody", NO_DEFAULTS),
    ("RpcV2CborServerPopulatesDefaultsInResponseWhenMissingInParams", NO_DEFAULTS),
    ("SDKAppliedContentEncoding_awsJson1_0", NO_BODY),
    ("SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_0", NO_BODY),
    ("SDKAppliedContentEncoding_awsJson1_1", NO_BODY),
    ("SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_1", NO_BODY),
    ("SDKAppliedContentEncoding_awsQuery", NO_BODY),
    ("SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsQuery", NO_BODY),
    ("SDKAppliedContentEncoding_restJson1", NO_BODY),
    ("SDKAppendedGzipAfterProvidedEncoding_restJson1", NO_BODY),
    ("SDKAppliedContentEncoding_restXml", NO_BODY),
    ("SDKAppendedGzipAfterProvidedEncoding_restXml", NO_BODY),
    ("AwsJson10ServiceRespondsWithNoPayload", CLIENTS),
    ("AwsJson11IntEnums", "it asks for a request's header in an answer"),
    ("parses_the_request_id_from_the_response", "the header of the request's id is the door's"),
    ("QueryEmptyQueryMaps", "nothing stands in a form for an empty map"),
    ("RestJsonOmitsEmptyListQueryValues", "nothing stands in a query string for an empty list"),
    ("RestJsonHttpWithEmptyStructurePayload", "a body of {} is an empty structure, and no absent one"),
    ("RestJsonHttpWithHeadersButNoPayload", "a body of {} is an empty structure, and no absent one"),
    ("RestXmlHttpResponseCode", "an answer without a body has no content type"),
    ("AllQueryStringTypes", WHOLE_QUERY),
    ("RestXmlQueryStringEscaping", WHOLE_QUERY),
    ("RestXmlSupportsNaNFloatQueryValues", WHOLE_QUERY),
    ("RestXmlSupportsInfinityFloatQueryValues", WHOLE_QUERY),
    ("RestXmlSupportsNegativeInfinityFloatQueryValues", WHOLE_QUERY),
    ("RestXmlZeroAndFalseQueryValues", WHOLE_QUERY),
    ("RestXmlDateTimeWithNegativeOffset", CLIENTS),
    ("RestXmlDateTimeWithPositiveOffset", CLIENTS),
    ("InvalidGreetingError", "its answer has an element that no shape has"),
    ("ComplexError", "its text is none of the case's parameters"),
    ("S3EscapeObjectKeyInUriLabel", S3_HOSTS),
    ("S3EscapePathObjectKeyInUriLabel", S3_HOSTS),
    ("S3PreservesLeadingDotSegmentInUriLabel", S3_HOSTS),
    ("S3PreservesEmbeddedDotSegmentInUriLabel", S3_HOSTS),
    ("S3DefaultAddressing", S3_HOSTS),
    ("S3VirtualHostAddressing", S3_HOSTS),
    ("S3VirtualHostDualstackAddressing", S3_HOSTS),
    ("S3VirtualHostAccelerateAddressing", S3_HOSTS),
    ("S3VirtualHostDualstackAccelerateAddressing", S3_HOSTS),
    ("S3OperationAddressingPreferred", S3_HOSTS),
];

fn cases() -> Option<Map<String, Json>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Ok(file) = std::fs::File::open(root.join(CASES)) else {
        eprintln!("skipped: {CASES} is not beside the repository");
        return None;
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let mut document: Json = serde_json::from_str(&text).unwrap();
    document["shapes"].as_object_mut().map(std::mem::take)
}

struct Suite {
    ast: Map<String, Json>,
    service: String,
    trait_name: &'static str,
    model: &'static Model,
    protocol: Protocol,
}

/// Each service of a protocol.
fn suites(trait_name: &'static str, protocol: Protocol) -> Vec<Suite> {
    let Some(ast) = cases() else { return Vec::new() };
    let is_of = |shape: &Json| shape["type"] == "service" && shape["traits"].get(trait_name).is_some();
    let services: Vec<String> = ast.iter().filter(|(_, shape)| is_of(shape)).map(|(id, _)| id.clone()).collect();
    let made = services.into_iter().map(|service| {
        let table = Converter::table(&ast, &service, trait_name);
        let model = Model::read(&table).unwrap();
        Suite { ast: ast.clone(), service, trait_name, model, protocol }
    });
    made.collect()
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
}

impl Tally {
    fn note(&mut self, id: &str, outcome: Result<(), String>) {
        let is_excepted = EXCEPTIONS.iter().any(|(excepted, _)| *excepted == id);
        match outcome {
            Ok(()) => self.passed += 1,
            Err(_) if is_excepted => {}
            Err(why) => self.failed.push(format!("{id}: {why}")),
        }
    }

    fn end(self, least: usize) {
        assert!(
            self.failed.is_empty(),
            "{} passed, {} failed:\n{}",
            self.passed,
            self.failed.len(),
            self.failed.join("\n")
        );
        if Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(CASES).exists() {
            assert!(self.passed >= least, "{} passed", self.passed);
        }
    }
}

fn headers_of(case: &Json) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in case["headers"].as_object().into_iter().flatten() {
        let value = HeaderValue::from_str(value.as_str().unwrap()).unwrap();
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    headers
}

fn body_of(case: &Json, protocol: Protocol) -> Vec<u8> {
    let text = case["body"].as_str().unwrap_or_default();
    if protocol == Protocol::RpcV2Cbor {
        return base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    }
    text.as_bytes().to_vec()
}

impl Suite {
    fn cases<'a>(&'a self, kind: &str, of: &'a Json) -> impl Iterator<Item = &'a Json> {
        let cases = of["traits"][format!("smithy.test#{kind}")].as_array().into_iter().flatten();
        cases.filter(|case| case["protocol"] == self.trait_name && case["appliesTo"] != "client")
    }

    fn operations(&self) -> Vec<(&Json, &'static Operation)> {
        let ids = convert::operations(&self.ast, &self.service);
        ids.iter().map(|id| (&self.ast[id], self.model.operation(short(id)).unwrap())).collect()
    }

    fn requests(&self, tally: &mut Tally) {
        for (given, operation) in self.operations() {
            for case in self.cases("httpRequestTests", given) {
                tally.note(case["id"].as_str().unwrap(), self.request(operation, case));
            }
        }
    }

    fn decoded(&self, wanted: &Operation, case: &Json) -> Result<Value, String> {
        let query: Vec<&str> = case["queryParams"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let uri = case["uri"].as_str().unwrap();
        let (path, more) = uri.split_once('?').unwrap_or((uri, ""));
        let query = pairs(&[&[more][..], &query[..]].concat().join("&")).map_err(|error| error.to_string())?;
        let (headers, body) = (headers_of(case), body_of(case, self.protocol));
        let labels = match self.protocol {
            Protocol::Rest => {
                let found = route(self.model, case["method"].as_str().unwrap(), path, &query);
                let (_, operation, labels) = found.ok_or("no route")?;
                if operation.name != wanted.name {
                    return Err(format!("routed to {}", operation.name));
                }
                labels
            }
            _ => Vec::new(),
        };
        let request = Request { labels: &labels, query: &query, headers: &headers, body: &body };
        read(self.protocol, self.model, wanted, request).map_err(|error| error.to_string())
    }

    fn request(&self, operation: &Operation, case: &Json) -> Result<(), String> {
        let given = self.decoded(operation, case)?;
        let wanted = match operation.input {
            Some(id) => value(self.model, self.model.shape(id), &case["params"]),
            None => Value::structure(),
        };
        let wanted = if wanted == Value::Null { Value::structure() } else { wanted };
        let (given, wanted) = (comparable(&given), comparable(&wanted));
        if given == wanted {
            Ok(())
        } else {
            Err(format!("\n  read {given}\n  want {wanted}"))
        }
    }

    fn responses(&self, tally: &mut Tally) {
        for (given, operation) in self.operations() {
            let shape = operation.output.map(|id| self.model.shape(id));
            for case in self.cases("httpResponseTests", given) {
                let output = shape.map_or_else(Value::structure, |shape| value(self.model, shape, &case["params"]));
                let output = if output == Value::Null { Value::structure() } else { output };
                let written = write(self.protocol, self.model, operation, &output, request_id(case));
                tally.note(case["id"].as_str().unwrap(), Self::compare(case, &written));
            }
            for &error in &operation.errors {
                let shape = self.model.shape(error);
                let Some((_, given)) = self
                    .ast
                    .iter()
                    .find(|(id, _)| short(id) == shape.name && id.split('#').next() == self.service.split('#').next())
                else {
                    continue;
                };
                for case in self.cases("httpResponseTests", given) {
                    let written = self.error(shape, case);
                    tally.note(case["id"].as_str().unwrap(), Self::compare(case, &written));
                }
            }
        }
    }

    fn error(&self, shape: &'static Shape, case: &Json) -> Written {
        let members = match value(self.model, shape, &case["params"]) {
            Value::Null => Value::structure(),
            members => members,
        };
        let message = ["message", "Message"].iter().find_map(|name| members.text(name)).unwrap_or_default().to_owned();
        let mut fault = Fault::new(shape.name, message);
        fault.members = members;
        write_error(self.protocol, self.model, &fault, request_id(case))
    }

    fn compare(case: &Json, written: &Written) -> Result<(), String> {
        if case["code"] != written.status {
            return Err(format!("status {} in place of {}", written.status, case["code"]));
        }
        let length = written.body.len().to_string();
        let mut sent: BTreeMap<&str, &str> = written.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        sent.insert("content-length", &length);
        for (name, wanted) in case["headers"].as_object().into_iter().flatten() {
            let given = sent.get(name.to_ascii_lowercase().as_str());
            let wanted = wanted.as_str().unwrap();
            if given.map(|given| given.replace(' ', "")) != Some(wanted.replace(' ', "")) {
                return Err(format!("header {name} is {given:?} in place of {wanted:?}"));
            }
        }
        for name in case["forbidHeaders"].as_array().into_iter().flatten() {
            if sent.contains_key(name.as_str().unwrap().to_ascii_lowercase().as_str()) {
                return Err(format!("header {name} is there"));
            }
        }
        let Some(wanted) = case["body"].as_str() else { return Ok(()) };
        let media = case["bodyMediaType"].as_str().unwrap_or_default();
        let text = String::from_utf8_lossy(&written.body);
        let (given, wanted) = match media {
            _ if wanted.is_empty() => (text.into_owned(), String::new()),
            "" if wanted.starts_with('<') => (xml(&written.body, wanted)?, xml(wanted.as_bytes(), wanted)?),
            "application/json" => (sorted_json(&written.body), sorted_json(wanted.as_bytes())),
            "application/xml" => (xml(&written.body, wanted)?, xml(wanted.as_bytes(), wanted)?),
            "application/cbor" => {
                let wanted = base64::engine::general_purpose::STANDARD.decode(wanted).unwrap();
                let item = |bytes: &[u8]| cbor::items(bytes).map(|item| comparable_cbor(&item));
                (item(&written.body).map_err(|e| e.to_string())?, item(&wanted).map_err(|e| e.to_string())?)
            }
            _ => (text.into_owned(), wanted.to_owned()),
        };
        if given == wanted {
            Ok(())
        } else {
            Err(format!("\n  wrote {given}\n  want  {wanted}"))
        }
    }
}

/// A malformed request with each combination of its parameters.
fn variants(case: &Json) -> Vec<Json> {
    let parameters = case["testParameters"].as_object();
    let count = parameters.and_then(|one| one.values().next()?.as_array().map(Vec::len)).unwrap_or(1);
    let one = |at: usize| {
        let mut text = case["request"].to_string();
        for (name, values) in parameters.into_iter().flatten() {
            let value = values[at].as_str().unwrap();
            let escaped = serde_json::to_string(value).unwrap();
            let literal = &escaped[1..escaped.len() - 1];
            let quoted = serde_json::to_string(&escaped).unwrap();
            text = text
                .replace(&format!("${name}:L"), literal)
                .replace(&format!("${name}:S"), &quoted[1..quoted.len() - 1]);
        }
        serde_json::from_str(&text).unwrap()
    };
    (0..count).map(one).collect()
}

impl Suite {
    /// Each malformed request is refused with the error that is wanted.
    fn malformed(&self, tally: &mut Tally) {
        for (given, operation) in self.operations() {
            for case in self.cases("httpMalformedRequestTests", given) {
                let wanted = &case["response"]["headers"];
                let wanted =
                    wanted["x-amzn-errortype"].as_str().or(wanted["X-Amzn-Errortype"].as_str()).unwrap_or_default();
                // What content a client says that it sends or takes is not looked at: Lambda's clients say anything.
                if ["UnsupportedMediaTypeException", "NotAcceptableException"].contains(&wanted) {
                    continue;
                }
                for request in variants(case) {
                    let got = match self.decoded(operation, &request) {
                        Err(_) => "SerializationException",
                        Ok(input) => match operation.input.map(|id| violations(self.model, id, &input)) {
                            Some(found) if !found.is_empty() => "ValidationException",
                            _ => "",
                        },
                    };
                    let outcome =
                        if got == wanted { Ok(()) } else { Err(format!("{got:?} in place of {wanted}: {request}")) };
                    tally.note(case["id"].as_str().unwrap(), outcome);
                }
            }
        }
    }
}

/// What cases leave out, and every answer has: the id of the request, and the namespace of an error.
fn xml(bytes: &[u8], wanted: &str) -> Result<String, String> {
    let mut element = xml_reader::parse(bytes).map_err(|error| error.to_string())?;
    let is_left_out = |name: &str| !wanted.contains(&format!("<{name}>"));
    element.children.retain(|child| match child.name.as_str() {
        "ResponseMetadata" | "RequestId" => !is_left_out(&child.name),
        // The element around what an operation gives, which has nothing.
        name => !(name.ends_with("Result") && child.children.is_empty() && is_left_out(name)),
    });
    if element.name == "ErrorResponse" {
        element.attributes.clear();
    }
    if !wanted.contains("xmlns") {
        element.attributes.retain(|(name, _)| name != "xmlns");
    }
    Ok(comparable_xml(&element))
}

/// The id that a case's answer has.
fn request_id(case: &Json) -> &str {
    let body = case["body"].as_str().unwrap_or_default();
    let id = body.split_once("<RequestId>").and_then(|(_, rest)| rest.split_once("</RequestId>"));
    id.map_or("foo-id", |(id, _)| id)
}

fn sorted_json(bytes: &[u8]) -> String {
    fn sort(json: Json) -> Json {
        match json {
            Json::Object(fields) => {
                let mut fields: Vec<(String, Json)> =
                    fields.into_iter().map(|(key, value)| (key, sort(value))).collect();
                fields.sort_by(|one, other| one.0.cmp(&other.0));
                Json::Object(fields.into_iter().collect())
            }
            Json::Array(items) => Json::Array(items.into_iter().map(sort).collect()),
            Json::Number(number) => Json::from(number.as_f64().unwrap()),
            json => json,
        }
    }
    match serde_json::from_slice(bytes) {
        Ok(json) => sort(json).to_string(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn play(trait_name: &'static str, protocol: Protocol, least: usize) {
    let mut tally = Tally::default();
    for suite in suites(trait_name, protocol) {
        suite.requests(&mut tally);
        suite.responses(&mut tally);
    }
    tally.end(least);
}

#[test]
fn json_1_0() {
    play("aws.protocols#awsJson1_0", Protocol::Json("application/x-amz-json-1.0"), 40);
}

#[test]
fn json_1_1() {
    play("aws.protocols#awsJson1_1", Protocol::Json("application/x-amz-json-1.1"), 90);
}

#[test]
fn query() {
    play("aws.protocols#awsQuery", Protocol::Query, 60);
}

#[test]
fn rest_json() {
    play("aws.protocols#restJson1", Protocol::Rest, 200);
}

#[test]
fn rest_xml() {
    play("aws.protocols#restXml", Protocol::Rest, 150);
}

#[test]
fn rpc_v2_cbor() {
    play("smithy.protocols#rpcv2Cbor", Protocol::RpcV2Cbor, 60);
}

#[test]
fn malformed_rest_json() {
    let mut tally = Tally::default();
    for suite in suites("aws.protocols#restJson1", Protocol::Rest) {
        suite.malformed(&mut tally);
    }
    tally.end(500);
}
