//! Handing out: attempts begin, and those past their deadline are stopped.

use crate::base::ids::uuid_text;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::attempts::Task;
use crate::dispatch::attempts::Token;
use crate::dispatch::attempts::Work;
use crate::dispatch::job::Handed;
use crate::dispatch::participant::Ended;
use crate::dispatch::permits;
use crate::dispatch::ready_list::Kind;
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::environments;
use crate::runtime::rooms::Rooms;
use crate::workflows::turns;

/// Hand out at most `most` pieces of work. Attempts are counted on disk before this returns.
pub(crate) fn take(rooms: &mut Rooms, most: usize, works: &mut Vec<Work>) {
    while works.len() < most {
        let Some(token) = rooms.dispatch.ready_list.cancels.pop_front() else { break };
        if let Some(attempt) = rooms.dispatch.attempts.get_mut(token) {
            let handler = attempt.handler;
            let request = attempt.request;
            let task = Task::Cancel;
            works.push(Work { token, handler, request, deadline_ms: 0, qualifier: None, trace: None, task });
        }
    }
    crate::runtime::permits::give_permits(rooms);
    rooms.runners().feed();
    works.append(&mut rooms.runners.kept());
    while works.len() < most {
        let Some(token) = rooms.dispatch.ready_list.next(rooms.ctx.is_paused()) else { break };
        if let Some((work, _)) = hand_out(rooms, token) {
            works.push(work);
        }
    }
    if !environments::attempts_are_counted(rooms) {
        works.retain(|work| matches!(work.task, Task::Cancel));
    }
}

/// Begin an attempt: its deadline runs, and the room whose job it is makes a task of it.
pub(crate) fn hand_out(rooms: &mut Rooms, token: Token) -> Option<(Work, Handed)> {
    let now = rooms.ctx.now;
    let attempt = rooms.dispatch.attempts.get_mut(token)?;
    let function = &mut rooms.dispatch.functions[attempt.handler];
    attempt.deadline_ns = now.mono_ns.saturating_add(function.timeout_ns);
    rooms.ctx.timers.arm(&mut function.armed, attempt.deadline_ns, crate::dispatch::deadline(attempt.handler));
    // In order even when the timeout has become shorter while attempts are in flight.
    let at = function.deadlines.partition_point(|&(deadline, _)| deadline <= attempt.deadline_ns);
    function.deadlines.insert(at, (attempt.deadline_ns, token));
    rooms.dispatch.ready_list.began(attempt.job.kind(), attempt.alone);
    if let Some(lease) = attempt.lease {
        function.meters.in_flight.add(1.0);
        rooms.dispatch.permits.count_source(lease);
    }
    let deadline_ms = now.wall_ms + function.timeout_ns / 1_000_000;
    let (handler, request, room) = (attempt.handler, attempt.request, attempt.job.room());
    let (qualifier, trace) = attempt.job.asked_with();
    let handed = rooms.participant(room, |one| one.hand_out(token))?;
    let task = handed.task.clone();
    Some((Work { token, handler, request, deadline_ms, qualifier, trace, task }, handed))
}

/// A function's oldest deadline passed: cancel what is still running.
pub(crate) fn deadline_due(rooms: &mut Rooms, handler: HandlerId) {
    rooms.dispatch.functions[handler].armed = None;
    while let Some(&(deadline, token)) = rooms.dispatch.functions[handler].deadlines.front() {
        let is_alive = rooms.dispatch.attempts.get_mut(token).is_some_and(|attempt| attempt.deadline_ns == deadline);
        if deadline > rooms.ctx.now.mono_ns {
            if is_alive {
                rooms.ctx.timers.arm(
                    &mut rooms.dispatch.functions[handler].armed,
                    deadline,
                    crate::dispatch::deadline(handler),
                );
                return;
            }
        } else if is_alive {
            time_out(rooms, token);
        }
        rooms.dispatch.functions[handler].deadlines.pop_front();
    }
}

/// An attempt is past its deadline.
fn time_out(rooms: &mut Rooms, token: Token) {
    if rooms.dispatch.attempts.get_mut(token).is_some_and(|attempt| attempt.timed_out) {
        return;
    }
    notice_timeout(rooms, token);
    stop_attempt(rooms, token);
    if let Some(room) = rooms.dispatch.attempts.get_mut(token).map(|attempt| attempt.job.room()) {
        rooms.participant(room, |one| one.overdue(token));
    }
}

/// Nobody waits for the end of an attempt any more: it is stopped, or never begins.
pub(crate) fn stop_unwanted(rooms: &mut Rooms, token: Token) {
    if rooms.dispatch.attempts.get_mut(token).is_some_and(|attempt| attempt.is_out()) {
        return stop_attempt(rooms, token);
    }
    if let Some(attempt) = permits::withdraw(&mut rooms.dispatch(), token) {
        let room = attempt.job.room();
        let ended = Ended { status: 4, body: None, late: None, duration_ns: 0 };
        rooms.participant(room, |one| one.settled(attempt, ended));
    }
}

/// Stop an attempt that runs. It has failed, and may never end: its lane and its permit stay held, nothing else waits.
fn stop_attempt(rooms: &mut Rooms, token: Token) {
    let Some(attempt) = rooms.dispatch.attempts.get_mut(token).filter(|one| one.is_out() && !one.timed_out) else {
        return;
    };
    attempt.timed_out = true;
    let (handler, kind, is_alone) = (attempt.handler, attempt.job.kind(), attempt.alone);
    if kind != Kind::Delivery {
        rooms.dispatch.functions[handler].meters.overdue.add(1.0);
    }
    rooms.dispatch.ready_list.overdue(kind, is_alone.then_some(token));
    if !rooms.runners.stop(token, false) && !rooms.environments.stop_attempt(handler, token, rooms.ctx.now.mono_ns) {
        rooms.dispatch.ready_list.cancels.push_back(token);
        rooms.ctx.ring = true;
    }
}

/// Which execution of a workflow an attempt runs for, by its ARN, and which of its states.
pub(crate) fn execution_of(rooms: &Rooms, token: Token) -> Option<(String, Option<String>)> {
    turns::execution_of(&rooms.ctx, &rooms.workflows, rooms.dispatch.attempts.get(token)?)
}

fn notice_timeout(rooms: &mut Rooms, token: Token) {
    let of = execution_of(rooms, token);
    let Some(attempt) = rooms.dispatch.attempts.get_mut(token) else { return };
    let function = &rooms.dispatch.functions[attempt.handler];
    let (name, seconds) = (function.qualified(), function.timeout_ns as f64 / 1e9);
    let mut fields = attempt.job.described();
    fields["seconds"] = seconds.into();
    fields["attempt"] = attempt.number.into();
    fields["request"] = uuid_text(attempt.request).into();
    if let Some((execution, state)) = of {
        (fields["execution"], fields["state"]) = (execution.into(), state.into());
    }
    if attempt.job.kind() == Kind::Delivery {
        fields["destinations"] = [name.as_str()].as_slice().into();
    }
    rooms.ctx.notice(OperatorEvent::TimedOut, &name, fields);
}
