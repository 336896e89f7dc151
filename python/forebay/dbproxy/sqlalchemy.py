"""SQLAlchemy over the proxy: ``create_async_engine(proxy)`` for MySQL, MariaDB and PostgreSQL.

SQLAlchemy keeps its own dialects and drivers, but not its pool: each of its connections is borrowed, from its first statement to
its commit, rollback or close. Nothing is set on a driver's connection that the next client could see.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

from forebay.dbproxy.borrowed_connection import BorrowedConnection
from forebay.dbproxy.postgres import refuses_argument
from forebay.errors import DBProxyError, InvalidParameterValue

try:
    from sqlalchemy.dialects import registry
    from sqlalchemy.dialects.mysql.asyncmy import MySQLDialect_asyncmy
    from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
    from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
    from sqlalchemy.pool import NullPool
except ImportError as error:
    raise DBProxyError(
        f"the adapter needs SQLAlchemy 2.0 or newer, with greenlet: pip install 'sqlalchemy[asyncio]>=2.0.40' ({error})"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from forebay.dbproxy.postgres import PostgresWire
    from forebay.dbproxy.proxy import DBProxy

_OF_THE_PROXY = (
    "creator", "async_creator", "connect_args", "max_overflow", "native_inet_types", "pool", "pool_logging_name", "pool_pre_ping",
    "pool_recycle", "pool_reset_on_return", "pool_size", "pool_timeout", "pool_use_lifo", "poolclass",
)  # fmt: skip


def create_async_engine(proxy: DBProxy, *, read_only: bool = False, **options: Any) -> AsyncEngine:
    """Make an ``AsyncEngine`` whose connections are borrowed through the proxy.

    Args:
        proxy: open or not; it opens with the first connection. ``engine.dispose()`` leaves it open.
        read_only: borrow from the readers (several servers only).
        options: ``sqlalchemy.ext.asyncio.create_async_engine``'s own, except those of its pool and driver connection.

    Raises:
        InvalidParameterValue: an option that belongs to the proxy.

    """
    for name in options:
        if name in _OF_THE_PROXY:
            raise InvalidParameterValue(f"{name}: the connections are the proxy's; give the setting to DBProxy")
    engine = {"mysql": "mysql", "postgresql": "postgresql"}[proxy.engine]
    dialect = {"mysql": "MySQLDialect", "postgresql": "PostgresDialect"}[proxy.engine]
    registry.register(f"{engine}.forebay", __name__, dialect)
    kind = {"mysql": MySQLConnection, "postgresql": PostgresConnection}[proxy.engine]

    async def borrow(*_: Any, **__: Any) -> Any:
        return kind(await BorrowedConnection(proxy).begin(read_only=read_only))

    database = proxy.settings.target.database
    return sqlalchemy_asyncio.create_async_engine(
        f"{engine}+forebay:///{database}", async_creator=borrow, poolclass=NullPool, **options
    )


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


class PostgresDialect(PGDialect_asyncpg):
    """SQLAlchemy's dialect for asyncpg, without its type codecs: JSON is read by SQLAlchemy, not by the shared connection."""

    driver = "forebay"
    supports_statement_cache = True
    supports_native_json_deserialization = False

    def on_connect(self) -> Callable[[Any], None]:
        """Set no codecs when a connection is borrowed. What is prepared is the DB connection's, and may be older than that."""

        def begun(connection: Any) -> None:
            connection._invalidate_schema_cache_asof = connection._connection.prepared_as_of  # noqa: SLF001
            # SQLAlchemy's own memory knows texts alone: it would take no note of a change in the session, or of what was dropped.
            connection._prepared_statement_cache = None  # noqa: SLF001

        return begun

    def do_close(self, dbapi_connection: Any) -> None:
        """Give the connection back at once: no need to go by the event loop, unless a transaction is still open."""
        dbapi_connection.rollback()
        dbapi_connection._connection.terminate()  # noqa: SLF001 - what SQLAlchemy's own methods use


