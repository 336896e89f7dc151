"""What the proxy needs from a database driver: one connection, spoken to one statement at a time. Never a driver's own pool."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from forebay.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from forebay._core import StatementJudge
    from forebay.dbproxy.secrets import Credentials
    from forebay.dbproxy.session import Meaning
    from forebay.dbproxy.settings import Address, ProxySettings


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement without rows did.

    Attributes:
        row_count: rows inserted, found by an update, or deleted (for PostgreSQL also selected or copied).
        last_insert_id: MySQL's generated key of the first inserted row; 0 when there is none, and on PostgreSQL, which
            has ``RETURNING`` for that.
        status: PostgreSQL's command tag (``INSERT 0 1``); empty on MySQL.

    """

    row_count: int = 0
    last_insert_id: int = 0
    status: str = ""


class ServerFull(DatabaseUnavailable):
    """The server has no room for another connection now: clients wait for those that there are."""


class OutOfStep(Exception):
    """The server sent more than the answer to the question."""

    def __str__(self) -> str:
        return "it sent more than the answer to the question"


class OthersFault(Exception):
    """What the user gave to read from or to write to has failed, which is its cause."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A driver's exception, translated.

    Attributes:
        error: what the user is told.
        broken: the connection cannot be used any more.
        read_only: the server refused to write because it is not the writer (any more).
        is_users: the user's own code raised it, and it is raised as it is.

    """

    error: Exception
    broken: bool
    read_only: bool = False
    is_users: bool = False


