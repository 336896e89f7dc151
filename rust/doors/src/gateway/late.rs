//! The gateway's listener of an owner. Whoever takes a store over may find the port still held by another program: it owns the store
//! nevertheless, and listens when the port is free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use forebay_engine::base::error::EngineError;
use forebay_engine::runtime::engine::Engine;

use crate::gateway::{self, start, Where};

/// How long until a port is tried again.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Default)]
enum State {
    #[default]
    Waiting,
    Open(gateway::Open),
    Closed,
}

/// A listener that may come later.
#[derive(Default)]
pub struct LateListener(Arc<Mutex<State>>);

impl LateListener {
    /// Listen now; where the port is held and `waits`, as soon as it is free.
    pub fn open(
        &self,
        engine: &Arc<Engine>,
        (account, region): (&str, &str),
        place: Where,
        waits: bool,
    ) -> Result<(), EngineError> {
        match start(engine, (account, region), &place) {
            Ok(listener) => *lock(&self.0) = State::Open(listener),
            Err(error) if !waits => return Err(error),
            Err(error) => {
                engine.remark_on_api("all", &format!("{error}; it is served as soon as that can be done"));
                let (state, weak) = (Arc::clone(&self.0), Arc::downgrade(engine));
                let (account, region) = (account.to_owned(), region.to_owned());
                let again = move || loop {
                    thread::sleep(AGAIN);
                    let Some(engine) = weak.upgrade() else { return };
                    let mut state = lock(&state);
                    if !matches!(*state, State::Waiting) {
                        return;
                    }
                    if let Ok(listener) = start(&engine, (&account, &region), &place) {
                        *state = State::Open(listener);
                        return;
                    }
                };
                let thread = thread::Builder::new().name("forebay-gateway-waits".into());
                thread
                    .spawn(again)
                    .map_err(|error| EngineError::Closed(format!("no thread can be started: {error}")))?;
            }
        }
        Ok(())
    }

    /// Take no further request. Returns at once.
    pub fn retire(&self) {
        let mut state = lock(&self.0);
        match &mut *state {
            State::Open(open) => open.retire(),
            State::Waiting => *state = State::Closed,
            State::Closed => {}
        }
    }

    /// Wait until answers under way have been sent, and close.
    pub fn close(&self) {
        let state = std::mem::replace(&mut *lock(&self.0), State::Closed);
        if let State::Open(mut open) = state {
            open.retire();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
