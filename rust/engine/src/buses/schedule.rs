//! Schedules: what is due, and what is written when it has fired.
//!
//! A schedule fires in the commit that says when it is due next: a kill loses no firing and repeats none. A commit that a full disk refuses
//! puts the schedule back, so that it fires again when there is room.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use forebay_core::schedule::{find_zone, Bounds, Dialect, Expression, FlexibleWindow, Schedule, ScheduleError};

use crate::api::bus::{CatchUp, ListSchedules, Recipient, ScheduleSettings};
use crate::base::error::EngineError;
use crate::base::ids::uuid_text;
use crate::base::time::iso_seconds;
use crate::base::trace::Carried;
use crate::buses::before::Before;
use crate::buses::deliver::{self, Delivered, Delivery};
use crate::buses::put::{self, OnBus, DELIVERIES_MAX};
use crate::buses::row::{check_dead_letter_queue, check_recipient, retry_policy, ScheduleRow, DEFAULT};
use crate::buses::BusRoom;
use crate::commit::direct_reads::DirectReads;
use crate::commit::pending::{Pending, FULL_NS};
use crate::commit::rows::damaged;
use crate::ctx::Ctx;
use crate::failures::routed::RetryPolicy;
use crate::failures::CountDeliveries;
use crate::metrics::{Counter, Metric, Registry};
use crate::observe::history::routes::Routed;
use crate::observe::operator_events::OperatorEvent;
use crate::payload::failure_key::Part;
use crate::store::port::Table;

/// Most firings of one schedule at once: those that were missed and are caught up with.
const FIRINGS_MAX: usize = 100;
/// Most characters of a description. <https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html>
const DESCRIPTION_CHARACTERS_MAX: usize = 512;
/// Most characters of a role's ARN: <https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html>
const ROLE_CHARACTERS_MAX: usize = 1_600;
/// Most schedules that fire in one turn, so that the engine's lock is let go between.
const SCHEDULES_OF_A_TURN: usize = 256;
/// What one turn may cost: a firing weighs so much, and a due time that is passed over weighs 1.
const WEIGHT_OF_A_TURN: u64 = 10_000;
const WEIGHT_OF_A_FIRING: u64 = 10;

/// Owns the failures of all schedules.
pub(crate) const OWNER: u64 = 0;

/// What is counted of all schedules together: there may be a million of them.
#[derive(Clone)]
pub(crate) struct ScheduleMeters {
    fired: Counter,
    failed: Counter,
    missed: Counter,
}

impl ScheduleMeters {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            fired: registry.counter(Metric::ScheduleFirings, &[]),
            failed: registry.counter(Metric::FailedScheduleFirings, &[]),
            missed: registry.counter(Metric::MissedFirings, &[]),
        }
    }
}

impl CountDeliveries for ScheduleMeters {
    fn count(&self, _: Part, _: usize, confirmed: bool) {
        if confirmed {
            self.fired.increment();
        } else {
            self.failed.increment();
        }
    }
}

/// Stands for a schedule that does not fire.
const NEVER: u64 = u64::MAX;
/// Rows read at once when the store is opened.
const ROWS: usize = 10_000;

/// When each schedule fires. There may be a million of them, so their rows stay in the store.
#[derive(Default)]
pub(crate) struct Schedules {
    /// By name, wall ms.
    fires: BTreeMap<Arc<str>, u64>,
    /// Those that fire, by when.
    by_time: BTreeSet<(u64, Arc<str>)>,
    /// Those that fire now.
    pub(crate) due: Vec<Arc<str>>,
    /// Rows of those that have fired and are not in the pending commit yet.
    fired: BTreeMap<Arc<str>, ScheduleRow>,
    before: Before<Arc<str>, ScheduleRow>,
    /// Those that go with the commit under way: they have fired for the last time.
    leaving: Vec<ScheduleRow>,
    /// Whom they give something, with how many do and the name of one.
    recipients: BTreeMap<Recipient, (usize, Arc<str>)>,
    /// When their timer rings.
    pub(crate) armed: Option<u64>,
    pub(crate) meters: Option<ScheduleMeters>,
}

/// Of a row, what is kept in memory.
#[derive(Deserialize)]
struct Brief<'a> {
    fires_ms: Option<u64>,
    enabled: bool,
    #[serde(borrow, default)]
    dead_letter_queue: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    function: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    queue: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    stream: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    bus: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    rule: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    workflow: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    api_destination: Option<Cow<'a, str>>,
}

