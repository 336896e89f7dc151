//! The head of a request, read into what the core wants, or refused.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use forebay_core::gateway::client_cert::ClientCert;
use forebay_core::gateway::forwarded::Trusted;
use forebay_core::gateway::request::{Header, Request};
use hyper::header::{HeaderMap, COOKIE, HOST, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::Version;

use crate::aws::sigv4::Given;
use crate::http::listener::holds_back;

/// Most bytes of header lines.
const HEADER_BYTES_MAX: usize = 10_240;
/// What the gateway says itself of a request; the word of a client that is not believed is not handed on.
const SAID_HERE: [&str; 2] = ["x-forwarded-port", "x-forwarded-proto"];

/// What says that somebody has handed a request on: who has sent it is elsewhere.
const HANDED_ON: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];
/// What browsers say of the page that asks.
const OF_PAGES: [&str; 2] = ["origin", "sec-fetch-site"];

/// What is known of where a request arrived.
#[derive(Clone, Copy)]
pub(super) struct Entrance<'a> {
    pub(super) peer: SocketAddr,
    pub(super) port: u16,
    pub(super) is_tls: bool,
    pub(super) trusted: &'a Trusted,
}

/// A head that was read.
pub(super) struct Head<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) protocol: &'static str,
    /// The host that was asked for, in small letters and without a port.
    pub(super) host: String,
    pub(super) headers: Vec<Header<'a>>,
    pub(super) source_ip: String,
    /// The certificate by which the client has made itself known.
    pub(super) client_cert: Option<Arc<ClientCert>>,
    /// What a tracer says of the request.
    pub(super) trace: Option<String>,
    /// The host as it was sent.
    authority: String,
    parts: &'a Parts,
}

impl Head<'_> {
    pub(super) fn client_cert(&self) -> Option<&ClientCert> {
        self.client_cert.as_deref()
    }

    /// The request for this path of an API. Its body is not read yet.
    pub(super) fn request<'r>(&'r self, path: &'r str) -> Request<'r> {
        Request {
            method: self.method,
            path,
            query: self.query,
            protocol: self.protocol,
            headers: &self.headers,
            source_ip: &self.source_ip,
            client_cert: self.client_cert(),
            body: &[],
        }
    }

    /// Whether its version of HTTP lets a connection go on as another one.
    pub(super) fn may_upgrade(&self) -> bool {
        self.parts.version == Version::HTTP_11
    }

    /// Whether a proxy has handed the request on.
    pub(super) fn is_handed_on(&self) -> bool {
        HANDED_ON.iter().any(|name| self.parts.headers.contains_key(*name))
    }

    /// Whether the client sends its body only when it is told to go on.
    pub(super) fn holds_back(&self) -> bool {
        holds_back(&self.parts.headers)
    }

    /// Whether a page in a browser asks.
    pub(super) fn is_of_page(&self) -> bool {
        OF_PAGES.iter().any(|name| self.parts.headers.contains_key(*name))
    }

    /// The request as its signature is made over it.
    pub(super) fn given<'r>(&'r self, body: &'r [u8]) -> Given<'r> {
        Given {
            method: self.method,
            path: self.path,
            query: self.query,
            headers: &self.parts.headers,
            authority: &self.authority,
            body,
        }
    }

    /// The headers with their names as they were sent.
    pub(super) fn spell(&mut self, names: &[(String, String)]) {
        for (name, _) in &mut self.headers {
            if let Some((_, spelled)) = names.iter().find(|(lower, _)| *lower == **name) {
                *name = Cow::Owned(spelled.clone());
            }
        }
    }
}

