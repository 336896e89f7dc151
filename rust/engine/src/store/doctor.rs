//! The doctor: says what is wrong with an embedded store, and copies what is whole into a new one. Never changes the patient.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use serde::Serialize;

use super::sqlite::connection::Handle;
use super::sqlite::format::Head;
use super::sqlite::survey::{chunk, Survey};
use super::sqlite::witness::Witness;
use super::sqlite::{reader, SqliteStore};
use crate::chunk::Chunk;
use crate::directory::Directory;
use crate::port::{Durability, ShardId, Store, StoreError, Table, Write};

/// Bytes written in one commit of a salvage.
const COMMIT_BYTES: usize = 1 << 20;
/// Most lost positions held by one chunk.
const LOST_MAX: u64 = 10_000;

/// What a store holds and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nothing is wrong.
    pub whole: bool,
    /// Commits since the store was made.
    pub commits: u64,
    /// Whole rows by table, each table that has any.
    pub rows: BTreeMap<String, u64>,
    /// Logs.
    pub logs: u64,
    /// Whole chunks.
    pub chunks: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// How much was found wrong.
    pub findings: u64,
    /// What was found wrong: the first thousand findings.
    pub damage: Vec<String>,
}

/// What became of a damaged store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Salvage {
    /// The patient.
    pub report: Report,
    /// Rows that were copied.
    pub rows: u64,
    /// Chunks that were copied.
    pub chunks: u64,
    /// Records that were copied.
    pub records: u64,
    /// Positions whose records are lost, per shard: `(shard, first, end)`. In the new store they are held by records marked as
    /// lost, which mappings step over.
    pub lost: Vec<(ShardId, u64, u64)>,
}

/// Check every byte of the store in `dir`. Works while its owner runs, on one snapshot.
///
/// [`StoreError::NewerFormat`] for what this forebay cannot judge.
pub fn examine(dir: &Path) -> Result<Report, StoreError> {
    let patient = open(dir)?;
    let survey = survey(dir, &patient)?;
    Ok(report(&survey))
}

/// Copy every whole row and chunk of the store in `dir` into a new one in `into`. Owns both directories meanwhile.
pub fn salvage(dir: &Path, into: &Path) -> Result<Salvage, StoreError> {
    let _from = Directory::own(dir)?;
    let _to = Directory::own(into)?;
    if Directory::at(into).file("forebay.db").exists() {
        return Err(StoreError::Refused(format!(
            "{} already holds a store: salvage into a new directory",
            into.display()
        )));
    }
    let patient = open(dir)?;
    let survey = survey(dir, &patient)?;
    copy(&patient, &survey, Box::new(SqliteStore::open(into, Durability::PowerLoss)?)).map(|(salvage, _)| salvage)
}

/// Copy what was found whole into a store that is empty; give that one, too.
pub(in crate::store) fn copy(
    patient: &Connection,
    survey: &Survey,
    store: Box<dyn Store>,
) -> Result<(Salvage, Box<dyn Store>), StoreError> {
    let salvage = Salvage { report: report(survey), rows: 0, chunks: 0, records: 0, lost: Vec::new() };
    let mut heir = Heir { store, writes: Vec::new(), bytes: 0, salvage };
    heir.take_rows(patient, survey)?;
    heir.take_logs(patient, survey)?;
    heir.commit()?;
    Ok((heir.salvage, heir.store))
}

fn open(dir: &Path) -> Result<Handle, StoreError> {
    let file = Directory::at(dir).file("forebay.db");
    if !file.exists() {
        return Err(StoreError::Refused(format!("there is no store in {}", dir.display())));
    }
    Handle::reader(&file)
}

fn survey(dir: &Path, patient: &Handle) -> Result<Survey, StoreError> {
    // Read first: the owner may commit meanwhile, and must not look as if it had lost something.
    let seen = Witness::look(&Directory::at(dir).file("acknowledged"))?;
    // One snapshot for all; a file that cannot even begin one is judged all the same.
    let _ = patient.execute_batch("BEGIN");
    let mut survey = Survey::of(patient)?;
    let commits = survey.census.map_or(0, |census| census.commits);
    if commits < seen {
        survey.damage.tell(&format!("the commits {}..={seen} were acknowledged and are missing", commits + 1));
    }
    Ok(survey)
}

