//! Discovery: each event that comes over a bus is checked by its hash; what is new is learned, and told as a version.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::infer::InferError;
use super::names::schema_name;
use super::render::{render, Format};
use super::shape_hash::{put_hash, shape_hash};
use super::{Node, NAME_CHARS_MAX};

/// After something new, so long is waited for more of it before a version is told, milliseconds (AWS waits 5 minutes).
const DEBOUNCE_MS: u64 = 1000;
/// Hashes that are remembered; beyond, all are forgotten and learned anew.
const KNOWN_MAX: usize = 65_536;
/// Schemas of one registry.
const SCHEMAS_MAX: usize = 10_000;
/// Places in one schema, in all samples together. A schema that has more learns nothing new.
const SIZE_MAX: usize = 20_000;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Its shape was known.
    Known,
    /// Something new was learned.
    Learned,
    /// It could not be learned: the schema has too many places, its name is too long, or there are too many schemas.
    Full,
}

/// A schema, as it is stored between runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovered {
    source: String,
    detail_type: String,
    node: Node,
    /// The last version that was told; 0: none yet.
    version: u32,
    /// What that version said.
    content: String,
}

impl Discovered {
    /// The last version that was told; 0: none yet.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The schema in a form.
    pub fn render(&self, format: Format) -> String {
        render(&self.node, Some((&self.source, &self.detail_type)), format)
    }
}

/// A version to write into the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    /// The schema's name, `source@DetailType`.
    pub name: String,
    /// 1, 2, ….
    pub version: u32,
    /// The `OpenAPI` 3 document.
    pub content: String,
}

/// The discoverer of a store: buses that see one kind of event share its schema.
#[derive(Clone, Debug, Default)]
pub struct Discoverer {
    known: HashSet<u64>,
    schemas: BTreeMap<String, Discovered>,
    /// Schemas that learned something, and when their version is due.
    due: BTreeMap<String, u64>,
}

impl Discoverer {
    /// Go on with what an earlier run had learned.
    pub fn restore(schemas: impl IntoIterator<Item = (String, Discovered)>) -> Self {
        Self { schemas: schemas.into_iter().collect(), ..Self::default() }
    }

    /// Everything that was learned, by name.
    pub fn schemas(&self) -> &BTreeMap<String, Discovered> {
        &self.schemas
    }

    /// Forget a schema: what comes of it later is learned from the beginning.
    pub fn forget(&mut self, name: &str) {
        self.schemas.remove(name);
        self.due.remove(name);
        self.known.clear();
    }

    /// Look at an event, the whole of it. `now_ms`: any clock that does not go back.
    pub fn observe(
        &mut self,
        source: &str,
        detail_type: &str,
        event: &str,
        now_ms: u64,
    ) -> Result<Observed, InferError> {
        self.observe_hashed((source, detail_type), shape_hash(source, detail_type, event), event, now_ms)
    }

    /// The same of an event as a bus writes it: such events of one kind differ in their resources and their detail alone.
    pub fn observe_put(
        &mut self,
        kind: (&str, &str),
        (resources, detail): (&[String], &str),
        event: &str,
        now_ms: u64,
    ) -> Result<Observed, InferError> {
        self.observe_hashed(kind, put_hash(kind, resources, detail), event, now_ms)
    }

    fn observe_hashed(
        &mut self,
        (source, detail_type): (&str, &str),
        hash: Option<u64>,
        event: &str,
        now_ms: u64,
    ) -> Result<Observed, InferError> {
        if hash.is_some_and(|hash| self.known.contains(&hash)) {
            return Ok(Observed::Known);
        }
        let node = Node::infer(event)?;
        if self.known.len() == KNOWN_MAX {
            self.known.clear();
        }
        // What cannot be learned is not tried again either.
        self.known.extend(hash);
        let name = schema_name(source, detail_type);
        if name.len() > NAME_CHARS_MAX || (!self.schemas.contains_key(&name) && self.schemas.len() == SCHEMAS_MAX) {
            return Ok(Observed::Full);
        }
        let schema = self.schemas.entry(name.clone()).or_insert_with(|| Discovered {
            source: source.into(),
            detail_type: detail_type.into(),
            node: Node::default(),
            version: 0,
            content: String::new(),
        });
        if schema.node.size() + node.size() > SIZE_MAX {
            return Ok(Observed::Full);
        }
        schema.node.merge(node);
        self.due.entry(name).or_insert(now_ms + DEBOUNCE_MS);
        Ok(Observed::Learned)
    }

    /// When the next version is due.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.due.values().min().copied()
    }

    /// The versions that are due: of each schema one a second at most, and only one that says something else.
    pub fn take_due(&mut self, now_ms: u64) -> Vec<NewVersion> {
        self.take_some(now_ms, usize::MAX)
    }

    /// The same of as many schemas as have so many places together, and of one at least: the others stay due.
    pub fn take_some(&mut self, now_ms: u64, places: usize) -> Vec<NewVersion> {
        let names: Vec<String> =
            self.due.iter().filter(|(_, due)| **due <= now_ms).map(|(name, _)| name.clone()).collect();
        let (mut versions, mut taken) = (Vec::new(), 0);
        for name in names {
            if taken > 0 && taken >= places {
                break;
            }
            self.due.remove(&name);
            let Some(schema) = self.schemas.get_mut(&name) else { continue };
            taken += schema.node.size();
            let content = schema.render(Format::OpenApi3);
            if content != schema.content {
                schema.version += 1;
                schema.content.clone_from(&content);
                versions.push(NewVersion { name, version: schema.version, content });
            }
        }
        versions
    }
}
