//! Discovery: what events on buses look like is learned, and becomes versions of schemas in `discovered-schemas`.
//!
//! Buses that see one kind of event share its schema, as their events share one registry. What was learned is written with the version that
//! it becomes, a second later or when the app stops; a kill loses that second, and the next event of its shape teaches it again.

use forebay_core::schema::{envelope_of, Discovered, Discoverer, Observed, VERSIONS_KEPT_MAX};
use serde_json::json;

use crate::api::bus::Entry;
use crate::api::schema::SchemaType;
use crate::base::error::EngineError;
use crate::commit::pending::FULL_NS;
use crate::commit::rows::damaged;
use crate::observe::operator_events::OperatorEvent;
use crate::schemas::row::{version_key, SchemaRow};
use crate::schemas::{SchemaRoom, DISCOVERED, DISCOVERY};
use crate::store::port::Table;

/// Places of schemas that one turn writes versions of, so that the engine's lock is let go between.
const PLACES_OF_A_TURN: usize = 10_000;

impl SchemaRoom<'_> {
    /// Learn from an event. `entry`: what it was made of, if that is at hand.
    pub(crate) fn observe(&mut self, entry: Option<&Entry>, event: &str) {
        let found = if entry.is_none() { envelope_of(event) } else { None };
        let known = found.as_ref().map(|(source, detail_type)| (source.as_str(), detail_type.as_str()));
        // A bus may be handed any object: what has no source and no detail-type has no schema.
        let Some((source, detail_type)) = entry.map(Entry::kind).or(known) else { return };
        let (discoverer, now_ms) = (&mut self.schemas.discoverer, self.ctx.now.mono_ns / 1_000_000);
        let observed = match entry {
            Some(Entry { resources, detail, .. }) => {
                discoverer.observe_put((source, detail_type), (resources, detail), event, now_ms)
            }
            None => discoverer.observe(source, detail_type, event, now_ms),
        };
        match observed {
            Ok(Observed::Learned) => self.arm_discovery(0),
            Ok(Observed::Full) => {
                let text = format!(
                    "schema discovery learns nothing more of events {detail_type:?} of source {source:?}: their schema has too \
                     many places, their name is too long, or there are too many schemas"
                );
                self.ctx.notice(OperatorEvent::Discovery, source, json!({"text": text}));
            }
            // What was accepted as an event nests less deep than what cannot be learned.
            Ok(Observed::Known) | Err(_) => {}
        }
    }

    pub(crate) fn arm_discovery(&mut self, wait_at_least_ns: u64) {
        if let Some(due_ms) = self.schemas.discoverer.next_due_ms() {
            let least_ns = (self.ctx.now.mono_ns + wait_at_least_ns).max(self.ctx.next_turn_ns());
            let due_ns = due_ms.saturating_mul(1_000_000).max(least_ns);
            self.ctx.timers.arm(&mut self.schemas.armed, due_ns, DISCOVERY);
        }
    }

    /// Write the versions that are due.
    pub(crate) fn discovered(&mut self) {
        if self.ctx.commit.refused.is_some() {
            // On a full disk versions would wait in memory, one after the other.
            self.arm_discovery(FULL_NS);
            return;
        }
        self.write_discovered(self.ctx.now.mono_ns / 1_000_000, PLACES_OF_A_TURN);
        self.arm_discovery(0);
    }

    /// Write everything that was learned: the app stops.
    pub(crate) fn end_discovery(&mut self) {
        if self.ctx.commit.failed.is_none() && self.ctx.commit.refused.is_none() {
            self.write_discovered(u64::MAX, usize::MAX);
        }
    }

    fn write_discovered(&mut self, now_ms: u64, places: usize) {
        let wall_ms = self.ctx.now.wall_ms;
        for version in self.schemas.discoverer.take_some(now_ms, places) {
            let mut row = self.schemas.schema(DISCOVERED, &version.name).cloned().unwrap_or_else(|_| SchemaRow {
                registry: DISCOVERED.into(),
                name: version.name.clone(),
                schema_type: SchemaType::OpenApi3,
                description: String::new(),
                created_ms: wall_ms,
                updated_ms: wall_ms,
                versions: Vec::new(),
                next: 1,
                unchecked: Vec::new(),
            });
            row.next = version.version;
            while row.versions.len() >= VERSIONS_KEPT_MAX as usize {
                let oldest = row.versions.remove(0);
                let key = version_key(DISCOVERED, &row.name, oldest);
                self.ctx.commit.pending.remove(Table::SchemaVersion, key);
            }
            if let Some(learned) = self.schemas.discoverer.schemas().get(&version.name) {
                let value = serde_json::to_vec(learned).unwrap_or_default();
                self.ctx.commit.pending.set(Table::DiscoveredSchema, version.name.into_bytes(), value);
            }
            self.add_version(row, version.content);
        }
    }

    pub(crate) fn read_discovered(&mut self) -> Result<(), EngineError> {
        let mut learned = Vec::new();
        for (key, value) in self.ctx.commit.reader.scan(Table::DiscoveredSchema, &[], None, usize::MAX)? {
            let name = String::from_utf8(key).map_err(|_| damaged("the name of a discovered schema"))?;
            let schema: Discovered =
                serde_json::from_slice(&value).map_err(|_| damaged("what was learned of a schema"))?;
            learned.push((name, schema));
        }
        self.schemas.discoverer = Discoverer::restore(learned);
        Ok(())
    }

    /// Forget a discovered schema: an event of its kind teaches it from the beginning.
    pub(crate) fn forget_discovered(&mut self, name: &str) {
        self.schemas.discoverer.forget(name);
        self.ctx.commit.pending.remove(Table::DiscoveredSchema, name.as_bytes().to_vec());
    }
}
