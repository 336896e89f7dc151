//! Machines: they are declared, described, annotated and deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use forebay_core::workflow::definition::check;
use serde_json::Value;

use crate::api::notes::{Annotate, Notes};
use crate::api::workflow::{Declare, Kind, LogLevel, Named, Problem, Revision, Validate, Validated, Workflow};
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::store::port::Table;
use crate::workflows::row::{check_name, MachineRow};
use crate::workflows::{logs, supported};
use crate::workflows::{Machine, Program, WorkflowRoom};

/// So many revisions stay although no execution runs with them.
const REVISIONS_KEPT: u32 = 20;

/// What of a machine's row a declaration sets; another value of any of them is another revision.
fn set(row: &MachineRow) -> (&str, LogLevel, bool, Option<&str>, Option<&str>, bool) {
    let (group, role) = (row.log_group.as_deref(), row.role.as_deref());
    (&row.definition, row.log_level, row.include_execution_data, group, role, row.tracing)
}

/// A declaration whose definition was read.
pub(crate) struct ReadDeclaration {
    asked: Declare,
    states: Value,
    program: Result<Arc<Program>, EngineError>,
}

/// A definition that was looked through for faults.
pub(crate) struct ReadDefinition {
    states: Value,
    problems: Vec<Problem>,
}

impl Declare {
    /// Do what needs nothing of the engine.
    pub(crate) fn read(self) -> ReadDeclaration {
        let program = Program::read(&self.definition, self.kind);
        ReadDeclaration { states: supported::states(&self.definition), program, asked: self }
    }
}

impl Validate {
    /// Do what needs nothing of the engine.
    pub(crate) fn read(self) -> ReadDefinition {
        let found = check(&self.definition, self.kind.into()).into_iter();
        let problems = found.map(|one| Problem {
            code: one.fault.code().to_owned(),
            message: one.fault.message(),
            location: one.location,
        });
        ReadDefinition { states: supported::states(&self.definition), problems: problems.collect() }
    }
}

/// Refuse what no workflow can be, and one that is to be new and is there.
fn check_asked(room: &WorkflowRoom<'_>, asked: &Declare) -> Result<(), EngineError> {
    let name = &asked.name;
    check_name(name)?;
    if asked.only_new && room.workflows.machine(name).is_ok() {
        let arn = room.below.ctx.workflow_arn(name);
        return Err(EngineError::Conflict(format!("State Machine Already Exists: '{arn}'")));
    }
    let is_logged = asked.log_level != LogLevel::Off || asked.include_execution_data;
    if asked.kind == Kind::Standard && is_logged && asked.log_group.is_none() {
        return Err(EngineError::Invalid(format!(
            "workflow {name:?}: log_level and include_execution_data are for EXPRESS workflows, and for those with a log group; \
             a STANDARD one has its history"
        )));
    }
    Ok(())
}

/// Create a workflow, or give one that exists another definition.
pub(super) fn workflow_declare(room: &mut WorkflowRoom<'_>, asked: ReadDeclaration) -> Result<Done, EngineError> {
    let ReadDeclaration { asked, states, program } = asked;
    check_asked(room, &asked)?;
    let Declare { name, definition, kind, log_level, include_execution_data, log_group, role, .. } = asked;
    let (tracing, notes) = (asked.tracing, asked.notes);
    // What is wrong with the language is told first.
    if program.is_ok() {
        supported::check_definition(room, &states)?;
    }
    if let Ok(program) = &program {
        if kind == Kind::Standard && program.durable_of.as_ref() == Some(&name) {
            room.workflows.durable_functions.insert(name.clone());
        } else {
            room.workflows.durable_functions.remove(&name);
        }
    }
    let now_ms = room.below.ctx.now.wall_ms;
    let known = room.workflows.machine(&name).ok().cloned();
    let before = match &known {
        Some(known) if known.row.kind != kind => {
            return Err(EngineError::Conflict(format!(
                "State Machine Already Exists: '{}': its type cannot be changed",
                room.below.ctx.workflow_arn(&name)
            )));
        }
        Some(known) => known.row.clone(),
        None => MachineRow::new(name, kind, now_ms),
    };
    let row = MachineRow {
        definition,
        log_level,
        include_execution_data,
        log_group,
        role: role.or_else(|| before.role.clone()),
        tracing,
        revision: before.revision + 1,
        updated_ms: now_ms,
        ..before.clone()
    };
    let row = match known {
        Some(known) if set(&known.row) == set(&row) => {
            return Ok(Done::when_durable(describe_workflow(room, &known, true)));
        }
        Some(_) => row,
        // A definition that is refused takes no number.
        None if program.is_err() => row,
        None => {
            let notes = Annotate { name: row.name.clone(), notes }.applied(&Notes::new())?;
            MachineRow { id: room.below.ctx.new_mapping_id(), notes, ..row }
        }
    };
    let program = program?;
    logs::open_log(room, &row)?;
    room.participant().take_machine(row.clone(), program);
    forget_revisions(room, &row);
    save_machine(room, &row);
    Ok(Done::when_durable(describe_workflow(room, room.workflows.machine(&row.name)?, true)))
}

pub(super) fn save_machine(room: &mut WorkflowRoom<'_>, row: &MachineRow) {
    let value = serde_json::to_vec(row).unwrap_or_default();
    room.below.ctx.commit.pending.set(Table::Machine, row.key(), value);
    room.below.ctx.commit.pending.urgent = true;
}

