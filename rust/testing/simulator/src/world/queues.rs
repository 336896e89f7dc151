//! Senders and receivers of messages, and what an operator does to queues.

use std::sync::{Arc, Mutex, PoisonError};

use forebay_engine::base::error::{Answer, EngineError, Reply, Waiter};
use forebay_engine::base::ids::parse_uuid;
use forebay_engine::base::trace::Origin;
use forebay_engine::payload::message::{parse_receipt, NewMessage};
use forebay_engine::store::port::{ShardId, StoreError};
use serde::Deserialize;
use serde_json::{json, Value};

use super::{Event, World, NS_PER_MS, NS_PER_US};
use crate::ledger;
use crate::plan::Fault;
use crate::plan::Sabotage;
use crate::queues::QueueSettings;
use crate::queues::WorkerSettings;
use crate::watched::open;
use crate::watched::Shared;

/// Longest wait of a receiver for messages.
const WAIT_MS_MAX: u64 = 2_000;

/// A message in a receiver's hands.
#[derive(Clone, Debug)]
pub(super) struct Hand {
    queue: usize,
    log: ShardId,
    number: u64,
    receipt: String,
}

/// What receivers were given since somebody looked.
pub(super) type Mailbox = Arc<Mutex<Vec<Hand>>>;

/// One record of the answer to a receive.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    receipt_handle: String,
    body: String,
    attributes: Attributes,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    approximate_receive_count: String,
}

/// `Ok`, or whether it is unknown if the request was carried out.
pub(super) fn outcome(answer: Answer) -> Result<Reply, bool> {
    answer.map_err(|error| {
        matches!(error, EngineError::Closed(_) | EngineError::OwnerLost(_) | EngineError::Store(StoreError::Failed(_)))
    })
}

/// A request's body. To write it as text costs twice as much.
pub(super) fn bytes_of(body: &Value) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

impl World {
    /// Declare the queues, and who reads them.
    pub(super) fn declare_queues(&mut self) {
        for queue in 0..self.shape.queues.len() {
            let plan = &self.shape.queues[queue];
            let dead = QueueSettings { dead_letters: false, delay_ms: 0, ..plan.settings.clone() };
            let (dead_name, dead) = (plan.dead.clone(), dead.to_json(&plan.dead, ""));
            self.ask("queue.declare", &dead);
            open(&self.ledger).declares_queue(
                &dead_name,
                &QueueSettings { dead_letters: false, ..self.shape.queues[queue].settings.clone() },
            );
            self.declare_queue(queue);
            self.declare_worker(queue);
        }
        if !self.shape.callees.is_empty() {
            let settings = QueueSettings {
                dead_letters: false,
                delay_ms: 0,
                visibility_ms: 5_000,
                retention_ms: 345_600_000,
                receives_max: 1,
            };
            self.ask("queue.declare", &settings.to_json(crate::shape::TOLD, ""));
        }
    }

    fn declare_queue(&mut self, queue: usize) {
        let plan = &self.shape.queues[queue];
        open(&self.ledger).declares_queue(&plan.name, &plan.settings);
        let forgets = self.plan.sabotage == Some(Sabotage::ForgottenDelay);
        let delay_ms = if forgets { 0 } else { plan.settings.delay_ms };
        let told = QueueSettings { delay_ms, ..plan.settings.clone() };
        self.ask("queue.declare", &told.to_json(&plan.name, &plan.dead));
    }

    fn declare_worker(&mut self, queue: usize) {
        let plan = &self.shape.queues[queue];
        open(&self.ledger).declares_worker(queue, &plan.worker);
        let body = plan.worker.to_json(&plan.name, &plan.handler.name, !self.workers_paused[queue]);
        self.ask("mapping.declare", &body);
    }

