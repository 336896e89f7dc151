//! Other servers: those behind a route, and those of an issuer of tokens. One client with a bounded pool.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_core::gateway::answer::Answer;
use forebay_core::gateway::authorizer::Source;
use forebay_core::gateway::request::{Arrival, Request};
use forebay_core::gateway::rest::uri;
use forebay_core::gateway::wire::is_header;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Method, Request as HttpRequest, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::gateway::outgoing;

/// Most bytes of what a server behind a route answers.
const ANSWER_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Connections that are kept open to one server.
const IDLE_MAX: usize = 64;
/// How long a connection is kept open.
const IDLE: Duration = Duration::from_secs(60);
/// Headers between two neighbours, which go no further.
const BETWEEN: [&str; 10] = [
    "connection",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that go on although a client names them in `Connection`.
const FOR_THE_END: [&str; 6] = ["authorization", "cookie", "forwarded", "via", "x-api-key", "x-real-ip"];
/// The same of all names that begin so.
const FOR_THE_END_BEGINS: [&str; 3] = ["content-", "x-amz", "x-forwarded-"];

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Clients that show a certificate, or look at none: so many are kept.
const OTHERS_MAX: usize = 64;

/// How a server with TLS is met.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Manner {
    /// The certificate that it is shown, and its key; PEM.
    pub(super) shown: Option<(String, String)>,
    /// Whether its own certificate may be of an authority that nobody knows.
    pub(super) is_unverified: bool,
}

/// The way outside. Where the system has no certificates, only what needs none can be asked.
#[derive(Clone)]
pub(super) struct Outside {
    https: Result<Https, String>,
    http: Client<HttpConnector, Full<Bytes>>,
    /// Clients that meet servers in other manners.
    others: Arc<Mutex<HashMap<Manner, Https>>>,
}

fn builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_max_idle_per_host(IDLE_MAX).pool_idle_timeout(IDLE).pool_timer(TokioTimer::new());
    builder
}

impl Outside {
    pub(super) fn new() -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map(|builder| builder.https_only().enable_http1().build())
            .map_err(|error| format!("there are no certificates of authorities: {error}"));
        Self {
            https: connector.map(|connector| builder().build(connector)),
            http: builder().build_http(),
            others: Arc::default(),
        }
    }

    /// The client that meets servers in a manner.
    fn met(&self, manner: &Manner) -> Result<Https, String> {
        if *manner == Manner::default() {
            return self.https.clone();
        }
        // It is whole after every step.
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.get(manner) {
            return Ok(known.clone());
        }
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(outgoing::config(manner)?).https_only().enable_http1();
        let fresh = builder().build(connector.build());
        if others.len() >= OTHERS_MAX {
            others.clear();
        }
        others.insert(manner.clone(), fresh.clone());
        Ok(fresh)
    }

    /// Get a document of at most so many bytes. No redirection is followed.
    pub(super) async fn get(&self, url: &str, most: usize) -> Result<Bytes, String> {
        let wrong = |what: &dyn std::fmt::Display| format!("{url}: {what}");
        let uri: Uri = url.parse().map_err(|error| wrong(&error))?;
        let is_https = uri.scheme_str() == Some("https");
        let request = HttpRequest::builder().uri(uri).header("accept", "application/json").body(Full::default());
        let request = request.map_err(|error| wrong(&error))?;
        let sent = match (&self.https, is_https) {
            (Ok(https), true) => https.request(request).await,
            (Err(text), true) => return Err(wrong(text)),
            (_, false) => self.http.request(request).await,
        };
        let response = sent.map_err(|error| wrong(&whole(&error)))?;
        if response.status() != 200 {
            return Err(wrong(&response.status()));
        }
        let body = Limited::new(response.into_body(), most).collect().await.map_err(|error| wrong(&error))?;
        Ok(body.to_bytes())
    }

    /// Send a request and give its answer. No redirection is followed. One for a host of this gateway's own goes to `home`, where it
    /// listens, whatever the host's name stands for elsewhere.
    pub(super) async fn send(
        &self,
        method: &str,
        (url, home, manner): (&str, Option<SocketAddr>, &Manner),
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        // What a client has put into the path or the query may be secret, and would make each failure a reason of its own.
        let server = url.match_indices('/').nth(2).map_or(url, |(end, _)| &url[..end]);
        let server = server.split(['?', '#']).next().unwrap_or_default();
        let wrong = |what: &dyn std::fmt::Display| format!("{server}: {what}");
        let asked: Uri = url.parse().map_err(|error| wrong(&error))?;
        let uri = match home {
            None => asked.clone(),
            Some(home) => {
                let target = asked.path_and_query().map_or("/", |target| target.as_str());
                format!("http://{home}{target}").parse().map_err(|error| wrong(&error))?
            }
        };
        let is_https = uri.scheme_str() == Some("https");
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| wrong(&error))?;
        let mut builder = HttpRequest::builder().method(method);
        if let Some(authority) = asked.authority() {
            builder = builder.header(HOST, authority.as_str());
        }
        for (name, value) in headers {
            let lower = name.to_ascii_lowercase();
            if !BETWEEN.contains(&&*lower) && lower != "content-length" && is_header(&lower, value) {
                builder = builder.header(&lower, value);
            }
        }
        let sent = builder.uri(uri).body(Full::new(Bytes::from(body))).map_err(|error| wrong(&error))?;
        let answered = if is_https {
            self.met(manner).map_err(|text| wrong(&text))?.request(sent).await
        } else {
            self.http.request(sent).await
        };
        answer_of(answered.map_err(|error| wrong(&whole(&error)))?).await.map_err(|error| wrong(&error))
    }

    /// Hand a request on to the server behind a route, and give its answer. `told_by`: where the route's authoriser has found who asks.
    pub(super) async fn hand_on(
        &self,
        (target, told_by): (&str, &[Source]),
        request: &Request<'_>,
        arrival: &Arrival<'_>,
    ) -> Result<Answer, String> {
        let wrong = |what: &dyn std::fmt::Display| format!("{target}: {what}");
        let uri: Uri = target_url(target, request, arrival).parse().map_err(|error| wrong(&error))?;
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|error| wrong(&error))?;
        let mut builder = HttpRequest::builder().method(method);
        if let Some(authority) = uri.authority() {
            builder = builder.header(HOST, authority.as_str());
        }
        let named: Vec<String> = request
            .values("connection")
            .flat_map(|value| value.split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        for (name, value) in request.headers {
            let is_dropped = || named.iter().any(|one| one == &**name) && !is_for_the_end(name, told_by);
            if !BETWEEN.contains(&&**name) && &**name != "content-length" && !is_dropped() {
                builder = builder.header(&**name, &**value);
            }
        }
        let body = Full::new(Bytes::copy_from_slice(request.body));
        let sent = builder.uri(uri).body(body).map_err(|error| wrong(&error))?;
        let answered = self.http.request(sent).await.map_err(|error| wrong(&whole(&error)))?;
        answer_of(answered).await.map_err(|error| wrong(&error))
    }
}