/// Keep notes beside a workflow, or remove them.
pub(super) fn workflow_annotate(room: &mut WorkflowRoom<'_>, asked: Annotate) -> Result<Done, EngineError> {
    let known = room.workflows.machine(&asked.name)?.clone();
    let row = MachineRow { notes: asked.applied(&known.row.notes)?, ..known.row.clone() };
    room.participant().take_machine(row.clone(), known.program.clone());
    save_machine(room, &row);
    Ok(Done::when_durable(describe_workflow(room, room.workflows.machine(&row.name)?, true)))
}

/// Remove revisions that no execution runs with; the last ones stay, for their executions are described by them.
pub(super) fn forget_revisions(room: &mut WorkflowRoom<'_>, latest: &MachineRow) {
    let runs = room.workflows.runs.values().chain(room.workflows.steps_before());
    let running = runs.filter(|run| run.machine.row.id == latest.id).map(|run| run.row.revision);
    let used: BTreeSet<u32> = running.chain(room.workflows.express.waiting_revisions(latest.id)).collect();
    let is_kept = |revision: u32| latest.versions.iter().any(|version| version.revision == revision);
    let old = room.workflows.revisions.range((latest.id, 0)..(latest.id, latest.revision));
    let unused: Vec<MachineRow> = old
        .filter(|((_, revision), _)| *revision + REVISIONS_KEPT < latest.revision)
        .filter(|((_, revision), _)| !used.contains(revision) && !is_kept(*revision))
        .map(|(_, machine)| machine.row.clone())
        .collect();
    for row in unused {
        room.workflows.revisions.remove(&(row.id, row.revision));
        room.below.ctx.commit.pending.remove(Table::Machine, row.key());
    }
}

/// Delete a workflow; what its executions have left is removed little by little.
pub(super) fn workflow_delete(room: &mut WorkflowRoom<'_>, named: &Named) -> Result<Done, EngineError> {
    let machine = room.workflows.machine(&named.name)?.row.id;
    // Whoever started one was told that it runs.
    let running = room.workflows.running(machine) + room.workflows.express.waiting_count(machine);
    if running > 0 {
        return Err(EngineError::Conflict(format!(
            "workflow {:?} has {running} executions that run: stop them, or wait for their ends",
            named.name
        )));
    }
    let revisions = room.workflows.revisions.range((machine, 0)..=(machine, u32::MAX));
    let rows: Vec<MachineRow> = revisions.map(|(_, machine)| machine.row.clone()).collect();
    for row in rows {
        room.workflows.revisions.remove(&(row.id, row.revision));
        room.below.ctx.commit.pending.remove(Table::Machine, row.key());
    }
    room.workflows.machines.remove(&named.name);
    room.workflows.durable_functions.remove(&named.name);
    room.below.ctx.starts.deleted(&named.name);
    room.below.ctx.registry.forget_all("workflow", &named.name);
    room.below.ctx.commit.pending.urgent = true;
    Ok(Done::when_durable(Empty {}))
}

/// List the machines, without their definitions.
pub(super) fn workflow_list(room: &WorkflowRoom<'_>) -> Done {
    let machines = room.workflows.machines.values();
    let list: Vec<Workflow> = machines.map(|machine| describe_workflow(room, machine, false)).collect();
    Done::at_once(list)
}

/// Describe a machine, or a version or a revision of it.
pub(super) fn workflow_describe(room: &WorkflowRoom<'_>, asked: &Revision) -> Result<Done, EngineError> {
    let (name, version) = asked.name.split_once(':').map_or((asked.name.as_str(), None), |(n, v)| (n, Some(v)));
    let latest = room.workflows.machine(name)?;
    let unknown =
        |what: &str| EngineError::NotFound(format!("State Machine Does Not Exist: workflow {name:?} has no {what}"));
    let published = version.map(|version| {
        let kept = latest.row.versions.iter().find(|one| one.number.to_string() == version);
        kept.map(|one| one.revision).ok_or_else(|| unknown(&format!("version {version}")))
    });
    let revision = published.transpose()?.or(asked.revision).unwrap_or(latest.row.revision);
    let machine = room.workflows.revisions.get(&(latest.row.id, revision));
    let machine = machine.ok_or_else(|| unknown(&format!("revision {revision} any more")))?;
    Ok(Done::at_once(describe_workflow(room, machine, true)))
}

fn describe_workflow(room: &WorkflowRoom<'_>, machine: &Machine, is_whole: bool) -> Workflow {
    let row = machine.row.clone();
    Workflow {
        arn: room.below.ctx.workflow_arn(&row.name),
        kind: row.kind,
        log_level: row.log_level,
        include_execution_data: row.include_execution_data,
        role: room.below.ctx.role_of(&row),
        log_group: row.log_group,
        tracing: row.tracing,
        notes: row.notes,
        definition: is_whole.then_some(row.definition),
        revision: row.revision,
        created_ms: row.created_ms,
        updated_ms: row.updated_ms,
        running: room.workflows.running(row.id),
        name: row.name,
    }
}

/// Find everything that is wrong with a definition.
pub(super) fn workflow_validate(room: &WorkflowRoom<'_>, asked: ReadDefinition) -> Done {
    let ReadDefinition { states, mut problems } = asked;
    if problems.is_empty() {
        problems = supported::unsupported(room, &states);
    }
    let missing = supported::missing(room, &states);
    Done::at_once(Validated { problems, missing })
}

impl MachineRow {
    /// Of a machine that has no revision yet.
    pub(super) fn new(name: String, kind: Kind, now_ms: u64) -> Self {
        Self {
            id: 0,
            revision: 0,
            name,
            definition: String::new(),
            kind,
            log_level: LogLevel::Off,
            include_execution_data: false,
            log_group: None,
            role: None,
            tracing: false,
            notes: Notes::default(),
            versions: Vec::new(),
            last_version: 0,
            aliases: Vec::new(),
            created_ms: now_ms,
            updated_ms: now_ms,
        }
    }
}
