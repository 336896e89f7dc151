//! Asynchronous events: each is accepted once, runs as often as the settings allow, ends once, and is told of where it should be.
//!
//! An event is in exactly one state at every commit: its row is there, or it is over and whoever had to be told has been told, or is
//! going to be, by a row in that very commit.

mod found;
mod store;
mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use forebay_engine::dispatch::attempts::Token;
use serde::Deserialize;

use super::log::Fate;
use super::progress::End;
use super::turns::{self, Line};
use super::{Ledger, Promise};
use crate::chance::NumberMap;
use crate::events::{EventSettings, Wish};

/// Chains end after so many functions.
pub(super) const HOPS_MAX: u32 = 16;
/// Deaths of the process after which an event may be given up.
const INTERRUPTIONS: u32 = 3;
/// How long what could not be told stays listed, ms.
const LISTED_FOR_MS: u64 = 14 * 86_400_000;
/// Between the moment at which an event is accepted and the commit that writes it, on a disk that may be full meanwhile.
const WRITTEN_WITHIN_MS: u64 = 5_000;
/// Longest wait of an event that was not reached, ms.
const BACKOFF_MS_MAX: u64 = 300_000;

/// What is known of all events.
#[derive(Debug, Default)]
pub(super) struct Events {
    asked: Vec<Asked>,
    pub(super) unanswered: usize,
    pub(super) known: NumberMap<u128, Event>,
    /// By queue.
    pub(super) lines: BTreeMap<u64, Line>,
    /// By queue and number.
    numbers: NumberMap<(u64, u64), u128>,
    pub(super) functions: BTreeMap<u64, String>,
    settings: BTreeMap<String, Wished>,
    flights: NumberMap<Token, Flight>,
    /// What destinations are still to be told, by the key of its row, and the key by its delivery id.
    rows: BTreeMap<Vec<u8>, Row>,
    ids: HashMap<String, Vec<u8>>,
    /// Events with a row that are not done.
    left: usize,
    /// Those that are done and whose rows are still there, and since when.
    unsaved: VecDeque<(u128, u64)>,
    redrives: bool,
    /// Requests whose results are kept.
    results: BTreeSet<u128>,
}

/// A call of somebody's.
#[derive(Debug)]
struct Asked {
    fate: Fate,
    request: Option<u128>,
    wish: Wish,
    at: super::Moment,
    /// How often the wall clock had been set by then.
    clock_sets: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Flying,
    Done,
}

#[derive(Clone, Debug)]
pub(super) struct Event {
    queue: u64,
    hops: u32,
    accepted_ms: u64,
    accepted_ns: u64,
    failures: u32,
    interrupted: u32,
    /// An attempt did not reach the function, so that its wait grows.
    unreached: bool,
    state: State,
    /// When its rows say that it is due: one row, but for the middle of a commit.
    dues: Vec<u64>,
    weight: usize,
    /// How long it waits for its first attempt, ms; and until when, ns, unless the wall clock was set or a crash lies between.
    delay_ms: u64,
    waits_until_ns: u64,
    keeps_result: bool,
}

/// A function's settings, and how far they have been changed while events were there.
#[derive(Debug)]
struct Wished {
    now: EventSettings,
    retries: (u32, u32),
    age_least_ms: u64,
    delay_most_ms: u64,
    is_changed: bool,
}

#[derive(Debug)]
struct Flight {
    request: u128,
    zombie: bool,
}

#[derive(Debug)]
struct Row {
    request: String,
    failed_ms: u64,
    sent: bool,
    under_way: bool,
    confirmed: bool,
    redriven: bool,
}

/// An event's row, as far as the ledger reads it.
struct Stored<'a> {
    request: u128,
    accepted_ms: u64,
    hops: u32,
    failures: u32,
    delay_ms: u64,
    keeps_result: bool,
    payload: &'a [u8],
}

