//! The doctor: says what is wrong with an embedded store. It never changes the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use forebay_store::directory::Directory;
use forebay_store::port::{StoreError, Table};
use forebay_store::sqlite::first_page;
use serde::Serialize;

use crate::beside::Beside;
use crate::lost::{Lost, Names};
use crate::source::Source;
use crate::survey::{Damage, Survey};

/// Most ranges of lost records that a report lists; the rest is counted.
const LOST_LISTED: usize = 1_000;
const MARKED: &str = "it has the mark of a migration into it: either that had not ended, and is to be run again into an empty directory, or \
                      the damage has brought the mark back. A salvage leaves the mark out";
pub(crate) const LEADS_NOWHERE: &str = "the first page of forebay.db does not lead to its tables";

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
    /// Where a migration has copied the store to: no app opens it any more.
    pub moved_to: Option<String>,
    /// How much was found wrong.
    pub findings: u64,
    /// What was found wrong: the first thousand findings.
    pub damage: Vec<String>,
    /// Records among them that are only marked as lost, since a salvage could not save them.
    pub lost_records: u64,
    /// Where they are: the first thousand ranges.
    pub lost: Vec<Lost>,
}

/// Check every byte of the store in `dir`, and what stands beside it. Works while its owner runs, on one snapshot.
///
/// [`StoreError::NewerFormat`] for what this forebay cannot judge.
pub fn examine(dir: &Path) -> Result<Report, StoreError> {
    let file = file_of(dir)?;
    let beside = Beside::look(dir);
    match Source::at(&file) {
        Ok(source) => {
            let header = source.header(&file)?;
            let names = source.names()?;
            Ok(report_on(&source, &names, &names.unreached(&source.survey), &beside, header))
        }
        Err(StoreError::Corrupt(text)) => Ok(unread(&text, &beside, first_page::ailment(&file, false)?)),
        Err(error) => Err(error),
    }
}

pub(crate) fn file_of(dir: &Path) -> Result<PathBuf, StoreError> {
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

pub(crate) fn report(names: &Names, survey: &Survey, unreached: &[String]) -> Report {
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
        moved_to: survey.moved_to.clone(),
        findings: survey.damage.findings,
        damage: survey.damage.told.clone(),
        lost_records: survey.lost.iter().map(|(_, first, end)| end - first).sum(),
        lost: lost.map(|(log, first, end)| names.lost(*log, *first, *end)).collect(),
    };
    with(report, others)
}

/// The report on a store that was read through.
pub(crate) fn report_on(
    source: &Source,
    names: &Names,
    unreached: &[String],
    beside: &Beside,
    header: Option<String>,
) -> Report {
    let mut report = report(names, &source.survey, unreached);
    report.readable = first_page::leads_to_the_tables(&source.handle);
    let mut others = Damage::default();
    let header = header.or((!report.readable).then(|| LEADS_NOWHERE.into()));
    if let Some(ailment) = header {
        others.tell(&ailment);
    }
    if source.survey.has_mark() {
        others.tell(MARKED);
    }
    beside.tell(source.survey.census.map(|census| census.commits), &mut others);
    with(report, others)
}

/// A report with what was found beside the tables.
fn with(report: Report, others: Damage) -> Report {
    let findings = report.findings + others.findings;
    let damage = [report.damage, others.told].concat();
    Report { whole: findings == 0, findings, damage, ..report }
}
