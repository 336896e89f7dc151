//! Reading: each reader has a connection of its own to the server that takes writes. Every byte is verified, and a log is contiguous or
//! damaged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::Waker;

use forebay_store::chunk::Chunk;
use forebay_store::port::{Ahead, Found, Read, Reader, Rows, ShardId, StoreError, Table, Ticket};
use forebay_store::sqlite::layout::{chunk_id, missing, row_name, verify_row, Head};
use forebay_store::{Span, POSITION_LIMIT, SHARD_LIMIT};
use tokio::sync::{mpsc, Mutex};
use tokio::time::{sleep, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Statement};

use crate::answers::Answers;
use crate::schema::{BOUNDS, CHUNKS, LOGS, ROW, ROWS, ROWS_BEFORE, SIZES, TABLES};
use crate::session::{ended, silent, Session, AGAIN, ANSWER_WITHIN};
use crate::settings::Settings;

/// Most reads that wait to be sent.
pub(crate) const READS_MAX: usize = 1_024;

/// A read and its ticket.
pub(crate) type Ask = (Ticket, Read);
/// What was found.
pub(crate) type Answered = Result<Found, StoreError>;

/// One end of a reader; the other is [`serve`].
pub(crate) struct PostgresReader {
    asks: mpsc::Sender<Ask>,
    answers: Arc<Answers<Answered>>,
    last: Ticket,
}

impl PostgresReader {
    pub(crate) fn new(asks: mpsc::Sender<Ask>, answers: Arc<Answers<Answered>>) -> Self {
        Self { asks, answers, last: 0 }
    }
}

impl Reader for PostgresReader {
    fn submit(&mut self, read: Read) -> Ticket {
        self.last += 1;
        if let Err(error) = self.asks.try_send((self.last, read)) {
            let error = match error {
                mpsc::error::TrySendError::Full(_) => {
                    StoreError::Unavailable(format!("{READS_MAX} reads wait already"))
                }
                mpsc::error::TrySendError::Closed(_) => StoreError::Failed("the store was closed".into()),
            };
            self.answers.done(self.last, Err(error));
        }
        self.last
    }

    fn poll(&mut self, waker: &Waker) -> Option<(Ticket, Answered)> {
        self.answers.poll(waker)
    }
}

/// Answer the reads of one reader until it is dropped. They are sent as they come, and do not wait for each other.
pub(crate) async fn serve(
    settings: Settings,
    generation: Arc<AtomicU64>,
    mut asks: mpsc::Receiver<Ask>,
    answers: Arc<Answers<Answered>>,
) {
    let link = Arc::new(Link { settings, generation, session: Mutex::new(None) });
    // So that the first read does not wait for the connection. Where there is none yet, the first read asks again.
    let first = link.clone();
    tokio::spawn(async move { drop(first.reading().await) });
    while let Some((ticket, read)) = asks.recv().await {
        let (link, answers) = (link.clone(), answers.clone());
        tokio::spawn(async move { answers.done(ticket, link.read(&read).await) });
    }
}

/// The connection of a reader, made anew when it was lost, or when the writer has a new one.
struct Link {
    settings: Settings,
    generation: Arc<AtomicU64>,
    session: Mutex<Option<Arc<Reading>>>,
}

struct Reading {
    session: Session,
    generation: u64,
    chunks: Statement,
    bounds: Statement,
    sizes: Statement,
    row: Statement,
    rows: Statement,
    rows_before: Statement,
}

impl Link {
    /// Read; a server that cannot be reached is asked again until it answers.
    async fn read(&self, read: &Read) -> Answered {
        loop {
            let found = match self.reading().await {
                Ok(reading) => match timeout(ANSWER_WITHIN, reading.read(read)).await {
                    // The user had the right when the store was opened.
                    Ok(Err(StoreError::Refused(text))) => return Err(StoreError::Failed(text)),
                    Ok(found) => found,
                    Err(_) => Err(silent()),
                },
                Err(error) => Err(error),
            };
            match found {
                Err(StoreError::Unavailable(_) | StoreError::Refused(_)) => {
                    *self.session.lock().await = None;
                    sleep(AGAIN).await;
                }
                found => return found,
            }
        }
    }

    async fn reading(&self) -> Result<Arc<Reading>, StoreError> {
        let mut session = self.session.lock().await;
        let generation = self.generation.load(Ordering::Acquire);
        if let Some(reading) = session.as_ref().filter(|one| one.generation == generation && !one.session.is_over()) {
            return Ok(reading.clone());
        }
        let opened = Arc::new(Reading::over(Session::open(&self.settings).await?, generation).await?);
        *session = Some(opened.clone());
        Ok(opened)
    }
}

impl Reading {
    async fn over(session: Session, generation: u64) -> Result<Self, StoreError> {
        let (chunks, bounds, sizes, row, rows, rows_before) = tokio::try_join!(
            session.prepare(CHUNKS),
            session.prepare(BOUNDS),
            session.prepare(SIZES),
            session.prepare(ROW),
            session.prepare(ROWS),
            session.prepare(ROWS_BEFORE),
        )?;
        Ok(Self { session, generation, chunks, bounds, sizes, row, rows, rows_before })
    }

