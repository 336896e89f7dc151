//! A look at a store from outside: whose it is, who owns it, which processes share it, and what its server promises.

use std::collections::BTreeMap;

use forebay_store::format::keys::{MIGRATING, MOVED};
use forebay_store::migrate::moved_to;
use forebay_store::port::{Durability, StoreError, Table};
use tokio_postgres::types::ToSql;
use tokio_postgres::Row;

use crate::promises::{check_options, Promises, KEEPS_OPTIONS, QUESTION};
use crate::schema::{sql, APP, DOORS, DRAIN, EXISTS, FOUND, HAS_DOORS, HEAD, MEMBERS, ROW, SCHEMAS, WANT};
use crate::session::{answer, ended, silent, Session};
use crate::settings::{Settings, SCHEMA_BEGINS};
use crate::writer::ALL;

/// Most schemas that an error lists.
const SCHEMAS_LISTED: usize = 10;

/// What is seen of a store at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    /// The name of the process that owns it; `None`: it was given up.
    pub owner: Option<String>,
    /// Grows whenever the store is taken.
    pub epoch: u64,
    /// Commits so far.
    pub commits: u64,
    /// How often it was taken from a process that had died, since it was last given up.
    pub deaths: u32,
    /// The number of its format.
    pub format: u32,
    /// A migration into it has not ended.
    pub is_half_copied: bool,
    /// Where a migration has copied it to.
    pub moved_to: Option<String>,
    /// Where its database has other stores.
    pub other_schemas: Vec<String>,
    /// The processes that share it, by name.
    pub members: Vec<MemberSeen>,
}

/// A process that shares a store.
#[derive(Clone, Debug)]
pub struct MemberSeen {
    /// Its name.
    pub name: String,
    /// Its release of forebay.
    pub version: String,
    /// How long ago its last beat was, by the server's clock, ms.
    pub silent_ms: u64,
    /// It is to own nothing, because an operator has said so.
    pub is_drained: bool,
    /// The newest format that its release understands.
    pub format: u32,
    /// It is to own nothing, because its release does not understand the store's format.
    pub is_outdated: bool,
    /// It is to own nothing for a while, because it could not open the store a short time ago.
    pub has_declined: bool,
    /// Where it listens for processes of other machines while it owns the store.
    pub address: Option<String>,
}

impl Look {
    /// How long ago the owner's last beat was, ms; `None`: nobody owns the store, or its owner has no row.
    pub fn owner_silent_ms(&self) -> Option<u64> {
        let owner = self.owner.as_ref()?;
        self.members.iter().find(|member| member.name == *owner).map(|member| member.silent_ms)
    }
}

/// The settings of a store: those of an app, or of the one store that the URL leads to. Waits for the server in the latter case.
pub fn find(url: &str, app: Option<&str>, durability: Durability) -> Result<Settings, StoreError> {
    if let Some(app) = app {
        return Settings::new(url, app, durability);
    }
    let settings = Settings::new(url, "?", durability)?;
    let is_named = !settings.has_schema_of_app();
    blocking(async {
        let session = open(&settings).await?;
        let schemas = schemas(&session).await?;
        let of_apps: Vec<&String> = schemas.iter().filter(|schema| schema.starts_with(SCHEMA_BEGINS)).collect();
        let schema = match (of_apps.as_slice(), schemas.as_slice()) {
            _ if is_named => settings.schema.clone(),
            (&[one], _) | (_, [one]) => one.clone(),
            (_, []) => return Err(missing(settings.place(), &schemas)),
            _ => {
                return Err(StoreError::Refused(format!(
                    "{} holds several stores, in the schemas {}. Next: name one in the store's URL (?schema=NAME)",
                    settings.place(),
                    listed(&schemas)
                )))
            }
        };
        let settings = settings.of("?", &schema);
        let quoted = settings.quoted_schema();
        let exists = answer(session.client.query_one(&sql(&quoted, EXISTS), &[])).await?;
        if !column::<bool>(&exists, 0)? {
            return Err(missing(&settings.place_of_store(), &schemas));
        }
        let app: String = column(&answer(session.client.query_one(&sql(&quoted, APP), &[])).await?, 0)?;
        Ok(settings.of(&app, &schema))
    })
}

