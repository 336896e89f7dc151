"""What the kinds of environments share: the functions they serve, and where the ends of attempts are put."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import orjson

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from forebay._core import Outcome, Work
    from forebay.clock import Attempt
    from forebay.runtime.context import FunctionFacts
    from forebay.runtime.tracing import Tracing

log = logging.getLogger("forebay.runtime")


@dataclass(slots=True, kw_only=True)
class Served:
    """A function as the runtime serves it. `reads` and `reports` follow the function's mappings."""

    handler: Callable[..., Any]
    facts: FunctionFacts
    wants_batch: bool
    reads: bool = False
    """Some mapping reads the function's response."""
    reports: frozenset[str] = frozenset()
    """ARNs of the streams and queues whose mapping reads partial responses."""
    tracing: Tracing | None = None
    """Makes a span of each attempt."""
    limits: dict[str, Any] = field(default_factory=dict)
    """Its limits as the engine was told first: told again, they change nothing that was changed meanwhile."""


class Ends(Protocol):
    """Where an environment puts the end of an attempt."""

    def ended(self, outcome: Outcome) -> None:
        """Hand over how an attempt ended; from the event loop only."""


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

    def close(self) -> None:
        """Tell the log of the failures that it was not told of yet."""


@dataclass(slots=True)
class Complaints:
    """Tells the log of failed attempts, at most once a second for a function, with the number left out.

    The last of those left out is told when that second is over, by the loop if there is one, or by whoever calls `tell`.
    """

    facts: FunctionFacts
    loop: asyncio.AbstractEventLoop | None = None
    quiet_until_ns: int = 0
    untold: int = 0
    last: bytes = b""
    """Lambda's error object of the last failed attempt."""
    due: asyncio.TimerHandle | None = None

    def failed(self, body: bytes, now_ns: int) -> None:
        """Tell of a failed attempt, given Lambda's error object, now or when the log has been quiet for a second."""
        self.untold += 1
        self.last = body
        if now_ns >= self.quiet_until_ns:
            self.quiet_until_ns = now_ns
            self.tell()
        elif self.due is None and self.loop is not None:
            self.due = self.loop.call_later((self.quiet_until_ns - now_ns) / 1e9, self.tell)

    def tell(self) -> None:
        """Tell of the last failed attempt, if the log does not know of it."""
        if self.due is not None:
            self.due.cancel()
            self.due = None
        if self.untold:
            self._say(orjson.loads(self.last), self.untold - 1)
            self.untold = 0
            self.quiet_until_ns += 1_000_000_000

    def _say(self, error: dict[str, Any], others: int) -> None:
        where = error.get("stackTrace") or [""]
        log.warning(
            "function %s: an attempt failed: %s: %s%s%s",
            self.facts.qualified,
            error.get("errorType"),
            str(error.get("errorMessage"))[:200],
            " at " + " ".join(where[-1].split()) if where[-1] else "",
            _more(others),
            extra={"aws_request_id": error.get("requestId"), "function_name": self.facts.function_name},
        )


@dataclass(slots=True)
class GivenUps(Complaints):
    """Tells the log what was given up and has gone to a destination, as sparingly."""

    target: str = ""

    def _say(self, error: dict[str, Any], others: int) -> None:
        about = error["requestContext"]
        batch = error.get("KinesisBatchInfo")
        function = str(about["functionArn"]).partition(":function:")[2].removesuffix(":$LATEST")
        attempts = about["approximateInvokeCount"]
        log.warning(
            "function %s: gave up %s after %s (%s), written to %s: `forebay why %s` tells its life%s",
            function,
            "an event" if batch is None else f"a batch of {batch['batchSize']}",
            "1 attempt" if attempts == 1 else f"{attempts} attempts",
            about["condition"],
            self.target,
            about["requestId"] if batch is None else batch["startSequenceNumber"],
            _more(others),
            extra={"aws_request_id": about.get("requestId"), "function_name": function},
        )


def _more(count: int) -> str:
    return f" ({count:,} more {'failure' if count == 1 else 'failures'} since the last line)" if count else ""
