//! Fencing tokens that go on where another store has ended.

use std::sync::Arc;

use forebay_store::port::StoreError;

use crate::look::blocking;
use crate::schema::{sql, RAISE_EPOCH};
use crate::session::{answer, Session};
use crate::settings::Settings;
use crate::writer::{Writer, ALL};

/// Have whoever takes the store next get a fencing token above this one. Makes the store where there is none. A store that somebody owns is
/// left alone. Waits for the server, and has the errors of [`PostgresStore::open`](crate::PostgresStore::open).
pub fn fence_above(settings: &Settings, token: u64) -> Result<(), StoreError> {
    let token = i64::try_from(token).map_err(|_| StoreError::Corrupt(format!("{token} is no fencing token")))?;
    blocking(async {
        drop(Writer::open(settings.clone(), Arc::default()).await?);
        let session = Session::open(settings).await?;
        let text = sql(&settings.quoted_schema(), RAISE_EPOCH);
        answer(session.client.execute(&text, &[&ALL, &token])).await?;
        Ok(())
    })
}
