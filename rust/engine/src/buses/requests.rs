//! `bus.*`, `rule.*` and `schedule.*`

use std::collections::HashMap;

use forebay_core::pattern::bus::Failure;
use forebay_core::schedule::CUSTOM_BUS_REFUSAL;
use serde_json::value::RawValue;

use crate::api::bus::{
    AnnotateRule, Bus as BusAnswer, CatchUp, Declare, Emit, EnableRule, Happened, ListSchedules, Named, Put, PutRule,
    PutSchedule, Recipient, Rule as RuleAnswer, RuleNamed, Schedule as Answer, ScheduleNamed, ScheduleSettings,
    TestPattern, Tested, Unmet, SCHEDULES_LISTED_MAX,
};
use crate::api::notes::{Annotate, Notes};
use crate::api::schema::{PutSchema, RegistryNamed};
use crate::api::Empty;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::limits::{BUS_DESCRIPTION_CHARACTERS_MAX, BUS_EVENT_BYTES_MAX, RULES_MAX, SCHEDULES_MAX};
use crate::buses::participant::BusParticipant;
use crate::buses::row::{check_bus_name, check_rule_name, parse_pattern, BusRow, RuleRow, ScheduleRow, DEFAULT};
use crate::buses::{put, schemas};
use crate::buses::{schedule, Bus, BusRoom, Rule, RuleMeters, Taker};
use crate::commit::done::{json, Done};
use crate::ctx::RULE_SCHEDULE;
use crate::store::port::Table;

/// Due times that a description of a schedule gives.
const UPCOMING: usize = 5;

impl BusRoom<'_> {
    pub(crate) fn participant(&mut self) -> BusParticipant<'_> {
        BusParticipant { ctx: self.ctx, failures: self.failures, buses: self.buses }
    }

    pub(crate) fn bus_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let list: Vec<BusAnswer> = self.buses.entries.values().map(|bus| self.describe_bus(bus)).collect();
        Ok(Done::at_once(list))
    }

    pub(crate) fn bus_describe(&mut self, named: Named) -> Result<Done, EngineError> {
        Ok(Done::at_once(self.describe_bus(self.buses.bus(&named.name)?)))
    }

    /// Create a bus, or change one that exists; what is not said of it stays.
    pub(crate) fn bus_declare(&mut self, asked: Declare) -> Result<Done, EngineError> {
        let Declare { name, discovery, enforce, description, notes, only_new } = asked;
        check_bus_name(&name)?;
        if description.as_ref().is_some_and(|text| text.chars().count() > BUS_DESCRIPTION_CHARACTERS_MAX) {
            return Err(EngineError::Invalid(format!(
                "the description of bus {name:?} has more than {BUS_DESCRIPTION_CHARACTERS_MAX} characters"
            )));
        }
        if let Some(enforce) = &enforce {
            schemas::schemas(self).check_enforced(enforce)?;
        }
        let known = self.buses.entries.get(&name).map(|bus| bus.row.clone());
        let is_new = known.is_none();
        if only_new && !is_new {
            return Err(EngineError::Conflict(format!("Event bus {name} already exists.")));
        }
        let before = known.unwrap_or_else(|| BusRow::new(&name, self.ctx.now.wall_ms));
        let row = BusRow {
            discovery: discovery.unwrap_or(before.discovery),
            enforce: enforce.unwrap_or_else(|| before.enforce.clone()),
            description: description.unwrap_or_else(|| before.description.clone()),
            notes: Annotate { name: name.clone(), notes }.applied(&before.notes)?,
            ..before.clone()
        };
        if is_new || row != before {
            let value = serde_json::to_vec(&row).unwrap_or_default();
            self.ctx.commit.pending.set(Table::Bus, name.clone().into_bytes(), value);
            self.ctx.commit.pending.urgent = true;
            match self.buses.entries.get_mut(&name) {
                Some(bus) => bus.row = row,
                None => self.participant().take_bus(row),
            }
        }
        Ok(Done::when_durable(self.describe_bus(self.buses.bus(&name)?)))
    }

    pub(crate) fn bus_annotate(&mut self, asked: Annotate) -> Result<Done, EngineError> {
        let name = asked.name.clone();
        let mut row = self.buses.bus(&name)?.row.clone();
        row.notes = asked.applied(&row.notes)?;
        self.ctx.commit.pending.set(
            Table::Bus,
            name.clone().into_bytes(),
            serde_json::to_vec(&row).unwrap_or_default(),
        );
        self.ctx.commit.pending.urgent = true;
        if let Some(bus) = self.buses.entries.get_mut(&name) {
            bus.row = row;
        }
        Ok(Done::when_durable(self.describe_bus(self.buses.bus(&name)?)))
    }

    /// Remove a bus that has no rules.
    pub(crate) fn bus_delete(&mut self, Named { name }: Named) -> Result<Done, EngineError> {
        let bus = self.buses.bus(&name)?;
        if name == DEFAULT {
            return Err(EngineError::Invalid("Cannot delete event bus default.".into()));
        }
        match bus.rules.len() {
            0 => {}
            1 => return Err(EngineError::Conflict(format!("bus {name:?} has a rule: delete it first"))),
            rules => return Err(EngineError::Conflict(format!("bus {name:?} has {rules} rules: delete them first"))),
        }
        if let Some(archive) = self.buses.archives.of_bus(&name) {
            return Err(EngineError::Conflict(format!("bus {name:?} has archive {archive:?}: delete it first")));
        }
        if let Some(user) = self.buses.target_of(&Recipient::Bus(name.clone())) {
            return Err(EngineError::Conflict(format!("bus {name:?} is a target of {user}: take it back first")));
        }
        self.buses.entries.remove(&name);
        self.ctx.registry.forget_all("bus", &name);
        self.ctx.commit.pending.remove(Table::Bus, name.into_bytes());
        self.ctx.commit.pending.urgent = true;
        Ok(Done::when_durable(Empty {}))
    }

    /// Tell what came of an event and a pattern.
    #[allow(clippy::unused_self, reason = "every request is a method of its room")]
    pub(crate) fn bus_test(&mut self, tested: Result<Tested, EngineError>) -> Result<Done, EngineError> {
        tested.map(Done::at_once)
    }

    fn describe_bus(&self, bus: &Bus) -> BusAnswer {
        let BusRow { name, created_ms, discovery, enforce, description, notes } = bus.row.clone();
        let arn = self.ctx.bus_arn(&name);
        BusAnswer { name, arn, created_ms, rules: bus.rules.len(), discovery, enforce, description, notes }
    }
}

