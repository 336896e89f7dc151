//! `forebay migrate`: all that a store keeps, from a directory to a server or back, while no app runs on either.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_engine::base::error::EngineError;
use forebay_engine::store::directory::{Directory, Ownership};
use forebay_engine::store::migrate::{fenced, migrate, unmark as take_mark, Copied, CHANGED, NOT_EMPTY};
use forebay_engine::store::port::{Durability, Store, StoreError};
use forebay_engine::store::sqlite::SqliteStore;
use forebay_postgres::{fence_above, find, is_url, PostgresStore};

use crate::member::{described, Member, Owner};

/// How long a store on a server may take to become free: its owner may just have died.
const FREE_WITHIN: Duration = Duration::from_secs(8);
const AGAIN: Duration = Duration::from_millis(200);

/// One end of a migration, which nobody else runs meanwhile.
struct End {
    store: Box<dyn Store>,
    app: String,
    holds: Holds,
}

enum Holds {
    Directory { _ownership: Ownership },
    Server(Arc<Member>, u64),
}

impl End {
    /// A store in a directory. `app`: whose it is to be; a source says itself whose it is.
    fn in_directory(path: &Path, app: Option<&str>) -> Result<Self, EngineError> {
        let path = std::path::absolute(path).map_err(|error| EngineError::Invalid(error.to_string()))?;
        if app.is_none() && !path.join("forebay.db").exists() {
            return Err(EngineError::NotFound(format!("there is no store in {}", path.display())));
        }
        let ownership = Directory::own(&path).map_err(|error| match error {
            StoreError::Locked(text) => StoreError::Locked(format!("{text}: stop the processes of its app first")),
            error => error,
        })?;
        let mut store = SqliteStore::open(&path, Durability::PowerLoss)?;
        let found = store.app(app)?;
        match (app, found) {
            (Some(app), Some(found)) if found != app => {
                Err(refused(format!("the directory {} holds the store of app {found:?}", path.display())))
            }
            (_, Some(app)) => {
                Ok(Self { store: Box::new(store), app, holds: Holds::Directory { _ownership: ownership } })
            }
            (_, None) => Err(refused(format!(
                "the store in {} does not say whose it is: start its app once with this release",
                path.display()
            ))),
        }
    }

    /// A store on a server that promises so much at least; its fencing tokens are above this one from now on.
    fn on_server(url: &str, app: Option<&str>, durability: Durability, above: u64) -> Result<Self, EngineError> {
        let settings = find(url, app, durability)?;
        if above > 0 {
            fence_above(&settings, above)?;
        }
        let (app, place) = (settings.app().to_owned(), settings.place().to_owned());
        let member = Member::join(settings)?;
        let until = Instant::now() + FREE_WITHIN;
        loop {
            match member.owner(AGAIN) {
                Some(Owner::This(epoch)) => {
                    let store = PostgresStore::open(member.settings().clone().taken(epoch))?;
                    return Ok(Self { store: Box::new(store), app, holds: Holds::Server(member, epoch) });
                }
                _ if Instant::now() < until => std::thread::sleep(AGAIN),
                Some(Owner::Other(owner)) => {
                    return Err(EngineError::Store(StoreError::Locked(format!(
                        "the store {place} is owned by {}: stop the processes of its app first",
                        described(&owner)
                    ))));
                }
                None => {
                    return Err(EngineError::OwnerLost(format!("the store {place} does not become free: ask again")))
                }
            }
        }
    }

    fn open(place: &str, app: Option<&str>, durability: Durability, above: u64) -> Result<Self, EngineError> {
        if is_url(place) {
            return Self::on_server(place, app, durability, above);
        }
        Self::in_directory(Path::new(place), app)
    }

    /// The highest fencing token that this store, and those that it was copied from, can have given out.
    fn given(&self) -> Result<u64, EngineError> {
        let own = match &self.holds {
            Holds::Directory { .. } => 0,
            Holds::Server(_, epoch) => *epoch,
        };
        Ok(own.max(fenced(self.store.as_ref())?))
    }
}

impl Holds {
    /// Where it is, in words for people.
    fn place(&self, given: &str) -> String {
        match self {
            Self::Directory { .. } => {
                std::path::absolute(given).map_or_else(|_| given.to_owned(), |path| path.display().to_string())
            }
            Self::Server(member, _) => member.settings().place_of_store(),
        }
    }

    /// What is to be done about a migration that was refused for what is here.
    fn advise(&self, given: &str, error: StoreError) -> StoreError {
        let StoreError::Refused(text) = error else { return error };
        if text != NOT_EMPTY && text != CHANGED {
            return StoreError::Refused(text);
        }
        let delete = match self {
            Self::Directory { .. } => format!("the directory {}", self.place(given)),
            Self::Server(member, _) => {
                let settings = member.settings();
                format!(
                    "the schema, in the database of {}: DROP SCHEMA {} CASCADE",
                    settings.place(),
                    settings.quoted_schema()
                )
            }
        };
        let other = if text == NOT_EMPTY { "name a directory or a schema that no app has used. Or, " } else { "" };
        StoreError::Refused(format!(
            "{text}. Next: {other}if nobody needs what is there, delete {delete}. Then run this again"
        ))
    }

    /// Whether it is certain that nobody else runs it.
    fn is_held(&self) -> bool {
        match self {
            Self::Directory { .. } => true,
            Self::Server(member, epoch) => member.holds(*epoch),
        }
    }
}

fn refused(text: String) -> EngineError {
    EngineError::Store(StoreError::Refused(text))
}

/// Copy the store in `from` into `to`, each a directory or a URL; gives the app whose it is, and how much was copied this time. `goes_on` is
/// asked after each commit; `None`: it said no. A migration that was stopped goes on where it was.
pub fn run(
    from: &str,
    to: &str,
    app: Option<&str>,
    goes_on: &mut dyn FnMut(Copied) -> bool,
) -> Result<Option<(String, Copied)>, EngineError> {
    // From a server that promises little the way out is open.
    let source = End::open(from, app.filter(|_| is_url(from)), Durability::ProcessCrash, 0)?;
    let given = source.given()?;
    let End { store: mut source, app, holds } = source;
    let mut target = End::open(to, Some(&app), Durability::PowerLoss, given)?;
    if matches!(target.holds, Holds::Server(_, epoch) if epoch <= given) {
        let text = "the target had an owner that has just died: run this again, so that its fencing tokens go on above those of the source";
        return Err(refused(text.into()));
    }
    let (mut is_lost, place) = (false, target.holds.place(to));
    let copied = migrate(source.as_mut(), target.store.as_mut(), &place, given, &mut |copied| {
        is_lost |= !holds.is_held();
        !is_lost && goes_on(copied)
    });
    let copied = copied.map_err(|error| target.holds.advise(to, error))?;
    if is_lost {
        let text = "the source's server was not reached for some seconds, or another process may have taken the source meanwhile. Next: see \
                    that the server can be reached and that no process of the app runs, and run this again, which goes on where it was";
        return Err(refused(text.into()));
    }
    Ok(copied.map(|copied| (app, copied)))
}

/// Let an app open a store again that a migration has copied to another one; gives where that is. `None`: no migration has.
pub fn unmark(place: &str, app: Option<&str>) -> Result<Option<String>, EngineError> {
    // As long as it is held: who lets go of it writes no more.
    let mut end = End::open(place, app.filter(|_| is_url(place)), Durability::ProcessCrash, 0)?;
    Ok(take_mark(end.store.as_mut())?)
}
