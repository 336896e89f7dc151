//! API destinations that AWS's calls make, and the connections that authorize their requests.
//!
//! The rows have everything but the secrets, which have a file of their own (`connection_secrets`). A connection without secrets is
//! deauthorized until it is given some. The process around the engine sends the requests: each change of an API destination is told to it
//! as a notice, which is never logged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use crate::api::connection::{
    ApiDestination, ApiDestinationSettings, AuthorizationKind, Authorized, ConnectionNamed, ConnectionState,
    HttpConnection as Answer, PutApiDestination, PutAuthorization, PutConnection, Secret,
};
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::base::ids::uuid_text;
use crate::buses::connection_secrets::SecretFile;
use crate::buses::row::check_rule_name;
use crate::buses::BusRoom;
use crate::commit::direct_reads::DirectReads;
use crate::commit::done::Done;
use crate::commit::rows::damaged;
use crate::ctx::Ctx;
use crate::observe::operator_events::OperatorEvent;
use crate::store::port::Table;

/// Most connections of a store, and most API destinations. <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html>
const MOST: usize = 3_000;
/// Most bytes of the parameters of a connection. Ours: they are all in memory.
const PARAMETERS_BYTES_MAX: usize = 64 << 10;
/// Most characters of a description. <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateConnection.html>
const DESCRIPTION_CHARACTERS_MAX: usize = 512;
/// Letters behind the id of a secret.
const SUFFIX_CHARACTERS: usize = 6;
const NO_SECRET: &str = "the store does not have its secret; update the connection with it";

/// A connection's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ConnectionRow {
    name: String,
    /// Ends its ARN, and stands in that of its secret.
    pub(super) id: String,
    secret_id: String,
    created_ms: u64,
    pub(super) modified_ms: u64,
    pub(super) authorized_ms: Option<u64>,
    description: String,
    pub(super) kind: AuthorizationKind,
    shown: Value,
}

/// An API destination's row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct DestinationRow {
    name: String,
    created_ms: u64,
    modified_ms: u64,
    #[serde(flatten)]
    settings: ApiDestinationSettings,
}

pub(super) struct Connection {
    pub(super) row: ConnectionRow,
    pub(super) parameters: Option<Secret>,
    pub(super) state: ConnectionState,
    pub(super) reason: Option<String>,
    /// Counts the changes of its parameters: an answer that an earlier one waited for is of no use.
    revision: u64,
}

/// All connections and API destinations that AWS's calls have made, by name.
#[derive(Default)]
pub(crate) struct Connections {
    pub(super) by_name: BTreeMap<String, Connection>,
    /// Where their secrets are kept; `None`: in memory alone.
    pub(super) secrets: Option<SecretFile>,
    destinations: BTreeMap<String, DestinationRow>,
}

/// Connections, with what lies below them.
pub(crate) struct ConnectionRoom<'a> {
    pub(crate) below: BusRoom<'a>,
}

fn refuse<T>(text: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::Invalid(text.into()))
}

fn check_description(text: &str) -> Result<(), EngineError> {
    if text.chars().count() <= DESCRIPTION_CHARACTERS_MAX {
        return Ok(());
    }
    refuse(format!("description: allowed are {DESCRIPTION_CHARACTERS_MAX} characters"))
}

impl Connections {
    fn connection(&self, name: &str) -> Result<&Connection, EngineError> {
        let found = self.by_name.get(name);
        found.ok_or_else(|| EngineError::NotFound(format!("Connection '{name}' does not exist.")))
    }

    fn connection_mut(&mut self, name: &str) -> Result<&mut Connection, EngineError> {
        let found = self.by_name.get_mut(name);
        found.ok_or_else(|| EngineError::NotFound(format!("Connection '{name}' does not exist.")))
    }

    fn destination(&self, name: &str) -> Result<&DestinationRow, EngineError> {
        let found = self.destinations.get(name);
        found.ok_or_else(|| EngineError::NotFound(format!("An api-destination '{name}' does not exist.")))
    }

    /// How requests to a destination are made, or why none are.
    fn told(&self, row: &DestinationRow) -> Value {
        let ApiDestinationSettings { connection, endpoint, method, invocations_per_second, .. } = &row.settings;
        match self.by_name.get(connection) {
            Some(Connection { row: of, parameters: Some(Secret(parameters)), state, .. })
                if *state == ConnectionState::Authorized =>
            {
                json!({
                    "endpoint": endpoint, "method": method, "invocation_rate_limit": invocations_per_second,
                    "kind": of.kind, "parameters": parameters,
                })
            }
            Some(known) => json!({
                "refused": format!("connection {connection} is not authorized: {}", known.reason.as_deref().unwrap_or("it waits for its token"))
            }),
            None => json!({"refused": format!("connection {connection} does not exist")}),
        }
    }
}

