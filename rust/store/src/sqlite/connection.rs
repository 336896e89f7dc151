//! Connections to the store's file, and what SQLite's errors mean to us.

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;
use rusqlite::{ffi, Connection, ErrorCode, OpenFlags, DEFAULT_NAME};

use crate::port::{Durability, StoreError};

/// First SQLite without the WAL-reset bug that could damage a file.
const SQLITE_VERSION_MIN: i32 = 3_051_003;
/// How long to wait for a lock that somebody outside holds (an operator's shell, a backup).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a checkpoint waits for readers: commits wait behind it.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(100);
/// WAL kept allocated after a checkpoint, so that commits need not grow it.
const WAL_KEPT_BYTES: u32 = 4 << 20;

/// A connection that only the process that opened it may use.
///
/// In a forked child it is forgotten instead of closed: closing would release locks and files that belong to the parent.
#[derive(Debug)]
pub struct Handle {
    connection: Option<Connection>,
    process: u32,
}

impl Handle {
    /// A connection for the one writer; the file must exist.
    pub(crate) fn writer(file: &Path) -> Result<Self, StoreError> {
        let version = rusqlite::version_number();
        if version < SQLITE_VERSION_MIN {
            let text =
                format!("SQLite {version} has a bug that damages files; at least {SQLITE_VERSION_MIN} is needed");
            return Err(StoreError::Failed(text));
        }
        let handle = Self::open(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        handle.pragma_update(None, "cache_size", -8192)?;
        handle.pragma_update(None, "wal_autocheckpoint", 0)?;
        handle.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
        Ok(handle)
    }

    /// A connection that only reads.
    pub fn reader(file: &Path) -> Result<Self, StoreError> {
        let handle = Self::open(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        handle.pragma_update(None, "cache_size", -2048)?;
        handle.keep_wal()?;
        Ok(handle)
    }

    fn open(file: &Path, access: OpenFlags) -> Result<Self, StoreError> {
        let connection = Connection::open_with_flags(file, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(32);
        // A mapped file turns an I/O error into a signal.
        connection.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(())).or_else(no_answer_is_fine)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(Self { connection: Some(connection), process: std::process::id() })
    }

    /// Go to write-ahead logging with the durability asked for.
    pub(crate) fn write_ahead(&self, durability: Durability) -> Result<(), StoreError> {
        let mode: String = self.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(StoreError::Failed(format!(
                "the file system does not support write-ahead logging (journal mode {mode}): use a local disk"
            )));
        }
        let (level, through_the_drive) = match durability {
            Durability::PowerLoss => ("FULL", true),
            Durability::ProcessCrash => ("NORMAL", false),
        };
        self.pragma_update(None, "synchronous", level)?;
        // macOS alone: there a plain fsync stops at the drive's cache.
        self.pragma_update(None, "fullfsync", through_the_drive)?;
        self.pragma_update(None, "checkpoint_fullfsync", through_the_drive)?;
        Ok(())
    }

    /// Refuse to work in a process that did not open this connection.
    pub(crate) fn check_process(&self) -> Result<(), StoreError> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(StoreError::Failed("the store was opened by the process this one was forked from: open it anew".into()))
    }

    /// From now on leave the write-ahead log as it is when closing: what is on disk is evidence.
    pub(crate) fn keep_wal(&self) -> Result<(), StoreError> {
        self.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(())
    }

    /// Frames of the write-ahead log that are not in the file yet.
    pub(crate) fn wal_frames(&self) -> Result<u32, StoreError> {
        let (frames, saved) = self.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::NOOP)?;
        Ok((frames - saved).max(0) as u32)
    }

    /// Move frames of the write-ahead log into the file.
    pub(crate) fn checkpoint(&self, mode: CheckpointMode) -> Result<(), StoreError> {
        self.busy_timeout(CHECKPOINT_WAIT)?;
        let moved = self.wal_checkpoint_v2(DEFAULT_NAME, mode).map_err(StoreError::from);
        self.busy_timeout(BUSY_TIMEOUT)?;
        match moved {
            // Readers were in the way: the next one goes further.
            Ok(_) | Err(StoreError::Locked(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Deref for Handle {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("the connection is taken only when the handle is dropped"),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.connection.take());
        }
    }
}

fn no_answer_is_fine(error: rusqlite::Error) -> rusqlite::Result<()> {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        error => Err(error),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        let text = error.to_string();
        match &error {
            E::SqliteFailure(failure, _) => match (failure.code, failure.extended_code) {
                (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => Self::Full(text),
                (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) | (_, ffi::SQLITE_IOERR_CORRUPTFS) => {
                    Self::Corrupt(text)
                }
                // The number of its schema's format is none that there is: SQLite has no code for that.
                _ if text == "unsupported file format" => Self::Corrupt(text),
                (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
                    Self::Locked(format!("another program has the store's file locked ({text}): end it, and ask again"))
                }
                _ => Self::Failed(text),
            },
            // A column that does not hold what we put there.
            E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..)
            | E::Utf8Error(..)
            | E::QueryReturnedNoRows => Self::Corrupt(text),
            _ => Self::Failed(text),
        }
    }
}

impl From<rusqlite::types::FromSqlError> for StoreError {
    fn from(error: rusqlite::types::FromSqlError) -> Self {
        Self::Corrupt(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_neither_uses_nor_closes_a_connection() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("forebay.db");
        std::fs::write(&file, "").unwrap();
        let mut handle = Handle::writer(&file).unwrap();
        handle.write_ahead(Durability::PowerLoss).unwrap();
        handle.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(1)").unwrap();
        assert!(handle.check_process().is_ok());
        // As it looks in a forked child.
        handle.process ^= 1;
        let refused = handle.check_process().unwrap_err();
        assert!(refused.to_string().contains("forked"), "{refused}");
        drop(handle);
        assert!(
            dir.path().join("forebay.db-wal").exists(),
            "closing would have moved and removed the log of the parent"
        );
    }
}
