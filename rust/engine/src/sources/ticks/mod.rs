//! A kind of work for tests alone, which shows that a new one is this folder and one line of `runtime/participants.rs`: a tick each
//! second runs a function, and how many have succeeded is kept in the store.

use std::sync::Arc;

use crate::base::error::EngineError;
use crate::base::ids::RoomId;
use crate::base::timers::Timer;
use crate::commit::pending::Pending;
use crate::commit::rows::counted;
use crate::ctx::Ctx;
use crate::dispatch::attempts::{self, Attempt, HandlerId, Task, Token};
use crate::dispatch::job::{Handed, Job};
use crate::dispatch::participant::{Ended, Participant};
use crate::dispatch::waiters::SourceId;
use crate::dispatch::{Dispatch, DispatchRoom};
use crate::failures::Failures;
use crate::store::port::{StoreError, Table, Write};

pub(crate) const ROOM: RoomId = RoomId(100);
const EVERY_NS: u64 = 1_000_000_000;
const KEY: &[u8] = b"ticks";

#[derive(Default)]
pub(crate) struct Ticks {
    handler: Option<HandlerId>,
    /// How many have succeeded, and how many of those are durable.
    done: u64,
    durable: u64,
    is_unsaved: bool,
}

pub(crate) struct TickRoom<'a> {
    ctx: &'a mut Ctx,
    dispatch: &'a mut Dispatch,
    ticks: &'a mut Ticks,
}

struct Tick;

impl<'a> TickRoom<'a> {
    pub(crate) fn new(
        ctx: &'a mut Ctx,
        dispatch: &'a mut Dispatch,
        _failures: &'a mut Failures,
        ticks: &'a mut Ticks,
    ) -> Self {
        Self { ctx, dispatch, ticks }
    }

    fn arm(&mut self) {
        self.ctx.timers.push(self.ctx.now.mono_ns + EVERY_NS, Timer { room: ROOM, kind: 0, id: 0 });
    }
}

impl Job for Tick {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn source(&self) -> SourceId {
        u64::MAX
    }
}

impl Participant for TickRoom<'_> {
    fn restore(&mut self) -> Result<(), StoreError> {
        if let Some(bytes) = self.ctx.commit.reader.get(Table::Meta, KEY)? {
            self.ticks.done = counted(&bytes, "ticks")?;
            self.ticks.durable = self.ticks.done;
        }
        Ok(())
    }

    fn registered(&mut self, handler: HandlerId, is_new: bool) -> Result<(), EngineError> {
        if is_new && self.dispatch.functions[handler].name == "tick" {
            self.ticks.handler = Some(handler);
            self.arm();
        }
        Ok(())
    }

    fn due(&mut self, _timer: Timer) {
        if let Some(handler) = self.ticks.handler {
            attempts::ready(
                &mut DispatchRoom { ctx: self.ctx, dispatch: self.dispatch },
                Attempt::new(handler, Tick, 1),
                false,
            );
            self.arm();
        }
    }

    fn hand_out(&mut self, _token: Token) -> Option<Handed> {
        Some(Handed { task: Task::Event(Arc::from(*b"{}")), reads: false, reports: false })
    }

    fn settled(&mut self, _attempt: Attempt, ended: Ended) {
        if ended.status == 0 {
            self.ticks.done += 1;
            self.ticks.is_unsaved = true;
            self.ctx.commit.pending.begin_lazily(self.ctx.now.mono_ns);
        }
    }

    fn has_progress(&self) -> bool {
        self.ticks.is_unsaved
    }

    fn write(&mut self, pending: &mut Pending, _writes: &mut Vec<Write>, _puts: bool) {
        if std::mem::take(&mut self.ticks.is_unsaved) {
            pending.set(Table::Meta, KEY.to_vec(), self.ticks.done.to_be_bytes().to_vec());
        }
    }

    fn durable(&mut self) {
        self.ticks.durable = self.ticks.done;
    }

    fn refused(&mut self, _error: &StoreError) {
        self.ticks.is_unsaved = true;
    }
}

mod tests {
    use serde_json::json;

    use crate::dispatch::attempts::Settled;
    use crate::runtime::test_engine::{TestEngine, SECOND};

    /// Advance by a second and let the handler succeed.
    fn tick(engine: &mut TestEngine) -> usize {
        engine.advance(SECOND);
        let (works, _) = engine.engine.exchange(Vec::new(), 10);
        let count = works.len();
        let ended = |token| Settled { token, status: 0, body: None, duration_ns: 1 };
        engine.engine.exchange(works.into_iter().map(|work| ended(work.token)).collect(), 0);
        engine.advance(SECOND / 100);
        count
    }

    #[test]
    fn a_new_kind_of_work_runs_is_kept_and_goes_on_after_a_crash() {
        let function = || json!({"kind": "function", "name": "tick", "timeout_ms": 3_000});
        let mut engine = TestEngine::new();
        engine.register(function());
        let ran: usize = (0..3).map(|_| tick(&mut engine)).sum();
        assert_eq!(ran, 3);
        assert_eq!(engine.engine.with(|rooms| (rooms.ticks.done, rooms.ticks.durable)), (3, 3));
        let mut engine = engine.crashed();
        assert_eq!(engine.engine.with(|rooms| rooms.ticks.done), 3);
        engine.register(function());
        assert_eq!(tick(&mut engine), 1);
        assert_eq!(engine.engine.with(|rooms| rooms.ticks.durable), 4);
    }
}
