//! The store that is looked at: its file, opened for reading alone and read through.

use std::io;
use std::path::Path;

use forebay_store::migrate::UNFINISHED;
use forebay_store::port::StoreError;
use forebay_store::sqlite::connection::Handle;
use forebay_store::sqlite::first_page;

use crate::lost::Names;
use crate::survey::Survey;

/// A store's file, opened and read through.
pub(crate) struct Source {
    pub(crate) handle: Handle,
    pub(crate) survey: Survey,
}

impl Source {
    /// Open and read one.
    ///
    /// [`StoreError::Refused`]: a migration into it has not ended: what it lacks is still in the source. A damaged store may have an old
    /// mark, so it is not refused.
    pub(crate) fn at(file: &Path) -> Result<Self, StoreError> {
        let source = Self::read(file)?;
        if source.survey.damage.findings == 0 && source.survey.has_mark() {
            return Err(StoreError::Refused(UNFINISHED.into()));
        }
        Ok(source)
    }

    /// Open and read one that is damaged.
    pub(crate) fn read(file: &Path) -> Result<Self, StoreError> {
        first_page::keep_log(file)?;
        let handle = Handle::reader(file)?;
        // One snapshot for all; a file that cannot even begin one is judged all the same.
        let _ = handle.execute_batch("BEGIN");
        let survey = Survey::of(&handle)?;
        Ok(Self { handle, survey })
    }

    /// What is wrong with the header of its file.
    pub(crate) fn header(&self, file: &Path) -> io::Result<Option<String>> {
        let waits = first_page::leads_to_the_tables(&self.handle) && first_page::log_waits(file);
        first_page::ailment(file, waits)
    }

    /// Whether its first page leads to all that it holds, as far as can be told.
    pub(crate) fn leads_on(&self, file: &Path) -> io::Result<bool> {
        let is_whole = self.survey.damage.findings == 0;
        Ok(first_page::leads_to_the_tables(&self.handle) && (is_whole || first_page::has_its_size(file)?))
    }

    /// How much of it is whole.
    pub(crate) fn holds(&self) -> usize {
        self.survey.rows.len() + self.survey.heads.len()
    }

    pub(crate) fn names(&self) -> Result<Names, StoreError> {
        Names::of(&self.handle, &self.survey)
    }
}
