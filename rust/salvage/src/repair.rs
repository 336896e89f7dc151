//! The repair: copies what is whole of an embedded store into a new one. It never changes the source.

use std::fs;
use std::fs::File;
use std::path::{Path, PathBuf};

use forebay_store::directory::Directory;
use forebay_store::port::{Durability, StoreError};
use forebay_store::sqlite::first_page;
use forebay_store::sqlite::first_page::log_of;
use forebay_store::sqlite::SqliteStore;
use serde::Serialize;

use crate::beside::Beside;
use crate::doctor::{file_of, report_on, Report, LEADS_NOWHERE};
use crate::lost::Lost;
use crate::salvage_writer::{lost_max, SalvageWriter};
use crate::source::Source;

const READ_BEHIND_IT: &str = "what is behind it was read in a copy, whose first page was made anew";

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
    pub(crate) fn of(report: Report, unreached: Vec<String>) -> Self {
        Self { report, rows: 0, chunks: 0, records: 0, lost: Vec::new(), unreached }
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
    let found = Source::at(&file);
    let header = match &found {
        Ok(source) => source.header(&file)?,
        Err(_) => first_page::ailment(&file, false)?,
    };
    match &found {
        Ok(source) if header.is_none() && source.leads_on(&file)? => {
            return save(source, into, &beside, None, size(&file));
        }
        Ok(_) | Err(StoreError::Corrupt(_)) => {}
        Err(error) => return Err(error.clone()),
    }
    let copy = Copy::with_a_new_first_page(&file, into)?;
    // Its first page is damaged, so a mark of a migration in it says nothing.
    let renewed =
        Source::read(&copy.file).ok().filter(|renewed| renewed.holds() > 0 || renewed.survey.census.is_some());
    match (found, renewed) {
        (Ok(source), renewed) if source.holds() > 0 && renewed.iter().all(|renewed| renewed.holds() <= source.holds()) => {
            save(&source, into, &beside, header, size(&file))
        }
        (found, Some(renewed)) => {
            let why = header.or(found.err().map(|error| error.to_string())).unwrap_or_else(|| LEADS_NOWHERE.into());
            save(&renewed, into, &beside, Some(format!("{why}: {READ_BEHIND_IT}")), size(&file))
        }
        (_, None) => Err(StoreError::Corrupt(format!(
            "nothing that a forebay store holds was found in {}, with its first page and with a new one: it is left as it is",
            file.display()
        ))),
    }
}

/// Copy what was found whole into a new store in `into`.
fn save(
    source: &Source,
    into: &Path,
    beside: &Beside,
    header: Option<String>,
    bytes: u64,
) -> Result<Salvage, StoreError> {
    let names = source.names()?;
    let unreached = names.unreached(&source.survey);
    let salvage = Salvage::of(report_on(source, &names, &unreached, beside, header), unreached);
    let store = Box::new(SqliteStore::open(into, Durability::PowerLoss)?);
    SalvageWriter::new(store, &source.handle, names, lost_max(bytes), salvage).take(&source.survey)
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