/// Whether an event has what AWS demands of one that is tested: all but `resources`, which its page names, too.
fn is_whole(event: &str) -> bool {
    let fields: Option<HashMap<String, &RawValue>> = serde_json::from_str(event).ok();
    let needed = ["id", "account", "source", "time", "region", "detail-type"];
    fields.is_some_and(|fields| needed.iter().all(|name| fields.contains_key(*name)))
}

impl TestPattern {
    /// Hold the event against the pattern: it needs nothing of the engine, and an event may be large.
    pub(crate) fn read(self) -> Result<Tested, EngineError> {
        let invalid = |text: String| EngineError::Invalid(text);
        if self.event.len() > BUS_EVENT_BYTES_MAX {
            let size = self.event.len();
            return Err(invalid(format!("Event size exceeded: {size} bytes, allowed are {BUS_EVENT_BYTES_MAX}.")));
        }
        // AWS looks at the event first.
        if self.whole && !is_whole(&self.event) {
            return Err(invalid("Parameter Event is not valid.".into()));
        }
        let pattern = parse_pattern(&self.pattern)?;
        let report = pattern.report(&self.event).map_err(|error| invalid(error.to_string()))?;
        let unmet =
            |one: Failure| Unmet { path: one.path, condition: one.condition, value: one.value, reason: one.reason };
        let failures = report.failures.into_iter().map(unmet).collect();
        Ok(Tested { matches: report.matches, failures })
    }
}

