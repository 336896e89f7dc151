//! Requests: each is brought to the room that carries it out, as the table in `api` says.

#[cfg(test)]
mod tests;

use forebay_core::alias::Version;
use forebay_core::cluster::Stopped;
use serde_json::{json, Value};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::api::account::{Account, AccountSettings, Health};
use crate::api::changes::Changes;
use crate::api::mapping::{
    BySource, DeclareOnQueue, DeclareOnStream, OnQueue, OnStream, Seek, Skip, UpdateOnQueue, UpdateOnStream,
};
use crate::api::metrics::Tell;
use crate::api::why::Why;
use crate::api::{failure, function, operations, queue, rest, topic, Empty, Request};
use crate::base::error::{EngineError, Reply, Waiter};
use crate::commit::done::Done;
use crate::dispatch::attempts::Settled;
use crate::dispatch::versions;
use crate::environments::memory_kept_by;
use crate::gateways::calls::Calls;
use crate::gateways::connections::Connections;
use crate::gateways::requests::Requests;
use crate::gateways::rest::ServedRest;
use crate::gateways::{PageToken, Served};
use crate::metrics::Metric;
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::engine::Engine;
use crate::runtime::measuring::Metrics;
use crate::runtime::rooms::Rooms;
use crate::runtime::wanted;
use crate::runtime::{deletion, failures, metric_points, why};
use crate::sources::queue::{delete, requests};
use crate::sources::stream::{lag, mapping_requests};
use crate::store::port::StoreError;