impl Connections {
    /// Read the connections and API destinations of a store. No connection has its secrets yet.
    pub(crate) fn read(&mut self, reader: &mut DirectReads) -> Result<(), EngineError> {
        for (_, value) in reader.scan(Table::Connection, &[], None, usize::MAX)? {
            let row: ConnectionRow = serde_json::from_slice(&value).map_err(|_| damaged("a connection's row"))?;
            let (state, reason) = (ConnectionState::Deauthorized, Some(NO_SECRET.to_owned()));
            let name = row.name.clone();
            self.by_name.insert(name, Connection { row, parameters: None, state, reason, revision: 0 });
        }
        for (_, value) in reader.scan(Table::ApiDestination, &[], None, usize::MAX)? {
            let row: DestinationRow =
                serde_json::from_slice(&value).map_err(|_| damaged("an API destination's row"))?;
            self.destinations.insert(row.name.clone(), row);
        }
        Ok(())
    }

    /// Tell the process around the engine of the API destinations that it serves, and of connections that want their first token.
    pub(crate) fn tell(&self, ctx: &mut Ctx) {
        for known in self.by_name.values().filter(|known| known.state == ConnectionState::Authorizing) {
            known.ask_for_token(ctx);
        }
        for row in self.destinations.values() {
            ctx.notice(OperatorEvent::ApiDestination, &row.name, self.told(row));
        }
    }
}

