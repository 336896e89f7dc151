//! Results that are kept: written in the commit that ends their event, and told to those who ask or wait for them.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::invocation::protocol::Condition;
use serde_json::value::RawValue;

use crate::api::event::{End, EventResult, Which};
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::ids::{parse_uuid, uuid_text};
use crate::base::limits::{EVENT_RESULT_MS, EVENT_RESULT_WAIT_MS_MAX};
use crate::base::timers::Timer;
use crate::commit::done::json;
use crate::commit::rows::{damaged, OnItsWay};
use crate::dispatch::versions::version_of;
use crate::payload::event::Event;
use crate::payload::event_result::{kept_key, EndRow, ResultRow};
use crate::sources::invocation::participant::{ROOM, WAIT_TIMER};
use crate::sources::invocation::InvocationRoom;
use crate::store::port::{StoreError, Table};

/// Most calls that wait for results.
const WAITS_MAX: usize = 10_000;

/// An answer, JSON, and whether what it tells is durable.
type Told = (Vec<u8>, bool);

/// Results that are not durable yet, and those who wait for one.
#[derive(Default)]
pub(crate) struct Results {
    /// Of the next commit, and of the one under way.
    ended: Ended,
    writing: Vec<u128>,
    /// Who waits, by request; and until when, mono ns.
    waiting: BTreeMap<u128, Vec<(u64, Waiter)>>,
    deadlines: BTreeSet<(u64, u128)>,
    count: usize,
    armed: Option<u64>,
}

/// Events that have ended and whose results are kept.
#[derive(Clone, Default)]
pub(crate) struct Ended {
    pub(crate) requests: Vec<u128>,
    /// Bytes of their rows.
    pub(crate) bytes: u64,
    /// Until when the last of them is kept, wall ms.
    pub(crate) until_ms: u64,
}

impl Results {
    /// A commit takes what has ended. If it is refused, the rows go with the next one, and nothing is counted again.
    pub(crate) fn begin_writing(&mut self) -> Ended {
        let ended = std::mem::take(&mut self.ended);
        self.writing.extend_from_slice(&ended.requests);
        ended
    }
}

/// Keep the result of an event that has ended, if it is to be kept.
pub(crate) fn keep_result(room: &mut InvocationRoom<'_>, function: String, event: &Event, condition: Condition) {
    if !event.keeps_result {
        return;
    }
    let now_ms = room.ctx.now.wall_ms;
    let end = EndRow {
        until_ms: now_ms + EVENT_RESULT_MS,
        ended_ms: now_ms,
        condition,
        attempts: event.life.failures + u32::from(condition == Condition::Success),
        bytes: 0,
        response: None,
    };
    // Whoever waits is told when it is durable.
    room.ctx.commit.pending.urgent |= room.events.results.waiting.contains_key(&event.request);
    let until_ms = end.until_ms;
    let row = ResultRow { function, end: Some(end.with(event.error.as_deref())) }.encode();
    let ended = &mut room.events.results.ended;
    ended.requests.push(event.request);
    ended.bytes += row.len() as u64;
    ended.until_ms = ended.until_ms.max(until_ms);
    room.ctx.commit.pending.set(Table::EventResult, kept_key(event.request), row);
}

/// An event whose result was kept runs again.
pub(crate) fn renew_result(room: &mut InvocationRoom<'_>, request: u128) -> Result<bool, StoreError> {
    let key = kept_key(request);
    let Some(row) = room.ctx.row(Table::EventResult, &key)? else { return Ok(false) };
    let bytes = row.len();
    let row = ResultRow::decode(&row).ok_or_else(|| damaged("a result"))?;
    if row.end.is_some() {
        room.events.kept.result_gone(bytes);
    }
    room.ctx.commit.pending.set(Table::EventResult, key, ResultRow { end: None, ..row }.encode());
    Ok(true)
}

/// What is kept of an event that has ended.
pub(crate) fn kept_result(room: &mut InvocationRoom<'_>, request: u128) -> Result<Option<EventResult>, StoreError> {
    let row = room.ctx.row(Table::EventResult, &kept_key(request))?;
    let row = row.map(|row| ResultRow::decode(&row).ok_or_else(|| damaged("a result"))).transpose()?;
    let now_ms = room.ctx.now.wall_ms;
    let has_ended = |row: &ResultRow| row.end.as_ref().is_some_and(|end| end.until_ms > now_ms);
    Ok(row.filter(has_ended).map(|row| shown(&row)))
}

/// Tell what became of an event, now or when it has ended.
pub(crate) fn event_result(room: &mut InvocationRoom<'_>, asked: Which, waiter: Waiter) {
    match look_for_result(room, &asked) {
        Ok((request, None)) => wait_for_result(room, request, &asked, waiter),
        Ok((_, Some((answer, true)))) => room.ctx.answer(waiter, Ok(Reply::Json(answer))),
        Ok((_, Some((answer, false)))) => {
            room.ctx.commit.pending.waiters.push((waiter, Reply::Json(answer)));
            room.ctx.commit.pending.urgent = true;
        }
        Err(error) => room.ctx.answer(waiter, Err(error)),
    }
}

