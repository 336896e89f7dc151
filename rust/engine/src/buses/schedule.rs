//! Schedules: what is due, and what is written when it has fired.
//!
//! A schedule fires in the commit that says when it is due next: a kill loses no firing and repeats none. A commit that a full disk refuses
//! puts the schedule back, so that it fires again when there is room.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_core::schedule::{find_zone, Bounds, Dialect, Expression, FlexibleWindow, Schedule, ScheduleError};

use crate::api::bus::{CatchUp, Recipient, ScheduleSettings};
use crate::base::error::EngineError;
use crate::base::ids::uuid_text;
use crate::base::json;
use crate::base::time::iso_seconds;
use crate::base::trace::Carried;
use crate::buses::before::Before;
use crate::buses::deliver::{Delivered, Delivery};
use crate::buses::put::OnBus;
use crate::buses::row::{check_dead_letter_queue, check_recipient, gives_to, ScheduleRow};
use crate::buses::BusRoom;
use crate::commit::pending::{Pending, FULL_NS};
use crate::ctx::Ctx;
use crate::failures::routed::RetryPolicy;
use crate::failures::CountDeliveries;
use crate::metrics::{Counter, Metric, Registry};
use crate::observe::history::routes::Routed;
use crate::payload::failure_key::Part;
use crate::store::port::Table;

/// Most firings of one schedule at once: those that were missed and are caught up with.
const FIRINGS_MAX: usize = 100;
/// Most schedules that fire in one turn, so that the engine's lock is let go between.
const SCHEDULES_OF_A_TURN: usize = 256;

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

/// All schedules, by name.
#[derive(Default)]
pub(crate) struct Schedules {
    entries: BTreeMap<Arc<str>, Entry>,
    /// Those that fire, by when.
    by_time: BTreeSet<(u64, Arc<str>)>,
    /// Those that fire now.
    pub(crate) due: Vec<Arc<str>>,
    before: Before<Arc<str>, ScheduleRow>,
    /// When their timer rings.
    pub(crate) armed: Option<u64>,
    pub(crate) meters: Option<ScheduleMeters>,
}

struct Entry {
    row: ScheduleRow,
    schedule: Schedule,
}

fn refused(error: &ScheduleError) -> EngineError {
    EngineError::Invalid(error.to_string())
}