/// Why a head is refused: the status, and what is said.
pub(super) type Refused = (u16, &'static str);

impl<'a> Head<'a> {
    pub(super) fn read(parts: &'a Parts, entrance: Entrance<'_>) -> Result<Self, Refused> {
        let host = host(parts)?;
        check_framing(&parts.headers)?;
        let bytes: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if bytes > HEADER_BYTES_MAX {
            return Err((431, "Request header fields are too large"));
        }
        let peer = entrance.peer.ip().to_canonical();
        let said = parts.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let said: Vec<&str> = said.flat_map(|value| value.split(',')).collect();
        let source_ip = entrance.trusted.source(peer, said.into_iter()).to_string();
        Ok(Self {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            protocol: if parts.version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" },
            headers: headers(parts, &host, &entrance),
            host: without_port(&host).to_ascii_lowercase(),
            source_ip,
            client_cert: parts.extensions.get::<Arc<ClientCert>>().cloned(),
            trace: trace(&parts.headers),
            authority: host,
            parts,
        })
    }
}

/// The host as it was sent. One that was said twice may be another one for whoever reads it next.
fn host(parts: &Parts) -> Result<String, Refused> {
    let mut said = parts.headers.get_all(HOST).iter();
    let header = said.next().map(|value| value.to_str().map_err(|_| (400, "the host is not text"))).transpose()?;
    if said.next().is_some() {
        return Err((400, "a request names one host"));
    }
    match (header, parts.uri.authority()) {
        (Some(header), Some(authority)) if !header.eq_ignore_ascii_case(authority.as_str()) => {
            Err((400, "a request names one host"))
        }
        (_, Some(authority)) if authority.as_str().contains('@') => Err((400, "a host has no user")),
        (Some(header), _) => Ok(header.to_owned()),
        (None, Some(authority)) => Ok(authority.as_str().to_owned()),
        (None, None) => Err((400, "a request names its host")),
    }
}

/// The rest of what would let two readers of one request see two requests; hyper has refused what it cannot read itself.
fn check_framing(headers: &HeaderMap) -> Result<(), Refused> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        if !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") || encodings.next().is_some() {
            return Err((400, "the only transfer encoding is chunked"));
        }
    }
    Ok(())
}

fn headers<'a>(parts: &'a Parts, host: &str, entrance: &Entrance<'_>) -> Vec<Header<'a>> {
    let peer = entrance.peer.ip().to_canonical();
    let is_believed = entrance.trusted.has(peer);
    let mut found: Vec<Header<'a>> = Vec::with_capacity(parts.headers.len() + 4);
    for (name, value) in &parts.headers {
        let text = String::from_utf8_lossy(value.as_bytes());
        // HTTP/2 may bring cookies one by one. Whoever reads them knows them in one header.
        let crumbs = found.last_mut().filter(|(known, _)| name == COOKIE && known == "cookie");
        if let (Some((_, cookies)), Version::HTTP_2) = (crumbs, parts.version) {
            cookies.to_mut().push_str("; ");
            cookies.to_mut().push_str(&text);
        } else if is_believed || !SAID_HERE.contains(&name.as_str()) {
            found.push((name.as_str().into(), text));
        }
    }
    if !parts.headers.contains_key(HOST) {
        found.push(("host".into(), Cow::Owned(host.to_owned())));
    }
    found.push(("x-forwarded-for".into(), Cow::Owned(peer.to_string())));
    let scheme = if entrance.is_tls { "https" } else { "http" };
    for (name, value) in [("x-forwarded-port", entrance.port.to_string()), ("x-forwarded-proto", scheme.to_owned())] {
        if !found.iter().any(|(known, _)| known == name) {
            found.push((name.into(), value.into()));
        }
    }
    found
}

pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// W3C's context of a trace, if it is one.
fn trace(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let parent = text("traceparent")?;
    let lengths = [2, 32, 16, 2];
    let mut fields = parent.split('-');
    let is_context = lengths.iter().all(|&length| {
        let is_hex = |field: &str| field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        fields.next().is_some_and(|field| field.len() == length && is_hex(field))
    });
    if !is_context || fields.next().is_some() {
        return None;
    }
    let is_state = |state: &&str| state.len() <= 512 && state.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    Some(match text("tracestate").filter(is_state) {
        Some(state) => format!("{parent}\n{state}"),
        None => parent.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn the_cookies_of_http2_are_one_header() {
        for (version, expected) in [(Version::HTTP_2, &["a=1; b=2; c=3"][..]), (Version::HTTP_11, &["a=1", "b=2; c=3"])]
        {
            let request = Request::builder().version(version).uri("http://localhost/").header("cookie", "a=1");
            let request = request.header("x-other", "y").header("cookie", "b=2; c=3").body(()).unwrap();
            let (parts, ()) = request.into_parts();
            let peer = SocketAddr::from(([127, 0, 0, 1], 1));
            let entrance = Entrance { peer, port: 80, is_tls: true, trusted: &Trusted::default() };
            let found = headers(&parts, "localhost", &entrance);
            let cookies: Vec<&str> =
                found.iter().filter(|(name, _)| name == "cookie").map(|(_, value)| &**value).collect();
            assert_eq!(cookies, expected, "{version:?}");
        }
    }
}