/// The request, and the answer where there is something to tell, with whether it is durable; `None`: it is worth waiting.
fn look_for_result(room: &mut InvocationRoom<'_>, asked: &Which) -> Result<(u128, Option<Told>), EngineError> {
    if let Some(error) = &room.ctx.commit.failed {
        return Err(error.clone().into());
    }
    if room.ctx.closed {
        return Err(EngineError::Closed("the app is stopped: it answers nothing more".into()));
    }
    if asked.wait_ms > EVENT_RESULT_WAIT_MS_MAX {
        let most = EVENT_RESULT_WAIT_MS_MAX / 1_000;
        return Err(EngineError::Invalid(format!("wait: allowed are 0 to {most} seconds")));
    }
    let request = parse_uuid(&asked.request_id).ok_or_else(|| {
        EngineError::Invalid(format!("{:?} is not a request id: take what invoke_async gave", asked.request_id))
    })?;
    let key = kept_key(request);
    let row = room.ctx.row(Table::EventResult, &key)?;
    let row = row.map(|row| ResultRow::decode(&row).ok_or_else(|| damaged("a result"))).transpose()?;
    let now_ms = room.ctx.now.wall_ms;
    let Some(row) = row.filter(|row| row.end.as_ref().is_none_or(|end| end.until_ms > now_ms)) else {
        return Err(not_kept(&asked.request_id));
    };
    let function = version_of(&row.function).map_or(row.function.as_str(), |(function, _)| function);
    if function != asked.function {
        return Err(EngineError::NotFound(format!(
            "request {} is one of function {function}, not of {}",
            asked.request_id, asked.function
        )));
    }
    if row.end.is_none() && asked.wait_ms > 0 {
        return Ok((request, None));
    }
    let is_durable = matches!(room.ctx.row_on_its_way(Table::EventResult, &key), OnItsWay::No);
    Ok((request, Some((json(shown(&row)), is_durable))))
}

fn wait_for_result(room: &mut InvocationRoom<'_>, request: u128, asked: &Which, waiter: Waiter) {
    let results = &mut room.events.results;
    if results.count >= WAITS_MAX {
        let error = EngineError::TooMany {
            message: format!("{WAITS_MAX} calls wait for results of events, which is as many as may"),
            reason: "ResultWaits".into(),
            retry_after_ms: 1_000,
        };
        return room.ctx.answer(waiter, Err(error));
    }
    let until_ns = room.ctx.now.mono_ns + asked.wait_ms * 1_000_000;
    results.count += 1;
    results.waiting.entry(request).or_default().push((until_ns, waiter));
    results.deadlines.insert((until_ns, request));
    room.ctx.timers.arm(&mut results.armed, until_ns, Timer { room: ROOM, kind: WAIT_TIMER, id: 0 });
}

/// Results have become durable: tell those who wait for them.
pub(crate) fn results_durable(room: &mut InvocationRoom<'_>) -> Result<(), StoreError> {
    for request in std::mem::take(&mut room.events.results.writing) {
        let Some(waiting) = room.events.results.waiting.remove(&request) else { continue };
        let row = room.ctx.row(Table::EventResult, &kept_key(request))?;
        let row = row.map(|row| ResultRow::decode(&row).ok_or_else(|| damaged("a result"))).transpose()?;
        // It may be gone already: of too many results the oldest are dropped, and those of an earlier run are the oldest.
        let answer = row.map(|row| json(shown(&row))).ok_or_else(|| not_kept(&uuid_text(request)));
        room.events.results.count -= waiting.len();
        for (until_ns, waiter) in waiting {
            room.events.results.deadlines.remove(&(until_ns, request));
            room.ctx.answer(waiter, answer.clone().map(Reply::Json));
        }
    }
    Ok(())
}

/// Somebody has waited long enough.
pub(crate) fn waits_due(room: &mut InvocationRoom<'_>) -> Result<(), StoreError> {
    let now_ns = room.ctx.now.mono_ns;
    room.events.results.armed = None;
    while let Some(&(until_ns, request)) = room.events.results.deadlines.first() {
        let results = &mut room.events.results;
        if until_ns > now_ns {
            let timer = Timer { room: ROOM, kind: WAIT_TIMER, id: 0 };
            room.ctx.timers.arm(&mut results.armed, until_ns, timer);
            break;
        }
        results.deadlines.pop_first();
        let all = results.waiting.remove(&request).unwrap_or_default();
        let (over, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(until_ns, _)| *until_ns <= now_ns);
        results.count -= over.len();
        if !others.is_empty() {
            results.waiting.insert(request, others);
        }
        let row = room.ctx.row(Table::EventResult, &kept_key(request))?.and_then(|row| ResultRow::decode(&row));
        let function = row.map(|row| row.function).unwrap_or_default();
        let answer = json(shown(&ResultRow { function, end: None }));
        for (_, waiter) in over {
            room.ctx.answer(waiter, Ok(Reply::Json(answer.clone())));
        }
    }
    Ok(())
}

/// Nothing that anybody waits for will come.
pub(crate) fn answer_open_results(room: &mut InvocationRoom<'_>, error: &EngineError) {
    let results = &mut room.events.results;
    results.deadlines.clear();
    results.count = 0;
    for (_, waiter) in std::mem::take(&mut results.waiting).into_values().flatten() {
        room.ctx.answer(waiter, Err(error.clone()));
    }
}

fn not_kept(request: &str) -> EngineError {
    EngineError::NotFound(format!(
        "no result is kept of request {request}: invoke_async was not told to keep_result, the event ended over a day ago, or so many \
         results came after it that there was no room for it; `forebay why` tells what else is known"
    ))
}

/// A result as it is told.
pub(crate) fn shown(row: &ResultRow) -> EventResult {
    let version = version_of(&row.function).map_or_else(|| "$LATEST".to_owned(), |(_, version)| version.to_string());
    let end = row.end.as_ref().map(|end| End {
        condition: end.condition.as_str(),
        attempts: end.attempts,
        ended_ms: end.ended_ms,
        expires_ms: end.until_ms,
        response: end.response.clone().and_then(|response| RawValue::from_string(response).ok()),
        response_bytes: end.bytes,
    });
    EventResult { function: row.function.clone(), version, end }
}
