//! Registries of schemas: `aws.events` with the shapes of forebay's own events, `discovered-schemas`, and those of users.
//!
//! A schema is a row, and so is each of its versions; what a version says is read when it is asked for. Discovery (`discovery`) learns from
//! events that pass a bus, and adds versions to `discovered-schemas`. What a bus enforces is held against its events by `misfit`.

mod discovery;
mod own;
mod requests;
mod row;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use forebay_core::schema::{schema_name, Discoverer, Document};

use crate::api::bus::Enforce;
use crate::base::error::EngineError;
use crate::base::ids::RoomId;
use crate::base::timers::Timer;
use crate::commit::rows::damaged;
use crate::ctx::Ctx;
use crate::dispatch::attempts::{Attempt, Token};
use crate::dispatch::job::Handed;
use crate::dispatch::participant::{Ended, Participant};
use crate::dispatch::Dispatch;
use crate::failures::Failures;
pub(crate) use crate::schemas::requests::unchecked;
use crate::schemas::row::{version_key, RegistryRow, SchemaRow, VersionRow};
use crate::store::port::{StoreError, Table};

pub(crate) const ROOM: RoomId = RoomId(8);
/// Versions of discovered schemas are due.
const DISCOVERY: Timer = Timer { room: ROOM, kind: 0, id: 0 };

/// The registry that discovery writes.
pub(crate) const DISCOVERED: &str = "discovered-schemas";
/// The registry of forebay's own events.
const OWN: &str = "aws.events";
/// Documents that are kept parsed; beyond, all are forgotten and parsed anew.
const DOCUMENTS_MAX: usize = 1_000;

/// All registries.
#[derive(Default)]
pub(crate) struct Schemas {
    registries: BTreeMap<String, Registry>,
    discoverer: Discoverer,
    /// Latest versions that events were held against, by registry and name.
    documents: HashMap<(String, String), Arc<Document>>,
    armed: Option<u64>,
}

struct Registry {
    row: RegistryRow,
    schemas: BTreeMap<String, SchemaRow>,
}

/// Registries, with what is needed to keep them.
pub(crate) struct SchemaRoom<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) schemas: &'a mut Schemas,
}

impl<'a> SchemaRoom<'a> {
    pub(crate) fn new(
        ctx: &'a mut Ctx,
        _dispatch: &'a mut Dispatch,
        _failures: &'a mut Failures,
        schemas: &'a mut Schemas,
    ) -> Self {
        Self { ctx, schemas }
    }

    /// Where an event does not fit its schema, in words. One that has no schema fits.
    pub(crate) fn misfit(
        &mut self,
        enforce: &Enforce,
        (source, detail_type): (&str, &str),
        event: &str,
    ) -> Result<Option<String>, EngineError> {
        let name = schema_name(source, detail_type);
        let Some(row) = self.schemas.enforced(enforce).find_map(|registry| registry.schemas.get(&name)).cloned() else {
            return Ok(None);
        };
        let document = self.document(&row)?;
        let misfit = document.check(event).err();
        Ok(misfit.map(|misfit| {
            let SchemaRow { registry, name, .. } = &row;
            format!(
                "The event does not fit schema {name} version {} of registry {registry} at {}: {}.",
                row.latest(),
                misfit.place,
                misfit.reason
            )
        }))
    }

    /// Refuse to enforce what is not there, or what cannot be held against events whole.
    pub(crate) fn check_enforced(&self, enforce: &Enforce) -> Result<(), EngineError> {
        if let Enforce::Registry(name) = enforce {
            self.schemas.registry(name)?;
        }
        let mut rows = self.schemas.enforced(enforce).flat_map(|registry| registry.schemas.values());
        match rows.find(|row| !row.unchecked.is_empty()) {
            Some(row) => Err(cannot_be_enforced(&row.name, &row.unchecked)),
            None => Ok(()),
        }
    }

    /// The latest version of a schema.
    fn document(&mut self, row: &SchemaRow) -> Result<Arc<Document>, EngineError> {
        let at = (row.registry.clone(), row.name.clone());
        if let Some(document) = self.schemas.documents.get(&at) {
            return Ok(document.clone());
        }
        let VersionRow { content, .. } = self.version(row, row.latest())?;
        let parsed = Document::parse(row.schema_type.into(), &content);
        let document = Arc::new(parsed.map_err(|_| damaged("a schema's content"))?);
        if self.schemas.documents.len() >= DOCUMENTS_MAX {
            self.schemas.documents.clear();
        }
        self.schemas.documents.insert(at, document.clone());
        Ok(document)
    }

    fn version(&mut self, row: &SchemaRow, version: u32) -> Result<VersionRow, EngineError> {
        if row.registry == OWN {
            return Ok(VersionRow { created_ms: row.created_ms, content: own::content(&row.name) });
        }
        let found = self.ctx.row(Table::SchemaVersion, &version_key(&row.registry, &row.name, version))?;
        let found = found.filter(|_| row.versions.contains(&version)).ok_or_else(|| {
            EngineError::NotFound(format!(
                "Schema {} of registry {} does not have version {version}.",
                row.name, row.registry
            ))
        })?;
        Ok(serde_json::from_slice(&found).map_err(|_| damaged("a schema's version"))?)
    }