impl<'a> Stored<'a> {
    fn of(value: &'a [u8]) -> Option<Self> {
        let word = |at: usize| value.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let error = word(39)? as usize;
        let [format, mut at] = [usize::from(*value.first()?), 43];
        let short =
            |at: usize| value.get(at..at + 2)?.try_into().ok().map(|bytes| usize::from(u16::from_le_bytes(bytes)));
        if format > 1 {
            at += 2 + short(at)?;
        }
        if format > 2 {
            at += 1 + usize::from(*value.get(at)?);
        }
        let (mut delay_ms, mut keeps_result) = (0, false);
        if format > 3 {
            delay_ms = u64::from_le_bytes(value.get(at..at + 8)?.try_into().ok()?);
            keeps_result = *value.get(at + 8)? != 0;
            at += 11 + short(at + 9)?;
        }
        Some(Self {
            request: u128::from_le_bytes(value.get(1..17)?.try_into().ok()?),
            accepted_ms: u64::from_le_bytes(value.get(17..25)?.try_into().ok()?),
            hops: word(25)?,
            failures: word(29)?,
            delay_ms,
            keeps_result,
            payload: value.get(at + error..)?,
        })
    }
}

#[derive(Deserialize)]
struct Payload {
    n: u32,
}

fn parse_key(key: &[u8]) -> Option<(u64, u64, u64)> {
    let word = |at: usize| key.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    Some((word(0)?, word(8)?, word(16)?))
}

impl Ledger {
    /// A function is about to be registered with these settings.
    pub fn serves(&mut self, function: &str, settings: &EventSettings) {
        let wished = self.events.settings.entry(function.to_owned()).or_insert_with(|| Wished {
            now: settings.clone(),
            retries: (settings.retries, settings.retries),
            age_least_ms: settings.age_ms,
            delay_most_ms: settings.delay_ms,
            is_changed: false,
        });
        wished.is_changed |= wished.now != *settings;
        wished.retries = (wished.retries.0.min(settings.retries), wished.retries.1.max(settings.retries));
        wished.age_least_ms = wished.age_least_ms.min(settings.age_ms);
        wished.delay_most_ms = wished.delay_most_ms.max(settings.delay_ms);
        wished.now = settings.clone();
    }

    /// Somebody is about to invoke a function asynchronously; gives the call's name.
    pub fn invokes(&mut self, wish: Wish) -> u32 {
        self.events.unanswered += 1;
        let clock_sets = self.queues.clock_sets;
        self.events.asked.push(Asked { fate: Fate::Waiting, request: None, wish, at: self.now, clock_sets });
        self.events.asked.len() as u32 - 1
    }

    /// A call was accepted under this request id; `Err`: it was not, or (`true`) nobody knows.
    pub fn invoked(&mut self, name: u32, answer: Result<u128, bool>) {
        let asked = &mut self.events.asked[name as usize];
        if !matches!(asked.fate, Fate::Waiting | Fate::Unknown) {
            return self.broken(Promise::DurableAck, format!("event {name} was answered twice"));
        }
        self.events.unanswered -= usize::from(asked.fate == Fate::Waiting);
        let (fate, request) = (
            match answer {
                Ok(_) => Fate::Acknowledged,
                Err(true) => Fate::Unknown,
                Err(false) => Fate::Refused,
            },
            asked.request,
        );
        asked.fate = fate;
        match answer {
            Ok(id) => {
                self.counts.acknowledged += 1;
                let is_ours = request == Some(id);
                if !is_ours && self.is_known_by_id(name, id) {
                    self.counts.deduplicated += 1;
                } else if !is_ours {
                    let story =
                        format!("event {name} was acknowledged as {id:x}, and the store holds it as {request:x?}");
                    self.broken(Promise::DurableAck, story);
                }
            }
            Err(false) => {
                self.counts.refused += 1;
                if request.is_some() {
                    self.broken(Promise::DurableAck, format!("event {name} was refused and is in the store"));
                }
            }
            Err(true) => {}
        }
    }

