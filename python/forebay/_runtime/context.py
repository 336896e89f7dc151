"""Lambda's context object: https://docs.aws.amazon.com/lambda/latest/dg/python-context.html."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forebay._model import limits
from forebay._model.names import LATEST

if TYPE_CHECKING:
    from collections.abc import Callable


class CognitoIdentity:
    """Who called through Amazon Cognito: nobody, here."""

    __slots__ = ()
    cognito_identity_id: str | None = None
    cognito_identity_pool_id: str | None = None


@dataclass(slots=True)
class Lease:
    """The hold that this process has of a store which others may take."""

    token: int | None = None
    """Grows whenever another process takes the store."""
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionFacts:
    """What every context of one function shares."""

    function_name: str
    function_arn: str
    log_stream_name: str
    wall: Callable[[], float]
    function_version: str = LATEST
    memory_limit_in_mb: str = str(limits.MEMORY_MEBIBYTES_DEFAULT)
    lease: Lease = field(default_factory=Lease)

    @property
    def qualified(self) -> str:
        """The function's name, and behind it the number of a published version."""
        version = self.function_version
        return self.function_name if version == LATEST else f"{self.function_name}:{version}"


class Context:
    """What a handler is told about its invocation, by Lambda's names."""

    __slots__ = ("_deadline_ms", "_facts", "_qualifier", "aws_request_id")

    aws_request_id: str
    """Names this attempt."""

    client_context = None
    tenant_id = None
    identity = CognitoIdentity()

    def __init__(self, facts: FunctionFacts, request_id: str, deadline_ms: int, qualifier: str | None = None) -> None:
        self._facts = facts
        self._qualifier = qualifier
        self.aws_request_id = request_id
        self._deadline_ms = deadline_ms

    @property
    def function_name(self) -> str:
        """The function's name."""
        return self._facts.function_name

    @property
    def function_version(self) -> str:
        """The version that runs: `$LATEST` or a number."""
        return self._facts.function_version

    @property
    def invoked_function_arn(self) -> str:
        """The function's ARN, and behind it the version or alias that was asked for, if one was."""
        arn, qualifier = self._facts.function_arn, self._qualifier
        return arn if qualifier is None else f"{arn}:{qualifier}"

    @property
    def memory_limit_in_mb(self) -> str:
        """The memory the function may have, in MiB."""
        return self._facts.memory_limit_in_mb

    @property
    def log_group_name(self) -> str:
        """The log group that Lambda would use."""
        return f"/aws/lambda/{self._facts.function_name}"

    @property
    def log_stream_name(self) -> str:
        """The log stream that Lambda would use: one per start of the app."""
        return self._facts.log_stream_name

    @property
    def fencing_token(self) -> int | None:
        """A number that grows whenever another process takes the store; None if no other can (a directory, ":memory:").

        Send it with what you write to another system, and let that refuse a number lower than one it has seen.
        """
        return self._facts.lease.token

    @property
    def lease_lost(self) -> bool:
        """Whether this process must not run the handler any more: it runs again, in another process or after the next start.

        A task is cancelled then, and a process killed. A thread cannot be stopped: its handler looks here between its steps.
        What it returns does not count any more.
        """
        return self._facts.lease.lost

    def get_remaining_time_in_millis(self) -> int:
        """Give the milliseconds that are left before the attempt times out; never negative."""
        return max(0, self._deadline_ms - int(self._facts.wall() * 1000))

    def enter(self) -> None:
        """Make this the context of everything that the running task or thread does from now on."""
        _CURRENT.set(self)

    def __repr__(self) -> str:
        return f"Context({self.function_name!r}, aws_request_id={self.aws_request_id!r})"


# Which attempt a line of code belongs to: a variable of its task or thread, so it has to have a name here.
_CURRENT: Final[ContextVar[Context | None]] = ContextVar("forebay_context", default=None)


def parent() -> str | None:
    """Give the request that the running handler handles, so that the engine can tell a chain of functions from a loop."""
    context = _CURRENT.get()
    return context.aws_request_id if context is not None else None


def current() -> Context | None:
    """Give the context of the handler that is running here, also in tasks and in `asyncio.to_thread` that it began."""
    return _CURRENT.get()
