//! WebSocket APIs: how a message tells its route, and the events of a connection.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api.html>

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::gateway::event::{lambda_one, parts_one, request_time};
use crate::gateway::json::Json;
use crate::gateway::request::{Arrival, Authorized, Request};

/// The route of a connection that opens.
pub const CONNECT: &str = "$connect";
/// The route of a connection that has ended.
pub const DISCONNECT: &str = "$disconnect";
/// The route of what no other route takes.
pub const DEFAULT: &str = "$default";
/// Most bytes of a message.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Most bytes of a frame.
pub const FRAME_BYTES_MAX: usize = 32 * 1024;
/// A connection without a message ends after this time.
pub const IDLE: Duration = Duration::from_secs(10 * 60);
/// Any connection ends after this time.
pub const LIFE: Duration = Duration::from_secs(2 * 3_600);
/// Longest selection expression.
const SELECTION_CHARS_MAX: usize = 512;

/// How a message tells its route: `$request.body.action`, or a text with `${request.body.a}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A path into the body.
    Path(Vec<String>),
}

/// The expression that it was read from.
impl fmt::Display for Selection {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [Piece::Path(path)] => write!(to, "$request.body.{}", path.join(".")),
            pieces => pieces.iter().try_for_each(|piece| match piece {
                Piece::Text(text) => to.write_str(&text.replace('$', "\\$")),
                Piece::Path(path) => write!(to, "${{request.body.{}}}", path.join(".")),
            }),
        }
    }
}

impl Selection {
    /// Read an expression; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "selection is {text:?}: allowed are $request.body.NAME and a text with ${{request.body.NAME}} in it, of at most \
                 {SELECTION_CHARS_MAX} characters"
            )
        };
        if text.is_empty() || text.chars().count() > SELECTION_CHARS_MAX {
            return Err(wrong());
        }
        if let Some(path) = text.strip_prefix("$request.body.") {
            return Ok(Self(vec![Piece::Path(path_of(path).ok_or_else(wrong)?)]));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (path, behind) = after.split_once('}').ok_or_else(wrong)?;
            let path = path.strip_prefix("request.body.").and_then(path_of).ok_or_else(wrong)?;
            pieces.push(Piece::Text(before.replace("\\$", "$")));
            pieces.push(Piece::Path(path));
            rest = behind;
        }
        if rest.replace("\\$", "").contains('$') {
            return Err(wrong());
        }
        pieces.push(Piece::Text(rest.replace("\\$", "$")));
        Ok(Self(pieces))
    }

    /// The key that a message gives; `None` where it is not JSON. What is not there is an empty text.
    pub fn key(&self, message: &str) -> Option<String> {
        let body: Value = serde_json::from_str(message).ok()?;
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Path(path) => match path.iter().try_fold(&body, |value, name| value.get(name)) {
                Some(Value::String(text)) => text.clone(),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
                _ => String::new(),
            },
        };
        Some(self.0.iter().map(piece).collect())
    }
}

fn path_of(text: &str) -> Option<Vec<String>> {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    text.split('.').map(|name| is_name(name).then(|| name.to_owned())).collect()
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// Its id.
    pub id: &'a str,
    /// When it was opened, wall ms.
    pub connected_ms: u64,
}

/// What has happened to a connection.
#[derive(Clone, Copy, Debug)]
pub enum Happened<'a> {
    /// It is to be opened.
    Connect,
    /// A message came, with this id; text, or bytes as base64.
    Message {
        /// The message's id.
        id: &'a str,
        /// Its body.
        body: &'a str,
        /// Whether that is base64.
        is_base64: bool,
    },
    /// It has ended, with this code and reason.
    Disconnect {
        /// WebSocket's code.
        code: u16,
        /// Its reason.
        reason: &'a str,
    },
}

