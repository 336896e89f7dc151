//! Destinations that are part of this store: what they are told is written in the commit of what it is about.

use std::sync::Arc;

use super::record::Ended;
use crate::error::EngineError;
use crate::state::State;

/// Begins the name of a destination that is a function of this store.
const FUNCTION: &str = "function:";

/// A destination, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A function of this store, which is given an asynchronous event.
    Function(&'a str),
    /// Something that a process has registered, and that has to be called.
    Registered,
}

impl<'a> Target<'a> {
    pub(crate) fn of(name: &'a str) -> Self {
        name.strip_prefix(FUNCTION).map_or(Self::Registered, Self::Function)
    }

    pub(crate) fn is_here(self) -> bool {
        self != Self::Registered
    }
}

impl State {
    /// Tell a destination of this store; what it is told joins the pending commit.
    pub(crate) fn tell(&mut self, target: Target<'_>, text: String, ended: &Ended) -> Result<(), EngineError> {
        match target {
            Target::Function(name) => {
                let queue = self.event_queue(name)?;
                let payload: Arc<[u8]> = text.into_bytes().into();
                let request = self.chance.uuid();
                let event = self.new_event(request, ended.hops + 1, payload);
                self.bear_event(queue, event);
                Ok(())
            }
            Target::Registered => Err(EngineError::NotFound("the destination is not part of this store".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_a_destination_is() {
        assert_eq!(Target::of("function:f"), Target::Function("f"));
        assert_eq!(Target::of("on_failure:stream/f"), Target::Registered);
        assert!(!Target::of("on_success:f").is_here());
    }
}
