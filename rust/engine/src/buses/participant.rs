//! What the runtime brings buses: their rows, the timer of schedules, and their part of each commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forebay_core::pattern::index::Rules;

use crate::base::error::EngineError;
use crate::base::ids::RoomId;
use crate::base::timers::Timer;
use crate::buses::row::{BusRow, RuleRow, DEFAULT};
use crate::buses::schedule::{ScheduleMeters, OWNER};
use crate::buses::{Bus, BusMeters, Buses, Rule, RuleMeters, Taker};
use crate::commit::pending::{Pending, FULL_NS};
use crate::commit::rows::damaged;
use crate::ctx::Ctx;
use crate::dispatch::attempts::{Attempt, Token};
use crate::dispatch::job::Handed;
use crate::dispatch::participant::{Ended, Participant};
use crate::dispatch::Dispatch;
use crate::failures::log::{encode, FailureRow};
use crate::failures::{Failures, Owner};
use crate::payload::failure_key::FailureKey;
use crate::store::port::{StoreError, Table, Write};

/// How long archives wait before they drop more.
const TRIM_AGAIN_NS: u64 = 100_000_000;

pub(crate) const ROOM: RoomId = RoomId(6);
/// A schedule is due.
pub(crate) const SCHEDULES: Timer = Timer { room: ROOM, kind: 0, id: 0 };
/// Archives have more to drop than fits into one commit.
pub(crate) const ARCHIVES: Timer = Timer { room: ROOM, kind: 1, id: 0 };
/// A replay goes on.
pub(crate) const REPLAYS: Timer = Timer { room: ROOM, kind: 2, id: 0 };

/// What a target did not take of an event that is not durable yet.
pub(crate) struct Undelivered {
    pub(crate) key: FailureKey,
    pub(crate) row: FailureRow,
    pub(crate) payload: Box<[u8]>,
}

/// Buses, with what is needed to keep them.
pub(crate) struct BusParticipant<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) failures: &'a mut Failures,
    pub(crate) buses: &'a mut Buses,
}

impl<'a> BusParticipant<'a> {
    pub(crate) fn new(
        ctx: &'a mut Ctx,
        _dispatch: &'a mut Dispatch,
        failures: &'a mut Failures,
        buses: &'a mut Buses,
    ) -> Self {
        Self { ctx, failures, buses }
    }

    /// Take a bus's row into memory.
    pub(crate) fn take_bus(&mut self, row: BusRow) {
        let meters = BusMeters::new(&self.ctx.registry, &row.name);
        self.buses.entries.insert(
            row.name.clone(),
            Bus {
                name: row.name.as_str().into(),
                row,
                rules: BTreeMap::new(),
                patterns: Rules::default(),
                archives: BTreeSet::new(),
                meters,
            },
        );
    }

    /// Take a rule's row into memory.
    pub(crate) fn take_rule(&mut self, row: RuleRow) -> Result<(), EngineError> {
        let compiled = row.settings.compile(&row.name)?;
        let meters = RuleMeters::new(&self.ctx.registry, &row.bus, &row.name);
        let function = format!("{}/{}", row.bus, row.name);
        self.failures.owners.insert(row.id, Owner::of_rule(function, Box::new(meters.clone())));
        let arn = self.ctx.rule_arn(Some(&*row.bus).filter(|&bus| bus != DEFAULT), &row.name);
        let rule = Rule { row, compiled, arn, meters };
        if let Some(bus) = self.buses.entries.get_mut(&rule.row.bus) {
            let name: Arc<str> = rule.row.name.as_str().into();
            let taker = Taker::Rule(name.clone());
            match rule.compiled.pattern.clone().filter(|_| rule.row.settings.enabled) {
                Some(pattern) => bus.patterns.add(taker, pattern),
                None => drop(bus.patterns.remove(&taker)),
            }
            bus.rules.insert(name, Arc::new(rule));
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), EngineError> {
        let meters = ScheduleMeters::new(&self.ctx.registry);
        self.failures.owners.insert(OWNER, Owner::of_rule("schedules".into(), Box::new(meters.clone())));
        self.buses.schedules.meters = Some(meters);
        self.take_bus(BusRow::new(DEFAULT, self.ctx.now.wall_ms));
        for (_, value) in self.ctx.commit.reader.scan(Table::Bus, &[], None, usize::MAX)? {
            self.take_bus(serde_json::from_slice(&value).map_err(|_| damaged("a bus's row"))?);
        }
        for (_, value) in self.ctx.commit.reader.scan(Table::Rule, &[], None, usize::MAX)? {
            let row: RuleRow = serde_json::from_slice(&value).map_err(|_| damaged("a rule's row"))?;
            self.ctx.mapping_id_found(&row.id.to_be_bytes(), "a rule's id")?;
            self.take_rule(row)?;
        }
        self.buses.groups.read(&mut self.ctx.commit.reader, self.ctx.now.wall_ms)?;
        self.buses.connections.read(&mut self.ctx.commit.reader)?;
        self.buses.schedules.read(&mut self.ctx.commit.reader)?;
        self.read_archives()?;
        self.read_replays()
    }

    /// Let the timer ring when the next schedule fires.
    pub(crate) fn arm(&mut self) {
        self.arm_after(0);
    }

    pub(crate) fn arm_after(&mut self, wait_at_least_ns: u64) {
        if !self.ctx.started {
            return;
        }
        if let Some(fires_ms) = self.buses.schedules.next_ms() {
            let wait_ms = fires_ms.saturating_sub(self.ctx.now.wall_ms);
            // On a full disk it would be refused at once, again and again.
            let is_full = self.ctx.commit.refused.is_some();
            let wait_at_least_ns = if is_full { FULL_NS } else { wait_at_least_ns };
            let wait_ns = wait_ms.saturating_mul(1_000_000).max(wait_at_least_ns);
            let due_ns = self.ctx.now.mono_ns.saturating_add(wait_ns).max(self.ctx.next_turn_ns());
            self.ctx.timers.arm(&mut self.buses.schedules.armed, due_ns, SCHEDULES);
        }
    }
}

impl Participant for BusParticipant<'_> {
    fn restore(&mut self) -> Result<(), StoreError> {
        self.read().map_err(|error| match error {
            EngineError::Store(error) => error,
            error => StoreError::Corrupt(error.to_string()),
        })
    }