    async fn read(&self, read: &Read) -> Answered {
        match read {
            Read::Chunks { shard, from, bytes_max } => self.chunks(*shard, *from, *bytes_max).await.map(Found::Chunks),
            Read::Bounds { shard } => self.bounds(*shard).await.map(Found::Bounds),
            Read::Sizes { shard, limit } => self.sizes(*shard, *limit).await.map(Found::Sizes),
            Read::Row { table, key } => self.row(*table, key).await.map(Found::Row),
            Read::Rows { table, prefix, after, limit } => {
                self.rows(*table, prefix, after.as_deref(), *limit).await.map(Found::Rows)
            }
            Read::Ahead { rows_max, bytes_max, logs_max } => {
                self.ahead(*rows_max, *bytes_max, *logs_max).await.map(Found::Ahead)
            }
        }
    }

    async fn chunks(&self, shard: ShardId, from: u64, bytes_max: usize) -> Result<Vec<Arc<Chunk>>, StoreError> {
        let (log, wanted) = (shard as i32, from.min(POSITION_LIMIT) as i64);
        let client = &self.session.client;
        let rows = client.query(&self.chunks, &[&log, &wanted, &number(bytes_max)]).await;
        let rows = rows.map_err(|error| ended(&error))?;
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let span = span(first, 0, shard)?.ok_or_else(|| no_log(shard))?;
        let from = from.max(span.first);
        if from >= span.next {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let mut next = None;
        for row in &rows {
            let head = head(row, shard)?.ok_or_else(|| missing(shard, from))?;
            let begins = next.unwrap_or(head.first());
            if next.is_none() && !(head.first() <= from && from < head.end()) {
                return Err(missing(shard, from));
            }
            let head = head.follow(begins, span)?;
            found.push(Arc::new(head.open(row.try_get(9).map_err(|error| ended(&error))?)?));
            next = Some(head.end());
        }
        let bytes: usize = found.iter().map(|chunk| chunk.body().len()).sum();
        match next {
            // The log goes on, and what follows is not there.
            Some(next) if next < span.next && bytes < bytes_max => Err(missing(shard, next)),
            _ => Ok(found),
        }
    }

    async fn bounds(&self, shard: ShardId) -> Result<Option<(u64, u64)>, StoreError> {
        let row = self.session.client.query_one(&self.bounds, &[&(shard as i32)]).await;
        let row = row.map_err(|error| ended(&error))?;
        let last: Option<i64> = row.try_get(3).map_err(|error| ended(&error))?;
        match span(&row, 0, shard)? {
            None if last.is_some() => Err(no_log(shard)),
            found => Ok(found.map(|span| (span.first, span.next))),
        }
    }

    async fn sizes(&self, shard: ShardId, limit: usize) -> Result<Vec<(u64, u32, u64, u64)>, StoreError> {
        let rows = self.session.client.query(&self.sizes, &[&(shard as i32), &number(limit)]).await;
        let rows = rows.map_err(|error| ended(&error))?;
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let span = span(first, 0, shard)?.ok_or_else(|| no_log(shard))?;
        let mut found = Vec::new();
        let mut next = span.first;
        for row in &rows {
            let Some(head) = head(row, shard)? else { break };
            let head = head.follow(next, span)?;
            found.push(size(&head));
            next = head.end();
        }
        if next < span.next && found.len() < limit {
            return Err(missing(shard, next));
        }
        Ok(found)
    }

    async fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let tab = table as u8;
        let row = self.session.client.query_opt(&self.row, &[&i16::from(tab), &key]).await;
        let Some(row) = row.map_err(|error| ended(&error))? else { return Ok(None) };
        let value: Vec<u8> = row.try_get(0).map_err(|error| ended(&error))?;
        verify_row(tab, key, &value, crc(&row, 1, || row_name(tab, key))?)?;
        Ok(Some(value))
    }

