//! The doctor: says what is wrong with an embedded store, and copies what is whole into a new one. Never changes the source.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;

use crate::store::beside;
use crate::store::directory::Directory;
pub use crate::store::lost::Lost;
use crate::store::lost::Names;
use crate::store::port::{Durability, Store, StoreError, Table};
use crate::store::salvage_writer::{lost_max, SalvageWriter};
use crate::store::sqlite::connection::Handle;
use crate::store::sqlite::first_page;
use crate::store::sqlite::first_page::log_of;
use crate::store::sqlite::survey::{Damage, Survey};
use crate::store::sqlite::witness::Testimony;
use crate::store::sqlite::SqliteStore;

/// Most ranges of lost records that a report lists; the rest is counted.
const LOST_LISTED: usize = 1_000;
const LEADS_NOWHERE: &str = "the first page of forebay.db does not lead to its tables";
const READ_BEHIND_IT: &str = "what is behind it was read in a copy, whose first page was made anew";

/// What a store holds and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nothing is wrong.
    pub whole: bool,
    /// Its tables were found: otherwise nothing of what it holds is counted here.
    pub readable: bool,
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
    /// Records among them that are only marked as lost, since a salvage could not save them.
    pub lost_records: u64,
    /// Where they are: the first thousand ranges.
    pub lost: Vec<Lost>,
}

/// What became of a damaged store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Salvage {
    /// The source.
    pub report: Report,
    /// Rows that were copied.
    pub rows: u64,
    /// Chunks that were copied.
    pub chunks: u64,
    /// Records that were copied.
    pub records: u64,
    /// Positions whose records are lost. In the new store they are held by records marked as lost, which mappings step over and list
    /// as failed; where that would be too many, the log begins behind them.
    pub lost: Vec<Lost>,
    /// What is whole and of no use, since rows that belong to it are lost: logs that nothing reads, kept all the same, and streams
    /// without a shard, which are left out.
    pub unreached: Vec<String>,
}

impl Salvage {
    /// Of which nothing is copied yet.
    fn of(report: Report, unreached: Vec<String>) -> Self {
        Self { report, rows: 0, chunks: 0, records: 0, lost: Vec::new(), unreached }
    }
}

/// Check every byte of the store in `dir`, and what stands beside it. Works while its owner runs, on one snapshot.
///
/// [`StoreError::NewerFormat`] for what this forebay cannot judge.
pub fn examine(dir: &Path) -> Result<Report, StoreError> {
    let file = file_of(dir)?;
    let beside = Beside::look(dir);
    match Patient::at(&file) {
        Ok(source) => {
            let header = source.header(&file)?;
            let names = source.names()?;
            Ok(source.report(&names, &names.unreached(&source.survey), &beside, header))
        }
        Err(StoreError::Corrupt(text)) => Ok(unread(&text, &beside, first_page::ailment(&file, false)?)),
        Err(error) => Err(error),
    }
}

/// Copy every whole row and chunk of the store in `dir` into a new one in `into`. Owns both directories meanwhile.
pub fn salvage(dir: &Path, into: &Path) -> Result<Salvage, StoreError> {
    let file = file_of(dir)?;
    let _from = Directory::own(dir)?;
    let _to = Directory::own(into)?;
    if Directory::at(into).file("forebay.db").exists() {
        return Err(StoreError::Refused(format!(
            "{} already holds a store: salvage into a new directory",
            into.display()
        )));
    }
    let beside = Beside::look(dir);
    let found = Patient::at(&file);
    let header = match &found {
        Ok(source) => source.header(&file)?,
        Err(_) => first_page::ailment(&file, false)?,
    };
    match &found {
        Ok(source) if header.is_none() && source.leads_on(&file)? => {
            return source.save(into, &beside, None, size(&file));
        }
        Ok(_) | Err(StoreError::Corrupt(_)) => {}
        Err(error) => return Err(error.clone()),
    }
    let copy = Copy::with_a_new_first_page(&file, into)?;
    let renewed = Patient::at(&copy.file).ok().filter(|renewed| renewed.holds() > 0 || renewed.survey.census.is_some());
    match (found, renewed) {
        (Ok(source), renewed) if source.holds() > 0 && renewed.iter().all(|renewed| renewed.holds() <= source.holds()) => {
            source.save(into, &beside, header, size(&file))
        }
        (found, Some(renewed)) => {
            let why = header.or(found.err().map(|error| error.to_string())).unwrap_or_else(|| LEADS_NOWHERE.into());
            renewed.save(into, &beside, Some(format!("{why}: {READ_BEHIND_IT}")), size(&file))
        }
        (_, None) => Err(StoreError::Corrupt(format!(
            "nothing that a forebay store holds was found in {}, with its first page and with a new one: it is left as it is",
            file.display()
        ))),
    }
}

