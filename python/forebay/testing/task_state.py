"""Tells whether a handler is at work, waits on forebay, or waits for another task: what a clock must know to move on.

A task that stands in a plain future may be woken by anything, so it counts as being at work.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from forebay.clock import Parked

if TYPE_CHECKING:
    from collections.abc import Iterable


class State(IntEnum):
    """What a task is doing; of several tasks together, the highest counts."""

    ENDED = 0
    PARKED = 1
    """It waits on forebay: it cannot go on before the clock does."""
    PASSIVE = 2
    """It waits for some other task, by a lock, an event, a condition or a queue."""
    AT_WORK = 3


# Coroutines of asyncio that wait for other tasks, and the local variable that holds them.
_HOLDERS = {
    ("asyncio.taskgroups", "TaskGroup.__aexit__"): "self",
    ("asyncio.tasks", "wait_for"): "fut",
    ("asyncio.tasks", "_wait"): "fs",
}
_PASSIVE = {"asyncio.locks", "asyncio.queues"}


def state_of(future: asyncio.Future[Any]) -> State:
    """Tell what a task is doing, or the tasks that a future stands for."""
    if future.done():
        return State.ENDED
    if isinstance(future, Parked):
        return State.PARKED
    if isinstance(future, asyncio.Task):
        return _state_of_task(future)
    children = getattr(future, "_children", None)  # asyncio.gather
    return together(children) if children else State.AT_WORK


def together(futures: Iterable[asyncio.Future[Any]]) -> State:
    """Tell what several tasks are doing."""
    return max(map(state_of, futures), default=State.ENDED)


def ready(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task runs in the loop's next pass."""
    waiter = getattr(task, "_fut_waiter", None)
    return not task.done() and (waiter is None or waiter.done())


def place(task: asyncio.Task[Any] | None) -> str:
    """Say where a task stands, for people."""
    frame = getattr(_innermost(task.get_coro()), "cr_frame", None) if task is not None else None
    return f" at {frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


def _state_of_task(task: asyncio.Task[Any]) -> State:
    waiter = getattr(task, "_fut_waiter", None)
    if waiter is None or waiter.done():
        return State.AT_WORK
    state = state_of(waiter)
    if state is State.AT_WORK:
        state = _by_coroutine(task)
    # Those it waits for have all ended: it is about to be woken.
    return State.AT_WORK if state is State.ENDED else state


def _by_coroutine(task: asyncio.Task[Any]) -> State:
    """Look at the innermost coroutine that a task stands in: asyncio's own know whom they wait for."""
    inner = _innermost(task.get_coro())
    frame = getattr(inner, "cr_frame", None)
    if frame is None:
        return State.AT_WORK
    module = frame.f_globals.get("__name__", "")
    if module in _PASSIVE:
        return State.PASSIVE
    holder = _HOLDERS.get((module, frame.f_code.co_qualname))
    if holder is None:
        return State.AT_WORK
    held = frame.f_locals[holder]
    if isinstance(held, asyncio.TaskGroup):
        held = held._tasks  # noqa: SLF001  there is no other way to see them
    return together([held] if isinstance(held, asyncio.Future) else held)


def _innermost(coroutine: Any) -> Any:
    while True:
        inner = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
        if inner is None or not (hasattr(inner, "cr_await") or hasattr(inner, "ag_await")):
            return coroutine
        coroutine = inner
