//! Registering functions and destinations, and invoking a function.

use crate::base::error::EngineError;
use crate::base::error::Waiter;
use crate::base::trace::check_trace;
use crate::base::trace::kept;
use crate::dispatch::attempts::Attempt;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::functions::Function;
use crate::dispatch::functions::Registration;
use crate::dispatch::functions::DELIVERY_TIMEOUT_MS;
use crate::dispatch::invoke::Invoke;
use crate::dispatch::ready_list::INVOKE_BYTES_MAX;
use crate::dispatch::versions::split;
use crate::runtime::rooms::Rooms;
use forebay_core::alias::Version;
use std::sync::Arc;

impl Rooms {
    pub(crate) fn register(&mut self, registration: &Registration) -> Result<HandlerId, EngineError> {
        let is_function = match registration.kind.as_str() {
            "function" => true,
            "destination" => false,
            other => return Err(EngineError::Invalid(format!("kind is {other:?}: allowed are function, destination"))),
        };
        let version = if is_function { self.dispatch.check_version(registration)? } else { Version::Latest };
        let name = if is_function { split(&registration.name).0 } else { &registration.name };
        let names = if is_function { &self.dispatch.function_names } else { &self.dispatch.destination_names };
        let timeout_ms = registration.timeout_ms.unwrap_or(DELIVERY_TIMEOUT_MS);
        let handler = names.get(&registration.name).copied();
        if is_function {
            // First of all: a registration that is refused leaves no function behind that nobody runs.
            self.dispatch().check_limits(name, handler, registration.limits)?;
        }
        let is_new = handler.is_none();
        let function =
            Function::new(registration, (name, version), (timeout_ms, self.ctx.now.wall_ms), &self.ctx.registry);
        let handler = match handler {
            Some(handler) => {
                self.dispatch.functions[handler].replace_settings(function);
                handler
            }
            None => {
                self.dispatch.functions.push(function);
                self.dispatch.functions.len() - 1
            }
        };
        let names = if is_function { &mut self.dispatch.function_names } else { &mut self.dispatch.destination_names };
        names.insert(registration.name.clone(), handler);
        if is_function && is_new {
            self.dispatch.functions[handler].place = Some(self.dispatch.place_of_new(name, handler));
        }
        if let Some(declared) = &registration.environment {
            self.environments().declare_environments(handler, declared);
        }
        if is_function {
            self.dispatch().declare_limits(handler, registration.limits)?;
            self.conduct();
        }
        self.try_each_participant(|one| one.registered(handler, is_new))?;
        Ok(handler)
    }
}

impl Rooms {
    /// Have a function invoked; give the request's id. One that is refused has none, and its answer says why.
    pub(crate) fn invoke(
        &mut self,
        function: &str,
        payload: Arc<[u8]>,
        trace: Option<&str>,
        waiter: Waiter,
    ) -> Option<u128> {
        if let Err(error) = check_trace(trace) {
            self.ctx.answer(waiter, Err(error));
            return None;
        }
        let refused = match self.dispatch().address(function) {
            Ok(_) if self.ctx.draining || !self.ctx.started => {
                EngineError::Closed(format!("function {function:?} cannot run: the app is not running"))
            }
            Ok((handler, _)) if self.dispatch.ready_list.is_full_of_invokes(payload.len()) => {
                let most = INVOKE_BYTES_MAX >> 20;
                self.dispatch().backlog(
                    handler,
                    format!("payloads of {most} MiB wait to be handed to handlers, this one does not fit"),
                )
            }
            Ok((handler, qualifier)) => match self.permit_of_invoke(handler) {
                Ok(lease) => {
                    self.dispatch.ready_list.invoke_bytes += payload.len();
                    let job = Invoke { payload, qualifier, trace: kept(trace), waiter: Some(waiter) };
                    let mut attempt = Attempt::new(handler, job, 1);
                    attempt.lease = lease;
                    let token = self.dispatch().ready(attempt, false);
                    return self.dispatch.attempts.get_mut(token).map(|attempt| attempt.request);
                }
                Err(refused) => refused,
            },
            Err(error) => error,
        };
        self.ctx.answer(waiter, Err(refused));
        None
    }
}
