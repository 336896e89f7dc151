//! `registry.*` and `schema.*`

use forebay_core::schema::{draft_4_of, Document, VERSIONS_KEPT_MAX};

use crate::api::schema::{
    Describe, Export, List, PutRegistry, PutSchema, Registry as RegistryAnswer, RegistryNamed, Schema, SchemaNamed,
    SchemaType, SchemaVersion, Schemas as Page, VersionNamed,
};
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::base::limits::{REGISTRIES_MAX, SCHEMAS_MAX};
use crate::commit::done::Done;
use crate::ctx::Ctx;
use crate::schemas::row::{check_registry_name, check_schema_name, version_key, RegistryRow, SchemaRow, VersionRow};
use crate::schemas::{Registry, SchemaRoom, DISCOVERED, OWN};
use crate::store::port::Table;

/// Most schemas of a page, and of one that is searched for words about how many bytes are read.
const PAGE_MAX: usize = 1_000;
const SEARCHED_BYTES_MAX: usize = 4 << 20;
/// Places that are told of keywords that no event is held against.
const UNCHECKED_MAX: usize = 10;

fn refuse<T>(text: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::Invalid(text.into()))
}

/// Refuse to change what forebay writes itself.
fn check_writable(registry: &str) -> Result<(), EngineError> {
    if registry == OWN || registry == DISCOVERED {
        return refuse(format!("registry {registry:?} is written by forebay itself: use a registry of your own"));
    }
    Ok(())
}

