//! Which service and which operation a request is for, and in what protocol.

use std::sync::OnceLock;

use http::HeaderMap;

use crate::aws::codec::Protocol;
use crate::aws::fault::Fault;
use crate::aws::model::{Model, Operation};
use crate::aws::protocol::query::Form;
use crate::aws::protocol::rest::{self, Labels, Pairs};
use crate::aws::services::{connections, Service, SERVICES};

/// A request's operation.
#[derive(Debug)]
pub struct Routed {
    /// Of which service.
    pub service: &'static Service,
    /// The service's tables.
    pub model: &'static Model,
    /// In what protocol.
    pub protocol: Protocol,
    /// Which operation.
    pub operation: &'static Operation,
    /// What the path gives.
    pub labels: Labels,
    /// What stands before the part of the path that names the operation.
    pub before: String,
}

/// Why there is no operation: how to say so, and what to say.
#[derive(Debug)]
pub struct Unrouted {
    /// In whose words.
    pub model: &'static Model,
    /// In what protocol.
    pub protocol: Protocol,
    /// What to say.
    pub fault: Fault,
    /// The operation, if the service has it and it is not served.
    pub operation: &'static str,
}

/// What of a request tells its operation.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// HTTP method.
    pub method: &'r str,
    /// The path as it came.
    pub path: &'r str,
    /// The query string, decoded.
    pub query: &'r Pairs,
    /// The headers.
    pub headers: &'r HeaderMap,
    /// Whom the signature's scope names, if there is a signature.
    pub signed_for: Option<&'r str>,
    /// The form of the body or of the query string.
    pub form: Option<&'r Form>,
}

const JSON_1_0: &str = "application/x-amz-json-1.0";
const JSON_1_1: &str = "application/x-amz-json-1.1";

