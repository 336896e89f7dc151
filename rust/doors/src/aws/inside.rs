//! A request of a service from inside this process: a method of an API asks as any client does, without a signature.
//!
//! Whoever declares such a method decides what is asked; no key is looked for, and no line is written to the access log. What a key is needed
//! for is refused. Whoever has a method run for a test reaches no service that the own key does not reach, and no function without `lambda`.

use std::collections::BTreeSet;
use std::hash::BuildHasher as _;
use std::sync::{Arc, OnceLock};

use forebay_core::gateway::answer::Answer;
use forebay_core::gateway::rest::pipeline::Call as Sent;
use forebay_core::gateway::rest::uri::{Operation, Service as Named};
use forebay_engine::base::ids::uuid_text;
use forebay_engine::runtime::engine::Engine;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{json, Value as Json};

use crate::aws::call::{Call, Output};
use crate::aws::check;
use crate::aws::checksums;
use crate::aws::codec::{self, Protocol};
use crate::aws::door::input_of;
use crate::aws::fault::Fault;
use crate::aws::model::Model;
use crate::aws::protocol::json::{json_of, Names};
use crate::aws::protocol::query::{Form, KIND as FORM};
use crate::aws::protocol::rest::{pairs, Pairs, Written};
use crate::aws::routing::{Asked, Routed};
use crate::aws::services::kinesis_subscription::Subscriptions;
use crate::aws::services::remembered::Remembered;
use crate::aws::services::{Service, SERVICES};
use crate::aws::sigv4::Given;
use crate::aws::strangers;
use crate::aws::value::Value;

/// The name under which the services of this process are asked.
const AUTHORITY: &str = "localhost";

/// Why whoever may ask these services does not carry this operation out; all of them may be asked where none is named.
pub(crate) fn refusal(services: &[String], service: &str, operation: &str) -> Option<String> {
    let is_allowed = services.is_empty() || services.iter().any(|allowed| allowed == service);
    (!is_allowed).then(|| {
        let only = services.join(", ");
        format!("the key that tests this is not authorized to perform: {service}:{operation}, because it is for {only} only")
    })
}

/// Who asks.
#[derive(Debug)]
pub(crate) struct Inside {
    region: String,
    account: String,
    subscriptions: Arc<Subscriptions>,
    remembered: Remembered,
    seeds: [std::hash::RandomState; 2],
}

impl Inside {
    pub(crate) fn new(account: &str, region: &str) -> Self {
        Self {
            region: region.to_owned(),
            account: account.to_owned(),
            subscriptions: Arc::default(),
            remembered: Remembered::default(),
            seeds: [std::hash::RandomState::new(), std::hash::RandomState::new()],
        }
    }

