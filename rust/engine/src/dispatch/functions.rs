//! Functions and destinations: what this process can run, and how an invocation of it begins.

use std::collections::VecDeque;
use std::sync::Arc;

use forebay_core::alias::Version;
use forebay_core::concurrency::{FunctionId, UnitId};
use serde::Deserialize;

use crate::base::error::{EngineError, Waiter};
use crate::base::trace::{check_trace, kept};
use crate::dispatch::attempts::{Attempt, HandlerId, Job, Token};
use crate::dispatch::limits::FunctionLimits;
use crate::dispatch::ready_list::INVOKE_BYTES_MAX;
use crate::dispatch::versions::{qualified, split, version_of};
use crate::environments::Declared;
use crate::metrics::Registry;
use crate::observe::meters::FunctionMeters;
use crate::runtime::rooms::State;
use crate::sources::invocation::Asynchronous;

/// How long a destination may take for one record.
const DELIVERY_TIMEOUT_MS: u64 = 60_000;

/// How many records it takes at once unless it says so itself.
const AT_ONCE: usize = 64;

/// A function or destination, as it is registered.
#[derive(Clone, Debug, Deserialize)]
pub struct Registration {
    /// `function` or `destination`.
    pub kind: String,
    /// Unique among its kind. A published version of a function has its number behind it: `function:1`.
    pub name: String,
    /// How long an attempt may take; a destination has none given.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// `event` or `batch`.
    #[serde(default)]
    pub wants: Option<String>,
    /// `task` or `thread`.
    #[serde(default)]
    pub isolation: Option<String>,
    /// How it is invoked asynchronously; `None`: as AWS has it.
    #[serde(default)]
    pub asynchronous: Option<Asynchronous>,
    /// Its limits.
    #[serde(flatten)]
    pub limits: FunctionLimits,
    /// The environments that run it; a function without any runs in this process.
    #[serde(default)]
    pub environment: Option<Declared>,
    /// How many records a destination takes at once.
    #[serde(default)]
    pub at_once: Option<usize>,
}

/// A function or a destination registered in this process.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) timeout_ns: u64,
    pub(crate) as_event: bool,
    pub(crate) isolation: String,
    pub(crate) asynchronous: Asynchronous,
    /// When the timer of its deadlines rings.
    pub(crate) armed: Option<u64>,
    /// `(deadline, attempt)` in the order of handing out, which is the order of deadlines.
    pub(crate) deadlines: VecDeque<(u64, Token)>,
    pub(crate) meters: FunctionMeters,
    /// How its permits are counted; a destination needs none. Several versions of a function are units of one.
    pub(crate) place: Option<(FunctionId, UnitId)>,
    /// What holds now, and what was declared last: a change while it runs stays until the declaration itself changes.
    pub(crate) limits: FunctionLimits,
    pub(crate) declared_limits: FunctionLimits,
    /// How many records a destination takes at once.
    pub(crate) at_once: usize,
}

impl Function {
    fn new(
        registration: &Registration,
        (name, version): (&str, Version),
        timeout_ms: u64,
        registry: &Registry,
    ) -> Self {
        Self {
            name: name.to_owned(),
            version,
            timeout_ns: timeout_ms.saturating_mul(1_000_000),
            as_event: registration.wants.as_deref() != Some("batch"),
            isolation: registration.isolation.clone().unwrap_or_default(),
            asynchronous: registration.asynchronous.clone().unwrap_or_default(),
            armed: None,
            deadlines: VecDeque::new(),
            meters: FunctionMeters::new(registry, name, version),
            place: None,
            limits: FunctionLimits::default(),
            declared_limits: FunctionLimits::default(),
            at_once: registration.at_once.unwrap_or(AT_ONCE),
        }
    }

    /// The name under which it is registered, and invoked.
    pub(crate) fn qualified(&self) -> String {
        qualified(&self.name, self.version)
    }

    /// Take the settings of a later registration; attempts in flight keep their deadlines.
    pub(crate) fn replace_settings(&mut self, other: Self) {
        self.timeout_ns = other.timeout_ns;
        self.as_event = other.as_event;
        self.isolation = other.isolation;
        self.asynchronous = other.asynchronous;
        self.at_once = other.at_once;
    }
}

