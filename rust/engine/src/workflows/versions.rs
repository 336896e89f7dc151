//! Versions and aliases of machines. A version is a revision that is kept; an alias leads to one version, or to two by their weights. Both stand
//! in the row of the latest revision.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api::workflow::{
    AliasRoute, DeclareWorkflowAlias, DeleteWorkflowAlias, DeleteWorkflowVersion, Named, PublishWorkflow,
    WorkflowAlias, WorkflowVersion, WorkflowVersions,
};
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::workflows::row::{check_name, MachineRow};
use crate::workflows::{machines, Machine, WorkflowRoom};

/// Most versions of a machine. <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
const VERSIONS_MAX: usize = 1_000;
/// Most aliases of a machine: the same page.
const ALIASES_MAX: usize = 100;
/// Weights of an alias add up to it.
const WEIGHTS: u32 = 100;

/// A version, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VersionRow {
    pub(crate) number: u32,
    pub(crate) revision: u32,
    pub(crate) created_ms: u64,
    #[serde(default)]
    pub(crate) description: String,
}

/// An alias, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AliasRow {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
    pub(crate) routes: Vec<AliasRoute>,
}

/// What a start is of: the machine's revision, and the version and the alias that it was asked by.
pub(crate) struct Chosen {
    pub(crate) machine: Arc<Machine>,
    pub(crate) version: Option<u32>,
    pub(crate) alias: Option<String>,
}

impl Chosen {
    /// A machine that was asked for by its name alone.
    pub(crate) fn plain(machine: Arc<Machine>) -> Self {
        Self { machine, version: None, alias: None }
    }
}

/// The machine of `NAME`, `NAME:VERSION` or `NAME:ALIAS`.
pub(super) fn choose(room: &mut WorkflowRoom<'_>, asked: &str) -> Result<Chosen, EngineError> {
    let Some((name, qualifier)) = asked.split_once(':') else {
        let machine = room.workflows.machine(asked)?.clone();
        return Ok(Chosen::plain(machine));
    };
    let machine = room.workflows.machine(name)?.clone();
    let row = &machine.row;
    let unknown = || {
        let versions = row.versions.iter().map(|one| one.number.to_string());
        let known: Vec<String> = versions.chain(row.aliases.iter().map(|one| one.name.clone())).collect();
        let known = if known.is_empty() { "no versions and no aliases".into() } else { known.join(", ") };
        EngineError::NotFound(format!(
            "State Machine Does Not Exist: workflow {name:?} has no {qualifier:?}: it has {known}"
        ))
    };
    let (version, alias) = match qualifier.parse::<u32>() {
        Ok(number) => (number, None),
        Err(_) => {
            let alias = row.aliases.iter().find(|one| one.name == qualifier).ok_or_else(unknown)?;
            let mut drawn = (room.below.ctx.rng.next() % u64::from(WEIGHTS)) as u32;
            let route = alias.routes.iter().find(|route| {
                let is_it = drawn < route.weight;
                drawn = drawn.saturating_sub(route.weight);
                is_it
            });
            (route.ok_or_else(unknown)?.version, Some(qualifier.to_owned()))
        }
    };
    let kept = row.versions.iter().find(|one| one.number == version).ok_or_else(unknown)?;
    let machine = room.workflows.revisions.get(&(row.id, kept.revision)).cloned().ok_or_else(unknown)?;
    Ok(Chosen { machine, version: Some(version), alias })
}

/// Keep the definition as a version. The same revision again is the same version.
pub(crate) fn workflow_publish(room: &mut WorkflowRoom<'_>, asked: PublishWorkflow) -> Result<Done, EngineError> {
    let mut row = room.workflows.machine(&asked.name)?.row.clone();
    let expected = asked.revision.filter(|expected| *expected != row.revision);
    if let Some(expected) = expected {
        return Err(EngineError::Conflict(format!(
            "workflow {:?} has revision {}: revision {expected} was to be published",
            asked.name, row.revision
        )));
    }
    let known = row.versions.iter().find(|one| one.revision == row.revision).map(|one| one.number);
    let number = match known {
        Some(number) => number,
        None if row.versions.len() >= VERSIONS_MAX => {
            return Err(EngineError::Conflict(format!("a workflow has at most {VERSIONS_MAX} versions")));
        }
        None => {
            let number = row.last_version + 1;
            let created_ms = room.below.ctx.now.wall_ms;
            let revision = row.revision;
            row.versions.push(VersionRow { number, revision, created_ms, description: asked.description });
            row.last_version = number;
            keep(room, row)?;
            number
        }
    };
    let row = &room.workflows.machine(&asked.name)?.row;
    let version = row.versions.iter().find(|one| one.number == number).map(|one| shown(room, row, one));
    Ok(Done::when_durable(version))
}

/// List the versions and the aliases of a workflow.
pub(crate) fn workflow_versions(room: &mut WorkflowRoom<'_>, named: Named) -> Result<Done, EngineError> {
    let row = &room.workflows.machine(&named.name)?.row;
    let versions = row.versions.iter().rev().map(|one| shown(room, row, one)).collect();
    let aliases = row.aliases.iter().map(|one| shown_alias(room, row, one)).collect();
    Ok(Done::at_once(WorkflowVersions { versions, aliases }))
}