/// The event of what has happened to a connection. `request` is the one that opened it.
pub fn event(
    happened: Happened<'_>,
    request: &Request<'_>,
    arrival: &Arrival<'_>,
    connection: Connection<'_>,
) -> Vec<u8> {
    let mut json = Json::with_capacity(1_024);
    json.raw("{");
    let kind = match happened {
        Happened::Connect => "CONNECT",
        Happened::Message { .. } => "MESSAGE",
        Happened::Disconnect { .. } => "DISCONNECT",
    };
    if !matches!(happened, Happened::Message { .. }) {
        let (with_query, fields) = (matches!(happened, Happened::Connect), request.query);
        parts_one(&mut json, request.headers, if with_query { fields } else { "" });
        json.raw(",");
    }
    json.raw(r#""requestContext":{"routeKey":"#).string(arrival.route_key);
    authorizer(&mut json, arrival.authorized);
    match happened {
        Happened::Connect => {}
        Happened::Message { id, .. } => {
            json.raw(r#","messageId":"#).string(id);
        }
        Happened::Disconnect { code, reason } => {
            json.raw(r#","disconnectStatusCode":"#).number(code.into()).raw(r#","disconnectReason":"#).string(reason);
        }
    }
    json.raw(r#","eventType":"#).string(kind).raw(r#","extendedRequestId":"#).string(arrival.request_id);
    json.raw(r#","requestTime":"#).string(&request_time(arrival.time_ms)).raw(r#","messageDirection":"IN","stage":"#);
    json.string(arrival.stage).raw(r#","connectedAt":"#).number(connection.connected_ms);
    json.raw(r#","requestTimeEpoch":"#).number(arrival.time_ms).raw(r#","identity":{"userAgent":"#);
    json.string(request.header("user-agent")).raw(r#","sourceIp":"#).string(request.source_ip);
    if let Some(certificate) = request.client_cert {
        json.raw(r#","clientCert":"#);
        certificate.write(&mut json);
    }
    json.raw(r#"},"requestId":"#).string(arrival.request_id).raw(r#","domainName":"#).string(arrival.domain);
    json.raw(r#","connectionId":"#).string(connection.id).raw(r#","apiId":"#).string(arrival.api).raw("}");
    if !arrival.stage_variables.is_empty() {
        let pairs = arrival.stage_variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        json.raw(r#","stageVariables":"#).pairs(pairs);
    }
    if let Happened::Message { body, is_base64, .. } = happened {
        json.raw(r#","body":"#).string(body).raw(r#","isBase64Encoded":"#).raw(if is_base64 {
            "true"
        } else {
            "false"
        });
    } else {
        json.raw(r#","isBase64Encoded":false"#);
    }
    json.raw("}");
    json.done()
}

/// The authoriser's context stands in every event of the connection.
fn authorizer(json: &mut Json, authorized: &Authorized) {
    if let Authorized::Lambda { context, principal, .. } = authorized {
        lambda_one(json, context, principal.as_deref());
    }
}

/// What a client is told of a message that did not reach its function.
pub fn failure(message: &str, connection: &str, request_id: &str) -> String {
    serde_json::json!({"message": message, "connectionId": connection, "requestId": request_id}).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html>
    #[test]
    fn a_connection_lasts_as_long_as_on_aws() {
        assert_eq!((IDLE.as_secs(), LIFE.as_secs()), (600, 7_200));
    }

    #[test]
    fn a_message_tells_its_route() {
        let message = r#"{"action":"send","a":{"b":1},"c":null,"d":{}}"#;
        for (expression, expected) in [
            ("$request.body.action", "send"),
            ("$request.body.a.b", "1"),
            ("$request.body.c", ""),
            ("$request.body.d", ""),
            ("$request.body.nothing", ""),
            ("${request.body.action}/${request.body.a.b}", "send/1"),
            ("\\$default", "$default"),
            ("fixed", "fixed"),
        ] {
            let selection = Selection::parse(expression).unwrap();
            assert_eq!(selection.key(message).as_deref(), Some(expected), "{expression}");
            assert_eq!(selection.to_string(), expression);
        }
        let action = Selection::parse("$request.body.action").unwrap();
        assert_eq!(action.key("hello"), None);
        assert_eq!(action.key(&"[".repeat(100_000)), None);
        assert_eq!(action.key("[1]").as_deref(), Some(""));
        for wrong in ["", "$request.header.x", "$request.body.", "${request.body.a", "a$b", "${context.x}"] {
            assert!(Selection::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_client_is_told_which_message_failed() {
        let told: Value = serde_json::from_str(&failure("Internal server error", "c=", "r")).unwrap();
        assert_eq!(told, json!({"message": "Internal server error", "connectionId": "c=", "requestId": "r"}));
    }

    fn build(happened: Happened<'_>) -> Value {
        build_with(&[], happened)
    }

    fn build_with(stage_variables: &[(String, String)], happened: Happened<'_>) -> Value {
        let headers = [("host".into(), "h".into()), ("x-a".into(), "1".into()), ("x-a".into(), "2".into())];
        let request = Request {
            method: "GET",
            path: "/",
            query: "q=1",
            protocol: "HTTP/1.1",
            headers: &headers,
            source_ip: "192.0.2.1",
            client_cert: None,
            body: &[],
        };
        let arrival = Arrival {
            account: "000000000000",
            api: "abcdefghij",
            domain: "h",
            stage: "dev",
            stage_variables,
            route_key: "$connect",
            parameters: &[],
            request_id: "r",
            time_ms: 1_583_348_638_390,
            authorized: &Authorized::Lambda {
                context: r#"{"user":"ali"}"#.into(),
                principal: Some("p".into()),
                known_by: None,
            },
        };
        let connection = Connection { id: "c=", connected_ms: 5 };
        serde_json::from_slice(&event(happened, &request, &arrival, connection)).unwrap()
    }

    #[test]
    fn each_event_has_what_aws_gives() {
        let connect = build(Happened::Connect);
        assert_eq!(connect["multiValueHeaders"]["x-a"], json!(["1", "2"]));
        assert_eq!(connect["queryStringParameters"], json!({"q": "1"}));
        let context = &connect["requestContext"];
        assert_eq!((&context["eventType"], &context["connectionId"]), (&json!("CONNECT"), &json!("c=")));
        assert_eq!(context["authorizer"], json!({"principalId": "p", "user": "ali"}));
        let message = build(Happened::Message { id: "m", body: "hi", is_base64: false });
        assert_eq!((&message["body"], &message["requestContext"]["messageId"]), (&json!("hi"), &json!("m")));
        assert!(message.get("headers").is_none());
        let gone = build(Happened::Disconnect { code: 1001, reason: "bye" });
        assert_eq!(gone["requestContext"]["disconnectStatusCode"], 1001);
        assert!(gone.get("body").is_none() && gone["headers"]["x-a"] == "2");
        assert!(gone.get("stageVariables").is_none());
        let with = build_with(&[("v".into(), "1".into()), ("w".into(), "2".into())], Happened::Connect);
        assert_eq!(with["stageVariables"], json!({"v": "1", "w": "2"}));
    }
}