impl State {
    pub(crate) fn register(&mut self, registration: &Registration) -> Result<HandlerId, EngineError> {
        let is_function = match registration.kind.as_str() {
            "function" => true,
            "destination" => false,
            other => return Err(EngineError::Invalid(format!("kind is {other:?}: allowed are function, destination"))),
        };
        let version = if is_function { self.check_version(registration)? } else { Version::Latest };
        let name = if is_function { split(&registration.name).0 } else { &registration.name };
        let names = if is_function { &self.function_names } else { &self.destination_names };
        let timeout_ms = registration.timeout_ms.unwrap_or(DELIVERY_TIMEOUT_MS);
        let slot = names.get(&registration.name).copied();
        if is_function {
            // First of all: a registration that is refused leaves no function behind that nobody runs.
            self.check_limits(name, slot, registration.limits)?;
        }
        let is_new = slot.is_none();
        let function = Function::new(registration, (name, version), timeout_ms, &self.registry);
        let slot = match slot {
            Some(slot) => {
                self.functions[slot].replace_settings(function);
                slot
            }
            None => {
                self.functions.push(function);
                self.functions.len() - 1
            }
        };
        let names = if is_function { &mut self.function_names } else { &mut self.destination_names };
        names.insert(registration.name.clone(), slot);
        if is_function && is_new {
            self.functions[slot].place = Some(self.place_of_new(name, slot));
        }
        if let Some(declared) = &registration.environment {
            self.declare_environments(slot, declared);
        }
        if is_function {
            self.declare_limits(slot, registration.limits)?;
        }
        self.bind_mappings()?;
        self.bind_queue_mappings();
        if is_function {
            self.bind_events_of(slot);
        } else if self.started && is_new {
            self.find_all_undelivered();
        }
        Ok(slot)
    }

    /// The version that is registered, if it can be.
    fn check_version(&self, registration: &Registration) -> Result<Version, EngineError> {
        let name = &registration.name;
        let Some((function, version)) = version_of(name) else {
            return Err(EngineError::Invalid(format!("name is {name:?}: a version is a number from 1 upwards")));
        };
        if version == Version::Latest {
            return Ok(version);
        }
        if !self.function_names.contains_key(function) {
            return Err(self.no_function(function));
        }
        registration.limits.check_of_version()?;
        Ok(version)
    }

    /// A place in line: of a new function, or of another version of one.
    fn place_of_new(&mut self, name: &str, slot: HandlerId) -> (FunctionId, UnitId) {
        let known = self.function_names.get(name).and_then(|&known| self.functions[known].place);
        match known {
            Some((function, _)) => (function, self.permits.add_unit(function, slot)),
            None => self.permits.add_function(slot),
        }
    }

    pub(crate) fn invoke(&mut self, function: &str, payload: Arc<[u8]>, trace: Option<&str>, waiter: Waiter) {
        if let Err(error) = check_trace(trace) {
            return self.answer(waiter, Err(error));
        }
        let refused = match self.address(function) {
            Ok(_) if self.draining || !self.started => {
                EngineError::Closed(format!("function {function:?} cannot run: the app is not running"))
            }
            Ok((slot, _)) if self.ready_list.is_full_of_invokes(payload.len()) => {
                let most = INVOKE_BYTES_MAX >> 20;
                self.backlog(
                    slot,
                    format!("payloads of {most} MiB wait to be handed to handlers, this one does not fit"),
                )
            }
            Ok((slot, qualifier)) => match self.permit_of_invoke(slot) {
                Ok(lease) => {
                    self.ready_list.invoke_bytes += payload.len();
                    let job = Job::Invoke { payload, qualifier, trace: kept(trace), waiter: Some(waiter) };
                    let mut attempt = Attempt::new(slot, job, 1);
                    attempt.lease = lease;
                    self.ready(attempt, false);
                    return;
                }
                Err(refused) => refused,
            },
            Err(error) => error,
        };
        self.answer(waiter, Err(refused));
    }
}
