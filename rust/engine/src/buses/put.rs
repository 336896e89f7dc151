//! One event and everything it becomes.

use std::cell::Cell;
use std::sync::Arc;

use crate::api::bus::{Emit, Entry, EntryResult, Happened, HappenedKind, Put, Recipient};
use crate::api::Empty;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::ids::{parse_uuid, uuid_text};
use crate::base::json::check as check_json;
use crate::base::trace::{check_trace, Carried, Origin};
use crate::buses::deliver::{self, Delivery};
use crate::buses::envelope::Accepted;
use crate::buses::row::DEFAULT;
use crate::buses::schemas;
use crate::buses::{BusRoom, Buses, Rule, Taker};
use crate::commit::done::{json as answered, Done};
use crate::commit::pending::PUT_BYTES_MAX;
use crate::dispatch::functions;
use crate::observe::happenings::{Happening, HappeningKind};
use crate::observe::history::routes::Routed;
use crate::observe::operator_events::OperatorEvent;
use crate::schemas::SchemaRoom;

use forebay_core::template::{Path, Reserved};
use serde_json::json;

/// Most events of a call.
const ENTRIES_MAX: usize = 10_000;
/// Most targets that one event goes to, over all buses that it is handed on to.
pub(crate) const DELIVERIES_MAX: u32 = 1_000;

/// An event that is on a bus.
#[derive(Clone, Copy)]
pub(crate) struct OnBus<'a> {
    pub(crate) id: u128,
    pub(crate) time_ms: u64,
    pub(crate) text: &'a str,
    /// What it counts as in an archive.
    pub(crate) size: usize,
    pub(crate) carried: Carried<'a>,
    /// To how many more targets it may go: rules of buses that name each other would multiply it without end.
    pub(crate) left: &'a Cell<u32>,
    /// The replay that it comes from. No archive keeps it again.
    pub(crate) replay: Option<&'a str>,
    /// What it was made of, where that is at hand.
    pub(crate) entry: Option<&'a Entry>,
}

/// Put events on a bus; the waiter is answered when everything that they become is durable.
pub(crate) fn bus_put(room: &mut BusRoom<'_>, asked: Put, waiter: Waiter) {
    let accepted = room.ctx.check_room().and_then(|()| {
        check_trace(asked.trace.as_deref())?;
        room.buses.bus(&asked.bus).map(drop).or_else(|error| if asked.may_be_dropped { Ok(()) } else { Err(error) })?;
        check_entries(&asked.entries)
    });
    match accepted {
        Ok(()) => {
            let results = answered(accept_events(room, &asked));
            room.ctx.commit.pending.waiters.push((waiter, Reply::Added(results)));
            room.ctx.commit.pending.urgent = true;
        }
        Err(error) => room.ctx.answer(waiter, Err(error)),
    }
}

fn accept_events(room: &mut BusRoom<'_>, asked: &Put) -> Vec<EntryResult> {
    let origin = Origin { parent: asked.parent.as_deref().and_then(parse_uuid), trace: asked.trace.as_deref() };
    let carried = functions::carried(room.dispatch, origin);
    let mut results = Vec::with_capacity(asked.entries.len());
    for entry in &asked.entries {
        // What was accepted before may have become many copies.
        let has_room = room.ctx.check_room().map_err(|error| EntryResult::Refused {
            error_code: "ThrottlingException",
            error_message: error.to_string(),
        });
        if room.buses.bus(&asked.bus).is_err() {
            results.push(dropped(room, &asked.bus, entry));
            continue;
        }
        results.push(match has_room.and_then(|()| schemas::check_event(room, &asked.bus, entry)) {
            Ok(()) => EntryResult::Accepted { event_id: accept_event(room, &asked.bus, entry, carried) },
            Err(refused) => refused,
        });
    }
    results
}

/// Answer an event for a bus that does not exist as AWS does, which takes it and drops it.
fn dropped(room: &mut BusRoom<'_>, bus: &str, entry: &Entry) -> EntryResult {
    if let Err(refused) = entry.check() {
        return refused;
    }
    room.ctx.notice(OperatorEvent::NoBus, bus, json!({"sums": {"events": 1}}));
    EntryResult::Accepted { event_id: uuid_text(room.ctx.rng.uuid()) }
}

/// Accept an event that was checked; gives its id.
pub(crate) fn accept_event(room: &mut BusRoom<'_>, bus: &str, entry: &Entry, carried: Carried<'_>) -> String {
    let id = room.ctx.rng.uuid();
    let event_id = uuid_text(id);
    let config = &room.ctx.config;
    let accepted =
        Accepted { id: &event_id, now_ms: room.ctx.now.wall_ms, account: &config.account, region: &config.region };
    let text = entry.envelope(&accepted);
    let time_ms = entry.time_ms.unwrap_or(accepted.now_ms);
    let left = Cell::new(DELIVERIES_MAX);
    let size = entry.archived_size();
    let event = OnBus { id, time_ms, text: &text, size, carried, left: &left, replay: None, entry: Some(entry) };
    route(room, bus, event, None);
    event_id
}

