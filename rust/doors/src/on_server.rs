//! Opening a store on a server: this process owns it, is a client of an owner on the same machine, or stands by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_engine::api::settings::Serve;
use forebay_engine::base::error::EngineError;
use forebay_engine::runtime::engine::Engine;
use forebay_engine::store::port::{Durability, StoreError};
use forebay_postgres::{find, PostgresStore, Settings};
use serde_json::{json, Value};

use crate::member::{described, is_here, socket_of, Member, Owner};
use crate::open::{End, Home, Opening};
use crate::socket::client::Client;

/// How long an opening waits for an owner. Whoever wants to wait longer opens again.
const OWNER_WITHIN: Duration = Duration::from_secs(1);
/// How long a command waits until it may own a store whose owner has died.
const COMMAND_WITHIN: Duration = Duration::from_secs(10);
/// How long until an owner that does not listen is asked again.
const AGAIN: Duration = Duration::from_millis(100);
/// An owner that has not beaten for so long is not asked any more.
const SILENT_MS: u64 = 5_000;

impl Opening {
    pub(crate) fn open_on_server(self, member: Option<Arc<Member>>) -> Result<End, EngineError> {
        self.check_for_server()?;
        match (member, &self.0.serve) {
            (Some(member), serve) => {
                let is_client_enough = matches!(serve, Serve::Elect);
                self.own_or_stand_by(&member, OWNER_WITHIN, is_client_enough)
            }
            (None, Serve::Client) => self.ask_owner(),
            (None, _) => {
                let member = self.join_members()?;
                self.own_or_stand_by(&member, COMMAND_WITHIN, false)
            }
        }
    }

    /// Refuse what a store on a server cannot keep.
    fn check_for_server(&self) -> Result<(), EngineError> {
        if self.0.manual {
            let text = "clock: a store on a server is shared with processes whose time does not stand still; leave the clock out, or give \
                        a directory or \":memory:\" as the store";
            return Err(EngineError::Invalid(text.into()));
        }
        Ok(())
    }

    fn server_settings(&self) -> Result<Settings, EngineError> {
        let Some(durability) = self.durability()? else {
            let text = "durability is \"memory\": a store on a server keeps what is put; allowed are \"power-loss\" and \"process-crash\"";
            return Err(EngineError::Invalid(text.into()));
        };
        Ok(find(&self.0.store, self.0.store_app.as_deref(), durability)?)
    }

    pub(crate) fn join_members(&self) -> Result<Arc<Member>, EngineError> {
        self.check_for_server()?;
        Ok(Member::join(self.server_settings()?)?)
    }

    /// Be a client of an owner on this machine. Where nobody owns the store it is owned for the life of this end, so that a command works
    /// without an app. An owner that has just died does not listen: it is followed by another soon.
    fn ask_owner(&self) -> Result<End, EngineError> {
        let settings = self.server_settings()?;
        let until = Instant::now() + COMMAND_WITHIN;
        loop {
            let (_, seen) = forebay_postgres::look(&settings)?;
            let seen = seen.ok_or_else(|| no_store(&settings))?;
            let is_living = seen.owner_silent_ms().is_some_and(|ms| ms < SILENT_MS);
            let Some(owner) = seen.owner.filter(|_| is_living) else {
                return self.own_or_stand_by(&Member::join(settings)?, COMMAND_WITHIN, true);
            };
            match Self::client_of(&owner, settings.place()) {
                Err(EngineError::OwnerLost(_)) if Instant::now() < until => std::thread::sleep(AGAIN),
                answered => return answered,
            }
        }
    }

    /// A client of the owner with this name, which must run on this machine.
    fn client_of(owner: &str, place: &str) -> Result<End, EngineError> {
        if !is_here(owner) {
            return Err(EngineError::Store(StoreError::Locked(elsewhere(owner, place))));
        }
        Ok(End::Client(Client::connect(&socket_of(owner)?)?))
    }

