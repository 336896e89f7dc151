//! Lines of an access log: Common Log Format, JSON, or a template with `$context.NAME` in it, as AWS has them.
//!
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html>

use std::fmt::Write as _;

use crate::gateway::client_cert::ClientCert;
use crate::gateway::event::request_time;
use crate::gateway::json::Json;

/// Longest template, bytes.
const TEMPLATE_BYTES_MAX: usize = 3 * 1024;
const COMMON: &str =
    "$context.identity.sourceIp - - [$context.requestTime] \"$context.httpMethod $context.path $context.protocol\" \
                      $context.status $context.responseLength";

/// What is known of a request once it is answered.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The account.
    pub account: &'a str,
    /// The API's id.
    pub api: &'a str,
    /// The host.
    pub domain: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path.
    pub path: &'a str,
    /// The protocol.
    pub protocol: &'a str,
    /// The route's key; empty where there was none.
    pub route_key: &'a str,
    /// The stage.
    pub stage: &'a str,
    /// The request's id.
    pub request_id: &'a str,
    /// The connection of a WebSocket API; empty: it is a request.
    pub connection_id: &'a str,
    /// What happened of that connection; empty: it is a request.
    pub event_type: &'a str,
    /// The client's address.
    pub source_ip: &'a str,
    /// What the client calls itself.
    pub user_agent: &'a str,
    /// The client's certificate.
    pub client_cert: Option<&'a ClientCert>,
    /// The answer's status.
    pub status: u16,
    /// Bytes of its body.
    pub length: usize,
    /// How long it took, ms.
    pub latency_ms: u64,
    /// When it came, wall ms.
    pub time_ms: u64,
    /// Why the answer is what it is, where that is known, or why nobody has read it.
    pub error: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    AccountId,
    ApiId,
    DomainName,
    DomainPrefix,
    HttpMethod,
    Path,
    Protocol,
    RouteKey,
    Stage,
    RequestId,
    ConnectionId,
    EventType,
    SourceIp,
    UserAgent,
    CertPem,
    CertSubject,
    CertIssuer,
    CertSerial,
    CertNotBefore,
    CertNotAfter,
    Status,
    ResponseLength,
    ResponseLatency,
    RequestTime,
    RequestTimeEpoch,
    ErrorMessage,
}

/// Names as AWS has them.
const FIELDS: [(&str, Field); 27] = [
    ("accountId", Field::AccountId),
    ("apiId", Field::ApiId),
    ("domainName", Field::DomainName),
    ("domainPrefix", Field::DomainPrefix),
    ("httpMethod", Field::HttpMethod),
    ("path", Field::Path),
    ("protocol", Field::Protocol),
    ("routeKey", Field::RouteKey),
    ("stage", Field::Stage),
    ("requestId", Field::RequestId),
    ("extendedRequestId", Field::RequestId),
    ("connectionId", Field::ConnectionId),
    ("eventType", Field::EventType),
    ("identity.sourceIp", Field::SourceIp),
    ("identity.userAgent", Field::UserAgent),
    ("identity.clientCert.clientCertPem", Field::CertPem),
    ("identity.clientCert.subjectDN", Field::CertSubject),
    ("identity.clientCert.issuerDN", Field::CertIssuer),
    ("identity.clientCert.serialNumber", Field::CertSerial),
    ("identity.clientCert.validity.notBefore", Field::CertNotBefore),
    ("identity.clientCert.validity.notAfter", Field::CertNotAfter),
    ("status", Field::Status),
    ("responseLength", Field::ResponseLength),
    ("responseLatency", Field::ResponseLatency),
    ("requestTime", Field::RequestTime),
    ("requestTimeEpoch", Field::RequestTimeEpoch),
    ("error.message", Field::ErrorMessage),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// How a line is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Shape);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Json,
    Pieces(Vec<Piece>),
}

impl Format {
    /// Read `common`, `json` or a template; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "json" => return Ok(Self(Shape::Json)),
            "common" => return Self::parse(COMMON),
            _ => {}
        }
        if text.len() > TEMPLATE_BYTES_MAX || text.contains(['\n', '\r']) {
            return Err(format!("a template has one line of at most {TEMPLATE_BYTES_MAX} bytes"));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("$context.") {
            let end =
                after.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '.')).unwrap_or(after.len());
            let name = after[..end].trim_end_matches('.');
            let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
                return Err(format!("$context.{name} is not known: there are {}", known.join(", ")));
            };
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Field(*field));
            rest = &after[name.len()..];
        }
        if pieces.is_empty() {
            return Err(format!("{text:?}: allowed are \"common\", \"json\" and a template with $context.NAME in it"));
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(Shape::Pieces(pieces)))
    }

    /// The line of a request, with its end.
    pub fn line(&self, facts: &Facts<'_>) -> Vec<u8> {
        match &self.0 {
            Shape::Json => {
                let mut json = Json::default();
                for (at, (name, field)) in FIELDS.iter().enumerate() {
                    json.raw(if at > 0 { "," } else { "{" }).string(name).raw(":").string(&field.text(facts));
                }
                json.raw("}\n");
                json.done()
            }
            Shape::Pieces(pieces) => {
                let mut line = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => line.push_str(text),
                        Piece::Field(field) => push_shown(&mut line, &field.text(facts)),
                    }
                }
                line.push('\n');
                line.into_bytes()
            }
        }
    }
}

