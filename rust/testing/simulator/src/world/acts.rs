//! What an operator and fate do now and then.

use forebay_engine::store::fault::{Fault as DiskFault, Repeat};
use serde_json::json;

use super::{Event, World, NS_PER_MS};
use crate::ledger::Ending;
use crate::ledger::SLOWEST_COMMIT_NS;
use crate::plan::Fault;
use crate::plan::PICKED;
use crate::watched::open;

/// What an engine that catches up with a full disk writes between two changes: mostly one commit.
const BETWEEN_CHANGES_NS: u64 = SLOWEST_COMMIT_NS;

impl World {
    /// Something is done, or would have been done were it not left out.
    pub(super) fn act(&mut self) {
        let pause_ns = self.chance.acts.below(2 * self.shape.act_ms + 1) * NS_PER_MS;
        self.after(pause_ns, Event::Act);
        let fault = *self.chance.acts.pick(&PICKED);
        if !self.may(fault) || self.engine.is_none() {
            return;
        }
        let (functions, queues) = (self.shape.functions.len() as u64, self.shape.queues.len() as u64);
        let drawn = self.chance.acts.below((functions + queues).max(1));
        let (function, queue) = (drawn as usize, drawn.checked_sub(functions));
        open(&self.ledger).note(|| format!("act {fault} {function}"));
        // What handlers and records do is not an act, and in a calm nothing is kept from its turn.
        if fault.is_act() && fault != Fault::Calm {
            open(&self.ledger).forget_turns();
        }
        match fault {
            Fault::Kill => {
                self.strikes(fault);
                self.crash(Ending::Kill);
                self.restart_later();
            }
            Fault::Power => {
                self.strikes(fault);
                let ending = self.power_cut();
                self.crash(ending);
                self.restart_later();
            }
            Fault::Stop if !self.store_failed && (!self.full || self.may(Fault::Brim)) => {
                self.strikes(if self.full { Fault::Brim } else { fault });
                self.stop();
                self.restart_later();
            }
            Fault::Full if !self.full => self.fill(),
            Fault::Broken => self.break_disk(),
            Fault::Clock => self.set_clock(),
            Fault::Calm => {
                self.strikes(fault);
                self.calm_until_ns = self.time_ns + self.chance.acts.between(10_000, 400_000) * NS_PER_MS;
            }
            Fault::Settings if !self.shape.topics.is_empty() && self.chance.acts.one_in(3) => self.change_topic(),
            Fault::Settings if !self.shape.callees.is_empty() && self.chance.acts.one_in(2) => self.change_callee(),
            Fault::Redrive if !self.shape.callees.is_empty() && self.chance.acts.one_in(2) => self.redrive_events(),
            Fault::Destination => {
                self.dead_until_ns = self.time_ns + self.chance.acts.below(30_000) * NS_PER_MS;
            }
            _ if queue.is_some_and(|queue| queue < queues) => self.act_on_queue(fault, queue.unwrap_or(0) as usize),
            _ if functions == 0 => {}
            Fault::Reshard => self.reshard(),
            Fault::Settings => self.change_settings(function),
            Fault::Pause => self.pause(function),
            Fault::Seek => self.seek(function),
            Fault::Skip => self.skip(function),
            Fault::Delete => self.delete(function),
            Fault::Redrive => self.redrive(function),
            _ => {}
        }
    }

    fn fill(&mut self) {
        self.strikes(Fault::Full);
        self.full = true;
        open(&self.ledger).disk_is_ill = true;
        self.disk().fail(1, DiskFault::Full, Repeat::Always);
        let lasts_ns = self.chance.acts.below(3_000) * NS_PER_MS;
        self.after(lasts_ns, Event::Mend);
        if self.may(Fault::Brim) {
            self.put_everywhere();
        }
    }

    fn put_everywhere(&mut self) {
        (0..self.shape.streams.len()).for_each(|stream| self.put_now(stream));
    }

    fn break_disk(&mut self) {
        self.strikes(Fault::Broken);
        open(&self.ledger).disk_is_ill = true;
        let nth = self.chance.acts.between(1, 20);
        self.disk().fail(nth, DiskFault::Failed, Repeat::Once);
    }

    /// A fault of the disk is over. A store that has failed needs a new process.
    pub(super) fn mend(&mut self) {
        self.disk().mend();
        let was_full = std::mem::take(&mut self.full);
        if self.engine.is_none() {
            return;
        }
        if self.store_failed {
            self.crash(Ending::Kill);
            self.start();
        } else if was_full && self.may(Fault::Brim) {
            let changes = self.chance.acts.between(2, 4);
            self.after(0, Event::Brim { changes });
        }
    }

    /// While the engine catches up, shards and a function are new, and what is put there waits with them; then it is killed.
    pub(super) fn change_on_the_brim(&mut self, changes: u64) {
        if self.may(Fault::Reshard) && !self.shape.streams.is_empty() {
            self.reshard();
        }
        self.put_everywhere();
        if let Some(callee) = self.asleep.take_if(|_| changes == 1) {
            self.invoke(callee);
        }
        let next = if changes > 1 { Event::Brim { changes: changes - 1 } } else { Event::Fall };
        let delay_ns = self.chance.acts.below(BETWEEN_CHANGES_NS);
        self.after(delay_ns, next);
    }

