//! What every room is given beside its own: the clock, random numbers, timers, the commit that is gathered, and what is observed.

use crate::base::error::Answer;
use crate::base::error::EngineError;
use crate::base::error::Reply;
use crate::base::error::Waiter;
use crate::base::error::UNSOLICITED;
use crate::base::ids::uuid_text;
use crate::base::timers::SWEEP;
use crate::commit::pending::Pending;
use crate::commit::pending::UNCOMMITTED_MAX;
use crate::commit::rows::counted;
use crate::commit::rows::OnItsWay;
use crate::commit::rows::ROWS;
use crate::commit::starts::chain_too_long;
use crate::commit::starts::Starts;
use crate::commit::starts::WantedStart;
use crate::observe::happenings::Happening;
use crate::observe::operator_events::OperatorEvent;
use crate::payload::document::read_document;
use crate::store::damage_advice;
use crate::store::directory::Place;
use crate::store::format::keys::NEXT_MAPPING;
use crate::store::port::Rows;
use crate::store::port::StoreError;
use crate::store::port::Table;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use forebay_core::{chain, Now};

/// Begins the name of the schedule of a rule.
pub(crate) const RULE_SCHEDULE: &str = "rule:";

use crate::base::config::Config;
use crate::base::lease::Lease;
use crate::base::rng::Rng;
use crate::base::timers::Timers;
use crate::commit::Commits;
use crate::metrics::Registry;
use crate::observe::Observe;

/// What every room is given beside its own.
pub(crate) struct Ctx {
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) rng: Rng,
    pub(crate) timers: Timers,
    pub(crate) commit: Commits,
    pub(crate) observe: Observe,
    pub(crate) registry: Arc<Registry>,
    /// When retention looks next.
    pub(crate) sweep_armed: Option<u64>,
    /// The second that the clock was last seen in, since 1970, and whether another one had begun.
    pub(crate) second: u64,
    pub(crate) second_ended: bool,
    /// There is something for the next exchange.
    pub(crate) ring: bool,
    pub(crate) started: bool,
    /// Whether threads turn the engine: with a manual clock there are none.
    pub(crate) has_threads: bool,
    pub(crate) draining: bool,
    pub(crate) closed: bool,
    /// Whether this process may run the store.
    pub(crate) lease: Lease,
    /// Where the store is, if it is in a directory.
    pub(crate) directory: Option<PathBuf>,
    /// Where its file was when it was opened.
    pub(crate) place: Option<Place>,
    /// The app whose store it is, if it is known.
    pub(crate) app: Option<String>,
    /// Executions that are to begin in the commit that is gathered.
    pub(crate) starts: Starts,
}

impl Ctx {
    /// When a timer rings that wants another turn, mono ns: after the lock was let go. A manual clock stands still between turns, and
    /// whoever moves it waits for all that is due.
    pub(crate) fn next_turn_ns(&self) -> u64 {
        self.now.mono_ns + u64::from(self.has_threads)
    }

    /// Let retention look at `due_ns`, or before.
    pub(crate) fn sweep_at(&mut self, due_ns: u64) {
        self.timers.arm(&mut self.sweep_armed, due_ns, SWEEP);
    }
}

/// How AWS names what a store has.
impl Ctx {
    pub(crate) fn function_arn(&self, name: &str) -> String {
        self.arn("lambda", "function:", name)
    }

    pub(crate) fn stream_arn(&self, name: &str) -> String {
        self.arn("kinesis", "stream/", name)
    }

    pub(crate) fn queue_arn(&self, name: &str) -> String {
        self.arn("sqs", "", name)
    }

    pub(crate) fn topic_arn(&self, name: &str) -> String {
        self.arn("sns", "", name)
    }

    pub(crate) fn bus_arn(&self, name: &str) -> String {
        self.arn("events", "event-bus/", name)
    }

    /// A rule of the default bus is named without a bus.
    pub(crate) fn rule_arn(&self, bus: Option<&str>, name: &str) -> String {
        match bus {
            Some(bus) => self.arn("events", "rule/", &format!("{bus}/{name}")),
            None => self.arn("events", "rule/", name),
        }
    }

    pub(crate) fn archive_arn(&self, name: &str) -> String {
        self.arn("events", "archive/", name)
    }

    pub(crate) fn replay_arn(&self, name: &str) -> String {
        self.arn("events", "replay/", name)
    }

