//! The launching thread: starts a thread for each environment that the rules ask for, and at the end waits for all of them.

use std::sync::Arc;
use std::thread::JoinHandle;

use crate::base::error::EngineError;
use crate::dispatch::attempts::Token;
use crate::dispatch::functions::Registration;
use crate::environments::attendant::{attend, tell_end};
use crate::environments::control_group::check_given;
use crate::environments::faults::Fault;
use crate::environments::Launch;
use crate::runtime::engine::{lock, Engine, Shared};
use crate::runtime::hand_out;
use crate::runtime::rooms::Rooms;

impl Engine {
    /// Have the launching thread, from the first function that runs in environments. Refuses one with `memory=` where
    /// `FOREBAY_CGROUP` names what cannot keep it.
    pub(crate) fn prepare_to_launch(&self, registration: &Registration) -> Result<(), EngineError> {
        let Some(environment) = &registration.environment else { return Ok(()) };
        if let Some(bytes) = environment.program.memory_bytes {
            let refused = |why| format!("memory={} of function {:?}: {why}", bytes >> 20, registration.name);
            check_given().map_err(|why| EngineError::Invalid(refused(why)))?;
        }
        let mut launcher = lock(&self.launcher);
        if launcher.is_none() {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name("forebay-launcher".into());
            let failed = |error| EngineError::Closed(format!("no thread can be started: {error}"));
            *launcher = Some(thread.spawn(move || launch_all(&shared)).map_err(failed)?);
        }
        Ok(())
    }

    /// End every environment; what runs in one is interrupted, and runs again after the next start.
    pub(crate) fn end_environments(&self) {
        let Some(launcher) = lock(&self.launcher).take() else { return };
        self.with(|state| {
            state.ctx.draining = true;
            state.environments.stop();
        });
        // The launching thread ends when the last of them has.
        let _ended = launcher.join();
    }
}

impl Engine {
    /// What runs in environments, and which of them start or end: function and request id, empty for those.
    pub fn environments_at_work(&self) -> Vec<(String, String)> {
        self.shared.lock().state.environments().environments_at_work()
    }

    /// Which execution of a workflow an attempt runs for, by its ARN, and which of its states.
    pub fn execution_of(&self, token: Token) -> Option<(String, Option<String>)> {
        hand_out::execution_of(&self.shared.lock().state, token)
    }
}

impl Shared {
    /// Take the lock, act, and wake whoever has something to do then.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Rooms) -> R) -> R {
        let mut inner = self.enter();
        let result = act(&mut inner.state);
        self.leave(inner);
        result
    }

    /// Wait for the next environment that must be started; `None` when none will be.
    fn next_launch(&self) -> Option<Launch> {
        let mut inner = self.wakes.launch(self.lock());
        let pools = &mut inner.state.environments;
        if pools.stopped {
            return None;
        }
        pools.launches.pop_front()
    }
}

/// Start the threads that environments ask for, until all is stopped; then wait for them.
fn launch_all(shared: &Arc<Shared>) {
    let mut attended: Vec<JoinHandle<()>> = Vec::new();
    while let Some(launch) = shared.next_launch() {
        attended.retain(|thread| !thread.is_finished());
        let launch = Arc::new(launch);
        let (shared_there, launched) = (shared.clone(), launch.clone());
        let thread = std::thread::Builder::new().name("forebay-environment".into());
        match thread.spawn(move || attend(&*shared_there, &launched)) {
            Ok(thread) => attended.push(thread),
            Err(error) => tell_end(&**shared, &launch, &Fault::NotStarted(error.to_string()), None, None, false),
        }
    }
    for thread in attended {
        // A panic has been reported where it happened.
        let _ended = thread.join();
    }
}
