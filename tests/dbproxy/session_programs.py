"""Programs of two clients that change their sessions in every way, each spelled in many; the judge is a bare connection.

A program runs twice: through a proxy with a single connection for both clients, and on a connection of its own for each client at
a second server. Every answer must be the same. What no proxy can see (docs/dbproxy.md, limits) is not asked; of what a session
remembers, nothing may be told as well. Each program finds the same tables with the same rows, so that it can be run again by its
seed alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import asyncmy
import asyncpg
from asyncmy.constants.CLIENT import FOUND_ROWS
from db_servers import PASSWORD, USER
from session_grammar import SETUP, SWEEP, SWEEP_AFTER, Step, program

from forebay.dbproxy import DBProxy
from forebay.errors import DBProxyError, InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db_servers import Server

    from forebay.dbproxy import Client

SECONDS_MAX = 120  # of a program, on a machine that has other work
RENEWED_BY_CONNECTING = 100  # programs
COM_RESET_CONNECTION = 0x1F

# A session without a temporary thing has a schema for them or not: that is a matter of what other sessions have had.
NO_TEMPORARY = frozenset(("3F000", "42704", "42883", "42P01"))
# asyncpg asks `pg_class`, without a schema, for a type that its connection has not met: a session's own table of that name has not
# what it asks for, and whether it asks is a matter of what other sessions have had.
OWN_CATALOGUE, NO_COLUMN = ("create", "pg_class"), "42703"
# What the answer of a statement is on any connection, and no matter of its session.
UNLIKE = ("EXPLAIN",)


def same(found: object, expected: object, sql: str) -> bool:
    """Whether two answers are one; rows come in any order that the statement does not name."""
    if isinstance(found, list) and isinstance(expected, list) and "ORDER" not in sql.upper():
        return Counter(map(repr, found)) == Counter(map(repr, expected))
    return found == expected


class Bare:
    """A client's own connection, as the driver gives it."""

    def __init__(self, server: Server, lane: str) -> None:
        self.server = server
        self.lane = lane
        self.raw: Any = None
        self.ran_several = False
        """Whether the last text had several statements, in a transaction: asked as one statement it would have ended that."""
        self._parser: Any = None
        self._login = {"host": "127.0.0.1", "port": server.port, "user": USER, "password": PASSWORD}

    async def open(self) -> None:
        """Connect."""
        login = self._login
        if self.server.engine == "postgresql":
            self.raw = await asyncpg.connect(
                database=self.lane,
                server_settings={"application_name": "forebay"},
                statement_cache_size=0,  # asyncpg would use what DISCARD ALL has closed
                **login,
            )
        else:
            # The proxy's connections count the rows that are found, too.
            self.raw = await asyncmy.connect(
                db=self.lane, autocommit=True, charset="utf8mb4", client_flag=FOUND_ROWS, **login
            )

    async def renew(self) -> None:
        """Make it what a new connection is, by the server's own reset. A lock outlives a connection that hung up for a moment."""
        if self.server.engine == "postgresql":
            if self.raw.is_in_transaction():
                await self.raw.execute("ROLLBACK")
            await self.raw.execute("DISCARD ALL")
            return
        await self.raw._execute_command(COM_RESET_CONNECTION, b"")
        await self.raw._read_ok_packet()
        await self.raw.select_db(self.lane)
        for statement in ("SET NAMES utf8mb4", "SET autocommit = 1", "SET ROLE NONE", "SET profiling = 0"):
            await self.raw.query(statement)

    async def ask(self, sql: str, args: Sequence[str] = ()) -> object:
        """Give the rows, or the error's number."""
        return await (self._ask_postgres if self.server.engine == "postgresql" else self._ask_mysql)(sql, args)

    async def _ask_postgres(self, sql: str, args: Sequence[str]) -> object:
        self.ran_several = ";" in sql and self.raw.is_in_transaction() and await self._is_several(sql)
        if self.ran_several:
            return await self._several(sql)
        try:
            return [tuple(row) for row in await self.raw.fetch(sql, *args)]
        except asyncpg.PostgresSyntaxError as error:
            return await self._several(sql) if ";" in sql else error.sqlstate
        except asyncpg.PostgresError as error:
            return error.sqlstate

    async def _ask_mysql(self, sql: str, args: Sequence[str]) -> object:
        try:
            async with self.raw.cursor() as cursor:
                await cursor.execute(sql, args or None)
                return [tuple(row) for row in await cursor.fetchall()]
        except asyncmy.errors.Error as error:
            return str(error.args[0])

    async def run(self, statements: list[str]) -> None:
        """Run statements that may not fail."""
        statements = [statement.replace("{lane}", self.lane) for statement in statements]
        if self.server.engine == "postgresql":
            await self.raw.execute("; ".join(statements))
        else:
            for statement in statements:
                await self.raw.query(statement)

    async def _is_several(self, sql: str) -> bool:
        """Ask on another connection: asyncpg would prepare the text, and that error would fail the transaction."""
        if self._parser is None:
            # Several statements are refused before a table is locked; for a single one's it does not wait.
            self._parser = await asyncpg.connect(
                database=self.lane, server_settings={"lock_timeout": "1"}, statement_cache_size=0, **self._login
            )
        try:
            await self._parser.prepare(sql)
        except asyncpg.PostgresError as error:
            return "multiple commands" in str(error)
        finally:
            # asyncpg leaves the transaction of a preparation open, with its locks.
            await self._parser.execute("SELECT 1")
        return False

    async def _several(self, sql: str) -> object:
        try:
            await self.raw.execute(sql)
        except asyncpg.PostgresError as error:
            return error.sqlstate
        return []

    async def close(self) -> None:
        """Hang up."""
        if self.server.engine == "postgresql":
            await self.raw.close()
            if self._parser is not None:
                await self._parser.close()
                self._parser = None
        else:
            await self.raw.ensure_closed()