impl SchemaRoom<'_> {
    pub(crate) fn registry_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let list: Vec<RegistryAnswer> = self.schemas.registries.values().map(|one| self.described(one)).collect();
        Ok(Done::at_once(list))
    }

    pub(crate) fn registry_describe(&mut self, named: RegistryNamed) -> Result<Done, EngineError> {
        Ok(Done::at_once(self.described(self.schemas.registry(&named.name)?)))
    }

    /// Create a registry, or change one that exists. One that forebay writes may be named, and stays as it is.
    pub(crate) fn registry_put(&mut self, asked: PutRegistry) -> Result<Done, EngineError> {
        let PutRegistry { name, description } = asked;
        let known = self.schemas.registries.get(&name).map(|registry| registry.row.clone());
        let row = match (known, description) {
            (Some(row), None) => row,
            (Some(row), Some(description)) => {
                check_writable(&name)?;
                RegistryRow { description, ..row }
            }
            (None, description) => {
                check_registry_name(&name)?;
                if self.schemas.registries.len() >= REGISTRIES_MAX {
                    return refuse(format!("the store has {REGISTRIES_MAX} registries, which is the most"));
                }
                let created_ms = self.ctx.now.wall_ms;
                RegistryRow { name: name.clone(), description: description.unwrap_or_default(), created_ms }
            }
        };
        if check_writable(&name).is_ok() {
            let value = serde_json::to_vec(&row).unwrap_or_default();
            self.ctx.commit.pending.set(Table::Registry, name.clone().into_bytes(), value);
            self.ctx.commit.pending.urgent = true;
            match self.schemas.registries.get_mut(&name) {
                Some(registry) => registry.row = row,
                None => self.take_registry(row),
            }
        }
        Ok(Done::when_durable(self.described(self.schemas.registry(&name)?)))
    }

    pub(crate) fn registry_delete(&mut self, named: RegistryNamed) -> Result<Done, EngineError> {
        let RegistryNamed { name } = named;
        let schemas = self.schemas.registry(&name)?.schemas.len();
        check_writable(&name)?;
        match schemas {
            0 => {}
            1 => return Err(EngineError::Conflict(format!("registry {name:?} has a schema: delete it first"))),
            _ => {
                return Err(EngineError::Conflict(format!(
                    "registry {name:?} has {schemas} schemas: delete them first"
                )))
            }
        }
        self.schemas.registries.remove(&name);
        self.ctx.commit.pending.remove(Table::Registry, name.into_bytes());
        self.ctx.commit.pending.urgent = true;
        Ok(Done::when_durable(Empty {}))
    }

    /// A page of schemas by name, of those that have all words if some are given.
    pub(crate) fn schema_list(&mut self, asked: List) -> Result<Done, EngineError> {
        let List { registry, prefix, keywords, after, limit } = asked;
        let limit = limit.unwrap_or(PAGE_MAX);
        if !(1..=PAGE_MAX).contains(&limit) {
            return refuse(format!("limit is {limit}: allowed are 1 to {PAGE_MAX}"));
        }
        let words: Vec<String> = keywords.split_whitespace().map(str::to_lowercase).collect();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let known = self.schemas.registry(&registry)?;
        let range = known.schemas.range::<String, _>((from, std::ops::Bound::Unbounded)).map(|(_, row)| row);
        // A page of a search that finds little ends after what it has read.
        let candidates: Vec<SchemaRow> =
            range.filter(|row| row.name.starts_with(&prefix)).take(PAGE_MAX + 1).cloned().collect();
        let (mut found, mut read, mut last) = (Vec::new(), 0, None);
        for row in &candidates {
            if found.len() == limit || read >= SEARCHED_BYTES_MAX || found.len() == PAGE_MAX {
                return Ok(Done::at_once(Page { schemas: found, next: last }));
            }
            if words.is_empty() || self.has_words(row, &words, &mut read)? {
                found.push(self.ctx.schema(row));
            }
            last = Some(row.name.clone());
        }
        let next = last.filter(|_| candidates.len() > PAGE_MAX);
        Ok(Done::at_once(Page { schemas: found, next }))
    }

    fn has_words(&mut self, row: &SchemaRow, words: &[String], read: &mut usize) -> Result<bool, EngineError> {
        let VersionRow { content, .. } = self.version(row, row.latest())?;
        *read += content.len();
        let text = format!("{}\n{}\n{content}", row.name, row.description).to_lowercase();
        Ok(words.iter().all(|word| text.contains(word)))
    }

    pub(crate) fn schema_describe(&mut self, asked: Describe) -> Result<Done, EngineError> {
        Ok(Done::at_once(self.described_version(&asked)?))
    }

    /// A version in another form. What was written as Draft 4 has only that form, as on AWS.
    pub(crate) fn schema_export(&mut self, asked: Export) -> Result<Done, EngineError> {
        let mut version = self.described_version(&asked.of)?;
        match (version.schema.schema_type, asked.schema_type) {
            (SchemaType::OpenApi3, SchemaType::JsonSchemaDraft4) => {
                let exported = draft_4_of(&version.content);
                version.content = exported.ok_or_else(|| crate::commit::rows::damaged("a schema's content"))?;
            }
            (SchemaType::JsonSchemaDraft4, SchemaType::OpenApi3) => {
                return refuse(format!("schema {:?} is JSONSchemaDraft4: it has no other form", version.schema.name));
            }
            _ => {}
        }
        version.schema.schema_type = asked.schema_type;
        Ok(Done::at_once(version))
    }

    /// Create a schema, or add a version. What the latest version says already is no new one.
    pub(crate) fn schema_put(&mut self, asked: PutSchema) -> Result<Done, EngineError> {
        let PutSchema { registry, name, schema_type, content, description } = asked;
        let (now_ms, known) = (self.ctx.now.wall_ms, self.schemas.registry(&registry)?.schemas.get(&name).cloned());
        check_writable(&registry)?;
        check_schema_name(&name)?;
        let unchecked = unchecked(schema_type, &content)?;
        if known.as_ref().is_some_and(|row| row.schema_type != schema_type) {
            return Err(EngineError::Conflict(format!(
                "schema {name:?} of registry {registry:?} has another form: put this one under another name"
            )));
        }
        if known.is_none()
            && self.schemas.registries.values().map(|one| one.schemas.len()).sum::<usize>() >= SCHEMAS_MAX
        {
            return refuse(format!("the store has {SCHEMAS_MAX} schemas, which is the most"));
        }
        let mut row = known.clone().unwrap_or(SchemaRow {
            registry: registry.clone(),
            name: name.clone(),
            schema_type,
            description: String::new(),
            created_ms: now_ms,
            updated_ms: now_ms,
            versions: Vec::new(),
            next: 1,
            unchecked: Vec::new(),
        });
        row.description = description.unwrap_or(row.description);
        row.unchecked = unchecked;
        let latest = match &known {
            Some(known) => Some(self.version(known, known.latest())?),
            None => None,
        };
        if latest.is_some_and(|latest| latest.content == content) {
            self.save(row);
        } else if row.versions.len() >= VERSIONS_KEPT_MAX as usize {
            return refuse(format!(
                "schema {name:?} has {VERSIONS_KEPT_MAX} versions, which is the most: delete one first"
            ));
        } else {
            self.add_version(row, content);
        }
        self.ctx.commit.pending.urgent = true;
        Ok(Done::when_durable(self.described_version(&Describe { registry, name, version: None })?))
    }

    /// Delete a schema with its versions.
    pub(crate) fn schema_delete(&mut self, named: SchemaNamed) -> Result<Done, EngineError> {
        let SchemaNamed { registry, name } = named;
        let row = self.schemas.schema(&registry, &name)?.clone();
        if registry == OWN {
            check_writable(&registry)?;
        }
        for &version in &row.versions {
            self.ctx.commit.pending.remove(Table::SchemaVersion, version_key(&registry, &name, version));
        }
        if registry == DISCOVERED {
            self.forget_discovered(&name);
        }
        self.ctx.commit.pending.remove(Table::Schema, row.key());
        self.ctx.commit.pending.urgent = true;
        self.schemas.documents.remove(&(registry.clone(), name.clone()));
        if let Some(known) = self.schemas.registries.get_mut(&registry) {
            known.schemas.remove(&name);
        }
        Ok(Done::when_durable(Empty {}))
    }

    /// Delete a version of a schema that has others.
    pub(crate) fn schema_delete_version(&mut self, named: VersionNamed) -> Result<Done, EngineError> {
        let VersionNamed { registry, name, version } = named;
        let mut row = self.schemas.schema(&registry, &name)?.clone();
        if registry == OWN {
            check_writable(&registry)?;
        }
        self.version(&row, version)?;
        if row.versions.len() == 1 {
            return Err(EngineError::Conflict(format!(
                "schema {name:?} has only version {version}: delete the schema instead"
            )));
        }
        row.versions.retain(|one| *one != version);
        let VersionRow { content, .. } = self.version(&row, row.latest())?;
        row.unchecked = unchecked(row.schema_type, &content)?;
        self.ctx.commit.pending.remove(Table::SchemaVersion, version_key(&registry, &name, version));
        self.save(row);
        self.ctx.commit.pending.urgent = true;
        Ok(Done::when_durable(Empty {}))
    }

    fn described_version(&mut self, asked: &Describe) -> Result<SchemaVersion, EngineError> {
        let row = self.schemas.schema(&asked.registry, &asked.name)?.clone();
        let number = asked.version.unwrap_or(row.latest());
        let VersionRow { created_ms, content } = self.version(&row, number)?;
        Ok(SchemaVersion { schema: self.ctx.schema(&row), version: number, version_created_ms: created_ms, content })
    }

    fn described(&self, registry: &Registry) -> RegistryAnswer {
        let RegistryRow { name, description, created_ms } = registry.row.clone();
        let arn = self.ctx.registry_arn(&name);
        RegistryAnswer { name, arn, description, created_ms, schemas: registry.schemas.len() }
    }
}

/// Read a schema; refuse what is none, with the place. Gives the places of keywords that no event is held against.
pub(crate) fn unchecked(schema_type: SchemaType, content: &str) -> Result<Vec<String>, EngineError> {
    let document =
        Document::parse(schema_type.into(), content).map_err(|error| EngineError::Invalid(error.to_string()))?;
    Ok(document.unchecked().iter().take(UNCHECKED_MAX).cloned().collect())
}

impl Ctx {
    fn registry_arn(&self, name: &str) -> String {
        format!("arn:aws:schemas:{}:{}:registry/{name}", self.config.region, self.config.account)
    }

    fn schema(&self, row: &SchemaRow) -> Schema {
        let SchemaRow { registry, name, schema_type, description, created_ms, updated_ms, versions, unchecked, .. } =
            row.clone();
        let arn = format!("arn:aws:schemas:{}:{}:schema/{registry}/{name}", self.config.region, self.config.account);
        Schema { registry, name, arn, schema_type, description, created_ms, updated_ms, versions, unchecked }
    }
}
