//! Executions that ended long ago are removed with what they left. The reader looks for them, a slice of rows at each sweep: rows have inputs
//! and outputs, which is more than may be read under the engine's lock.

use std::any::Any;
use std::collections::{BTreeSet, VecDeque};

use forebay_core::workflow::machine::REDRIVE_MS_MAX;
use serde::Deserialize;

use crate::api::workflow::Status;
use crate::base::ids::RoomId;
use crate::commit::read_jobs::ReadJob;
use crate::commit::rows::damaged;
use crate::store::port::{Found, Read, StoreError, Table};
use crate::workflows::map_children::run_key;
use crate::workflows::participant::{WorkflowParticipant, ROOM};
use crate::workflows::row::{name_key, ChildOf, RunId};

/// How long an execution that has ended is kept. <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>
const KEPT_MS: u64 = 90 * 86_400_000;
/// Rows of one read, and reads of a slice.
const ROWS: usize = 64;
const READS: usize = 16;

/// The search for old executions, as far as it has come.
#[derive(Default)]
pub(crate) struct OldRuns {
    now_ms: u64,
    /// Machines that there are: what is left of others goes.
    machines: BTreeSet<u64>,
    after: Option<Vec<u8>>,
    /// What is looked up next, before more rows.
    looks: VecDeque<Look>,
    looking: Option<Look>,
    reads: usize,
    found: Vec<Gone>,
    /// The look through all rows that is under way, and the last whole one.
    pass: Pass,
    whole: Option<Pass>,
    /// What went wrong.
    failed: Option<StoreError>,
}

/// A row that is to go, with the execution that it is of, and the one that this is a child of.
struct Gone {
    id: RunId,
    parent: Option<RunId>,
    table: Table,
    key: Vec<u8>,
}

/// One look through all rows.
#[derive(Clone, Default)]
struct Pass {
    begun_ms: u64,
    machines: BTreeSet<u64>,
    /// Something was to go.
    has_found: bool,
    /// When the first of what stayed is to go, or of what ended after it.
    next_ms: u64,
}

/// A read, and what it is for.
#[derive(Clone)]
enum Look {
    /// The next rows of executions.
    Rows,
    /// Whether an execution has left something to be redriven.
    Closed { id: RunId, parent: Option<RunId> },
    /// What there is of a history; then the execution itself goes.
    History { id: RunId, parent: Option<RunId>, names: Vec<Vec<u8>>, after: Option<Vec<u8>> },
}

/// As much of an execution's row as is looked at.
#[derive(Deserialize)]
struct EndedRow {
    name: String,
    status: Status,
    stopped_ms: Option<u64>,
    #[serde(default)]
    child: Option<ChildOf>,
    #[serde(default)]
    map_runs: Vec<EndedRun>,
}

/// As much of the run of a distributed Map.
#[derive(Deserialize)]
struct EndedRun {
    arn: String,
}

impl ReadJob for OldRuns {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn next(&mut self) -> Option<Read> {
        if self.reads == READS || self.failed.is_some() {
            return None;
        }
        self.reads += 1;
        let look = self.looks.pop_front().unwrap_or(Look::Rows);
        let read = match &look {
            Look::Rows => {
                Read::Rows { table: Table::Execution, prefix: Vec::new(), after: self.after.clone(), limit: ROWS }
            }
            Look::Closed { id, .. } => Read::Row { table: Table::ExecutionClosed, key: id.bytes() },
            Look::History { id, after, .. } => {
                Read::Rows { table: Table::History, prefix: id.bytes(), after: after.clone(), limit: ROWS }
            }
        };
        self.looking = Some(look);
        Some(read)
    }

    fn found(&mut self, found: Result<Found, StoreError>) {
        let Some(look) = self.looking.take() else { return };
        if let Err(error) = self.look_at(look, found) {
            self.failed = Some(error);
        }
    }
}

impl OldRuns {
    fn look_at(&mut self, look: Look, found: Result<Found, StoreError>) -> Result<(), StoreError> {
        match look {
            Look::Rows => {
                let rows = found?.rows()?;
                // From the beginning again, at the next sweep.
                self.after = rows.last().map(|(key, _)| key.clone());
                if self.after.is_none() {
                    self.reads = READS;
                    self.whole = Some(std::mem::take(&mut self.pass));
                }
                for (key, value) in &rows {
                    self.see(key, value)?;
                }
            }
            Look::Closed { id, parent } => {
                if let Found::Row(Some(_)) = found? {
                    self.pass.has_found = true;
                    self.found.push(Gone { id, parent, table: Table::ExecutionClosed, key: id.bytes() });
                }
            }
            Look::History { id, parent, names, .. } => {
                let rows = found?.rows()?;
                let gone = |table, key| Gone { id, parent, table, key };
                self.pass.has_found = true;
                self.found.extend(rows.iter().map(|(key, _)| gone(Table::History, key.clone())));
                match rows.last() {
                    Some((last, _)) => {
                        let after = Some(last.clone());
                        self.looks.push_front(Look::History { id, parent, names, after });
                    }
                    None => {
                        self.found.extend(names.into_iter().map(|name| gone(Table::ExecutionName, name)));
                        self.found.extend([Table::ExecutionClosed, Table::Execution].map(|of| gone(of, id.bytes())));
                    }
                }
            }
        }
        Ok(())
    }

