//! Answers, as they are sent.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::prelude::{Engine as _, BASE64_URL_SAFE};
use forebay_core::gateway::answer::Answer;
use hyper::header::{HeaderName, HeaderValue, CONNECTION};
use hyper::{Response, StatusCode};

use crate::http::listener::{whole, Body};

/// Makes ids of requests and connections: sixteen characters, as AWS has them.
#[derive(Debug, Default)]
pub(super) struct Ids {
    random: RandomState,
    count: AtomicU64,
}

impl Ids {
    pub(super) fn next(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 11];
        bytes[..8].copy_from_slice(&self.random.hash_one((count, 0)).to_le_bytes());
        bytes[8..].copy_from_slice(&self.random.hash_one((count, 1)).to_le_bytes()[..3]);
        // It begins with a letter: no command takes it for an option.
        bytes[0] &= 0x7f;
        BASE64_URL_SAFE.encode(bytes)
    }
}

/// An answer as hyper wants it.
pub(super) fn response(answer: Answer) -> Response<Body> {
    let mut response = Response::new(whole(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &answer.headers {
        // The core lets through what can be sent, and nothing else.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// The answer to what is not a request: the connection ends behind it.
pub(super) fn refusal(status: u16, text: &str) -> Response<Body> {
    let mut response = response(Answer::message(status, text));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_has_sixteen_characters_of_which_the_first_is_a_letter() {
        let ids = Ids::default();
        let made: HashSet<String> = (0..1_000).map(|_| ids.next()).collect();
        assert_eq!(made.len(), 1_000);
        assert!(made.iter().all(|id| id.len() == 16 && id.ends_with('=')));
        assert!(made.iter().all(|id| id.starts_with(|first: char| first.is_ascii_alphabetic())), "{made:?}");
    }
}
