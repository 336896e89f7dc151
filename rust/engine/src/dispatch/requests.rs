//! What is asked of functions, their versions and aliases, and of the account.

use forebay_core::alias::Version;

use crate::api::account::AccountSettings;
use crate::api::changes::Changes;
use crate::api::function::{
    self, AsynchronousSettings, ChangeAsynchronous, DeclareAlias, Described, Function, Named, Update, UpdateAlias,
};
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::versions::{split, split_version};
use crate::dispatch::Change;
use crate::dispatch::Dispatch;
use crate::dispatch::DispatchRoom;

impl DispatchRoom<'_> {
    pub(crate) fn functions_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let latest = self.dispatch.function_names.iter().filter(|(name, _)| split(name).1.is_none());
        let list: Vec<Function> = latest.map(|(_, &slot)| self.dispatch.describe_function(slot)).collect();
        Ok(Done::at_once(list))
    }

    pub(crate) fn function_describe(&mut self, named: Named) -> Result<Done, EngineError> {
        let (function, version) = split_version(&named.name);
        if let (Some(name), None) = (split(&named.name).1, version) {
            return Ok(Done::at_once(Described::Alias(self.describe_alias(function, name)?)));
        }
        let slot = version.and_then(|version| self.dispatch.version_slot(function, version));
        let slot = slot.ok_or_else(|| self.no_version(&named.name))?;
        if version != Some(Version::Latest) {
            return Ok(Done::at_once(Described::Version(self.dispatch.describe_version(slot))));
        }
        let mut versions = self.dispatch.slots_of(function).split_off(1);
        versions.sort_by_key(|&slot| self.dispatch.functions[slot].version);
        let mut described = self.dispatch.describe_function(slot);
        described.versions = Some(versions.into_iter().map(|slot| self.dispatch.describe_version(slot)).collect());
        described.aliases = Some(self.describe_aliases(function));
        Ok(Done::at_once(Described::Function(described)))
    }
}

impl Dispatch {
    fn describe_function(&self, slot: HandlerId) -> Function {
        let function = &self.functions[slot];
        let latest = function::Version {
            name: function.name.clone(),
            // Of all versions.
            in_flight: function.meters.in_flight.get() as u64,
            ..self.describe_version(slot)
        };
        Function {
            latest,
            reserved_concurrency: function.limits.reserved_concurrency,
            rate_limit: function.limits.rate_limit,
            past_deadline: function.meters.overdue.get() as u64,
            versions: None,
            aliases: None,
        }
    }

    fn describe_version(&self, slot: HandlerId) -> function::Version {
        let function = &self.functions[slot];
        let unit = function.place.map(|(_, unit)| unit);
        let (provisioned, ready, _) = unit.map_or((0, 0, 0), |unit| self.permits.pool.provisioned(unit));
        function::Version {
            name: function.qualified(),
            version: function.version.to_string(),
            isolation: function.isolation.clone(),
            wants: if function.as_event { "event" } else { "batch" },
            timeout_ms: function.timeout_ns / 1_000_000,
            provisioned_concurrency: provisioned,
            provisioned_ready: ready,
            in_flight: unit.map_or(0, |unit| self.permits.pool.running(unit)).into(),
        }
    }
}

impl DispatchRoom<'_> {
    pub(crate) fn alias_declare(&mut self, alias: DeclareAlias) -> Result<Done, EngineError> {
        Ok(Done::at_once(self.set_alias(&alias.function, &alias.name, alias.settings)?))
    }

    pub(crate) fn alias_update(&mut self, asked: UpdateAlias) -> Result<Done, EngineError> {
        let UpdateAlias { function, name, changes } = asked;
        let settings = changes.apply(self.alias_settings(&function, &name)?, "an alias")?;
        Ok(Done::at_once(self.set_alias(&function, &name, settings)?))
    }

    pub(crate) fn function_update(&mut self, asked: Update) -> Result<Done, EngineError> {
        let Update { name, changes } = asked;
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
        self.limit_function(slot, changes.apply(&self.dispatch.functions[slot].limits, "a function")?)?;
        let is_latest = self.dispatch.functions[slot].version == Version::Latest;
        Ok(Done::at_once(if is_latest {
            Described::Function(self.dispatch.describe_function(slot))
        } else {
            Described::Version(self.dispatch.describe_version(slot))
        }))
    }

    /// Change how a function, or a version, is invoked asynchronously. On an error nothing has changed.
    pub(crate) fn function_asynchronous(&mut self, asked: ChangeAsynchronous) -> Result<Done, EngineError> {
        let (name, version) = split_version(&asked.name);
        let slot = version.and_then(|version| self.dispatch.version_slot(name, version));
        let slot = slot.ok_or_else(|| self.no_version(&asked.name))?;
        let before = self.dispatch.functions[slot].asynchronous.clone();
        let now = asked.changes.apply(&before, "an asynchronous invocation")?;
        now.check()?;
        if now != before {
            self.dispatch.functions[slot].asynchronous = now.clone();
            self.dispatch.changes.push(Change::Limits(slot));
        }
        let declared = self.dispatch.functions[slot].declared_asynchronous.clone();
        Ok(Done::at_once(AsynchronousSettings { now, declared }))
    }

    pub(crate) fn account_update(&mut self, changes: Changes<AccountSettings>) -> Result<(), EngineError> {
        self.limit_account(changes.apply(&self.ctx.config.limits, "an app")?)
    }
}