impl Asked<'_> {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn kind(&self) -> &str {
        self.header("content-type").split(';').next().unwrap_or_default().trim()
    }

    fn is_rpc(&self) -> bool {
        self.header("smithy-protocol") == "rpc-v2-cbor"
    }

    /// Whether it says of nothing what it is: neither an SDK nor a browser's form sends such a request.
    pub fn says_nothing(&self) -> bool {
        let names = ["content-type", "x-amz-target", "smithy-protocol"];
        self.path == "/" && self.form.is_none() && names.iter().all(|name| self.header(name).is_empty())
    }

    /// Find the operation. The order matters: a target is one on any path.
    pub fn route(self) -> Result<Routed, Box<Unrouted>> {
        if self.is_rpc() {
            return self.by_rpc();
        }
        let target = self.header("x-amz-target");
        if !target.is_empty() {
            return self.by_target(target);
        }
        if let Some(action) = self.form.and_then(|form| form.get("Action")).filter(|_| self.may_take_forms()) {
            return self.by_action(action);
        }
        self.by_path()
    }

    /// Whether the service may speak the query protocol. To the others a form is bytes as any: the URL of an object is signed without them,
    /// so what stands in them is nobody's order.
    fn may_take_forms(&self) -> bool {
        let mut signed = SERVICES.iter().filter(|service| Some(service.name) == self.signed_for).peekable();
        signed.peek().is_none() || signed.any(|service| !service.model().namespace.is_empty())
    }

    fn json(&self, model: &Model) -> Protocol {
        match self.kind() {
            "application/x-amz-cbor-1.1" => Protocol::KinesisCbor,
            JSON_1_0 => Protocol::Json(JSON_1_0),
            JSON_1_1 => Protocol::Json(JSON_1_1),
            _ if model.json_version == "1.0" => Protocol::Json(JSON_1_0),
            _ => Protocol::Json(JSON_1_1),
        }
    }

    fn by_rpc(self) -> Result<Routed, Box<Unrouted>> {
        let parts: Vec<&str> = self.path.trim_matches('/').split('/').collect();
        let named = match parts[..] {
            [.., "service", service, "operation", operation] => Some((service, operation)),
            _ => None,
        };
        let service = named.and_then(|(name, _)| {
            SERVICES.iter().find(|service| !name.is_empty() && service.model().target_prefix == name)
        });
        let (Some((_, name)), Some(service)) = (named, service) else { return Err(self.nowhere()) };
        let protocol = Protocol::RpcV2Cbor;
        found(service, protocol, name, unknown(service.model(), name))
    }

    fn by_target(self, target: &str) -> Result<Routed, Box<Unrouted>> {
        let (prefix, name) = target.rsplit_once('.').unwrap_or(("", target));
        let ours = |service: &&Service| !prefix.is_empty() && service.model().target_prefix == prefix;
        let Some(service) = SERVICES.iter().find(ours) else { return Err(self.nowhere()) };
        let model = service.model();
        found(service, self.json(model), name, unknown(model, name))
    }

    fn by_action(self, action: &str) -> Result<Routed, Box<Unrouted>> {
        let version = self.form.and_then(|form| form.get("Version")).unwrap_or_default();
        let by_name = SERVICES.iter().find(|service| Some(service.name) == self.signed_for);
        let is_of_version = |model: &Model| model.api_version == version && !model.namespace.is_empty();
        let by_version = || SERVICES.iter().find(|service| is_of_version(service.model()));
        let Some(service) = by_name.or_else(by_version) else { return Err(self.nowhere()) };
        let fault = Fault::new("InvalidAction", format!("The action {action} is not valid for this endpoint."));
        found(service, Protocol::Query, action, fault)
    }

    fn by_path(self) -> Result<Routed, Box<Unrouted>> {
        let signed_for = self.signed_for.unwrap_or_default();
        // Services of API Gateway sign by one name.
        let ours = || SERVICES.iter().filter(|service| service.name == signed_for);
        let Some(model) = ours().map(Service::model).next() else { return Err(self.nowhere()) };
        if !model.target_prefix.is_empty() || !model.namespace.is_empty() {
            return Err(self.nowhere());
        }
        // The endpoint of a WebSocket API names its stage: what stands before the connections says which they are among.
        let (before, path) = match self.path.find(connections::PATH) {
            Some(at) if model.signing_name == "execute-api" => self.path.split_at(at),
            _ => ("", self.path),
        };
        let routed =
            ours().find_map(|service| Some((service, rest::route(service.model(), self.method, path, self.query)?)));
        let whole = (self.query.as_slice(), self.headers);
        let other = ours().filter_map(|service| rest::other(service.model(), self.method, path, whole)).max();
        // S3 tells operations apart by a word of the query string or by a header: what changes an object's tags is no new object.
        let best = routed.filter(|(_, (fit, ..))| other.is_none_or(|(of, _)| of <= *fit));
        let asked = format!("{} {}", self.method, self.path);
        let (fault, operation) = match (best, other) {
            (Some((service, (_, operation, labels))), _) => {
                let model = service.model();
                let unknown = rest::unknown_in_query(model, operation, self.query).filter(|_| model.is_rest_xml);
                let Some(unknown) = unknown else {
                    let before = before.to_owned();
                    return Ok(Routed { service, model, protocol: Protocol::Rest, operation, labels, before });
                };
                // Whoever says which operation it is is not given another one.
                let named = rest::named_in_query(self.query);
                match model.others.iter().find(|other| named == Some(**other)) {
                    Some(other) => (not_implemented(model, &format!("{other} ({asked})")), *other),
                    None => (not_implemented(model, &format!("{unknown:?} in the query string ({asked})")), ""),
                }
            }
            (None, Some((_, name))) => (not_implemented(model, &format!("{name} ({asked})")), name),
            (None, None) => (Fault::new("UnknownOperationException", "").status(404), ""),
        };
        Err(Box::new(Unrouted { model, protocol: Protocol::Rest, fault, operation }))
    }

    /// No operation: in the words of the service that the signature names, if there is one.
    fn nowhere(self) -> Box<Unrouted> {
        let signed_for = self.signed_for.unwrap_or_default();
        let Some(service) = SERVICES.iter().find(|service| service.name == signed_for) else {
            return Box::new(self.unserved(signed_for));
        };
        let model = service.model();
        let protocol = if self.is_rpc() {
            Protocol::RpcV2Cbor
        } else if self.kind().starts_with(AMAZONS) || !model.target_prefix.is_empty() {
            self.json(model)
        } else if model.namespace.is_empty() {
            Protocol::Rest
        } else {
            Protocol::Query
        };
        Box::new(Unrouted { model, protocol, fault: Fault::new("UnknownOperationException", ""), operation: "" })
    }

    /// A service that is not served is refused in its own words: its client reads no others.
    fn unserved(self, signed_for: &str) -> Unrouted {
        let model = words_of(signed_for);
        let protocol = if self.is_rpc() {
            Protocol::RpcV2Cbor
        } else if self.form.is_some_and(|form| form.get("Action").is_some()) {
            Protocol::Query
        } else if self.kind().starts_with(AMAZONS) {
            self.json(model)
        } else {
            Protocol::Rest
        };
        let mut message = String::new();
        if !signed_for.is_empty() {
            let mut served: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
            served.sort_unstable();
            served.dedup();
            message = format!("forebay does not serve {signed_for:?}: it serves {}", served.join(", "));
        }
        Unrouted { model, protocol, fault: Fault::new("UnknownOperationException", message), operation: "" }
    }
}

