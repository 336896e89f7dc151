//! Why a store did not do what was asked, in words for people.

use serde::{Deserialize, Serialize};

/// Why a store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StoreError {
    /// No room: nothing of the commit was written; reads and deletions still work.
    #[error(
        "the disk under the store is full: {0}; make room on it, or keep less (`forebay stream alter`), and ask again"
    )]
    Full(String),
    /// A write or fsync failed: the store takes no further write, since what reached the disk is unknown.
    #[error("the store failed and takes no further write: {0}")]
    Failed(String),
    /// Bytes are not what was written. Says which row or chunk.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// Written by a newer forebay.
    #[error(
        "the store has format {found}, this forebay reads up to {known}: use the newer forebay that wrote it, or go the way back that \
         its docs/guides/upgrade.md tells; if none wrote it, its header is damaged"
    )]
    NewerFormat {
        /// Format on disk.
        found: u32,
        /// Newest format understood.
        known: u32,
    },
    /// What was asked for makes no sense for what is in that directory; nothing was touched.
    #[error("{0}")]
    Refused(String),
    /// Another process owns the directory, or has the store's file locked. Nothing was written.
    #[error("{0}")]
    Locked(String),
    /// The store is on another machine, which does not answer. What was asked for is tried again.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// Another process has taken the store, or may take it soon. Nothing was written, and this process hands out nothing more.
    #[error("{0}")]
    Lost(String),
    /// The store has not answered whether it wrote a commit, and is not asked again. All of it may be there, or nothing.
    #[error("nobody knows whether the store has written it: {0}; look for it in the store before you send it again")]
    Unknown(String),
    /// Its directory cannot be made, locked or reached. Nothing was touched.
    #[error("the store cannot be opened: {0}")]
    Unreachable(String),
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull => Self::Full(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}
