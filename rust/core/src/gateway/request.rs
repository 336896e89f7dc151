//! The facts of a request: what was sent, and where it arrived.

use std::borrow::Cow;
use std::sync::Arc;

use base64::prelude::{Engine as _, BASE64_STANDARD};

use crate::gateway::authorizer::Digest;
use crate::gateway::client_cert::ClientCert;
use crate::gateway::wire;

/// A header: its name as it is to be handed on, and its value.
pub type Header<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A request, as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as it was sent, without the query.
    pub path: &'a str,
    /// The query as it was sent, without `?`.
    pub query: &'a str,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: &'a str,
    /// The headers, in their order; a name may stand there more than once.
    pub headers: &'a [Header<'a>],
    /// The client's address.
    pub source_ip: &'a str,
    /// The certificate by which the client has made itself known.
    pub client_cert: Option<&'a ClientCert>,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The values of a header.
    pub fn values(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// The first value of a header; empty where there is none.
    pub fn header(&self, name: &'a str) -> &'a str {
        self.values(name).next().unwrap_or_default()
    }

    /// The body as an event has it, and whether that is base64.
    pub fn event_body(&self) -> (Cow<'a, str>, bool) {
        if wire::is_text(self.header("content-type"), self.header("content-encoding")) {
            if let Ok(text) = std::str::from_utf8(self.body) {
                return (text.into(), false);
            }
        }
        (BASE64_STANDARD.encode(self.body).into(), true)
    }
}

/// Where a request arrived, and as what.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The account of the app.
    pub account: &'a str,
    /// The API's id.
    pub api: &'a str,
    /// The host that was asked for.
    pub domain: &'a str,
    /// The stage.
    pub stage: &'a str,
    /// Its variables.
    pub stage_variables: &'a [(String, String)],
    /// The route's key.
    pub route_key: &'a str,
    /// What the route's variables stand for, as it was sent.
    pub parameters: &'a [(&'a str, &'a str)],
    /// The request's id.
    pub request_id: &'a str,
    /// When it came, wall ms.
    pub time_ms: u64,
    /// What the authoriser found out.
    pub authorized: &'a Authorized,
}

impl Arrival<'_> {
    /// The host's first label.
    pub fn domain_prefix(&self) -> &str {
        self.domain.split('.').next().unwrap_or_default()
    }
}

/// What an authoriser found out about a caller; the texts are JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authorized {
    /// Nobody asked.
    #[default]
    Open,
    /// The claims of a token, and its scopes.
    Jwt {
        /// An object.
        claims: Arc<str>,
        /// A list, or null.
        scopes: String,
    },
    /// The context that a function gave.
    Lambda {
        /// An object or null.
        context: String,
        /// Who it says that the caller is.
        principal: Option<String>,
        /// What it has told the caller by, of a REST API: a function may say of many that they are one.
        known_by: Option<Digest>,
    },
    /// The caller has signed with this access key.
    Iam {
        /// The key's id.
        access_key: String,
    },
}
