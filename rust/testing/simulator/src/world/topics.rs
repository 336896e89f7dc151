//! Publishers to topics and to event buses, and who subscribes to what.

use super::queues::{bytes_of, outcome};
use super::{Event, World, NS_PER_US};
use crate::plan::Fault;
use crate::plan::Sabotage;
use crate::topics::Matter;
use crate::topics::NOTICES;
use crate::watched::open;
use forebay_engine::base::error::{Answer, Reply, Waiter};

/// Most filling bytes of a publication.
const FILLING: u64 = 60;

impl World {
    /// Declare the topics, and what is subscribed to them.
    pub(super) fn declare_topics(&mut self) {
        for topic in 0..self.shape.topics.len() {
            for (verb, body) in self.shape.topics[topic].declared_by() {
                self.ask(verb, &body);
            }
            for at in 0..self.shape.topics[topic].subscriptions.len() {
                self.subscribe(topic, at);
            }
        }
        self.declare_archive();
    }

    /// Let a subscription be what the plan says it is.
    fn subscribe(&mut self, topic: usize, at: usize) {
        let plan = &self.shape.topics[topic];
        let subscription = &plan.subscriptions[at];
        open(&self.ledger).subscribes(&plan.name, subscription);
        if self.plan.sabotage == Some(Sabotage::LostCopy) && at == 0 && plan.name != NOTICES {
            return;
        }
        let is_needed = plan.is_bus || subscription.is_on;
        let (verb, body) = plan.subscribed_by(at, self.plan.sabotage == Some(Sabotage::LeakyFilter));
        if is_needed {
            self.ask(verb, &body);
        } else {
            self.request(verb, &body);
        }
    }

    /// Somebody subscribes otherwise.
    pub(super) fn change_topic(&mut self) {
        self.strikes(Fault::Settings);
        let topic = self.chance.acts.below(self.shape.topics.len() as u64) as usize;
        if let Some(at) = self.shape.topics[topic].change(&mut self.chance.acts) {
            self.subscribe(topic, at);
        }
    }

    /// Somebody publishes something.
    pub(super) fn publish(&mut self, topic: usize) {
        let Some(plan) = self.shape.topics.get(topic).filter(|_| !self.peace) else { return };
        let Some(pause_us) = plan.pause_us else { return };
        let chance = &mut self.chance.topics;
        let pause_ns = chance.below(2 * pause_us + 1) * NS_PER_US;
        let (matter, filling) = (Matter::draw(chance), chance.below(FILLING) as usize);
        self.after(self.calm(pause_ns), Event::Publish { topic });
        let Some(engine) = &self.engine else { return };
        let plan = &self.shape.topics[topic];
        let name = open(&self.ledger).publishes(&plan.name, matter);
        let shared = self.ledger.clone();
        let told = Box::new(move |answer: Answer| open(&shared).published(name, accepted(answer)));
        let (verb, body) = plan.published_by(matter, name, filling);
        engine.request(verb, &bytes_of(&body), Waiter::Call(told));
    }
}

/// Whether a publication was accepted: an event may be refused alone.
fn accepted(answer: Answer) -> Result<(), bool> {
    let is_refused = matches!(&answer, Ok(Reply::Added(body)) if String::from_utf8_lossy(body).contains("error_code"));
    if is_refused {
        return Err(false);
    }
    outcome(answer).map(drop)
}
