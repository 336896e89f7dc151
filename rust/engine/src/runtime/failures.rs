//! What operators ask of failures that concerns several rooms: listing them, and running them again.

use crate::api::failure::{List, Redrive, Redriven as Answer};
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::dispatch::versions;
use crate::failures::log::{self, decode};
use crate::failures::requests::failure_key;
use crate::failures::search::parse_token;
use crate::failures::search::Aim;
use crate::failures::search::Page;
use crate::failures::search::Redriven;
use crate::failures::search::Search;
use crate::payload::failure_key::FailureKey;
use crate::runtime::rooms::Rooms;
use crate::sources::invocation::ends;
use crate::sources::stream::redrive;
use crate::store::port::Table;
use std::collections::BTreeMap;

pub(crate) fn failed_list(rooms: &mut Rooms, list: List) -> Result<Done, EngineError> {
    let after = match &list.after {
        None => None,
        Some(token) => Some(parse_token(token).ok_or_else(|| {
            EngineError::Invalid(format!("after is {token:?}: allowed is what an answer gave as `next`"))
        })?),
    };
    let owners = rooms.failures.owners.iter().map(|(&id, owner)| (id, (owner.function.clone(), owner.stream.clone())));
    let is_wanted = |(_, (function, stream)): &(u64, (String, Option<String>))| {
        list.function.as_ref().is_none_or(|name| name == function)
            && list.stream.as_ref().is_none_or(|name| Some(name) == stream.as_ref())
    };
    let names: BTreeMap<u64, (String, Option<String>)> = owners.filter(is_wanted).collect();
    let ids: Vec<u64> = names.keys().copied().collect();
    let page = Page { names, limit: list.limit.max(1), after, found: BTreeMap::new(), bytes: 0, end: None };
    Ok(Done::WhenRead(Search::new(ids, Aim::List(page))))
}

pub(crate) fn failed_redrive(rooms: &mut Rooms, again: Redrive) -> Result<Done, EngineError> {
    if again.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return Err(EngineError::Invalid("rate must be above 0 failures per second".into()));
    }
    if let Some(payload) = &again.payload {
        return redrive_edited(rooms, &again, payload);
    }
    let function = &again.function;
    let running = rooms.streams.mappings.iter().filter(|(_, of)| of.row.function == *function && of.handler.is_some());
    // An event begins its new life in the store: it waits there for whoever has its function.
    let events = rooms.events.queues.iter().filter(|(_, events)| events.function == *function);
    let rules = rooms.failures.owners.iter().filter(|(_, owner)| owner.is_rule && owner.function == *function);
    let of_whom: Vec<u64> =
        running.map(|(&id, _)| id).chain(events.map(|(&id, _)| id)).chain(rules.map(|(&id, _)| id)).collect();
    // A function that runs and has never failed has nothing to run again.
    if of_whom.is_empty() && !rooms.dispatch.function_names.contains_key(function) {
        return Err(EngineError::NotFound(format!(
            "nothing that runs has the function {function:?}: start the app that declares it, then redrive"
        )));
    }
    let Some(ids) = &again.ids else {
        // Those of versions that are published no more stay listed.
        let (gone, of_whom): (Vec<u64>, Vec<u64>) =
            of_whom.into_iter().partition(|&id| rooms.events().unpublished(id).is_some());
        if let (Some(&id), true) = (gone.first(), of_whom.is_empty()) {
            check_published(rooms, id)?;
        }
        let redriven = Redriven { rate: again.rate, dry_run: again.dry_run, keys: Vec::new(), more: false };
        return Ok(Done::WhenRead(Search::new(of_whom, Aim::Redrive(redriven))));
    };
    let mut keys = Vec::with_capacity(ids.len());
    for text in ids {
        keys.push(redrivable(rooms, function, &of_whom, text)?);
    }
    let redriven = if again.dry_run { keys.len() } else { redrive::redrive(&mut rooms.streams(), keys, again.rate)? };
    Ok(Done::when_durable(Answer { redriven, more: false }))
}

/// A failure that may be run again.
fn redrivable(rooms: &mut Rooms, function: &str, of_whom: &[u64], text: &str) -> Result<FailureKey, EngineError> {
    let key = failure_key(text)?;
    let bytes = if of_whom.contains(&key.mapping) { rooms.ctx.row(Table::Failure, &key.bytes())? } else { None };
    let Some((row, kept)) = bytes.as_deref().and_then(decode) else {
        return Err(EngineError::NotFound(format!("no failure {text:?} of function {function:?} is listed")));
    };
    if let Some(destination) = row.destination {
        return Err(EngineError::Conflict(format!(
            "the failure {text:?} waits for its destination {destination:?}, which is tried for 24 hours: only what is listed then is \
             run again; `forebay dlq show {text}` tells how it stands"
        )));
    }
    check_published(rooms, key.mapping)?;
    if kept.is_empty() {
        return Err(EngineError::NotFound(format!(
            "the records of the failure {text:?} are past the stream's retention: they cannot be run again, `forebay dlq show {text}` \
             has what is kept of them"
        )));
    }
    Ok(key)
}

/// Refuse to run again what would only wait for its age to end it.
fn check_published(rooms: &mut Rooms, queue: u64) -> Result<(), EngineError> {
    let Some(name) = rooms.events().unpublished(queue).map(crate::sources::invocation::Events::name) else {
        return Ok(());
    };
    Err(versions::no_version(&rooms.dispatch(), &name))
}

/// Run one event again with another payload.
fn redrive_edited(rooms: &mut Rooms, again: &Redrive, payload: &str) -> Result<Done, EngineError> {
    let [id] = again.ids.as_deref().unwrap_or_default() else {
        return Err(EngineError::Invalid("payload: name the one failure that it is for".into()));
    };
    let key = failure_key(id)?;
    let bytes = rooms.ctx.row(Table::Failure, &key.bytes())?;
    let (ended, trace) = match bytes.as_deref().and_then(decode) {
        Some((row, _)) => (row.ended, row.trace),
        None => (None, None),
    };
    let Some(ended) = ended.filter(|ended| ended.function == again.function) else {
        return Err(EngineError::NotFound(format!("no asynchronous event {id:?} of {:?} is listed", again.function)));
    };
    check_published(rooms, key.mapping)?;
    crate::sources::invocation::check_payload(payload.as_bytes())?;
    if !again.dry_run {
        ends::revive_event(&mut rooms.events(), key, &ended, trace.as_deref(), payload.as_bytes());
    }
    Ok(Done::when_durable(Answer { redriven: 1, more: false }))
}

/// The reader has looked through everything.
pub(crate) fn found(rooms: &mut Rooms, search: Search) {
    let is_redrive = matches!(search.aim, Aim::Redrive(_));
    let answer = match search.aim {
        Aim::List(page) => page.answer(),
        Aim::Redrive(redriven) => redrive::redrive_found(&mut rooms.streams(), redriven),
        Aim::Sweep(sweep) => match log::sweep_found(&mut rooms.failures(), sweep) {
            Ok(()) => return,
            Err(error) => return rooms.ctx.fail(error),
        },
    };
    match (search.waiter, answer) {
        // What is run again may have been written down anew.
        (Some(waiter), Ok(reply)) if is_redrive && !rooms.ctx.commit.pending.is_empty() => {
            rooms.ctx.commit.pending.urgent = true;
            rooms.ctx.commit.pending.waiters.push((waiter, reply));
        }
        (Some(waiter), answer) => rooms.ctx.answer(waiter, answer),
        (None, _) => {}
    }
}