impl Brief<'_> {
    fn recipients(self) -> impl Iterator<Item = Recipient> {
        let named =
            |name: Option<Cow<'_, str>>, kind: fn(String) -> Recipient| name.map(|name| kind(name.into_owned()));
        [
            named(self.function, Recipient::Function),
            named(self.queue, Recipient::Queue),
            named(self.topic, Recipient::Topic),
            named(self.stream, Recipient::Stream),
            named(self.bus, Recipient::Bus),
            named(self.rule, Recipient::Rule),
            named(self.workflow, Recipient::Workflow),
            named(self.api_destination, Recipient::ApiDestination),
            named(self.dead_letter_queue, Recipient::Queue),
        ]
        .into_iter()
        .flatten()
    }
}

fn refused(error: &ScheduleError) -> EngineError {
    EngineError::Invalid(error.to_string())
}

impl ScheduleSettings {
    /// Read what stands in texts; refuse what cannot be.
    pub(crate) fn compile(&self, enabled_ms: u64) -> Result<Schedule, EngineError> {
        check_recipient(&self.to, self.group_id.as_deref())?;
        check_dead_letter_queue(self.dead_letter_queue.as_deref())?;
        self.retry()?;
        if self.description.chars().count() > DESCRIPTION_CHARACTERS_MAX {
            return Err(EngineError::Invalid(format!(
                "description has more than {DESCRIPTION_CHARACTERS_MAX} characters"
            )));
        }
        if self.role.as_ref().is_some_and(|role| role.chars().count() > ROLE_CHARACTERS_MAX) {
            return Err(EngineError::Invalid(format!("role has more than {ROLE_CHARACTERS_MAX} characters")));
        }
        if let (Recipient::Function(_) | Recipient::Workflow(_), Some(input)) = (&self.to, &self.input) {
            let filled = filled(input, "arn", 0, 0);
            crate::base::json::check(filled.as_bytes()).map_err(|error| {
                EngineError::Invalid(format!(
                    "input: a function and a workflow are given JSON, and this is none: {error}"
                ))
            })?;
        }
        if self.flexible_minutes > 0 {
            FlexibleWindow::new(self.flexible_minutes).map_err(|error| refused(&error))?;
        }
        self.times(enabled_ms)
    }

    /// When it is due. What it gives, and to whom, was looked at when it was declared.
    fn times(&self, enabled_ms: u64) -> Result<Schedule, EngineError> {
        let zone = find_zone(jiff::tz::db(), &self.timezone).map_err(|error| refused(&error))?;
        let expression = Expression::parse(Dialect::Scheduler, &self.expression).map_err(|error| refused(&error))?;
        let bounds = Bounds { zone, enabled_ms, start_ms: self.start_ms, end_ms: self.end_ms };
        Schedule::new(expression, bounds).map_err(|error| refused(&error))
    }

    fn retry(&self) -> Result<RetryPolicy, EngineError> {
        retry_policy("the schedule", self.maximum_retry_attempts, self.maximum_event_age_ms)
    }

    /// Whether both are due at the same times.
    pub(crate) fn is_due_as(&self, other: &Self) -> bool {
        let Self { expression, timezone, start_ms, end_ms, flexible_minutes, enabled, .. } = self;
        (expression, timezone, start_ms, end_ms) == (&other.expression, &other.timezone, &other.start_ms, &other.end_ms)
            && (flexible_minutes, enabled) == (&other.flexible_minutes, &other.enabled)
    }

    fn catch_up(&self) -> forebay_core::schedule::CatchUp {
        match self.catch_up {
            CatchUp::None => forebay_core::schedule::CatchUp::None,
            CatchUp::One => forebay_core::schedule::CatchUp::One,
            CatchUp::All => forebay_core::schedule::CatchUp::All,
        }
    }
}

impl ScheduleRow {
    pub(crate) fn key(&self) -> Vec<u8> {
        self.name.clone().into_bytes()
    }

    pub(crate) fn value(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// How many due times were passed over when it is replaced now by one that is due at others.
    pub(crate) fn missed_by(&self, now_ms: u64) -> u64 {
        let schedule = self.settings.times(self.enabled_ms).ok().filter(|_| self.settings.enabled);
        let due = schedule.zip(self.next_due_ms).map(|(schedule, next_due)| {
            let due = schedule.due(next_due, now_ms, forebay_core::schedule::CatchUp::None, FIRINGS_MAX);
            due.missed + due.firings.len() as u64
        });
        self.missed + due.unwrap_or(0)
    }

    /// Let it be due next at this time, later by what is drawn from its window.
    pub(crate) fn due_at(&mut self, due_ms: Option<u64>, draw: u64) {
        let window = FlexibleWindow::new(self.settings.flexible_minutes).ok();
        self.next_due_ms = due_ms;
        self.fires_ms = due_ms.map(|due| due + window.map_or(0, |window| window.delay_ms(draw)));
    }
}

impl ScheduleRow {
    fn recipients(&self) -> impl Iterator<Item = Recipient> {
        let dead = self.settings.dead_letter_queue.clone().map(Recipient::Queue);
        std::iter::once(self.settings.to.clone()).chain(dead)
    }

