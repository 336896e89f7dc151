//! The backup: a copy of a store as it is at one moment, made while its owner works. It is what a power cut at that moment would leave.
//!
//! A reader's snapshot keeps that moment for as long as the copy takes. The owner goes on committing, and its write-ahead log grows
//! until the copy is done.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::Connection;
use serde::Serialize;

use crate::attempt_journal;
use crate::directory::{open_private, sync_directory, Directory, Ownership};
use crate::port::StoreError;
use crate::sqlite::connection::Handle;
use crate::sqlite::first_page;
use crate::sqlite::layout::{Census, CENSUS_KEY, OWN};
use crate::sqlite::opening::{check_format, PAGE_BYTES};
use crate::sqlite::reader::row;
use crate::sqlite::witness::Witness;

/// Pages that are copied in one step: 4 MiB.
const STEP_PAGES: i32 = 1024;
/// The copy's file until all of it is there.
const PARTIAL: &str = "forebay.db.partial";

/// A copy that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Commits that it holds, counted since the store was made.
    pub commits: u64,
    /// Bytes of its file.
    pub bytes: u64,
}

/// Copy the store in `dir` into the directory `into`, which is made, or is empty. `progress` hears the bytes that are copied and
/// all bytes, and may end the copy: `None` then. What is not finished is removed.
pub fn backup(
    dir: &Path,
    into: &Path,
    mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Option<Copied>, StoreError> {
    let source = Directory::at(dir);
    let file = source.file("forebay.db");
    first_page::keep_log(&file)?;
    if !file.exists() {
        return Err(StoreError::Refused(format!("there is no store in {}", dir.display())));
    }
    let mut target = Target::make(into)?;
    // Read before the snapshot begins: a slot may then name work that has ended by now, as after a power cut, but none that the copy lacks.
    let attempts = attempt_journal::bytes_of(&source.file("attempts"))?;
    let snapshot = Handle::reader(&file)?;
    snapshot.execute_batch("BEGIN")?;
    check_format(&snapshot)?;
    let census = row(&snapshot, OWN, CENSUS_KEY)?.ok_or_else(|| StoreError::Corrupt("the census is missing".into()))?;
    let commits = Census::decode(&census)?.commits;
    let copied = target.write_beside(commits, attempts.as_deref()).map_err(StoreError::from);
    let copied = copied.and_then(|()| target.copy(&snapshot, &mut progress)).map_err(|error| target.failed(error))?;
    let Some(bytes) = copied else { return Ok(None) };
    target.finish().map_err(|error| target.failed(error.into()))?;
    Ok(Some(Copied { commits, bytes }))
}

/// The directory that the copy is made in. Until the copy is finished a start refuses it, since `acknowledged` there tells of commits
/// that no file holds.
struct Target {
    owned: Ownership,
    is_new: bool,
    finished: bool,
}

impl Target {
    fn make(into: &Path) -> Result<Self, StoreError> {
        check_empty(into)?;
        let is_new = !into.exists();
        let owned = Directory::own(into)?;
        // Somebody may have made a store there before it was ours.
        check_empty(into)?;
        Ok(Self { owned, is_new, finished: false })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.owned.directory().file(name)
    }

    /// Write the files beside `forebay.db`.
    fn write_beside(&self, commits: u64, attempts: Option<&[u8]>) -> io::Result<()> {
        let acknowledged = self.file("acknowledged");
        Witness::open(&acknowledged)?.note(commits)?;
        File::open(acknowledged)?.sync_all()?;
        if let Some(attempts) = attempts {
            let mut file = open_private(&self.file("attempts"))?;
            file.write_all(attempts)?;
            file.sync_all()?;
        }
        Ok(())
    }

    /// Copy every page of the snapshot; gives the bytes, or nothing if `progress` ended it.
    fn copy(
        &self,
        snapshot: &Connection,
        progress: &mut impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<u64>, StoreError> {
        let bytes = |pages: i32| pages.max(0) as u64 * u64::from(PAGE_BYTES);
        open_private(&self.file(PARTIAL))?;
        let mut copy = Connection::open(self.file(PARTIAL))?;
        // A copy that is not finished is removed, and a finished one is synced below.
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
        let pages = Backup::new(snapshot, &mut copy)?;
        loop {
            let step = pages.step(STEP_PAGES)?;
            let now = pages.progress();
            let total = bytes(now.pagecount);
            if progress(total - bytes(now.remaining), total).is_break() {
                return Ok(None);
            }
            match step {
                StepResult::More => {}
                StepResult::Done => return Ok(Some(total)),
                _ => {
                    return Err(StoreError::Locked(format!(
                        "another program has {} locked",
                        self.file(PARTIAL).display()
                    )))
                }
            }
        }
    }

    /// Make the copy a store.
    fn finish(&mut self) -> io::Result<()> {
        let partial = self.file(PARTIAL);
        File::open(&partial)?.sync_all()?;
        fs::rename(partial, self.file("forebay.db"))?;
        self.finished = true;
        sync_directory(self.owned.directory().path())
    }

    /// What kept the copy from being written, if it is the disk under it that is full.
    fn failed(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Full(text) => StoreError::Refused(format!(
                "the disk under {} is full: {text}",
                self.owned.directory().path().display()
            )),
            error => error,
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // What cannot be removed stays, and no start takes it for a store.
        for name in [PARTIAL, "attempts", "acknowledged", "lock"] {
            let _stays = fs::remove_file(self.file(name));
        }
        if self.is_new {
            let _stays = fs::remove_dir(self.owned.directory().path());
        }
    }
}

/// Refuse a directory that holds anything but the lock of whoever looks.
fn check_empty(into: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(into) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => {
            entries.map_err(|error| StoreError::Refused(format!("{} cannot be read: {error}", into.display())))?
        }
    };
    let others = entries.filter_map(Result::ok).map(|entry| entry.file_name()).find(|name| name != "lock");
    others.map_or(Ok(()), |name| {
        Err(StoreError::Refused(format!(
            "{} is not empty, it holds {}: back up into a new or empty directory",
            into.display(),
            name.to_string_lossy()
        )))
    })
}
