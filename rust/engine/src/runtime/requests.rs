//! Control: what an operator, the app and the command line ask in words. One table for the owner and for clients through its socket; the
//! words are written down in `python/forebay/_wire/verbs.py`.

#[cfg(test)]
mod tests;

use crate::api::read;
use crate::api::Done;
use crate::environments::memory_kept_by;
use forebay_core::alias::Version;
use serde_json::{json, Value};

use crate::base::error::{EngineError, Reply, Waiter};
use crate::dispatch::requests as function_requests;
use crate::failures::requests as failure_requests;
use crate::runtime::engine::Engine;
use crate::runtime::rooms::Rooms;
use crate::runtime::why;
use crate::sources::queue::names_queue;
use crate::sources::queue::requests as queue_requests;
use crate::sources::stream::{mapping_requests, requests as stream_requests};
use crate::topics::requests as topic_requests;

impl Engine {
    /// Bring gauges that are worked out on demand up to date.
    pub fn show_lag(&self) {
        self.with(|state| state.streams().show_lag());
    }

    /// Why the engine is not ready, if it is not.
    pub fn not_ready(&self) -> Vec<String> {
        self.shared.look_for_store();
        self.with(|state| state.not_ready())
    }
}

impl Rooms {
    /// Answer one request.
    pub(crate) fn request(&mut self, verb: &str, body: &[u8], waiter: Waiter) {
        if matches!(verb, "queue.send" | "queue.receive" | "queue.redrive_message") {
            return self.queues().queue_exchange(verb, body, waiter);
        }
        if verb == "topic.publish" {
            return self.topics().topic_publish(body, waiter);
        }
        match self.do_verb(verb, body) {
            Ok(Done::WhenDurable(answer)) if self.ctx.has_unwritten() => {
                self.ctx.commit.pending.urgent = true;
                self.ctx.commit.pending.waiters.push((waiter, Reply::Json(answer)));
            }
            Ok(Done::AtOnce(answer) | Done::WhenDurable(answer)) => self.ctx.answer(waiter, Ok(Reply::Json(answer))),
            Ok(Done::WhenRead(mut job)) => {
                job.answers(waiter);
                self.ctx.commit.reads.push_back(job);
            }
            Err(error) => self.ctx.answer(waiter, Err(error)),
        }
    }

