//! The engine's state and its turn. Everything here happens under one lock and never waits: reads and commits are handed
//! out as orders and come back as facts.

use crate::base::timers::SWEEP;
use crate::dispatch;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::Change;
use crate::dispatch::PERMITS;
use crate::environments;
use crate::runtime::participants::{self, POINTS};
use crate::runtime::runners::RunnerRoom;
use std::sync::Arc;

use forebay_core::concurrency::{AccountLimits, Pool};
use forebay_core::Now;

use crate::base::config::Config;
use crate::base::error::EngineError;
use crate::base::lease::Lease;
use crate::base::rng::Rng;
use crate::base::timers::{Timer, Timers};
use crate::buses::connections::ConnectionRoom;
use crate::buses::groups::GroupRoom;
use crate::buses::BusRoom;
use crate::buses::{again, put, replay, schedule};
use crate::commit::starts::Starts;
use crate::commit::target::Target;
use crate::commit::Commits;
use crate::ctx::Ctx;
use crate::destinations;
use crate::dispatch::attempt_journal::AttemptJournal;
use crate::dispatch::permits::Permits;
use crate::dispatch::{Dispatch, DispatchRoom};
use crate::environments::EnvironmentRoom;
use crate::failures::delivery;
use crate::failures::FailureRoom;
use crate::gateways::GatewayRoom;
use crate::metrics::Registry;
use crate::observe::meters::AccountMeters;
use crate::observe::Observe;
pub(crate) use crate::runtime::participants::Rooms;
use crate::runtime::{commits, failures, hand_out};
use crate::sources::invocation::ends;
use crate::sources::queue::requests;
use crate::sources::stream::mapping;
use crate::store::port::{Reader, Token};
use crate::topics::TopicRoom;
use crate::workflows::aside::{self, Made, Order};
use crate::workflows::WorkflowRoom;

/// How often retention looks.
pub(crate) const SWEEP_NS: u64 = 30_000_000_000;

impl Rooms {
    pub(crate) fn new(
        config: Config,
        limits: AccountLimits,
        now: Now,
        seed: u64,
        (reader, lease, token): (Box<dyn Reader>, Lease, Token),
        journal: AttemptJournal,
        registry: Arc<Registry>,
    ) -> Self {
        let permits = Permits::new(Pool::new(limits, now.mono_ns), AccountMeters::new(&registry));
        let ctx = Ctx {
            config,
            now,
            rng: Rng::new(seed),
            timers: Timers::default(),
            commit: Commits::new(reader, lease.clone(), token),
            lease,
            observe: Observe::new(&registry, now.wall_ms),
            registry,
            sweep_armed: None,
            second: now.wall_ms / 1000,
            second_ended: false,
            ring: false,
            started: false,
            has_threads: false,
            draining: false,
            closed: false,
            directory: None,
            place: None,
            app: None,
            starts: Starts::default(),
        };
        Self::over(ctx, Dispatch::new(permits, journal))
    }