    /// Ask a service; an error where there is none of this name, or its answer is no single one. `id` is unique to the request, and
    /// `services` are those that may be asked: all of them where none is named.
    pub(crate) async fn ask(
        &self,
        engine: &Arc<Engine>,
        (id, services): (&str, &[String]),
        service: &Named,
        sent: &Sent,
    ) -> Result<Answer, String> {
        let reached = SERVICES.iter().filter(|one| one.is_for_methods);
        let Some(model) = reached.clone().find(|one| one.name == service.name).map(Service::model) else {
            let names: BTreeSet<&str> = reached.map(|one| one.name).collect();
            let names: Vec<&str> = names.into_iter().collect();
            return Err(format!("an integration does not reach {:?}: it reaches {}", service.name, names.join(", ")));
        };
        let request = Request::of(model, service, sent);
        let given = Given {
            method: &sent.method,
            path: &request.path,
            query: &request.query,
            headers: &request.headers,
            authority: AUTHORITY,
            body: &sent.body,
        };
        let id = uuid_text(u128::from(self.seeds[0].hash_one(id)) << 64 | u128::from(self.seeds[1].hash_one(id)));
        let read = read(given, model);
        let (protocol, operation) = match &read {
            Ok((routed, _)) => (routed.protocol, routed.operation.name),
            Err(unread) => (unread.0, ""),
        };
        // Whoever may not ask a service is not told either what is wrong with the request.
        if let Some(text) = refusal(services, model.signing_name, operation) {
            let fault = Fault::new("AccessDeniedException", text).code("AccessDenied").status(403);
            return Ok(request.refused(protocol, model, &fault, &id));
        }
        let (routed, input) = match read {
            Ok(read) => read,
            Err(unread) => return Ok(request.refused(unread.0, model, &unread.1, &id)),
        };
        let call = Call {
            engine,
            subscriptions: &self.subscriptions,
            remembered: &self.remembered,
            region: &self.region,
            account: &self.account,
            store: None,
            stranger: Some(strangers::METHOD),
            input,
            sums: checksums::Sent::default(),
            before: routed.before.clone(),
            origin: format!("http://{AUTHORITY}"),
            is_presigned: false,
            key_id: String::new(),
            key: None,
            tester: None,
            own_id: OnceLock::new(),
        };
        let done = match strangers::refuse(&call, model.signing_name, operation) {
            Ok(()) => (routed.service.call)(&call, operation).await,
            Err(fault) => Err(fault),
        };
        match done {
            Ok(Output::Value(value)) => Ok(request.answered(&routed, &value, &id)),
            Ok(Output::Object(..) | Output::Stream(..)) => {
                Err(format!("{} answers with a stream", routed.operation.name))
            }
            Err(fault) => Ok(request.refused(routed.protocol, model, &fault, &id)),
        }
    }
}

/// The operation and its input; how to say what is wrong with them, and what.
fn read(given: Given<'_>, model: &'static Model) -> Result<(Routed, Value), Box<(Protocol, Fault)>> {
    let query = pairs(given.query).unwrap_or_default();
    let form = form(given, &query);
    let asked = Asked {
        method: given.method,
        path: given.path,
        query: &query,
        headers: given.headers,
        signed_for: Some(model.signing_name),
        form: form.as_ref(),
    };
    let routed = asked.route().map_err(|unrouted| Box::new((unrouted.protocol, unrouted.fault)))?;
    let input = check::query(given.query, model).and_then(|()| input_of(&routed, given, &query, form));
    let input = input.map_err(|fault| Box::new((routed.protocol, fault)))?;
    Ok((routed, input))
}

/// The form of a request: its body, and what the query string has besides.
fn form(given: Given<'_>, query: &Pairs) -> Option<Form> {
    let kind = given.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form = kind.starts_with(FORM) && !given.body.is_empty();
    if !is_form && !query.iter().any(|(name, _)| name == "Action") {
        return None;
    }
    let mut form = if is_form { Form::read(given.body).ok()? } else { Form::default() };
    for (name, value) in query {
        form.add(name, value.clone());
    }
    Some(form)
}

/// What is sent, as the service reads it.
struct Request {
    path: String,
    query: String,
    headers: HeaderMap,
    takes_json: bool,
}