macro_rules! carry_out {
    ($($(#[doc = $doc:literal])* $name:literal $variant:ident($request:ty) -> $answer:ty: $room:ident.$method:ident $how:ident;)*) => {
        impl Engine {
            /// Carry out a request; `waiter` gets its answer.
            pub fn call(&self, request: Request, waiter: Waiter) {
                match request {
                    $(Request::$variant(asked) => carry_out!($how self, $room.$method, asked, waiter),)*
                }
            }
        }
    };
    (now $engine:ident, $room:ident.$method:ident, $asked:ident, $waiter:ident) => {
        $engine.with(|rooms| {
            let done = rooms.check_open().and_then(|()| rooms.$room().$method($asked));
            rooms.answer_done(done, $waiter);
        })
    };
    (always $engine:ident, $room:ident.$method:ident, $asked:ident, $waiter:ident) => {
        $engine.with(|rooms| {
            let done = rooms.check_running().and_then(|()| rooms.$room().$method($asked));
            rooms.answer_done(done, $waiter);
        })
    };
    (checked $engine:ident, $room:ident.$method:ident, $asked:ident, $waiter:ident) => {{
        $engine.shared.look_for_store();
        carry_out!(always $engine, $room.$method, $asked, $waiter)
    }};
    (later $engine:ident, $room:ident.$method:ident, $asked:ident, $waiter:ident) => {
        $engine.with(|rooms| rooms.$room().$method($asked, $waiter))
    };
    (now_read $engine:ident, $room:ident.$method:ident, $asked:ident, $waiter:ident) => {{
        let $asked = $asked.read();
        carry_out!(now $engine, $room.$method, $asked, $waiter)
    }};
    (always_read $engine:ident, $room:ident.$method:ident, $asked:ident, $waiter:ident) => {{
        let $asked = $asked.read();
        carry_out!(always $engine, $room.$method, $asked, $waiter)
    }};
    (later_read $engine:ident, $room:ident.$method:ident, $asked:ident, $waiter:ident) => {{
        let $asked = $asked.read();
        carry_out!(later $engine, $room.$method, $asked, $waiter)
    }};
    (beside $engine:ident, metrics.$method:ident, $asked:ident, $waiter:ident) => {{
        let answer = Metrics($engine).$method($asked);
        $engine.with(|rooms| rooms.ctx.answer($waiter, answer));
    }};
}
operations!(carry_out);

impl Engine {
    /// Carry out a request by the name of its operation; the body is JSON. See `docs/requests.md`.
    pub fn request(&self, name: &str, body: &[u8], waiter: Waiter) {
        match Request::read(name, body) {
            Ok(request) => self.call(request, waiter),
            Err(error) => self.with(|rooms| rooms.ctx.answer(waiter, Err(error))),
        }
    }

    /// The APIs that are served.
    pub fn apis(&self) -> Arc<Served> {
        self.shared.lock().state.gateways.served.clone()
    }

    /// What tells the code that is invoked by a name from what was before: another text when that changes.
    pub fn code_of(&self, function: &str) -> String {
        versions::code_of(&self.shared.lock().state.dispatch, function)
    }

    /// The REST APIs, as the gateway sees them.
    pub fn rest_apis(&self) -> Arc<ServedRest> {
        self.shared.lock().state.rest_apis.served.clone()
    }

    /// The open connections of WebSocket APIs.
    pub fn connections(&self) -> Arc<Connections> {
        self.shared.lock().state.gateways.connections.clone()
    }

    /// What opens the pages of the door for whoever works on this machine.
    pub fn page_token(&self) -> Arc<PageToken> {
        self.shared.lock().state.gateways.token.clone()
    }

    /// The newest requests to APIs.
    pub fn api_requests(&self) -> Arc<Requests> {
        self.shared.lock().state.gateways.requests.clone()
    }

    /// The newest requests of AWS's wire API.
    pub fn calls(&self) -> Arc<Calls> {
        self.shared.lock().state.gateways.calls.clone()
    }

    /// Bring gauges that are worked out on demand up to date.
    pub fn show_lag(&self) {
        self.with(|state| {
            lag::show_lag(&mut state.streams());
            state.show_lease();
        });
    }

    /// Say which of the store's mappings a client wants to be handled; the answer are those that are not.
    pub fn mappings_wanted(&self, client: u64, body: &[u8], waiter: Waiter) {
        self.with(|rooms| wanted::mappings_wanted(rooms, client, body, waiter));
    }

    /// A process that shares the store offers to run functions for this one: an [`Offer`](crate::runtime::runners::Offer), answered by
    /// [`Accepted`](crate::runtime::runners::Accepted). What it was given before through another connection it has stopped.
    pub fn runner_offers(&self, client: u64, offer: &[u8], waiter: Waiter) {
        self.with(|rooms| rooms.runners().offers(client, offer, waiter));
    }

    /// It hands over how attempts have ended, and is answered when there is something for it to do, at the latest when it asks again. `most`:
    /// how many attempts it takes at once; 0: it takes none any more, and is answered at once.
    pub fn runner_exchanges(&self, client: u64, settled: Vec<Settled>, most: usize, waiter: Waiter) {
        self.with(|rooms| rooms.runners().exchanges(client, settled, most, waiter));
    }

    /// A client has hung up. `has_stopped`: it is certain that it runs nothing any more.
    pub fn client_left(&self, client: u64, has_stopped: bool) {
        self.with(|rooms| {
            rooms.wanted.forget(client);
            rooms.runners().left(client, has_stopped);
        });
    }

    /// Which of the processes that share the store live, and what each of them says that it ran and has stopped. One that does not live any
    /// more runs nothing.
    pub fn members_live(&self, living: &[String], stopped: &BTreeMap<String, Stopped>) {
        self.with(|rooms| rooms.runners().members_live(living, stopped));
    }

    /// Stop what other processes run for this one. It will be run again.
    pub fn interrupt_runners(&self) {
        self.with(|rooms| rooms.runners.interrupt());
    }

    /// Say where the store is, if it is in a directory, and whose it is, and report what was found damaged: a file, and the text.
    pub fn opened(&self, directory: Option<&Path>, app: Option<String>, damage: &[(&str, Option<String>)]) {
        self.with(|rooms| {
            // Without a directory they live as long as this process.
            if let Some(directory) = directory {
                rooms.buses.connections.open_secrets(directory, &mut rooms.ctx);
            }
            rooms.ctx.directory = directory.map(ToOwned::to_owned);
            rooms.ctx.app = app;
            for (file, text) in damage {
                if let Some(text) = text {
                    rooms.ctx.notice(OperatorEvent::Damaged, file, json!({"text": text}));
                }
            }
        });
    }

    /// Report that metrics are served now, or why they are not served yet.
    pub fn metrics_served(&self, error: Option<&str>) {
        self.with(|rooms| rooms.ctx.notice(OperatorEvent::Metrics, "", json!({"error": error})));
    }

    /// Tell the operator of another process that shares the store.
    pub fn remark_on_process(&self, process: &str, text: &str) {
        self.with(|rooms| rooms.ctx.notice(OperatorEvent::Process, process, json!({"text": text})));
    }

    /// Tell the operator what went wrong with an API.
    pub fn remark_on_api(&self, api: &str, text: &str) {
        self.with(|rooms| rooms.ctx.notice(OperatorEvent::Api, api, json!({"text": text})));
    }

    /// Why the engine is not ready, if it is not.
    pub fn not_ready(&self) -> Vec<String> {
        self.shared.look_for_store();
        self.with(|state| state.not_ready())
    }
}

impl Rooms {
    fn rooms(&mut self) -> &mut Self {
        self
    }

    fn check_running(&self) -> Result<(), EngineError> {
        if self.ctx.closed {
            return Err(EngineError::Closed("the app is stopped: it answers nothing more".into()));
        }
        Ok(())
    }

    fn check_open(&self) -> Result<(), EngineError> {
        self.check_running()?;
        self.ctx.commit.failed.clone().map_or(Ok(()), |error| Err(error.into()))
    }

    fn answer_done(&mut self, done: Result<Done, EngineError>, waiter: Waiter) {
        match done {
            Ok(Done::WhenDurable(answer)) => self.ctx.answer_durable(waiter, answer),
            Ok(Done::AtOnce(answer)) => self.ctx.answer(waiter, Ok(Reply::Json(answer))),
            Ok(Done::Typed(answer)) => {
                let reply = Reply::of(answer, &waiter);
                self.ctx.answer(waiter, Ok(reply));
            }
            Ok(Done::WhenRead(mut job)) => {
                job.answers(waiter);
                self.ctx.commit.reads.push_back(job);
            }
            Err(error) => self.ctx.answer(waiter, Err(error)),
        }
    }
}

/// What concerns more rooms than one.
impl Rooms {
    fn mapping_declare(&mut self, asked: BySource<DeclareOnStream, DeclareOnQueue>) -> Result<Done, EngineError> {
        match asked {
            BySource::Stream(asked) => mapping_requests::mapping_declare(&mut self.streams(), asked),
            BySource::Queue(asked) => self.queues().queue_mapping_declare(asked),
        }
    }

    fn mapping_list(&mut self, _: Empty) -> Result<Done, EngineError> {
        let mut list: Vec<Value> =
            mapping_requests::list_mappings(&self.streams()).map(|mapping| json!(mapping)).collect();
        list.extend(requests::list_queue_mappings(&self.queues).map(|mapping| json!(mapping)));
        wanted::show_unhandled(self, &mut list);
        Ok(Done::at_once(list))
    }

    fn mapping_describe(&mut self, named: BySource<OnStream, OnQueue>) -> Result<Done, EngineError> {
        match named {
            BySource::Stream(named) => mapping_requests::mapping_describe(&mut self.streams(), named),
            BySource::Queue(named) => self.queues().queue_mapping_describe(named),
        }
    }

    fn mapping_pause(&mut self, named: BySource<OnStream, OnQueue>) -> Result<Done, EngineError> {
        self.mapping_enable(named, false)
    }

    fn mapping_resume(&mut self, named: BySource<OnStream, OnQueue>) -> Result<Done, EngineError> {
        self.mapping_enable(named, true)
    }

    fn mapping_enable(&mut self, named: BySource<OnStream, OnQueue>, enabled: bool) -> Result<Done, EngineError> {
        match named {
            BySource::Stream(named) => mapping_requests::mapping_enable(&mut self.streams(), named, enabled),
            BySource::Queue(named) => self.queues().queue_mapping_enable(named, enabled),
        }
    }

    fn mapping_update(&mut self, asked: BySource<UpdateOnStream, UpdateOnQueue>) -> Result<Done, EngineError> {
        match asked {
            BySource::Stream(asked) => mapping_requests::mapping_update(&mut self.streams(), asked),
            BySource::Queue(asked) => self.queues().queue_mapping_update(asked),
        }
    }

    fn mapping_seek(&mut self, asked: BySource<Seek, OnQueue>) -> Result<Done, EngineError> {
        match asked {
            BySource::Stream(seek) => mapping_requests::mapping_seek(&mut self.streams(), seek),
            BySource::Queue(named) => self.queues().queue_mapping_move(named, "mapping.seek"),
        }
    }

    fn mapping_skip(&mut self, asked: BySource<Skip, OnQueue>) -> Result<Done, EngineError> {
        match asked {
            BySource::Stream(skip) => mapping_requests::mapping_skip(&mut self.streams(), skip),
            BySource::Queue(named) => self.queues().queue_mapping_move(named, "mapping.skip"),
        }
    }

    fn mapping_delete(&mut self, named: BySource<OnStream, OnQueue>) -> Result<Done, EngineError> {
        match named {
            BySource::Stream(named) => mapping_requests::mapping_delete(&mut self.streams(), named),
            BySource::Queue(named) => self.queues().queue_mapping_remove(named),
        }
    }

    fn queue_delete(&mut self, named: queue::Named) -> Result<Done, EngineError> {
        let id = self.queues.queue_id(&named.name)?;
        deletion::check_queue_unused(self, id)?;
        Ok(delete::delete_queue(&mut self.queues(), id))
    }

    fn topic_delete(&mut self, named: topic::Named) -> Result<Done, EngineError> {
        deletion::check_topic_unused(self, &named.name)?;
        Ok(self.topics().delete_topic(&named.name))
    }

    fn rest_call(&mut self, asked: rest::Call) -> Result<Done, EngineError> {
        let declared = self.gateways.served.now();
        self.rest_apis().rest_call(asked, &declared)
    }

    fn http_api_call(&mut self, asked: rest::Call) -> Result<Done, EngineError> {
        let declared = self.gateways.served.now();
        let done = self.rest_apis().http_api_call(asked, &declared)?;
        self.api_gateways().close_what_is_gone();
        Ok(done)
    }

    fn account_describe(&mut self, _: Empty) -> Result<Done, EngineError> {
        let used = self.dispatch.permits.pool.in_use();
        Ok(Done::at_once(Account {
            limits: self.ctx.config.limits,
            in_use: used.running,
            unreserved_in_use: used.unreserved,
            claimed: used.claimed,
            memory_limits: memory_kept_by(),
        }))
    }

    fn account_update(&mut self, changes: Changes<AccountSettings>) -> Result<Done, EngineError> {
        self.dispatch().account_update(changes)?;
        self.account_describe(Empty {})
    }

    fn health(&mut self, _: Empty) -> Result<Done, EngineError> {
        let reasons = self.not_ready();
        Ok(Done::at_once(Health {
            role: "owner",
            ready: reasons.is_empty(),
            reasons,
            app: self.ctx.app.clone(),
            failed: self.ctx.commit.failed.as_ref().map(ToString::to_string),
        }))
    }

    /// Of a store that others may take: which owner this is, and how many could be the next.
    pub(crate) fn show_lease(&mut self) {
        if let Some(standbys) = self.ctx.lease.standbys() {
            self.ctx.registry.gauge(Metric::StoreEpoch, &[]).set(self.ctx.commit.token.epoch as f64);
            self.ctx.registry.gauge(Metric::StoreStandbys, &[]).set(standbys as f64);
            self.runners().show();
        }
    }

    /// Why the owner is not ready, if it is not.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(error) = &self.ctx.commit.failed {
            reasons.push(error.to_string());
        }
        if let Some(error) = &self.ctx.commit.unavailable {
            reasons.push(error.to_string());
        }
        if self.ctx.commit.failed.is_none() && !self.ctx.lease.may_run() {
            reasons
                .push("this process may not run the store: it has not reached the store's server for too long".into());
        }
        match &self.ctx.commit.refused {
            Some(StoreError::Locked(why)) => reasons.push(format!("puts are refused: {why}")),
            Some(_) => reasons.push("the disk is full: puts are refused until there is room".into()),
            None => {}
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
}

/// What is carried out in the files that tell of it.
impl Rooms {
    pub(crate) fn why(&mut self, asked: Why) -> Result<Done, EngineError> {
        why::why(self, asked)
    }

    pub(crate) fn function_delete(&mut self, named: function::Named) -> Result<Done, EngineError> {
        deletion::function_delete(self, named)
    }

    pub(crate) fn failed_list(&mut self, asked: failure::List) -> Result<Done, EngineError> {
        failures::failed_list(self, asked)
    }

    pub(crate) fn failed_redrive(&mut self, asked: failure::Redrive) -> Result<Done, EngineError> {
        failures::failed_redrive(self, asked)
    }

    pub(crate) fn metrics_tell(&mut self, asked: Tell) -> Result<Done, EngineError> {
        metric_points::metrics_tell(self, asked)
    }
}
