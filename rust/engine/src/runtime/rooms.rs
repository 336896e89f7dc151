//! The engine's state and its turn. Everything here happens under one lock and never waits: reads and commits are handed
//! out as orders and come back as facts.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use forebay_core::concurrency::{AccountLimits, Pool};
use forebay_core::stream::protocol::Record;
use forebay_core::Now;

use crate::base::config::Config;
use crate::base::error::{Answer, EngineError, Ticket};
use crate::base::rng::Rng;
use crate::base::timers::{Timer, Timers};
use crate::commit::pending::{Pending, Rows};
use crate::commit::read_jobs::ReadJob;
use crate::dispatch::attempt_journal::{AttemptJournal, InFlight, JournalSlot};
use crate::dispatch::attempts::{Attempts, HandlerId, Token};
use crate::dispatch::functions::Function;
use crate::dispatch::permits::Permits;
use crate::dispatch::ready_list::ReadyList;
use crate::dispatch::versions::Declared;
use crate::environments::Pools;
use crate::failures::delivery::Deliveries;
use crate::metrics::exports::Exports;
use crate::metrics::Registry;
use crate::observe::history::History;
use crate::observe::meters::{AccountMeters, StoreMeters};
use crate::observe::operator_events::Notices;
use crate::sources::invocation::EventQueues;
use crate::sources::queue::Queues;
use crate::sources::stream::mapping::Mapping;
use crate::sources::stream::poller::Poller;
use crate::sources::stream::redrive::Redrive;
use crate::sources::stream::shards::{Shard, Stream};
use crate::store::port::{Reader, ShardId, StoreError};
use crate::topics::Topics;

/// How often retention looks.
pub(crate) const SWEEP_NS: u64 = 30_000_000_000;

/// Everything an engine knows.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) rng: Rng,
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) meters: StoreMeters,
    pub(crate) exports: Exports,
    /// The second that the clock was last seen in, since 1970, and whether another one had begun.
    pub(crate) second: u64,
    pub(crate) second_ended: bool,
    /// When the running minute of the points ends.
    pub(crate) points_armed: Option<u64>,

    pub(crate) streams: BTreeMap<String, Stream>,
    /// By id; a deleted shard leaves a hole, since an id is never given out twice.
    pub(crate) shards: Vec<Option<Shard>>,
    pub(crate) mappings: BTreeMap<u64, Mapping>,
    pub(crate) next_mapping: u64,
    pub(crate) pollers: Vec<Option<Poller>>,
    pub(crate) functions: Vec<Function>,
    pub(crate) function_names: BTreeMap<String, HandlerId>,
    pub(crate) destination_names: BTreeMap<String, HandlerId>,
    /// By what they are invoked by: `function:alias`.
    pub(crate) aliases: BTreeMap<String, Declared>,
    pub(crate) queues: Queues,
    pub(crate) topics: Topics,

    pub(crate) attempts: Attempts,
    pub(crate) ready_list: ReadyList,
    pub(crate) permits: Permits,
    pub(crate) pools: Pools,
    pub(crate) slots: AttemptJournal,
    /// What was in flight when the last process died and has not been taken by a poller yet.
    pub(crate) suspects: Vec<(InFlight, JournalSlot)>,
    /// Batches handed out in this exchange and not yet counted on file.
    pub(crate) counted: Vec<(Token, InFlight)>,
    pub(crate) timers: Timers,
    /// When retention looks next.
    pub(crate) sweep_armed: Option<u64>,
    pub(crate) pending: Pending,
    pub(crate) committing_bytes: usize,
    /// A commit is on its way.
    pub(crate) is_committing: bool,
    /// Rows of the commit under way: no longer pending, not yet readable.
    pub(crate) committing: Arc<Rows>,
    pub(crate) reads: VecDeque<ReadJob>,
    pub(crate) deliveries: Deliveries,
    pub(crate) redrives: BTreeMap<u64, Redrive>,
    pub(crate) events: EventQueues,
    /// Hops of the chains that events in flight and messages in handlers' hands belong to, by request.
    pub(crate) hops_running: BTreeMap<u128, u32>,
    pub(crate) history: History,
    /// When listed failures were last looked through, wall ms.
    pub(crate) failures_swept_ms: u64,
    pub(crate) answered: Vec<(Ticket, Answer)>,
    pub(crate) notices: Notices,
    pub(crate) tail_bytes: usize,
    /// Shard and first position of the chunks in memory, oldest first.
    pub(crate) tail_order: VecDeque<(ShardId, u64)>,
    /// Scratch for `feed`.
    pub(crate) metas: Vec<Record>,

    /// There is something for the next exchange.
    pub(crate) ring: bool,
    pub(crate) started: bool,
    pub(crate) draining: bool,
    pub(crate) closed: bool,
    pub(crate) full: bool,
    pub(crate) failed: Option<StoreError>,
    /// Where the store is, if it is in a directory.
    pub(crate) directory: Option<PathBuf>,
}