/// How content types of Amazon's own begin.
const AMAZONS: &str = "application/x-amz";
/// Services that are not served and whose words are neither JSON nor those of all that take forms: their tables, without operations.
static UNSERVED: [(&str, &str, OnceLock<&'static Model>); 4] = [
    ("", r#"{"metadata": {}, "shapes": {}}"#, OnceLock::new()),
    ("route53", r#"{"metadata": {"protocol": "rest-xml"}, "shapes": {}}"#, OnceLock::new()),
    ("cloudfront", r#"{"metadata": {"protocol": "rest-xml"}, "shapes": {}}"#, OnceLock::new()),
    ("ec2", r#"{"metadata": {"signingName": "ec2"}, "shapes": {}}"#, OnceLock::new()),
];

/// The words of a service that is not served.
fn words_of(signed_for: &str) -> &'static Model {
    let known = UNSERVED.iter().find(|(name, ..)| *name == signed_for).unwrap_or(&UNSERVED[0]);
    // The tables are those above; a test reads them.
    known.2.get_or_init(|| Model::read(known.1).unwrap_or_else(|_| SERVICES[0].model()))
}

fn unknown(model: &Model, name: &str) -> Fault {
    if model.others.contains(&name) {
        return not_implemented(model, name);
    }
    Fault::new("UnknownOperationException", "")
}

/// What is said of an operation that the service has and that is not served.
pub fn not_implemented(model: &Model, name: &str) -> Fault {
    Fault::new("NotImplemented", format!("forebay does not serve {}: {name}", model.signing_name)).status(501)
}

fn found(service: &'static Service, protocol: Protocol, name: &str, fault: Fault) -> Result<Routed, Box<Unrouted>> {
    let model = service.model();
    match model.operation(name) {
        Some(operation) => {
            Ok(Routed { service, model, protocol, operation, labels: Labels::new(), before: String::new() })
        }
        None => match model.others.iter().find(|other| **other == name) {
            Some(operation) => {
                Err(Box::new(Unrouted { model, protocol, fault: not_implemented(model, name), operation }))
            }
            None => Err(Box::new(Unrouted { model, protocol, fault, operation: "" })),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'r>(method: &'r str, path: &'r str, headers: &'r HeaderMap) -> Asked<'r> {
        static NONE: Pairs = Pairs::new();
        Asked { method, path, query: &NONE, headers, signed_for: None, form: None }
    }

    /// Whoever was given a URL of one object of S3 could have any operation carried out on any bucket by a form, which the signature of such
    /// a URL is not of.
    #[test]
    fn a_form_names_operations_of_those_services_alone_that_take_forms() {
        let headers = HeaderMap::new();
        for service in &SERVICES {
            for operation in service.operations {
                let form = format!("Action={operation}&Bucket=other&Version={}", service.model().api_version);
                let form = Form::look(form.as_bytes());
                let asked = asked("PUT", "/box/k", &headers);
                let routed = Asked { signed_for: Some(service.name), form: Some(&form), ..asked }.route();
                let by_form = routed.is_ok_and(|routed| routed.protocol == Protocol::Query);
                assert_eq!(by_form, !service.model().namespace.is_empty(), "{}: {operation}", service.name);
            }
        }
    }

    #[test]
    fn a_path_of_rpc_names_no_service_by_leaving_it_out() {
        let mut headers = HeaderMap::new();
        headers.insert("smithy-protocol", http::HeaderValue::from_static("rpc-v2-cbor"));
        for service in &SERVICES {
            for operation in service.operations {
                let path = format!("/service//operation/{operation}");
                let asked = asked("POST", &path, &headers);
                assert!(Asked { signed_for: Some(service.name), ..asked }.route().is_err(), "{operation}");
            }
        }
    }

    /// The slash was dropped: to put or delete the "folder" `f/` overwrote or deleted the object `f`. And a path that ends behind the
    /// bucket named an object without a name.
    #[test]
    fn a_slash_at_the_end_is_part_of_a_key_and_of_no_bucket() {
        let headers = HeaderMap::new();
        for (method, path, operation, key) in [
            ("PUT", "/box/f", "PutObject", Some("f")),
            ("PUT", "/box/f/", "PutObject", Some("f/")),
            ("DELETE", "/box/a/f//", "DeleteObject", Some("a/f//")),
            ("GET", "/box//", "GetObject", Some("/")),
            ("PUT", "/box/", "CreateBucket", None),
            ("DELETE", "/box/", "DeleteBucket", None),
            ("HEAD", "/box/", "HeadBucket", None),
            ("HEAD", "/box", "HeadBucket", None),
        ] {
            let routed = Asked { signed_for: Some("s3"), ..asked(method, path, &headers) }.route().unwrap();
            let label =
                |wanted: &str| routed.labels.iter().find(|(name, _)| *name == wanted).map(|(_, text)| text.as_str());
            assert_eq!((routed.operation.name, label("Bucket"), label("Key")), (operation, Some("box"), key), "{path}");
        }
    }
}
