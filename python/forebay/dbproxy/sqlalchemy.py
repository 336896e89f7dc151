"""SQLAlchemy over the proxy: ``create_async_engine(proxy)`` for MySQL, MariaDB and PostgreSQL.

SQLAlchemy keeps its own dialects and drivers, but not its pool: each of its connections is borrowed, from its first statement to
its commit, rollback or close. Nothing is set on a driver's connection that the next client could see.
"""

from __future__ import annotations

import re
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from forebay.dbproxy.borrowed_connection import BorrowedConnection
from forebay.dbproxy.connection import AUTOCOMMIT_OFF
from forebay.dbproxy.proxy import DBProxy
from forebay.dbproxy.session import DEFAULTS
from forebay.errors import DBProxyError, InvalidParameterValue

try:
    from sqlalchemy.dialects import registry
    from sqlalchemy.dialects.mysql.asyncmy import MySQLDialect_asyncmy
    from sqlalchemy.dialects.postgresql.asyncpg import (
        AsyncAdapt_asyncpg_cursor,
        PGDialect_asyncpg,
        PGExecutionContext_asyncpg,
    )
    from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
    from sqlalchemy.pool import NullPool
    from sqlalchemy.util import await_only
except ImportError as error:
    raise DBProxyError(
        f"the adapter needs SQLAlchemy 2.0 or newer, with greenlet: pip install 'sqlalchemy[asyncio]>=2.0.40' ({error})"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from forebay.dbproxy.postgres import PostgresWire
    from forebay.dbproxy.prepared import Shown

_COUNT = re.compile(r"(?:SELECT|UPDATE|DELETE|INSERT \d+) (\d+)")
KEPT_MAX = 100  # as many loans at a time as are usual
_OF_THE_PROXY = (
    "creator", "async_creator", "connect_args", "max_overflow", "native_inet_types", "pool", "pool_logging_name", "pool_pre_ping",
    "pool_recycle", "pool_reset_on_return", "pool_size", "pool_timeout", "pool_use_lifo", "poolclass",
)  # fmt: skip


def create_async_engine(
    proxy: DBProxy, *, read_only: bool = False, user: str | None = None, **options: Any
) -> AsyncEngine:
    """Make an ``AsyncEngine`` whose connections are borrowed through the proxy.

    Args:
        proxy: open or not; it opens with the first connection. ``engine.dispose()`` leaves it open.
        read_only: borrow from the readers (several servers only).
        user: one of the proxy's ``users``; its own when None.
        options: ``sqlalchemy.ext.asyncio.create_async_engine``'s own, except those of its pool and driver connection.

    Raises:
        InvalidParameterValue: an option that belongs to the proxy.

    """
    if not isinstance(proxy, DBProxy):
        raise InvalidParameterValue(f"proxy={type(proxy).__name__}: must be a forebay.DBProxy, which has the URL")
    if not isinstance(read_only, bool):
        raise InvalidParameterValue(f"read_only={read_only!r}: must be True or False")
    for name in options:
        if name in _OF_THE_PROXY:
            raise InvalidParameterValue(f"{name}: the connections are the proxy's; give the setting to DBProxy")
    engine = {"mysql": "mysql", "postgresql": "postgresql"}[proxy.engine]
    dialect = {"mysql": "MySQLDialect", "postgresql": "PostgresDialect"}[proxy.engine]
    registry.register(f"{engine}.forebay", __name__, dialect)
    kinds: dict[str, type[MySQLConnection | PostgresConnection]]
    kinds = {"mysql": MySQLConnection, "postgresql": PostgresConnection}

    async def borrow(*_: Any, **__: Any) -> Any:
        connection = kinds[proxy.engine](proxy, read_only=read_only, user=user)
        await connection.borrow()
        return connection

    database = proxy.settings.target.database
    return sqlalchemy_asyncio.create_async_engine(
        f"{engine}+forebay:///{database}", async_creator=borrow, poolclass=LoanPool, **options
    )


class LoanPool(NullPool):
    """Keeps what SQLAlchemy makes around a connection, for the next loan. Connections themselves are the proxy's."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept: list[Any] = []

    def status(self) -> str:
        """Tell what is kept."""
        return f"LoanPool, {len(self._kept)} kept"

    def _do_get(self) -> Any:
        """Borrow. What listens for new connections hears of each loan, as each may be of another connection."""
        if not self._kept:
            return self._create_connection()
        record = self._kept.pop()
        adapted = record.dbapi_connection
        try:
            await_only(adapted._connection.borrow())  # noqa: SLF001 - what SQLAlchemy's own methods use
        except BaseException:
            self._kept.append(record)
            raise
        try:
            self.dispatch.connect(adapted, record)
        except BaseException:
            record.close()
            raise
        return record

    def _do_return_conn(self, record: Any) -> None:
        """Give the connection back."""
        adapted = record.dbapi_connection
        if adapted is None or len(self._kept) >= KEPT_MAX:
            record.close()
            return
        if self.dispatch.close:
            self.dispatch.close(adapted, record)
        self._dialect.do_close(adapted)
        record.info.clear()
        self._kept.append(record)

    def dispose(self) -> None:
        """Forget what is kept."""
        self._kept.clear()


class MySQLDialect(MySQLDialect_asyncmy):
    """SQLAlchemy's dialect for asyncmy, without its SET NAMES: every connection of the proxy has utf8mb4."""

    driver = "forebay"
    supports_statement_cache = True

    def on_connect(self) -> Callable[[Any], None]:
        """Do nothing when a connection is borrowed."""
        return lambda _: None

    def do_close(self, dbapi_connection: Any) -> None:
        """Give the connection back at once: no need to go by the event loop."""
        dbapi_connection._connection.close()  # noqa: SLF001 - what SQLAlchemy's own methods use


class PostgresDBAPICursor(AsyncAdapt_asyncpg_cursor):
    """SQLAlchemy's cursor for asyncpg, with a shorter way for a statement that is already prepared."""

    __slots__ = ()
    _description: Any

    async def _prepare_and_execute(self, operation: str, parameters: Any) -> Any:
        connection: PostgresConnection = self._connection  # type: ignore[assignment]
        adapted: Any = self._adapt_connection
        turn = adapted._execute_mutex  # noqa: SLF001 - what SQLAlchemy's own cursor uses, as all below
        if turn.locked() or self._invalidate_schema_cache_asof > adapted._invalidate_schema_cache_asof:  # noqa: SLF001
            return await super()._prepare_and_execute(operation, parameters)  # type: ignore[no-untyped-call]
        await turn.acquire()
        try:
            if adapted._transaction is None:  # noqa: SLF001
                await adapted._start_transaction()  # noqa: SLF001
            known = connection.prepared(operation)
            if known is not None:
                statement, _, self._description = known
                self._rows = deque(await connection.run_prepared(statement, *(parameters or ())))
                count = _COUNT.match(statement.get_statusmsg() or "")
                self._rowcount = int(count[1]) if count else -1
                return None
        except Exception as error:  # noqa: BLE001 - SQLAlchemy tells each kind apart, and raises
            self._handle_exception(error)  # type: ignore[no-untyped-call]
        finally:
            turn.release()
        return await super()._prepare_and_execute(operation, parameters)  # type: ignore[no-untyped-call]


class PostgresContext(PGExecutionContext_asyncpg):
    """SQLAlchemy's context of a statement, with that cursor."""

    def create_default_cursor(self) -> Any:
        """Make a cursor without rows that stay at the server."""
        adapted: Any = self._dbapi_connection.dbapi_connection
        return PostgresDBAPICursor(adapted)


class PostgresDialect(PGDialect_asyncpg):
    """SQLAlchemy's dialect for asyncpg, without its type codecs: JSON is read by SQLAlchemy, not by the shared connection."""

    driver = "forebay"
    supports_statement_cache = True
    supports_native_json_deserialization = False
    execution_ctx_cls = PostgresContext

    def on_connect(self) -> Callable[[Any], None]:
        """Set no codecs when a connection is borrowed. What is prepared is the DB connection's, and may be older than that."""

        def begun(connection: Any) -> None:
            connection._invalidate_schema_cache_asof = connection._connection.prepared_as_of  # noqa: SLF001
            # SQLAlchemy's own memory knows texts alone: it would take no note of a change in the session, or of what was dropped.
            connection._prepared_statement_cache = None  # noqa: SLF001

        return begun

    def do_close(self, dbapi_connection: Any) -> None:
        """Give the connection back at once: no need to go by the event loop, unless a transaction is still open."""
        try:
            dbapi_connection.rollback()
        finally:
            dbapi_connection._connection.terminate()  # noqa: SLF001 - what SQLAlchemy's own methods use


class MySQLConnection:
    """Stands where SQLAlchemy expects an asyncmy connection: loan after loan, one at a time."""

    _raw: Any

    def __init__(self, proxy: DBProxy, *, read_only: bool, user: str | None) -> None:
        self._borrowed = BorrowedConnection(proxy, suits_too=AUTOCOMMIT_OFF)
        self._read_only = read_only
        self._user = user
        self._commits_itself = False
        self._may_be_open = False  # a transaction that the server does not tell of: SAVEPOINT begins one

    async def borrow(self) -> None:
        """Borrow a connection, with autocommit on or off: what is needed is set before the first statement."""
        await self._borrowed.begin(read_only=self._read_only, user=self._user)
        self._raw = self._borrowed.wire.raw  # type: ignore[attr-defined]
        self._commits_itself = self._may_be_open = False

    def __getattr__(self, name: str) -> Any:
        """Give what the connection itself has; the proxy does not see what is done with it."""
        self._borrowed.require_reset(f"the driver's own {name}")
        return getattr(self._raw, name)

    def cursor(self, kind: Any = None) -> MySQLCursor:
        """Make a cursor."""
        return MySQLCursor(self, self._raw.cursor(kind), is_buffered=kind is None)

    async def execute(self, sql: str, work: Any, *args: Any) -> Any:
        """Run a statement by the driver's own method, in a transaction unless it is to commit by itself."""
        effect = await self._borrowed.judge(sql, has_arguments=bool(args) and args[0] is not None)
        commits = self._commits_itself
        self._may_be_open = self._may_be_open or not (commits or effect.repeatable)
        if bool(self._raw.get_autocommit()) is not commits:
            await self.use(self._raw.query, f"SET autocommit = {int(commits)}")
            self._borrowed.settled(DEFAULTS if commits else AUTOCOMMIT_OFF)
        result = await self.use(work, sql, *args)
        if effect.sets or effect.unsets:
            self._borrowed.follow(effect)
        return result

    def use(self, work: Any, *args: Any, **options: Any) -> Awaitable[Any]:
        """Do something over the connection."""
        return self._borrowed.use(work, *args, **options)

    async def commit(self) -> None:
        """End the transaction, if there is one."""
        may_be_open, self._may_be_open = self._may_be_open, False
        if may_be_open or self._borrowed.wire.in_transaction():
            await self._borrowed.commit(self._raw.query, "COMMIT")

    async def rollback(self) -> None:
        """Undo the transaction, if there is one and it was not lost. Under rows that still come the connection is dropped."""
        if self._borrowed.is_over:
            return
        may_be_open, self._may_be_open = self._may_be_open, False
        result = self._raw._result  # noqa: SLF001 - asyncmy shows an unread stream nowhere else
        if result is not None and result.unbuffered_active:
            result.unbuffered_active = False
            self._borrowed.drop()
        elif may_be_open or self._borrowed.wire.in_transaction():
            await self._borrowed.use(self._raw.query, "ROLLBACK")

    def has_more_results(self) -> bool:
        """Tell whether results of the last statement are still to be read."""
        result = self._raw._result  # noqa: SLF001 - asyncmy shows it nowhere else
        return result is not None and bool(result.has_next)

    async def ping(self, *, reconnect: bool = False) -> None:  # noqa: ARG002 - the driver's own signature
        """Ask whether the server is there."""
        await self._borrowed.use(self._raw.ping, reconnect=False)

    async def autocommit(self, value: Any) -> None:
        """Have each statement be a transaction of its own, or not, from the next one on."""
        self._commits_itself = bool(value)

    def get_autocommit(self) -> bool:
        """Tell whether each statement is a transaction of its own."""
        return self._commits_itself

    def character_set_name(self) -> str:
        """Name the character set."""
        return str(self._raw.character_set_name())

    def get_server_info(self) -> str:
        """Tell the server's version."""
        return str(self._raw.get_server_info())

    async def ensure_closed(self) -> None:
        """Give the connection back."""
        self.close()

    def close(self) -> None:
        """Give the connection back; SQLAlchemy has rolled back before."""
        self._borrowed.end()


class MySQLCursor:
    """A cursor of asyncmy whose statements pass through the borrowed connection.

    Args:
        connection: that connection.
        cursor: the driver's.
        is_buffered: its rows have all come when a statement has run: to take them, nothing is sent or waited for.

    """

    def __init__(self, connection: MySQLConnection, cursor: Any, *, is_buffered: bool) -> None:
        self._connection = connection
        self._cursor = cursor
        self._is_buffered = is_buffered

    def __getattr__(self, name: str) -> Any:
        """Give what the cursor itself has: rows and what is known of them."""
        return getattr(self._cursor, name)

    async def __aenter__(self) -> Self:
        """Begin; nothing is sent."""
        return self

    async def execute(self, sql: str, args: Any = None) -> Any:
        """Run a statement."""
        return await self._connection.execute(sql, self._cursor.execute, args)

    async def executemany(self, sql: str, rows: Sequence[Any]) -> Any:
        """Run a statement once per row of arguments."""
        return await self._connection.execute(sql, self._cursor.executemany, rows)

    async def fetchone(self) -> Any:
        """Give the next row."""
        return await self._use(self._cursor.fetchone)

    async def fetchmany(self, size: int | None = None) -> Any:
        """Give the next rows."""
        return await self._use(partial(self._cursor.fetchmany, size=size))

    async def fetchall(self) -> Any:
        """Give all rows that are left."""
        return await self._use(self._cursor.fetchall)

    def _use(self, work: Any) -> Any:
        return work() if self._is_buffered else self._connection.use(work)

    async def nextset(self) -> Any:
        """Go to the next result."""
        return await self._connection.use(self._cursor.nextset)

    async def close(self) -> None:
        """Read what is left, and close."""
        if self._is_buffered and not self._connection.has_more_results():
            await self._cursor.close()
        else:
            await self._connection.use(self._cursor.close)

    def __aiter__(self) -> MySQLCursor:
        """Iterate over the rows."""
        return self

    async def __anext__(self) -> Any:
        """Give the next row."""
        row = await self.fetchone()
        if row is None:
            raise StopAsyncIteration
        return row


class PostgresConnection:
    """Stands where SQLAlchemy expects an asyncpg connection: loan after loan, one at a time."""

    _wire: PostgresWire
    _raw: Any
    _must_begin: bool
    """A transaction begins with the next statement."""

    def __init__(self, proxy: DBProxy, *, read_only: bool, user: str | None) -> None:
        self._borrowed = BorrowedConnection(proxy)
        self._read_only = read_only
        self._user = user

    async def borrow(self) -> None:
        """Borrow a connection."""
        await self._borrowed.begin(read_only=self._read_only, user=self._user)
        self._wire = self._borrowed.wire  # type: ignore[assignment]
        self._raw = self._wire.raw
        self._must_begin = False

    def __getattr__(self, name: str) -> Any:
        """Give what the connection itself has; the proxy does not see what is done with it."""
        self._borrowed.require_reset(f"the driver's own {name}")
        return getattr(self._raw, name)

    @property
    def prepared_as_of(self) -> float:
        """The Unix time since when the connection's prepared statements and types may be held for true."""
        return self._wire.prepared_as_of

    def use(self, work: Any, *args: Any, **options: Any) -> Awaitable[Any]:
        """Do something over the connection."""
        return self._borrowed.use(work, *args, **options)

    def begin(self) -> None:
        """Begin a transaction with the next statement."""
        self._must_begin = True

    async def begun(self) -> None:
        """Send the BEGIN that is owed."""
        if self._must_begin:
            self._must_begin = False
            await self.query("BEGIN")

    async def end(self, word: str) -> None:
        """End the transaction, unless it was lost or has not begun."""
        if self._must_begin:
            self._must_begin = False
        elif word == "COMMIT":
            await self._borrowed.commit(self._raw._protocol.query, word, None)  # noqa: SLF001 - as in `query`
        elif not self._borrowed.is_over:
            await self._borrowed.use(self._raw._protocol.query, word, None)  # noqa: SLF001 - as in `query`

    def query(self, sql: str) -> Awaitable[Any]:
        """Run a statement that the proxy has no need to judge."""
        return self._borrowed.use(self._raw._protocol.query, sql, None)  # noqa: SLF001 - `execute` looks at its arguments first

    def run_prepared(self, statement: Any, *args: Any, **options: Any) -> Awaitable[Any]:
        """Run a prepared statement and give all its rows; a transaction that is owed begins in the same round trip."""
        if not self._must_begin:
            return self._borrowed.use(statement.fetch, *args, **options)
        if self._wire.guard is None or not statement.get_name():  # over TLS, or with no name, it cannot
            return self._run_begun(statement, *args, **options)
        return self._borrowed.use(self._begin_with, statement, *args, **options)

    async def _run_begun(self, statement: Any, *args: Any, **options: Any) -> Any:
        await self.begun()
        return await self._borrowed.use(statement.fetch, *args, **options)

    def _begin_with(self, statement: Any, *args: Any, **options: Any) -> Awaitable[Any]:
        self._must_begin = False
        self._wire.guard.begin(self.begin)  # type: ignore[union-attr]  # if the driver refuses an argument, it is owed again
        return statement.fetch(*args, **options)  # type: ignore[no-any-return]

    def prepared(self, sql: str) -> Shown | None:
        """Give a statement that is already prepared, and that leaves nothing in the session; None for any other."""
        return self._wire.prepared(sql) if self._borrowed.is_plain(sql) else None

    async def prepare(self, sql: str, *, name: str | None = None) -> PostgresStatement:
        """Prepare a statement. Without a name, an earlier client's is used and kept for the next."""
        if not self._borrowed.is_plain(sql):
            await self._borrowed.judge(sql)
        if not name and (known := self._wire.prepared(sql)) is not None:
            return PostgresStatement(self, known.statement, known.attributes)
        await self.begun()
        prepare = self._raw._prepare  # noqa: SLF001 - asyncpg's own methods use its cache, its public `prepare` does not
        prepared = await self.use(prepare, sql, name=name or None, use_cache=not name)
        return PostgresStatement(self, prepared, prepared.get_attributes())

    async def execute(self, sql: str, *args: Any, **options: Any) -> Any:
        """Run statements."""
        await self._borrowed.judge(sql)
        await self.begun()
        return await self.use(self._raw.execute, sql, *args, **options)

    async def executemany(self, sql: str, rows: Sequence[Any], **options: Any) -> Any:
        """Run a statement once per row of arguments."""
        await self._borrowed.judge(sql)
        await self.begun()
        return await self.use(self._raw.executemany, sql, rows, **options)

    async def fetchrow(self, sql: str, *args: Any, **options: Any) -> Any:
        """Run a statement and give its first row."""
        await self._borrowed.judge(sql)
        await self.begun()
        return await self.use(self._raw.fetchrow, sql, *args, **options)

    def transaction(self, **options: Any) -> PostgresTransaction:
        """Make a transaction."""
        return PostgresTransaction(self, **options)

    async def set_type_codec(self, name: str, **_: Any) -> None:
        """Refuse: every client of the proxy would get such values."""
        raise InvalidParameterValue(
            f"set_type_codec({name!r}): the connection is shared; convert values in the statement"
        )

    async def reload_schema_state(self) -> None:
        """Have the driver prepare its statements anew and ask again what types there are."""
        await self._borrowed.use(self._wire.prepare_anew)

    def is_closed(self) -> bool:
        """Tell whether the connection was lost."""
        return self._borrowed.is_over or bool(self._raw.is_closed())

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - the driver's own signature
        """Give the connection back."""
        self._borrowed.end()

    def terminate(self) -> None:
        """Give the connection back."""
        self._borrowed.end()


class PostgresStatement:
    """A prepared statement of asyncpg that runs through the borrowed connection."""

    __slots__ = ("_attributes", "_borrowed", "_statement", "get_statusmsg")

    def __init__(self, borrowed: PostgresConnection, statement: Any, attributes: Any) -> None:
        self._borrowed = borrowed
        self._statement = statement
        self._attributes = attributes
        self.get_statusmsg = statement.get_statusmsg

    def __getattr__(self, name: str) -> Any:
        """Give what else is known of the statement."""
        return getattr(self._statement, name)

    def get_attributes(self) -> Any:
        """Give its columns."""
        return self._attributes

    def fetch(self, *args: Any, **options: Any) -> Awaitable[Any]:
        """Run it and give all its rows."""
        return self._borrowed.run_prepared(self._statement, *args, **options)

    async def cursor(self, *args: Any, **options: Any) -> PostgresCursor:
        """Run it and give its rows as they are asked for."""
        await self._borrowed.begun()

        async def opened() -> Any:
            return await self._statement.cursor(*args, **options)

        return PostgresCursor(self._borrowed, await self._borrowed.use(opened))


class PostgresCursor:
    """A cursor of asyncpg that is read through the borrowed connection."""

    def __init__(self, borrowed: PostgresConnection, cursor: Any) -> None:
        self._borrowed = borrowed
        self._cursor = cursor

    async def fetch(self, rows: int, **options: Any) -> Any:
        """Give the next rows."""
        return await self._borrowed.use(self._cursor.fetch, rows, **options)


class PostgresTransaction:
    """A transaction that begins and ends through the borrowed connection, with the settings that asyncpg's has."""

    def __init__(
        self,
        connection: PostgresConnection,
        *,
        isolation: str | None = None,
        readonly: bool = False,
        deferrable: bool = False,
    ) -> None:
        level = f" ISOLATION LEVEL {isolation.replace('_', ' ').upper()}" if isolation else ""
        self._modes = f"{level}{' READ ONLY' if readonly else ''}{' DEFERRABLE' if deferrable else ''}"
        self._connection = connection

    async def start(self) -> None:
        """Begin; without modes of its own, with the first statement."""
        if self._modes:
            await self._connection.query(f"BEGIN{self._modes}")
        else:
            self._connection.begin()

    async def commit(self) -> None:
        """Commit."""
        await self._connection.end("COMMIT")

    async def rollback(self) -> None:
        """Roll back, unless it was lost."""
        await self._connection.end("ROLLBACK")
