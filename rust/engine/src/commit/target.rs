//! Destinations by their names.

/// Begins the name of a destination that is a function of this store, a queue, or a topic.
const FUNCTION: &str = "function:";
const QUEUE: &str = "queue:";
const TOPIC: &str = "topic:";

/// A destination, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A function of this store, which is given an asynchronous event.
    Function(&'a str),
    /// A standard queue of this store, which is sent a message.
    Queue(&'a str),
    /// A topic of this store, to which it is published.
    Topic(&'a str),
    /// Something that a process has registered, and that has to be called.
    Registered,
}

impl<'a> Target<'a> {
    pub(crate) fn of(name: &'a str) -> Self {
        let named = |prefix| name.strip_prefix(prefix);
        let function = named(FUNCTION).map(Self::Function);
        function
            .or_else(|| named(QUEUE).map(Self::Queue))
            .or_else(|| named(TOPIC).map(Self::Topic))
            .unwrap_or(Self::Registered)
    }

    pub(crate) fn is_here(self) -> bool {
        self != Self::Registered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_a_destination_is() {
        assert_eq!(Target::of("function:f"), Target::Function("f"));
        assert_eq!(Target::of("queue:q"), Target::Queue("q"));
        assert_eq!(Target::of("topic:t"), Target::Topic("t"));
        assert_eq!(Target::of("on_failure:stream/f"), Target::Registered);
        assert!(!Target::of("on_success:f").is_here());
    }
}
