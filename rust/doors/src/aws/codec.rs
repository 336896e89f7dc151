//! From a request to an operation's input, and from what it gives to an answer, in each protocol.

use serde_json::{json, Value as Json};

use crate::aws::fault::Fault;
use crate::aws::model::{Kind, Model, Operation, Shape};
use crate::aws::protocol::cbor::{self, Dialect};
use crate::aws::protocol::json::Names;
use crate::aws::protocol::query::{Failure, Form};
use crate::aws::protocol::rest::{Request, Written};
use crate::aws::protocol::{json as json_body, query, rest, Malformed};
use crate::aws::value::Value;

/// How a request is written, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// JSON 1.0 or 1.1; the answer has the version that was asked with.
    Json(&'static str),
    /// The query protocol.
    Query,
    /// REST, with bodies of JSON or, where the model says so, of XML.
    Rest,
    /// rpc-v2 with CBOR.
    RpcV2Cbor,
    /// The CBOR that Java speaks with Kinesis.
    KinesisCbor,
}

const TYPE: &str = "content-type";

/// Read an operation's input.
pub fn read(
    protocol: Protocol,
    model: &Model,
    operation: &Operation,
    request: Request<'_>,
) -> Result<Value, Malformed> {
    let Some(input) = operation.input else { return Ok(Value::structure()) };
    let shape = model.shape(input);
    match protocol {
        Protocol::Json(_) => json_body::read(model, shape, Names::Own, request.body),
        Protocol::Query => query::read(model, shape, &Form::read(request.body)?),
        Protocol::Rest => rest::read(model, operation, request),
        Protocol::RpcV2Cbor => cbor::read(model, shape, Dialect::RpcV2, request.body),
        Protocol::KinesisCbor => cbor::read(model, shape, Dialect::Kinesis, request.body),
    }
}

/// Write what an operation gives.
pub fn write(protocol: Protocol, model: &Model, operation: &Operation, value: &Value, request_id: &str) -> Written {
    let shape = operation.output.map(|id| model.shape(id));
    let (kind, body) = match protocol {
        Protocol::Rest if operation.is_unwrapped => return rest::write_unwrapped(model, operation, value),
        Protocol::Rest => return rest::write(model, shape, operation.status, value),
        Protocol::Query => ("text/xml", query::write(model, operation, value, request_id)),
        // What gives nothing has no body in JSON 1.1 and a body without members in JSON 1.0 and CBOR.
        Protocol::Json(kind) => match shape {
            Some(shape) => (kind, json_body::write(model, shape, Names::Own, value)),
            None if kind.ends_with("1.1") => (kind, Vec::new()),
            None => (kind, b"{}".to_vec()),
        },
        Protocol::RpcV2Cbor => {
            let body = shape.map(|shape| cbor::write(model, shape, Dialect::RpcV2, value)).unwrap_or_default();
            let mut written = with_body(200, if shape.is_some() { CBOR } else { "" }, body);
            written.headers.push(("smithy-protocol".into(), "rpc-v2-cbor".into()));
            return written;
        }
        Protocol::KinesisCbor => {
            let body = shape.map(|shape| cbor::write(model, shape, Dialect::Kinesis, value)).unwrap_or_default();
            (KINESIS_CBOR, body)
        }
    };
    with_body(200, kind, body)
}

const CBOR: &str = "application/cbor";
const KINESIS_CBOR: &str = "application/x-amz-cbor-1.1";

fn with_body(status: u16, kind: &str, body: Vec<u8>) -> Written {
    let headers = if kind.is_empty() { Vec::new() } else { vec![(TYPE.to_owned(), kind.to_owned())] };
    Written { status, headers, body }
}

/// An error as a protocol names it.
struct Named<'f> {
    shape: Option<&'f Shape>,
    /// As JSON and CBOR name it.
    kind: String,
    /// As the query protocol names it.
    code: &'f str,
    status: u16,
    is_senders: bool,
}

fn named<'f>(model: &'f Model, fault: &'f Fault) -> Named<'f> {
    let shape = model.named(&fault.name).filter(|shape| shape.error.is_some());
    let traits = shape.and_then(|shape| shape.error);
    let space = match (model.error_namespace, shape) {
        ("", _) => String::new(),
        (own, Some(_)) => format!("{own}#"),
        (_, None) => "com.amazon.coral.service#".into(),
    };
    let given = Some(fault.status).filter(|status| *status != 400);
    let status = given.or(traits.map(|traits| traits.status)).unwrap_or(fault.status);
    Named {
        shape,
        kind: format!("{space}{}", fault.name),
        code: fault.code.or(traits.and_then(|traits| traits.code)).unwrap_or(&fault.name),
        status,
        is_senders: traits.map_or(status < 500, |traits| traits.is_senders && status < 500),
    }
}

