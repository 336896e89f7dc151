//! Carries out what a function's event queue commands, and tells it what came of it.

use crate::sources::invocation::participant::EventJob;
use crate::sources::invocation::participant::{QUEUE_TIMER, ROOM};
use forebay_core::concurrency::Lease;
use forebay_core::invocation::protocol::{Command, Key, Life, Outcome};

use crate::base::timers::Timer;
use crate::dispatch::attempts::{self, Attempt, HandlerId};
use crate::dispatch::permits;
use crate::observe::history::RequestEvent;
use crate::payload::event::{parse_key, row_key, Event};
use crate::sources::invocation::ends;
use crate::sources::invocation::EventQueues;
use crate::sources::invocation::InvocationRoom;
use crate::sources::invocation::AT_HAND_MAX;
use crate::store::port::{StoreError, Table};

/// Rows that are read at once; and how many bytes of them may be read for one look into the store.
const ROWS: usize = 64;
const FOUND_MAX: usize = 1_024;
const FOUND_BYTES_MAX: usize = 4 << 20;

/// Do everything that a function's events can do now.
pub(crate) fn pump_events(room: &mut InvocationRoom<'_>, id: u64) {
    loop {
        let now = room.ctx.now;
        let runs = room.ctx.started && !room.ctx.draining && room.ctx.commit.failed.is_none();
        let Some(events) = room.events.queues.get_mut(&id) else { return };
        if runs {
            // Also where the function has gone from the code: its events run no more, but their age ends them.
            events.machine.due(&now);
        }
        let mut has_moved = false;
        while let Some(command) = room.events.queues.get_mut(&id).and_then(|events| events.machine.poll()) {
            has_moved = true;
            if let Err(error) = carry_out_event(room, id, command) {
                return room.ctx.fail(error);
            }
        }
        if has_moved {
            continue;
        }
        let Some(events) = room.events.queues.get_mut(&id) else { return };
        if !runs {
            return;
        }
        if let Some(due_ns) = events.machine.next_due(&now) {
            room.ctx.timers.arm(&mut events.armed, due_ns, Timer { room: ROOM, kind: QUEUE_TIMER, id });
        }
        if let Some(handler) = events.handler.filter(|_| events.machine.is_ready(&now)) {
            permits::queue_source(&mut room.dispatch(), handler, ROOM, id);
        }
        return;
    }
}

/// There is a place for the next event of a function. Gives it back if there is none to run.
pub(crate) fn start_event(room: &mut InvocationRoom<'_>, id: u64, place: Lease) -> Option<Lease> {
    room.events.place = Some(place);
    while room.events.place.is_some() && room.ctx.started && room.ctx.commit.failed.is_none() {
        let now = room.ctx.now;
        let Some(events) = room.events.queues.get_mut(&id) else { break };
        if events.handler.is_none() || !events.machine.start(&now) {
            break;
        }
        pump_events(room, id);
    }
    room.events.place.take()
}

/// The timer of a function's events rang.
pub(crate) fn events_due(room: &mut InvocationRoom<'_>, id: u64) {
    if let Some(events) = room.events.queues.get_mut(&id) {
        events.armed = None;
    }
    pump_events(room, id);
}

fn carry_out_event(room: &mut InvocationRoom<'_>, id: u64, command: Command) -> Result<(), StoreError> {
    match command {
        Command::Run { key, attempt, alone, interruptions } => {
            let Some(event) = event(room, id, key)? else { return Err(missing(id, key)) };
            let Some(handler) = room.events.queues.get(&id).and_then(|events| events.handler) else {
                return Ok(());
            };
            run_event(room, handler, EventJob { queue: id, key, event, interruptions }, (attempt, alone));
        }
        Command::Retry { key, to, life } => {
            let Some(mut event) = event(room, id, key)? else { return Err(missing(id, key)) };
            event.life = life;
            room.ctx.commit.pending.remove(Table::Event, row_key(id, key));
            room.ctx.commit.pending.set(Table::Event, row_key(id, to), event.encode());
            room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
            let due_ms = room.events.queues.get(&id).map_or(to.due_ms, |events| events.due_ms(to, &room.ctx.now));
            let what = RequestEvent::Retry { queue: id, status: event.status, due_ms };
            room.ctx.observe.history.note(room.ctx.now.wall_ms, event.request, what);
            room.events.keep_at_hand_event(id, to, event);
        }
        Command::End { key, life, condition } => {
            let Some(mut event) = event(room, id, key)? else { return Err(missing(id, key)) };
            event.life = life;
            release_suspect(room, id, key);
            ends::end_event(room, id, key, &event, condition);
        }
        Command::Find { after } => find_events(room, id, after)?,
    }
    Ok(())
}

fn run_event(room: &mut InvocationRoom<'_>, handler: HandlerId, job: EventJob, (attempt, alone): (u32, bool)) {
    let (request, hops) = (job.event.request, job.event.life.hops);
    let mut one = Attempt::new(handler, job, attempt);
    one.request = request;
    room.dispatch.hops_running.insert(request, hops);
    if !alone {
        one.lease = room.events.place.take();
    }
    attempts::ready(&mut room.dispatch(), one, alone);
}

