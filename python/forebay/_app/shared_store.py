"""A store that other processes may take: this one joins them, stops what it runs when it has lost the store, and leaves."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from forebay._core import Member
from forebay.errors import OwnerLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._core import Engine
    from forebay._model.settings import AppSettings
    from forebay._runtime.runner import Runner

log = logging.getLogger("forebay.app")

FIRST_SECONDS: Final = 30.0
"""How long a start waits for an owner. One that has just died is followed by another within 6 s, which may die in its turn."""
WARNS_SECONDS: Final = 1.0
FINISH_SECONDS: Final = 10.0
"""How long what runs may take to end when the store is handed over."""
ANSWERS_SECONDS: Final = 1.0
DECLINES_SECONDS: Final = 10.0
"""How often a process says that it cannot own the store yet; each time holds for 30 s."""
LOOK_SECONDS: Final = 0.005
LOST: Final = "this process lost the store before it had the answer: the request may or may not have been accepted"


class SharedStore:
    """One app's part in it. Of a store in a directory there is nothing to join."""

    def __init__(self, runner: Runner, settings: AppSettings) -> None:
        self._runner = runner
        self._settings = settings
        self.member: Member | None = None

    async def join(self, settings: bytes) -> None:
        """Join the processes that share the store, if it is on a server. Its clients do not."""
        if self._settings.is_on_server and self._settings.serve is not False:
            self.member = await asyncio.to_thread(Member, settings)

    def runs_for_owner(self, engine: Engine) -> bool:
        """Tell whether this process runs handlers for the one that owns the store."""
        return self.member is not None and engine.role == "client"

    async def open_first(self, open_engine: Callable[[], Engine]) -> Engine:
        """Open the engine; wait while the store has no owner."""
        gives_up_at = self._runner.loop.time() + FIRST_SECONDS
        while True:
            try:
                return await asyncio.to_thread(open_engine)
            except OwnerLost:
                if self.member is None or self._runner.loop.time() > gives_up_at:
                    raise

    async def let_go(self, engine: Engine | None) -> None:
        """Close an engine whose store has another owner by now, may have soon, or is to have."""
        runner, member = self._runner, self.member
        has_owned = member is not None and engine is not None and engine.role == "owner"
        if not has_owned:
            if engine is None or engine.role != "standby":
                log.info("the process that owned the store is gone")
            if engine is not None and self.runs_for_owner(engine):
                await self._stop_handlers(may_own=False)
        elif member is None or engine is None or not await self._finished(member, engine):
            log.warning("app %r has lost the store %s: what runs is stopped", self._settings.name, self._settings.place)
            await self._stop_handlers()
        runner.flush()
        runner.detach(OwnerLost(LOST) if has_owned else None)
        if engine is not None:
            await asyncio.to_thread(engine.close)
        if has_owned and member is not None:
            await asyncio.to_thread(member.stopped)

    async def _finished(self, member: Member, engine: Engine) -> bool:
        """Finish what runs, for another process to own the store; False: the store was lost before.

        What does not end in time is interrupted, and runs again there.
        """
        if not member.hands_over:
            return False
        runner = self._runner
        log.info("app %r hands the store %s over to another process", self._settings.name, self._settings.place)
        # Handlers go on asking this engine until they have ended.
        runner.lost.clear()
        interrupts_at = runner.loop.time() + FINISH_SECONDS
        drains = False
        while not (drains and engine.idle()):
            drains = drains or engine.drain()  # not while a request of an API is on its way
            if not member.hands_over:
                return False
            if runner.loop.time() > interrupts_at:
                runner.interrupt()
                interrupts_at = float("inf")
            await asyncio.sleep(LOOK_SECONDS)
        # What is asked from now on waits for the next owner; what was asked before has its answer soon.
        runner.lost.set()
        detaches_at = runner.loop.time() + ANSWERS_SECONDS
        while runner.is_asked and runner.loop.time() < detaches_at:  # noqa: ASYNC110  the answers come in the same loop
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _stop_handlers(self, *, may_own: bool = True) -> None:
        """Stop all that runs, and wait until it has ended: only then may this process open the store again.

        Without `may_own` it may have taken the store already: while something runs here, another process is to have it.
        """
        runner = self._runner
        runner.lease.lost = True
        runner.interrupt()
        warns_at, has_warned = runner.loop.time() + WARNS_SECONDS, False
        declines_at = warns_at
        while attempts := list(runner.attempts()):
            if runner.loop.time() > warns_at:
                # What the handler of a thread asks waits for the next engine, and that one for the thread.
                runner.refuse_deferred(OwnerLost(LOST))
                if not may_own and self.member is not None and runner.loop.time() > declines_at:
                    self.member.decline()
                    declines_at += DECLINES_SECONDS
                if not has_warned:
                    left = ", ".join(f"{attempt.function} ({attempt.request_id})" for attempt in attempts)
                    log.warning("the store is taken again when these have ended (context.lease_lost is set): %s", left)
                    has_warned = True
            await asyncio.sleep(LOOK_SECONDS)

    def leave(self) -> None:
        """Share the store no more; the engine is closed."""
        if self.member is not None:
            self.member.leave()
