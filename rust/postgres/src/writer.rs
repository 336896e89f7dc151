//! The connection that writes: it opens the store, takes its unit and carries out commits.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use forebay_store::port::{Outcome, StoreError, Token};
use forebay_store::Span;
use tokio::time::{sleep, timeout, Instant};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Statement};

use crate::batch::Batch;
use crate::errors::{self, say};
use crate::look::schema_of_another;
use crate::promises::{Held, Promises, HELD, QUESTION};
use crate::reader::{missing_ends, span};
use crate::schema::{self, sql, CENSUS, CLAIM, COMMIT, COMPLETE, ENDS, FOUND, LEFT, RELEASE, SWEEP, TAKE, TAKEN};
use crate::session::{answer, ended, silent, Session, AGAIN, ANSWER_WITHIN, RIGHTS};
use crate::settings::Settings;

/// The one unit there is.
pub(crate) const ALL: i32 = 0;
/// How long giving a unit up may take. Without it the next owner only waits a little longer.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);

/// The connection that writes, made anew when it was lost.
pub(crate) struct Writer {
    settings: Settings,
    session: Option<Writing>,
    /// Counts the connections, for readers: none reads from a server that is not written to any more.
    generation: Arc<AtomicU64>,
    /// A commit of which nobody knows whether it was written, and its stamp.
    doubtful: Option<(Token, i64)>,
    stamps: RandomState,
    /// Commits so far, so that each has a stamp of its own.
    sent: u64,
    /// There may be chunks of logs that were forgotten or trimmed.
    pub(crate) has_left: bool,
    /// It has taken the unit, and has not given it up.
    pub(crate) owns: bool,
}

struct Writing {
    session: Session,
    commit: Statement,
}

impl Writer {
    /// Connect, look at what the server promises, and make the store where there is none.
    pub(crate) async fn open(settings: Settings, generation: Arc<AtomicU64>) -> Result<(Self, Promises), StoreError> {
        let session = Session::open(&settings).await?;
        let (promises, complete) = tokio::try_join!(promises(&session), session.typed_one(COMPLETE, &[]))?;
        promises.check(settings.durability)?;
        let name = settings.quoted_schema();
        if !complete.ok_or_else(silent)?.try_get::<_, bool>(0).map_err(|error| ended(&error))? {
            // In one transaction: another process that starts just now finds a store that says whose it is, or none.
            let text = schema::make(&name);
            let made = timeout(ANSWER_WITHIN, session.client.batch_execute(&text)).await.map_err(|_| silent())?;
            made.map_err(|error| not_made(&settings, &error))?;
            let is_new = answer(session.client.execute(&sql(&name, CLAIM), &[&1_i32, &settings.app])).await? > 0;
            if is_new && settings.format() > 1 {
                // Nobody has to understand anything else yet.
                let raised = schema::raise(&name, settings.steps, 1, settings.format());
                answer(session.client.batch_execute(&raised)).await?;
            }
            answer(session.client.batch_execute("COMMIT")).await?;
        }
        let (found, commit) = tokio::join!(session.typed_one(FOUND, &[]), session.prepare(COMMIT));
        check_format(&settings, found?.as_ref())?;
        let commit = commit?;
        generation.fetch_add(1, Ordering::Release);
        let session = Some(Writing { session, commit });
        Ok((
            Self {
                settings,
                session,
                generation,
                doubtful: None,
                stamps: RandomState::new(),
                sent: 0,
                has_left: false,
                owns: false,
            },
            promises,
        ))
    }

    /// The connection; a new one where there is none. A new server must promise what the first one did.
    async fn writing(&mut self) -> Result<&Writing, StoreError> {
        if self.session.as_ref().is_none_or(|writing| writing.session.is_over()) {
            self.session = None;
            let session = Session::open(&self.settings).await?;
            let (promises, commit) = tokio::join!(promises(&session), session.prepare(COMMIT));
            promises?.check(self.settings.durability)?;
            let commit = commit?;
            self.generation.fetch_add(1, Ordering::Release);
            self.session = Some(Writing { session, commit });
        }
        self.session.as_ref().ok_or_else(silent)
    }

    /// Take the unit, and make sure that what is there is whole. A server that cannot be reached is asked again for a while.
    pub(crate) async fn take(&mut self) -> Result<Token, StoreError> {
        let until = Instant::now() + ANSWER_WITHIN;
        loop {
            match self.try_take().await {
                Err(StoreError::Unavailable(_)) if Instant::now() < until => {
                    self.session = None;
                    sleep(AGAIN).await;
                }
                taken => return taken,
            }
        }
    }

