"""A store that other processes may take: this one joins them, stops what it runs when it has lost the store, and leaves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from forebay._core import Member
from forebay._model import checks
from forebay._model.plural import counted
from forebay._model.store_place import UNANSWERED
from forebay._wire import payload
from forebay.errors import ForebayError, OwnerLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._core import Engine
    from forebay._model.settings import AppSettings
    from forebay._runtime.caller import Caller
    from forebay._runtime.runner import Runner

log = logging.getLogger("forebay.app")

FIRST_SECONDS: Final = 30.0
"""How long a start waits for an owner. One that has just died is followed by another within 6 s, which may die in its turn."""
UNHEARD_SECONDS: Final = 7.0
"""After so long without an owner a start says what it waits for."""
REPEAT_SECONDS: Final = 60.0
"""How often the same reason is told while the owner cannot be asked."""
WARNS_SECONDS: Final = 1.0
FINISH_SECONDS: Final = 10.0
"""How long what runs may take to end when the store is handed over."""
ENDS_SECONDS: Final = 2.0
"""How long what was interrupted then may take to end. What a thread runs does not end by that."""
ANSWERS_SECONDS: Final = 1.0
DECLINES_SECONDS: Final = 10.0
"""How often a process says that it cannot own the store yet; each time holds for 30 s."""
LEAVES_SECONDS: Final = 30.0
"""How long what was interrupted keeps its process from the store. A thread that hangs may never end."""
LOOK_SECONDS: Final = 0.005
GONE: Final = "the process that owned the store %s is gone"
LEFT: Final = "this process, which runs no handlers, lets go of the store %s"
ANOTHER: Final = (
    "this process was a client of the store %s, and looks for its owner anew: the connection was lost, the owner has given the "
    "store up or has ended, or the owner or this process has not reached the server for 3.5 s. %s interrupted"
)
TAKEN: Final = (
    "app %r has lost the store %s: what runs is stopped. This process has not reached the server for 3.5 s, or another process "
    "has taken the store (`forebay cluster status`)"
)
LATE: Final = (
    "app %r hands the store %s over, although these have not ended. They run again under the next owner, and what they return is "
    "not written: %s"
)
GOES_ON: Final = "this process shares the store again when these have ended (context.lease_lost is set), or in 30 s: %s"
LEFT_BEHIND: Final = (
    "these go on 30 s after they were interrupted, and are not waited for any more. They run again, and what they return is not "
    "written: %s"
)
LOST: Final = "this process lost the store before it had the answer: the request may or may not have been accepted"


class SharedStore:
    """One app's part in it. Of a store in a directory there is nothing to join."""

    def __init__(self, runner: Runner, settings: AppSettings) -> None:
        self._runner = runner
        self._settings = settings
        self.member: Member | None = None
        self._told = ""
        self._tells_again_at = 0.0

    async def join(self, settings: bytes) -> None:
        """Join the processes that share the store, if it is on a server. Its clients do not."""
        if self._settings.is_on_server and self._settings.serve is not False:
            _check_address()
            self.member = await asyncio.to_thread(Member, settings)

    def runs_for_owner(self, engine: Engine) -> bool:
        """Tell whether this process runs handlers for the one that owns the store."""
        return self.member is not None and engine.role == "client"

    async def open_first(self, open_engine: Callable[[], Engine]) -> Engine:
        """Open the engine; wait while the store has no owner."""
        began = self._runner.loop.time()
        has_warned = False
        while True:
            try:
                return await asyncio.to_thread(open_engine)
            except OwnerLost as error:
                waited = self._runner.loop.time() - began
                if self.member is None or waited > FIRST_SECONDS:
                    if self.member is not None:
                        error.add_note(UNANSWERED)
                    raise
                if waited > UNHEARD_SECONDS and not has_warned:
                    log.warning("app %r waits for its store: %s; %s", self._settings.name, error, UNANSWERED)
                    has_warned = True

    def tell_role(self, engine: Engine) -> None:
        """Say what this process is to its store from now on. Of one that stands by, `tell_why` says more."""
        if engine.role != "standby":
            log.info("connected to the store again, as its %s", engine.role)
            self._told = ""

    def tell_why(self, caller: Caller) -> None:
        """Say why this process stands by, which whoever asks is told: at once if it is news, else now and then."""

        def tell(answer: asyncio.Future[bytes]) -> None:
            error = None if answer.cancelled() else answer.exception()
            if error is None:
                return
            now, text = self._runner.loop.time(), str(error)
            if text != self._told or now >= self._tells_again_at:
                log.warning("app %r stands by, and tries again every 10 s: %s", self._settings.name, text)
                self._told, self._tells_again_at = text, now + REPEAT_SECONDS

        caller.request("health").add_done_callback(tell)

    async def let_go(self, engine: Engine | None) -> None:
        """Close an engine whose store has another owner by now, may have soon, or is to have."""
        runner, member = self._runner, self.member
        has_owned = member is not None and engine is not None and engine.role == "owner"
        if member is None and engine is not None and engine.role == "owner":
            log.info(LEFT, self._settings.place)
            # Nothing ran here. What waits, and what is asked from now on, is asked of the next owner.
            runner.lost.set()
            await asyncio.to_thread(engine.close)
        elif not has_owned:
            if engine is None or engine.role != "standby":
                self._tell_of_change()
            if engine is not None and self.runs_for_owner(engine):
                await self._stop_handlers()
        elif member is None or engine is None or not await self._finished(member, engine):
            log.warning(TAKEN, self._settings.name, self._settings.place)
            runner.interrupt()
            await self._until_ended(WARNS_SECONDS)
            if member is not None and list(runner.attempts()):
                member.decline()
        runner.flush()
        runner.detach(OwnerLost(LOST) if has_owned else None)
        if engine is not None:
            await asyncio.to_thread(engine.close)
        if has_owned and member is not None:
            # What goes on, as a thread may, is heard by nobody any more. Clients were hung up on before: they ask the next owner.
            await self._stop_handlers()
            await asyncio.to_thread(member.stopped)
        elif member is not None and engine is not None and not list(runner.attempts()):
            # An owner that lives, and cannot be reached, has what was given here run elsewhere.
            member.has_stopped(engine)

    def _tell_of_change(self) -> None:
        """Say that the owner has gone; what is interrupted for it is worth a warning, and runs again for the next one."""
        if self.member is None:
            log.info(GONE, self._settings.place)
            return
        interrupted = sum(1 for _ in self._runner.attempts())
        text = (
            f"{counted(interrupted, 'attempt')} {'is' if interrupted == 1 else 'are'}" if interrupted else "Nothing is"
        )
        log.log(logging.WARNING if interrupted else logging.INFO, ANOTHER, self._settings.place, text)

    async def _finished(self, member: Member, engine: Engine) -> bool:
        """Finish what runs, for another process to own the store; False: the store was lost before.

        What does not end in time is interrupted, and runs again there. A thread that goes on nevertheless is not waited for.
        """
        if not member.hands_over:
            return False
        runner = self._runner
        log.info("app %r hands the store %s over to another process", self._settings.name, self._settings.place)
        # Handlers go on asking this engine until they have ended.
        runner.lost.clear()
        interrupts_at = runner.loop.time() + FINISH_SECONDS
        gives_up_at = interrupts_at + ENDS_SECONDS
        drains = False
        while not (drains and engine.idle()):
            drains = drains or engine.drain()  # not while a request of an API is on its way
            if not member.hands_over:
                return False
            if runner.loop.time() > interrupts_at:
                runner.interrupt()
                interrupts_at = float("inf")
            if runner.loop.time() > gives_up_at:
                left = list(map(str, runner.attempts()))
                left += await asyncio.to_thread(_left_elsewhere, engine)
                names = ", ".join(left) or "a request of an API"
                log.warning(LATE, self._settings.name, self._settings.place, names)
                break
            await asyncio.sleep(LOOK_SECONDS)
        # What is asked from now on waits for the next owner; what was asked before has its answer soon.
        runner.lost.set()
        detaches_at = runner.loop.time() + ANSWERS_SECONDS
        while runner.is_asked and runner.loop.time() < detaches_at:  # noqa: ASYNC110  the answers come in the same loop
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _until_ended(self, seconds: float) -> None:
        """Wait until all that runs has ended, but no longer than so."""
        gives_up_at = self._runner.loop.time() + seconds
        while list(self._runner.attempts()) and self._runner.loop.time() < gives_up_at:  # noqa: ASYNC110  they end in the loop
            await asyncio.sleep(LOOK_SECONDS)

    async def _stop_handlers(self) -> None:
        """Stop all that runs, and wait until it has ended: only then may this process open the store again.

        While something runs on, another process is to have the store, and nobody where there is none. What does not end is left
        behind, or a thread that hangs would keep its process from the store, and the store from an owner, until it is restarted.
        """
        runner, member = self._runner, self.member
        runner.interrupt()
        began, has_warned = runner.loop.time(), False
        declines_at = began + WARNS_SECONDS
        while attempts := list(runner.attempts()):
            goes_on = runner.loop.time() - began
            if goes_on > WARNS_SECONDS:
                # What the handler of a thread asks waits for the next engine, and that one for the thread.
                runner.refuse_deferred(OwnerLost(LOST))
                if member is not None and runner.loop.time() > declines_at:
                    member.decline()
                    declines_at += DECLINES_SECONDS
                if not has_warned:
                    log.warning(GOES_ON, ", ".join(map(str, attempts)))
                    has_warned = True
            if goes_on > LEAVES_SECONDS:
                log.warning(LEFT_BEHIND, ", ".join(map(str, attempts)))
                runner.leave_behind()
            await asyncio.sleep(LOOK_SECONDS)
        if has_warned and member is not None:
            member.accept()

    def leave(self) -> None:
        """Share the store no more; the engine is closed."""
        if self.member is not None:
            self.member.leave()


def _left_elsewhere(engine: Engine) -> list[str]:
    """Say what has not ended in processes of functions, and in the other processes that share the store."""
    left = [f"{function} ({request})" for function, request in engine.environments_at_work()]
    with contextlib.suppress(ForebayError):
        others = [
            one for one in payload.loads(engine.waiting().request("process.list", b"{}")) if one["member"] is not None
        ]
        left += [f"{counted(one['running'], 'attempt')} of process {one['member']}" for one in others if one["running"]]
    return left


def _check_address() -> None:
    """Refuse an address for other machines that none of them can connect to."""
    address = os.environ.get("FOREBAY_CLUSTER_ADDRESS", "")
    for host in (address, address.rpartition(":")[0]):
        try:
            is_unspecified = ip_address(host.removeprefix("[").removesuffix("]")).is_unspecified
        except ValueError:
            continue
        if is_unspecified:
            allowed = (
                "other machines cannot connect to it. Next: name the address by which they reach this one (10.0.0.5:7410); where "
                "to listen is said by FOREBAY_CLUSTER_BIND"
            )
            checks.refuse("FOREBAY_CLUSTER_ADDRESS", address, allowed)
