//! Functions and what they are limited to.

use serde_json::{json, Map, Value};

use super::{changed, Done};
use crate::attempts::Slot;
use crate::environments::memory_kept_by;
use crate::error::EngineError;
use crate::state::State;

impl State {
    pub(super) fn functions_list(&self) -> Done {
        Done::at_once(self.function_names.values().map(|&slot| self.describe_function(slot)).collect())
    }

    fn describe_function(&self, slot: Slot) -> Value {
        let function = &self.functions[slot];
        let (_, ready, _) = function.place.map_or((0, 0, 0), |(_, unit)| self.places.pool.provisioned(unit));
        json!({
            "name": function.name, "isolation": function.isolation,
            "wants": if function.as_event { "event" } else { "batch" },
            "timeout_ms": function.timeout_ns / 1_000_000,
            "reserved_concurrency": function.limits.reserved_concurrency,
            "provisioned_concurrency": function.limits.provisioned_concurrency, "provisioned_ready": ready,
            "rate_limit": function.limits.rate_limit,
            "in_flight": function.meters.in_flight.get(), "past_deadline": function.meters.zombies.get(),
        })
    }

    pub(super) fn function_update(&mut self, mut changes: Map<String, Value>) -> Result<Done, EngineError> {
        let name = changes.remove("name").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        let slot = self.function_names.get(&name).copied().ok_or_else(|| self.no_function(&name))?;
        if let Some(given) = changes.get("provisioned_concurrency") {
            self.check_provisioned(slot, given)?;
        }
        self.limit_function(slot, changed(&self.functions[slot].limits, changes, "a function", &[])?)?;
        Ok(Done::at_once(self.describe_function(slot)))
    }

    pub(super) fn account_update(&mut self, changes: Map<String, Value>) -> Result<Done, EngineError> {
        self.limit_account(changed(&self.config.limits, changes, "an app", &[])?)?;
        Ok(Done::at_once(self.describe_account()))
    }

    pub(super) fn describe_account(&self) -> Value {
        let mut account = serde_json::to_value(self.config.limits).unwrap_or_default();
        let used = self.places.pool.in_use();
        account["in_use"] = used.running.into();
        account["unreserved_in_use"] = used.unreserved.into();
        account["claimed"] = used.claimed.into();
        account["memory_limits"] = memory_kept_by();
        account
    }
}
