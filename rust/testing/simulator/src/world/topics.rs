//! Publishers, and who subscribes to what.

use forebay_engine::base::error::{Answer, Waiter};
use serde_json::json;

use super::queues::{bytes_of, outcome};
use super::{Event, World, NS_PER_US};
use crate::plan::Fault;
use crate::plan::Sabotage;
use crate::topics::Matter;
use crate::topics::NOTICES;
use crate::watched::open;

/// Most filling bytes of a publication.
const FILLING: u64 = 60;

impl World {
    /// Declare the topics, and what is subscribed to them.
    pub(super) fn declare_topics(&mut self) {
        for topic in 0..self.shape.topics.len() {
            let body = json!({ "name": self.shape.topics[topic].name });
            self.ask("topic.declare", &body);
            for at in 0..self.shape.topics[topic].subscriptions.len() {
                self.subscribe(topic, at);
            }
        }
    }

    /// Let a subscription be what the plan says it is.
    fn subscribe(&mut self, topic: usize, at: usize) {
        let plan = &self.shape.topics[topic];
        let subscription = &plan.subscriptions[at];
        open(&self.ledger).subscribes(&plan.name, subscription);
        if self.plan.sabotage == Some(Sabotage::LostCopy) && at == 0 && plan.name != NOTICES {
            return;
        }
        if subscription.is_on {
            let leaks = self.plan.sabotage == Some(Sabotage::LeakyFilter);
            let body = subscription.to_json(&plan.name, leaks);
            self.ask("topic.subscribe", &body);
        } else {
            let body = subscription.endpoint.to_json(&plan.name);
            self.request("topic.unsubscribe", &body);
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
        let told = Box::new(move |answer: Answer| open(&shared).published(name, outcome(answer).map(drop)));
        let body = matter.to_json(&plan.name, name, filling);
        engine.request("topic.publish", &bytes_of(&body), Waiter::Call(told));
    }
}