impl Request {
    fn of(model: &Model, service: &Named, sent: &Sent) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in &sent.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        let (path, mut query) = match &service.operation {
            Operation::Path(path) => {
                let (path, query) = path.split_once('?').unwrap_or((path, ""));
                (path.to_owned(), query.to_owned())
            }
            Operation::Action(action) => ("/".to_owned(), Self::action(model, action, &mut headers)),
        };
        if !sent.url.is_empty() {
            query.push_str(if query.is_empty() { "" } else { "&" });
            query.push_str(&sent.url);
        }
        let accept = headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let takes_json = accept.contains("application/json");
        Self { path, query, headers, takes_json }
    }

    /// Name an action as its service wants it: in a header, or in the query string that is given back.
    fn action(model: &Model, action: &str, headers: &mut HeaderMap) -> String {
        let (name, more) = action.split_once('&').unwrap_or((action, ""));
        let is_form = headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(FORM.as_bytes()));
        let has_fields = !more.is_empty() || is_form || model.target_prefix.is_empty();
        let target = HeaderValue::try_from(format!("{}.{name}", model.target_prefix));
        if let (false, Ok(target)) = (has_fields && !model.namespace.is_empty(), target) {
            headers.insert("x-amz-target", target);
            return more.to_owned();
        }
        format!("Action={name}{}{more}", if more.is_empty() { "" } else { "&" })
    }

    /// The query protocol's answers are JSON to whoever takes it, as API Gateway itself does.
    fn answered(&self, routed: &Routed, value: &Value, id: &str) -> Answer {
        let Routed { model, protocol, operation, .. } = routed;
        if *protocol != Protocol::Query || !self.takes_json {
            return answer(codec::write(*protocol, model, operation, value, id));
        }
        let mut result =
            operation.output.map_or_else(|| json!({}), |shape| json_of(model, model.shape(shape), Names::Own, value));
        // SQS names this one list in small letters.
        if let Some(messages) = result.as_object_mut().and_then(|fields| fields.remove("Messages")) {
            result["messages"] = messages;
        }
        let name = operation.name;
        let mut told = json!({ "ResponseMetadata": { "RequestId": id } });
        if operation.output.is_some() {
            told[format!("{name}Result")] = result;
        }
        as_json(200, &json!({ format!("{name}Response"): told }))
    }

    fn refused(&self, protocol: Protocol, model: &Model, fault: &Fault, id: &str) -> Answer {
        let written = codec::write_error(protocol, model, fault, id);
        if protocol != Protocol::Query || !self.takes_json {
            return answer(written);
        }
        let kind = if written.status < 500 { "Sender" } else { "Receiver" };
        let code = fault.code.unwrap_or(&fault.name);
        let error = json!({"Code": code, "Message": fault.message, "Type": kind});
        as_json(written.status, &json!({"Error": error, "RequestId": id}))
    }
}

fn answer(written: Written) -> Answer {
    let Written { status, headers, body } = written;
    Answer { status, headers, body }
}

fn as_json(status: u16, body: &Json) -> Answer {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Answer { status, headers, body: body.to_string().into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_named_as_its_service_reads_it() {
        let sent = |kind: &str| Sent {
            method: "POST".into(),
            url: String::new(),
            headers: vec![("Content-Type".into(), kind.into()), ("Accept".into(), "application/json".into())],
            body: Vec::new(),
        };
        for (name, action, kind, target, query) in [
            ("kinesis", "PutRecords", "application/json", "Kinesis_20131202.PutRecords", ""),
            ("states", "StartExecution", "application/json", "AWSStepFunctions.StartExecution", ""),
            ("sqs", "SendMessage", "application/json", "AmazonSQS.SendMessage", ""),
            ("sqs", "SendMessage", FORM, "", "Action=SendMessage"),
            ("sqs", "SendMessage&QueueUrl=q", "application/json", "", "Action=SendMessage&QueueUrl=q"),
            ("sns", "Publish", "application/json", "", "Action=Publish"),
        ] {
            let model = SERVICES.iter().find(|one| one.name == name).unwrap().model();
            let service = Named { name: name.into(), operation: Operation::Action(action.into()) };
            let request = Request::of(model, &service, &sent(kind));
            let header = request.headers.get("x-amz-target").map_or("", |value| value.to_str().unwrap());
            assert_eq!((header, request.query.as_str()), (target, query), "{name} {action} {kind}");
        }
    }

    #[test]
    fn a_path_keeps_its_query() {
        let model = SERVICES[0].model();
        let service = Named { name: "sqs".into(), operation: Operation::Path("/1/q?Action=X".into()) };
        let sent = Sent { method: "GET".into(), url: "MessageBody=a".into(), headers: Vec::new(), body: Vec::new() };
        let request = Request::of(model, &service, &sent);
        assert_eq!((request.path.as_str(), request.query.as_str()), ("/1/q", "Action=X&MessageBody=a"));
    }
}
