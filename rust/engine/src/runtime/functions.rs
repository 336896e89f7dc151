//! Registering functions and destinations, and invoking a function.

use crate::base::error::EngineError;
use crate::base::error::Waiter;
use crate::base::trace::check_trace;
use crate::base::trace::kept;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::attempts::{self, Attempt};
use crate::dispatch::functions::Registration;
use crate::dispatch::functions::DELIVERY_TIMEOUT_MS;
use crate::dispatch::functions::{self, Function};
use crate::dispatch::invoke::Invoke;
use crate::dispatch::limits;
use crate::dispatch::ready_list::INVOKE_BYTES_MAX;
use crate::dispatch::versions::{self, split};
use crate::runtime::permits;
use crate::runtime::rooms::Rooms;
use forebay_core::alias::Version;
use std::sync::Arc;

pub(crate) fn register(rooms: &mut Rooms, registration: &Registration) -> Result<HandlerId, EngineError> {
    let is_function = match registration.kind.as_str() {
        "function" => true,
        "destination" => false,
        other => return Err(EngineError::Invalid(format!("kind is {other:?}: allowed are function, destination"))),
    };
    let version = if is_function { functions::check_version(&rooms.dispatch, registration)? } else { Version::Latest };
    let name = if is_function { split(&registration.name).0 } else { &registration.name };
    let names = if is_function { &rooms.dispatch.function_names } else { &rooms.dispatch.destination_names };
    let timeout_ms = registration.timeout_ms.unwrap_or(DELIVERY_TIMEOUT_MS);
    let handler = names.get(&registration.name).copied();
    if is_function {
        // First of all: a registration that is refused leaves no function behind that nobody runs.
        limits::check_limits(&rooms.dispatch(), name, handler, registration.limits)?;
    }
    let is_new = handler.is_none();
    let function =
        Function::new(registration, (name, version), (timeout_ms, rooms.ctx.now.wall_ms), &rooms.ctx.registry);
    let handler = match handler {
        Some(handler) => {
            rooms.dispatch.functions[handler].replace_settings(function);
            handler
        }
        None => {
            rooms.dispatch.functions.push(function);
            rooms.dispatch.functions.len() - 1
        }
    };
    let names = if is_function { &mut rooms.dispatch.function_names } else { &mut rooms.dispatch.destination_names };
    names.insert(registration.name.clone(), handler);
    if is_function && is_new {
        rooms.dispatch.functions[handler].place = Some(functions::place_of_new(&mut rooms.dispatch, name, handler));
    }
    if let Some(declared) = &registration.environment {
        rooms.environments().declare_environments(handler, declared);
    }
    if is_function {
        limits::declare_limits(&mut rooms.dispatch(), handler, registration.limits)?;
        rooms.conduct();
    }
    rooms.try_each_participant(|one| one.registered(handler, is_new))?;
    Ok(handler)
}

/// Have a function invoked; give the request's id. One that is refused has none, and its answer says why.
pub(crate) fn invoke(
    rooms: &mut Rooms,
    function: &str,
    payload: Arc<[u8]>,
    trace: Option<&str>,
    waiter: Waiter,
) -> Option<u128> {
    if let Err(error) = check_trace(trace) {
        rooms.ctx.answer(waiter, Err(error));
        return None;
    }
    let refused = match versions::address(&mut rooms.dispatch(), function) {
        Ok(_) if rooms.ctx.draining || !rooms.ctx.started => {
            EngineError::Closed(format!("function {function:?} cannot run: the app is not running"))
        }
        Ok((handler, _)) if rooms.dispatch.ready_list.is_full_of_invokes(payload.len()) => {
            let most = INVOKE_BYTES_MAX >> 20;
            crate::dispatch::permits::backlog(
                &mut rooms.dispatch(),
                handler,
                format!("payloads of {most} MiB wait to be handed to handlers, this one does not fit"),
            )
        }
        Ok((handler, qualifier)) => match permits::permit_of_invoke(rooms, handler) {
            Ok(lease) => {
                rooms.dispatch.ready_list.invoke_bytes += payload.len();
                let job = Invoke { payload, qualifier, trace: kept(trace), waiter: Some(waiter) };
                let mut attempt = Attempt::new(handler, job, 1);
                attempt.lease = lease;
                let token = attempts::ready(&mut rooms.dispatch(), attempt, false);
                return rooms.dispatch.attempts.get_mut(token).map(|attempt| attempt.request);
            }
            Err(refused) => refused,
        },
        Err(error) => error,
    };
    rooms.ctx.answer(waiter, Err(refused));
    None
}
