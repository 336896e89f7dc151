//! The embedded store: one SQLite file in a directory that its owner holds.
//!
//! Order of effects of a commit: everything is written in one transaction; the write-ahead log is fsynced (power-loss
//! durability); the witness is told; then `commit` returns. Any error but a full disk or a lock held from outside stops the
//! store for good: what reached the disk is unknown, and nothing may be acknowledged on top of it.

pub mod backup;
pub mod connection;
pub mod first_page;
#[cfg(feature = "failpoints")]
pub mod foreign;
pub mod layout;
mod opening;
pub mod reader;
mod reserve;
mod rows;
pub mod witness;

pub use opening::check_format;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::task::Waker;

use rusqlite::params;
use rusqlite::wal::CheckpointMode;

use crate::chunk::Chunk;
use crate::directory::{Directory, Place};
use crate::format::keys::APP;
use crate::fp;
use crate::port::at_once::{AtOnce, ReaderAtOnce};
use crate::port::{Done, Durability, Outcome, Reader, ShardId, Store, StoreError, Table, Ticket, Token, Unit, Write};
use crate::sqlite::connection::Handle;
use crate::sqlite::layout::{chunk_id, missing, Census, Head, OWN};
use crate::sqlite::opening::{raise_format, span_row, Content, Opened, PAGE_BYTES};
use crate::sqlite::reader::{last_head, SqliteReader};
use crate::sqlite::reserve::Reserve;
use crate::sqlite::rows::Rows;
use crate::sqlite::witness::Witness;
use crate::Span;

/// Frames of the write-ahead log from which a commit moves them into the file: 3 MiB, less than the reserve, which must hold
/// what they make the file grow by.
const CHECKPOINT_FRAMES: u32 = (3 << 20) / PAGE_BYTES;
/// Frames from which it waits for readers to let it.
const CHECKPOINT_FRAMES_MAX: u32 = 16 * CHECKPOINT_FRAMES;
/// Frames from which an idle moment is used to move them.
const IDLE_FRAMES: u32 = CHECKPOINT_FRAMES / 4;
/// Free pages left in the file for the next commits: 1 MiB.
const FREE_PAGES_KEPT: u32 = (1 << 20) / PAGE_BYTES;
/// Pages given back to the file system in one step.
const STEP_PAGES: u32 = 64;

/// Logs and rows in a SQLite file. The caller owns the directory ([`Directory::own`]).
#[derive(Debug)]
pub struct SqliteStore {
    handle: Handle,
    file: PathBuf,
    /// `None` where the file is not one of this machine's, as in a test of power cuts.
    place: Option<Place>,
    durability: Durability,
    census: Census,
    spans: HashMap<ShardId, Span>,
    reserve: Reserve,
    witness: Witness,
    /// Frames of the write-ahead log from which a checkpoint waits for readers.
    wait_from: u32,
    remark: Option<String>,
    failed: Option<StoreError>,
    /// How often it was taken since it was opened.
    epoch: u64,
    answers: AtOnce<Done>,
}

/// What a commit changes of what the writer knows.
struct Draft {
    census: Census,
    spans: BTreeMap<ShardId, Option<Span>>,
}

impl SqliteStore {
    /// Open the store in `dir`, which must exist; make it when there is none.
    ///
    /// [`StoreError::Corrupt`] when what was written is not all there, [`StoreError::NewerFormat`] when a newer forebay wrote it.
    pub fn open(dir: &Path, durability: Durability) -> Result<Self, StoreError> {
        let directory = Directory::at(dir);
        let mut reserve = Reserve::of(directory.file("reserve"));
        let witness = directory.file("acknowledged");
        let witness = Witness::open(&witness).map_err(|error| {
            StoreError::Unreachable(format!("the file {} cannot be opened: {error}", witness.display()))
        })?;
        let file = directory.file("forebay.db");
        let opened = match opening::open(&file, durability, &witness) {
            Err(StoreError::Full(_)) if reserve.is_kept() => {
                reserve.give_up()?;
                opening::open(&file, durability, &witness)
            }
            opened => opened,
        };
        let Opened { handle, content: Content { census, spans }, remark } = opened?;
        let place = Place::of(&file).ok();
        let mut store = Self {
            handle,
            file,
            place,
            durability,
            census,
            spans,
            reserve,
            witness,
            wait_from: CHECKPOINT_FRAMES_MAX,
            remark,
            failed: None,
            epoch: 0,
            answers: AtOnce::default(),
        };
        store.keep_reserve().or_else(full_is_fine)?;
        Ok(store)
    }