    /// When it fires, wall ms.
    fn fires(&self) -> u64 {
        self.fires_ms.filter(|_| self.settings.enabled).unwrap_or(NEVER)
    }
}

impl Schedules {
    pub(crate) fn len(&self) -> usize {
        self.fires.len()
    }

    /// A page of names, in their order.
    pub(crate) fn page(&self, asked: &ListSchedules) -> Vec<Arc<str>> {
        let first = match &asked.after {
            Some(after) if *after >= asked.prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(asked.prefix.as_str()),
        };
        let names = self.fires.range::<str, _>((first, Bound::Unbounded)).map(|(name, _)| name);
        names.take_while(|name| name.starts_with(&asked.prefix)).take(asked.limit).cloned().collect()
    }

    /// Names that begin so.
    pub(crate) fn names_of(&self, prefix: &str) -> Vec<Arc<str>> {
        let after = self.fires.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        after.map(|(name, _)| name.clone()).take_while(|name| name.starts_with(prefix)).collect()
    }

    /// Read when each fires.
    pub(crate) fn read(&mut self, reader: &mut DirectReads) -> Result<(), EngineError> {
        let (mut fires, mut after) = (Vec::new(), None);
        loop {
            let rows = reader.scan(Table::Schedule, &[], after.as_deref(), ROWS)?;
            for (key, value) in &rows {
                let name: Arc<str> = std::str::from_utf8(key).map_err(|_| damaged("a schedule's name"))?.into();
                let brief: Brief<'_> = serde_json::from_slice(value).map_err(|_| damaged("a schedule's row"))?;
                fires.push((name.clone(), brief.fires_ms.filter(|_| brief.enabled).unwrap_or(NEVER)));
                brief.recipients().for_each(|recipient| self.gives(recipient, &name));
            }
            match rows.into_iter().last() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
        let firing = fires.iter().filter(|(_, fires_ms)| *fires_ms != NEVER);
        self.by_time = firing.map(|(name, fires_ms)| (*fires_ms, name.clone())).collect();
        self.fires = fires.into_iter().collect();
        Ok(())
    }

    fn gives(&mut self, recipient: Recipient, name: &Arc<str>) {
        let given = self.recipients.entry(recipient).or_insert_with(|| (0, name.clone()));
        given.0 += 1;
    }

    /// Take in a row that is due when the one of the same name is: a firing whose commit is refused is still taken back.
    pub(crate) fn change(&mut self, row: &ScheduleRow, known: &ScheduleRow) {
        self.gives_no_more(known);
        let name: Arc<str> = row.name.as_str().into();
        row.recipients().for_each(|recipient| self.gives(recipient, &name));
        self.before.change(&*name, |before| before.settings = row.settings.clone());
        if let Some(fired) = self.fired.get_mut(&*name) {
            fired.settings = row.settings.clone();
        }
    }

    /// Take a row in, instead of the one of the same name.
    pub(crate) fn take(&mut self, row: &ScheduleRow, known: Option<&ScheduleRow>) {
        let leaving = self.leaving.iter().position(|one| one.name == row.name);
        if let Some(before) = leaving.map(|at| self.leaving.swap_remove(at)) {
            self.remove(&before);
        }
        if let Some(known) = known {
            self.remove(known);
        }
        let name: Arc<str> = row.name.as_str().into();
        row.recipients().for_each(|recipient| self.gives(recipient, &name));
        self.fires_at(&name, row.fires());
    }

    fn gives_no_more(&mut self, row: &ScheduleRow) {
        for recipient in row.recipients() {
            let Some(given) = self.recipients.get_mut(&recipient) else { continue };
            given.0 -= 1;
            if given.0 == 0 {
                self.recipients.remove(&recipient);
            }
        }
    }

    pub(crate) fn remove(&mut self, row: &ScheduleRow) {
        self.gives_no_more(row);
        self.before.forget(row.name.as_str());
        self.fired.remove(row.name.as_str());
        if let Some((name, fires_ms)) = self.fires.remove_entry(row.name.as_str()) {
            self.by_time.remove(&(fires_ms, name));
        }
    }

    /// One fires at another time.
    fn fires_at(&mut self, name: &Arc<str>, fires_ms: u64) {
        if let Some(before) = self.fires.insert(name.clone(), fires_ms) {
            self.by_time.remove(&(before, name.clone()));
        }
        if fires_ms != NEVER {
            self.by_time.insert((fires_ms, name.clone()));
        }
    }

    /// When the next one fires, wall ms.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.by_time.first().map(|(fires_ms, _)| *fires_ms)
    }