    pub(super) fn fall(&mut self) {
        self.strikes(Fault::Brim);
        self.crash(Ending::Kill);
        self.restart_later();
    }

    fn set_clock(&mut self) {
        self.strikes(Fault::Clock);
        open(&self.ledger).sets_clock();
        let far_ms = *self.chance.acts.pick(&[1_000_i64, 60_000, 3_600_000, 365 * 86_400_000]);
        // Never for ever forth: what is due in wall time must come.
        self.wall_shift_ms = if self.chance.acts.one_in(2) { far_ms } else { -far_ms };
        self.turn();
    }

    fn reshard(&mut self) {
        self.strikes(Fault::Reshard);
        let stream = self.chance.acts.below(self.shape.streams.len() as u64) as usize;
        let shards = self.chance.acts.between(1, 5);
        self.request("stream.reshard", &json!({"name": self.shape.streams[stream].name, "shards": shards}));
    }

    fn change_settings(&mut self, function: usize) {
        self.strikes(Fault::Settings);
        if self.chance.acts.one_in(3) {
            self.shape.functions[function].handler.timeout_ms = self.chance.acts.between(100, 3_000);
            return self.register();
        }
        let changed = self.shape.functions[function].settings.changed(&mut self.chance.acts);
        self.shape.functions[function].settings = changed;
        let plan = &self.shape.functions[function];
        let (stream, name) = (self.shape.streams[plan.stream].name.clone(), plan.handler.name.clone());
        let mut body = plan.settings.to_json(&stream, &name, "destination");
        open(&self.ledger).configures(&stream, &name, &plan.settings);
        if let Some(body) = body.as_object_mut() {
            body.remove("starting_position");
            body.insert("enabled".into(), (!self.paused[function]).into());
        }
        self.request("mapping.update", &body);
    }

    fn bound(&self, function: usize) -> serde_json::Value {
        let plan = &self.shape.functions[function];
        json!({"stream": self.shape.streams[plan.stream].name, "function": plan.handler.name})
    }

    fn pause(&mut self, function: usize) {
        if std::mem::replace(&mut self.paused[function], true) {
            return;
        }
        self.strikes(Fault::Pause);
        self.request("mapping.pause", &self.bound(function));
        let lasts_ns = self.chance.acts.below(5_000) * NS_PER_MS;
        self.after(lasts_ns, Event::Resume { function });
    }

    pub(super) fn resume(&mut self, function: usize) {
        self.paused[function] = false;
        self.request("mapping.resume", &self.bound(function));
    }

    fn seek(&mut self, function: usize) {
        let Some(engine) = &self.engine else { return };
        if self.redrove[function] || self.store_failed || self.full {
            return;
        }
        self.strikes(Fault::Seek);
        self.sought[function] = true;
        let is_oldest = self.chance.acts.one_in(2);
        let mut body = self.bound(function);
        body["position"] = if is_oldest { "TRIM_HORIZON" } else { "LATEST" }.into();
        let plan = &self.shape.functions[function];
        let stream = &self.shape.streams[plan.stream].name;
        open(&self.ledger).seeks(stream, &plan.handler.name, is_oldest, engine.commit_begun());
        self.request("mapping.seek", &body);
    }

    /// Give up a batch that some lane holds now.
    fn skip(&mut self, function: usize) {
        let bound = self.bound(function);
        let Some(Ok(described)) = self.request("mapping.describe", &bound) else { return };
        let lanes = described["shards"].as_array().into_iter().flatten().filter_map(|shard| shard["lanes"].as_array());
        let stuck: Vec<&serde_json::Value> =
            lanes.flatten().map(|lane| &lane["batch"]).filter(|b| b.is_string()).collect();
        if stuck.is_empty() {
            return;
        }
        self.strikes(Fault::Skip);
        let mut body = bound.clone();
        body["batch"] = (*self.chance.acts.pick(&stuck)).clone();
        let plan = &self.shape.functions[function];
        open(&self.ledger).skips(&self.shape.streams[plan.stream].name, &plan.handler.name);
        self.request("mapping.skip", &body);
    }

    fn delete(&mut self, function: usize) {
        if self.store_failed || self.full {
            return;
        }
        self.strikes(Fault::Delete);
        let plan = &self.shape.functions[function];
        open(&self.ledger).deletes(&self.shape.streams[plan.stream].name, &plan.handler.name);
        // What was not answered may not have happened: the mapping may be there again after a crash, moved as it was.
        if let Some(Ok(_)) = self.request("mapping.delete", &self.bound(function)) {
            (self.sought[function], self.redrove[function]) = (false, false);
        }
        if self.chance.acts.one_in(2) {
            self.exchange();
        }
        self.declare(function);
    }

    fn redrive(&mut self, function: usize) {
        if self.sought[function] {
            return;
        }
        self.strikes(Fault::Redrive);
        self.redrove[function] = true;
        let plan = &self.shape.functions[function];
        open(&self.ledger).redrives(&self.shape.streams[plan.stream].name, &plan.handler.name);
        let rate = self.chance.acts.one_in(2).then(|| self.chance.acts.between(1, 50) as f64);
        self.request("failed.redrive", &json!({"function": plan.handler.name, "rate": rate}));
    }
}
