//! Callers of asynchronous functions, and what an operator does to those.

use forebay_engine::base::error::{Answer, Reply, Waiter};
use forebay_engine::base::ids::parse_uuid;
use forebay_engine::base::trace::Origin;
use serde_json::json;

use super::queues::{bytes_of, outcome};
use super::{Event, World, NS_PER_US};
use crate::events::{EventSettings, Wish};
use crate::plan::Fault;
use crate::watched::open;

impl World {
    /// Somebody invokes a function asynchronously.
    pub(super) fn invoke(&mut self, callee: usize) {
        let Some(plan) = self.shape.callees.get(callee).filter(|_| !self.peace) else { return };
        let pause_ns = self.chance.calls.below(2 * plan.pause_us + 1) * NS_PER_US;
        let filling = ".".repeat(self.chance.calls.below(60) as usize);
        self.after(self.calm(pause_ns), Event::Invoke { callee });
        let Some(engine) = &self.engine else { return };
        let function = &self.shape.callees[callee].handler.name;
        let wish = Wish::draw(&mut self.chance.options, function);
        let options = wish.to_json();
        let name = open(&self.ledger).invokes(wish);
        let shared = self.ledger.clone();
        let told = Box::new(move |answer: Answer| {
            let answer = outcome(answer).map(|reply| match reply {
                Reply::Request(request) => request,
                Reply::Added(id) => serde_json::from_slice(&id).ok().and_then(|id: &str| parse_uuid(id)).unwrap_or(0),
                Reply::Json(_)
                | Reply::Executed { .. }
                | Reply::Numbers(_)
                | Reply::Assignments(_)
                | Reply::Typed(_) => 0,
            });
            open(&shared).invoked(name, answer);
        });
        let payload = json!({"n": name, "filling": filling});
        let Some(mut asked) = options else {
            return engine.invoke_async(function, &bytes_of(&payload), Origin::default(), Waiter::Call(told));
        };
        (asked["function"], asked["payload"]) = (function.as_str().into(), payload);
        engine.request("events.invoke", &bytes_of(&asked), Waiter::Call(told));
    }

    /// A new version of the app invokes a function otherwise.
    pub(super) fn change_callee(&mut self) {
        self.strikes(Fault::Settings);
        let callee = self.chance.acts.below(self.shape.callees.len() as u64) as usize;
        let settings = EventSettings::draw(&mut self.chance.acts, &self.shape.targets);
        self.shape.callees[callee].settings = settings;
        self.register();
    }

    /// An operator has events that failed run again.
    pub(super) fn redrive_events(&mut self) {
        self.strikes(Fault::Redrive);
        let callee = self.chance.acts.below(self.shape.callees.len() as u64) as usize;
        open(&self.ledger).redrives_events();
        let function = self.shape.callees[callee].handler.name.clone();
        self.request("failed.redrive", &json!({"function": function, "rate": null}));
    }
}