    async fn try_take(&mut self) -> Result<Token, StoreError> {
        let (owner, epoch) = (self.settings.member().to_owned(), self.settings.epoch);
        let session = &self.writing().await?.session;
        let epoch_taken = epoch.unwrap_or_default() as i64;
        let mut taking: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&ALL, Type::INT4), (&owner, Type::TEXT)];
        if epoch.is_some() {
            taking.push((&epoch_taken, Type::INT8));
        }
        // All are sent at once, and the server answers one after the other: what it counts is what the head tells of, since nobody else
        // writes once the unit is taken.
        let (taken, counted, ends, left) = tokio::try_join!(
            biased;
            session.typed_one(if epoch.is_some() { TAKEN } else { TAKE }, &taking),
            session.typed_one(CENSUS, &[]),
            session.typed(ENDS, &[]),
            session.typed_one(LEFT, &[]),
        )?;
        let taken = taken.ok_or_else(|| match epoch {
            Some(_) => StoreError::Lost("another process has taken the store meanwhile".into()),
            None => StoreError::Corrupt("the head of the store is missing".into()),
        })?;
        let head: [i64; 4] = columns(&taken)?;
        let [count, sum] = columns(&counted.ok_or_else(silent)?)?;
        if [count, sum] != head[2..] {
            return Err(StoreError::Corrupt(format!(
                "the rows do not add up: {} were written, {count} found, or some are not the newest",
                head[2]
            )));
        }
        for row in &ends {
            check_ends(row)?;
        }
        self.owns = true;
        self.has_left = left.ok_or_else(silent)?.try_get(0).map_err(|error| ended(&error))?;
        Ok(Token { epoch: head[0] as u64, commits: head[1] as u64 })
    }

    /// Carry out a commit. One that may have been written has the same stamp when it is sent again, and is written once.
    pub(crate) async fn commit(&mut self, batch: &Batch) -> Result<Outcome, StoreError> {
        let stamp = match self.doubtful.take() {
            Some((token, stamp)) if token == batch.token => stamp,
            _ => {
                self.sent += 1;
                self.stamps.hash_one((batch.token.epoch, batch.token.commits, self.sent)) as i64
            }
        };
        let outcome = self.try_commit(batch, stamp).await;
        self.has_left |= batch.drops();
        if matches!(outcome, Ok(Outcome::Unknown(_) | Outcome::Unavailable(_))) {
            self.doubtful = Some((batch.token, stamp));
            self.session = None;
        }
        outcome
    }

    /// Remove a slice of what is left of logs that were forgotten or trimmed: no commit grows with what it drops.
    pub(crate) async fn sweep(&mut self) {
        let swept = match self.writing().await {
            Ok(writing) => writing.session.typed_one(SWEEP, &[]).await,
            Err(error) => Err(error),
        };
        match swept.and_then(|row| row.map_or(Ok(false), |row| row.try_get(0).map_err(|error| ended(&error)))) {
            Ok(has_left) => self.has_left = has_left,
            // It is tried again soon.
            Err(StoreError::Unavailable(_)) => self.session = None,
            // The next owner tries again.
            Err(_) => self.has_left = false,
        }
    }

    /// The transaction at the server that makes commits slower, if there is one.
    pub(crate) async fn held(&mut self) -> Option<Held> {
        // It is asked again soon.
        let row = self.writing().await.ok()?.session.typed_one(HELD, &[]).await.ok()??;
        Held::read(&row, 0).ok()?
    }

    async fn try_commit(&mut self, batch: &Batch, stamp: i64) -> Result<Outcome, StoreError> {
        let owner = self.settings.member().to_owned();
        let writing = match self.writing().await {
            Ok(writing) => writing,
            // Nothing was sent. A server that promises less than the one before is none that can be written to.
            Err(StoreError::Unavailable(text) | StoreError::Refused(text) | StoreError::Failed(text)) => {
                return Ok(Outcome::Unavailable(StoreError::Unavailable(text)));
            }
            Err(error) => return Err(error),
        };
        let (epoch, n) = (batch.token.epoch as i64, batch.token.commits as i64);
        let (set, removed, bodies) = (&batch.set, &batch.removed, batch.bodies());
        let parameters: [&(dyn ToSql + Sync); 19] = [
            &ALL,
            &owner,
            &epoch,
            &n,
            &stamp,
            &batch.logs,
            &batch.firsts,
            &batch.counts,
            &batch.bytes,
            &batch.arrivals,
            &batch.body_crcs,
            &batch.crcs,
            &bodies,
            &set.tables,
            &set.keys,
            &set.crcs,
            &set.values,
            &removed.tables,
            &removed.keys,
        ];
        let asked = writing.session.client.query_one(&writing.commit, &parameters);
        let told = match timeout(ANSWER_WITHIN, asked).await {
            Ok(Ok(row)) => row.try_get::<_, i32>(0).map_err(|error| ended(&error))?,
            Ok(Err(error)) => return errors::outcome(&error),
            Err(_) => return Ok(Outcome::Unknown(StoreError::Unknown(silent().to_string()))),
        };
        match told {
            0 | 1 => {
                let token = Token { epoch: batch.token.epoch, commits: batch.token.commits + 1 };
                Ok(Outcome::Committed { token, positions: batch.positions.clone() })
            }
            2 => Ok(Outcome::Fenced),
            _ => Err(StoreError::Corrupt(format!(
                "commit {n} was acknowledged and is missing: the server was replaced by one that lacked it, or set back"
            ))),
        }
    }

    /// Give the unit up.
    pub(crate) async fn release(&mut self, token: Token) {
        self.owns = false;
        let name = self.settings.quoted_schema();
        let (epoch, n) = (token.epoch as i64, token.commits as i64);
        if let Some(writing) = &self.session {
            let text = sql(&name, RELEASE);
            // If it is not heard, the next owner takes the unit as from one that has died.
            let parameters: [&(dyn ToSql + Sync); 4] = [&ALL, &epoch, &n, &self.settings.member()];
            drop(timeout(RELEASE_WITHIN, writing.session.client.execute(&text, &parameters)).await);
        }
    }
}