    pub(crate) fn runners(&mut self) -> RunnerRoom<'_> {
        RunnerRoom(self)
    }

    pub(crate) fn dispatch(&mut self) -> DispatchRoom<'_> {
        DispatchRoom { ctx: &mut self.ctx, dispatch: &mut self.dispatch }
    }

    pub(crate) fn failures(&mut self) -> FailureRoom<'_> {
        FailureRoom { ctx: &mut self.ctx, dispatch: &mut self.dispatch, failures: &mut self.failures }
    }

    pub(crate) fn environments(&mut self) -> EnvironmentRoom<'_> {
        EnvironmentRoom { ctx: &mut self.ctx, dispatch: &mut self.dispatch, environments: &mut self.environments }
    }

    pub(crate) fn topics(&mut self) -> TopicRoom<'_> {
        TopicRoom {
            ctx: &mut self.ctx,
            dispatch: &mut self.dispatch,
            failures: &mut self.failures,
            queues: &mut self.queues,
            events: &mut self.events,
            topics: &mut self.topics,
        }
    }

    pub(crate) fn api_gateways(&mut self) -> GatewayRoom<'_> {
        GatewayRoom {
            ctx: &mut self.ctx,
            dispatch: &mut self.dispatch,
            gateways: &mut self.gateways,
            rest: &self.rest_apis,
        }
    }

    pub(crate) fn event_buses(&mut self) -> BusRoom<'_> {
        self.state_machines().below
    }

    pub(crate) fn connections(&mut self) -> ConnectionRoom<'_> {
        ConnectionRoom { below: self.event_buses() }
    }

    pub(crate) fn schedule_groups(&mut self) -> GroupRoom<'_> {
        GroupRoom { below: self.event_buses() }
    }

    pub(crate) fn state_machines(&mut self) -> WorkflowRoom<'_> {
        self.ctx.starts.express_open = self.workflows.express.open();
        WorkflowRoom {
            below: BusRoom {
                ctx: &mut self.ctx,
                dispatch: &mut self.dispatch,
                failures: &mut self.failures,
                streams: &mut self.streams,
                queues: &mut self.queues,
                events: &mut self.events,
                topics: &mut self.topics,
                buses: &mut self.buses,
                schemas: &mut self.schemas,
            },
            workflows: &mut self.workflows,
        }
    }

    /// Carry out what rooms have left for others, until nothing is left. No commit is taken and no lock let go before that.
    pub(crate) fn conduct(&mut self) {
        loop {
            if self.ctx.commit.has_just_failed {
                self.ctx.commit.has_just_failed = false;
                // Nothing that they return is written any more.
                self.runners.interrupt();
                if let Some(error) = self.ctx.commit.failed.clone() {
                    participants::each_participant(self, |one| one.failed(&error));
                }
            } else if let Some(change) = self.dispatch.changes.pop() {
                match change {
                    Change::Provisioned(handler, most) => {
                        self.environments().provision_environments(handler, most as usize);
                    }
                    Change::Limits(handler) => self.events().bind_events_of(handler),
                    Change::Alias(handler) => self.state_machines().participant().call_at_last(handler),
                }
            } else if !self.events.ended.is_empty() {
                for end in std::mem::take(&mut self.events.ended) {
                    destinations::tell_of_event(&mut self.topics(), end);
                }
            } else if self.ctx.observe.happenings.has_waiting() {
                put::emit_happenings(&mut self.event_buses());
            } else if !self.buses.schedules.due.is_empty() {
                schedule::fire_due(&mut self.event_buses());
            } else if std::mem::take(&mut self.buses.replays.is_due) {
                replay::replay_due(&mut self.event_buses());
            } else if let Some(token) = self.dispatch.unwanted.pop() {
                hand_out::stop_unwanted(self, token);
            } else if self.ctx.starts.has_wanted() {
                self.state_machines().begin_wanted();
            } else if self.workflows.has_work(self.ctx.started) {
                self.state_machines().advance();
            } else if let Some(search) = self.failures.found.pop() {
                failures::found(self, search);
            } else if !self.failures.revived.is_empty() {
                for one in std::mem::take(&mut self.failures.revived) {
                    ends::revive_event(&mut self.events(), one.key, &one.ended, one.trace.as_deref(), &one.payload);
                }
            } else if let Some(owner) = self.failures.to_send.pop_first() {
                while let Some(delivery) = delivery::send_next(&mut self.failures(), owner) {
                    if delivery.row.destination.as_deref().is_some_and(|name| Target::of(name).is_of_buses()) {
                        again::give_again(&mut self.event_buses(), &delivery);
                    } else {
                        destinations::deliver_here(&mut self.topics(), &delivery);
                    }
                }
            } else if let Some((source, function)) = self.ctx.observe.mappings_gone.pop() {
                let is_stream = mapping::mapping_id(&self.streams, &source, &function).is_some();
                if !is_stream && requests::queue_mapping_id(&self.queues, &source, &function).is_none() {
                    self.ctx.registry.forget_all("mapping", &format!("{source}/{function}"));
                }
            } else if let Some(attachment) = self.queues.attached.pop() {
                commits::attachment_durable(self, attachment);
            } else {
                return;
            }
        }
    }

    /// Do everything that is due.
    pub(crate) fn turn(&mut self) {
        while let Some((_, timer)) = self.ctx.timers.pop_due(self.ctx.now.mono_ns) {
            match timer {
                PERMITS => self.dispatch.permits.armed = None,
                // The end of the second was seen when the clock was looked at.
                POINTS => self.points_armed = None,
                SWEEP => {
                    self.ctx.sweep_armed = None;
                    match self.try_each_participant(|one| one.sweep()) {
                        Err(EngineError::Store(error)) => self.ctx.fail(error),
                        _ => self.ctx.sweep_at(self.ctx.now.mono_ns + SWEEP_NS),
                    }
                }
                Timer { room: environments::ROOM, id, .. } => {
                    self.environments().environments_due(id as HandlerId);
                }
                Timer { room: dispatch::ROOM, id, .. } => hand_out::deadline_due(self, id as HandlerId),
                timer => self.participant(timer.room, |one| one.due(timer)),
            }
            self.conduct();
        }
        self.conduct();
        crate::runtime::environments::feed_environments(self, None);
    }
}

impl Rooms {
    /// When the next turn is needed, mono ns.
    pub(crate) fn next_due(&self) -> Option<u64> {
        [self.ctx.timers.next_due(), self.ctx.commit.pending.due()].into_iter().flatten().min()
    }

    /// The next turn of an execution that is to be made aside.
    pub(crate) fn next_order(&mut self) -> Option<Order> {
        if !self.workflows.has_orders() {
            return None;
        }
        self.workflows.next_order(self.ctx.now.wall_ms, self.ctx.rng.next())
    }

    /// A turn was made aside.
    pub(crate) fn made(&mut self, made: Made) {
        aside::take_made(&mut self.state_machines(), made);
        self.conduct();
    }

    /// Nothing handed out, nothing to be made durable.
    pub(crate) fn idle(&self) -> bool {
        self.dispatch.ready_list.is_idle()
            && self.ctx.commit.pending.is_empty()
            && self.ctx.commit.committing_bytes == 0
    }
}
