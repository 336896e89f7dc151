//! What lately became of publications: which subscription was given which message or event, and which filtered it out.

use std::sync::Arc;

use serde_json::{json, Value};

use crate::base::ids::uuid_text;
use crate::observe::history::ring::{Numbers, Ring};
use crate::payload::endpoint::Endpoint;

/// A publication that was accepted.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) at_ms: u64,
    pub(crate) id: u128,
    pub(crate) topic: Arc<str>,
    /// What was subscribed then.
    pub(crate) endpoints: Arc<[Endpoint]>,
    /// What became of it there, one by one.
    pub(crate) fates: Box<[Fate]>,
}

/// What a publication became for one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A message or an event with this id.
    Became(u128),
    FilteredOut,
    /// The chain that it belongs to was stopped.
    Stopped,
}

impl Numbers for Published {
    fn numbers(&self) -> usize {
        self.fates.len()
    }

    fn at_ms(&self) -> u64 {
        self.at_ms
    }
}

/// The newest publications.
#[derive(Debug, Default)]
pub(crate) struct Publications(Ring<Published>);

impl Publications {
    pub(crate) fn note(&mut self, published: Published) {
        self.0.push(published);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.facts.len()
    }

    /// What is remembered of an id, of a publication or of one of its copies.
    pub(crate) fn of(&self, id: u128) -> Vec<Value> {
        let mut facts = Vec::new();
        for published in self.0.facts.iter().rev() {
            if published.id == id {
                facts.push(published.shown());
                facts.extend(published.copies());
            } else if published.fates.contains(&Fate::Became(id)) {
                let mut fact = published.shown();
                fact["publication"] = uuid_text(published.id).into();
                facts.push(fact);
            } else {
                continue;
            }
            // Whatever id it is, there is one of it.
            break;
        }
        facts
    }
}

impl Published {
    fn shown(&self) -> Value {
        json!({"at_ms": self.at_ms, "what": "published", "topic": &*self.topic})
    }

    fn copies(&self) -> impl Iterator<Item = Value> + '_ {
        self.endpoints.iter().zip(&self.fates).map(|(endpoint, fate)| {
            let (kind, name) = match endpoint {
                Endpoint::Queue(name) => ("queue", name),
                Endpoint::Function(name) => ("function", name),
            };
            let mut fact = json!({"at_ms": self.at_ms, "what": "told"});
            fact[kind] = name.as_str().into();
            match fate {
                Fate::Became(id) => fact["id"] = uuid_text(*id).into(),
                Fate::FilteredOut => fact["what"] = "filtered out".into(),
                Fate::Stopped => fact["what"] = "stopped".into(),
            }
            fact
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(id: u128, fates: &[Fate]) -> Published {
        let endpoints = [Endpoint::Queue("q".into()), Endpoint::Queue("r".into()), Endpoint::Function("f".into())];
        Published { at_ms: 5, id, topic: "t".into(), endpoints: endpoints.into(), fates: fates.into() }
    }

    #[test]
    fn a_publication_is_found_by_its_id_and_by_that_of_each_copy() {
        let mut publications = Publications::default();
        publications.note(published(1, &[Fate::Became(11), Fate::FilteredOut, Fate::Stopped]));
        publications.note(published(2, &[Fate::Became(21), Fate::Became(22), Fate::Became(23)]));
        let whats: Vec<String> = publications.of(1).iter().map(|fact| fact["what"].to_string()).collect();
        assert_eq!(whats, ["\"published\"", "\"told\"", "\"filtered out\"", "\"stopped\""]);
        let [fact] = &publications.of(23)[..] else { panic!("one fact") };
        assert_eq!((&fact["topic"], &fact["publication"]), (&json!("t"), &json!(uuid_text(2))));
        assert!(publications.of(3).is_empty());
    }
}