impl ConnectionRoom<'_> {
    fn ctx(&mut self) -> &mut Ctx {
        self.below.ctx
    }

    fn connections(&mut self) -> &mut Connections {
        &mut self.below.buses.connections
    }

    pub(crate) fn connection_put(&mut self, asked: PutConnection) -> Result<Done, EngineError> {
        let PutConnection { name, description, authorization, only_new } = asked;
        check_rule_name(&name, "connection")?;
        if only_new && self.connections().connection(&name).is_ok() {
            return Err(EngineError::Conflict(format!("Connection {name} already exists.")));
        }
        check_description(description.as_deref().unwrap_or_default())?;
        let bytes = authorization.as_ref().map_or(0, |one| one.parameters.0.to_string().len());
        if bytes > PARAMETERS_BYTES_MAX {
            return refuse(format!("AuthParameters has {bytes} bytes: allowed are {PARAMETERS_BYTES_MAX}"));
        }
        let now_ms = self.ctx().now.wall_ms;
        let connections = self.connections();
        if let (Ok(known), Some(given)) = (connections.connection(&name), &authorization) {
            connections.keep_secrets(&known.row.id, Some((given.kind, &given.parameters)))?;
        }
        match (self.connections().by_name.get_mut(&name), authorization) {
            (Some(known), authorization) => {
                known.row.modified_ms = now_ms;
                known.row.description = description.unwrap_or_else(|| known.row.description.clone());
                if let Some(given) = authorization {
                    known.take(given);
                }
            }
            (None, Some(given)) => self.make_connection(&name, description.unwrap_or_default(), given)?,
            (None, None) => return refuse("AuthParameters: a new connection needs them"),
        }
        self.authorize(&name)?;
        self.save_connection(&name)?;
        self.described_connection(&name)
    }

    fn make_connection(&mut self, name: &str, description: String, given: PutAuthorization) -> Result<(), EngineError> {
        if self.connections().by_name.len() >= MOST {
            return refuse(format!("the store has {MOST} connections, which is the most"));
        }
        let ctx = self.ctx();
        let (id, secret, now_ms) = (uuid_text(ctx.rng.uuid()), ctx.rng.uuid(), ctx.now.wall_ms);
        let suffix: String = uuid_text(ctx.rng.uuid()).chars().take(SUFFIX_CHARACTERS).collect();
        self.connections().keep_secrets(&id, Some((given.kind, &given.parameters)))?;
        let row = ConnectionRow {
            name: name.to_owned(),
            id,
            secret_id: format!("events!connection/{name}/{}-{suffix}", uuid_text(secret)),
            created_ms: now_ms,
            modified_ms: now_ms,
            authorized_ms: None,
            description,
            kind: given.kind,
            shown: Value::Null,
        };
        let state = ConnectionState::Deauthorized;
        let mut made = Connection { row, parameters: None, state, reason: None, revision: 0 };
        made.take(given);
        self.connections().by_name.insert(name.to_owned(), made);
        Ok(())
    }

    /// Let a connection authorize that has its secrets: at once, or when it has its first token.
    fn authorize(&mut self, name: &str) -> Result<(), EngineError> {
        let now_ms = self.ctx().now.wall_ms;
        let BusRoom { ctx, buses, .. } = &mut self.below;
        let known = buses.connections.connection_mut(name)?;
        if known.parameters.is_none() {
            return Ok(());
        }
        known.reason = None;
        if known.row.kind == AuthorizationKind::OauthClientCredentials {
            known.state = ConnectionState::Authorizing;
            known.ask_for_token(ctx);
        } else {
            known.state = ConnectionState::Authorized;
            known.row.authorized_ms = Some(now_ms);
        }
        self.tell_of(name);
        Ok(())
    }

    /// A token was given, or refused.
    pub(crate) fn connection_authorized(&mut self, asked: Authorized) -> Result<Done, EngineError> {
        let now_ms = self.ctx().now.wall_ms;
        let known = self.connections().connection_mut(&asked.name)?;
        if known.revision != asked.revision || known.parameters.is_none() {
            return Ok(Done::at_once(Empty {}));
        }
        known.state = match asked.error {
            None => ConnectionState::Authorized,
            Some(_) => ConnectionState::Deauthorized,
        };
        if asked.error.is_none() {
            known.row.authorized_ms = Some(now_ms);
        }
        known.reason = asked.error;
        self.save_connection(&asked.name)?;
        self.tell_of(&asked.name);
        Ok(Done::when_durable(Empty {}))
    }

    /// Forget the secrets of a connection.
    pub(crate) fn connection_deauthorize(&mut self, named: ConnectionNamed) -> Result<Done, EngineError> {
        let now_ms = self.ctx().now.wall_ms;
        let connections = self.connections();
        connections.keep_secrets(&connections.connection(&named.name)?.row.id, None)?;
        let known = connections.connection_mut(&named.name)?;
        known.parameters = None;
        known.revision += 1;
        known.state = ConnectionState::Deauthorized;
        known.reason = Some("it was deauthorized".to_owned());
        known.row.modified_ms = now_ms;
        self.save_connection(&named.name)?;
        self.tell_of(&named.name);
        self.described_connection(&named.name)
    }

    /// Delete a connection. What it authorized is inactive from then on.
    pub(crate) fn connection_delete(&mut self, named: ConnectionNamed) -> Result<Done, EngineError> {
        let described = self.described_connection(&named.name)?;
        let connections = self.connections();
        connections.keep_secrets(&connections.connection(&named.name)?.row.id, None)?;
        connections.by_name.remove(&named.name);
        self.tell_of(&named.name);
        let pending = &mut self.ctx().commit.pending;
        pending.remove(Table::Connection, named.name.into_bytes());
        pending.urgent = true;
        Ok(described)
    }

    pub(crate) fn connection_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let BusRoom { ctx, buses, .. } = &self.below;
        let list: Vec<Answer> = buses.connections.by_name.values().map(|one| one.described(ctx)).collect();
        Ok(Done::at_once(list))
    }

    pub(crate) fn connection_describe(&mut self, named: ConnectionNamed) -> Result<Done, EngineError> {
        let BusRoom { ctx, buses, .. } = &self.below;
        Ok(Done::at_once(buses.connections.connection(&named.name)?.described(ctx)))
    }

    /// The parameters with their secrets, where there are some.
    pub(crate) fn connection_secret(&mut self, named: ConnectionNamed) -> Result<Done, EngineError> {
        let known = self.connections().connection(&named.name)?;
        let Some(Secret(parameters)) = &known.parameters else {
            return Err(EngineError::NotFound(format!("Connection '{}' has no secret.", named.name)));
        };
        Ok(Done::at_once(parameters.clone()))
    }

    fn described_connection(&mut self, name: &str) -> Result<Done, EngineError> {
        let BusRoom { ctx, buses, .. } = &self.below;
        Ok(Done::when_durable(buses.connections.connection(name)?.described(ctx)))
    }

    fn save_connection(&mut self, name: &str) -> Result<(), EngineError> {
        let value = serde_json::to_vec(&self.connections().connection(name)?.row).unwrap_or_default();
        let pending = &mut self.ctx().commit.pending;
        pending.set(Table::Connection, name.as_bytes().to_vec(), value);
        pending.urgent = true;
        Ok(())
    }

    /// Tell of all API destinations of a connection.
    fn tell_of(&mut self, connection: &str) {
        let BusRoom { ctx, buses, .. } = &mut self.below;
        for row in buses.connections.destinations.values().filter(|row| row.settings.connection == connection) {
            ctx.notice(OperatorEvent::ApiDestination, &row.name, buses.connections.told(row));
        }
    }
}