/// Look at a store and its server; the store is `None` where there is none yet. [`StoreError::Refused`]: the server is behind a pooler that
/// cannot be used. Waits for the server.
pub fn look(settings: &Settings) -> Result<(Promises, Option<Look>), StoreError> {
    blocking(async {
        let session = Session::open(settings).await?;
        let client = &session.client;
        // In one transaction: what is prepared by name may not be known to the next session of a pooler.
        let promises = session.typed_one(QUESTION, &[]).await?.ok_or_else(silent)?;
        let promises = Promises::read(&promises).map_err(|error| ended(&error))?;
        check_options(promises.keeps_options)?;
        let schema = settings.quoted_schema();
        let exists = answer(client.query_one(&sql(&schema, EXISTS), &[])).await?;
        if !column::<bool>(&exists, 0)? {
            return Ok((promises, None));
        }
        let found = answer(client.query_one(&sql(&schema, FOUND), &[])).await?;
        let (format, app) = (column::<i32>(&found, 0)? as u32, column::<String>(&found, 1)?);
        if app != settings.app() {
            return Err(schema_of_another(settings, &app));
        }
        let head = answer(client.query_one(&sql(&schema, HEAD), &[&ALL])).await?;
        let mut addresses = BTreeMap::new();
        if column::<bool>(&answer(client.query_one(&sql(&schema, HAS_DOORS), &[])).await?, 0)? {
            for row in answer(client.query(&sql(&schema, DOORS), &[])).await? {
                addresses.insert(column::<String>(&row, 0)?, column::<String>(&row, 1)?);
            }
        }
        let mut members = Vec::new();
        for row in answer(client.query(&sql(&schema, MEMBERS), &[])).await? {
            let (name, version): (String, String) = (column(&row, 0)?, column(&row, 1)?);
            let silent_ms = column::<i64>(&row, 2)?.max(0) as u64;
            let (is_drained, understands, has_declined) =
                (column(&row, 3)?, column::<i32>(&row, 4)? as u32, column(&row, 5)?);
            let (is_outdated, address) = (understands < format, addresses.remove(&name));
            members.push(MemberSeen {
                name,
                version,
                silent_ms,
                is_drained,
                format: understands,
                is_outdated,
                has_declined,
                address,
            });
        }
        let (epoch, commits, deaths): (i64, i64, i32) = (column(&head, 1)?, column(&head, 2)?, column(&head, 3)?);
        let owner = column(&head, 0)?;
        let (epoch, commits, deaths) = (epoch as u64, commits as u64, deaths as u32);
        let mut marks = [None, None];
        for (key, mark) in [MIGRATING, MOVED].into_iter().zip(&mut marks) {
            let rows = answer(client.query(&sql(&schema, ROW), &[&i16::from(Table::Meta as u8), &key])).await?;
            *mark = rows.first().map(|row| column::<Vec<u8>>(row, 0)).transpose()?;
        }
        let [half, moved] = marks;
        let (is_half_copied, moved_to) = (half.is_some(), moved.as_deref().map(moved_to));
        let mut other_schemas = schemas(&session).await?;
        other_schemas.retain(|other| *other != settings.schema);
        let look = Look { owner, epoch, commits, deaths, format, is_half_copied, moved_to, other_schemas, members };
        Ok((promises, Some(look)))
    })
}

/// Have the process with this name own the store: its owner finishes what runs, and gives the store up. False: no such process shares the
/// store, or it is drained. Waits for the server.
pub fn want(settings: &Settings, member: &str) -> Result<bool, StoreError> {
    change(settings, WANT, &[&ALL, &member])
}

/// Have the process with this name own nothing, or let it own the store again. False: no such process shares the store. Waits for the
/// server.
pub fn drain(settings: &Settings, member: &str, is_drained: bool) -> Result<bool, StoreError> {
    change(settings, DRAIN, &[&member, &is_drained])
}

fn change(settings: &Settings, text: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<bool, StoreError> {
    blocking(async {
        let session = open(settings).await?;
        let changed = answer(session.client.execute(&sql(&settings.quoted_schema(), text), parameters)).await?;
        Ok(changed > 0)
    })
}

/// Connect to whatever keeps our options.
async fn open(settings: &Settings) -> Result<Session, StoreError> {
    let session = Session::open(settings).await?;
    let kept = session.typed_one(KEEPS_OPTIONS, &[]).await?.ok_or_else(silent)?;
    check_options(column(&kept, 0)?)?;
    Ok(session)
}

/// Why the store in a schema is not the one that is asked for.
pub(crate) fn schema_of_another(settings: &Settings, app: &str) -> StoreError {
    StoreError::Refused(format!(
        "the schema {} holds the store of app {app:?}. Next: give store_app={app:?} to use that one, or name another schema in the store's \
         URL (?schema=NAME)",
        settings.schema
    ))
}

/// Where the server has stores, as far as this user sees them.
async fn schemas(session: &Session) -> Result<Vec<String>, StoreError> {
    let rows = answer(session.client.query(SCHEMAS, &[])).await?;
    rows.iter().map(|row| column(row, 0)).collect()
}

/// Names for people: not all of very many.
fn listed(schemas: &[String]) -> String {
    let more = schemas.len().saturating_sub(SCHEMAS_LISTED);
    let first = schemas[..schemas.len() - more].join(", ");
    if more == 0 {
        first
    } else {
        format!("{first} and {more} more")
    }
}

fn missing(place: &str, schemas: &[String]) -> StoreError {
    let others = match schemas {
        [] => String::new(),
        some => format!(". The database has stores in the schemas {}", listed(some)),
    };
    StoreError::Refused(format!(
        "there is no store of forebay in {place}: the app that makes it has not started yet, or keeps it elsewhere (commands take \
         --store){others}"
    ))
}

pub(crate) fn column<T: for<'a> tokio_postgres::types::FromSql<'a>>(row: &Row, at: usize) -> Result<T, StoreError> {
    row.try_get(at).map_err(|error| ended(&error))
}

pub(crate) fn blocking<T>(asked: impl std::future::Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StoreError::Unreachable(format!("no event loop can be made: {error}")))?;
    runtime.block_on(asked)
}