fn report(survey: &Survey) -> Report {
    let mut rows = BTreeMap::new();
    for (tab, _) in &survey.rows {
        let table = Table::numbered(*tab).map_or_else(|| tab.to_string(), |table| format!("{table:?}"));
        *rows.entry(table).or_insert(0) += 1;
    }
    Report {
        whole: survey.damage.findings == 0,
        commits: survey.census.map_or(0, |census| census.commits),
        rows,
        logs: survey.spans.len() as u64,
        chunks: survey.heads.len() as u64,
        records: survey.heads.iter().map(|head| u64::from(head.count)).sum(),
        bytes: survey.heads.iter().map(|head| head.bytes).sum(),
        findings: survey.damage.findings,
        damage: survey.damage.told.clone(),
    }
}

/// The new store, being filled.
struct Heir {
    store: Box<dyn Store>,
    writes: Vec<Write>,
    bytes: usize,
    salvage: Salvage,
}

impl Heir {
    fn take_rows(&mut self, patient: &Connection, survey: &Survey) -> Result<(), StoreError> {
        for (tab, key) in &survey.rows {
            let (Some(table), Some(value)) = (Table::numbered(*tab), reader::row(patient, *tab, key)?) else {
                continue;
            };
            self.salvage.rows += 1;
            let bytes = key.len() + value.len();
            self.write(Write::Set { table, key: key.clone(), value }, bytes)?;
        }
        Ok(())
    }

    fn take_logs(&mut self, patient: &Connection, survey: &Survey) -> Result<(), StoreError> {
        let mut shards: Vec<ShardId> =
            survey.heads.iter().map(Head::shard).chain(survey.spans.keys().copied()).collect();
        shards.sort_unstable();
        shards.dedup();
        let mut heads = survey.heads.as_slice();
        for shard in shards {
            let (log, rest) = heads.split_at(heads.partition_point(|head| head.shard() <= shard));
            heads = rest;
            let span = survey.spans.get(&shard);
            let first = span.map_or(u64::MAX, |span| span.first).min(log.first().map_or(u64::MAX, Head::first));
            let end = self.take_log(patient, shard, first, log)?;
            let next = span.map_or(end, |span| span.next);
            self.lose(shard, end, next)?;
            if span.is_some_and(|span| span.first == span.next && log.is_empty()) && next > 0 {
                // An empty log remembers its next position.
                self.write_lost(shard, next - 1, next)?;
                self.write(Write::Trim { shard, before: next }, 0)?;
            }
        }
        Ok(())
    }

    /// Copy the chunks of one log, which begins at `next`; gives where it ends.
    fn take_log(
        &mut self,
        patient: &Connection,
        shard: ShardId,
        mut next: u64,
        log: &[Head],
    ) -> Result<u64, StoreError> {
        for head in log {
            if head.first() < next {
                // Told in the report: two chunks claim the position; the first one read keeps it.
                continue;
            }
            self.lose(shard, next, head.first())?;
            let (_, chunk) = chunk(patient, head.id())?;
            self.salvage.chunks += 1;
            self.salvage.records += u64::from(head.count);
            next = head.end();
            self.write(Write::Append { shard, chunk: Arc::new(chunk) }, head.bytes as usize)?;
        }
        Ok(next)
    }

    /// Note positions as lost and hold them.
    fn lose(&mut self, shard: ShardId, first: u64, end: u64) -> Result<(), StoreError> {
        if first < end {
            self.salvage.lost.push((shard, first, end));
            self.write_lost(shard, first, end)?;
        }
        Ok(())
    }

    fn write_lost(&mut self, shard: ShardId, mut first: u64, end: u64) -> Result<(), StoreError> {
        while first < end {
            let mut chunk = Chunk::starting_at(first);
            first = end.min(first + LOST_MAX);
            while chunk.end() < first {
                chunk.push_lost(0);
            }
            let bytes = chunk.body().len();
            self.write(Write::Append { shard, chunk: Arc::new(chunk) }, bytes)?;
        }
        Ok(())
    }

    fn write(&mut self, write: Write, bytes: usize) -> Result<(), StoreError> {
        self.writes.push(write);
        self.bytes += bytes + 64;
        if self.bytes >= COMMIT_BYTES {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.store.commit(&self.writes)?;
        self.writes.clear();
        self.bytes = 0;
        Ok(())
    }
}
