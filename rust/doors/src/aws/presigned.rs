//! URLs that are presigned for S3: what their query string says in place of headers.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::aws::protocol::rest::{self, Pairs};
use crate::aws::sigv4::{self, Given};

/// The words of the signature itself.
const OF_SIGNATURE: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];
/// SDKs compute checksums when they make a URL, of a body that they do not have. S3 compares none of them.
const OF_NO_BODY: [&str; 2] = ["x-amz-checksum-", "x-amz-sdk-checksum-"];

/// The query string and the headers of a request, as it is read; the service is that for which it says that it is signed. A query string
/// that is not UTF-8 says nothing: whoever carries something out refuses it.
pub(super) fn told<'g>(signed_for: Option<&str>, given: Given<'g>) -> (Pairs, Cow<'g, HeaderMap>) {
    let query = rest::pairs(given.query).unwrap_or_default();
    if signed_for == Some("s3") && sigv4::is_presigned(given.query) {
        let (query, headers) = moved(query, given.headers);
        return (query, Cow::Owned(headers));
    }
    (query, Cow::Borrowed(given.headers))
}

/// Take what a URL says in place of headers for headers, as S3 does, and leave the rest of the query string. What a header says otherwise, or
/// what the URL says twice, stays in the query string, where nobody knows it.
fn moved(query: Pairs, headers: &HeaderMap) -> (Pairs, HeaderMap) {
    let (mut left, mut all) = (Pairs::new(), headers.clone());
    for (name, value) in query {
        let header = name.to_ascii_lowercase();
        if OF_SIGNATURE.contains(&header.as_str()) || OF_NO_BODY.iter().any(|begin| header.starts_with(begin)) {
            continue;
        }
        let read = Some(header).filter(|header| header.starts_with("x-amz-"));
        // What is not ASCII would be dropped: no member of an operation is read of it.
        let read = read.filter(|_| value.is_ascii());
        let read =
            read.and_then(|header| Some((HeaderName::try_from(header).ok()?, HeaderValue::try_from(&value).ok()?)));
        match read {
            Some((header, value)) if all.get(&header).is_none_or(|known| *known == value) => {
                all.insert(header, value);
            }
            _ => left.push((name, value)),
        }
    }
    (left, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says_in_place_of_headers_is_one_and_what_is_said_otherwise_is_not() {
        let pairs = |text: &[(&str, &str)]| -> Pairs {
            text.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-acl", HeaderValue::from_static("private"));
        let query = pairs(&[
            ("X-Amz-Signature", "00"),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("X-Amz-Meta-Owner", "a"),
            ("x-amz-acl", "public-read"),
            ("x-amz-copy-source", "b/k"),
            ("x-amz-copy-source", "b/other"),
            ("x-amz-tagging", "a\nb"),
            ("x-amz-meta-town", "Zürich"),
            ("x-id", "PutObject"),
        ]);
        let (left, all) = moved(query, &headers);
        let others = [
            ("x-amz-acl", "public-read"),
            ("x-amz-copy-source", "b/other"),
            ("x-amz-tagging", "a\nb"),
            ("x-amz-meta-town", "Zürich"),
            ("x-id", "PutObject"),
        ];
        assert_eq!(left, pairs(&others));
        let told: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(told, [("x-amz-acl", "private"), ("x-amz-meta-owner", "a"), ("x-amz-copy-source", "b/k")]);
    }
}