    /// What was found wrong beside the file when it was opened, and keeps nobody from working with it: for the log.
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// The name of the app whose store this is. Where it has none it takes `claimed`, and is of the newest format from then on; on a
    /// full disk it goes without until a later start.
    pub fn app(&mut self, claimed: Option<&str>) -> Result<Option<String>, StoreError> {
        let found = reader::row(&self.handle, Table::Meta as u8, APP)?.map(String::from_utf8).transpose();
        let found = found.map_err(|_| StoreError::Corrupt("the name of the store's app is not text".into()))?;
        let Some(name) = claimed.filter(|name| found.as_deref().is_none_or(|found| found == *name)) else {
            return Ok(found);
        };
        // A store that was led back to the last release has a name already.
        let raised = self.guarded(|store| store.drain(|store| raise_format(&store.handle)));
        let row = Write::Set { table: Table::Meta, key: APP.into(), value: name.into() };
        let named = raised.and_then(|()| if found.is_some() { Ok(()) } else { self.carry_out(&[row]) });
        match named {
            Ok(()) => Ok(Some(name.into())),
            Err(StoreError::Full(_)) => Ok(found),
            Err(error) => Err(error),
        }
    }

    /// Carry out the writes in one transaction.
    fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.handle.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        match self.write_all(writes) {
            Ok(draft) => {
                self.census = draft.census;
                for (shard, span) in draft.spans {
                    match span {
                        Some(span) => self.spans.insert(shard, span),
                        None => self.spans.remove(&shard),
                    };
                }
                Ok(())
            }
            Err(error) => {
                if !self.handle.is_autocommit() {
                    self.handle.prepare_cached("ROLLBACK")?.execute([])?;
                }
                Err(error)
            }
        }
    }

    fn write_all(&self, writes: &[Write]) -> Result<Draft, StoreError> {
        fp!("store.commit.begun")?;
        let mut draft = Draft { census: self.census, spans: BTreeMap::new() };
        let mut rows = Rows::of(&self.handle)?;
        for write in writes {
            match write {
                Write::Append { shard, chunk } => self.append(&mut draft, *shard, chunk)?,
                Write::Trim { shard, before } => self.trim(&mut draft, *shard, *before)?,
                Write::Add { table, key, value } => rows.add(&mut draft.census, *table as u8, key, value)?,
                Write::Set { table, key, value } => rows.set(&mut draft.census, *table as u8, key, value)?,
                Write::Remove { table, key } => rows.remove(&mut draft.census, *table as u8, key)?,
            }
        }
        write_spans(&mut draft, &mut rows)?;
        draft.census.commits += 1;
        rows.write_census(&draft.census)?;
        fp!("store.commit.before")?;
        self.handle.prepare_cached("COMMIT")?.execute([])?;
        Ok(draft)
    }

    fn span(&self, draft: &Draft, shard: ShardId) -> Option<Span> {
        draft.spans.get(&shard).copied().unwrap_or_else(|| self.spans.get(&shard).copied())
    }

    fn append(&self, draft: &mut Draft, shard: ShardId, chunk: &Chunk) -> Result<(), StoreError> {
        let span = Span::appended(self.span(draft, shard), shard, chunk)?;
        draft.spans.insert(shard, Some(span));
        let head = Head::of(shard, chunk);
        self.handle
            .prepare_cached(
                "INSERT INTO chunk(id, count, bytes, last_arrival_ms, body_crc, crc, body) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                head.id(),
                head.count,
                head.bytes as i64,
                head.last_arrival_ms as i64,
                head.body_crc,
                head.crc(),
                chunk.body()
            ])?;
        Ok(())
    }

    fn trim(&self, draft: &mut Draft, shard: ShardId, before: u64) -> Result<(), StoreError> {
        let Some(span) = self.span(draft, shard) else { return Ok(()) };
        let (span, last) = if before == u64::MAX {
            (None, chunk_id(shard, u64::MAX))
        } else if before <= span.first || span.first == span.next {
            return Ok(());
        } else {
            let head = last_head(&self.handle, shard, before - 1)?.ok_or_else(|| missing(shard, span.first))?;
            // Where the last chunk to look at holds positions to keep as well, it stays whole.
            let crossing = head.end() > before;
            let first = if crossing { head.first() } else { head.end() };
            (Some(Span { first, next: span.next }), head.id() - i64::from(crossing))
        };
        draft.spans.insert(shard, span);
        self.handle
            .prepare_cached("DELETE FROM chunk WHERE id BETWEEN ?1 AND ?2")?
            .execute(params![chunk_id(shard, 0), last])?;
        Ok(())
    }

    /// Write what only removes or marks progress; on a full disk, into the reserve.
    fn drain(&mut self, mut write: impl FnMut(&mut Self) -> Result<(), StoreError>) -> Result<(), StoreError> {
        match write(self) {
            Err(StoreError::Full(_)) if self.reserve.is_kept() => {
                self.reserve.give_up()?;
                self.checkpoint().or_else(full_is_fine)?;
                write(self)
            }
            result => result,
        }
    }

    /// Make sure that adding leaves room for draining.
    fn admit(&mut self) -> Result<(), StoreError> {
        if self.handle.wal_frames()? >= CHECKPOINT_FRAMES {
            self.checkpoint()?;
        }
        self.keep_reserve()
    }

    fn keep_reserve(&mut self) -> Result<(), StoreError> {
        let kept = match self.reserve.keep() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                // The write-ahead log may be what is in its place.
                self.handle.checkpoint(CheckpointMode::TRUNCATE)?;
                self.reserve.keep()
            }
            kept => kept,
        };
        kept.map_err(|error| match StoreError::from(error) {
            StoreError::Full(text) => {
                StoreError::Full(format!("{text}; nothing is added until there is room, reading and draining go on"))
            }
            error => error,
        })
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        fp!("store.checkpoint.before")?;
        let frames = self.handle.wal_frames()?;
        let wait = frames >= self.wait_from;
        self.handle.checkpoint(if wait { CheckpointMode::RESTART } else { CheckpointMode::PASSIVE })?;
        if wait {
            // A reader that stays, such as a backup, is waited for again only when the log has grown by as much once more.
            self.wait_from = self.handle.wal_frames()? + CHECKPOINT_FRAMES_MAX;
        } else if frames < CHECKPOINT_FRAMES_MAX {
            self.wait_from = CHECKPOINT_FRAMES_MAX;
        }
        fp!("store.checkpoint.after")?;
        Ok(())
    }

    fn commit_unguarded(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.iter().any(Write::adds) {
            self.admit()?;
            self.write(writes)?;
        } else {
            self.drain(|store| store.write(writes))?;
        }
        // From here on the commit stands: no error may say that nothing was written.
        self.conclude().map_err(|error| match error {
            StoreError::Failed(_) => error,
            _ => StoreError::Failed(error.to_string()),
        })
    }

    fn conclude(&mut self) -> Result<(), StoreError> {
        fp!("store.commit.after")?;
        // After the commit: nothing is acknowledged that went into a file which was gone by then. Costs a microsecond.
        self.place.as_ref().map_or(Ok(()), Place::check)?;
        match self.durability {
            Durability::PowerLoss => self.witness.note(self.census.commits)?,
            // It vouches for nothing; it only is not damage any more.
            Durability::ProcessCrash if self.remark.take().is_some() => self.witness.note(0)?,
            Durability::ProcessCrash => {}
        }
        if self.handle.wal_frames()? >= CHECKPOINT_FRAMES {
            // Room in the file is the next commit's need.
            self.checkpoint().or_else(full_is_fine)?;
        }
        Ok(())
    }

    fn give_back_unguarded(&mut self) -> Result<bool, StoreError> {
        self.keep_reserve().or_else(full_is_fine)?;
        let free: u32 = self.handle.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        let step = free.saturating_sub(FREE_PAGES_KEPT).min(STEP_PAGES);
        if step > 0 {
            match self.drain(|store| store.vacuum(step)) {
                // Nothing can be given now, and nothing is lost by it.
                Err(StoreError::Full(_) | StoreError::Locked(_)) => return Ok(false),
                result => result?,
            }
        }
        let more = free > FREE_PAGES_KEPT + STEP_PAGES;
        if (step > 0 && !more) || self.handle.wal_frames()? >= IDLE_FRAMES {
            self.checkpoint().or_else(full_is_fine)?;
        }
        Ok(more)
    }

    fn vacuum(&mut self, pages: u32) -> Result<(), StoreError> {
        fp!("store.give_back.before_vacuum")?;
        let mut statement = self.handle.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut rows = statement.query([])?;
        // One page a step.
        while rows.next()?.is_some() {}
        Ok(())
    }

    fn carry_out(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.guarded(|store| store.commit_unguarded(writes))
    }

    fn token(&self) -> Token {
        Token { epoch: self.epoch, commits: self.census.commits }
    }

    /// Run a step that writes; after an error that leaves doubt about the disk, never again.
    fn guarded<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.handle.check_process()?;
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = step(self);
        if let Err(error @ (StoreError::Failed(_) | StoreError::Corrupt(_))) = &result {
            self.failed = Some(error.clone());
            self.handle.keep_wal()?;
        }
        result
    }
}