/// Whether a header is for the server behind, so that no client takes it out by naming it in `Connection`: what the gateway says itself, what
/// authorisers tell callers by, and what says what the body is.
fn is_for_the_end(name: &str, told_by: &[Source]) -> bool {
    FOR_THE_END.contains(&name)
        || FOR_THE_END_BEGINS.iter().any(|begin| name.starts_with(begin))
        || told_by.iter().any(|source| matches!(source, Source::Header(header) if header == name))
}

/// An error with what is behind it: "client error (Connect)" alone does not tell a wrong name from a closed port.
fn whole(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut behind = error.source();
    while let Some(one) = behind {
        told = format!("{told}: {one}");
        behind = one.source();
    }
    told
}

/// What a server answered, without what is between the two of us.
async fn answer_of(answered: hyper::Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let (head, body) = answered.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
    let mut headers = Vec::new();
    for (name, value) in &head.headers {
        let name = name.as_str();
        let value = String::from_utf8_lossy(value.as_bytes());
        if !BETWEEN.contains(&name) && name != "content-length" && is_header(name, &value) {
            headers.push((name.to_owned(), value.into_owned()));
        }
    }
    Ok(Answer { status: head.status.as_u16(), headers, body: body.to_bytes().to_vec() })
}

/// The URL behind a route: variables of the path and of the stage are put in; `$default` hands the whole path on.
fn target_url(target: &str, request: &Request<'_>, arrival: &Arrival<'_>) -> String {
    let parameters: Vec<(String, String)> =
        arrival.parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    // In one pass: what a client has sent names no variable.
    let mut url = uri::filled(target, &parameters, arrival.stage_variables);
    if arrival.route_key == "$default" {
        url = format!("{}{}", url.trim_end_matches('/'), request.path);
    }
    if !request.query.is_empty() {
        url.push('?');
        url.push_str(request.query);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Connection: x-forwarded-for` took out what the gateway itself had said of the client.
    #[test]
    fn a_client_takes_out_its_own_headers_alone() {
        let told_by = [Source::Header("x-tenant".into()), Source::Query("x-field".into())];
        for (name, expected) in [
            ("x-forwarded-for", true),
            ("x-forwarded-proto", true),
            ("authorization", true),
            ("cookie", true),
            ("content-type", true),
            ("x-tenant", true),
            ("x-field", false),
            ("x-hop", false),
        ] {
            assert_eq!(is_for_the_end(name, &told_by), expected, "{name}");
        }
    }
}