class MySQLConnection:
    """Stands where SQLAlchemy expects an asyncmy connection."""

    def __init__(self, borrowed: BorrowedConnection) -> None:
        self._borrowed = borrowed
        self._raw: Any = borrowed.wire.raw  # type: ignore[attr-defined]
        self._commits_itself = False

    def __getattr__(self, name: str) -> Any:
        """Give what the connection itself has; the proxy does not see what is done with it."""
        self._borrowed.require_reset(f"the driver's own {name}")
        return getattr(self._raw, name)

    def cursor(self, kind: Any = None) -> MySQLCursor:
        """Make a cursor."""
        return MySQLCursor(self, self._raw.cursor(kind))

    async def execute(self, sql: str, work: Any, *args: Any) -> Any:
        """Run a statement by the driver's own method; begin a transaction first, unless it is to commit by itself."""
        effect = self._borrowed.classify(sql)
        ends = effect.transaction in {"begin", "commit", "rollback"}
        begins = not (ends or self._commits_itself or effect.sets or self._borrowed.wire.in_transaction())
        if begins:
            await self._borrowed.use(self._raw.query, "BEGIN")
        return await self._borrowed.use(work, sql, *args)

    async def use(self, work: Any, *args: Any, **options: Any) -> Any:
        """Do something else over the connection."""
        return await self._borrowed.use(work, *args, **options)

    async def commit(self) -> None:
        """End the transaction, if there is one."""
        if self._borrowed.wire.in_transaction():
            await self._borrowed.commit(self._raw.query, "COMMIT")

    async def rollback(self) -> None:
        """Undo the transaction, if there is one and it was not lost. Under rows that still come the connection is dropped."""
        if self._borrowed.is_over:
            return
        result = self._raw._result  # noqa: SLF001 - asyncmy shows an unread stream nowhere else
        if result is not None and result.unbuffered_active:
            result.unbuffered_active = False
            self._borrowed.drop()
        elif self._borrowed.wire.in_transaction():
            await self._borrowed.use(self._raw.query, "ROLLBACK")

    async def ping(self, *, reconnect: bool = False) -> None:  # noqa: ARG002 - the driver's own signature
        """Ask whether the server is there."""
        await self._borrowed.use(self._raw.ping, reconnect=False)

    async def autocommit(self, value: Any) -> None:
        """Have each statement be a transaction of its own, or not. The session's own autocommit stays on."""
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
    """A cursor of asyncmy whose statements pass through the borrowed connection."""

    def __init__(self, connection: MySQLConnection, cursor: Any) -> None:
        self._connection = connection
        self._cursor = cursor

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
        return await self._connection.use(self._cursor.fetchone)

    async def fetchmany(self, size: int | None = None) -> Any:
        """Give the next rows."""
        return await self._connection.use(partial(self._cursor.fetchmany, size=size))

    async def fetchall(self) -> Any:
        """Give all rows that are left."""
        return await self._connection.use(self._cursor.fetchall)

    async def nextset(self) -> Any:
        """Go to the next result."""
        return await self._connection.use(self._cursor.nextset)

    async def close(self) -> None:
        """Read what is left, and close."""
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
    """Stands where SQLAlchemy expects an asyncpg connection."""

    def __init__(self, borrowed: BorrowedConnection) -> None:
        self._borrowed = borrowed
        self._wire: PostgresWire = borrowed.wire  # type: ignore[assignment]
        self._raw = self._wire.raw

    def __getattr__(self, name: str) -> Any:
        """Give what the connection itself has; the proxy does not see what is done with it."""
        self._borrowed.require_reset(f"the driver's own {name}")
        return getattr(self._raw, name)

    @property
    def prepared_as_of(self) -> float:
        """The Unix time since when the connection's prepared statements and types may be held for true."""
        return self._wire.prepared_as_of

    async def use(self, work: Any, *args: Any, **options: Any) -> Any:
        """Do something over the connection."""
        try:
            return await self._borrowed.use(work, *args, **options)
        except Exception as error:
            if refuses_argument(error):
                self._wire.forget_refused()
            raise

    async def prepare(self, sql: str, *, name: str | None = None) -> PostgresStatement:
        """Prepare a statement. Without a name, an earlier client's is used and kept for the next."""
        self._borrowed.classify(sql)
        prepare = self._raw._prepare  # noqa: SLF001 - asyncpg's own methods use its cache, its public `prepare` does not
        return PostgresStatement(self, await self.use(prepare, sql, name=name or None, use_cache=not name))

    async def execute(self, sql: str, *args: Any, **options: Any) -> Any:
        """Run statements."""
        self._borrowed.classify(sql)
        return await self.use(self._raw.execute, sql, *args, **options)

    async def executemany(self, sql: str, rows: Sequence[Any], **options: Any) -> Any:
        """Run a statement once per row of arguments."""
        self._borrowed.classify(sql)
        return await self.use(self._raw.executemany, sql, rows, **options)

    async def fetchrow(self, sql: str, *args: Any, **options: Any) -> Any:
        """Run a statement and give its first row."""
        self._borrowed.classify(sql)
        return await self.use(self._raw.fetchrow, sql, *args, **options)

    def transaction(self, **options: Any) -> PostgresTransaction:
        """Make a transaction."""
        return PostgresTransaction(self._borrowed, self._raw.transaction(**options))

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

    def __init__(self, borrowed: PostgresConnection, statement: Any) -> None:
        self._borrowed = borrowed
        self._statement = statement

    def __getattr__(self, name: str) -> Any:
        """Give what is known of the statement."""
        return getattr(self._statement, name)

    async def fetch(self, *args: Any, **options: Any) -> Any:
        """Run it and give all its rows."""
        return await self._borrowed.use(self._statement.fetch, *args, **options)

    async def cursor(self, *args: Any, **options: Any) -> PostgresCursor:
        """Run it and give its rows as they are asked for."""

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
    """A transaction of asyncpg that begins and ends through the borrowed connection."""

    def __init__(self, borrowed: BorrowedConnection, transaction: Any) -> None:
        self._borrowed = borrowed
        self._transaction = transaction

    async def start(self) -> None:
        """Begin."""
        await self._borrowed.use(self._transaction.start)

    async def commit(self) -> None:
        """Commit."""
        await self._borrowed.commit(self._transaction.commit)

    async def rollback(self) -> None:
        """Roll back, unless it was lost."""
        if not self._borrowed.is_over:
            await self._borrowed.use(self._transaction.rollback)