class Through:
    """A client of the proxy."""

    def __init__(self, proxy: DBProxy) -> None:
        self.proxy = proxy
        self.client: Client

    async def open(self) -> None:
        """Become a client."""
        self.client = await self.proxy.connect().__aenter__()

    async def ask(self, step: Step) -> object:
        """Give the rows, or the error's number."""
        sql, client = step.sql, self.client
        try:
            if step.verb == "stream":
                return [tuple(row) async for row in client.stream(sql, step.args)]
            if step.verb == "execute":
                await client.execute(sql, step.args)
                return []
            return [tuple(row) for row in await client.fetch_all(sql, step.args)]
        except InvalidParameterValue as error:
            return f"refused: {error}"
        except DBProxyError as error:
            code = getattr(error, "code", None)
            if code == "42601" and ";" in sql and self.proxy.engine == "postgresql" and step.verb == "fetch_all":
                return await self.several(sql)
            return code or f"{type(error).__name__}: {error}"

    async def several(self, sql: str) -> object:
        """Run several statements; give no rows, or the error's number."""
        try:
            await self.client.execute(sql)
        except DBProxyError as error:
            return getattr(error, "code", None) or f"{type(error).__name__}: {error}"
        return []

    @property
    def holds(self) -> bool:
        """Whether the one connection is this client's."""
        return bool(self.client.pins or self.client.in_transaction)

    async def close(self) -> int:
        """Leave; give the server's number of the connection that closes with it, or 0."""
        held = self.client._borrower.held if self.client._borrower is not None else None
        await self.client.close()
        return held.wire.server_id if held is not None and held.must_close else 0


