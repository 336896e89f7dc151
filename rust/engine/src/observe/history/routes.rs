//! What lately became of events on buses: which target was given which message, event or record.

use std::sync::Arc;

use serde_json::{json, Value};

use crate::base::ids::uuid_text;
use crate::observe::history::ring::{Numbers, Ring};

/// An event that was accepted on a bus, or handed on to it by another.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) at_ms: u64,
    pub(crate) id: u128,
    pub(crate) bus: Arc<str>,
    /// Each target that it matched a rule of, as `rule/target`, and what became of it there.
    pub(crate) fates: Vec<(Arc<str>, Fate)>,
}

/// What an event became for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A message, an event of a function or a publication, with this id.
    Became(u128),
    /// A record with this sequence number.
    Put(u64),
    /// It was put on this bus.
    HandedOn(String),
    /// It waits to be sent to an API destination.
    Waits,
    /// It has it, though not at first: an API destination confirmed it, or a target in this store took a later try.
    Sent,
    /// The target did not take it, for this reason.
    NotTaken(String),
    /// The target took it neither at first nor later, for this reason, and is tried no more.
    GivenUp(String),
}

impl Numbers for Routed {
    fn numbers(&self) -> usize {
        1 + self.fates.len()
    }

    fn at_ms(&self) -> u64 {
        self.at_ms
    }
}

/// The newest of them.
#[derive(Debug, Default)]
pub(crate) struct Routes(Ring<Routed>);

impl Routes {
    pub(crate) fn note(&mut self, routed: Routed) {
        self.0.push(routed);
    }

    /// What is remembered of an id: of an event, over all buses that it was on, or of what it became.
    pub(crate) fn of(&self, id: u128) -> Vec<Value> {
        let mut facts = Vec::new();
        for routed in &self.0.facts {
            let mut became = routed.fates.iter().filter(|(_, fate)| *fate == Fate::Became(id));
            if routed.id == id {
                // What became of it later is noted by itself.
                if !matches!(&routed.fates[..], [(_, Fate::Sent | Fate::GivenUp(_))]) {
                    facts.push(json!({"at_ms": routed.at_ms, "what": "put on bus", "bus": &*routed.bus}));
                }
                facts.extend(routed.fates.iter().map(|(target, fate)| fate.shown(routed, target)));
            } else if let Some((target, _)) = became.next() {
                facts.push(json!({
                    "at_ms": routed.at_ms, "what": "routed", "bus": &*routed.bus, "target": &**target,
                    "event": uuid_text(routed.id),
                }));
            }
        }
        facts
    }
}

impl Fate {
    /// Whether the target has it; `None`: it has yet to be sent.
    pub(crate) fn is_taken(&self) -> Option<bool> {
        (*self != Self::Waits).then_some(!matches!(self, Self::NotTaken(_) | Self::GivenUp(_)))
    }

    fn shown(&self, routed: &Routed, target: &str) -> Value {
        let mut fact = json!({"at_ms": routed.at_ms, "what": "routed", "bus": &*routed.bus, "target": target});
        match self {
            Self::Became(id) => fact["id"] = uuid_text(*id).into(),
            Self::Put(number) => fact["sequence_number"] = number.to_string().into(),
            Self::HandedOn(bus) => fact["to_bus"] = bus.as_str().into(),
            Self::Waits => fact["what"] = "waits to be sent".into(),
            Self::Sent => fact["what"] = "sent".into(),
            Self::NotTaken(why) => {
                fact["what"] = "not delivered".into();
                fact["error"] = why.as_str().into();
            }
            Self::GivenUp(why) => {
                fact["what"] = "tried no more".into();
                fact["error"] = why.as_str().into();
            }
        }
        fact
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_found_by_its_id_and_by_that_of_what_it_became() {
        let mut routes = Routes::default();
        let fates = vec![
            ("r/1".into(), Fate::Became(11)),
            ("r/2".into(), Fate::Put(7)),
            ("s/1".into(), Fate::NotTaken("gone".into())),
        ];
        routes.note(Routed { at_ms: 5, id: 1, bus: "b".into(), fates });
        let whats: Vec<String> = routes.of(1).iter().map(|fact| fact["what"].to_string()).collect();
        assert_eq!(whats, ["\"put on bus\"", "\"routed\"", "\"routed\"", "\"not delivered\""]);
        let [fact] = &routes.of(11)[..] else { panic!("one fact") };
        assert_eq!((&fact["target"], &fact["event"]), (&json!("r/1"), &json!(uuid_text(1))));
        assert!(routes.of(3).is_empty());
    }
}
