//! The connection of a member's questions. It is made beside the questions: a question has little time, and a connection to a server that
//! is far, or behind a host that says nothing, takes more.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use forebay_store::port::StoreError;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_postgres::Statement;

use crate::schema::{ASK, BEAT, CLAIM_UNIT};
use crate::session::Session;
use crate::settings::Settings;

/// How long a server that has let us in may take to know our statements.
const PREPARED_WITHIN: Duration = Duration::from_secs(5);

/// A connection, and the statements that are sent again and again.
pub(crate) struct Asking {
    pub(crate) session: Session,
    pub(crate) ask: Statement,
    pub(crate) beat: Statement,
    pub(crate) take: Statement,
}

impl Asking {
    async fn over(settings: &Settings) -> Result<Self, StoreError> {
        let session = Session::open(settings).await?;
        let all = async { tokio::try_join!(session.prepare(ASK), session.prepare(BEAT), session.prepare(CLAIM_UNIT)) };
        let (ask, beat, take) = timeout(PREPARED_WITHIN, all).await.map_err(|_| silent())??;
        Ok(Self { session, ask, beat, take })
    }
}

/// The connection, made anew when it was lost.
pub(crate) struct Link {
    settings: Settings,
    line: RefCell<Line>,
    /// A connection was made, or could not be.
    changed: Notify,
}

#[derive(Default)]
struct Line {
    asking: Option<Rc<Asking>>,
    /// One is being made.
    connects: bool,
    /// Why the last one could not be made.
    failed: Option<StoreError>,
}

impl Link {
    pub(crate) fn new(settings: Settings) -> Rc<Self> {
        Rc::new(Self { settings, line: RefCell::default(), changed: Notify::new() })
    }

    /// Ask by the connection, for a bounded time. One that fails, or does not answer in time, is given up. One that is being made is not: a
    /// later question has it.
    pub(crate) async fn within<T>(
        self: &Rc<Self>,
        wait: Duration,
        asked: impl AsyncFnOnce(&Asking) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut used = None;
        let answered = timeout(wait, async {
            let asking = used.insert(self.asking().await?);
            asked(asking).await
        });
        let answered = answered.await.unwrap_or_else(|_| Err(self.why()));
        if let (Some(used), true) = (used, answered.is_err()) {
            self.line.borrow_mut().asking.take_if(|asking| Rc::ptr_eq(asking, &used));
        }
        answered
    }

    /// The connection, as soon as there is one.
    async fn asking(self: &Rc<Self>) -> Result<Rc<Asking>, StoreError> {
        loop {
            let changed = self.changed.notified();
            let begins = {
                let mut line = self.line.borrow_mut();
                line.asking.take_if(|asking| asking.session.is_over());
                if let Some(asking) = &line.asking {
                    return Ok(asking.clone());
                }
                !std::mem::replace(&mut line.connects, true)
            };
            if begins {
                tokio::task::spawn_local(self.clone().connect());
            }
            changed.await;
            let line = self.line.borrow();
            if let (None, Some(error)) = (&line.asking, &line.failed) {
                return Err(error.clone());
            }
        }
    }

    async fn connect(self: Rc<Self>) {
        let made = Asking::over(&self.settings).await;
        let mut line = self.line.borrow_mut();
        line.connects = false;
        match made {
            Ok(asking) => (line.asking, line.failed) = (Some(Rc::new(asking)), None),
            Err(error) => line.failed = Some(error),
        }
        drop(line);
        self.changed.notify_waiters();
    }

    /// Why there is no answer in time.
    fn why(&self) -> StoreError {
        let line = self.line.borrow();
        line.failed.clone().unwrap_or_else(|| {
            if line.connects {
                StoreError::Unavailable(format!("{}: no connection yet", self.settings.place()))
            } else {
                silent()
            }
        })
    }
}

fn silent() -> StoreError {
    StoreError::Unavailable("the server does not answer".into())
}
