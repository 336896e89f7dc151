//! Functions and what they are limited to.

use forebay_core::alias::Version;
use serde::Deserialize;
use serde_json::{json, Map, Value};

use crate::api::{changed, Done};
use crate::base::error::EngineError;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::versions::{split, split_version, AliasSettings};
use crate::dispatch::Dispatch;
use crate::dispatch::DispatchRoom;

/// A function, or a version or alias of it.
#[derive(Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
}

/// An alias, as it is declared.
#[derive(Deserialize)]
pub(crate) struct Alias {
    function: String,
    name: String,
    #[serde(flatten)]
    settings: AliasSettings,
}

impl Dispatch {
    pub(crate) fn functions_list(&self) -> Done {
        let latest = self.function_names.iter().filter(|(name, _)| split(name).1.is_none());
        Done::at_once(latest.map(|(_, &slot)| self.describe_function(slot)).collect::<Value>())
    }
}

impl DispatchRoom<'_> {
    pub(crate) fn function_describe(&self, named: &Named) -> Result<Done, EngineError> {
        let (function, version) = split_version(&named.name);
        if let (Some(name), None) = (split(&named.name).1, version) {
            return Ok(Done::at_once(self.describe_alias(function, name)?));
        }
        let slot = version.and_then(|version| self.dispatch.version_slot(function, version));
        let slot = slot.ok_or_else(|| self.no_version(&named.name))?;
        if version != Some(Version::Latest) {
            return Ok(Done::at_once(self.dispatch.describe_version(slot)));
        }
        let mut versions = self.dispatch.slots_of(function).split_off(1);
        versions.sort_by_key(|&slot| self.dispatch.functions[slot].version);
        let mut described = self.dispatch.describe_function(slot);
        described["versions"] = versions.into_iter().map(|slot| self.dispatch.describe_version(slot)).collect();
        described["aliases"] = self.describe_aliases(function).into();
        Ok(Done::at_once(described))
    }
}

impl Dispatch {
    fn describe_function(&self, slot: HandlerId) -> Value {
        let function = &self.functions[slot];
        let mut described = self.describe_version(slot);
        described["name"] = function.name.as_str().into();
        described["reserved_concurrency"] = function.limits.reserved_concurrency.into();
        described["rate_limit"] = function.limits.rate_limit.into();
        // Of all versions.
        described["in_flight"] = function.meters.in_flight.get().into();
        described["past_deadline"] = function.meters.overdue.get().into();
        described
    }

    fn describe_version(&self, slot: HandlerId) -> Value {
        let function = &self.functions[slot];
        let unit = function.place.map(|(_, unit)| unit);
        let (provisioned, ready, _) = unit.map_or((0, 0, 0), |unit| self.permits.pool.provisioned(unit));
        json!({
            "name": function.qualified(), "version": function.version.to_string(), "isolation": function.isolation,
            "wants": if function.as_event { "event" } else { "batch" },
            "timeout_ms": function.timeout_ns / 1_000_000,
            "provisioned_concurrency": provisioned, "provisioned_ready": ready,
            "in_flight": unit.map_or(0, |unit| self.permits.pool.running(unit)),
        })
    }
}

impl DispatchRoom<'_> {
    pub(crate) fn alias_declare(&mut self, alias: Alias) -> Result<Done, EngineError> {
        Ok(Done::at_once(self.set_alias(&alias.function, &alias.name, alias.settings)?))
    }

    pub(crate) fn alias_update(&mut self, mut changes: Map<String, Value>) -> Result<Done, EngineError> {
        let mut named =
            |field| changes.remove(field).and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        let (function, name) = (named("function"), named("name"));
        let settings = changed(self.alias_settings(&function, &name)?, changes, "an alias", &[])?;
        Ok(Done::at_once(self.set_alias(&function, &name, settings)?))
    }

    pub(crate) fn function_update(&mut self, mut changes: Map<String, Value>) -> Result<Done, EngineError> {
        let name = changes.remove("name").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        if self.dispatch.aliases.contains_key(&name) {
            return Err(EngineError::Invalid(format!(
                "name={name:?}: it is an alias, changed by `forebay function alias`"
            )));
        }
        let (function, version) = split_version(&name);
        let slot = version.and_then(|version| self.dispatch.version_slot(function, version));
        let slot = slot.ok_or_else(|| self.no_version(&name))?;
        if let Some(given) = changes.get("provisioned_concurrency") {
            self.check_provisioned(slot, given)?;
        }
        self.limit_function(slot, changed(&self.dispatch.functions[slot].limits, changes, "a function", &[])?)?;
        let is_latest = self.dispatch.functions[slot].version == Version::Latest;
        Ok(Done::at_once(if is_latest {
            self.dispatch.describe_function(slot)
        } else {
            self.dispatch.describe_version(slot)
        }))
    }

    pub(crate) fn account_update(&mut self, changes: Map<String, Value>) -> Result<(), EngineError> {
        self.limit_account(changed(&self.ctx.config.limits, changes, "an app", &[])?)
    }

    pub(crate) fn describe_account(&self) -> Value {
        let mut account = serde_json::to_value(self.ctx.config.limits).unwrap_or_default();
        let used = self.dispatch.permits.pool.in_use();
        account["in_use"] = used.running.into();
        account["unreserved_in_use"] = used.unreserved.into();
        account["claimed"] = used.claimed.into();
        account
    }
}
