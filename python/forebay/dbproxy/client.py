"""A client connection: cheap, one per handler, thousands at a time. It borrows a DB connection per statement or transaction."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NoReturn, Self

from forebay.dbproxy.arguments import (
    call_seconds,
    check_copied_rows,
    checked_arguments,
    checked_prefetch,
    checked_rows,
)
from forebay.dbproxy.driver import Result
from forebay.dbproxy.listen import listen
from forebay.dbproxy.postgres_copy import check_sink, check_source, quoted
from forebay.dbproxy.transaction import Transaction
from forebay.errors import ClientClosed, DBProxyError, InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Iterable, Sequence
    from datetime import timedelta
    from types import TracebackType

    from forebay.dbproxy.lender import Lender
    from forebay.dbproxy.postgres_copy import Sink, Source
    from forebay.dbproxy.proxy import DBProxy


def _given(args: Any, client: Client) -> Any:
    """Give a statement's arguments back as ``checked_arguments`` does; None is none."""
    if type(args) is tuple:
        return args
    return () if args is None else checked_arguments(args, client.engine)


async def _rows(borrower: Lender, sql: str, args: Any, prefetch: int, limit: float | None) -> AsyncGenerator[Any, None]:
    """Give a stream's rows; on PostgreSQL in a transaction."""
    if borrower.busy:  # perhaps with a stream that was left, whose transaction is still open
        await borrower.come_free()
    own = borrower.engine == "postgresql" and not (borrower.lost or borrower.is_open)
    if own:
        await borrower.run("execute", "BEGIN", (), limit)
    reached_end = False
    try:
        async with contextlib.aclosing(borrower.stream(sql, args, prefetch=prefetch, limit=limit)) as rows:
            async for row in rows:
                yield row
        reached_end = True
    finally:
        if own and not borrower.closed_because:
            await borrower.run("execute", "COMMIT" if reached_end else "ROLLBACK", (), limit)


class RowStream:
    """The rows of a statement as they come, for ``async for``. One that nobody holds any more is closed, as ``aclose`` does."""

    __slots__ = ("_borrower", "_rows")

    def __init__(self, borrower: Lender, rows: AsyncGenerator[Any, None]) -> None:
        self._borrower = borrower
        self._rows = rows

    def __aiter__(self) -> Self:
        """Iterate over the rows."""
        return self

    def __anext__(self) -> Awaitable[Any]:
        """Give the next row."""
        return self._rows.__anext__()

    async def aclose(self) -> None:
        """Read no further, and give the DB connection back."""
        await self._rows.aclose()

    def __del__(self) -> None:
        if getattr(self._rows, "ag_frame", None) is not None:  # it has not ended
            self._borrower.leave(self._rows)


