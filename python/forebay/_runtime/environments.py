"""What the kinds of environments share: the functions they serve, where outcomes go, and the log of failed attempts."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from forebay._model.one_line import one_line
from forebay._runtime.log_throttle import LogThrottle, more

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from forebay._core import Outcome, Work
    from forebay._runtime.context import FunctionFacts
    from forebay._runtime.tracing import Tracing
    from forebay.clock import Attempt

log = logging.getLogger("forebay.runtime")


@dataclass(slots=True, kw_only=True)
class ServedFunction:
    """A function as the runtime serves it. `reads` and `reports` follow the function's mappings."""

    handler: Callable[..., Any]
    facts: FunctionFacts
    wants_batch: bool
    reads: bool = False
    """Some mapping reads the function's response."""
    reports: frozenset[str] = frozenset()
    """ARNs of the streams and queues whose mapping reads partial responses."""
    told_unread: set[str] = field(default_factory=set)
    """Those of which the log was told that their partial responses are not read."""
    tracing: Tracing | None = None
    """Makes a span of each attempt."""
    limits: dict[str, Any] = field(default_factory=dict)
    """Its limits as the engine was told first: told again, they change nothing that was changed meanwhile."""


class EverySource(frozenset[str]):
    """The sources of a function whose partial responses are all read."""

    __slots__ = ()

    def __contains__(self, source: object) -> bool:
        return True


class OutcomeSink(Protocol):
    """Where an environment puts outcomes."""

    def ended(self, outcome: Outcome) -> None:
        """Hand over how an attempt ended; from the event loop only."""

    def execution_of(self, token: int) -> str:
        """Say for which execution of a workflow an attempt runs, for the end of a line of the log; nothing of others."""


class Environment(Protocol):
    """Something that runs one kind of work. Every method is called on the event loop."""

    def start(self, work: Work) -> None:
        """Begin an attempt. It ends by itself, and then says so exactly once."""

    def stop(self, token: int, status: int) -> None:
        """End an attempt as soon as it can be ended; its outcome is then `status`, whatever it returned."""

    def tokens(self) -> list[int]:
        """Give the attempts that have not ended."""

    def attempts(self) -> list[Attempt]:
        """Give the attempts that have not ended, as a manual clock wants to see them."""

    def leave_behind(self) -> None:
        """Let what has not ended go on, and tell nobody how it ends."""

    def close(self) -> None:
        """Write the failures that the log does not have yet."""


class FailureLog:
    """Logs failed attempts of a function, at most one line a second."""

    def __init__(self, facts: FunctionFacts, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._facts = facts
        self._throttle = LogThrottle(self._write, loop)

    def add(self, body: bytes, now_ns: int, of: str = "") -> None:
        """Log a failed attempt, given Lambda's error object, and what it ran for."""
        self._throttle.add((body, of), now_ns)

    def flush(self) -> None:
        """Log the last failed attempt, if it is not logged yet."""
        self._throttle.flush()

    def _write(self, failed: tuple[bytes, str], others: int) -> None:
        body, of = failed
        error = orjson.loads(body)
        where = _own_line(error.get("stackTrace") or [])
        text = str(error.get("errorMessage"))[:200]
        at = " at " + " ".join(where.split()) if where else ""
        # Escaped here, too: an app that logs in a form of its own may not do it.
        log.warning(
            "function %s: an attempt failed: %s%s%s",
            self._facts.qualified,
            one_line(f"{error.get('errorType')}: {text}{at}"),
            of,
            more(others, "failure"),
            extra={"aws_request_id": error.get("requestId"), "function_name": self._facts.function_name},
        )


def of_execution(arn: str, state: str | None) -> str:
    """Say for which execution of a workflow a function ran; a durable function has no state of its own."""
    where = "" if state is None else f" for state {one_line(state)}"
    return f"{where}: `forebay why {arn}` tells the execution's life"


def _own_line(frames: list[str]) -> str:
    """Give the innermost frame that is the app's own; the innermost of all where none is."""
    own = [frame for frame in frames if not frame.lstrip().startswith(_of_others())]
    return (own or frames or [""])[-1]


@functools.cache
def _of_others() -> tuple[str, ...]:
    """Give how the frames of Python and of installed packages begin."""
    import sysconfig  # noqa: PLC0415  it takes milliseconds, and only a failure asks

    return tuple({f'File "{sysconfig.get_path(name)}/' for name in ("stdlib", "platstdlib", "purelib", "platlib")})