/// Give an event to the targets of every rule that it matches, of those that are named, and to every archive.
pub(crate) fn route(room: &mut BusRoom<'_>, bus: &str, event: OnBus<'_>, only: Option<&[String]>) {
    let Buses { entries, scratch, archives, .. } = &mut *room.buses;
    let Some(entry) = entries.get(bus) else { return };
    entry.meters.events.increment();
    // A replay teaches its events without their mark.
    if entry.row.discovery && event.replay.is_none() {
        SchemaRoom { ctx: room.ctx, schemas: room.schemas }.observe(event.entry, event.text);
    }
    let name = entry.name.clone();
    let index = entry.patterns.index();
    // What is not an event matches nothing: a bus may be handed any object.
    let mut takers = index.matches(event.text.as_bytes(), scratch).unwrap_or_default();
    takers.sort_unstable();
    let mut matched: Vec<Arc<Rule>> = Vec::with_capacity(takers.len());
    let mut keepers: Vec<u64> = entry.archives.iter().copied().collect();
    for taker in takers {
        match taker {
            Taker::Rule(name) => matched.extend(entry.rules.get(name).cloned()),
            Taker::Archive(id) => keepers.push(*id),
        }
    }
    matched.retain(|rule| only.is_none_or(|names| names.contains(&rule.row.name)));
    if event.replay.is_none() {
        for archive in keepers {
            archives.keep(archive, event);
            room.ctx.commit.pending.bytes += event.text.len();
        }
    }
    if !matched.is_empty() {
        entry.meters.matched.increment();
    }
    give_targets(room, name, matched, event);
}

/// Give an event to all targets of rules.
pub(super) fn give_targets(room: &mut BusRoom<'_>, bus: Arc<str>, rules: Vec<Arc<Rule>>, event: OnBus<'_>) {
    let ingested = room.buses.ingested(room.ctx.now.wall_ms);
    let mut fates = Vec::new();
    for rule in rules {
        rule.meters.triggered.increment();
        let reserved = Reserved { rule_arn: &rule.arn, rule_name: &rule.row.name, ingestion_time: &ingested };
        for (at, (target, compiled)) in rule.row.settings.targets.iter().zip(&rule.compiled.targets).enumerate() {
            let delivered = deliver::deliver(
                room,
                Delivery {
                    owner: (rule.row.id, at as u32),
                    owner_arn: &rule.arn,
                    to: &target.to,
                    group_id: target.group_id.as_deref(),
                    partition_key: &partition_key(&target.to, compiled.partition_key.as_ref(), event),
                    dead_letter_queue: target.dead_letter_queue.as_deref(),
                    retry: compiled.retry,
                    event,
                    http: compiled.http.as_ref(),
                    input: &compiled.input.of(event.text, &reserved),
                },
            );
            rule.meters.count_at_once(&delivered);
            fates.push((compiled.name.clone(), delivered.fate));
        }
    }
    room.buses.routed.push(Routed { at_ms: room.ctx.now.wall_ms, id: event.id, bus, fates });
}

/// Want what happens as events, or want it no more.
pub(crate) fn bus_emit(room: &mut BusRoom<'_>, asked: Emit) -> Result<Done, EngineError> {
    room.ctx.observe.happenings.want(asked.wanted);
    Ok(Done::at_once(asked))
}

pub(crate) fn bus_happened(room: &mut BusRoom<'_>, asked: Happened) -> Result<Done, EngineError> {
    let Happened { kind, resources, detail } = asked;
    if !detail.trim_start().starts_with('{') || check_json(detail.as_bytes()).is_err() {
        return Err(EngineError::Invalid("detail is not text of a JSON object".into()));
    }
    let kind = match kind {
        HappenedKind::Failover => HappeningKind::Failover,
        HappenedKind::Alarm => HappeningKind::Alarm,
    };
    room.ctx.happen(|| Happening { kind, resources, detail, hops: 0, trace: None });
    emit_happenings(room);
    room.ctx.commit.pending.urgent = true;
    Ok(Done::when_durable(Empty {}))
}

/// Put what happened on the default bus, in the commit that is gathered. While the store takes nothing new, that is left out.
pub(crate) fn emit_happenings(room: &mut BusRoom<'_>) {
    for happening in room.ctx.observe.happenings.take() {
        if let Err(error) = room.ctx.check_room() {
            room.ctx.not_emitted(&error.to_string());
            continue;
        }
        let Happening { kind, resources, detail, hops, trace } = happening;
        let (source, detail_type) = kind.names();
        let entry = Entry { source: source.into(), detail_type: detail_type.into(), detail, resources, time_ms: None };
        accept_event(room, DEFAULT, &entry, Carried { hops, trace: trace.as_deref() });
        room.ctx.commit.pending.begin_lazily(room.ctx.now.mono_ns);
    }
}

/// The partition key of a record: what stands at the path, or the event's id. Only a stream has records.
fn partition_key(to: &Recipient, path: Option<&Path>, event: OnBus<'_>) -> String {
    if !matches!(to, Recipient::Stream(_)) {
        return String::new();
    }
    let found = path.and_then(|path| path.find(event.text));
    let text = found.map(|value| serde_json::from_str(&value).unwrap_or_else(|_| value.into_owned()));
    text.filter(|key: &String| !key.is_empty()).unwrap_or_else(|| uuid_text(event.id))
}

fn check_entries(entries: &[Entry]) -> Result<(), EngineError> {
    if entries.is_empty() || entries.len() > ENTRIES_MAX {
        return Err(EngineError::Invalid(format!(
            "a call puts {} events: allowed are 1 to {ENTRIES_MAX}",
            entries.len()
        )));
    }
    if entries.iter().map(Entry::size).sum::<usize>() > PUT_BYTES_MAX {
        return Err(EngineError::TooLarge("Total size of the entries in the request is over the limit.".into()));
    }
    Ok(())
}