/// What a client sends must not look like a line, or a field, of the log's own.
fn push_shown(line: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                line.push('\\');
                line.push(letter);
            }
            _ if letter.is_control() => {
                // Writing to memory does not fail.
                let _ = write!(line, "\\u{:04x}", letter as u32);
            }
            _ => line.push(letter),
        }
    }
    if text.is_empty() {
        line.push('-');
    }
}

impl Field {
    fn text(self, facts: &Facts<'_>) -> String {
        let of = |part: fn(&ClientCert) -> &String| facts.client_cert.map(part).cloned().unwrap_or_default();
        match self {
            Self::AccountId => facts.account.into(),
            Self::ApiId => facts.api.into(),
            Self::DomainName => facts.domain.into(),
            Self::DomainPrefix => facts.domain.split('.').next().unwrap_or_default().into(),
            Self::HttpMethod => facts.method.into(),
            Self::Path => facts.path.into(),
            Self::Protocol => facts.protocol.into(),
            Self::RouteKey => facts.route_key.into(),
            Self::Stage => facts.stage.into(),
            Self::RequestId => facts.request_id.into(),
            Self::ConnectionId => facts.connection_id.into(),
            Self::EventType => facts.event_type.into(),
            Self::SourceIp => facts.source_ip.into(),
            Self::UserAgent => facts.user_agent.into(),
            Self::CertPem => of(|certificate| &certificate.pem),
            Self::CertSubject => of(|certificate| &certificate.subject),
            Self::CertIssuer => of(|certificate| &certificate.issuer),
            Self::CertSerial => of(|certificate| &certificate.serial),
            Self::CertNotBefore => of(|certificate| &certificate.validity.not_before),
            Self::CertNotAfter => of(|certificate| &certificate.validity.not_after),
            Self::Status => facts.status.to_string(),
            Self::ResponseLength => facts.length.to_string(),
            Self::ResponseLatency => facts.latency_ms.to_string(),
            Self::RequestTime => request_time(facts.time_ms),
            Self::RequestTimeEpoch => facts.time_ms.to_string(),
            Self::ErrorMessage => facts.error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(user_agent: &str) -> Facts<'_> {
        Facts {
            account: "000000000000",
            api: "abcdefghij",
            domain: "a.example.com",
            method: "GET",
            path: "/a",
            protocol: "HTTP/1.1",
            route_key: "GET /a",
            stage: "$default",
            request_id: "r",
            connection_id: "",
            event_type: "",
            source_ip: "192.0.2.1",
            user_agent,
            client_cert: None,
            status: 200,
            length: 17,
            latency_ms: 3,
            time_ms: 1_583_348_638_390,
            error: "",
        }
    }

    fn line(format: &str, user_agent: &str) -> String {
        String::from_utf8(Format::parse(format).unwrap().line(&facts(user_agent))).unwrap()
    }

    #[test]
    fn the_formats_are_the_known_ones() {
        let common = "192.0.2.1 - - [04/Mar/2020:19:03:58 +0000] \"GET /a HTTP/1.1\" 200 17\n";
        assert_eq!(line("common", ""), common);
        let read: serde_json::Value = serde_json::from_str(&line("json", "a\"b")).unwrap();
        assert_eq!((&read["identity.userAgent"], &read["status"]), (&"a\"b".into(), &"200".into()));
        assert_eq!(line("$context.routeKey|$context.domainPrefix.", ""), "GET /a|a.\n");
        assert_eq!((&read["error.message"], line("$context.error.message", "")), (&"".into(), "-\n".into()));
    }

    #[test]
    fn a_client_cannot_write_lines_of_its_own() {
        assert_eq!(line("\"$context.identity.userAgent\"", "x\"\n127.0.0.1"), "\"x\\\"\\u000a127.0.0.1\"\n");
        assert_eq!(line("$context.identity.userAgent", ""), "-\n");
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for text in ["", "xml", "$context.nothing", "$context.status\n", &"$context.status".repeat(300)] {
            assert!(Format::parse(text).is_err(), "{text}");
        }
        for (bytes, expected) in [(TEMPLATE_BYTES_MAX, true), (TEMPLATE_BYTES_MAX + 1, false)] {
            let text = format!("{:x>bytes$}", "$context.status");
            assert_eq!(Format::parse(&text).is_ok(), expected, "{bytes}");
        }
    }
}
