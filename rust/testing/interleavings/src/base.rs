//! The engine's `base`, as far as these structures know it.

pub(crate) use crate::sync;

/// The engine's `error`.
pub(crate) mod error {
    #[derive(Debug)]
    pub(crate) enum EngineError {
        OwnerLeft,
        TooMany { message: String, reason: String, retry_after_ms: u64 },
    }
}