    /// An event is handed to its function.
    pub fn begins_event(&mut self, token: Token, request: u128, payload: &[u8]) {
        self.counts.batches += 1;
        self.counts.deliveries += 1;
        self.tell(|| format!("begins {token:x} event {request:x}"));
        self.flying += 1;
        let retries = |events: &Events, event: &Event| {
            let function = events.functions.get(&event.queue)?;
            Some(events.settings.get(function)?.retries.1)
        };
        let outcome = match self.events.known.get(&request) {
            None => Err((Promise::DurableAck, "is not durable".to_owned())),
            Some(event) if event.dues.is_empty() => Err((Promise::Duplicates, "is over".into())),
            Some(event) if event.state == State::Flying => Err((Promise::Exclusion, "runs already".into())),
            Some(event) if event.state == State::Done => Err((Promise::Duplicates, "is done".into())),
            Some(event) if event.waits_until_ns > self.now.time_ns => {
                Err((Promise::Waits, format!("would have waited until {} ns", event.waits_until_ns)))
            }
            Some(event) if event.weight != payload.len() => Err((Promise::DurableAck, "says something else".into())),
            Some(event) => match retries(&self.events, event) {
                Some(most) if event.failures > most => {
                    Err((Promise::Attempts, format!("has failed {} times, allowed are {most} retries", event.failures)))
                }
                _ => Ok(()),
            },
        };
        if let Err((promise, story)) = outcome {
            self.broken(promise, format!("event {request:x} is handed out and {story}"));
        }
        if let Some(event) = self.events.known.get_mut(&request) {
            event.state = State::Flying;
            if let Some((_, turn)) = self.events.lines.get_mut(&event.queue) {
                turns::begins(turn, request);
            }
        }
        if self.events.flights.insert(token, Flight { request, zombie: false }).is_some() {
            self.broken(Promise::Exclusion, "a token names two events");
        }
    }

    /// Whether a call was answered with the event of another one with its id, which makes it the same call.
    fn is_known_by_id(&self, name: u32, request: u128) -> bool {
        let wish = &self.events.asked[name as usize].wish;
        let is_first = |other: &Asked| other.request == Some(request) && other.wish.id == wish.id;
        wish.id.is_some() && self.events.asked.iter().any(is_first)
    }

    pub(super) fn event_expires(&mut self, token: Token) {
        if let Some(flight) = self.events.flights.get_mut(&token) {
            flight.zombie = true;
        }
    }

    /// A function has ended with an event.
    pub fn ends_event(&mut self, token: Token, end: End) {
        self.tell(|| format!("ends   {token:x} {end:?}"));
        let Some(flight) = self.events.flights.remove(&token) else { return };
        self.flying -= 1;
        let Some(event) = self.events.known.get_mut(&flight.request) else { return };
        match end {
            End::Handled { .. } => {
                event.state = State::Done;
                self.events.left -= usize::from(!event.dues.is_empty());
                self.events.unsaved.push_back((flight.request, self.now.time_ns));
            }
            End::Failed => (event.state, event.failures) = (State::Waiting, event.failures + 1),
            End::NoAttempt => (event.state, event.unreached) = (State::Waiting, true),
        }
    }

    /// An operator has failed events run again.
    pub fn redrives_events(&mut self) {
        self.events.redrives = true;
    }

    /// What is left of events; one that is done and whose row is still there may yet bring forth others.
    pub(super) fn event_left(&self) -> Option<String> {
        let (left, unsaved) = (self.events.left, self.events.unsaved.len());
        self.has_events_left().then(|| format!("{left} events, and {unsaved} that are done"))
    }

    pub(super) fn has_events_left(&self) -> bool {
        self.events.left > 0 || !self.events.unsaved.is_empty()
    }

    /// Events in handlers.
    pub(super) fn events_in_hand(&self) -> usize {
        self.events.flights.len()
    }

