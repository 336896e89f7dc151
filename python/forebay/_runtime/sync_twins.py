"""The `_sync` twins of the public verbs: the same code, run off the event loop by a thread that waits for the answers.

On the loop a verb awaits futures. Off it the app's caller gives it a `Question` instead, which comes up to the twin that runs the
verb: the twin asks it, waits, and lets the verb go on with the answer.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from forebay._core import Engine
    from forebay._runtime.tracing import SendSpan

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


class Waits(Protocol):
    """The caller of an app, through which its verbs ask."""

    def leave_loop(self, verb: str) -> None:
        """Refuse to block an event loop; from now on this thread runs none."""


class Blocking(Protocol):
    """What waits for an answer off the loop."""

    def blocking(self, begin: Callable[[Engine], Any]) -> Any:
        """Ask from a thread and wait."""


def sync_twin(verb: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> Callable[Concatenate[S, P], R]:
    """Make the twin of a verb, for threads other than the event loop's."""

    @functools.wraps(verb)
    def twin(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        caller = cast("Waits", getattr(self, "_caller", self))  # the caller has a twin, too
        caller.leave_loop(verb.__name__)
        return _run(verb(self, *args, **kwargs))

    twin.__name__, twin.__qualname__ = f"{verb.__name__}_sync", f"{verb.__qualname__}_sync"
    twin.__doc__ = f"Do as `{verb.__name__}`, from a thread other than the event loop's."
    return twin


def _run(steps: Coroutine[Any, Any, R]) -> R:
    try:
        question: Question = steps.send(None)
        while True:
            try:
                answer = question.ask()
            except BaseException as error:  # noqa: BLE001  the verb's to handle
                question = steps.throw(error)
            else:
                question = steps.send(answer)
    except StopIteration as end:
        return cast("R", end.value)


class Question:
    """What a verb awaits off the loop."""

    __slots__ = ("_begin", "_way", "span")

    def __init__(self, way: Blocking, begin: Callable[[Engine], Any]) -> None:
        self._way = way
        self._begin = begin
        self.span: SendSpan | None = None
        """Ends with the answer."""

    def __await__(self) -> Generator[Question, Any, Any]:
        """Come up to the twin, which sends the answer back."""
        return (yield self)

    def ask(self) -> Any:
        """Ask, and wait for the answer."""
        try:
            answer = self._way.blocking(self._begin)
        except BaseException as error:
            if self.span is not None:
                self.span.ended(error)
            raise
        if self.span is not None:
            self.span.ended(None)
        return answer


def on_a_loop() -> bool:
    """Tell whether an event loop runs in this thread."""
    return asyncio._get_running_loop() is not None  # noqa: SLF001  the other one raises, which takes longer than all of this