    fn own_or_stand_by(&self, member: &Arc<Member>, within: Duration, stands_by: bool) -> Result<End, EngineError> {
        let until = Instant::now() + within;
        let place = member.settings().place();
        loop {
            match member.owner(until.saturating_duration_since(Instant::now())) {
                Some(Owner::This(epoch)) => return self.own_on_server(member, epoch),
                Some(Owner::Other(owner)) if !stands_by => {
                    let text = format!("the store {place} is owned by {}", described(&owner));
                    return Err(EngineError::Store(StoreError::Locked(text)));
                }
                Some(Owner::Other(owner)) if is_here(&owner) => match Self::client_of(&owner, place) {
                    Ok(End::Client(client)) => {
                        member.follows(Some(owner), client.changes());
                        return Ok(End::Client(client));
                    }
                    Err(error) if Instant::now() >= until => return Err(error),
                    // It has just taken the store, and does not listen yet.
                    _ => std::thread::sleep(Duration::from_millis(10)),
                },
                Some(Owner::Other(owner)) => {
                    let client = Client::away(elsewhere(&owner, place))?;
                    member.follows(Some(owner), client.changes());
                    return Ok(End::Client(client));
                }
                None => {
                    let text = format!("no process owns the store {place} at the moment: ask again");
                    return Err(EngineError::OwnerLost(text));
                }
            }
        }
    }

    /// Run the store that this process has taken.
    fn own_on_server(&self, member: &Arc<Member>, epoch: u64) -> Result<End, EngineError> {
        let store = PostgresStore::open(member.settings().clone().taken(epoch)).map_err(passing)?;
        let (slots, found) = member.journal(epoch)?;
        let damage = [("attempts", found.remark())];
        let parts = self.parts(Box::new(store), slots, member.lease(epoch));
        let engine = Arc::new(Engine::open(parts).map_err(|error| match error {
            EngineError::Store(error) => passing(error),
            error => error,
        })?);
        engine.opened(None, Some(member.settings().app().to_owned()), &damage);
        member.runs(&engine);
        self.with_doors(engine, Home::Server(member.clone()))
    }
}

fn no_store(settings: &Settings) -> EngineError {
    EngineError::NotFound(format!(
        "there is no store of app {:?} in {}: the app that makes it has not started yet, or keeps it elsewhere (commands take --store)",
        settings.app(),
        settings.place()
    ))
}

/// An error of an opening: one that passes is that there is no owner yet.
fn passing(error: StoreError) -> EngineError {
    match error {
        StoreError::Unavailable(text) | StoreError::Lost(text) => EngineError::OwnerLost(text),
        error => EngineError::Store(error),
    }
}

/// Why an owner cannot be asked from here.
fn elsewhere(owner: &str, place: &str) -> String {
    format!(
        "the store {place} is owned by {}, and only processes on that machine can ask it. Next: send this there, or put from a handler",
        described(owner)
    )
}

/// Look at a store on a server without sharing it, for an operator.
pub fn look(url: &str, app: Option<&str>) -> Result<Value, EngineError> {
    let settings = find(url, app, Durability::PowerLoss)?;
    let (promises, seen) = forebay_postgres::look(&settings)?;
    let refused = promises.check(Durability::PowerLoss).err().map(|error| error.to_string());
    let store = seen.map(|seen| {
        let owner_silent_ms = seen.owner_silent_ms();
        let members = seen.members.iter().map(|member| {
            json!({
                "name": member.name,
                "process": described(&member.name),
                "version": member.version,
                "silent_ms": member.silent_ms,
                "owns": seen.owner.as_ref() == Some(&member.name),
                "drained": member.is_drained,
            })
        });
        json!({
            "owner": seen.owner,
            "owner_process": seen.owner.as_deref().map(described),
            "owner_silent_ms": owner_silent_ms,
            "epoch": seen.epoch,
            "commits": seen.commits,
            "deaths": seen.deaths,
            "members": members.collect::<Vec<_>>(),
        })
    });
    Ok(json!({
        "place": settings.place(),
        "app": settings.app(),
        "promises": promises.to_string().lines().collect::<Vec<_>>(),
        "survives_failover": promises.survives_failover(),
        "refused": refused,
        "store": store,
    }))
}

/// Have the process with this name own a store on a server. False: no such process shares the store, or it is drained.
pub fn want(url: &str, member: &str) -> Result<bool, EngineError> {
    Ok(forebay_postgres::want(&find(url, None, Durability::PowerLoss)?, member)?)
}

/// Have the process with this name own nothing, or let it own the store again. False: no such process shares the store.
pub fn drain(url: &str, member: &str, is_drained: bool) -> Result<bool, EngineError> {
    Ok(forebay_postgres::drain(&find(url, None, Durability::PowerLoss)?, member, is_drained)?)
}
