//! Changing rows, each counted in the census.

use rusqlite::{params, CachedStatement};

use crate::port::StoreError;
use crate::sqlite::connection::Handle;
use crate::sqlite::layout::{row_crc, Census, CENSUS_KEY, OWN};

/// The statements that change rows. They are prepared once for a commit, which may have thousands of rows: to look a statement up in the
/// connection's cache costs half as much as to carry it out.
pub(super) struct Rows<'c> {
    find: CachedStatement<'c>,
    add: CachedStatement<'c>,
    change: CachedStatement<'c>,
    remove: CachedStatement<'c>,
}

impl<'c> Rows<'c> {
    pub(super) fn of(handle: &'c Handle) -> Result<Self, StoreError> {
        Ok(Self {
            find: handle.prepare_cached("SELECT crc FROM row WHERE tab = ?1 AND key = ?2")?,
            add: handle.prepare_cached(
                "INSERT INTO row(tab, key, value, crc) VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )?,
            change: handle.prepare_cached("UPDATE row SET value = ?3, crc = ?4 WHERE tab = ?1 AND key = ?2")?,
            remove: handle.prepare_cached("DELETE FROM row WHERE tab = ?1 AND key = ?2")?,
        })
    }

    /// Set a row that is most likely not there yet: then nothing is looked for.
    pub(super) fn add(&mut self, census: &mut Census, tab: u8, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let crc = row_crc(tab, key, value);
        if self.add.execute(params![tab, key, value, crc])? == 0 {
            return self.set(census, tab, key, value);
        }
        census.add(tab, crc);
        Ok(())
    }

    pub(super) fn set(&mut self, census: &mut Census, tab: u8, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let crc = row_crc(tab, key, value);
        let statement = match self.crc_of(tab, key)? {
            Some(old) => {
                census.remove(tab, old);
                &mut self.change
            }
            None => &mut self.add,
        };
        census.add(tab, crc);
        one(statement.execute(params![tab, key, value, crc])?)
    }

    pub(super) fn remove(&mut self, census: &mut Census, tab: u8, key: &[u8]) -> Result<(), StoreError> {
        if let Some(old) = self.crc_of(tab, key)? {
            census.remove(tab, old);
            one(self.remove.execute(params![tab, key])?)?;
        }
        Ok(())
    }

    /// Write the census, which does not count itself.
    pub(super) fn write_census(&mut self, census: &Census) -> Result<(), StoreError> {
        let value = census.encode();
        self.change.execute(params![OWN, CENSUS_KEY, value, row_crc(OWN, CENSUS_KEY, &value)])?;
        Ok(())
    }

    fn crc_of(&mut self, tab: u8, key: &[u8]) -> Result<Option<u32>, StoreError> {
        let mut rows = self.find.query(params![tab, key])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }
}

/// Hold a statement to the one row that it was to change: the census has counted it.
fn one(changed: usize) -> Result<(), StoreError> {
    (changed == 1).then_some(()).ok_or_else(|| StoreError::Failed(format!("a row was to change, and {changed} did")))
}