impl State {
    pub(crate) fn new(
        config: Config,
        limits: AccountLimits,
        now: Now,
        seed: u64,
        reader: Box<dyn Reader>,
        slots: AttemptJournal,
        registry: Arc<Registry>,
    ) -> Self {
        let meters = StoreMeters::new(&registry);
        let permits = Permits::new(Pool::new(limits, now.mono_ns), AccountMeters::new(&registry));
        Self {
            config,
            now,
            rng: Rng::new(seed),
            reader,
            registry,
            meters,
            exports: Exports::default(),
            second: now.wall_ms / 1000,
            second_ended: false,
            points_armed: None,
            streams: BTreeMap::new(),
            shards: Vec::new(),
            mappings: BTreeMap::new(),
            next_mapping: 1,
            pollers: Vec::new(),
            functions: Vec::new(),
            function_names: BTreeMap::new(),
            destination_names: BTreeMap::new(),
            aliases: BTreeMap::new(),
            queues: Queues::default(),
            topics: Topics::default(),
            attempts: Attempts::default(),
            ready_list: ReadyList::default(),
            permits,
            pools: Pools::default(),
            slots,
            suspects: Vec::new(),
            counted: Vec::new(),
            timers: Timers::default(),
            sweep_armed: None,
            pending: Pending::default(),
            committing_bytes: 0,
            is_committing: false,
            committing: Arc::default(),
            reads: VecDeque::new(),
            deliveries: Deliveries::default(),
            redrives: BTreeMap::new(),
            events: EventQueues::default(),
            hops_running: BTreeMap::new(),
            history: History::since(now.wall_ms),
            failures_swept_ms: 0,
            answered: Vec::new(),
            notices: Notices::default(),
            tail_bytes: 0,
            tail_order: VecDeque::new(),
            metas: Vec::new(),
            ring: false,
            started: false,
            draining: false,
            closed: false,
            full: false,
            failed: None,
            directory: None,
        }
    }

    /// Do everything that is due.
    pub(crate) fn turn(&mut self) {
        while let Some((_, timer)) = self.timers.pop_due(self.now.mono_ns) {
            match timer {
                Timer::Poller(id) => self.poller_due(id),
                Timer::Deadline(slot) => self.deadline_due(slot),
                Timer::Environments(slot) => self.environments_due(slot),
                Timer::Permits => self.permits.armed = None,
                Timer::Deliveries(id) => self.deliveries_due(id),
                Timer::Redrives => self.send_redrives(),
                Timer::Events(id) => self.events_due(id),
                Timer::Queue(id) => self.queue_due(id),
                Timer::QueueMapping(id) => self.look_again(id),
                Timer::Transfers => self.send_transfers(),
                // The end of the second was seen when the clock was looked at.
                Timer::Points => self.points_armed = None,
                Timer::Sweep => {
                    self.sweep_armed = None;
                    if let Err(EngineError::Store(error)) = self.sweep() {
                        self.fail(error);
                    }
                }
            }
        }
        self.feed_environments(None);
    }

    /// Let retention look at `due_ns`, or before.
    pub(crate) fn sweep_at(&mut self, due_ns: u64) {
        self.timers.arm(&mut self.sweep_armed, due_ns, Timer::Sweep);
    }

    /// When the next turn is needed, mono ns.
    pub(crate) fn next_due(&self) -> Option<u64> {
        [self.timers.next_due(), self.pending.due()].into_iter().flatten().min()
    }

    /// Nothing handed out, nothing to be made durable.
    pub(crate) fn idle(&self) -> bool {
        self.ready_list.is_idle() && self.pending.is_empty() && self.committing_bytes == 0
    }

    pub(crate) fn no_stream(&self, name: &str) -> EngineError {
        let known: Vec<&str> = self.streams.keys().take(8).map(String::as_str).collect();
        let known =
            if known.is_empty() { "none is declared yet".into() } else { format!("declared are {}", known.join(", ")) };
        EngineError::NotFound(format!("there is no stream {name:?}: {known}"))
    }

    pub(crate) fn function_arn(&self, name: &str) -> String {
        format!("arn:aws:lambda:{}:{}:function:{name}", self.config.region, self.config.account)
    }

    pub(crate) fn stream_arn(&self, name: &str) -> String {
        format!("arn:aws:kinesis:{}:{}:stream/{name}", self.config.region, self.config.account)
    }
}
