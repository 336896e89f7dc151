//! Who asks, as far as a request's head and its connection tell.

use std::sync::Arc;

use crate::aws::keys::Key;
use crate::aws::sigv4::{self, Given, Refused, Signature};

/// Who asks.
pub(super) struct Asker {
    pub(super) signature: Result<Signature, Refused>,
    /// For which service a signature that is refused says that it is.
    refused_for: Option<String>,
    /// The key by whose secret the head is right.
    pub(super) verified: Option<Arc<Key>>,
    /// Only the beginning of the body was kept: nobody is let in by that.
    pub(super) is_cut: bool,
    /// Another user of this machine has opened the connection, and there were no keys.
    pub(super) is_stranger: bool,
}

impl Asker {
    /// Who has signed a request.
    pub(super) fn of(given: Given<'_>, is_stranger: bool) -> Self {
        let signature = sigv4::read(given);
        let refused_for = signature.is_err().then(|| sigv4::service_of(given)).flatten();
        Self { signature, refused_for, verified: None, is_cut: false, is_stranger }
    }

    /// For which service the request says that it is signed.
    pub(super) fn service(&self) -> Option<&str> {
        self.signature.as_ref().map_or(self.refused_for.as_deref(), |signature| Some(&signature.service))
    }
}
