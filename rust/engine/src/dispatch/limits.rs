//! What an account and its functions are limited to, as it is declared and changed while they run.

use crate::base::limits::AccountSettings;
use crate::base::limits::FunctionLimits;
use crate::base::limits::CONCURRENCY_MAX;
use forebay_core::alias::Version;
use forebay_core::concurrency::{Limits, LimitsError, UnitId};
use serde_json::Value;

use crate::base::error::EngineError;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::{Change, DispatchRoom};
use crate::observe::meters::ProvisionedMeters;

fn refused(error: LimitsError) -> EngineError {
    EngineError::Invalid(error.to_string())
}

impl DispatchRoom<'_> {
    /// Provision versions of a function from now on; its other limits stay. On an error nothing has changed.
    pub(crate) fn provision(&mut self, function: &str, shares: &[(HandlerId, u32)]) -> Result<(), EngineError> {
        let Some(&latest) = self.dispatch.function_names.get(function) else { return Ok(()) };
        self.hold(self.dispatch.functions[latest].limits.held()?, shares)
    }
}

impl DispatchRoom<'_> {
    /// Hold the account to limits from now on. On an error nothing has changed. What runs over a lowered limit runs on.
    pub(crate) fn limit_account(&mut self, settings: AccountSettings) -> Result<(), EngineError> {
        let limits = settings.check()?;
        self.dispatch.permits.pool.set_account(limits, self.ctx.now.mono_ns).map_err(refused)?;
        self.ctx.config.limits = settings;
        Ok(())
    }
}

impl DispatchRoom<'_> {
    /// Whether a function, or a version of it, can be held to what is declared; `handler`: unless it is new. Changes nothing.
    pub(crate) fn check_limits(
        &self,
        name: &str,
        handler: Option<HandlerId>,
        declared: FunctionLimits,
    ) -> Result<(), EngineError> {
        let known = handler.map(|handler| &self.dispatch.functions[handler]);
        if known.is_some_and(|function| function.declared_limits == declared) {
            return Ok(());
        }
        let latest = self.dispatch.function_names.get(name).copied();
        let held = match latest {
            Some(latest) if handler != Some(latest) => self.dispatch.functions[latest].limits.held()?,
            _ => declared.held()?,
        };
        let function = latest.and_then(|latest| self.dispatch.functions[latest].place).map(|(function, _)| function);
        let unit = known.and_then(|function| function.place).map(|(_, unit)| unit);
        self.dispatch
            .permits
            .pool
            .may_set(function, unit, held.reserved, declared.provisioned_concurrency)
            .map_err(refused)
    }

    /// Refuse a provisioned concurrency outside its range, in the words of `python/forebay/_model/checks.py`.
    pub(crate) fn check_provisioned(&self, handler: HandlerId, given: &Value) -> Result<(), EngineError> {
        let most = self.dispatch.process_lines.most_provisioned(handler).unwrap_or(CONCURRENCY_MAX as usize);
        if given.as_u64().is_some_and(|given| given <= most as u64) {
            return Ok(());
        }
        let most = if most < 1_000 { most.to_string() } else { format!("{},{:03}", most / 1_000, most % 1_000) };
        Err(EngineError::Invalid(format!(
            "provisioned_concurrency={given}: allowed are whole numbers from 0 to {most}"
        )))
    }

    /// Hold a function to what is declared, unless that is what was declared before: then a change since then stays.
    pub(crate) fn declare_limits(&mut self, handler: HandlerId, declared: FunctionLimits) -> Result<(), EngineError> {
        let function = &self.dispatch.functions[handler];
        if function.declared_limits == declared {
            // An alias may have provisioned it.
            let provisioned = function.place.map_or(0, |(_, unit)| self.dispatch.permits.pool.provisioned(unit).0);
            self.dispatch.changes.push(Change::Provisioned(handler, provisioned));
            return Ok(());
        }
        self.limit_function(handler, declared)?;
        self.dispatch.functions[handler].declared_limits = declared;
        Ok(())
    }

    /// Hold a function, or a version of it, to limits from now on. On an error nothing has changed.
    pub(crate) fn limit_function(&mut self, handler: HandlerId, limits: FunctionLimits) -> Result<(), EngineError> {
        let (name, version) = (self.dispatch.functions[handler].name.clone(), self.dispatch.functions[handler].version);
        let share = [(handler, limits.provisioned_concurrency)];
        if version == Version::Latest {
            self.hold(limits.held()?, &share)?;
        } else {
            limits.check_of_version()?;
            if !self.dispatch.leaves_provisioning_to_alias(handler, limits.provisioned_concurrency)? {
                self.provision(&name, &share)?;
            }
        }
        self.dispatch.functions[handler].limits = limits;
        for handler in self.dispatch.handlers_of(&name) {
            if limits.reserved_concurrency == Some(0) {
                self.refuse_waiting_invocations(handler);
            }
            self.dispatch.changes.push(Change::Limits(handler));
        }
        Ok(())
    }
}

impl DispatchRoom<'_> {
    fn hold(&mut self, held: Limits, shares: &[(HandlerId, u32)]) -> Result<(), EngineError> {
        let unit_of = |&(handler, share): &(HandlerId, u32)| {
            self.dispatch.functions[handler].place.map(|(_, unit)| (unit, share))
        };
        let units: Vec<(UnitId, u32)> = shares.iter().filter_map(unit_of).collect();
        let Some((function, _)) = shares.first().and_then(|(handler, _)| self.dispatch.functions[*handler].place)
        else {
            return Ok(());
        };
        self.dispatch.permits.pool.set_function(function, held, &units, self.ctx.now.mono_ns).map_err(refused)?;
        for (&(handler, provisioned), (unit, _)) in shares.iter().zip(units) {
            if provisioned > 0 {
                let (name, registry) = (self.dispatch.functions[handler].qualified(), &self.ctx.registry);
                self.dispatch
                    .permits
                    .provisioned
                    .entry(unit)
                    .or_insert_with(|| ProvisionedMeters::new(registry, &name));
            }
            if self.dispatch.process_lines.has(handler) {
                self.dispatch.changes.push(Change::Provisioned(handler, provisioned));
            } else {
                // In this process there is nothing to be made ready.
                self.dispatch.permits.pool.provisioned_ready(unit, provisioned);
            }
        }
        Ok(())
    }
}