impl ConnectionRoom<'_> {
    pub(crate) fn destination_put(&mut self, asked: PutApiDestination) -> Result<Done, EngineError> {
        let PutApiDestination { name, only_new, settings } = asked;
        check_rule_name(&name, "api destination")?;
        check_description(&settings.description)?;
        if only_new && self.connections().destination(&name).is_ok() {
            return Err(EngineError::Conflict(format!("An api-destination '{name}' already exists.")));
        }
        self.connections().connection(&settings.connection)?;
        let now_ms = self.ctx().now.wall_ms;
        let known = self.connections().destinations.get(&name).cloned();
        if known.is_none() {
            if self.connections().destinations.len() >= MOST {
                return refuse(format!("the store has {MOST} API destinations, which is the most"));
            }
            if self.below.dispatch.destination_names.contains_key(&format!("api_destination:{name}")) {
                return Err(EngineError::Conflict(format!(
                    "An api-destination '{name}' already exists: the app itself declares it."
                )));
            }
        }
        let created_ms = known.map_or(now_ms, |known| known.created_ms);
        let row = DestinationRow { name: name.clone(), created_ms, modified_ms: now_ms, settings };
        let value = serde_json::to_vec(&row).unwrap_or_default();
        let BusRoom { ctx, buses, .. } = &mut self.below;
        ctx.commit.pending.set(Table::ApiDestination, name.clone().into_bytes(), value);
        ctx.commit.pending.urgent = true;
        ctx.notice(OperatorEvent::ApiDestination, &name, buses.connections.told(&row));
        buses.connections.destinations.insert(name.clone(), row);
        Ok(Done::when_durable(self.described_destination(&name)?))
    }

    pub(crate) fn destination_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let names: Vec<String> = self.connections().destinations.keys().cloned().collect();
        let list: Vec<ApiDestination> =
            names.iter().map(|name| self.described_destination(name)).collect::<Result<_, _>>()?;
        Ok(Done::at_once(list))
    }

    pub(crate) fn destination_describe(&mut self, named: ConnectionNamed) -> Result<Done, EngineError> {
        Ok(Done::at_once(self.described_destination(&named.name)?))
    }

    /// Delete an API destination: what it is given from then on is given up at once.
    pub(crate) fn destination_delete(&mut self, named: ConnectionNamed) -> Result<Done, EngineError> {
        self.connections().destination(&named.name)?;
        self.connections().destinations.remove(&named.name);
        let ctx = self.ctx();
        let told = json!({"refused": "it was deleted", "is_final": true});
        ctx.notice(OperatorEvent::ApiDestination, &named.name, told);
        ctx.commit.pending.remove(Table::ApiDestination, named.name.into_bytes());
        ctx.commit.pending.urgent = true;
        Ok(Done::when_durable(Empty {}))
    }

    fn described_destination(&mut self, name: &str) -> Result<ApiDestination, EngineError> {
        let BusRoom { ctx, buses, .. } = &self.below;
        let row = buses.connections.destination(name)?.clone();
        let connection = buses.connections.by_name.get(&row.settings.connection);
        Ok(ApiDestination {
            arn: ctx.api_destination_arn(&row.name),
            connection_arn: connection.map(|one| one.arn(ctx)),
            is_active: connection.is_some_and(|one| one.state == ConnectionState::Authorized),
            name: row.name,
            created_ms: row.created_ms,
            modified_ms: row.modified_ms,
            settings: row.settings,
        })
    }
}

impl Connection {
    /// Have the process around the engine ask for a token with the parameters as they are now.
    fn ask_for_token(&self, ctx: &mut Ctx) {
        if let Some(Secret(parameters)) = &self.parameters {
            let told = json!({"revision": self.revision, "parameters": parameters});
            ctx.notice(OperatorEvent::Connection, &self.row.name, told);
        }
    }

    fn take(&mut self, given: PutAuthorization) {
        self.row.kind = given.kind;
        self.row.shown = given.shown;
        self.parameters = Some(given.parameters);
        self.revision += 1;
    }

    fn arn(&self, ctx: &Ctx) -> String {
        ctx.arn("events", "connection/", &format!("{}/{}", self.row.name, self.row.id))
    }

    fn described(&self, ctx: &Ctx) -> Answer {
        let row = self.row.clone();
        Answer {
            arn: self.arn(ctx),
            secret_arn: ctx.arn("secretsmanager", "secret:", &row.secret_id),
            name: row.name,
            description: row.description,
            kind: row.kind,
            shown: row.shown,
            state: self.state,
            reason: self.reason.clone(),
            created_ms: row.created_ms,
            modified_ms: row.modified_ms,
            authorized_ms: row.authorized_ms,
        }
    }
}