    /// Somebody sends some messages.
    pub(super) fn send(&mut self, queue: usize) {
        let Some(plan) = self.shape.queues.get(queue).filter(|_| !self.peace) else { return };
        let chance = &mut self.chance.messages;
        let pause_ns = chance.below(2 * plan.pause_us + 1) * NS_PER_US;
        let count = chance.between(1, plan.send_most);
        let is_fifo = plan.is_fifo();
        let mut drawn = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let group = chance.below(plan.groups) as u16;
            // Ids come again now and then, as those of a sender do that had no answer.
            let key = is_fifo.then(|| {
                self.next_key += 1;
                if chance.one_in(8) {
                    chance.between(self.next_key.saturating_sub(30), self.next_key) as u32
                } else {
                    self.next_key as u32
                }
            });
            let delay_ms = (!is_fifo && chance.one_in(10)).then(|| chance.below(3_000));
            drawn.push((group, key, delay_ms, chance.below(plan.filling + 1) as usize));
        }
        let (name, default_ms) = (plan.name.clone(), plan.settings.delay_ms);
        let forgets = self.plan.sabotage == Some(Sabotage::ForgottenId);
        self.after(self.calm(pause_ns), Event::Send { queue });
        let Some(engine) = &self.engine else { return };
        let mut ledger = open(&self.ledger);
        let mut first = None;
        let messages: Vec<NewMessage> = drawn
            .into_iter()
            .map(|(group, key, delay_ms, filling)| {
                let sent = ledger.sends(group, key, delay_ms.unwrap_or(default_ms));
                first.get_or_insert(sent);
                NewMessage {
                    body: ledger::body_of(sent, filling),
                    group_id: is_fifo.then(|| format!("g{group}")),
                    deduplication_id: key.map(|key| if forgets { format!("m{sent}") } else { format!("d{key}") }),
                    delay_ms,
                    attributes: Vec::new(),
                }
            })
            .collect();
        drop(ledger);
        let (first, count, shared) = (first.unwrap_or_default(), messages.len() as u32, self.ledger.clone());
        let told = Box::new(move |answer: Answer| {
            let answer = outcome(answer).map(|reply| ids_of(&reply));
            open(&shared).sent(first, count, answer.as_deref().map_err(|&unknown| unknown));
        });
        engine.send(&name, &messages, Origin::default(), Waiter::Call(told));
    }

    /// A receiver asks for messages, and may wait for them.
    pub(super) fn receive(&mut self, queue: usize) {
        if !self.may(Fault::Hand) {
            return;
        }
        let pause_ns = self.chance.hands.between(1, 200) * NS_PER_MS;
        self.after(self.calm(pause_ns), Event::Receive { queue });
        let Some(engine) = &self.engine else { return };
        let plan = &self.shape.queues[queue];
        let chance = &mut self.chance.hands;
        let given_ms = chance.one_in(3).then(|| chance.between(100, 6_000));
        let default_ms = plan.settings.visibility_ms;
        let body = json!({
            "name": plan.name, "maximum": chance.between(1, 10), "visibility_timeout_ms": given_ms,
            "wait_ms": if chance.one_in(2) { 0 } else { chance.below(WAIT_MS_MAX) },
        });
        let (ledger, mailbox, since_ns) = (self.ledger.clone(), self.mailbox.clone(), self.time_ns);
        let told = Box::new(move |answer: Answer| {
            let Ok(Reply::Json(json)) = answer else { return };
            let given: Vec<Given> = serde_json::from_slice(&json).unwrap_or_default();
            take_in_hand(&ledger, &mailbox, queue, given, (since_ns, given_ms.ok_or(default_ms)));
        });
        engine.request("queue.receive", &bytes_of(&body), Waiter::Call(told));
    }

    /// Receivers look at what they were given, and do something with it a little later.
    pub(super) fn empty_mailbox(&mut self) {
        let hands = std::mem::take(&mut *self.mailbox.lock().unwrap_or_else(PoisonError::into_inner));
        for hand in hands {
            self.strikes(Fault::Hand);
            self.hand_later(hand);
        }
    }

    fn hand_later(&mut self, hand: Hand) {
        let delay_ns = self.chance.hands.below(1_500) * NS_PER_MS;
        self.hands.push(Some(hand));
        self.after(delay_ns, Event::Hand { at: self.hands.len() - 1 });
    }

    /// A receiver deletes a message, holds it for longer, gives it back, or forgets it.
    pub(super) fn hand(&mut self, at: usize) {
        let Some(hand) = self.hands[at].take() else { return };
        let queue = &self.shape.queues[hand.queue].name;
        let mut body = json!({"name": queue, "receipt_handle": hand.receipt});
        match self.chance.hands.below(10) {
            0 if !self.peace => {}
            1 | 2 if !self.peace => {
                let visibility_ms = if self.chance.hands.one_in(2) { 0 } else { self.chance.hands.below(5_000) };
                body["visibility_timeout_ms"] = visibility_ms.into();
                if self.change_visibility(&hand, visibility_ms, &body) && visibility_ms > 0 {
                    self.hand_later(hand);
                }
            }
            _ => self.delete_message(&hand, &body),
        }
    }

    /// A receiver changes how long it has a message; says whether it may have it so long. Until it is told so, a crash may leave less, and
    /// where nobody can say whether it was changed, the shorter time counts.
    fn change_visibility(&self, hand: &Hand, visibility_ms: u64, body: &Value) -> bool {
        let Some(engine) = &self.engine else { return false };
        let (log, number) = (hand.log, hand.number);
        let until_ns = (self.time_ns + visibility_ms * NS_PER_MS).saturating_sub(2 * NS_PER_MS);
        let before = open(&self.ledger).lets_go(log, number);
        let (shared, heard) = (self.ledger.clone(), Arc::new(Mutex::new(None)));
        let ear = heard.clone();
        let told = Box::new(move |answer: Answer| {
            if let (Ok(_), Some((by, _))) = (&answer, before) {
                open(&shared).keeps(log, number, (by, until_ns));
            }
            *ear.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome(answer).map(drop));
        });
        engine.request("queue.change_visibility", &bytes_of(body), Waiter::Call(told));
        let answer = *heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((by, until_before_ns)) = before {
            let until_ns = match answer {
                None | Some(Ok(())) => until_ns,
                Some(Err(true)) => until_ns.min(until_before_ns),
                Some(Err(false)) => until_before_ns,
            };
            let mut ledger = open(&self.ledger);
            ledger.holds(log, number, (by, until_ns));
            if answer == Some(Ok(())) {
                ledger.keeps(log, number, (by, until_ns));
            }
        }
        matches!(answer, None | Some(Ok(())))
    }

    fn delete_message(&mut self, hand: &Hand, body: &Value) {
        let Some(engine) = &self.engine else { return };
        let (log, number) = (hand.log, hand.number);
        open(&self.ledger).deletes_message(log, number);
        let (shared, refused) = (self.ledger.clone(), Arc::new(Mutex::new(false)));
        let refusal = refused.clone();
        let told = Box::new(move |answer: Answer| match outcome(answer) {
            Ok(_) => open(&shared).deleted_message(log, number, Some(true)),
            Err(true) => {}
            Err(false) => *refusal.lock().unwrap_or_else(PoisonError::into_inner) = true,
        });
        engine.request("queue.delete_message", &bytes_of(body), Waiter::Call(told));
        let was_refused = *refused.lock().unwrap_or_else(PoisonError::into_inner);
        open(&self.ledger).deleted_message(log, number, if was_refused { None } else { Some(false) });
    }

    /// An operator does something to a queue or the mapping that reads it.
    pub(super) fn act_on_queue(&mut self, fault: Fault, queue: usize) {
        let plan = &self.shape.queues[queue];
        let bound = json!({"queue": plan.name, "function": plan.handler.name});
        match fault {
            Fault::Settings => self.change_queue(queue),
            Fault::Pause => {
                if std::mem::replace(&mut self.workers_paused[queue], true) {
                    return;
                }
                self.strikes(fault);
                self.request("mapping.pause", &bound);
                let lasts_ns = self.chance.acts.below(5_000) * NS_PER_MS;
                self.after(lasts_ns, Event::ResumeWorker { queue });
            }
            Fault::Delete if !self.store_failed && !self.full => {
                self.strikes(fault);
                open(&self.ledger).deletes_worker(queue);
                self.request("mapping.delete", &bound);
                if self.chance.acts.one_in(2) {
                    self.exchange();
                }
                self.declare_worker(queue);
            }
            Fault::Purge => {
                self.strikes(fault);
                let name = plan.name.clone();
                open(&self.ledger).purges(&name);
                self.request("queue.purge", &json!({ "name": name }));
            }
            Fault::Move => {
                self.strikes(fault);
                let (dead, to) = (plan.dead.clone(), plan.name.clone());
                let to = self.chance.acts.one_in(2).then_some(to);
                let rate = self.chance.acts.one_in(2).then(|| self.chance.acts.between(1, 50) as f64);
                open(&self.ledger).moves(&dead);
                self.request("queue.redrive", &json!({"name": dead, "to": to, "rate": rate}));
            }
            _ => {}
        }
    }

    pub(super) fn resume_worker(&mut self, queue: usize) {
        self.workers_paused[queue] = false;
        let plan = &self.shape.queues[queue];
        self.request("mapping.resume", &json!({"queue": plan.name, "function": plan.handler.name}));
    }

    fn change_queue(&mut self, queue: usize) {
        self.strikes(Fault::Settings);
        let expires = self.faults.contains(&Fault::Retention);
        let plan = &mut self.shape.queues[queue];
        let chance = &mut self.chance.acts;
        if chance.one_in(2) {
            plan.settings = plan.settings.changed(chance, expires);
            let plan = &self.shape.queues[queue];
            open(&self.ledger).declares_queue(&plan.name, &plan.settings);
            self.request("queue.declare", &plan.settings.to_json(&plan.name, &plan.dead));
            return;
        }
        // How messages are held and reports are read stays: a batch that was received says nothing of it.
        let (strict, reports) = (plan.worker.strict, plan.worker.reports);
        let drawn = WorkerSettings::draw(chance, plan.is_fifo());
        plan.worker = WorkerSettings { strict, reports, retry_ms: drawn.retry_ms.filter(|_| !strict), ..drawn };
        let plan = &self.shape.queues[queue];
        open(&self.ledger).declares_worker(queue, &plan.worker);
        let body = plan.worker.to_json(&plan.name, &plan.handler.name, !self.workers_paused[queue]);
        self.request("mapping.update", &body);
    }
}

fn take_in_hand(ledger: &Shared, mailbox: &Mailbox, queue: usize, given: Vec<Given>, held: (u64, Result<u64, u64>)) {
    let handles: Vec<_> = given.iter().filter_map(|one| parse_receipt(&one.receipt_handle)).collect();
    let Some(&(log, _)) = handles.first() else { return };
    let told = given.iter().zip(&handles).map(|(one, (_, handle))| {
        let count = one.attributes.approximate_receive_count.parse().unwrap_or(0);
        (handle.number, count, one.body.as_str())
    });
    open(ledger).hands(log, &told.collect::<Vec<_>>(), held);
    let hands = given.into_iter().zip(handles);
    let hands =
        hands.map(|(one, (log, handle))| Hand { queue, log, number: handle.number, receipt: one.receipt_handle });
    mailbox.lock().unwrap_or_else(PoisonError::into_inner).extend(hands);
}

fn ids_of(reply: &Reply) -> Vec<u128> {
    let (Reply::Json(json) | Reply::Added(json)) = reply else { return Vec::new() };
    let texts: Vec<&str> = serde_json::from_slice(json).unwrap_or_default();
    texts.into_iter().map(|text| parse_uuid(text).unwrap_or(0)).collect()
}