class Wire(Protocol):
    """One connection to a server, through its driver.

    Attributes:
        server_id: the server's own number of the connection.
        out_of_step: the server sent more than the answer to the question: no answer is to be trusted.

    """

    engine: str
    server_id: int
    out_of_step: bool
    socket: socket.socket
    server_version: str

    def is_broken(self) -> bool:
        """Tell whether the connection is known to be gone."""
        ...

    def is_unfit(self) -> bool:
        """Tell whether the next client cannot have it: it is gone, or something that nobody has asked for lies on it unread."""
        ...

    def in_transaction(self) -> bool:
        """Tell what the server's last answer said: a transaction is open."""
        ...

    def fetch_all(self, sql: str, args: Sequence[Any]) -> Awaitable[list[Any]]:
        """Run a statement and give all its rows."""
        ...

    def fetch_one(self, sql: str, args: Sequence[Any]) -> Awaitable[Any]:
        """Run a statement and give its first row, or None."""
        ...

    def fetch_value(self, sql: str, args: Sequence[Any]) -> Awaitable[Any]:
        """Run a statement and give the first column of its first row, or None."""
        ...

    def execute(self, sql: str, args: Sequence[Any]) -> Awaitable[Result]:
        """Run a statement for its effect."""
        ...

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> Awaitable[Result]:
        """Run a statement once per row of arguments."""
        ...

    def stream(self, sql: str, args: Sequence[Any], prefetch: int) -> AsyncIterator[Any]:
        """Run a statement and give its rows as they come."""
        ...

    def reads_standard(self) -> bool:
        """Tell whether the server's texts end as it says by default (PostgreSQL's ``standard_conforming_strings``)."""
        ...

    async def reads_by(self) -> tuple[str, str]:
        """Ask by which mode a new connection reads its texts, and what its database is."""
        ...

    async def search_path(self) -> str:
        """Ask where a new connection looks names up, as PostgreSQL writes it; empty if it has no such setting."""
        ...

    def stopped_at_reading(self, error: BaseException) -> bool:
        """Tell whether the server refused a text before it ran any of it."""
        ...

    def refused_several(self, error: BaseException) -> bool:
        """Tell whether the server refused to run any of a text because it has several statements."""
        ...

    def note_error(self, error: Exception) -> None:
        """Take note of what an error means that an adapter got as the driver raised it."""
        ...

    async def after_error(self) -> None:
        """Learn from the server whether the statement that it refused left a transaction open, if the driver cannot know."""
        ...

    async def held(self, pins: Sequence[str], locks: Sequence[tuple[str, str]]) -> set[str]:
        """Ask the server which of these pin causes still exist; causes it cannot tell are given back as held.

        Args:
            pins: the causes.
            locks: those that are named locks, with their names, as far as they may have ended.

        """
        ...

    def without_limits(self) -> AbstractAsyncContextManager[None]:
        """Ask in a client's session, not under its time limits; a question that fails leaves its transaction as it was."""
        ...

    async def reset(self) -> None:
        """Bring the session back to what it was when it was opened (without ``init_query``)."""
        ...

    def remembers(self) -> bool:
        """Tell whether answers since the last clearing have left what a session can be asked for, such as warnings."""
        ...

    async def forget_memory(self) -> None:
        """Clear what the session can be asked for about the statements before."""
        ...

    def share_prepared(self, meaning: Callable[[], Meaning]) -> None:
        """Use a statement that was prepared before only where the session gives its text the same meaning."""
        ...

    def close_nothing(self) -> None:
        """Close no prepared statement at the server any more: the connection is closed soon, and they may be gone by then."""
        ...

    def forget_changed(self) -> None:
        """Drop what was prepared under a change of the session that has ended."""
        ...

    def forget_prepared(self) -> None:
        """Drop everything that was prepared: the session's next client would be shown it."""
        ...

    async def close_prepared(self) -> None:
        """Drop everything that was prepared, and close it at the server at once."""
        ...

    async def apply(self, assignments: Sequence[tuple[str, str]]) -> None:
        """Replay tracked settings."""
        ...

    async def is_writer(self) -> bool:
        """Ask the server whether it accepts writes."""
        ...

    async def replica_lag(self) -> float | None:
        """Ask a replica how many seconds it is behind the writer; None when it does not know."""
        ...

    async def connection_limit(self) -> int:
        """Ask the server how many connections it allows its users."""
        ...

    async def kill(self, server_id: int) -> None:
        """End another connection of the same user, if the engine needs a statement for that."""
        ...

    async def close(self, *, interrupted: bool) -> None:
        """End the protocol and drop the transport; the duplicated socket stays open until the server has closed its end."""
        ...

    def abort(self) -> None:
        """Drop the transport at once; whoever waits for an answer gets an error."""
        ...


class Driver(Protocol):
    """One engine."""

    engine: str
    needs_kill: bool  # a running statement ends only by a statement on another connection
    judge: StatementJudge

    async def open(self, address: Address, credentials: Credentials, settings: ProxySettings) -> Wire:
        """Open one connection. Raises the driver's own errors."""
        ...

    def translate(self, error: BaseException, wire: Wire | None, where: str) -> Failure:
        """Translate a driver's exception."""
        ...


# A peer that is gone without a word, or a firewall that has forgotten the connection, is noticed within 15 s: when nothing was
# heard for 5 s the kernel asks three times, 3 s apart; and what was sent has 12 s to be acknowledged.
KEEPALIVE_IDLE_SECONDS = 5
KEEPALIVE_INTERVAL_SECONDS = 3
KEEPALIVE_PROBES = 3
UNACKNOWLEDGED_MILLISECONDS_MAX = 12_000
_KEEPALIVE = (
    ("TCP_KEEPIDLE", KEEPALIVE_IDLE_SECONDS),
    ("TCP_KEEPALIVE", KEEPALIVE_IDLE_SECONDS),  # the same on macOS
    ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_SECONDS),
    ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MILLISECONDS_MAX),
)


def duplicate_socket(transport: Any) -> socket.socket:
    """Duplicate a transport's socket, so that the server's end can be watched after the driver has dropped its own.

    Options are the socket's, not the descriptor's: the keepalive that is set here holds for the transport.
    """
    sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return sock
