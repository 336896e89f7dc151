//! What an error of the server or of the connection to it means.

use std::error::Error as _;

use forebay_store::port::{Outcome, StoreError};
use tokio_postgres::error::{DbError, Error, Severity};

use crate::session::RIGHTS;

/// SQLSTATE of what our functions raise when the writer has lost count.
pub(crate) const MISTAKE: &str = "FB001";
/// SQLSTATE of what they raise when something is missing.
pub(crate) const DAMAGE: &str = "FB002";

/// What the client says where the server wants a password and there is none.
const NO_PASSWORD: &str = "password missing";

/// What became of a statement that ended with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nobody knows: the connection ended before the answer came.
    Unknown,
    /// The server has rolled it back, and may do it another time.
    Later,
    /// That, and this connection is of no more use.
    Elsewhere,
    /// The server has rolled it back for want of room.
    Full,
    /// What is stored is not what was written.
    Damaged,
    /// The user may not do it.
    Forbidden,
    /// It will never be done.
    Never,
}

/// What an error means for the statement that it ended.
pub(crate) fn fate(error: &Error) -> Fate {
    let Some(told) = error.as_db_error() else {
        // Of the errors without a word of the server, these alone are of our own making: nothing was sent.
        let ours = ["error serializing", "error encoding", "expected "];
        let is_ours = ours.iter().any(|begins| error.to_string().starts_with(begins));
        return if is_ours { Fate::Never } else { Fate::Unknown };
    };
    let code = told.code().code();
    // A session that is ended while its commit waits for a standby has committed on this server.
    if matches!(told.parsed_severity(), Some(Severity::Fatal | Severity::Panic)) {
        return Fate::Unknown;
    }
    match code {
        "53100" => Fate::Full,
        // It has become a standby.
        "25006" => Fate::Elsewhere,
        "42501" => Fate::Forbidden,
        DAMAGE | "XX001" | "XX002" => Fate::Damaged,
        // A lock that was not got in time, a statement that took too long or was cancelled.
        "55P03" | "57014" => Fate::Later,
        _ if code.starts_with("08") || code.starts_with("57P") => Fate::Unknown,
        _ if code.starts_with("40") || code.starts_with("53") => Fate::Later,
        _ => Fate::Never,
    }
}

/// How a commit has ended that the server, or the way to it, answered with an error.
pub(crate) fn outcome(error: &Error) -> Result<Outcome, StoreError> {
    let text = say(error);
    match fate(error) {
        Fate::Unknown => Ok(Outcome::Unknown(StoreError::Unknown(text))),
        Fate::Later | Fate::Elsewhere => Ok(Outcome::Unavailable(StoreError::Unavailable(text))),
        Fate::Full => Ok(Outcome::Busy(StoreError::Full(format!("the PostgreSQL server says: {text}")))),
        Fate::Damaged => Err(StoreError::Corrupt(text)),
        Fate::Forbidden => Err(StoreError::Failed(format!("{text}{RIGHTS}"))),
        Fate::Never => Err(StoreError::Failed(text)),
    }
}

/// An error in words: what the server said, or what happened to the connection.
pub(crate) fn say(error: &Error) -> String {
    if let Some(told) = error.as_db_error() {
        return told_by(told);
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if text.ends_with(NO_PASSWORD) {
        text = "the server asks for a password, and the store's URL has none. Next: give it in the URL, or in the variable PGPASSWORD".into();
    }
    text
}

fn told_by(told: &DbError) -> String {
    match told.code().code() {
        MISTAKE | DAMAGE => told.message().into(),
        code => format!("{} (SQLSTATE {code})", told.message()),
    }
}