/// Its one unit belongs to whoever owns the directory: what it is asked for is done at once.
impl Store for SqliteStore {
    fn take(&mut self, _unit: Unit) -> Ticket {
        self.epoch += 1;
        let token = self.failed.clone().map_or(Ok(self.token()), Err);
        self.answers.done(Done::Taken(token))
    }

    fn submit(&mut self, _unit: Unit, token: Token, writes: &[Write]) -> Ticket {
        let outcome = if self.failed.is_none() && token != self.token() {
            Ok(Outcome::Fenced)
        } else {
            let result = self.carry_out(writes);
            Outcome::at_once(result.map(|()| self.token()), writes)
        };
        self.answers.done(Done::Ended(outcome))
    }

    fn poll(&mut self, _waker: &Waker) -> Option<(Ticket, Done)> {
        self.answers.poll()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.handle.check_process()?;
        Ok(Box::new(ReaderAtOnce::over(SqliteReader::open(&self.file)?)))
    }

    fn give_back(&mut self) -> Result<bool, StoreError> {
        self.guarded(Self::give_back_unguarded)
    }

    fn place(&self) -> Option<Place> {
        self.place.clone()
    }
}

fn write_spans(draft: &mut Draft, rows: &mut Rows<'_>) -> Result<(), StoreError> {
    for (&shard, &span) in &draft.spans {
        match span {
            Some(span) => {
                let (key, value) = span_row(shard, span);
                rows.set(&mut draft.census, OWN, &key, &value)?;
            }
            None => rows.remove(&mut draft.census, OWN, &layout::span_key(shard))?,
        }
    }
    Ok(())
}

fn full_is_fine(error: StoreError) -> Result<(), StoreError> {
    match error {
        StoreError::Full(_) => Ok(()),
        error => Err(error),
    }
}