/// Copy what was found whole into a store that is empty; give that one, too. No more than so many lost positions are held.
pub(in crate::store) fn copy(
    source: &Connection,
    survey: &Survey,
    store: Box<dyn Store>,
    lost_max: u64,
) -> Result<(Salvage, Box<dyn Store>), StoreError> {
    let names = Names::of(source, survey)?;
    let unreached = names.unreached(survey);
    let report = report(&names, survey, &unreached);
    SalvageWriter::new(store, source, names, lost_max, Salvage::of(report, unreached)).take(survey)
}

fn file_of(dir: &Path) -> Result<PathBuf, StoreError> {
    let file = Directory::at(dir).file("forebay.db");
    if file.exists() || first_page::log_waits(&file) {
        return Ok(file);
    }
    Err(StoreError::Refused(format!("there is no store in {}", dir.display())))
}

/// The report on a file whose first page leads nowhere.
fn unread(text: &str, beside: &Beside, header: Option<String>) -> Report {
    let mut found = Damage::default();
    found.tell(&format!("{}: {text}", header.unwrap_or_else(|| LEADS_NOWHERE.into())));
    beside.tell(None, &mut found);
    with(Report::default(), found)
}

fn report(names: &Names, survey: &Survey, unreached: &[String]) -> Report {
    let mut rows = BTreeMap::new();
    for (tab, _) in &survey.rows {
        let table = Table::numbered(*tab).map_or_else(|| tab.to_string(), |table| format!("{table:?}"));
        *rows.entry(table).or_insert(0) += 1;
    }
    let mut others = Damage::default();
    for finding in unreached {
        others.tell(finding);
    }
    let lost = survey.lost.iter().take(LOST_LISTED);
    let report = Report {
        whole: survey.damage.findings == 0,
        readable: true,
        commits: survey.census.map_or(0, |census| census.commits),
        rows,
        logs: survey.spans.len() as u64,
        chunks: survey.heads.len() as u64,
        records: survey.heads.iter().map(|head| u64::from(head.count)).sum(),
        bytes: survey.heads.iter().map(|head| head.bytes).sum(),
        findings: survey.damage.findings,
        damage: survey.damage.told.clone(),
        lost_records: survey.lost.iter().map(|(_, first, end)| end - first).sum(),
        lost: lost.map(|(log, first, end)| names.lost(*log, *first, *end)).collect(),
    };
    with(report, others)
}

/// A report with what was found beside the tables.
fn with(report: Report, others: Damage) -> Report {
    let findings = report.findings + others.findings;
    let damage = [report.damage, others.told].concat();
    Report { whole: findings == 0, findings, damage, ..report }
}

/// Bytes of the store's file, of which some may have been cut off, and of its write-ahead log.
fn size(file: &Path) -> u64 {
    let [now, log] = [file, &log_of(file)].map(|file| fs::metadata(file).map_or(0, |file| file.len()));
    now.max(first_page::size_told(file).unwrap_or(0)) + log
}

/// A copy of a store's file and its log, taken away again in the end.
struct Copy {
    file: PathBuf,
}

impl Copy {
    fn with_a_new_first_page(file: &Path, into: &Path) -> Result<Self, StoreError> {
        let copy = Self { file: into.join("source.db") };
        copy.remove();
        if file.exists() {
            fs::copy(file, &copy.file)?;
        } else {
            File::create(&copy.file)?;
        }
        let log = log_of(file);
        if log.exists() {
            fs::copy(log, log_of(&copy.file))?;
        }
        first_page::renew(&copy.file)?;
        Ok(copy)
    }