impl ScheduleSettings {
    /// Read what stands in texts; refuse what cannot be.
    pub(crate) fn compile(&self, enabled_ms: u64) -> Result<Schedule, EngineError> {
        check_recipient(&self.to, self.group_id.as_deref())?;
        check_dead_letter_queue(self.dead_letter_queue.as_deref())?;
        if let (Recipient::Function(_) | Recipient::Workflow(_), Some(input)) = (&self.to, &self.input) {
            let filled = filled(input, "arn", 0, 0);
            json::check(filled.as_bytes()).map_err(|error| {
                EngineError::Invalid(format!(
                    "input: a function and a workflow are given JSON, and this is none: {error}"
                ))
            })?;
        }
        if self.flexible_minutes > 0 {
            FlexibleWindow::new(self.flexible_minutes).map_err(|error| refused(&error))?;
        }
        let zone = find_zone(jiff::tz::db(), &self.timezone).map_err(|error| refused(&error))?;
        let expression = Expression::parse(Dialect::Scheduler, &self.expression).map_err(|error| refused(&error))?;
        let bounds = Bounds { zone, enabled_ms, start_ms: self.start_ms, end_ms: self.end_ms };
        Schedule::new(expression, bounds).map_err(|error| refused(&error))
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
        let schedule = self.settings.compile(self.enabled_ms).ok().filter(|_| self.settings.enabled);
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

impl Schedules {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &ScheduleRow> {
        self.entries.values().map(|entry| &entry.row)
    }

    pub(crate) fn row(&self, name: &str) -> Result<&ScheduleRow, EngineError> {
        let entry = self.entries.get(name).map(|entry| &entry.row);
        entry.ok_or_else(|| EngineError::NotFound(format!("Schedule {name} does not exist.")))
    }

    pub(crate) fn upcoming(&self, name: &str, after_ms: u64, count: usize) -> Vec<u64> {
        self.entries.get(name).map(|entry| entry.schedule.upcoming(after_ms, count)).unwrap_or_default()
    }

    /// Take a row in, instead of the one of the same name.
    pub(crate) fn take(&mut self, row: ScheduleRow) -> Result<(), EngineError> {
        let schedule = row.settings.compile(row.enabled_ms)?;
        self.remove(&row.name);
        let name: Arc<str> = row.name.as_str().into();
        if let (Some(fires_ms), true) = (row.fires_ms, row.settings.enabled) {
            self.by_time.insert((fires_ms, name.clone()));
        }
        self.entries.insert(name, Entry { row, schedule });
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<ScheduleRow> {
        let (name, entry) = self.entries.remove_entry(name)?;
        self.before.forget(&name);
        if let Some(fires_ms) = entry.row.fires_ms {
            self.by_time.remove(&(fires_ms, name));
        }
        Some(entry.row)
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
        let gives =
            |settings: &ScheduleSettings| gives_to(&settings.to, settings.dead_letter_queue.as_deref(), recipient);
        let schedule = self.rows().find(|row| gives(&row.settings));
        schedule.map(|row| format!("schedule {:?}", row.name))
    }

    pub(crate) fn has_unsaved(&self) -> bool {
        self.before.has_unsaved()
    }

    /// Put rows of schedules that have fired into a commit, instead of what a request has put there before.
    pub(crate) fn write(&mut self, pending: &mut Pending) {
        for entry in self.before.commit().filter_map(|name| self.entries.get(name)) {
            pending.set(Table::Schedule, entry.row.key(), entry.row.value());
        }
    }

    pub(crate) fn durable(&mut self) {
        self.before.durable();
    }

    /// Nothing was written: they fire again. The next commit must not say that they have fired.
    pub(crate) fn refused(&mut self, pending: &mut Pending) {
        for (name, row) in self.before.refused() {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            if let Some(fires_ms) = entry.row.fires_ms {
                self.by_time.remove(&(fires_ms, name.clone()));
            }
            self.by_time.extend(row.fires_ms.map(|fires_ms| (fires_ms, name)));
            pending.set(Table::Schedule, row.key(), row.value());
            entry.row = row;
        }
    }

    /// One has fired; `row` says what comes next.
    fn fired(&mut self, name: &Arc<str>, row: ScheduleRow) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        if let (Some(fires_ms), true) = (row.fires_ms, row.settings.enabled) {
            self.by_time.insert((fires_ms, name.clone()));
        }
        self.before.note(name.clone(), std::mem::replace(&mut entry.row, row));
    }
}

impl BusRoom<'_> {
    /// Fire what is due.
    pub(crate) fn fire_due(&mut self) {
        let mut has_room = true;
        for name in std::mem::take(&mut self.buses.schedules.due) {
            has_room = has_room && self.ctx.check_room().is_ok();
            if has_room {
                self.fire(&name);
            } else if let Some(fires_ms) = self.buses.schedules.row(&name).ok().and_then(|row| row.fires_ms) {
                // Too much waits for the disk, or the store has failed: what is due stays due.
                self.buses.schedules.by_time.insert((fires_ms, name));
            }
        }
        self.participant().arm_after(if has_room { 0 } else { FULL_NS });
    }

    fn fire(&mut self, name: &Arc<str>) {
        let now_ms = self.ctx.now.wall_ms;
        let Some(entry) = self.buses.schedules.entries.get(name) else { return };
        let mut row = entry.row.clone();
        let (Some(next_due), Some(fires_ms)) = (row.next_due_ms, row.fires_ms) else { return };
        // What its window delays it by is no lateness.
        let seen_ms = now_ms.saturating_sub(fires_ms - next_due);
        let due = entry.schedule.due(next_due, seen_ms, row.settings.catch_up(), FIRINGS_MAX);
        for &due_ms in &due.firings {
            self.give_scheduled(&row, due_ms);
        }
        row.missed += due.missed;
        if let Some(meters) = &self.buses.schedules.meters {
            meters.missed.add(due.missed);
        }
        let draw = self.ctx.rng.next();
        row.due_at(due.next_due, draw);
        self.buses.schedules.fired(name, row);
        self.ctx.commit.pending.urgent = true;
    }

    pub(crate) fn give_scheduled(&mut self, row: &ScheduleRow, due_ms: u64) {
        let id = self.ctx.rng.uuid();
        let text = scheduled_event(self.ctx, row, id, due_ms);
        let arn = self.ctx.schedule_arn(&row.name);
        let input = row.settings.input.as_deref().map(|input| filled(input, &arn, due_ms, id));
        let Delivered { fate, .. } = self.deliver(Delivery {
            owner: (OWNER, 0),
            owner_arn: &arn,
            to: &row.settings.to,
            group_id: row.settings.group_id.as_deref(),
            partition_key: &row.name,
            dead_letter_queue: row.settings.dead_letter_queue.as_deref(),
            retry: RetryPolicy::default(),
            event: OnBus {
                id,
                time_ms: due_ms,
                text: &text,
                size: text.len(),
                carried: Carried::default(),
                left: &Cell::new(u32::MAX),
                replay: None,
                kind: None,
            },
            input: input.as_deref().unwrap_or(&text),
        });
        if let Some(meters) = &self.buses.schedules.meters {
            meters.count(Part::Whole, 0, fate.is_taken());
        }
        let fates = vec![(row.name.as_str().into(), fate)];
        self.buses.routed.push(Routed { at_ms: self.ctx.now.wall_ms, id, bus: "schedules".into(), fates });
    }
}

/// What a target is given that has no input of its own; its time is the due time.
fn scheduled_event(ctx: &Ctx, row: &ScheduleRow, id: u128, due_ms: u64) -> String {
    serde_json::json!({
        "version": "0", "id": uuid_text(id), "detail-type": "Scheduled Event", "source": "aws.scheduler",
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
