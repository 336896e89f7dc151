"""Makes the spans of executions that have ended: one of the execution, and one of each state that it has been in.

The engine says when an execution has ended whose start was traced. Its history has the times of its states.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from forebay.errors import ForebayError, ResourceNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forebay._runtime.caller import Caller
    from forebay._runtime.runner import Runner
    from forebay._runtime.tracing import Tracing

log = logging.getLogger("forebay.runtime")

EXECUTION_ENDED: Final = "execution ended"
WAITING_MAX: Final = 1_000
"""Executions that may wait for their spans; of more than these none are made."""
_PAGE: Final = 1_000
_FINISH_SECONDS: Final = 1.0
_FAILED: Final = ("Failed", "TimedOut")


@dataclass(slots=True, eq=False)
class StateVisit:
    """A state that an execution has been in, from when until when; times are in milliseconds since 1970."""

    name: str
    kind: str
    inside: StateVisit | None
    """The Map or Parallel state that it is a part of."""
    began_ms: int
    ended_ms: int | None = None
    errors: list[tuple[int, str]] = field(default_factory=list)
    """What its tasks failed with, and when."""


def state_visits(events: Iterable[dict[str, Any]]) -> list[StateVisit]:
    """Give the states that an execution has been in since it was started or redriven last, those around others first."""
    visits: list[StateVisit] = []
    # For each event: the state that it happened in, and whether what comes after it is a part of that state.
    places: dict[int, tuple[StateVisit | None, bool]] = {0: (None, True)}
    for event in events:
        kind, at_ms = event["type"], round(event["timestamp"] * 1000)
        state, is_around = places.get(event["previousEventId"], (None, True))
        details = event.get(f"{kind[0].lower()}{kind[1:]}EventDetails", {})
        if kind.endswith("StateEntered"):
            around = state if is_around or state is None else state.inside
            name = event["stateEnteredEventDetails"]["name"]
            state, is_around = StateVisit(name, kind.removesuffix("StateEntered"), around, at_ms), False
            visits.append(state)
        elif kind.endswith("StateExited"):
            left = _named(state, event["stateExitedEventDetails"]["name"])
            if left is not None:
                left.ended_ms, state, is_around = at_ms, left.inside, True
        elif kind == "MapIterationStarted":
            state, is_around = _named(state, details.get("name")) or state, True
        elif kind in {"MapStateStarted", "ParallelStateStarted"}:
            is_around = True
        elif kind == "ExecutionRedriven":
            visits = [visit for visit in visits if visit.ended_ms is None]
            for visit in visits:
                visit.began_ms, visit.errors = at_ms, []
        elif kind.endswith(_FAILED) and not kind.startswith(("Map", "Parallel")) and state is not None:
            state.errors.append((at_ms, details.get("error", "States.Timeout")))
        places[event["id"]] = (state, is_around)
    return visits


def _named(state: StateVisit | None, name: str | None) -> StateVisit | None:
    """Give the state of this name among one and those around it."""
    while state is not None and state.name != name:
        state = state.inside
    return state


class StateSpans:
    """Reads what executions did that have ended, one after the other, and makes their spans."""

    def __init__(self, tracing: Tracing, caller: Caller, runner: Runner) -> None:
        self._tracing = tracing
        self._caller = caller
        self._waiting: deque[dict[str, Any]] = deque()
        self._reading: asyncio.Task[None] | None = None
        self._left_out = 0
        runner.operator_events.listeners[EXECUTION_ENDED] = self._ended
        self._loop = runner.loop

    async def finish(self) -> None:
        """Make those of executions that have ended, as far as that takes no longer than a second."""
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=_FINISH_SECONDS)

    def close(self) -> None:
        """Make no more of them."""
        self._waiting.clear()
        if self._reading is not None:
            self._reading.cancel()

    def _ended(self, told: dict[str, Any]) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._left_out += 1
            return
        self._waiting.append(told)
        if self._reading is None:
            self._reading = self._loop.create_task(self._read_all(), name="forebay-state-spans")

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                await self._read(self._waiting.popleft())
        except ForebayError as error:
            self._waiting.clear()
            log.warning("no spans of executions are made: %s", error)  # the app stops, or its store does
        finally:
            self._reading = None
        if self._left_out:
            log.warning("%d executions have no spans, because too many ended at once", self._left_out)
            self._left_out = 0

    async def _read(self, told: dict[str, Any]) -> None:
        named = {"workflow": told["workflow"], "name": told["name"]}
        events: list[dict[str, Any]] = []
        after, is_all = None, False
        try:
            execution = await self._caller.ask("execution.describe", **named)
            while not is_all:
                page = await self._caller.ask("execution.history", **named, limit=_PAGE, after=after)
                events += page["events"]
                after, is_all = page["next"], page["next"] is None
        except ResourceNotFound:
            return  # it was deleted since, or is an Express execution that others have ended after
        self._tracing.executed(told["trace"], execution, state_visits(events))
