//! Foreign bytes in the tables of a store, and what the doctor makes of them. For tests alone.

use forebay_store::memory::MemoryStore;
use forebay_store::port::StoreError;
use forebay_store::sqlite::foreign::{open, Foreign, Opened, Tables};
use forebay_store::sqlite::layout::Head;
use rusqlite::Connection;

use crate::doctor::report;
use crate::lost::Names;
use crate::repair::Salvage;
use crate::salvage_writer::SalvageWriter;
use crate::survey::Survey;

/// Positions of more records than that are not salvaged one by one here.
const SALVAGED_MAX: u64 = 50_000;

/// What became of the tables.
#[derive(Debug)]
pub struct Examined {
    /// What a store made of them.
    pub store: Opened,
    /// What the doctor finds wrong.
    pub damage: Vec<String>,
    /// What a repair copies; `None` where that would be too much for a test.
    pub salvage: Option<Result<Salvage, StoreError>>,
}

/// Put these lines into the tables, with a census that counts them where it is asked for, look at them, and take them out again.
///
/// # Errors
/// What SQLite says of its own tables; what it says of the lines stands in the answer.
pub fn examine(tables: &Tables, lines: &[Foreign], counted: bool) -> Result<Examined, StoreError> {
    let (store, (damage, salvage)) = open(tables, lines, counted, |all| {
        let survey = Survey::of(all)?;
        let ends = survey.heads.iter().map(Head::end).chain(survey.spans.values().map(|span| span.next));
        let salvage = (ends.max() < Some(SALVAGED_MAX)).then(|| copy(all, &survey));
        Ok((survey.damage.told, salvage))
    })?;
    Ok(Examined { store, damage, salvage })
}

/// Copy what was found whole into a store in memory.
fn copy(source: &Connection, survey: &Survey) -> Result<Salvage, StoreError> {
    let names = Names::of(source, survey)?;
    let unreached = names.unreached(survey);
    let salvage = Salvage::of(report(&names, survey, &unreached), unreached);
    SalvageWriter::new(Box::new(MemoryStore::new()), source, names, SALVAGED_MAX, salvage).take(survey)
}