async fn promises(session: &Session) -> Result<Promises, StoreError> {
    let row = session.typed_one(QUESTION, &[]).await?.ok_or_else(silent)?;
    Promises::read(&row).map_err(|error| ended(&error))
}

fn not_made(settings: &Settings, error: &tokio_postgres::Error) -> StoreError {
    if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
        return StoreError::Unavailable(format!(
            "{}: this release adds to the tables of the store, which a transaction there has in use ({}). Next: let it end \
             (pg_stat_activity shows it; pg_dump is one), and start this again",
            settings.place_of_store(),
            say(error)
        ));
    }
    let text = match ended(error) {
        StoreError::Failed(text) => text,
        StoreError::Refused(text) => text.strip_suffix(RIGHTS).unwrap_or(&text).into(),
        error => return error,
    };
    StoreError::Refused(format!(
        "the schema {} cannot be made on {}: {text}. Next: let the user make it (GRANT CREATE ON DATABASE), or make it empty and give it \
         to the user (CREATE SCHEMA … AUTHORIZATION)",
        settings.schema,
        settings.place()
    ))
}

fn check_format(settings: &Settings, found: Option<&Row>) -> Result<(), StoreError> {
    let schema = &settings.schema;
    let Some(found) = found else {
        return Err(StoreError::Corrupt(format!("the schema {schema} does not say which format it has")));
    };
    let version: i32 = found.try_get(0).map_err(|error| ended(&error))?;
    let app: &str = found.try_get(1).map_err(|error| ended(&error))?;
    match u32::try_from(version) {
        Ok(version) if version > settings.format() => {
            Err(StoreError::NewerFormat { found: version, known: settings.format() })
        }
        Ok(1..) if app == settings.app => Ok(()),
        Ok(1..) => Err(schema_of_another(settings, app)),
        _ => Err(StoreError::Corrupt(format!("the schema {schema} says that it has format {version}"))),
    }
}

/// Refuse a log whose chunks are not those that its span tells of.
fn check_ends(row: &Row) -> Result<(), StoreError> {
    let id: i32 = row.try_get(0).map_err(|error| ended(&error))?;
    let span = span(row, 1, id as u32)?.unwrap_or(Span { first: 0, next: 0 });
    let ends: [Option<i64>; 2] =
        [row.try_get(4).map_err(|error| ended(&error))?, row.try_get(5).map_err(|error| ended(&error))?];
    let is_whole = match ends {
        [Some(first), Some(end)] => span.first < span.next && (first as u64, end as u64) == (span.first, span.next),
        [None, None] => span.first == span.next,
        _ => false,
    };
    if is_whole {
        Ok(())
    } else {
        Err(missing_ends(id as u32, span, ends))
    }
}

/// The columns of a row, all of them whole numbers.
fn columns<const N: usize>(row: &Row) -> Result<[i64; N], StoreError> {
    let mut found = [0; N];
    for (at, number) in found.iter_mut().enumerate() {
        *number = row.try_get(at).map_err(|error| ended(&error))?;
    }
    Ok(found)
}
