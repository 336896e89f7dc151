//! Publications: each is, by one commit, wherever its subscriptions let it go, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use super::log::Fate;
use super::{Gift, Ledger, Promise};
use crate::topics::Endpoint;
use crate::topics::Matter;
use crate::topics::Subscription;
use crate::topics::BUS;

/// What is known of all topics.
#[derive(Debug, Default)]
pub(super) struct Topics {
    subscriptions: BTreeMap<String, Vec<Subscription>>,
    published: Vec<Published>,
    pub(super) unanswered: usize,
    /// Copies that the commit at hand brings: of which publication, and to whom.
    copies: Vec<(u32, Endpoint)>,
}

/// A publication of somebody's.
#[derive(Debug)]
struct Published {
    fate: Fate,
    /// It was put on an event bus.
    is_on_bus: bool,
    /// Who must have a copy, in order.
    due: Vec<Endpoint>,
    /// A commit has brought its copies.
    is_there: bool,
}

impl Topics {
    /// Publications that event buses have accepted.
    pub(super) fn acknowledged_on_buses(&self) -> BTreeSet<u32> {
        let accepted = |one: &Published| one.is_on_bus && one.fate == Fate::Acknowledged;
        let published = self.published.iter().enumerate();
        published.filter(|(_, one)| accepted(one)).map(|(name, _)| name as u32).collect()
    }
}

/// Which publication a text is a copy of: a message's body, with the envelope or raw, or a function's event.
pub fn publication_of(text: &str) -> Option<u32> {
    let on_a_bus = || {
        let (_, rest) = text.split_once(r#""detail":{"p":"#).filter(|_| text.starts_with(r#"{"version":"0""#))?;
        Gift::of(text).is_none().then_some(rest)
    };
    let rest = text.strip_prefix(r#"{"p":"#).or_else(on_a_bus).or_else(|| {
        let is_copy =
            text.starts_with(r#"{"Type":"Notification""#) || text.starts_with(r#"{"Records":[{"EventSource""#);
        let (_, rest) = text.split_once(r#""Message":"{\"p\":"#).filter(|_| is_copy)?;
        Some(rest)
    })?;
    rest.split_once(',')?.0.parse().ok()
}

impl Ledger {
    /// Something is about to be subscribed, otherwise than before, or no more.
    pub fn subscribes(&mut self, topic: &str, subscription: &Subscription) {
        self.tell(|| format!("subscribes {subscription:?} to {topic}"));
        let known = self.topics.subscriptions.entry(topic.to_owned()).or_default();
        known.retain(|other| other.endpoint != subscription.endpoint);
        known.push(subscription.clone());
    }

    /// Something is about to be published; gives its name.
    pub fn publishes(&mut self, topic: &str, matter: Matter) -> u32 {
        let topics = &mut self.topics;
        let subscriptions = topics.subscriptions.get(topic).into_iter().flatten();
        let takers = subscriptions.filter(|one| one.takes(matter)).map(|one| one.endpoint.clone());
        let mut due: Vec<Endpoint> = takers.collect();
        due.sort_unstable();
        topics.unanswered += 1;
        let is_on_bus = topic == BUS;
        topics.published.push(Published { fate: Fate::Waiting, is_on_bus, due, is_there: false });
        topics.published.len() as u32 - 1
    }

    /// A publication was accepted; `Err`: it was not, or (`true`) nobody knows.
    pub fn published(&mut self, name: u32, answer: Result<(), bool>) {
        let one = &mut self.topics.published[name as usize];
        if !matches!(one.fate, Fate::Waiting | Fate::Unknown) {
            return self.broken(Promise::DurableAck, format!("publication {name} was answered twice"));
        }
        self.topics.unanswered -= usize::from(one.fate == Fate::Waiting);
        one.fate = match answer {
            Ok(()) => Fate::Acknowledged,
            Err(true) => Fate::Unknown,
            Err(false) => Fate::Refused,
        };
        let (is_there, due) = (one.is_there, one.due.len());
        match one.fate {
            Fate::Acknowledged => {
                self.counts.published += 1;
                if due > 0 && !is_there {
                    let story = format!("publication {name} was acknowledged before any of its {due} copies was there");
                    self.broken(Promise::DurableAck, story);
                }
            }
            Fate::Refused if is_there => {
                self.broken(Promise::DurableAck, format!("publication {name} was refused and is in the store"));
            }
            _ => {}
        }
    }

    /// The store holds a new copy.
    pub(super) fn copied(&mut self, publication: u32, endpoint: Endpoint) {
        self.topics.copies.push((publication, endpoint));
    }

    /// A commit has gone through, or was found after a crash: it holds all copies of a publication, or none.
    pub(super) fn topics_committed(&mut self) {
        let mut copies = std::mem::take(&mut self.topics.copies);
        copies.sort_unstable();
        for of_one in copies.chunk_by(|(one, _), (other, _)| one == other) {
            let name = of_one[0].0;
            let found = || of_one.iter().map(|(_, endpoint)| endpoint);
            let Some(one) = self.topics.published.get_mut(name as usize) else {
                return self.broken(Promise::Topics, format!("there are copies of {name}, which nobody published"));
            };
            let was_there = std::mem::replace(&mut one.is_there, true);
            if was_there || one.fate == Fate::Refused || !found().eq(&one.due) {
                let found: Vec<&Endpoint> = found().collect();
                let story = format!("publication {name} goes to {found:?}: {one:?}, was there {was_there}");
                return self.broken(Promise::Topics, story);
            }
        }
    }

    /// Whoever waited for an answer when the process died never has one.
    pub(super) fn topics_crashed(&mut self) {
        self.topics.unanswered = 0;
        for one in self.topics.published.iter_mut().filter(|one| one.fate == Fate::Waiting) {
            one.fate = Fate::Unknown;
        }
        self.topics_committed();
    }
}

#[cfg(test)]
mod tests {
    use super::publication_of;

    #[test]
    fn a_copy_is_known_raw_in_an_envelope_and_in_an_event_but_not_inside_of_what_tells_of_one() {
        let copies = [
            r#"{"version":"0","id":"x","source":"simulator","detail":{"p":12,"kind":"k1"}}"#,
            r#"{"p":12,"kind":"k1"}"#,
            r#"{"Type":"Notification","MessageId":"x","Message":"{\"p\":12,\"kind\":\"k1\"}"}"#,
            r#"{"Records":[{"EventSource":"aws:sns","Sns":{"Message":"{\"p\":12,\"kind\":\"k1\"}"}}]}"#,
        ];
        for copy in copies {
            assert_eq!(publication_of(copy), Some(12), "{copy}");
        }
        let record = r#"{"Type":"Notification","Message":"{\"requestPayload\":{\"Message\":\"{\\\"p\\\":12,\"}}"}"#;
        for other in [record, r#"{"n":12}"#, "m12:", ""] {
            assert_eq!(publication_of(other), None, "{other}");
        }
    }
}
