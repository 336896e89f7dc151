"""The proxy and its peers, each brought to the same face: ask ``SELECT 1``, or borrow a connection and give it back."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

CONNECTIONS = 10
ALL_WORKS = ("select", "borrow", "turn", "storm")


@dataclass(frozen=True, slots=True)
class Asks:
    """What a client of a peer can do; each call takes the client's number."""

    select: Callable[[int], Awaitable[Any]]
    borrow: Callable[[int], Awaitable[Any]]
    turn: Callable[[int], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to a server: ``postgresql``, ``mysql`` or ``pgbouncer``."""

    name: str
    server: str
    opened: Callable[[str, int], contextlib.AbstractAsyncContextManager[Asks]]
    packages: tuple[str, ...]
    works: tuple[str, ...] = ALL_WORKS

    @contextlib.asynccontextmanager
    async def looked_at(self, url: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
        """Give a way to ask the server how many connections of this user it has."""
        from forebay.dbproxy import DBProxy  # noqa: PLC0415

        if self.server == "mysql":
            table, mine = "information_schema.processlist", "user = substring_index(user(), '@', 1)"
        else:  # PostgreSQL's own background workers are listed under its first user, who is the bench
            table, mine = "pg_stat_activity", "usename = current_user AND backend_type = 'client backend'"
        async with DBProxy(url, maximum_connections=1) as proxy, proxy.connect() as client:
            yield lambda: client.fetch_value(f"SELECT count(*) FROM {table} WHERE {mine}")  # noqa: S608 - no input in it


def _login(url: str, database: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "host": parts.hostname,
        "port": parts.port,
        "user": parts.username,
        "password": unquote(parts.password or ""),
        database: parts.path[1:],
    }


def _borrowed(select: Callable[[int], Awaitable[Any]], acquire: Callable[[], Any]) -> Asks:
    """Make the two ways of borrowing from a pool's own context manager."""

    async def borrow(_: int) -> None:
        async with acquire():
            pass

    async def turn(_: int) -> None:
        async with acquire():
            await asyncio.sleep(0)

    return Asks(select, borrow, turn)


@contextlib.asynccontextmanager
async def forebay(url: str, clients: int) -> AsyncIterator[Asks]:
    """Open this proxy, and a client connection for each client."""
    from forebay.dbproxy import DBProxy  # noqa: PLC0415
    from forebay.dbproxy.borrowed_connection import BorrowedConnection  # noqa: PLC0415

    proxy = DBProxy(url, maximum_connections=CONNECTIONS, minimum_connections=CONNECTIONS)
    async with proxy, contextlib.AsyncExitStack() as stack:
        known = [await stack.enter_async_context(proxy.connect()) for _ in range(clients)]
        loans = [await BorrowedConnection(proxy).admitted() for _ in range(clients)]

        async def borrow(number: int) -> None:
            await loans[number].take()
            loans[number].give_back()

        async def turn(number: int) -> None:
            await loans[number].take()
            await asyncio.sleep(0)
            loans[number].give_back()

        yield Asks(lambda number: known[number].fetch_value("SELECT 1"), borrow, turn)
        for loan in loans:
            loan.end()


@contextlib.asynccontextmanager
async def forebay_sqlalchemy(url: str, clients: int) -> AsyncIterator[Asks]:
    """Open SQLAlchemy over this proxy."""
    from forebay.dbproxy import DBProxy  # noqa: PLC0415
    from forebay.dbproxy.sqlalchemy import create_async_engine  # noqa: PLC0415

    async with DBProxy(url, maximum_connections=CONNECTIONS, minimum_connections=CONNECTIONS) as proxy:
        yield _sqlalchemy(create_async_engine(proxy))


@contextlib.asynccontextmanager
async def sqlalchemy(url: str, clients: int) -> AsyncIterator[Asks]:
    """Open SQLAlchemy with its own pool."""
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

    driver = "postgresql+asyncpg" if url.startswith("postgresql") else "mysql+asyncmy"
    engine = create_async_engine(
        f"{driver}:{url.partition(':')[2]}", pool_size=CONNECTIONS, max_overflow=0, pool_timeout=120
    )
    yield _sqlalchemy(engine)
    await engine.dispose()


def _sqlalchemy(engine: Any) -> Asks:
    from sqlalchemy import text  # noqa: PLC0415

    question = text("SELECT 1")

    async def select(_: int) -> None:
        async with engine.connect() as connection:
            await connection.scalar(question)

    return _borrowed(select, engine.connect)


@contextlib.asynccontextmanager
async def asyncpg_pool(url: str, clients: int, **options: Any) -> AsyncIterator[Asks]:
    """Open asyncpg's own pool, which resets a connection whenever it comes back."""
    import asyncpg  # noqa: PLC0415

    login = _login(url, "database")
    async with asyncpg.create_pool(**login, min_size=CONNECTIONS, max_size=CONNECTIONS, **options) as pool:

        async def select(_: int) -> None:
            async with pool.acquire() as connection:
                await connection.fetchval("SELECT 1")

        yield _borrowed(select, pool.acquire)


@contextlib.asynccontextmanager
async def asyncpg_pool_without_reset(url: str, clients: int) -> AsyncIterator[Asks]:
    """Open the same, its reset switched off: what a client leaves in a session, the next one finds."""

    async def nothing(_: Any) -> None:
        pass

    async with asyncpg_pool(url, clients, reset=nothing) as asks:
        yield asks


@contextlib.asynccontextmanager
async def asyncpg_pgbouncer(url: str, clients: int) -> AsyncIterator[Asks]:
    """Open asyncpg's pool in front of PgBouncer in transaction mode."""
    async with asyncpg_pool(url, clients, statement_cache_size=0) as asks:
        yield asks


@contextlib.asynccontextmanager
async def asyncpg_bare(url: str, clients: int) -> AsyncIterator[Asks]:
    """Open the driver alone, a connection for each client."""
    import asyncpg  # noqa: PLC0415

    known = [await asyncpg.connect(**_login(url, "database")) for _ in range(clients)]
    yield _borrowed(lambda number: known[number].fetchval("SELECT 1"), contextlib.nullcontext)
    for connection in known:
        await connection.close()


@contextlib.asynccontextmanager
async def psycopg_pool(url: str, clients: int) -> AsyncIterator[Asks]:
    """Open psycopg's pool."""
    from psycopg_pool import AsyncConnectionPool  # noqa: PLC0415

    async with AsyncConnectionPool(
        url, min_size=CONNECTIONS, max_size=CONNECTIONS, open=False, timeout=120, kwargs={"autocommit": True}
    ) as pool:

        async def select(_: int) -> None:
            async with pool.connection() as connection:
                await (await connection.execute("SELECT 1")).fetchone()

        yield _borrowed(select, pool.connection)


async def _through_cursor(connection: Any) -> None:
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT 1")
        await cursor.fetchone()


@contextlib.asynccontextmanager
async def asyncmy_pool(url: str, clients: int) -> AsyncIterator[Asks]:
    """Open asyncmy's own pool."""
    import asyncmy  # noqa: PLC0415

    pool = await asyncmy.create_pool(**_login(url, "db"), minsize=CONNECTIONS, maxsize=CONNECTIONS, autocommit=True)
    yield _mysql_pool(pool)
    pool.close()
    await pool.wait_closed()


@contextlib.asynccontextmanager
async def aiomysql_pool(url: str, clients: int) -> AsyncIterator[Asks]:
    """Open aiomysql's own pool."""
    import aiomysql  # noqa: PLC0415

    pool = await aiomysql.create_pool(**_login(url, "db"), minsize=CONNECTIONS, maxsize=CONNECTIONS, autocommit=True)
    yield _mysql_pool(pool)
    pool.close()
    await pool.wait_closed()


def _mysql_pool(pool: Any) -> Asks:
    async def select(_: int) -> None:
        async with pool.acquire() as connection:
            await _through_cursor(connection)

    return _borrowed(select, pool.acquire)


@contextlib.asynccontextmanager
async def asyncmy_bare(url: str, clients: int) -> AsyncIterator[Asks]:
    """Open the driver alone, a connection for each client."""
    import asyncmy  # noqa: PLC0415

    known = [await asyncmy.connect(**_login(url, "db"), autocommit=True) for _ in range(clients)]
    yield _borrowed(lambda number: _through_cursor(known[number]), contextlib.nullcontext)
    for connection in known:
        connection.close()


@contextlib.asynccontextmanager
async def asyncmy_queue(url: str, clients: int) -> AsyncIterator[Asks]:
    """Open the driver's connections behind an `asyncio.Queue`: the bare rate that is left where clients must wait in line."""
    async with asyncmy_bare(url, CONNECTIONS) as alone:
        free: asyncio.Queue[int] = asyncio.Queue()
        for number in range(CONNECTIONS):
            free.put_nowait(number)

        @contextlib.asynccontextmanager
        async def borrowed() -> AsyncIterator[int]:
            number = await free.get()
            try:
                yield number
            finally:
                free.put_nowait(number)

        async def select(_: int) -> None:
            async with borrowed() as number:
                await alone.select(number)

        yield _borrowed(select, borrowed)


PEERS = (
    Peer("forebay, PostgreSQL", "postgresql", forebay, ("asyncpg",)),
    Peer("asyncpg alone", "postgresql", asyncpg_bare, ("asyncpg",), ("bare",)),
    Peer("asyncpg pool", "postgresql", asyncpg_pool, ("asyncpg",)),
    Peer("asyncpg pool without reset", "postgresql", asyncpg_pool_without_reset, ("asyncpg",)),
    Peer("psycopg pool", "postgresql", psycopg_pool, ("psycopg", "psycopg_pool")),
    Peer("SQLAlchemy, asyncpg", "postgresql", sqlalchemy, ("sqlalchemy", "asyncpg")),
    Peer("SQLAlchemy over forebay, PostgreSQL", "postgresql", forebay_sqlalchemy, ("sqlalchemy", "asyncpg")),
    Peer("PgBouncer, asyncpg pool", "pgbouncer", asyncpg_pgbouncer, ("asyncpg",)),
    Peer("forebay, MariaDB", "mysql", forebay, ("asyncmy",)),
    Peer("asyncmy alone", "mysql", asyncmy_bare, ("asyncmy",), ("bare",)),
    Peer("asyncmy behind a queue, no reset", "mysql", asyncmy_queue, ("asyncmy",)),
    Peer("asyncmy pool", "mysql", asyncmy_pool, ("asyncmy",)),
    Peer("aiomysql pool", "mysql", aiomysql_pool, ("aiomysql",)),
    Peer("SQLAlchemy, asyncmy", "mysql", sqlalchemy, ("sqlalchemy", "asyncmy")),
    Peer("SQLAlchemy over forebay, MariaDB", "mysql", forebay_sqlalchemy, ("sqlalchemy", "asyncmy")),
)
