//! What is refused before its body is read, or before it is known what it is, in the words of the service that it is signed for.

use http::{HeaderMap, HeaderValue};

use crate::aws::bodies::Unread;
use crate::aws::codec::Protocol;
use crate::aws::door;
use crate::aws::fault::Fault;
use crate::aws::ledger::Entry;
use crate::aws::model::TimeFormat;
use crate::aws::presigned;
use crate::aws::protocol::query::KIND as FORM;
use crate::aws::protocol::rest::Written;
use crate::aws::protocol::time;
use crate::aws::routing::Asked;
use crate::aws::sigv4::{Given, Refused};

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
pub(super) fn refused(unread: Unread, given: Given<'_>, service: Option<&str>, entry: &mut Entry<'_>) -> Written {
    let (status, name, why) = unread;
    let Some(service) = service else {
        entry.error = Some((name.to_owned(), why.to_owned()));
        return plain(unread);
    };
    let (query, headers) = presigned::told(Some(service), given);
    let asked = Asked {
        method: given.method,
        path: given.path,
        query: &query,
        headers: &headers,
        signed_for: Some(service),
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

/// A form by which a browser puts an object into S3: the signature is in the body.
pub(super) fn is_form(given: Given<'_>, signature: Option<&Refused>) -> bool {
    let kind = given.headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    given.method == "POST" && signature == Some(&Refused::Missing) && kind.starts_with(b"multipart/form-data")
}

/// What is said of such a form.
pub(super) const FORM_OF_S3: Unread = (
    501,
    "NotImplemented",
    "forms of POST (generate_presigned_post) are not served: presign a PUT instead (generate_presigned_url)",
);

/// What S3 says in words of its own.
fn refusal_of_s3(refused: &Refused) -> Option<Fault> {
    let denied = |text: &str| Fault::new("AccessDenied", text).status(403);
    let moment = |ms: i64| time::write(ms - ms.rem_euclid(1000), TimeFormat::Iso);
    Some(match refused {
        Refused::InUrl(text) => Fault::new("AuthorizationQueryParametersError", text),
        Refused::Unsupported(text) => Fault::new("InvalidRequest", *text),
        Refused::UnknownKey => {
            let text = "The AWS Access Key Id you provided does not exist in our records.";
            Fault::new("InvalidAccessKeyId", text).status(403)
        }
        Refused::Over(over) => denied("Request has expired")
            .with("X-Amz-Expires", over.seconds.to_string())
            .with("Expires", moment(over.until_ms))
            .with("ServerTime", moment(over.now_ms)),
        Refused::NotSigned(headers) => denied("There were headers present in the request which were not signed")
            .with("HeadersNotSigned", headers.as_str()),
        _ => return None,
    })
}

/// A refusal in AWS's words.
pub(super) fn refusal(refused: &Refused, service: &str) -> Fault {
    let incomplete = |text: &str| Fault::new("IncompleteSignatureException", text).code("IncompleteSignature");
    let wrong = |text: &str| Fault::new("InvalidSignatureException", text).code("SignatureDoesNotMatch").status(403);
    if let Some(fault) = refusal_of_s3(refused).filter(|_| service == "s3") {
        return fault;
    }
    match refused {
        Refused::Missing => Fault::new("MissingAuthenticationTokenException", "Missing Authentication Token")
            .code("MissingAuthenticationToken")
            .status(403),
        Refused::Incomplete(text) | Refused::InUrl(text) => incomplete(text),
        Refused::NotSigned(headers) => incomplete(&Refused::of_unsigned(headers)),
        Refused::Unsupported(text) => incomplete(text),
        Refused::Both => wrong("a request is signed in its header or in its query string, not in both"),
        Refused::UnknownKey => {
            Fault::new("UnrecognizedClientException", "The security token included in the request is invalid.")
                .code("InvalidClientTokenId")
                .status(403)
        }
        Refused::Wrong => wrong(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        ),
        Refused::Expired(text) => wrong(text),
        Refused::Over(over) => wrong(&over.text),
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
        Refused::Incomplete(_)
        | Refused::InUrl(_)
        | Refused::NotSigned(_)
        | Refused::Unsupported(_)
        | Refused::Both => "malformed",
        Refused::UnknownKey => "unknown_key",
        Refused::Wrong => "wrong_signature",
        Refused::Expired(_) | Refused::Over(_) => "wrong_time",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::sigv4::Over;

    /// A URL of S3 that was over was refused as any other service's: programs that look for S3's code made no new one.
    #[test]
    fn s3_alone_has_words_of_its_own_for_a_url_that_is_over() {
        let over =
            Refused::Over(Over { text: "Signature expired: …".into(), seconds: 60, until_ms: 1_500, now_ms: 3_999 });
        let of_s3 = refusal(&over, "s3");
        assert_eq!((of_s3.name.as_str(), of_s3.code, of_s3.status), ("AccessDenied", None, 403));
        let told = ["X-Amz-Expires", "Expires", "ServerTime"].map(|name| of_s3.members.text(name).map(str::to_owned));
        let wanted = ["60", "1970-01-01T00:00:01Z", "1970-01-01T00:00:03Z"];
        assert_eq!(told, wanted.map(|text| Some(text.to_owned())));
        let other = refusal(&over, "sts");
        assert_eq!((other.code, other.message.as_str()), (Some("SignatureDoesNotMatch"), "Signature expired: …"));
        let unsigned = refusal(&Refused::NotSigned("x-amz-a, x-amz-b".into()), "sts");
        assert_eq!(unsigned.message, "'x-amz-a' must be a 'SignedHeader' in the AWS Authorization.");
        assert_eq!(unsigned.code, Some("IncompleteSignature"));
    }
}