    /// Set apart what fires now.
    pub(crate) fn look(&mut self, now_ms: u64) {
        while self.due.len() < SCHEDULES_OF_A_TURN && self.next_ms().is_some_and(|fires_ms| fires_ms <= now_ms) {
            self.due.extend(self.by_time.pop_first().map(|(_, name)| name));
        }
    }

    pub(crate) fn target_of(&self, recipient: &Recipient) -> Option<String> {
        let (count, name) = self.recipients.get(recipient)?;
        // The one that is known by name may have another target by now.
        Some(if *count == 1 { format!("schedule {name:?}") } else { format!("{count} schedules, as {name:?}") })
    }

    pub(crate) fn has_unsaved(&self) -> bool {
        self.before.has_unsaved()
    }

    /// Put rows of schedules that have fired into a commit, instead of what a request has put there before.
    pub(crate) fn write(&mut self, pending: &mut Pending) {
        for name in self.before.commit() {
            let Some(row) = self.fired.remove(name) else { continue };
            if row.settings.delete_after_completion && row.next_due_ms.is_none() {
                pending.remove(Table::Schedule, row.key());
                self.leaving.push(row);
            } else {
                pending.set(Table::Schedule, row.key(), row.value());
            }
        }
    }

    pub(crate) fn durable(&mut self) {
        self.before.durable();
        for row in std::mem::take(&mut self.leaving) {
            self.remove(&row);
        }
    }

    /// Nothing was written: they fire again. The next commit must not say that they have fired.
    pub(crate) fn refused(&mut self, pending: &mut Pending) {
        self.leaving.clear();
        for (name, row) in self.before.refused() {
            self.fired.remove(&name);
            if self.fires.contains_key(&name) {
                self.fires_at(&name, row.fires());
                pending.set(Table::Schedule, row.key(), row.value());
            }
        }
    }