impl BusRoom<'_> {
    pub(crate) fn rule_list(&mut self, named: Named) -> Result<Done, EngineError> {
        let list: Vec<RuleAnswer> = self.buses.bus(&named.name)?.rules.values().map(|rule| rule.described()).collect();
        Ok(Done::at_once(list))
    }

    pub(crate) fn rule_describe(&mut self, named: RuleNamed) -> Result<Done, EngineError> {
        Ok(Done::at_once(self.buses.rule(&named.bus, &named.name)?.described()))
    }

    /// Create a rule, or change one that exists: it keeps its failures.
    pub(crate) fn rule_put(&mut self, asked: PutRule) -> Result<Done, EngineError> {
        let PutRule { bus, name, instead_of, notes, settings } = asked;
        check_rule_name(&name, "rule")?;
        self.buses.bus(&bus)?;
        if bus != DEFAULT && settings.schedule_expression.is_some() {
            return Err(EngineError::Invalid(CUSTOM_BUS_REFUSAL.into()));
        }
        settings.compile(&name)?;
        for queue in settings.targets.iter().filter_map(|target| target.dead_letter_queue.as_ref()) {
            self.queues.queue_id(queue)?;
        }
        if instead_of
            .is_some_and(|wanted| self.buses.rule(&bus, &name).map_or(true, |rule| rule.row.settings != wanted))
        {
            return Err(EngineError::Conflict(format!("Rule {name} on EventBus {bus} was changed meanwhile.")));
        }
        let rules: usize = self.buses.entries.values().map(|bus| bus.rules.len()).sum();
        let row = match self.buses.rule(&bus, &name) {
            Ok(known) if known.row.settings == settings => return Ok(Done::when_durable(known.described())),
            Ok(known) => RuleRow { settings, ..known.row.clone() },
            Err(_) if rules >= RULES_MAX => {
                return Err(EngineError::Invalid(format!("the store has {rules} rules: allowed are {RULES_MAX}")));
            }
            Err(_) => {
                let id = self.ctx.new_mapping_id();
                let (bus, created_ms) = (bus.clone(), self.ctx.now.wall_ms);
                let notes = Annotate { name: name.clone(), notes }.applied(&Notes::new())?;
                RuleRow { id, bus, name: name.clone(), created_ms, notes, settings }
            }
        };
        self.save_rule(row)?;
        Ok(Done::when_durable(self.buses.rule(&bus, &name)?.described()))
    }

    pub(crate) fn rule_enable(&mut self, asked: EnableRule) -> Result<Done, EngineError> {
        let mut row = self.buses.rule(&asked.bus, &asked.name)?.row.clone();
        if row.settings.enabled != asked.enabled {
            row.settings.enabled = asked.enabled;
            self.save_rule(row)?;
        }
        Ok(Done::when_durable(self.buses.rule(&asked.bus, &asked.name)?.described()))
    }

    pub(crate) fn rule_annotate(&mut self, asked: AnnotateRule) -> Result<Done, EngineError> {
        let AnnotateRule { bus, name, notes } = asked;
        let mut row = self.buses.rule(&bus, &name)?.row.clone();
        row.notes = Annotate { name: name.clone(), notes }.applied(&row.notes)?;
        self.save_rule(row)?;
        Ok(Done::when_durable(self.buses.rule(&bus, &name)?.described()))
    }

    /// Remove a rule with its failures.
    pub(crate) fn rule_delete(&mut self, named: RuleNamed) -> Result<Done, EngineError> {
        let rule = self.buses.rule(&named.bus, &named.name)?;
        let (id, has_schedule) = (rule.row.id, rule.row.settings.schedule_expression.is_some());
        if has_schedule {
            self.forget_schedule(&schedule_of_rule(&named.name))?;
        }
        if let Some(bus) = self.buses.entries.get_mut(&named.bus) {
            bus.patterns.remove(&Taker::Rule(named.name.as_str().into()));
            bus.rules.remove(named.name.as_str());
        }
        self.failures.forget(id);
        self.buses.undelivered.retain(|one| one.key.mapping != id);
        self.buses.failing.retain(|key| key.mapping != id);
        self.buses.deleted.push(id);
        RuleMeters::forget(&self.ctx.registry, &named.bus, &named.name);
        self.ctx.remove_rows(Table::Failure, &id.to_be_bytes())?;
        self.ctx.commit.pending.remove(Table::Rule, rule_key(&named.bus, &named.name));
        self.ctx.commit.pending.urgent = true;
        Ok(Done::when_durable(Empty {}))
    }

    fn save_rule(&mut self, row: RuleRow) -> Result<(), EngineError> {
        let value = serde_json::to_vec(&row).unwrap_or_default();
        self.ctx.commit.pending.set(Table::Rule, rule_key(&row.bus, &row.name), value);
        self.ctx.commit.pending.urgent = true;
        let had_one =
            self.buses.rule(&row.bus, &row.name).is_ok_and(|known| known.row.settings.schedule_expression.is_some());
        if had_one || row.settings.schedule_expression.is_some() {
            self.schedule_rule(&row)?;
        }
        self.participant().take_rule(row)
    }

    /// Keep the schedule of a rule as the rule says.
    fn schedule_rule(&mut self, row: &RuleRow) -> Result<(), EngineError> {
        let name = schedule_of_rule(&row.name);
        let Some(expression) = row.settings.schedule_expression.clone() else { return self.forget_schedule(&name) };
        let known = self.known_schedule(&name)?;
        let settings = ScheduleSettings {
            expression,
            timezone: "UTC".into(),
            start_ms: None,
            end_ms: None,
            flexible_minutes: 0,
            catch_up: CatchUp::None,
            enabled: row.settings.enabled,
            to: Recipient::Rule(row.name.clone()),
            group_id: None,
            input: None,
            dead_letter_queue: None,
            maximum_retry_attempts: None,
            maximum_event_age_ms: None,
            delete_after_completion: false,
            description: String::new(),
            role: None,
        };
        if known.as_ref().is_none_or(|known| known.settings != settings) {
            self.save_schedule(name, settings, known)?;
        }
        Ok(())
    }
}