    pub(crate) fn schedule_arn(&self, name: &str) -> String {
        match (name.strip_prefix(RULE_SCHEDULE), name.contains('/')) {
            (Some(rule), _) => self.rule_arn(None, rule),
            (None, true) => self.arn("scheduler", "schedule/", name),
            (None, false) => self.arn("scheduler", "schedule/default/", name),
        }
    }

    pub(crate) fn api_destination_arn(&self, name: &str) -> String {
        self.arn("events", "api-destination/", name)
    }

    pub(crate) fn workflow_arn(&self, name: &str) -> String {
        self.arn("states", "stateMachine:", name)
    }

    pub(crate) fn execution_arn(&self, workflow: &str, name: &str) -> String {
        self.arn("states", "execution:", &format!("{workflow}:{name}"))
    }

    pub(crate) fn arn(&self, service: &str, kind: &str, name: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{kind}{name}", self.config.region, self.config.account)
    }
}

impl Ctx {
    /// Refuse more while too much waits for the disk.
    pub(crate) fn check_room(&self) -> Result<(), EngineError> {
        if let Some(error) = &self.commit.failed {
            return Err(error.clone().into());
        }
        if self.closed {
            return Err(EngineError::Closed("the app is stopped: nothing more is accepted".into()));
        }
        if self.commit.pending.bytes + self.commit.committing_bytes > UNCOMMITTED_MAX {
            return Err(EngineError::TooMany {
                message: format!(
                    "over {UNCOMMITTED_MAX} bytes wait for the disk: put again when earlier puts have returned"
                ),
                reason: "StoreBacklog".into(),
                retry_after_ms: 100,
            });
        }
        Ok(())
    }
}

impl Ctx {
    /// Whether nothing is handed out: the app stops, outcomes cannot be written for now, or another process may take the store.
    pub(crate) fn is_paused(&self) -> bool {
        self.draining || self.commit.unavailable.is_some() || !self.lease.may_run()
    }
}

impl Ctx {
    /// The store takes no further write: acknowledge nothing more, and say so.
    pub(crate) fn fail(&mut self, error: StoreError) {
        if self.commit.failed.is_some() {
            return;
        }
        let error = damage_advice::advised(self.directory.as_deref(), error);
        self.draining = true;
        let waiters = std::mem::take(&mut self.commit.pending.waiters);
        self.commit.pending = Pending::default();
        for (waiter, _) in waiters {
            self.answer(waiter, Err(error.clone().into()));
        }
        self.answer(Waiter::Bell(UNSOLICITED), Err(error.clone().into()));
        self.commit.failed = Some(error);
        self.commit.has_just_failed = true;
    }

    /// Whether there is anything that is not durable yet, in the commit under way or to be written after it.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.commit.is_committing || !self.commit.pending.is_empty()
    }

    /// Hand an answer over when everything written so far is durable.
    pub(crate) fn answer_durable(&mut self, waiter: Waiter, answer: Vec<u8>) {
        let reply = Reply::Json(answer);
        if let Some(error) = self.commit.failed.clone() {
            self.answer(waiter, Err(error.into()));
        } else if self.has_unwritten() {
            self.commit.pending.urgent = true;
            self.commit.pending.waiters.push((waiter, reply));
        } else {
            self.answer(waiter, Ok(reply));
        }
    }

    /// Hand an answer to whoever waits for it.
    pub(crate) fn answer(&mut self, waiter: Waiter, answer: Answer) {
        match waiter {
            Waiter::Bell(ticket) => {
                self.commit.answered.push((ticket, answer));
                self.ring = true;
            }
            Waiter::Call(call) => call(answer),
            Waiter::Client(client) => client.answer(answer),
        }
    }
}

impl Ctx {
    /// A row as it will be once everything written so far is durable.
    pub(crate) fn row(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.row_on_its_way(table, key) {
            OnItsWay::In(row) => Ok(Some(row)),
            OnItsWay::Out => Ok(None),
            OnItsWay::No => self.commit.reader.get(table, key),
        }
    }

    /// What the commits under way do to a row.
    pub(crate) fn row_on_its_way(&self, table: Table, key: &[u8]) -> OnItsWay {
        let at = (table, key.to_vec());
        match self.commit.pending.rows.get(&at).or_else(|| self.commit.committing.get(&at)) {
            Some(Some(row)) => OnItsWay::In(row.clone()),
            Some(None) => OnItsWay::Out,
            None => OnItsWay::No,
        }
    }