    /// Events in handlers that are within their deadline.
    pub(super) fn events_in_time(&self) -> usize {
        self.events.flights.values().filter(|flight| !flight.zombie).count()
    }

    /// A destination is handed what an event's row says; whether it is one of an event.
    pub(super) fn delivers_event(&mut self, id: &str) -> Option<Vec<u8>> {
        let key = self.events.ids.get(id)?.clone();
        let story = match self.events.rows.get_mut(&key) {
            None => Some("before it was written down, or after it was confirmed"),
            Some(row) => {
                let was_under_way = std::mem::replace(&mut row.under_way, true);
                row.confirmed.then_some("again after it was confirmed").or(was_under_way.then_some("twice at once"))
            }
        };
        if let Some(story) = story {
            self.broken(Promise::FailureRecords, format!("the failure {id} is sent {story}"));
        }
        Some(key)
    }

    pub(super) fn delivered_event(&mut self, key: &[u8], confirmed: bool) {
        if let Some(row) = self.events.rows.get_mut(key) {
            row.under_way = false;
            row.confirmed |= confirmed;
            self.counts.confirmed += u64::from(confirmed);
        }
    }

    pub(super) fn undelivered_events(&self) -> usize {
        self.events.rows.values().filter(|row| row.sent && !row.confirmed).count()
    }

    pub(super) fn check_events_saved(&mut self, within_ns: u64) {
        let events = &mut self.events;
        while events.unsaved.front().is_some_and(|(one, _)| events.known.get(one).is_none_or(|one| one.dues.is_empty()))
        {
            events.unsaved.pop_front();
        }
        let late = events.unsaved.front().filter(|(_, since)| self.now.time_ns - since > within_ns).copied();
        if let Some((request, since)) = late {
            let story = format!("event {request:x} was done {} ns ago, and is still there", self.now.time_ns - since);
            self.broken(Promise::Duplicates, story);
        }
    }
}

impl Event {
    /// Whether it was never tried, and could be.
    pub(super) fn is_untried(&self) -> bool {
        let was_tried = self.failures > 0 || self.unreached || self.interrupted > 0;
        self.state == State::Waiting && !was_tried && !self.dues.is_empty()
    }

    /// Whether it may be over, with what was told of it.
    fn may_end(
        &self,
        wished: Option<&Wished>,
        told: &[&str],
        now: super::Moment,
        born: super::Moment,
    ) -> Result<(), String> {
        let Some(wished) = wished else { return Err("no such function was registered".into()) };
        if self.state == State::Done {
            let wants = wished.now.on_success.is_some();
            let is_told = told.contains(&"Success");
            return if is_told == wants || wished.is_changed {
                Ok(())
            } else {
                Err(format!("its destination wants to be told: {wants}"))
            };
        }
        // The wall clock tells what age an event has when a process begins; what it is set to later makes nobody older.
        let since_ns = self.accepted_ns.max(born.time_ns);
        let before_ms =
            if since_ns == born.time_ns { born.wall_ms.saturating_sub(self.accepted_ms) } else { WRITTEN_WITHIN_MS };
        let age_ms = (before_ms + (now.time_ns - since_ns) / 1_000_000).saturating_sub(self.delay_ms);
        let wait_ms = if self.unreached { BACKOFF_MS_MAX } else { 2 * wished.delay_most_ms };
        let reason = match told.first() {
            Some(&"RetriesExhausted") => self.failures > wished.retries.0,
            Some(&"EventAgeExceeded") => age_ms + wait_ms >= wished.age_least_ms,
            Some(&"RecursiveInvocation") => self.hops >= HOPS_MAX,
            Some(&"RuntimeInterrupted") => self.interrupted >= INTERRUPTIONS,
            _ => false,
        };
        if reason {
            Ok(())
        } else {
            Err("for no good reason".into())
        }
    }
}
