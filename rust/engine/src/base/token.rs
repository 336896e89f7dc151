//! The word by which somebody from another machine is let in.

use std::fmt;

use forebay_core::secret::is_same;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// A bearer token. Only its digest is kept, so neither a log nor a memory dump has the word itself.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct Token([u8; 32]);

impl Token {
    /// Whether an `Authorization` header names it: `Bearer <token>`. It takes the same time for every wrong word.
    pub fn admits(&self, authorization: &str) -> bool {
        let Some((scheme, given)) = authorization.split_once(' ') else { return false };
        let Self(digest) = Self::from(given.trim().to_owned());
        scheme.eq_ignore_ascii_case("bearer") && is_same(&self.0, &digest)
    }
}

impl From<String> for Token {
    fn from(word: String) -> Self {
        Self(Sha256::digest(word.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}