    /// Write a version of a schema, and take its row into memory.
    fn add_version(&mut self, mut row: SchemaRow, content: String) {
        let now_ms = self.ctx.now.wall_ms;
        let version = row.next;
        row.versions.push(version);
        (row.next, row.updated_ms) = (version + 1, now_ms);
        let value = serde_json::to_vec(&VersionRow { created_ms: now_ms, content }).unwrap_or_default();
        let key = version_key(&row.registry, &row.name, version);
        self.ctx.commit.pending.set(Table::SchemaVersion, key, value);
        self.save(row);
    }

    fn save(&mut self, row: SchemaRow) {
        let value = serde_json::to_vec(&row).unwrap_or_default();
        self.ctx.commit.pending.set(Table::Schema, row.key(), value);
        self.ctx.commit.pending.begin_lazily(self.ctx.now.mono_ns);
        self.schemas.documents.remove(&(row.registry.clone(), row.name.clone()));
        if let Some(registry) = self.schemas.registries.get_mut(&row.registry) {
            registry.schemas.insert(row.name.clone(), row);
        }
    }

    fn read(&mut self) -> Result<(), EngineError> {
        let now_ms = self.ctx.now.wall_ms;
        for (name, description) in
            [(OWN, "Events of forebay itself."), (DISCOVERED, "Schemas of events that came over buses with discovery.")]
        {
            let row = RegistryRow { name: name.into(), description: description.into(), created_ms: now_ms };
            self.take_registry(row);
        }
        let own = own::rows(now_ms).into_iter().map(|row| (row.name.clone(), row)).collect();
        if let Some(registry) = self.schemas.registries.get_mut(OWN) {
            registry.schemas = own;
        }
        for (_, value) in self.ctx.commit.reader.scan(Table::Registry, &[], None, usize::MAX)? {
            self.take_registry(serde_json::from_slice(&value).map_err(|_| damaged("a registry's row"))?);
        }
        for (_, value) in self.ctx.commit.reader.scan(Table::Schema, &[], None, usize::MAX)? {
            let row: SchemaRow = serde_json::from_slice(&value).map_err(|_| damaged("a schema's row"))?;
            let registry = self.schemas.registries.get_mut(&row.registry).ok_or_else(|| damaged("a schema's row"))?;
            registry.schemas.insert(row.name.clone(), row);
        }
        self.read_discovered()
    }

    fn take_registry(&mut self, row: RegistryRow) {
        self.schemas.registries.insert(row.name.clone(), Registry { row, schemas: BTreeMap::new() });
    }
}

impl Schemas {
    fn registry(&self, name: &str) -> Result<&Registry, EngineError> {
        self.registries.get(name).ok_or_else(|| EngineError::NotFound(format!("Registry {name} does not exist.")))
    }

    fn schema(&self, registry: &str, name: &str) -> Result<&SchemaRow, EngineError> {
        self.registry(registry)?
            .schemas
            .get(name)
            .ok_or_else(|| EngineError::NotFound(format!("Schema {name} of registry {registry} does not exist.")))
    }

    /// Registries in which an event's schema is looked for: those of users come first.
    fn enforced<'a>(&'a self, enforce: &'a Enforce) -> impl Iterator<Item = &'a Registry> {
        let is_enforced = move |registry: &&Registry| enforce.has(&registry.row.name);
        let written = |registry: &&Registry| [DISCOVERED, OWN].contains(&registry.row.name.as_str());
        let users = self.registries.values().filter(move |registry| !written(registry)).filter(is_enforced);
        users.chain(self.registries.values().filter(written).filter(is_enforced))
    }
}

impl Enforce {
    /// Whether schemas of a registry are enforced.
    pub(crate) fn has(&self, registry: &str) -> bool {
        match self {
            Self::Every(is_on) => *is_on,
            Self::Registry(name) => name == registry,
        }
    }
}

pub(crate) fn cannot_be_enforced(name: &str, unchecked: &[String]) -> EngineError {
    EngineError::Invalid(format!(
        "schema {name:?} cannot be enforced: no event is held against what stands at {}",
        unchecked.join(", ")
    ))
}

impl Participant for SchemaRoom<'_> {
    fn restore(&mut self) -> Result<(), StoreError> {
        self.read().map_err(|error| match error {
            EngineError::Store(error) => error,
            error => StoreError::Corrupt(error.to_string()),
        })
    }

    fn due(&mut self, _timer: Timer) {
        self.schemas.armed = None;
        self.discovered();
    }

    fn hand_out(&mut self, _token: Token) -> Option<Handed> {
        None
    }

    fn settled(&mut self, _attempt: Attempt, _ended: Ended) {}
}
