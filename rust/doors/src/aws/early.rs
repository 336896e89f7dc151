//! What is refused before its body is read, or before it is known what it is, in the words of the service that it is signed for.

use http::{HeaderMap, HeaderValue};

use crate::aws::bodies::Unread;
use crate::aws::codec::Protocol;
use crate::aws::door;
use crate::aws::fault::Fault;
use crate::aws::ledger::Entry;
use crate::aws::presigned;
use crate::aws::protocol::query::KIND as FORM;
use crate::aws::protocol::rest::Written;
use crate::aws::routing::Asked;
use crate::aws::sigv4::{Given, Refused, Signature};

/// Whether a web page sent a request, as its browser tells: a page can have an image fetched, and leave the origin out.
pub(super) fn is_of_page(headers: &HeaderMap) -> bool {
    // Everything else is a page's, and none is served here.
    let of_others = |value: &HeaderValue| value.as_bytes() != b"none";
    let is_page = |value: &HeaderValue| {
        let begin: Vec<u8> = value.as_bytes().iter().take(8).map(u8::to_ascii_lowercase).collect();
        begin.starts_with(b"http://") || begin.starts_with(b"https://")
    };
    headers.contains_key(http::header::ORIGIN)
        || headers.get_all("sec-fetch-site").iter().any(of_others)
        || headers.get_all(http::header::REFERER).iter().any(is_page)
}

/// A refusal of what has not been read, in the words of the service that the signature names: its client reads no others.
pub(super) fn refused(
    unread: Unread,
    given: Given<'_>,
    signature: Option<&Signature>,
    entry: &mut Entry<'_>,
) -> Written {
    let (status, name, why) = unread;
    let Some(signature) = signature else {
        entry.error = Some((name.to_owned(), why.to_owned()));
        return plain(unread);
    };
    let (query, headers) = presigned::told(Some(signature), given);
    let asked = Asked {
        method: given.method,
        path: given.path,
        query: &query,
        headers: &headers,
        signed_for: Some(&signature.service),
        form: None,
    };
    let (protocol, model, operation) = match asked.route() {
        Ok(routed) => (routed.protocol, routed.model, routed.operation.name),
        Err(unrouted) => (unrouted.protocol, unrouted.model, unrouted.operation),
    };
    let kind = given.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let protocol = if kind.starts_with(FORM) && !model.is_rest_xml { Protocol::Query } else { protocol };
    entry.operation = (model.signing_name, operation);
    let fault = Fault::new(name, why).status(status);
    let fault = match name {
        "AccessDeniedException" => fault.code("AccessDenied"),
        "RequestEntityTooLarge" if model.is_rest_xml => fault.code("EntityTooLarge"),
        _ => fault,
    };
    // Whoever speaks JSON is told the status as well: proxies and people read it.
    Written { status, ..door::refused((protocol, model), &fault, entry) }
}

/// A refusal in AWS's words; S3 has its own for a key that nobody made.
pub(super) fn refusal(refused: &Refused, service: &str) -> Fault {
    let incomplete = |text: &str| Fault::new("IncompleteSignatureException", text).code("IncompleteSignature");
    let wrong = |text: &str| Fault::new("InvalidSignatureException", text).code("SignatureDoesNotMatch").status(403);
    match refused {
        Refused::Missing => Fault::new("MissingAuthenticationTokenException", "Missing Authentication Token")
            .code("MissingAuthenticationToken")
            .status(403),
        Refused::Incomplete(text) => incomplete(text),
        Refused::Unsupported(text) => incomplete(text),
        Refused::Both => wrong("a request is signed in its header or in its query string, not in both"),
        Refused::UnknownKey if service == "s3" => {
            let text = "The AWS Access Key Id you provided does not exist in our records.";
            Fault::new("InvalidAccessKeyId", text).status(403)
        }
        Refused::UnknownKey => {
            Fault::new("UnrecognizedClientException", "The security token included in the request is invalid.")
                .code("InvalidClientTokenId")
                .status(403)
        }
        Refused::Wrong => wrong(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        ),
        Refused::Expired(text) => wrong(text),
    }
}

/// A refusal of a key that is right, with a token: there are none here. Whoever is told of the key looks at the key.
pub(super) fn of_token(service: &str) -> Fault {
    let text = "there are no session tokens here: unset AWS_SESSION_TOKEN, and leave the token out of the client's credentials";
    let name = if service == "s3" { "InvalidToken" } else { "UnrecognizedClientException" };
    let fault = Fault::new(name, text);
    if service == "s3" {
        return fault;
    }
    fault.code("InvalidClientTokenId").status(403)
}

/// Why a request was not let in, as a metric names it.
pub(super) fn reason(refused: &Refused) -> &'static str {
    match refused {
        Refused::Missing => "unsigned",
        Refused::Incomplete(_) | Refused::Unsupported(_) | Refused::Both => "malformed",
        Refused::UnknownKey => "unknown_key",
        Refused::Wrong => "wrong_signature",
        Refused::Expired(_) => "wrong_time",
    }
}

/// What is said to what says of nothing what it is, as AWS has it.
pub(super) const NOTHING: &str = "Unable to determine service/operation name to be authorized";
pub(super) fn nothing() -> Written {
    let text = format!("<AccessDeniedException>\n  <Message>{NOTHING}</Message>\n</AccessDeniedException>\n");
    Written { status: 403, headers: vec![("content-type".into(), "application/xml".into())], body: text.into() }
}

/// A refusal of what nobody signed: in whose words it would be said is not known.
fn plain((status, name, why): Unread) -> Written {
    let body = serde_json::json!({"__type": name, "message": why}).to_string().into_bytes();
    let headers = vec![("content-type".into(), "application/json".into()), ("x-amzn-errortype".into(), name.into())];
    Written { status, headers, body }
}
