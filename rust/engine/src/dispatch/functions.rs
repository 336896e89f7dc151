//! Functions and destinations: what this process can run, and how an invocation of it begins.

use std::collections::VecDeque;

use forebay_core::alias::Version;
use forebay_core::concurrency::{FunctionId, UnitId};
use serde::Deserialize;

use crate::base::asynchronous::Asynchronous;
use crate::base::error::{declared_are, EngineError};
use crate::base::limits::FunctionLimits;
use crate::base::trace::{Carried, Origin};
use crate::dispatch::attempts::{HandlerId, Token};
use crate::dispatch::program::Declared;
use crate::dispatch::versions::{qualified, version_of};
use crate::dispatch::Dispatch;
use crate::metrics::Registry;
use crate::observe::meters::FunctionMeters;

/// How long a destination may take for one record.
pub(crate) const DELIVERY_TIMEOUT_MS: u64 = 60_000;

/// How many records it takes at once unless it says so itself.
const AT_ONCE: usize = 64;

/// A function or destination, as it is registered.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// Of a version: whether it has the handler and the settings of what is declared.
    #[serde(default)]
    pub is_latest: bool,
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
    /// How many records a destination is given in a second; without it, as many as it takes.
    #[serde(default)]
    pub invocation_rate: Option<u32>,
}

/// A function or a destination registered in this process.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) timeout_ns: u64,
    pub(crate) as_event: bool,
    /// Whether it has the handler and the settings of what is declared.
    pub(crate) is_latest: bool,
    pub(crate) isolation: String,
    pub(crate) asynchronous: Asynchronous,
    /// The same, as it was declared.
    pub(crate) declared_asynchronous: Asynchronous,
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
    /// How many records a destination is given in a second.
    pub(crate) invocation_rate: Option<u32>,
    /// Most memory of a process of it.
    pub(crate) memory_bytes: Option<u64>,
    /// When it was declared first since the app started, wall ms.
    pub(crate) declared_ms: u64,
    /// How often it was registered anew since.
    pub(crate) registered: u64,
}

impl Function {
    pub(crate) fn new(
        registration: &Registration,
        (name, version): (&str, Version),
        (timeout_ms, declared_ms): (u64, u64),
        registry: &Registry,
    ) -> Self {
        Self {
            name: name.to_owned(),
            version,
            timeout_ns: timeout_ms.saturating_mul(1_000_000),
            as_event: registration.wants.as_deref() != Some("batch"),
            is_latest: registration.is_latest || version == Version::Latest,
            isolation: registration.isolation.clone().unwrap_or_default(),
            asynchronous: registration.asynchronous.clone().unwrap_or_default(),
            declared_asynchronous: registration.asynchronous.clone().unwrap_or_default(),
            armed: None,
            deadlines: VecDeque::new(),
            meters: FunctionMeters::new(registry, name, version),
            place: None,
            limits: FunctionLimits::default(),
            declared_limits: FunctionLimits::default(),
            at_once: registration.at_once.unwrap_or(AT_ONCE),
            invocation_rate: registration.invocation_rate,
            memory_bytes: registration.environment.as_ref().and_then(|declared| declared.program.memory_bytes),
            declared_ms,
            registered: 0,
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
        self.is_latest = other.is_latest;
        self.isolation = other.isolation;
        self.asynchronous = other.asynchronous;
        self.declared_asynchronous = other.declared_asynchronous;
        self.at_once = other.at_once;
        self.invocation_rate = other.invocation_rate;
        self.memory_bytes = other.memory_bytes;
        self.registered += 1;
    }
}

/// The version that is registered, if it can be.
pub(crate) fn check_version(dispatch: &Dispatch, registration: &Registration) -> Result<Version, EngineError> {
    let name = &registration.name;
    let Some((function, version)) = version_of(name) else {
        return Err(EngineError::Invalid(format!("name is {name:?}: a version is a number from 1 upwards")));
    };
    if version == Version::Latest {
        return Ok(version);
    }
    if !dispatch.function_names.contains_key(function) {
        return Err(no_function(dispatch, function));
    }
    registration.limits.check_of_version()?;
    Ok(version)
}

/// A place in line: of a new function, or of another version of one.
pub(crate) fn place_of_new(dispatch: &mut Dispatch, name: &str, handler: HandlerId) -> (FunctionId, UnitId) {
    let known = dispatch.function_names.get(name).and_then(|&known| dispatch.functions[known].place);
    match known {
        Some((function, _)) => (function, dispatch.permits.add_unit(function, handler)),
        None => dispatch.permits.add_function(handler),
    }
}

/// Functions that the chain has gone through of what a handler begets; `parent` is the request that it runs on.
pub(crate) fn hops_after(dispatch: &Dispatch, parent: Option<u128>) -> u32 {
    parent.and_then(|request| dispatch.hops_running.get(&request)).map_or(0, |hops| hops + 1)
}

/// What goes along with whatever this origin sets off.
pub(crate) fn carried<'a>(dispatch: &Dispatch, origin: Origin<'a>) -> Carried<'a> {
    Carried { hops: hops_after(dispatch, origin.parent), trace: origin.trace }
}

pub(crate) fn no_function(dispatch: &Dispatch, function: &str) -> EngineError {
    let known = declared_are(dispatch.function_names.keys().filter(|name| !name.contains(':')).map(String::as_str));
    EngineError::NotFound(format!("there is no function {function:?}: {known}"))
}