    fn do_verb(&mut self, verb: &str, body: &[u8]) -> Result<Done, EngineError> {
        if self.ctx.closed {
            return Err(EngineError::Closed("the app is stopped: it answers nothing more".into()));
        }
        if let (Some(error), false) = (
            &self.ctx.commit.failed,
            verb.starts_with("metrics.") || matches!(verb, "health" | "functions.list" | "account.describe" | "lag"),
        ) {
            return Err(error.clone().into());
        }
        match verb {
            "topic.delete" => {
                let name = read::<topic_requests::Named>(body)?.name;
                self.check_topic_unused(&name)?;
                Ok(self.topics().delete_topic(&name))
            }
            "queue.delete" => {
                let id = self.queues.queue_id(&read::<queue_requests::Named>(body)?.name)?;
                self.check_queue_unused(id)?;
                Ok(self.queues().delete_queue(id))
            }
            _ if verb.starts_with("topic.") => self.topics().topic_verb(verb, body),
            _ if verb.starts_with("queue.") => self.queues().queue_verb(verb, body),
            _ if verb.starts_with("mapping.") && names_queue(body) => self.queues().queue_mapping_verb(verb, body),
            "stream.declare" => self.streams().stream_declare(&read::<stream_requests::Declare>(body)?),
            "stream.list" => self.streams().stream_list(),
            "stream.describe" => self.streams().stream_describe(&read::<stream_requests::Named>(body)?),
            "stream.alter" => self.streams().stream_alter(&read::<stream_requests::Alter>(body)?),
            "stream.delete" => self.streams().stream_delete(&read::<stream_requests::Named>(body)?),
            "stream.reshard" => self.streams().stream_reshard(&read::<stream_requests::Reshard>(body)?),
            "stream.read" => self.streams().stream_read(&read::<stream_requests::ReadAt>(body)?),
            "mapping.declare" => self.streams().mapping_declare(read(body)?),
            "mapping.list" => Ok(self.mapping_list()),
            "mapping.describe" => self.streams().mapping_describe(&read::<mapping_requests::Bound>(body)?),
            "mapping.pause" => self.streams().mapping_enable(&read::<mapping_requests::Bound>(body)?, false),
            "mapping.resume" => self.streams().mapping_enable(&read::<mapping_requests::Bound>(body)?, true),
            "mapping.update" => self.streams().mapping_update(read(body)?),
            "mapping.seek" => self.streams().mapping_seek(&read::<mapping_requests::Seek>(body)?),
            "mapping.skip" => self.streams().mapping_skip(&read::<mapping_requests::Skip>(body)?),
            "mapping.delete" => self.streams().mapping_delete(&read::<mapping_requests::Bound>(body)?),
            "lag" => Ok(self.streams().lag(&read::<mapping_requests::Which>(body)?)),
            "failed.list" => self.failed_list(&read::<failure_requests::List>(body)?),
            "failed.get" => self.failures().failed_get(&read::<failure_requests::One>(body)?),
            "why" => self.why(&read::<why::Why>(body)?),
            "failed.redrive" => self.failed_redrive(&read::<failure_requests::Again>(body)?),
            "functions.list" => Ok(self.dispatch.functions_list()),
            "function.describe" => self.dispatch().function_describe(&read::<function_requests::Named>(body)?),
            "function.update" => self.dispatch().function_update(read(body)?),
            "alias.declare" => self.dispatch().alias_declare(read(body)?),
            "alias.update" => self.dispatch().alias_update(read(body)?),
            "account.describe" => Ok(Done::at_once(self.describe_account())),
            "account.update" => {
                self.dispatch().account_update(read(body)?)?;
                Ok(Done::at_once(self.describe_account()))
            }
            "health" => Ok(Done::at_once(self.health())),
            "metrics.tell" => self.metrics_tell(read(body)?),
            _ => Err(EngineError::Invalid(format!("there is no verb {verb:?}"))),
        }
    }

    fn describe_account(&mut self) -> Value {
        let mut account = self.dispatch().describe_account();
        account["memory_limits"] = memory_kept_by();
        account
    }

    fn mapping_list(&mut self) -> Done {
        let ids: Vec<u64> = self.streams.mappings.keys().copied().collect();
        let mut list: Vec<Value> = ids.into_iter().map(|id| self.streams().describe_mapping(id, false)).collect();
        list.extend(self.queues.list_queue_mappings());
        self.show_unhandled(&mut list);
        Done::at_once(Value::Array(list))
    }

    /// Why the owner is not ready, if it is not.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(error) = &self.ctx.commit.failed {
            reasons.push(error.to_string());
        }
        if self.ctx.commit.full {
            reasons.push("the disk is full: puts are refused until there is room".into());
        }
        if self.ctx.closed || (self.ctx.draining && self.ctx.commit.failed.is_none()) {
            reasons.push("the app is stopping".into());
        }
        if !self.ctx.started {
            reasons.push("the app is not started".into());
        }
        for function in self.dispatch.functions.iter().filter(|function| function.version == Version::Latest) {
            let past = function.meters.overdue.get();
            if past > crate::observe::meters::OVERDUE_MAX {
                reasons.push(format!("function {}: {past} handlers run on past their timeout", function.name));
            }
        }
        reasons
    }

    fn health(&self) -> Value {
        let reasons = self.not_ready();
        let mut health = json!({"role": "owner", "ready": reasons.is_empty(), "reasons": reasons, "app": self.ctx.app});
        if let Some(error) = &self.ctx.commit.failed {
            health["failed"] = error.to_string().into();
        }
        health
    }
}
