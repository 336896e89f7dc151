//! Who owns a store, asked now and then by a process that does not share it.

use std::time::Duration;

use forebay_store::port::StoreError;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::types::Type;

use crate::look::column;
use crate::schema::OWNER;
use crate::session::Session;
use crate::settings::Settings;
use crate::writer::ALL;

/// How long the server is waited for that has let us in. How long that may take is bounded for each connection.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long the connection may take to close.
const CLOSES_WITHIN: Duration = Duration::from_millis(50);

/// A connection that only reads, made when it is needed.
pub struct OwnerWatch {
    settings: Settings,
    runtime: Runtime,
    session: Option<Session>,
}

impl OwnerWatch {
    /// Ask about this store. Nothing is connected yet.
    pub fn new(settings: Settings) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { settings, runtime, session: None })
    }

    /// The name of the process that owns the store, and how long ago its last beat was by the server's clock, ms. `None`: nobody owns it,
    /// and the owner has no row. Waits for the server, for a bounded time.
    pub fn look(&mut self) -> Result<(Option<String>, Option<u64>), StoreError> {
        let Self { settings, runtime, session } = self;
        let unheard = |_| StoreError::Unavailable("the server does not answer".into());
        // What waits is made in the runtime, too.
        let asked = runtime.block_on(async {
            if session.as_ref().is_none_or(Session::is_over) {
                *session = Some(Session::open(settings).await?);
            }
            let Some(session) = session else { return Ok((None, None)) };
            let row =
                timeout(ANSWER_WITHIN, session.typed_one(OWNER, &[(&ALL, Type::INT4)])).await.map_err(unheard)??;
            let Some(row) = row else { return Ok((None, None)) };
            let silent_ms: Option<i64> = column(&row, 1)?;
            Ok((column(&row, 0)?, silent_ms.map(|ms| ms.max(0) as u64)))
        });
        if asked.is_err() {
            self.rest();
        }
        asked
    }

    /// Nothing is to be asked for a while.
    pub fn rest(&mut self) {
        if self.session.take().is_some() {
            // The connection is closed by a task, which does nothing while nobody looks.
            self.runtime.block_on(async { tokio::time::sleep(CLOSES_WITHIN).await });
        }
    }
}