/// The status of an error for whoever asks for those of the older query protocol (`x-amzn-query-mode`), where the service has one.
pub fn status_in_query(model: &Model, fault: &Fault) -> Option<u16> {
    model.is_query_compatible.then(|| named(model, fault).status)
}

/// The code of an error, as a client that speaks this protocol reports it.
pub fn code<'f>(protocol: Protocol, model: &'f Model, fault: &'f Fault) -> &'f str {
    let has_codes = protocol == Protocol::Query || model.is_query_compatible || model.is_rest_xml;
    if has_codes {
        named(model, fault).code
    } else {
        &fault.name
    }
}

/// Write an error.
pub fn write_error(protocol: Protocol, model: &Model, fault: &Fault, request_id: &str) -> Written {
    let named = named(model, fault);
    let mut written = match protocol {
        Protocol::Rest if model.is_rest_xml => rest_xml_error(model, fault, &named, request_id),
        Protocol::Rest => rest_error(model, fault, &named),
        Protocol::Query => {
            let failure = Failure { code: named.code, message: &fault.message, is_senders: named.is_senders };
            let body = query::write_error(model, named.shape, failure, &fault.members, request_id);
            with_body(named.status, "text/xml", body)
        }
        Protocol::Json(kind) => {
            // JSON knows one status for mistakes and one for failures, and SQS a third.
            let status = if named.status >= 500 || model.signing_name == "sqs" { named.status } else { 400 };
            let body = json_error(model, fault, &named, Names::Own, true);
            with_body(status, kind, body.to_string().into_bytes())
        }
        Protocol::RpcV2Cbor => {
            let told = (named.shape, named.kind.as_str());
            let body = cbor::write_error(model, told, Dialect::RpcV2, &fault.message, &fault.members);
            // The statuses of the older query protocol are its own.
            let status = if model.is_query_compatible && named.status < 500 { 400 } else { named.status };
            let mut written = with_body(status, CBOR, body);
            written.headers.push(("smithy-protocol".into(), "rpc-v2-cbor".into()));
            written
        }
        Protocol::KinesisCbor => {
            let told = (named.shape, named.kind.as_str());
            let body = cbor::write_error(model, told, Dialect::Kinesis, &fault.message, &fault.members);
            with_body(named.status, KINESIS_CBOR, body)
        }
    };
    if model.is_query_compatible && !matches!(protocol, Protocol::Query) {
        let side = if named.is_senders { "Sender" } else { "Receiver" };
        written.headers.push(("x-amzn-query-error".into(), format!("{};{side}", named.code)));
    }
    if let Some(wait) = fault.retry_after_ms {
        written.headers.push(("x-amz-retry-after".into(), wait.to_string()));
        if matches!(protocol, Protocol::Rest) {
            written.headers.push(("retry-after".into(), wait.div_ceil(1000).to_string()));
        }
    }
    written
}

/// The name under which an error has its text.
fn message_name(shape: Option<&Shape>, name: &str) -> &'static str {
    let own = match shape.map(|shape| &shape.kind) {
        Some(Kind::Structure { members, .. }) => {
            members.iter().map(|member| member.name).find(|name| name.eq_ignore_ascii_case("message"))
        }
        _ => None,
    };
    own.unwrap_or(if name == "SerializationException" { "Message" } else { "message" })
}

fn json_error(model: &Model, fault: &Fault, named: &Named<'_>, names: Names, has_type: bool) -> Json {
    let mut body = match named.shape {
        Some(shape) => json_body::json_of(model, shape, names, &fault.members),
        None => json!({}),
    };
    if has_type {
        body["__type"] = named.kind.as_str().into();
    }
    if !fault.message.is_empty() {
        body[message_name(named.shape, &fault.name)] = fault.message.as_str().into();
    }
    body
}

fn rest_error(model: &Model, fault: &Fault, named: &Named<'_>) -> Written {
    let mut written = rest::write(model, named.shape, named.status, &fault.members);
    let body = json_error(model, fault, named, Names::Wire, false);
    written.body = body.to_string().into_bytes();
    written.headers.retain(|(name, _)| name != TYPE);
    written.headers.push((TYPE.into(), "application/json".into()));
    written.headers.push(("x-amzn-errortype".into(), fault.name.clone()));
    written
}

fn rest_xml_error(model: &Model, fault: &Fault, named: &Named<'_>, request_id: &str) -> Written {
    let mut written = rest::write(model, named.shape, named.status, &fault.members);
    let failure = Failure { code: named.code, message: &fault.message, is_senders: named.is_senders };
    written.body = query::write_error(model, named.shape, failure, &fault.members, request_id);
    written.headers.retain(|(name, _)| name != TYPE);
    written.headers.push((TYPE.into(), "application/xml".into()));
    written
}