    /// Take away its files, or what a salvage that was killed left in their place.
    fn remove(&self) {
        for file in [&self.file, &log_of(&self.file), &self.file.with_extension("db-shm")] {
            // One that stays is in nobody's way.
            let _stays = fs::remove_file(file);
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.remove();
    }
}

/// What stands beside the file. Looked at first: the owner may commit meanwhile, and must not look as if it had lost something.
struct Beside {
    witness: Result<Testimony, String>,
    attempts: Vec<String>,
}

impl Beside {
    fn look(dir: &Path) -> Self {
        let dir = Directory::at(dir);
        Self { witness: beside::witness(&dir.file("acknowledged")), attempts: beside::attempts(&dir.file("attempts")) }
    }

    /// Tell what is wrong there, beside a store that holds so many commits (`None`: it is not known).
    fn tell(&self, commits: Option<u64>, found: &mut Damage) {
        match (&self.witness, commits) {
            (Ok(testimony), Some(commits)) => {
                let seen = testimony.seen();
                if commits < seen {
                    found.tell(&format!("the commits {}..={seen} were acknowledged and are missing", commits + 1));
                }
                if let Some(ailment) = testimony.ailment(commits) {
                    found.tell(&format!("{ailment}; a start begins it anew"));
                }
            }
            (Ok(_), None) => {}
            (Err(text), _) => found.tell(&format!("{text}; no app starts with it")),
        }
        for ailment in &self.attempts {
            found.tell(ailment);
        }
    }
}

/// A store's file, opened and read through.
struct Patient {
    handle: Handle,
    survey: Survey,
}

impl Patient {
    fn at(file: &Path) -> Result<Self, StoreError> {
        first_page::keep_log(file)?;
        let handle = Handle::reader(file)?;
        // One snapshot for all; a file that cannot even begin one is judged all the same.
        let _ = handle.execute_batch("BEGIN");
        let survey = Survey::of(&handle)?;
        Ok(Self { handle, survey })
    }

    /// What is wrong with the header of its file.
    fn header(&self, file: &Path) -> io::Result<Option<String>> {
        let waits = first_page::leads_to_the_tables(&self.handle) && first_page::log_waits(file);
        first_page::ailment(file, waits)
    }

    /// Whether its first page leads to all that it holds, as far as can be told.
    fn leads_on(&self, file: &Path) -> io::Result<bool> {
        let is_whole = self.survey.damage.findings == 0;
        Ok(first_page::leads_to_the_tables(&self.handle) && (is_whole || first_page::has_its_size(file)?))
    }

    /// How much of it is whole.
    fn holds(&self) -> usize {
        self.survey.rows.len() + self.survey.heads.len()
    }

    fn names(&self) -> Result<Names, StoreError> {
        Names::of(&self.handle, &self.survey)
    }

    fn report(&self, names: &Names, unreached: &[String], beside: &Beside, header: Option<String>) -> Report {
        let mut report = report(names, &self.survey, unreached);
        report.readable = first_page::leads_to_the_tables(&self.handle);
        let mut others = Damage::default();
        let header = header.or((!report.readable).then(|| LEADS_NOWHERE.into()));
        if let Some(ailment) = header {
            others.tell(&ailment);
        }
        beside.tell(self.survey.census.map(|census| census.commits), &mut others);
        with(report, others)
    }

    fn save(&self, into: &Path, beside: &Beside, header: Option<String>, bytes: u64) -> Result<Salvage, StoreError> {
        let names = self.names()?;
        let unreached = names.unreached(&self.survey);
        let salvage = Salvage::of(self.report(&names, &unreached, beside, header), unreached);
        let store = Box::new(SqliteStore::open(into, Durability::PowerLoss)?);
        SalvageWriter::new(store, &self.handle, names, lost_max(bytes), salvage)
            .take(&self.survey)
            .map(|(salvage, _)| salvage)
    }
}