/// What was suspected of a crash has a handler of its own now, or is over.
pub(crate) fn release_suspect(room: &mut InvocationRoom<'_>, id: u64, key: Key) {
    if let Some(slot) = room.events.queues.get_mut(&id).and_then(|events| events.suspects.remove(&key)) {
        room.dispatch.journal.release(slot);
    }
}

/// An attempt at an event has ended. `body`: the response or the error object, JSON.
pub(crate) fn event_ended(
    room: &mut InvocationRoom<'_>,
    id: u64,
    key: Key,
    mut event: Event,
    status: u8,
    body: Option<Vec<u8>>,
) {
    let now = room.ctx.now;
    room.dispatch.hops_running.remove(&event.request);
    let outcome = match status {
        0 => Outcome::Success,
        1 | 2 => Outcome::Error,
        3 => Outcome::NotInvoked,
        _ => Outcome::Interrupted,
    };
    match outcome {
        Outcome::Success | Outcome::Error => {
            event.status = 200;
            event.error = body.map(|body| String::from_utf8_lossy(&body).into());
        }
        // What the function said last stands in the record, even if later tries did not reach it.
        Outcome::NotInvoked if event.status != 200 => event.status = 500,
        Outcome::NotInvoked | Outcome::Interrupted => {}
    }
    let Some(events) = room.events.queues.get_mut(&id) else { return };
    room.events.at_hand_bytes += event.weight();
    if let Some(before) = events.at_hand.insert(key, event) {
        room.events.at_hand_bytes -= before.weight();
    }
    events.machine.completed(key, outcome, &now);
    pump_events(room, id);
}

impl EventQueues {
    /// Keep a waiting event in memory, if there is room.
    pub(crate) fn keep_at_hand_event(&mut self, id: u64, key: Key, event: Event) {
        let weight = event.weight();
        let Some(events) = self.queues.get_mut(&id) else { return };
        if self.at_hand_bytes + weight <= AT_HAND_MAX
            && events.at_hand.len() < 2 * crate::base::asynchronous::WAITING_MAX
        {
            self.at_hand_bytes += weight;
            if let Some(before) = events.at_hand.insert(key, event) {
                self.at_hand_bytes -= before.weight();
            }
        }
    }
}

/// Take an event: out of memory, or from its row.
fn event(room: &mut InvocationRoom<'_>, id: u64, key: Key) -> Result<Option<Event>, StoreError> {
    if let Some(event) = room.events.queues.get_mut(&id).and_then(|events| events.at_hand.remove(&key)) {
        room.events.at_hand_bytes -= event.weight();
        return Ok(Some(event));
    }
    let Some(bytes) = room.ctx.row(Table::Event, &row_key(id, key))? else { return Ok(None) };
    Event::decode(&bytes).map(Some).ok_or_else(|| damaged(id, key))
}

/// Look for the events after a key. Those that are not durable yet come by themselves, when they are.
fn find_events(room: &mut InvocationRoom<'_>, id: u64, after: Option<Key>) -> Result<(), StoreError> {
    let now = room.ctx.now;
    let mut after = after.map(|key| row_key(id, key));
    let (mut found, mut bytes, mut all): (Vec<(Key, Life)>, usize, bool) = (Vec::new(), 0, false);
    while !all && found.len() < FOUND_MAX && bytes < FOUND_BYTES_MAX {
        let (rows, complete) = room.ctx.rows_after(Table::Event, &id.to_be_bytes(), after.as_deref(), ROWS)?;
        all = complete;
        for (row, value) in rows {
            let Some(key) = parse_key(&row) else { continue };
            after = Some(row);
            let is_leaving = room.events.queues.get(&id).is_some_and(|events| events.leaving.contains(&key));
            if is_leaving || room.events.expected.contains(&(id, key)) {
                continue;
            }
            let event = Event::decode(&value).ok_or_else(|| damaged(id, key))?;
            bytes += value.len();
            found.push((key, event.life));
            if room.dispatch.hops_running.contains_key(&event.request) {
                continue;
            }
            room.events.keep_at_hand_event(id, key, event);
        }
    }
    if let Some(events) = room.events.queues.get_mut(&id) {
        events.machine.found(&found, all, &now);
        room.events.let_go_of_held(id);
    }
    Ok(())
}

impl EventQueues {
    /// Forget payloads of events that the machine left in the store after all, while there are many.
    fn let_go_of_held(&mut self, id: u64) {
        let Some(events) = self.queues.get_mut(&id) else { return };
        while events.at_hand.len() > crate::base::asynchronous::WAITING_MAX {
            let Some((_, event)) = events.at_hand.pop_last() else { break };
            self.at_hand_bytes -= event.weight();
        }
    }
}

impl EventQueues {
    /// An event has ended, but its row goes only with the message that tells of it.
    pub(crate) fn event_leaves(&mut self, id: u64, key: Key) {
        if let Some(events) = self.queues.get_mut(&id) {
            events.leaving.insert(key);
        }
    }
}

fn missing(id: u64, key: Key) -> StoreError {
    StoreError::Corrupt(format!("the event {} of function {id} is missing", key.number))
}

fn damaged(id: u64, key: Key) -> StoreError {
    StoreError::Corrupt(format!("the event {} of function {id} cannot be read", key.number))
}