/// The name of the schedule of a rule. No other schedule has a colon in its name.
fn schedule_of_rule(name: &str) -> String {
    format!("{RULE_SCHEDULE}{name}")
}

/// No name has a zero in it.
fn rule_key(bus: &str, name: &str) -> Vec<u8> {
    [bus.as_bytes(), &[0], name.as_bytes()].concat()
}

impl Rule {
    fn described(&self) -> RuleAnswer {
        let RuleRow { bus, name, created_ms, notes, settings, .. } = self.row.clone();
        RuleAnswer { bus, name, arn: self.arn.clone(), created_ms, notes, settings }
    }
}

impl BusRoom<'_> {
    pub(crate) fn schedule_list(&mut self, asked: ListSchedules) -> Result<Done, EngineError> {
        if !(1..=SCHEDULES_LISTED_MAX).contains(&asked.limit) {
            return Err(EngineError::Invalid(format!(
                "limit is {}: allowed are 1 to {SCHEDULES_LISTED_MAX} schedules",
                asked.limit
            )));
        }
        let mut list: Vec<Answer> = Vec::new();
        for name in self.buses.schedules.page(&asked) {
            // One that is completed may be on its way out.
            if let Some(row) = self.known_schedule(&name)? {
                list.push(self.describe_schedule(&row, 1));
            }
        }
        Ok(Done::at_once(list))
    }

    pub(crate) fn schedule_describe(&mut self, named: ScheduleNamed) -> Result<Done, EngineError> {
        let row = schedule::schedule_row(self, &named.name)?;
        Ok(Done::at_once(self.describe_schedule(&row, UPCOMING)))
    }

    /// Create a schedule, or change one that exists. Rates begin anew when something is changed, and go on when nothing is.
    pub(crate) fn schedule_put(&mut self, asked: PutSchedule) -> Result<Done, EngineError> {
        let PutSchedule { name, only_new, settings } = asked;
        self.buses.groups.check_schedule_name(&name)?;
        if matches!(settings.to, Recipient::Rule(_)) {
            return Err(EngineError::Invalid("a rule is not a target of a schedule: give the rule its own".into()));
        }
        let known = self.known_schedule(&name)?;
        if only_new && known.is_some() {
            settings.compile(self.ctx.now.wall_ms)?;
            return Err(EngineError::Conflict(format!("Schedule {name} already exists.")));
        }
        if let Some(row) = known.as_ref().filter(|row| row.settings == settings) {
            return Ok(Done::when_durable(self.describe_schedule(row, UPCOMING)));
        }
        if known.is_none() && self.buses.schedules.len() >= SCHEDULES_MAX {
            return Err(EngineError::Invalid(format!("the store has {SCHEDULES_MAX} schedules, which is the most")));
        }
        if let Some(queue) = &settings.dead_letter_queue {
            self.queues.queue_id(queue)?;
        }
        self.save_schedule(name, settings, known)
    }

    fn known_schedule(&mut self, name: &str) -> Result<Option<ScheduleRow>, EngineError> {
        match schedule::schedule_row(self, name) {
            Ok(row) => Ok(Some(row)),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn save_schedule(
        &mut self,
        name: String,
        settings: ScheduleSettings,
        known: Option<ScheduleRow>,
    ) -> Result<Done, EngineError> {
        let now_ms = self.ctx.now.wall_ms;
        let next = settings.compile(now_ms)?.next_after(now_ms);
        let row = match &known {
            // What is due, and overdue, stays so.
            Some(known) if known.settings.is_due_as(&settings) => {
                // Each start of an app declares its schedules anew.
                let modified_ms = if known.settings == settings { known.modified_ms } else { Some(now_ms) };
                let row = ScheduleRow { modified_ms, settings, ..known.clone() };
                self.buses.schedules.change(&row, known);
                row
            }
            known => {
                let (created_ms, missed) =
                    known.as_ref().map_or((now_ms, 0), |row| (row.created_ms, row.missed_by(now_ms)));
                let mut row = ScheduleRow {
                    name: name.clone(),
                    created_ms,
                    modified_ms: known.as_ref().map(|_| now_ms),
                    enabled_ms: now_ms,
                    next_due_ms: None,
                    fires_ms: None,
                    missed,
                    settings,
                };
                row.due_at(next, self.ctx.rng.next());
                self.buses.schedules.take(&row, known.as_ref());
                row
            }
        };
        self.ctx.commit.pending.set(Table::Schedule, row.key(), row.value());
        self.ctx.commit.pending.urgent = true;
        self.participant().arm();
        Ok(Done::when_durable(self.describe_schedule(&row, UPCOMING)))
    }

    /// Give a schedule's target an event now, beside its due times.
    pub(crate) fn schedule_run(&mut self, named: ScheduleNamed, waiter: Waiter) {
        let row = self.ctx.check_room().and_then(|()| schedule::schedule_row(self, &named.name));
        match row {
            Ok(row) => {
                schedule::give_scheduled(self, &row, self.ctx.now.wall_ms);
                self.ctx.commit.pending.waiters.push((waiter, Reply::Added(json(Empty {}))));
                self.ctx.commit.pending.urgent = true;
            }
            Err(error) => self.ctx.answer(waiter, Err(error)),
        }
    }

    pub(crate) fn schedule_delete(&mut self, named: ScheduleNamed) -> Result<Done, EngineError> {
        if let Some(rule) = named.name.strip_prefix(RULE_SCHEDULE) {
            return Err(EngineError::Conflict(format!("the schedule goes with rule {rule:?}: delete that instead")));
        }
        self.forget_schedule(&named.name)?;
        Ok(Done::when_durable(Empty {}))
    }

    pub(crate) fn forget_schedule(&mut self, name: &str) -> Result<(), EngineError> {
        let row = schedule::schedule_row(self, name)?;
        self.buses.schedules.remove(&row);
        self.ctx.commit.pending.remove(Table::Schedule, name.as_bytes().to_vec());
        self.ctx.commit.pending.urgent = true;
        Ok(())
    }

    fn describe_schedule(&self, row: &ScheduleRow, upcoming: usize) -> Answer {
        let now_ms = self.ctx.now.wall_ms;
        let is_over = row.next_due_ms.is_none() || !row.settings.enabled;
        let schedule = row.settings.compile(row.enabled_ms).ok().filter(|_| !is_over);
        let upcoming_ms = schedule.map(|schedule| schedule.upcoming(now_ms, upcoming)).unwrap_or_default();
        Answer {
            name: row.name.clone(),
            arn: self.ctx.schedule_arn(&row.name),
            created_ms: row.created_ms,
            modified_ms: row.modified_ms.unwrap_or(row.created_ms),
            next_due_ms: row.next_due_ms.filter(|_| row.settings.enabled),
            upcoming_ms,
            missed: row.missed,
            settings: row.settings.clone(),
        }
    }
}

/// What is carried out in the files that tell of it.
impl BusRoom<'_> {
    pub(crate) fn bus_put(&mut self, asked: Put, waiter: Waiter) {
        put::bus_put(self, asked, waiter);
    }

    pub(crate) fn bus_emit(&mut self, asked: Emit) -> Result<Done, EngineError> {
        put::bus_emit(self, asked)
    }

    pub(crate) fn bus_happened(&mut self, asked: Happened) -> Result<Done, EngineError> {
        put::bus_happened(self, asked)
    }

    pub(crate) fn schema_put(&mut self, asked: PutSchema) -> Result<Done, EngineError> {
        schemas::schema_put(self, asked)
    }

    pub(crate) fn registry_delete(&mut self, named: RegistryNamed) -> Result<Done, EngineError> {
        schemas::registry_delete(self, named)
    }
}