    /// One has fired; `row` says what comes next.
    fn has_fired(&mut self, name: &Arc<str>, before: ScheduleRow, row: ScheduleRow) {
        self.fires_at(name, row.fires());
        self.before.note(name.clone(), before);
        self.fired.insert(name.clone(), row);
    }
}

/// A schedule's row, as it will be once everything so far is durable.
pub(crate) fn schedule_row(room: &mut BusRoom<'_>, name: &str) -> Result<ScheduleRow, EngineError> {
    if let Some(row) = room.buses.schedules.fired.get(name) {
        return Ok(row.clone());
    }
    let bytes = room.ctx.row(Table::Schedule, name.as_bytes())?;
    let bytes = bytes.ok_or_else(|| EngineError::NotFound(format!("Schedule {name} does not exist.")))?;
    serde_json::from_slice(&bytes).map_err(|_| damaged("a schedule's row").into())
}

/// Fire what is due.
pub(crate) fn fire_due(room: &mut BusRoom<'_>) {
    let (mut has_room, mut weight) = (true, 0);
    for name in std::mem::take(&mut room.buses.schedules.due) {
        has_room = has_room && room.ctx.check_room().is_ok();
        let fires_ms = room.buses.schedules.fires.get(&name).copied().filter(|fires_ms| *fires_ms != NEVER);
        let Some(fires_ms) = fires_ms else { continue };
        if !has_room || weight >= WEIGHT_OF_A_TURN {
            // Too much waits for the disk, the store has failed, or others have their turn: what is due stays due.
            room.buses.schedules.by_time.insert((fires_ms, name));
            continue;
        }
        match fire(room, &name) {
            Ok(more) => weight += more,
            Err(EngineError::Store(error)) => room.ctx.fail(error),
            // Its settings were taken when it was declared.
            Err(error) => room.ctx.notice(OperatorEvent::Damaged, &name, json!({"text": error.to_string()})),
        }
    }
    room.participant().arm_after(if has_room { 0 } else { FULL_NS });
}

/// Fire one for what it is due; gives what that weighed.
fn fire(room: &mut BusRoom<'_>, name: &Arc<str>) -> Result<u64, EngineError> {
    let now_ms = room.ctx.now.wall_ms;
    let before = schedule_row(room, name)?;
    let (Some(next_due), Some(fires_ms)) = (before.next_due_ms, before.fires_ms) else { return Ok(0) };
    let schedule = before.settings.times(before.enabled_ms)?;
    let mut row = before.clone();
    // What its window delays it by is not lateness.
    let seen_ms = now_ms.saturating_sub(fires_ms - next_due);
    let due = schedule.due(next_due, seen_ms, row.settings.catch_up(), FIRINGS_MAX);
    for &due_ms in &due.firings {
        give_scheduled(room, &row, due_ms);
    }
    row.missed += due.missed;
    if let Some(meters) = &room.buses.schedules.meters {
        meters.missed.add(due.missed);
    }
    let draw = room.ctx.rng.next();
    row.due_at(due.next_due, draw);
    room.buses.schedules.has_fired(name, before, row);
    room.ctx.commit.pending.urgent = true;
    Ok(due.firings.len() as u64 * WEIGHT_OF_A_FIRING + due.missed)
}

pub(crate) fn give_scheduled(room: &mut BusRoom<'_>, row: &ScheduleRow, due_ms: u64) {
    let id = room.ctx.rng.uuid();
    if let Recipient::Rule(rule) = &row.settings.to {
        let text = scheduled_event(room.ctx, row, id, due_ms);
        return give_scheduled_rule(room, rule, (id, due_ms), &text);
    }
    let arn = room.ctx.schedule_arn(&row.name);
    let text = match row.settings.input.as_deref() {
        Some(input) => filled(input, &arn, due_ms, id),
        None => scheduled_event(room.ctx, row, id, due_ms),
    };
    let Delivered { fate, .. } = deliver::deliver(
        room,
        Delivery {
            owner: (OWNER, 0),
            owner_arn: &arn,
            to: &row.settings.to,
            group_id: row.settings.group_id.as_deref(),
            partition_key: &row.name,
            dead_letter_queue: row.settings.dead_letter_queue.as_deref(),
            retry: row.settings.retry().unwrap_or_default(),
            event: OnBus {
                id,
                time_ms: due_ms,
                text: &text,
                size: text.len(),
                carried: Carried::default(),
                left: &Cell::new(DELIVERIES_MAX),
                replay: None,
                entry: None,
            },
            http: None,
            input: &text,
        },
    );
    if let (Some(meters), Some(is_taken)) = (&room.buses.schedules.meters, fate.is_taken()) {
        meters.count(Part::Whole, 0, is_taken);
    }
    let fates = vec![(row.name.as_str().into(), fate)];
    room.buses.routed.push(Routed { at_ms: room.ctx.now.wall_ms, id, bus: "schedules".into(), fates });
}

/// Give the targets of a rule the event of its own schedule.
fn give_scheduled_rule(room: &mut BusRoom<'_>, rule: &str, (id, time_ms): (u128, u64), text: &str) {
    let Ok(rule) = room.buses.rule(DEFAULT, rule).cloned() else { return };
    let event = OnBus {
        id,
        time_ms,
        text,
        size: text.len(),
        carried: Carried::default(),
        left: &Cell::new(DELIVERIES_MAX),
        replay: None,
        entry: None,
    };
    put::give_targets(room, DEFAULT.into(), vec![rule], event);
}

/// What a target is given that has no input of its own; its time is the due time.
fn scheduled_event(ctx: &Ctx, row: &ScheduleRow, id: u128, due_ms: u64) -> String {
    let source = if matches!(row.settings.to, Recipient::Rule(_)) { "aws.events" } else { "aws.scheduler" };
    json!({
        "version": "0", "id": uuid_text(id), "detail-type": "Scheduled Event", "source": source,
        "account": ctx.config.account, "time": iso_seconds(due_ms), "region": ctx.config.region,
        "resources": [ctx.schedule_arn(&row.name)], "detail": {},
    })
    .to_string()
}

/// An input with the words that stand for what only the firing knows.
/// <https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html>
fn filled(input: &str, arn: &str, due_ms: u64, id: u128) -> String {
    if !input.contains("<aws.scheduler.") {
        return input.to_owned();
    }
    input
        .replace("<aws.scheduler.schedule-arn>", arn)
        .replace("<aws.scheduler.scheduled-time>", &iso_seconds(due_ms))
        .replace("<aws.scheduler.execution-id>", &uuid_text(id))
        .replace("<aws.scheduler.attempt-number>", "1")
}
