//! Opening a store on a server: this process owns it, is a client of the owner, or stands by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_engine::api::settings::Serve;
use forebay_engine::base::error::EngineError;
use forebay_engine::runtime::engine::Engine;
use forebay_engine::store::port::{Durability, StoreError};
use forebay_postgres::{find, OwnerWatch, PostgresStore, Settings};
use serde_json::{json, Value};

use crate::member::{described, is_here, run_dir, socket_of, Member, Owner};
use crate::network::{Place, Unreached};
use crate::open::{End, Home, Opening};
use crate::socket::client::Client;
use crate::socket::frame::PROTOCOL;

/// How long an opening waits for an owner. Whoever wants to wait longer opens again.
const OWNER_WITHIN: Duration = Duration::from_secs(1);
/// How long a command waits until it may own a store whose owner has died.
const COMMAND_WITHIN: Duration = Duration::from_secs(10);
/// How long until an owner that does not listen is asked again.
const AGAIN: Duration = Duration::from_millis(100);
/// How long an owner on another machine is tried before this process stands by without it, and until it is tried again.
const UNREACHED: Duration = Duration::from_secs(10);
/// What to do about an owner that is of another release, one that lets no other machine in, and one that cannot be reached.
const UPGRADE: &str = "Next: bring all processes to one release; the owner comes last";
const CLOSED: &str = "Next: send this from its machine, or give it FOREBAY_CLUSTER_ADDRESS";
const OPEN: &str =
    "Next: open the way to it, or give it, in FOREBAY_CLUSTER_ADDRESS, an address that this machine reaches";
/// An owner that has not beaten for so long is not asked any more.
const SILENT_MS: u64 = 5_000;
/// How often a process that does not share the store looks whether an owner that owes it an answer still owns it.
const WATCH: Duration = Duration::from_secs(1);

