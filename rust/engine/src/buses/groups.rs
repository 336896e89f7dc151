//! Groups of schedules: a schedule of a group other than `default` is named `group/schedule`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::bus::{CreateGroup, ScheduleGroup as Answer, ScheduleNamed};
use crate::api::notes::{Annotate, Notes};
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::buses::row::{check_rule_name, DEFAULT};
use crate::buses::BusRoom;
use crate::commit::direct_reads::DirectReads;
use crate::commit::done::Done;
use crate::commit::rows::damaged;
use crate::store::port::Table;

/// Most groups of a store. <https://docs.aws.amazon.com/scheduler/latest/UserGuide/scheduler-quotas.html>
const GROUPS_MAX: usize = 500;
/// Most schedules that go with their group, in one commit.
const DELETED_MAX: usize = 10_000;

/// A group's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GroupRow {
    name: String,
    created_ms: u64,
    #[serde(default, skip_serializing_if = "Notes::is_empty")]
    notes: Notes,
}

/// All groups, by name.
#[derive(Default)]
pub(crate) struct Groups(BTreeMap<String, GroupRow>);

impl Groups {
    fn group(&self, name: &str) -> Result<&GroupRow, EngineError> {
        let found = self.0.get(name);
        found.ok_or_else(|| EngineError::NotFound(format!("Schedule group {name} does not exist.")))
    }

    /// Read the groups of a store; the default one is always there.
    pub(crate) fn read(&mut self, reader: &mut DirectReads, now_ms: u64) -> Result<(), EngineError> {
        let default = GroupRow { name: DEFAULT.into(), created_ms: now_ms, notes: Notes::new() };
        self.0.insert(DEFAULT.into(), default);
        for (_, value) in reader.scan(Table::ScheduleGroup, &[], None, usize::MAX)? {
            let row: GroupRow = serde_json::from_slice(&value).map_err(|_| damaged("a schedule group's row"))?;
            self.0.insert(row.name.clone(), row);
        }
        Ok(())
    }

    /// Refuse a name that no schedule can have, and a group that is not there.
    pub(crate) fn check_schedule_name(&self, name: &str) -> Result<(), EngineError> {
        match name.split_once('/') {
            Some((DEFAULT, _)) => Err(EngineError::Invalid(format!(
                "name is {name:?}: a schedule of the default group is named without its group"
            ))),
            Some((group, name)) => {
                check_rule_name(name, "schedule")?;
                self.group(group).map(drop)
            }
            None => check_rule_name(name, "schedule"),
        }
    }
}

/// Groups of schedules, with what lies below them.
pub(crate) struct GroupRoom<'a> {
    pub(crate) below: BusRoom<'a>,
}

impl GroupRoom<'_> {
    /// Create a group.
    pub(crate) fn group_create(&mut self, asked: CreateGroup) -> Result<Done, EngineError> {
        let CreateGroup { name, notes } = asked;
        check_rule_name(&name, "schedule group")?;
        if self.below.buses.groups.0.contains_key(&name) {
            return Err(EngineError::Conflict(format!("Schedule group {name} already exists.")));
        }
        if self.below.buses.groups.0.len() >= GROUPS_MAX {
            return Err(EngineError::Invalid(format!("the store has {GROUPS_MAX} schedule groups, which is the most")));
        }
        let created_ms = self.below.ctx.now.wall_ms;
        let notes = Annotate { name: name.clone(), notes }.applied(&Notes::new())?;
        self.save(GroupRow { name: name.clone(), created_ms, notes });
        Ok(Done::when_durable(self.described(self.below.buses.groups.group(&name)?)))
    }

    pub(crate) fn group_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let list: Vec<Answer> = self.below.buses.groups.0.values().map(|row| self.described(row)).collect();
        Ok(Done::at_once(list))
    }

    pub(crate) fn group_describe(&mut self, named: ScheduleNamed) -> Result<Done, EngineError> {
        Ok(Done::at_once(self.described(self.below.buses.groups.group(&named.name)?)))
    }

    pub(crate) fn group_annotate(&mut self, asked: Annotate) -> Result<Done, EngineError> {
        let mut row = self.below.buses.groups.group(&asked.name)?.clone();
        row.notes = asked.applied(&row.notes)?;
        let answer = self.described(&row);
        self.save(row);
        Ok(Done::when_durable(answer))
    }

    /// Delete a group with its schedules.
    pub(crate) fn group_delete(&mut self, named: ScheduleNamed) -> Result<Done, EngineError> {
        let name = named.name;
        self.below.buses.groups.group(&name)?;
        if name == DEFAULT {
            return Err(EngineError::Invalid("The default schedule group cannot be deleted.".into()));
        }
        let schedules = self.below.buses.schedules.names_of(&format!("{name}/"));
        if schedules.len() > DELETED_MAX {
            return Err(EngineError::Conflict(format!(
                "schedule group {name:?} has {} schedules: at most {DELETED_MAX} go with their group; delete some first",
                schedules.len()
            )));
        }
        for schedule in schedules {
            self.below.forget_schedule(&schedule)?;
        }
        self.below.buses.groups.0.remove(&name);
        self.below.ctx.commit.pending.remove(Table::ScheduleGroup, name.into_bytes());
        self.below.ctx.commit.pending.urgent = true;
        Ok(Done::when_durable(Empty {}))
    }

    fn save(&mut self, row: GroupRow) {
        let value = serde_json::to_vec(&row).unwrap_or_default();
        let pending = &mut self.below.ctx.commit.pending;
        pending.set(Table::ScheduleGroup, row.name.clone().into_bytes(), value);
        pending.urgent = true;
        self.below.buses.groups.0.insert(row.name.clone(), row);
    }

    fn described(&self, row: &GroupRow) -> Answer {
        let GroupRow { name, created_ms, notes } = row.clone();
        Answer { arn: self.below.ctx.arn("scheduler", "schedule-group/", &name), name, created_ms, notes }
    }
}
