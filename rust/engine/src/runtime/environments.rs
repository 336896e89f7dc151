//! What environments and dispatch are to each other: work goes to idle environments, what they answer is settled.

use crate::base::ids::uuid_text;
use crate::base::time::machine_ms;
use crate::dispatch::attempts::Settled;
use crate::dispatch::attempts::Token;
use crate::dispatch::attempts::{self, HandlerId};
use crate::dispatch::job::Handed;
use crate::environments::faults::Fault;
use crate::environments::mailbox::Invocation;
use crate::environments::mailbox::Mailbox;
use crate::environments::mailbox::ProcessCommand;
use crate::environments::tails::Tails;
use crate::environments::Ended;
use crate::environments::EnvironmentEvents;
use crate::environments::Key;
use crate::metrics::exports::Told;
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::engine::Shared;
use crate::runtime::rooms::Rooms;
use crate::runtime::{hand_out, permits, settle};
use crate::store::port::StoreError;
use serde_json::json;
use std::io::Write;
use std::sync::Arc;

/// Give permits to what waits for them, hand waiting work to idle environments, and ask for more of them where it still waits.
/// `own` looks for commands itself.
pub(crate) fn feed_environments(rooms: &mut Rooms, own: Option<Key>) {
    permits::give_permits(rooms);
    rooms.runners().feed();
    if rooms.ctx.is_paused() || !rooms.ctx.started {
        return;
    }
    let mut commands: Vec<(Arc<Mailbox>, Invocation, bool)> = Vec::new();
    for handler in rooms.dispatch.process_lines.in_turn() {
        while let Some((id, token)) = rooms.environments().match_one(handler) {
            let Some(invocation) = invocation(rooms, token) else { continue };
            if let Some(mailbox) = rooms.environments().give((handler, id), token) {
                commands.push((mailbox, invocation, own != Some((handler, id))));
            }
        }
        rooms.environments().ask_for_more(handler);
    }
    // Even where nothing was handed out: this clears what has ended, and a start tells of what is left in flight.
    if !attempts_are_counted(rooms) {
        return;
    }
    for (mailbox, invocation, ring) in commands {
        mailbox.put(ProcessCommand::Work(invocation), ring);
    }
}

/// Count on disk what was handed out, and clear what has ended; false: nothing that was handed out may run, and the store has failed.
pub(crate) fn attempts_are_counted(rooms: &mut Rooms) -> bool {
    let counted = attempts::count_attempts(&mut rooms.dispatch);
    if let Err(error) = &counted {
        rooms.ctx.fail(StoreError::Failed(error.to_string()));
    }
    counted.is_ok()
}

fn invocation(rooms: &mut Rooms, token: Token) -> Option<Invocation> {
    let (work, Handed { reads, reports, .. }) = hand_out::hand_out(rooms, token)?;
    Some(Invocation { work, reads, reports })
}

fn environment_exited(rooms: &mut Rooms, key: Key, fault: &Fault, lost: Option<Settled>) {
    match rooms.environments().exited(key, fault, lost.as_ref().map(|lost| lost.token)) {
        Ended::Lost(token) => fail_attempt(rooms, token, fault),
        Ended::NeverStarted => fail_first(rooms, key.0, fault),
        Ended::Idle => {}
    }
    if let Some(lost) = lost {
        settle::settle(rooms, lost);
    }
    rooms.environments().tend(key.0);
    feed_environments(rooms, None);
}

/// What waited longest for an environment that could not start has failed: it is what Lambda's invocation gets.
fn fail_first(rooms: &mut Rooms, handler: HandlerId, fault: &Fault) {
    let Some(token) = rooms.dispatch.process_lines.remove(handler, 0) else { return };
    if matches!(fault, Fault::Stopped) || hand_out::hand_out(rooms, token).is_none() {
        return;
    }
    if attempts_are_counted(rooms) {
        fail_attempt(rooms, token, fault);
    }
}

pub(crate) fn fail_attempt(rooms: &mut Rooms, token: Token, fault: &Fault) {
    let Some(request) = rooms.dispatch.attempts.get_mut(token).map(|attempt| attempt.request) else { return };
    settle::settle(rooms, Settled { token, status: fault.status(), body: fault.body(request), duration_ns: 0 });
}

impl EnvironmentEvents for Shared {
    fn initialized(&self, key: Key, took_ns: u64) {
        self.with(|rooms| {
            rooms.environments().environment_initialized(key, took_ns);
            feed_environments(rooms, Some(key));
        });
    }

    fn measured(&self, told: Told) -> Result<(), String> {
        self.with(|rooms| rooms.environments().environment_measured(told))
    }

    fn answered(&self, key: Key, settled: Settled, goes_on: bool) {
        self.with(|rooms| {
            rooms.environments().answered(key, settled.token, goes_on);
            settle::settle(rooms, settled);
            rooms.environments().tend(key.0);
            feed_environments(rooms, Some(key));
        });
    }

    fn notice(&self, what: OperatorEvent, function: &str, request: Option<u128>, text: &str) {
        let taken = self.with(|rooms| {
            let taken = !rooms.environments.stopped;
            if taken {
                let request = request.map(uuid_text);
                rooms.ctx.notice(what, function, json!({"request": request, "text": text}));
            }
            taken
        });
        if !taken {
            // The engine ends: nobody takes notices any more.
            let _unread = writeln!(std::io::stderr().lock(), "function {function}: {text}");
        }
    }

    fn exited(&self, key: Key, fault: &Fault, lost: Option<Settled>) {
        self.with(|rooms| environment_exited(rooms, key, fault, lost));
    }

    fn tails(&self) -> &Tails {
        &self.tails
    }

    fn on_the_machines_clock(&self, wall_ms: u64) -> u64 {
        if !self.manual {
            return self.lease.on_machine(wall_ms);
        }
        let ahead_ms = wall_ms.saturating_sub(self.lock().state.ctx.now.wall_ms);
        machine_ms() + ahead_ms
    }
}