impl Opening {
    pub(crate) fn open_on_server(self, member: Option<Arc<Member>>) -> Result<End, EngineError> {
        self.check_for_server()?;
        match (member, &self.0.serve) {
            (Some(member), serve) => {
                let is_client_enough = matches!(serve, Serve::Elect);
                self.own_or_stand_by(&member, OWNER_WITHIN, is_client_enough)
            }
            (None, Serve::Client) => self.ask_owner().map_err(unasked),
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
        let settings = self.server_settings()?;
        // What cannot be used is refused now, and not when the owner has died.
        if let Err(error @ EngineError::Invalid(_)) = Place::of(&settings).and_then(Place::check) {
            return Err(error);
        }
        run_dir()?;
        Ok(Member::join(settings)?)
    }

    /// Be a client of the owner. Where nobody owns the store it is owned for the life of this end, so that a command works
    /// without an app. An owner that has just died does not listen: it is followed by another soon.
    fn ask_owner(&self) -> Result<End, EngineError> {
        let settings = self.server_settings()?;
        let mut until = Instant::now() + COMMAND_WITHIN;
        let last = until + COMMAND_WITHIN;
        // One member for all looks: it has to see for itself that an owner is silent.
        let mut joined: Option<Arc<Member>> = None;
        let mut tried = (String::new(), AGAIN);
        loop {
            let (_, seen) = forebay_postgres::look(&settings)?;
            let seen = seen.ok_or_else(|| no_store(&settings))?;
            let is_living = seen.owner_silent_ms().is_some_and(|ms| ms < SILENT_MS);
            // The member may have taken the store since it was asked last.
            let is_this = joined.as_ref().is_some_and(|this| seen.owner.as_deref() == Some(this.settings().member()));
            let Some(owner) = seen.owner.filter(|_| is_living && !is_this) else {
                let member = match joined.take() {
                    Some(member) => member,
                    None => {
                        until = (Instant::now() + COMMAND_WITHIN).min(last);
                        Member::join(settings.clone())?
                    }
                };
                // The server is about to let the next owner in. So a member asks what it knows itself, and looks now and then.
                let looks_at = (Instant::now() + WATCH).min(until);
                loop {
                    match self.own_or_stand_by(&member, until.saturating_duration_since(Instant::now()), false) {
                        Err(EngineError::Store(StoreError::Locked(_))) if Instant::now() < looks_at => {
                            member.wait(AGAIN);
                        }
                        Err(EngineError::Store(StoreError::Locked(_))) if Instant::now() < until => break,
                        opened => return opened,
                    }
                }
                joined = Some(member);
                continue;
            };
            // As the client of an owner it is no member: nobody is to count it as one who could take the store over.
            drop(joined.take());
            match Self::client_of(&owner, &settings, || true) {
                Err(EngineError::OwnerLost(_)) if Instant::now() < until => {
                    // One that has just come listens in a moment. Another one is dead, and many may ask the server about it.
                    let pause = if tried.0 == owner { tried.1 } else { AGAIN };
                    std::thread::sleep(pause);
                    tried = (owner, (2 * pause).min(WATCH));
                }
                Err(error) => return Err(error),
                Ok(client) => {
                    watch(&client, settings, owner)?;
                    return Ok(End::Client(client));
                }
            }
        }
    }

    /// A client of the owner with this name: by its socket on this machine, or over the network. [`EngineError::OwnerLost`] says that it
    /// may be reached soon, and [`StoreError::Locked`] that it will not as long as it owns the store. Of one on this machine that does not
    /// listen, the server is asked only if `asks` says so.
    fn client_of(owner: &str, settings: &Settings, asks: impl FnOnce() -> bool) -> Result<Client, EngineError> {
        let place = settings.place();
        let socket = is_here(owner).then(|| socket_of(owner)).transpose()?;
        let near = socket.as_ref().map(|socket| Client::connect(socket).map(|client| named(client, owner)));
        if let Some(Err(error)) = &near {
            if !asks() {
                return Err(error.clone());
            }
        }
        let door = match settings.door_of(owner) {
            Ok(door) => door,
            // Its socket is enough.
            Err(_) if near.is_some() => None,
            Err(error) => return Err(passing(error)),
        };
        let never = |why: &str| EngineError::Store(StoreError::Locked(elsewhere(owner, place, why)));
        if let Some(other) = door.as_ref().map(|door| door.protocol).filter(|&other| other != PROTOCOL) {
            let why = format!("it speaks protocol {other}, while this release of forebay speaks {PROTOCOL}. {UPGRADE}");
            return Err(never(&why));
        }
        // A socket that is not here is elsewhere, as with systemd's PrivateTmp, or on a machine that has this one's host name.
        let mut missed = None;
        if let (Some(socket), Some(near)) = (socket, near) {
            match near {
                Err(error) if !socket.exists() && door.as_ref().is_some_and(|door| door.address.is_some()) => {
                    missed = Some(error);
                }
                connected => return connected,
            }
        }
        let Some(door) = door else {
            let text = elsewhere(owner, place, "it has not said yet where it listens for other machines");
            return Err(EngineError::OwnerLost(text));
        };
        Client::connect_far(&door).map(|client| named(client, owner)).map_err(|unreached| match (missed, unreached) {
            (Some(missed), Unreached::Never(why) | Unreached::Later(why)) => {
                EngineError::OwnerLost(format!("{missed}. Over the network: {why}"))
            }
            (None, Unreached::Never(why)) => never(&format!("{why}. {CLOSED}")),
            (None, Unreached::Later(why)) => EngineError::OwnerLost(elsewhere(owner, place, &format!("{why}. {OPEN}"))),
        })
    }

    /// What stands by and refuses whatever it is asked, because the owner cannot be asked from here.
    fn stand_by(
        member: &Member,
        owner: String,
        error: &EngineError,
        again: Option<Duration>,
    ) -> Result<End, EngineError> {
        let client = Client::away(error.to_string())?;
        member.follows(owner, again, (client.changes(), || {}));
        Ok(End::Client(client))
    }

    fn own_or_stand_by(&self, member: &Arc<Member>, within: Duration, stands_by: bool) -> Result<End, EngineError> {
        let until = Instant::now() + within;
        let settings = member.settings();
        let place = settings.place();
        loop {
            match member.owner(until.saturating_duration_since(Instant::now())) {
                Some(Owner::This(epoch)) => {
                    let opened = self.own_on_server(member, epoch);
                    match &opened {
                        Ok(_) => member.opened(),
                        Err(error) => member.not_opened(epoch, error),
                    }
                    return opened;
                }
                Some(Owner::Other(owner)) if !stands_by => {
                    let text = format!("the store {place} is owned by {}", described(&owner));
                    return Err(EngineError::Store(StoreError::Locked(text)));
                }
                // It runs nothing any more, and another process follows it soon, which may be this one.
                Some(Owner::Other(owner)) if !is_here(&owner) && !member.may_run_for(&owner) => {
                    if Instant::now() >= until {
                        let text = elsewhere(&owner, place, "it has not reached the server for some seconds");
                        return Err(EngineError::OwnerLost(member.with_trouble(text)));
                    }
                    member.wait(AGAIN);
                }
                Some(Owner::Other(owner)) => match Self::client_of(&owner, settings, || member.asks_of(&owner)) {
                    Ok(client) => {
                        let (lease, clock, of) = (member.clone(), member.clone(), owner.clone());
                        client.run_while(settings.member(), move || lease.may_run_for(&of));
                        self.want_store(&client);
                        client.dates_by(move || clock.store_ms());
                        member.follows(owner, None, (client.changes(), client.looks()));
                        return Ok(End::Client(client));
                    }
                    Err(error @ EngineError::Store(StoreError::Locked(_))) => {
                        return Self::stand_by(member, owner, &error, None);
                    }
                    Err(error) if member.unreached(&owner) >= UNREACHED && !is_here(&owner) => {
                        return Self::stand_by(member, owner, &error, Some(UNREACHED));
                    }
                    // It has just taken the store, and does not listen yet.
                    Err(_) if is_here(&owner) && Instant::now() < until => {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    Err(error) => {
                        if !is_here(&owner) {
                            member.rest(&owner);
                        }
                        if Instant::now() >= until {
                            return Err(error);
                        }
                    }
                },
                None => {
                    if let Some(error) = member.declined() {
                        return Err(error);
                    }
                    let text = format!("no process owns the store {place} at the moment: ask again");
                    return Err(EngineError::OwnerLost(member.with_trouble(text)));
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
        if let Some(former) = member.former() {
            let former = described(&former);
            let text = format!(
                "this process has taken the store over from {former}, which has not beaten for 5 s: it has died, stands still, or does not \
                 reach the server. The epoch is {epoch}"
            );
            engine.remark_on_process(&former, &text);
        }
        engine.opened(None, Some(member.settings().app().to_owned()), &damage);
        member.runs(&engine, epoch);
        self.with_doors(engine, Home::Server(member.clone()))
    }
}

/// A client of the owner with this name.
fn named(client: Client, owner: &str) -> Client {
    client.asks_of(owner);
    client
}

/// Hang up on the owner when the store has another one, or it has fallen silent. A process that shares the store is told so; another has
/// to look. The kernel of a process that is stopped as a whole goes on, so its connection says nothing.
///
/// It is looked twice: an owner that gives the store up has its last word a moment later.
fn watch(client: &Client, settings: Settings, owner: String) -> Result<(), EngineError> {
    let failed = |error: std::io::Error| EngineError::OwnerLost(format!("the owner cannot be watched: {error}"));
    let (unheard, ends) = (client.unheard(), client.changes());
    let mut server = OwnerWatch::new(settings).map_err(failed)?;
    let watching = move || {
        let mut was_gone = false;
        loop {
            std::thread::sleep(WATCH);
            match unheard() {
                None => return,
                Some(unheard) if unheard >= WATCH => {}
                Some(_) => {
                    was_gone = false;
                    server.rest();
                    continue;
                }
            }
            // A server that does not answer says nothing of the owner.
            let Ok((now, silent_ms)) = server.look() else { continue };
            let is_gone = now.as_ref() != Some(&owner) || silent_ms.is_none_or(|ms| ms >= SILENT_MS);
            if is_gone && was_gone {
                return ends();
            }
            was_gone = is_gone;
        }
    };
    std::thread::Builder::new().name("forebay-watch".into()).spawn(watching).map_err(failed)?;
    Ok(())
}

fn no_store(settings: &Settings) -> EngineError {
    EngineError::NotFound(format!(
        "there is no store of app {:?} in {}: the app that makes it has not started yet, or keeps it elsewhere (commands take --store)",
        settings.app(),
        settings.place_of_store()
    ))
}

/// An error of an opening: one that passes is that there is no owner yet.
fn passing(error: StoreError) -> EngineError {
    match error {
        StoreError::Unavailable(text) | StoreError::Lost(text) => EngineError::OwnerLost(text),
        error => EngineError::Store(error),
    }
}

/// The error of an opening that has waited for its owner: where that is on a machine that is not reached, nothing was sent to it.
fn unasked(error: EngineError) -> EngineError {
    match error {
        EngineError::OwnerLost(text) if text.ends_with(OPEN) => EngineError::Store(StoreError::Locked(text)),
        error => error,
    }
}

/// Why an owner cannot be asked from here.
fn elsewhere(owner: &str, place: &str, why: &str) -> String {
    format!("the store {place} is owned by {}, which cannot be asked from here: {why}", described(owner))
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
                "outdated": member.is_outdated,
                "format": member.format,
                "declined": member.has_declined,
                // What it has said stays there after it has owned the store, and nobody listens any more.
                "address": member.address.as_ref().filter(|_| seen.owner.as_ref() == Some(&member.name)),
            })
        });
        json!({
            "owner": seen.owner,
            "owner_process": seen.owner.as_deref().map(described),
            "owner_silent_ms": owner_silent_ms,
            "epoch": seen.epoch,
            "commits": seen.commits,
            "deaths": seen.deaths,
            "format": seen.format,
            "half_copied": seen.is_half_copied,
            "moved_to": seen.moved_to,
            "other_schemas": seen.other_schemas,
            "members": members.collect::<Vec<_>>(),
        })
    });
    Ok(json!({
        "place": settings.place_of_store(),
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