    async fn rows(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StoreError> {
        let tab = table as u8;
        let start = match after {
            // The key that follows it.
            Some(after) if after >= prefix => [after, &[0]].concat(),
            _ => prefix.to_vec(),
        };
        let client = &self.session.client;
        let rows = match end(prefix) {
            Some(end) => client.query(&self.rows_before, &[&i16::from(tab), &start, &number(limit), &end]).await,
            None => client.query(&self.rows, &[&i16::from(tab), &start, &number(limit)]).await,
        };
        let mut found = Rows::new();
        for row in rows.map_err(|error| ended(&error))? {
            let (key, value): (Vec<u8>, Vec<u8>) =
                (row.try_get(0).map_err(|error| ended(&error))?, row.try_get(1).map_err(|error| ended(&error))?);
            verify_row(tab, &key, &value, crc(&row, 2, || row_name(tab, &key))?)?;
            if key.starts_with(prefix) {
                found.push((key, value));
            }
        }
        Ok(found)
    }

    async fn ahead(&self, rows_max: usize, bytes_max: usize, logs_max: usize) -> Result<Ahead, StoreError> {
        let known = Table::ALL.map(|table| i16::from(table as u8));
        let (known, limit, bytes_max) = (known.as_slice(), number(rows_max.saturating_add(1)), number(bytes_max));
        let tables: [(&(dyn ToSql + Sync), Type); 3] =
            [(&known, Type::INT2_ARRAY), (&limit, Type::INT8), (&bytes_max, Type::INT8)];
        let logs_max = number(logs_max);
        let logs: [(&(dyn ToSql + Sync), Type); 1] = [(&logs_max, Type::INT8)];
        let (rows, logs) = tokio::try_join!(self.session.typed(TABLES, &tables), self.session.typed(LOGS, &logs))?;
        let mut found = Ahead::default();
        for row in rows {
            let tab: i16 = row.try_get(0).map_err(|error| ended(&error))?;
            let Some(table) = u8::try_from(tab).ok().and_then(Table::numbered) else { continue };
            let rows = found.tables.entry(table).or_default();
            if let Some(key) = row.try_get::<_, Option<Vec<u8>>>(1).map_err(|error| ended(&error))? {
                let value: Vec<u8> = row.try_get(2).map_err(|error| ended(&error))?;
                verify_row(table as u8, &key, &value, crc(&row, 3, || row_name(table as u8, &key))?)?;
                rows.insert(key, value);
            }
        }
        for row in logs {
            let shard = row.try_get::<_, i32>(9).map_err(|error| ended(&error))? as u32;
            let span = span(&row, 0, shard)?.ok_or_else(|| no_log(shard))?;
            let size = match head(&row, shard)? {
                Some(head) => Some(size(&head.follow(span.first, span)?)),
                None if span.first < span.next => return Err(missing(shard, span.first)),
                None => None,
            };
            found.logs.insert(shard, ((span.first, span.next), size));
        }
        Ok(found)
    }
}

/// What a chunk weighs.
fn size(head: &Head) -> (u64, u32, u64, u64) {
    (head.first(), head.count, head.bytes, head.last_arrival_ms)
}

/// The first key behind all keys that begin with `prefix`; `None`: there is no such key.
fn end(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn crc(row: &Row, at: usize, name: impl FnOnce() -> String) -> Result<u32, StoreError> {
    let crc: i64 = row.try_get(at).map_err(|error| ended(&error))?;
    u32::try_from(crc).map_err(|_| StoreError::Corrupt(format!("{} fails its checksum", name())))
}

/// The head of a chunk, in the columns from 3 on; `None` where the row has none.
fn head(row: &Row, shard: ShardId) -> Result<Option<Head>, StoreError> {
    let read = || -> Result<_, tokio_postgres::Error> {
        let Some(first) = row.try_get::<_, Option<i64>>(3)? else { return Ok(None) };
        let (count, bytes, arrival): (i32, i64, i64) = (row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
        let (body_crc, crc): (i64, i64) = (row.try_get(7)?, row.try_get(8)?);
        let facts = (count as u32, bytes as u64, arrival as u64, body_crc as u32);
        Ok(Some((chunk_id(shard, first as u64), facts, crc as u32)))
    };
    match read().map_err(|error| ended(&error))? {
        Some((id, facts, crc)) => Head::of_facts(id, facts, crc).map(Some),
        None => Ok(None),
    }
}

/// The span of a log: three columns from `at` on; `None` where the log is not known.
pub(crate) fn span(row: &Row, at: usize, log: ShardId) -> Result<Option<Span>, StoreError> {
    let Some(kept) = row.try_get::<_, Option<i64>>(at).map_err(|error| ended(&error))? else { return Ok(None) };
    let next: i64 = row.try_get(at + 1).map_err(|error| ended(&error))?;
    let guard: i64 = row.try_get(at + 2).map_err(|error| ended(&error))?;
    let (first, end) = (kept as u64, next as u64);
    let is_sound = guard == kept ^ next.wrapping_mul(5) ^ i64::from(log);
    if !is_sound || log >= SHARD_LIMIT || first > end || end > POSITION_LIMIT {
        return Err(StoreError::Corrupt(format!("the span {kept}..{next} of shard {log} is not as it was written")));
    }
    Ok(Some(Span { first, next: end }))
}

fn no_log(shard: ShardId) -> StoreError {
    StoreError::Corrupt(format!("there are chunks of shard {shard}, and no log that they belong to"))
}

/// The chunks of a log do not begin and end as its span does.
pub(crate) fn missing_ends(shard: ShardId, span: Span, ends: [Option<i64>; 2]) -> StoreError {
    let [first, end] = ends;
    StoreError::Corrupt(format!(
        "the log of shard {shard} should hold the positions {}..{}, and its chunks say {first:?}..{end:?}",
        span.first, span.next
    ))
}