/// Delete a version that no alias leads to. Executions that run go on.
pub(crate) fn workflow_delete_version(
    room: &mut WorkflowRoom<'_>,
    asked: DeleteWorkflowVersion,
) -> Result<Done, EngineError> {
    let mut row = room.workflows.machine(&asked.name)?.row.clone();
    let routes = |alias: &&AliasRow| alias.routes.iter().any(|route| route.version == asked.version);
    if let Some(alias) = row.aliases.iter().find(routes) {
        return Err(EngineError::Conflict(format!(
            "Version to be deleted must not be referenced by an alias: {:?} leads to version {}",
            alias.name, asked.version
        )));
    }
    row.versions.retain(|one| one.number != asked.version);
    keep(room, row)?;
    Ok(Done::when_durable(Empty {}))
}

/// Create an alias, or let it lead elsewhere.
pub(crate) fn workflow_alias(room: &mut WorkflowRoom<'_>, asked: DeclareWorkflowAlias) -> Result<Done, EngineError> {
    let DeclareWorkflowAlias { workflow, name, description, routes } = asked;
    check_name(&name)?;
    let mut row = room.workflows.machine(&workflow)?.row.clone();
    if name.parse::<u32>().is_ok() {
        return Err(EngineError::Invalid(format!("alias {name:?}: a number is the name of a version")));
    }
    check_routes(&row, &routes)?;
    let now_ms = room.below.ctx.now.wall_ms;
    let count = row.aliases.len();
    match row.aliases.iter_mut().find(|one| one.name == name) {
        Some(known) => {
            (known.routes, known.updated_ms) = (routes, now_ms);
            known.description = description.unwrap_or_else(|| known.description.clone());
        }
        None if count >= ALIASES_MAX => {
            return Err(EngineError::Conflict(format!("a workflow has at most {ALIASES_MAX} aliases")));
        }
        None => row.aliases.push(AliasRow {
            name: name.clone(),
            description: description.unwrap_or_default(),
            created_ms: now_ms,
            updated_ms: now_ms,
            routes,
        }),
    }
    keep(room, row)?;
    let row = &room.workflows.machine(&workflow)?.row;
    let alias = row.aliases.iter().find(|one| one.name == name).map(|one| shown_alias(room, row, one));
    Ok(Done::when_durable(alias))
}

/// Delete an alias.
pub(crate) fn workflow_delete_alias(
    room: &mut WorkflowRoom<'_>,
    asked: DeleteWorkflowAlias,
) -> Result<Done, EngineError> {
    let mut row = room.workflows.machine(&asked.workflow)?.row.clone();
    let before = row.aliases.len();
    row.aliases.retain(|one| one.name != asked.name);
    if row.aliases.len() == before {
        return Err(EngineError::NotFound(format!("workflow {:?} has no alias {:?}", asked.workflow, asked.name)));
    }
    keep(room, row)?;
    Ok(Done::when_durable(Empty {}))
}

/// Write the row of the latest revision anew.
fn keep(room: &mut WorkflowRoom<'_>, row: MachineRow) -> Result<(), EngineError> {
    let program = room.workflows.machine(&row.name)?.program.clone();
    room.participant().take_machine(row.clone(), program);
    machines::forget_revisions(room, &row);
    machines::save_machine(room, &row);
    Ok(())
}

fn shown(room: &WorkflowRoom<'_>, row: &MachineRow, version: &VersionRow) -> WorkflowVersion {
    WorkflowVersion {
        arn: format!("{}:{}", room.below.ctx.workflow_arn(&row.name), version.number),
        version: version.number,
        revision: version.revision,
        created_ms: version.created_ms,
        description: version.description.clone(),
    }
}

fn shown_alias(room: &WorkflowRoom<'_>, row: &MachineRow, alias: &AliasRow) -> WorkflowAlias {
    WorkflowAlias {
        arn: format!("{}:{}", room.below.ctx.workflow_arn(&row.name), alias.name),
        name: alias.name.clone(),
        description: alias.description.clone(),
        created_ms: alias.created_ms,
        updated_ms: alias.updated_ms,
        routes: alias.routes.clone(),
    }
}

fn check_routes(row: &MachineRow, routes: &[AliasRoute]) -> Result<(), EngineError> {
    let invalid = |text: String| Err(EngineError::Invalid(text));
    if !(1..=2).contains(&routes.len()) {
        return invalid(format!("an alias leads to one or two versions, not to {}", routes.len()));
    }
    let sum = routes.iter().map(|route| u64::from(route.weight)).sum::<u64>();
    if sum != u64::from(WEIGHTS) {
        return invalid(format!("the weights of an alias add up to {WEIGHTS}, and these to {sum}"));
    }
    if routes.len() == 2 && routes[0].version == routes[1].version {
        return invalid("the two versions of an alias differ".into());
    }
    match routes.iter().find(|route| row.versions.iter().all(|one| one.number != route.version)) {
        Some(route) => Err(EngineError::NotFound(format!("workflow {:?} has no version {}", row.name, route.version))),
        None => Ok(()),
    }
}