class Stage:
    """A proxy with one connection, and two bare connections to a second server with the same in it."""

    def __init__(self, server: Server, oracle: Server, lane: str) -> None:
        self.lane = lane
        self.engine = server.engine
        self.proxy = DBProxy(server.url.rpartition("/")[0] + f"/{lane}", maximum_connections=1)
        self._bare = [Bare(oracle, lane), Bare(oracle, lane)]
        self._sweepers = [Bare(server, lane), Bare(oracle, lane)]
        self._view = Bare(server, lane)

    async def __aenter__(self) -> Self:
        for one in (*self._bare, *self._sweepers, self._view):
            await one.open()
        for one in self._sweepers:
            await one.run(SETUP[self.engine])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.proxy.close()
        for one in (*self._bare, *self._sweepers, self._view):
            await one.close()

    async def difference(self, seed: int) -> str:
        """Run a program on both sides; give the first difference, or an empty text."""
        if seed % RENEWED_BY_CONNECTING == 0:
            for one in self._bare:
                await one.close()
                await one.open()
        try:
            async with asyncio.timeout(SECONDS_MAX):
                return await self.played(f"seed {seed}", program(seed, self.engine, self.lane))
        except TimeoutError:
            return f"seed {seed}: no end after {SECONDS_MAX} s"

    async def played(self, title: str, steps: Sequence[Step]) -> str:
        """Play a program on both sides; give the first difference, or an empty text."""
        through = [Through(self.proxy), Through(self.proxy)]
        for one in through:
            await one.open()
        told: list[str] = []
        try:
            broken = 0  # the scene of which a step has failed: its rest would tell of what did not happen
            for step in steps:
                other = 1 - step.client
                if step.scene and step.scene == broken:
                    continue
                if through[other].holds:
                    told.append(f"{other}: leaves")
                    await self._leave(other, through)
                if not step.sql:
                    told.append(f"{step.client}: leaves")
                    await self._leave(step.client, through)
                    continue
                bare = self._bare[step.client]
                expected = await bare.ask(step.sql, step.args)
                if step.verb == "execute" and not isinstance(expected, str):
                    expected = []
                client = through[step.client]
                found = await (client.several(step.sql) if bare.ran_several else client.ask(step))
                told.append(f"{step.client}: {step.sql!r} -> {expected!r}")
                if isinstance(expected, str) and not step.may_fail:
                    broken = step.scene
                if same(found, expected, step.sql) or any(word in step.sql.upper() for word in UNLIKE):
                    continue
                if "pg_temp." in step.sql.lower() and {str(found), str(expected)} <= NO_TEMPORARY:
                    continue
                if NO_COLUMN in (found, expected) and any(
                    all(word in line.lower() for word in OWN_CATALOGUE) for line in told
                ):
                    return ""  # and one of the two transactions has failed
                if found in step.nothing:
                    told.append(f"{step.client}: is told {found!r}, and leaves")
                    await self._leave(step.client, through)
                    continue
                pins = through[step.client].client.pins
                return f"{title}: {found!r} instead of {expected!r}, pinned: {pins}\n" + "\n".join(told)
            return ""
        finally:
            for number in (0, 1):
                await self._gone(await through[number].close())
                await self._bare[number].renew()
            await self._sweep(" ".join(step.sql.lower() for step in steps))

    async def _sweep(self, said: str) -> None:
        """Take away what programs leave; the schema is changed through the proxy, which learns of nobody else's DDL at once."""
        after = [sweep for word, sweeps in SWEEP_AFTER[self.engine].items() if word in said for sweep in sweeps]
        if after:
            async with self.proxy.connect() as client:
                for statement in after:
                    await client.execute(statement.replace("{lane}", self.lane))
            await self._bare[0].run(after)
        for one in self._sweepers:
            await one.run(SWEEP[self.engine])

    async def _leave(self, number: int, through: list[Through]) -> None:
        await self._gone(await through[number].close())
        await through[number].open()
        await self._bare[number].renew()

    async def _gone(self, server_id: int) -> None:
        """Wait until the server has let go of a connection: of its locks it does so after it has hung up."""
        listed = {
            "postgresql": f"SELECT 1 FROM pg_stat_activity WHERE pid = {server_id}",
            "mysql": f"SELECT 1 FROM information_schema.processlist WHERE id = {server_id}",
        }
        while server_id and await self._view.ask(listed[self.engine]):
            await asyncio.sleep(0)
