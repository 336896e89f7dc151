//! `environments.list`

use crate::api::function::EnvironmentCounts;
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::environments::EnvironmentRoom;

impl EnvironmentRoom<'_> {
    pub(crate) fn environments_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let rows = self.environments.by_handler.iter().map(|(&handler, pool)| {
            let counts = pool.machine.counts();
            EnvironmentCounts {
                function: self.dispatch.functions[handler].qualified(),
                starting: counts.starting,
                idle: counts.idle,
                busy: counts.busy,
                ending: counts.ending,
            }
        });
        Ok(Done::at_once(rows.collect::<Vec<_>>()))
    }
}
