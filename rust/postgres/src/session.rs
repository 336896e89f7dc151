//! One connection to the server that takes writes.

use std::time::Duration;

use forebay_store::port::StoreError;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

use crate::connect::{connect, reasons};
use crate::errors::{fate, say, Fate};
use crate::schema::sql;
use crate::settings::Settings;

/// How long a server is waited for that says nothing: longer than a statement may take there, so that a slow one is not sent again and
/// again.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(35);
/// How long a server that could not be reached is left alone.
pub(crate) const AGAIN: Duration = Duration::from_millis(100);

/// What to do about a user who may not use the store.
pub(crate) const RIGHTS: &str =
    ". Next: connect as the user who made the store, or give this one that one's rights (GRANT that_user TO this_user)";

/// A connection, and the statements of this store's schema.
pub(crate) struct Session {
    pub(crate) client: Client,
    schema: String,
}

impl Session {
    /// Connect. [`StoreError::Refused`]: the server does not let us in. [`StoreError::Unavailable`]: it cannot be reached.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, StoreError> {
        let client = connect(settings).await.map_err(|failures| {
            let text = reasons(settings, &failures);
            // One that may let us in later is worth being asked again.
            if !failures.is_empty() && failures.iter().all(|one| one.is_refused) {
                StoreError::Refused(text)
            } else {
                StoreError::Unavailable(text)
            }
        })?;
        Ok(Self { client, schema: settings.quoted_schema() })
    }

    /// Prepare a statement of this store.
    pub(crate) async fn prepare(&self, text: &str) -> Result<Statement, StoreError> {
        self.client.prepare(&sql(&self.schema, text)).await.map_err(|error| ended(&error))
    }

    /// Ask with a statement of this store that is not asked often, in one round trip.
    pub(crate) async fn typed(
        &self,
        text: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, StoreError> {
        let text = sql(&self.schema, text);
        answer(self.client.query_typed(&text, parameters)).await
    }

    /// The same, for one row.
    pub(crate) async fn typed_one(
        &self,
        text: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Option<Row>, StoreError> {
        let text = sql(&self.schema, text);
        answer(self.client.query_typed_opt(&text, parameters)).await
    }

    /// Whether nothing can be asked any more.
    pub(crate) fn is_over(&self) -> bool {
        self.client.is_closed()
    }
}

/// What an error is for those who may ask again: [`StoreError::Unavailable`] says that it is worth it.
pub(crate) fn ended(error: &tokio_postgres::Error) -> StoreError {
    match fate(error) {
        Fate::Unknown | Fate::Later | Fate::Elsewhere | Fate::Full => StoreError::Unavailable(say(error)),
        Fate::Damaged => StoreError::Corrupt(say(error)),
        Fate::Forbidden => StoreError::Refused(format!("{}{RIGHTS}", say(error))),
        Fate::Never => StoreError::Failed(say(error)),
    }
}

/// Wait for an answer of the server, for a bounded time.
pub(crate) async fn answer<T>(
    asked: impl std::future::Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    match timeout(ANSWER_WITHIN, asked).await {
        Ok(answered) => answered.map_err(|error| ended(&error)),
        Err(_) => Err(silent()),
    }
}

pub(crate) fn silent() -> StoreError {
    StoreError::Unavailable(format!("the server has not answered for {} s", ANSWER_WITHIN.as_secs()))
}