class Client:
    """One client connection. Used by one task at a time; ``async with`` opens and closes it.

    Arguments are written in the engine's own style: ``%s`` or ``%(name)s`` for MySQL, ``$1`` for PostgreSQL; None is no
    arguments. Rows answer to positions and to names. A statement's ``timeout`` is in seconds and counts from the moment a DB
    connection is borrowed, or a ``timedelta``; 0.001 to 86,400 s, and infinity is the most; ``query_timeout`` when None.

    Every statement may raise:
        BorrowTimeout: no DB connection became free within the borrow timeout.
        DatabaseUnavailable: no server could be reached in that time, or none is the writer.
        DatabaseError: the server refused the statement.
        QueryTimeout: it did not end in time. It was cancelled at the server, its connection closed. Or no time was left at the
            start: nothing was sent, and a transaction is still open.
        ConnectionLost: the server went away during a transaction, or under a pinned session.
        CommitUnknown: the answer to COMMIT, or to a write outside of a transaction, was lost. Nothing is repeated silently.
        ClientClosed: this client connection is closed.

    """

    __slots__ = ("_borrower", "_proxy", "_savepoints", "_user", "opened_at", "read_only")

    def __init__(self, proxy: DBProxy, *, read_only: bool, user: str | None = None) -> None:
        self._proxy = proxy
        self._borrower: Lender | None = None
        self._savepoints = 0
        self._user = user
        self.read_only = read_only
        self.opened_at = 0.0

    def __repr__(self) -> str:
        state = "not open" if self._borrower is None else self._borrower.closed_because or "open"
        return f"<forebay.dbproxy.Client {self.number}: {state}>"

    async def __aenter__(self) -> Self:
        """Open the client connection; see ``DBProxy.connect``."""
        if self._borrower is not None:
            raise ClientClosed(f"client {self.number} was open before: make a new one with proxy.connect()")
        self._borrower = await self._proxy.admit(self, read_only=self.read_only, user=self._user)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _open(self) -> Lender:
        return self._borrower or self._not_open()

    def _not_open(self) -> NoReturn:
        raise ClientClosed("this client is not open: use `async with proxy.connect() as client`")

    # Statements

    def fetch_all(
        self, sql: str, args: Sequence[Any] | None = (), *, timeout: float | timedelta | None = None
    ) -> Awaitable[list[Any]]:
        """Run a statement and give all its rows."""
        return (self._borrower or self._not_open()).run("fetch_all", sql, _given(args, self), timeout)

    def fetch_one(
        self, sql: str, args: Sequence[Any] | None = (), *, timeout: float | timedelta | None = None
    ) -> Awaitable[Any]:
        """Run a statement and give its first row, or None."""
        return (self._borrower or self._not_open()).run("fetch_one", sql, _given(args, self), timeout)

    def fetch_value(
        self, sql: str, args: Sequence[Any] | None = (), *, timeout: float | timedelta | None = None
    ) -> Awaitable[Any]:
        """Run a statement and give the first column of its first row, or None."""
        return (self._borrower or self._not_open()).run("fetch_value", sql, _given(args, self), timeout)

    def execute(
        self, sql: str, args: Sequence[Any] | None = (), *, timeout: float | timedelta | None = None
    ) -> Awaitable[Result]:
        """Run a statement for its effect."""
        return (self._borrower or self._not_open()).run("execute", sql, _given(args, self), timeout)

    async def executemany(
        self,
        sql: str,
        rows: Iterable[Sequence[Any]],
        *,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - a driver's own, honoured by cancelling at the server
    ) -> Result:
        """Run a statement once per row of arguments. PostgreSQL: all of them or none, and no count.

        Args:
            sql: the statement.
            rows: the rows, from a generator as well. All of them are in memory; ``copy_rows`` takes them one by one.
            timeout: seconds for all of it, 0.001 to 86,400.

        """
        borrower = self._borrower or self._not_open()
        taken = checked_rows(rows, self.engine)
        if not taken:
            return Result()
        result: Result = await borrower.run("execute_many", sql, taken, timeout)
        return result

    def stream(
        self,
        sql: str,
        args: Sequence[Any] | None = (),
        *,
        prefetch: int = 1000,
        timeout: float | timedelta | None = None,
    ) -> RowStream:
        """Give rows as they come, ``prefetch`` at a time; the DB connection is borrowed until the last one.

        On PostgreSQL this runs in a transaction, in one of its own if there is none. On MySQL leaving early closes the DB
        connection, for there is no other way to stop the server. ``timeout`` is for each wait.

        Raises:
            InvalidParameterValue: ``prefetch`` is not 1 to 2,147,483,647, or ``timeout`` over 86,400 s.
            QueryTimeout: ``timeout`` is less than 0.001 s: no time is left.

        """
        borrower = self._borrower or self._not_open()
        limit = None if timeout is None else call_seconds(timeout)
        return RowStream(borrower, _rows(borrower, sql, _given(args, self), checked_prefetch(prefetch), limit))

    def listen(self, channel: str) -> AsyncGenerator[str, None]:
        """Give the payloads of ``NOTIFY`` on a channel as they come (PostgreSQL). The client is pinned while it listens.

        Between two notifications the client may run statements. End it with ``aclose()``, or by ``contextlib.aclosing``.

        Raises:
            InvalidParameterValue: the engine is not PostgreSQL.
            ConnectionLost: the connection is gone; notifications may have been missed.
            DBProxyError: more than 10,000 notifications were waiting to be read.

        """
        if self.engine != "postgresql":
            raise InvalidParameterValue("listen: only PostgreSQL has it")
        if not isinstance(channel, str) or not channel:
            raise InvalidParameterValue(f"channel={channel!r}: must be the name of a channel")
        return listen(self._borrower or self._not_open(), channel)

    # COPY

    def copy_from(self, sql: str, source: Source, *, timeout: float | timedelta | None = None) -> Awaitable[Result]:
        """Run ``COPY … FROM STDIN`` with the bytes of a source (PostgreSQL).

        Args:
            sql: the statement, with its format: ``COPY orders (id, price) FROM STDIN WITH (FORMAT csv)``.
            source: bytes, a ``pathlib.Path``, a binary file, or what gives bytes in pieces. What it raises ends the COPY.
            timeout: seconds for all of it.

        Raises:
            InvalidParameterValue: the engine is not PostgreSQL, or the statement is no such COPY.

        """
        check_source(source)
        return self._copy("copy_in", sql, source, timeout, "in")

    def copy_to(self, sql: str, sink: Sink, *, timeout: float | timedelta | None = None) -> Awaitable[Result]:
        """Run ``COPY … TO STDOUT`` into a sink (PostgreSQL). It is never repeated.

        Args:
            sql: the statement: ``COPY (SELECT …) TO STDOUT WITH (FORMAT csv, HEADER)``.
            sink: a ``pathlib.Path``, a binary file, or a function (``async`` or not) that is called with each piece.
            timeout: seconds for all of it.

        Raises:
            InvalidParameterValue: the engine is not PostgreSQL, or the statement is no such COPY.

        """
        check_sink(sink)
        return self._copy("copy_out", sql, sink, timeout, "out")

    def copy_rows(
        self,
        table: str,
        rows: Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]],
        *,
        columns: Sequence[str] | None = None,
        schema: str | None = None,
        timeout: float | timedelta | None = None,
    ) -> Awaitable[Result]:
        """Copy rows into a table in PostgreSQL's binary form, the fastest way in: all of them or none.

        Args:
            table: its name, as it is; it is quoted.
            rows: Python values for each row, as they are given to a statement. They are taken one by one.
            columns: names of the columns that the rows have; all of the table's when None.
            schema: the table's schema; by the search path when None.
            timeout: seconds for all of it.

        Raises:
            InvalidParameterValue: the engine is not PostgreSQL, or a row does not fit: it names the row.

        """
        check_copied_rows(rows, columns)
        names = None if columns is None else list(columns)
        where = ".".join(quoted(part) for part in (schema, table) if part is not None)
        listed = ", ".join(map(quoted, names or ()))
        sql = f"COPY {where}{f' ({listed})' if listed else ''} FROM STDIN"
        return self._copy("copy_rows", sql, (table, rows, names, schema), timeout, "in")

    def _copy(self, verb: str, sql: str, what: Any, limit: float | timedelta | None, rows: str) -> Awaitable[Result]:
        if self.engine != "postgresql":
            raise InvalidParameterValue("COPY: only PostgreSQL has it")
        return (self._borrower or self._not_open()).run(verb, sql, (what,), limit, rows)

    def transaction(
        self, *, isolation: str | None = None, read_only: bool | None = None, deferrable: bool | None = None
    ) -> Transaction:
        """Make a transaction for ``async with``: commit at its end, roll back on an exception. Inside another: a savepoint.

        When a statement inside ends the transaction (``COMMIT``, on MySQL also DDL), the next one is refused with
        ``DBProxyError``, unless it is ``BEGIN``: it would run outside of a transaction.

        Args:
            isolation: ``"read uncommitted"``, ``"read committed"``, ``"repeatable read"`` or ``"serializable"``; the server's
                default when None.
            read_only: True refuses writes.
            deferrable: PostgreSQL only.

        """
        return Transaction(self, self._open, isolation=isolation, read_only=read_only, deferrable=deferrable)

    # What it is

    @property
    def number(self) -> int:
        """The client's number in ``DBProxy.pinned()`` and in logs; 0 before it is open."""
        return 0 if self._borrower is None else self._borrower.number

    @property
    def engine(self) -> str:
        """``"mysql"`` or ``"postgresql"``."""
        return self._proxy.engine

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        borrower = self._borrower
        return borrower is not None and (borrower.is_open or (borrower.lost and borrower.over is None))

    @property
    def pins(self) -> tuple[str, ...]:
        """Causes that tie this client to its DB connection, as ``kind:name``."""
        return () if self._borrower is None else tuple(self._borrower.session.pins)

    def next_savepoint(self) -> str:
        """Make a savepoint's name, unique in this client."""
        self._savepoints += 1
        return f"forebay_{self._savepoints}"

    async def close(self) -> None:
        """Close the client connection. An open transaction is rolled back, its DB connection reset and lent on.

        Raises:
            DBProxyError: it is called in another event loop than the client's own, which has not ended.

        """
        borrower = self._borrower
        if borrower is None or borrower.closed_because:
            return
        if not (borrower.is_at_home() or borrower.is_left_behind()):
            raise DBProxyError(f"client {self.number} belongs to another event loop: close it in that one")
        self._proxy.dismiss(borrower, "it was closed")