    fn see(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Some(id) = RunId::parse(key) else { return Ok(()) };
        let row: EndedRow = serde_json::from_slice(value).map_err(|_| damaged("an execution's row"))?;
        let parent = row.child.map(|child| child.run);
        let machine = row.child.map_or(id.machine, |child| child.machine());
        let is_deleted = !self.machines.contains(&machine);
        let age_ms = row.stopped_ms.map(|stopped_ms| self.now_ms.saturating_sub(stopped_ms));
        let stays_ms = if row.status == Status::Succeeded || age_ms.is_some_and(|age_ms| age_ms > REDRIVE_MS_MAX) {
            KEPT_MS
        } else {
            REDRIVE_MS_MAX
        };
        if let Some(stopped_ms) = row.stopped_ms {
            self.pass.next_ms = self.pass.next_ms.min(stopped_ms.saturating_add(stays_ms).saturating_add(1));
        }
        if is_deleted || age_ms.is_some_and(|age_ms| age_ms > KEPT_MS) {
            let runs = row.map_runs.iter().map(|run| run_key(machine, &run.arn));
            let names = runs.chain([name_key(id.machine, &row.name)]).collect();
            self.looks.push_back(Look::History { id, parent, names, after: None });
        } else if row.status != Status::Succeeded && age_ms.is_some_and(|age_ms| age_ms > REDRIVE_MS_MAX) {
            self.looks.push_back(Look::Closed { id, parent });
        }
        Ok(())
    }
}

/// When the search would find something. What has ended since the last look through all rows stays for a while.
pub(super) fn due_ms(part: &WorkflowParticipant<'_>) -> u64 {
    let (old, now_ms) = (&part.workflows.old, part.ctx.now.wall_ms);
    let is_resting = !part.workflows.is_looking && old.after.is_none() && old.looks.is_empty();
    let holds = |pass: &&Pass| pass.begun_ms <= now_ms && !pass.has_found && pass.machines == machines(part);
    old.whole.as_ref().filter(|_| is_resting).filter(holds).map_or(0, |pass| pass.next_ms)
}

fn machines(part: &WorkflowParticipant<'_>) -> BTreeSet<u64> {
    part.workflows.revisions.keys().map(|(machine, _)| *machine).collect()
}

/// Look for old executions, a slice further than the last time.
pub(super) fn look_for_old(part: &mut WorkflowParticipant<'_>) {
    if std::mem::replace(&mut part.workflows.is_looking, true) {
        return;
    }
    let mut old = std::mem::take(&mut part.workflows.old);
    old.now_ms = part.ctx.now.wall_ms;
    old.machines = machines(part);
    if old.after.is_none() && old.looks.is_empty() {
        let next_ms = old.now_ms.saturating_add(REDRIVE_MS_MAX).saturating_add(1);
        old.pass = Pass { begun_ms: old.now_ms, machines: old.machines.clone(), has_found: false, next_ms };
    }
    old.reads = 0;
    part.ctx.commit.reads.push_back(old);
}

/// A slice has been looked through: what is old goes with the next commit.
pub(super) fn found_old(part: &mut WorkflowParticipant<'_>, job: Box<dyn Any>) {
    let Ok(mut old) = job.downcast::<OldRuns>() else { return };
    part.workflows.is_looking = false;
    if let Some(error) = old.failed.take() {
        return part.ctx.fail(error);
    }
    for Gone { id, parent, table, key } in std::mem::take(&mut old.found) {
        // One that was redriven meanwhile stays, and so does what a Map that runs may still ask of its children.
        let runs = |id: RunId| part.workflows.runs.contains_key(&id);
        if !runs(id) && !parent.is_some_and(runs) {
            part.ctx.commit.pending.remove(table, key);
            part.ctx.commit.pending.begin_lazily(part.ctx.now.mono_ns);
        }
    }
    part.workflows.old = old;
}
