//! What an account and its functions are limited to, as it is declared and changed while they run.

use crate::base::limits::AccountSettings;
use crate::base::limits::FunctionLimits;
use crate::base::limits::CONCURRENCY_MAX;
use forebay_core::alias::Version;
use forebay_core::concurrency::{Limits, LimitsError, UnitId};
use serde_json::Value;

use crate::base::error::EngineError;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::{permits, versions};
use crate::dispatch::{Change, DispatchRoom};
use crate::observe::meters::ProvisionedMeters;

fn refused(error: LimitsError) -> EngineError {
    EngineError::Invalid(error.to_string())
}

/// Provision versions of a function from now on; its other limits stay. On an error nothing has changed.
pub(crate) fn provision(
    room: &mut DispatchRoom<'_>,
    function: &str,
    shares: &[(HandlerId, u32)],
) -> Result<(), EngineError> {
    let Some(&latest) = room.dispatch.function_names.get(function) else { return Ok(()) };
    hold(room, room.dispatch.functions[latest].limits.held()?, shares)
}

/// Hold the account to limits from now on. On an error nothing has changed. What runs over a lowered limit runs on.
pub(crate) fn limit_account(room: &mut DispatchRoom<'_>, settings: AccountSettings) -> Result<(), EngineError> {
    let limits = settings.check()?;
    room.dispatch.permits.pool.set_account(limits, room.ctx.now.mono_ns).map_err(refused)?;
    room.ctx.config.limits = settings;
    Ok(())
}

/// Whether a function, or a version of it, can be held to what is declared; `handler`: unless it is new. Changes nothing.
pub(crate) fn check_limits(
    room: &DispatchRoom<'_>,
    name: &str,
    handler: Option<HandlerId>,
    declared: FunctionLimits,
) -> Result<(), EngineError> {
    let known = handler.map(|handler| &room.dispatch.functions[handler]);
    if known.is_some_and(|function| function.declared_limits == declared) {
        return Ok(());
    }
    let latest = room.dispatch.function_names.get(name).copied();
    let held = match latest {
        Some(latest) if handler != Some(latest) => room.dispatch.functions[latest].limits.held()?,
        _ => declared.held()?,
    };
    let function = latest.and_then(|latest| room.dispatch.functions[latest].place).map(|(function, _)| function);
    let unit = known.and_then(|function| function.place).map(|(_, unit)| unit);
    room.dispatch.permits.pool.may_set(function, unit, held.reserved, declared.provisioned_concurrency).map_err(refused)
}

/// Refuse a provisioned concurrency outside its range, in the words of `python/forebay/_model/checks.py`.
pub(crate) fn check_provisioned(room: &DispatchRoom<'_>, handler: HandlerId, given: &Value) -> Result<(), EngineError> {
    let most = room.dispatch.process_lines.most_provisioned(handler).unwrap_or(CONCURRENCY_MAX as usize);
    if given.as_u64().is_some_and(|given| given <= most as u64) {
        return Ok(());
    }
    let most = if most < 1_000 { most.to_string() } else { format!("{},{:03}", most / 1_000, most % 1_000) };
    Err(EngineError::Invalid(format!("provisioned_concurrency={given}: allowed are whole numbers from 0 to {most}")))
}

/// Hold a function to what is declared, unless that is what was declared before: then a change since then stays.
pub(crate) fn declare_limits(
    room: &mut DispatchRoom<'_>,
    handler: HandlerId,
    declared: FunctionLimits,
) -> Result<(), EngineError> {
    let function = &room.dispatch.functions[handler];
    if function.declared_limits == declared {
        // An alias may have provisioned it.
        let provisioned = function.place.map_or(0, |(_, unit)| room.dispatch.permits.pool.provisioned(unit).0);
        room.dispatch.changes.push(Change::Provisioned(handler, provisioned));
        return Ok(());
    }
    limit_function(room, handler, declared)?;
    room.dispatch.functions[handler].declared_limits = declared;
    Ok(())
}

/// Hold a function, or a version of it, to limits from now on. On an error nothing has changed.
pub(crate) fn limit_function(
    room: &mut DispatchRoom<'_>,
    handler: HandlerId,
    limits: FunctionLimits,
) -> Result<(), EngineError> {
    let (name, version) = (room.dispatch.functions[handler].name.clone(), room.dispatch.functions[handler].version);
    let share = [(handler, limits.provisioned_concurrency)];
    if version == Version::Latest {
        hold(room, limits.held()?, &share)?;
    } else {
        limits.check_of_version()?;
        if !versions::leaves_provisioning_to_alias(room.dispatch, handler, limits.provisioned_concurrency)? {
            provision(room, &name, &share)?;
        }
    }
    room.dispatch.functions[handler].limits = limits;
    for handler in versions::handlers_of(room.dispatch, &name) {
        if limits.reserved_concurrency == Some(0) {
            permits::refuse_waiting_invocations(room, handler);
        }
        room.dispatch.changes.push(Change::Limits(handler));
    }
    Ok(())
}

fn hold(room: &mut DispatchRoom<'_>, held: Limits, shares: &[(HandlerId, u32)]) -> Result<(), EngineError> {
    let unit_of =
        |&(handler, share): &(HandlerId, u32)| room.dispatch.functions[handler].place.map(|(_, unit)| (unit, share));
    let units: Vec<(UnitId, u32)> = shares.iter().filter_map(unit_of).collect();
    let Some((function, _)) = shares.first().and_then(|(handler, _)| room.dispatch.functions[*handler].place) else {
        return Ok(());
    };
    room.dispatch.permits.pool.set_function(function, held, &units, room.ctx.now.mono_ns).map_err(refused)?;
    for (&(handler, provisioned), (unit, _)) in shares.iter().zip(units) {
        if provisioned > 0 {
            let (name, registry) = (room.dispatch.functions[handler].qualified(), &room.ctx.registry);
            room.dispatch.permits.provisioned.entry(unit).or_insert_with(|| ProvisionedMeters::new(registry, &name));
        }
        if room.dispatch.process_lines.has(handler) {
            room.dispatch.changes.push(Change::Provisioned(handler, provisioned));
        } else {
            // In this process there is nothing to be made ready.
            room.dispatch.permits.pool.provisioned_ready(unit, provisioned);
        }
    }
    Ok(())
}
