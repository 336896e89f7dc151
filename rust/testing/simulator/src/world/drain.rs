//! The end of a run: the faults are over, and everything must drain.

use super::{World, NS_PER_MS};
use crate::ledger::Ending;
use crate::ledger::Promise;
use crate::watched::open;

/// Within this virtual time everything must have drained: longer than any wait of a delivery or a retry, and than a message can be held,
/// which is how long it is held at most when the clock is set back while somebody has it and the process dies.
const DRAINED_WITHIN_NS: u64 = 13 * 3_600_000 * NS_PER_MS;
/// How long a drained app is watched for something that it should not do.
const WATCHED_NS: u64 = 100 * NS_PER_MS;

impl World {
    /// Let everything come to its end, stop, start again, and see that nothing comes back.
    pub(super) fn drain(&mut self) {
        if !self.is_well() {
            return;
        }
        self.peace = true;
        self.dead_until_ns = 0;
        self.mend();
        self.start();
        self.paused.fill(false);
        for function in 0..self.shape.functions.len() {
            self.resume(function);
        }
        for queue in 0..self.shape.queues.len() {
            self.resume_worker(queue);
            // A slow redrive would go on over the restart.
            let dead = &self.shape.queues[queue].dead;
            self.request("queue.cancel_redrive", &serde_json::json!({ "name": dead }));
        }
        let until_ns = self.time_ns + DRAINED_WITHIN_NS;
        while self.is_well() && !self.is_drained() {
            if self.time_ns > until_ns {
                return self.tell_what_is_left();
            }
            self.step();
        }
        self.watch();
        // A second has just ended, and its metrics wait for company before they are saved.
        if self.is_busy() {
            self.watch();
        }
        // Failures that an operator wants run again run one after the other; between two of them nothing is under way. Messages whose
        // chain was stopped come and go for ever, and the store is busy with them now and then.
        let comes_and_goes = self.redrove.contains(&true) || open(&self.ledger).keeps_stopped();
        while self.is_well() && self.is_busy() && comes_and_goes && self.time_ns <= until_ns {
            self.step();
        }
        if !self.is_well() {
            return;
        }
        open(&self.ledger).check_drained();
        self.check_rest();
        self.crash(Ending::Stop);
        let before = open(&self.ledger).counts;
        self.start();
        self.watch();
        let after = open(&self.ledger).counts;
        // A schedule that is due while it is watched brings forth something new.
        if self.is_well() && after.deliveries > before.deliveries && after.fired == before.fired {
            let again = after.deliveries - before.deliveries;
            let story = format!("{again} records run again after everything was done and the app stopped in order");
            self.broken(Promise::Duplicates, story);
        }
    }

    fn watch(&mut self) {
        let until_ns = self.time_ns + WATCHED_NS;
        while self.is_well() && self.time_ns < until_ns {
            self.after(WATCHED_NS, super::Event::Put { stream: usize::MAX });
            self.step();
        }
    }

    fn is_busy(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| !engine.idle())
    }

    /// Whether nothing is under way and nothing waits, as the ledger sees it.
    fn is_drained(&mut self) -> bool {
        let mut ledger = open(&self.ledger);
        ledger.is_quiet()
            && ledger.unanswered() == 0
            && ledger.is_over()
            && ledger.undelivered() == 0
            && ledger.ungiven().is_none()
    }

    fn tell_what_is_left(&mut self) {
        let left = open(&self.ledger).left();
        let flying = open(&self.ledger).in_flight();
        let undelivered = open(&self.ledger).undelivered();
        let unanswered = open(&self.ledger).unanswered();
        let ungiven = open(&self.ledger).ungiven();
        let described = self.request("lag", &serde_json::json!({}));
        let story = format!(
            "not drained after {} s: left {left:?}, in flight {flying:?}, undelivered {undelivered}, unanswered {unanswered}, \
             ungiven {ungiven:?}, lag {described:?}",
            DRAINED_WITHIN_NS / 1_000_000_000
        );
        self.broken(Promise::Liveness, story);
    }

    /// The engine agrees that nothing is left, and has given everything back.
    fn check_rest(&mut self) {
        let Some(engine) = &self.engine else { return };
        let idle = engine.idle();
        // A suspect of a record that a power cut took stays one until another record takes its place.
        let slots = if self.shape.lossy { Vec::new() } else { engine.in_flight() };
        let lag = self.request("lag", &serde_json::json!({}));
        let behind: u64 = match &lag {
            Some(Ok(list)) => list.as_array().into_iter().flatten().filter_map(|shard| shard["records"].as_u64()).sum(),
            _ => u64::MAX,
        };
        if !idle || !slots.is_empty() || behind > 0 {
            let story = format!(
                "everything is over, but: idle {idle}, slots in use {slots:?}, records behind {behind}: {lag:?}"
            );
            self.broken(Promise::Liveness, story);
        }
    }
}