    fn start(&mut self) -> Result<(), EngineError> {
        self.buses.connections.tell(self.ctx);
        self.arm();
        self.arm_replays(0);
        self.trim_archives()
    }

    /// The wall clock may have been set.
    fn sweep(&mut self) -> Result<(), EngineError> {
        self.arm();
        self.trim_archives()
    }

    fn sweep_finds_ms(&mut self) -> Result<Option<u64>, EngineError> {
        // The sweep arms schedules anew, by a wall clock that may have been set.
        let schedule_ms = self.buses.schedules.next_ms();
        Ok(self.archives_due_ms()?.into_iter().chain(schedule_ms).min())
    }

    fn due(&mut self, timer: Timer) {
        if timer == REPLAYS {
            self.buses.replays.armed = None;
            self.buses.replays.is_due = true;
            return;
        }
        if timer == ARCHIVES {
            self.buses.archives.armed = None;
            if let Err(EngineError::Store(error)) = self.trim_archives() {
                self.ctx.fail(error);
            }
            return;
        }
        self.buses.schedules.armed = None;
        self.buses.schedules.look(self.ctx.now.wall_ms);
        self.arm();
    }

    fn hand_out(&mut self, _token: Token) -> Option<Handed> {
        None
    }

    fn settled(&mut self, _attempt: Attempt, _ended: Ended) {}

    fn has_puts(&self) -> bool {
        let Buses { undelivered, given_again, schedules, archives, replays, .. } = &*self.buses;
        !undelivered.is_empty()
            || !given_again.is_empty()
            || schedules.has_unsaved()
            || archives.has_unsaved()
            || replays.has_unsaved()
    }

    fn write(&mut self, pending: &mut Pending, writes: &mut Vec<Write>, puts: bool) {
        self.buses.archives.write(pending, writes, puts);
        if !puts {
            return;
        }
        self.buses.failing.clear();
        // Not by the rows of the pending commit: those are written all the same when what was put is refused.
        for Undelivered { key, row, payload } in std::mem::take(&mut self.buses.undelivered) {
            writes.push(Write::Add { table: Table::Failure, key: key.bytes(), value: encode(&row, &payload) });
            if row.destination.is_some() {
                self.buses.failing.push(key);
            }
        }
        for key in std::mem::take(&mut self.buses.given_again) {
            // What was noted of it before goes with it.
            pending.cancel(Table::Failure, key.bytes());
            writes.push(Write::Remove { table: Table::Failure, key: key.bytes() });
            self.buses.leaving.push(key);
        }
        self.buses.schedules.write(pending);
        self.buses.replays.write(pending);
        self.arm_replays(0);
        self.buses.committing = std::mem::take(&mut self.buses.routed);
    }

    fn durable(&mut self) {
        for routed in std::mem::take(&mut self.buses.committing) {
            self.ctx.observe.history.routes.note(routed);
        }
        self.buses.leaving.drain(..).for_each(|key| self.failures.deliveries.left(key));
        for id in std::mem::take(&mut self.buses.deleted) {
            if let Err(error) = self.ctx.remove_rows(Table::Failure, &id.to_be_bytes()) {
                self.ctx.fail(error);
            }
        }
        // Failures come after this room: they are sent now.
        self.failures.committing.extend(std::mem::take(&mut self.buses.failing));
        self.buses.schedules.durable();
        if self.buses.archives.durable() {
            let due_ns = self.ctx.now.mono_ns + TRIM_AGAIN_NS;
            self.ctx.timers.arm(&mut self.buses.archives.armed, due_ns, ARCHIVES);
        }
        if self.buses.replays.durable() {
            self.arm_replays(0);
        }
    }

    /// What was put is refused with everything that it became. A schedule that has fired fires again.
    fn refused(&mut self, _error: &StoreError) {
        let at_ns = self.ctx.now.mono_ns + FULL_NS;
        let Buses { given_again, leaving, .. } = &mut *self.buses;
        leaving.drain(..).chain(given_again.drain(..)).for_each(|key| self.failures.deliveries.again(key, at_ns));
        self.buses.undelivered.clear();
        self.buses.failing.clear();
        self.buses.routed.clear();
        self.buses.committing.clear();
        let pending = &mut self.ctx.commit.pending;
        self.buses.schedules.refused(pending);
        self.buses.archives.refused(pending);
        self.buses.replays.refused(pending);
        self.arm_after(FULL_NS);
        self.arm_replays(FULL_NS);
    }
}
