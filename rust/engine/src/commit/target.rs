//! Destinations by their names.

/// Begins the name of a destination that is a function of this store, a queue, or a topic.
const FUNCTION: &str = "function:";
const QUEUE: &str = "queue:";
const TOPIC: &str = "topic:";
/// Begins the name of a target of a bus's rule alone.
const STREAM: &str = "stream:";
const BUS: &str = "bus:";
const WORKFLOW: &str = "workflow:";

/// A destination, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A function of this store, which is given an asynchronous event.
    Function(&'a str),
    /// A standard queue of this store, which is sent a message.
    Queue(&'a str),
    /// A topic of this store, to which it is published.
    Topic(&'a str),
    /// A stream of this store, into which a record is put.
    Stream(&'a str),
    /// A bus of this store, on which an event is put.
    Bus(&'a str),
    /// A workflow of this store, of which an execution is started.
    Workflow(&'a str),
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
            .or_else(|| named(STREAM).map(Self::Stream))
            .or_else(|| named(BUS).map(Self::Bus))
            .or_else(|| named(WORKFLOW).map(Self::Workflow))
            .unwrap_or(Self::Registered)
    }

    pub(crate) fn is_here(self) -> bool {
        self != Self::Registered
    }

    /// Whether only rules of buses and schedules have such a target.
    pub(crate) fn is_of_buses(self) -> bool {
        matches!(self, Self::Stream(_) | Self::Bus(_) | Self::Workflow(_))
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
        assert_eq!(Target::of("workflow:w"), Target::Workflow("w"));
        assert!(Target::of("stream:s").is_of_buses() && Target::of("bus:b").is_of_buses());
        assert_eq!(Target::of("on_failure:stream/f"), Target::Registered);
        assert!(!Target::of("on_success:f").is_here());
    }
}
