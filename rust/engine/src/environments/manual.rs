//! What a manual clock must know of processes, which have no other clock than the machine's.

use crate::base::ids::uuid_text;
use crate::dispatch::attempts::{HandlerId, Token};
use crate::environments::EnvironmentRoom;
use crate::environments::Pools;

impl EnvironmentRoom<'_> {
    /// What runs in environments, and which of them start or end: function and request id, empty for those.
    pub(crate) fn environments_at_work(&mut self) -> Vec<(String, String)> {
        let at_work: Vec<_> = self.environments.at_work().collect();
        let request_of =
            |state: &mut Self, token| state.dispatch.attempts.get_mut(token).map(|attempt| uuid_text(attempt.request));
        let shown = |(handler, token): (HandlerId, Option<Token>)| {
            let request = token.and_then(|token| request_of(self, token)).unwrap_or_default();
            (self.dispatch.functions[handler].qualified(), request)
        };
        at_work.into_iter().map(shown).collect()
    }
}

impl Pools {
    /// What a manual clock must wait for: attempts in environments, and environments that start or end; function and token.
    fn at_work(&self) -> impl Iterator<Item = (HandlerId, Option<Token>)> + '_ {
        self.by_handler.iter().flat_map(|(&handler, pool)| {
            let counts = pool.machine.counts();
            let moving = (counts.starting + counts.ending > 0).then_some((handler, None));
            pool.working.keys().map(move |&token| (handler, Some(token))).chain(moving)
        })
    }
}
