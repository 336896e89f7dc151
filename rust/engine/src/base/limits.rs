//! What an account and its functions are limited to, as it is declared and kept.

use crate::base::error::EngineError;
use forebay_core::concurrency::{Account, AccountLimits, Limits, Scaling, Scope};
use forebay_core::token_bucket::Rate;
use serde::{Deserialize, Serialize};

/// Most bytes of an answer that lists things, about; what does not fit comes with the next call.
pub(crate) const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Most attempts that may run at once; the attempts file has as many slots.
pub(crate) const CONCURRENCY_MAX: u32 = 60_000;

/// How fast concurrency may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ScalingSettings {
    /// For all functions together, not for each.
    per_account: bool,
    /// Permits at once.
    burst: u64,
    /// And then so many a minute.
    per_minute: u64,
}

/// What holds for an account.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct AccountSettings {
    /// Most attempts that run at once.
    pub concurrency: u32,
    /// So many of them cannot be set aside.
    pub unreserved_minimum: u32,
    /// How fast they come into use.
    pub scaling: ScalingSettings,
    /// Synchronous invocations a second.
    pub requests_per_second: Option<f64>,
}

impl Default for AccountSettings {
    /// As AWS has it: <https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html>.
    fn default() -> Self {
        let scaling = ScalingSettings { per_account: false, burst: 1_000, per_minute: 6_000 };
        Self { concurrency: 1_000, unreserved_minimum: 100, scaling, requests_per_second: None }
    }
}

impl AccountSettings {
    /// AWS's settings with so many permits.
    pub fn of(concurrency: u32) -> Self {
        Self { concurrency, ..Self::default() }
    }

    pub(crate) fn check(&self) -> Result<AccountLimits, EngineError> {
        let refused = |text: String| Err(EngineError::Invalid(text));
        if !(1..=CONCURRENCY_MAX).contains(&self.concurrency) {
            return refused(format!("concurrency={}: allowed are 1 to {CONCURRENCY_MAX}", self.concurrency));
        }
        let ScalingSettings { per_account, burst, per_minute } = self.scaling;
        let scope = if per_account { Scope::Account } else { Scope::Function };
        let Some(scaling) = Scaling::new(scope, burst, per_minute) else {
            return refused(format!("scaling: burst={burst}, per_minute={per_minute}: both must be at least 1"));
        };
        let account = Account { concurrency: self.concurrency, unreserved_minimum: self.unreserved_minimum };
        let requests = rate("requests_per_second", self.requests_per_second)?;
        Ok(AccountLimits { account, scaling, requests })
    }
}

/// What holds for a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FunctionLimits {
    /// Floor and ceiling of what runs at once; 0 switches it off.
    #[serde(default)]
    pub reserved_concurrency: Option<u32>,
    /// Permits that are its own and need no growth; with processes, so many are ready ahead of need.
    #[serde(default)]
    pub provisioned_concurrency: u32,
    /// Starts a second.
    #[serde(default)]
    pub rate_limit: Option<f64>,
}

impl FunctionLimits {
    /// Refuse for one version what holds for all of them.
    pub(crate) fn check_of_version(&self) -> Result<(), EngineError> {
        let given =
            [("reserved_concurrency", self.reserved_concurrency.is_some()), ("rate_limit", self.rate_limit.is_some())];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => {
                Err(EngineError::Invalid(format!("{name}: it is the function's, over all its versions")))
            }
            None => Ok(()),
        }
    }

    /// What the pool is told of it.
    pub(crate) fn held(&self) -> Result<Limits, EngineError> {
        Ok(Limits { reserved: self.reserved_concurrency, rate: rate("rate_limit", self.rate_limit)? })
    }
}

fn rate(name: &str, per_second: Option<f64>) -> Result<Option<Rate>, EngineError> {
    let Some(per_second) = per_second else { return Ok(None) };
    let refused = || EngineError::Invalid(format!("{name}={per_second}: allowed are 1e-9 to 1e9 a second"));
    Rate::per_second(per_second).map(Some).ok_or_else(refused)
}
