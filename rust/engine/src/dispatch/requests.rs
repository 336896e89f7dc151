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
use crate::dispatch::limits;
use crate::dispatch::versions::{self, split, split_version};
use crate::dispatch::Change;
use crate::dispatch::Dispatch;
use crate::dispatch::DispatchRoom;

impl DispatchRoom<'_> {
    pub(crate) fn functions_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let latest = self.dispatch.function_names.iter().filter(|(name, _)| split(name).1.is_none());
        let list: Vec<Function> = latest.map(|(_, &handler)| describe_function(self.dispatch, handler)).collect();
        Ok(Done::at_once(list))
    }

    pub(crate) fn function_describe(&mut self, named: Named) -> Result<Done, EngineError> {
        let (function, version) = split_version(&named.name);
        if let (Some(name), None) = (split(&named.name).1, version) {
            return Ok(Done::at_once(Described::Alias(versions::describe_alias(self, function, name)?)));
        }
        let handler = version.and_then(|version| versions::version_handler(self.dispatch, function, version));
        let handler = handler.ok_or_else(|| versions::no_version(self, &named.name))?;
        if version != Some(Version::Latest) {
            return Ok(Done::at_once(Described::Version(describe_version(self.dispatch, handler))));
        }
        let mut versions = versions::handlers_of(self.dispatch, function).split_off(1);
        versions.sort_by_key(|&handler| self.dispatch.functions[handler].version);
        let mut described = describe_function(self.dispatch, handler);
        described.versions =
            Some(versions.into_iter().map(|handler| describe_version(self.dispatch, handler)).collect());
        described.aliases = Some(versions::describe_aliases(self, function));
        Ok(Done::at_once(Described::Function(described)))
    }
}

fn describe_function(dispatch: &Dispatch, handler: HandlerId) -> Function {
    let function = &dispatch.functions[handler];
    let latest = function::Version {
        name: function.name.clone(),
        // Of all versions.
        in_flight: function.meters.in_flight.get() as u64,
        ..describe_version(dispatch, handler)
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

fn describe_version(dispatch: &Dispatch, handler: HandlerId) -> function::Version {
    let function = &dispatch.functions[handler];
    let unit = function.place.map(|(_, unit)| unit);
    let (provisioned, ready, _) = unit.map_or((0, 0, 0), |unit| dispatch.permits.pool.provisioned(unit));
    function::Version {
        name: function.qualified(),
        version: function.version.to_string(),
        is_latest: function.is_latest,
        isolation: function.isolation.clone(),
        wants: if function.as_event { "event" } else { "batch" },
        timeout_ms: function.timeout_ns / 1_000_000,
        provisioned_concurrency: provisioned,
        provisioned_ready: ready,
        in_flight: unit.map_or(0, |unit| dispatch.permits.pool.running(unit)).into(),
        memory_mebibytes: function.memory_bytes.map(|bytes| bytes >> 20),
        declared_ms: function.declared_ms,
    }
}

impl DispatchRoom<'_> {
    pub(crate) fn alias_declare(&mut self, alias: DeclareAlias) -> Result<Done, EngineError> {
        Ok(Done::at_once(versions::set_alias(self, &alias.function, &alias.name, alias.settings)?))
    }

    pub(crate) fn alias_update(&mut self, asked: UpdateAlias) -> Result<Done, EngineError> {
        let UpdateAlias { function, name, changes } = asked;
        let settings = changes.apply(versions::alias_settings(self, &function, &name)?, "an alias")?;
        Ok(Done::at_once(versions::set_alias(self, &function, &name, settings)?))
    }

    pub(crate) fn function_update(&mut self, asked: Update) -> Result<Done, EngineError> {
        let Update { name, changes } = asked;
        if self.dispatch.aliases.contains_key(&name) {
            return Err(EngineError::Invalid(format!(
                "name={name:?}: it is an alias, changed by `forebay function alias`"
            )));
        }
        let (function, version) = split_version(&name);
        let handler = version.and_then(|version| versions::version_handler(self.dispatch, function, version));
        let handler = handler.ok_or_else(|| versions::no_version(self, &name))?;
        if let Some(given) = changes.get("provisioned_concurrency") {
            limits::check_provisioned(self, handler, given)?;
        }
        limits::limit_function(self, handler, changes.apply(&self.dispatch.functions[handler].limits, "a function")?)?;
        let is_latest = self.dispatch.functions[handler].version == Version::Latest;
        Ok(Done::at_once(if is_latest {
            Described::Function(describe_function(self.dispatch, handler))
        } else {
            Described::Version(describe_version(self.dispatch, handler))
        }))
    }

    /// Change how a function, or a version, is invoked asynchronously. On an error nothing has changed.
    pub(crate) fn function_asynchronous(&mut self, asked: ChangeAsynchronous) -> Result<Done, EngineError> {
        let (name, version) = split_version(&asked.name);
        let handler = version.and_then(|version| versions::version_handler(self.dispatch, name, version));
        let handler = handler.ok_or_else(|| versions::no_version(self, &asked.name))?;
        let before = self.dispatch.functions[handler].asynchronous.clone();
        let now = asked.changes.apply(&before, "an asynchronous invocation")?;
        now.check()?;
        if now != before {
            self.dispatch.functions[handler].asynchronous = now.clone();
            self.dispatch.changes.push(Change::Limits(handler));
        }
        let declared = self.dispatch.functions[handler].declared_asynchronous.clone();
        Ok(Done::at_once(AsynchronousSettings { now, declared }))
    }

    pub(crate) fn account_update(&mut self, changes: Changes<AccountSettings>) -> Result<(), EngineError> {
        limits::limit_account(self, changes.apply(&self.ctx.config.limits, "an app")?)
    }
}