    /// The rows of a table after a key, `limit` at most, as they will be once everything written so far is durable; and whether
    /// there are no others.
    pub(crate) fn rows_after(
        &mut self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Rows, bool), StoreError> {
        let stored = self.commit.reader.scan(table, prefix, after, limit)?;
        let all = stored.len() < limit;
        // What stands beyond the last row that was read comes with later ones.
        let end = stored.last().filter(|_| !all).map(|(key, _)| key.clone());
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = stored.into_iter().collect();
        let from = (table, after.unwrap_or(prefix).to_vec());
        for changed in [&*self.commit.committing, &self.commit.pending.rows] {
            for ((of, key), value) in changed.range(from.clone()..) {
                if *of != table || !key.starts_with(prefix) || end.as_ref().is_some_and(|end| key > end) {
                    break;
                }
                match value {
                    Some(value) if Some(key.as_slice()) != after => drop(rows.insert(key.clone(), value.clone())),
                    _ => drop(rows.remove(key)),
                }
            }
        }
        Ok((rows.into_iter().collect(), all))
    }

    /// Remove what commits under way write of a table, where the key starts with `prefix`.
    pub(crate) fn remove_rows_on_their_way(&mut self, table: Table, prefix: &[u8]) {
        let under_way = self.commit.pending.rows.keys().chain(self.commit.committing.keys());
        let ours = under_way.filter(|(of, key)| *of == table && key.starts_with(prefix));
        for key in ours.map(|(_, key)| key.clone()).collect::<Vec<_>>() {
            self.commit.pending.remove(table, key);
        }
    }

    /// Remove every row whose key starts with `prefix`, durable or on its way.
    pub(crate) fn remove_rows(&mut self, table: Table, prefix: &[u8]) -> Result<(), StoreError> {
        self.remove_rows_on_their_way(table, prefix);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.commit.reader.scan(table, prefix, after.as_deref(), ROWS)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, _) in rows {
                self.commit.pending.remove(table, key);
            }
        }
    }
}

impl Ctx {
    /// Have something told to the log.
    /// Something happened that an app may want as an event on its default bus.
    pub(crate) fn happen(&mut self, make: impl FnOnce() -> Happening) {
        if !self.observe.happenings.add(self.now.mono_ns, make) {
            self.not_emitted("there are too many of them");
        }
    }

    pub(crate) fn not_emitted(&mut self, why: &str) {
        self.notice(OperatorEvent::NotEmitted, "", serde_json::json!({"text": why}));
    }

    pub(crate) fn notice(&mut self, what: OperatorEvent, of: &str, fields: Value) {
        self.observe.notices.add(what, of, fields);
        self.ring = true;
    }
}

impl Ctx {
    /// Read the number of a mapping, or of a function's events, from a row's key; whatever is new comes after it.
    pub(crate) fn mapping_id_found(&mut self, key: &[u8], what: &str) -> Result<u64, StoreError> {
        let id = counted(key, what)?;
        self.commit.next_mapping = self.commit.next_mapping.max(id + 1);
        Ok(id)
    }
}

impl Ctx {
    /// Number a new mapping, or the events of a function. Never given out again, even when it is deleted: it may still stand in rows,
    /// slots and delivery ids.
    pub(crate) fn new_mapping_id(&mut self) -> u64 {
        let id = self.commit.next_mapping;
        self.commit.next_mapping += 1;
        self.commit.pending.set(Table::Meta, NEXT_MAPPING.to_vec(), self.commit.next_mapping.to_be_bytes().to_vec());
        id
    }
}

impl Ctx {
    /// Begin an execution in the commit that is gathered; its name is the UUID that is given back. Everything that could be wrong is
    /// refused now. `hops` counts the functions, buses and executions that the chain has gone through.
    pub(crate) fn start_execution(&mut self, workflow: &str, input: &str, hops: u32) -> Result<u128, EngineError> {
        if !self.starts.is_declared(workflow) {
            let arn = self.workflow_arn(workflow);
            return Err(EngineError::NotFound(format!("State Machine Does Not Exist: '{arn}'")));
        }
        if !chain::is_within(hops + 1) {
            return Err(chain_too_long());
        }
        self.starts.check_open(workflow)?;
        let input = read_document("State Machine Execution Input", input)?;
        self.starts.take_one(workflow, self.config.limits.workflows, self.now.mono_ns)?;
        let id = self.rng.uuid();
        self.starts.want(WantedStart { workflow: workflow.to_owned(), name: uuid_text(id), input, depth: hops + 1 });
        Ok(id)
    }
}
