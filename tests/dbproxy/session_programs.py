"""Programs of two clients that change their sessions in every way, each spelled in many; the judge is a bare connection.

A program runs twice: through a proxy with a single connection for both clients, and on a connection of its own for each client at
a second server. Every answer must be the same. What no proxy can see (docs/dbproxy.md, limits) is not asked. Each program finds the
same tables with the same rows, so that it can be run again by its seed alone.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import asyncmy
import asyncpg
from db_servers import PASSWORD, USER

from forebay.dbproxy import DBProxy
from forebay.errors import DBProxyError, InvalidParameterValue

if TYPE_CHECKING:
    from db_servers import Server

    from forebay.dbproxy import Client

STEPS_MAX = 25
SECONDS_MAX = 60
RENEWED_BY_CONNECTING = 100  # programs
COM_RESET_CONNECTION = 0x1F

SETUP = {
    "postgresql": [
        "CREATE TABLE things (id int PRIMARY KEY, note text)",
        "CREATE TABLE watched (a int)",
        "CREATE SCHEMA other",
        "CREATE TABLE other.things (id int, note text)",
        "INSERT INTO other.things VALUES (-1, 'other')",
        "CREATE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('work_mem', '9MB', false); RETURN 1; END$$",
        "CREATE FUNCTION of_thing(things) RETURNS text LANGUAGE sql VOLATILE AS $$SELECT set_config('work_mem', '8MB', false)$$",
        (
            "CREATE FUNCTION on_watched() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN PERFORM set_config('app.trigger', 'ran', false); RETURN NEW; END$$"
        ),
        "CREATE TRIGGER watch BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION on_watched()",
        "CREATE VIEW peek AS SELECT set_config('app.view', 'ran', false) AS a",
        "CREATE VIEW way AS SELECT a FROM watched",
        "INSERT INTO things VALUES (0, 'zero')",
    ],
    "mysql": [
        "CREATE TABLE things (id INT PRIMARY KEY, note VARCHAR(50))",
        "CREATE TABLE watched (a INT)",
        "CREATE TRIGGER watch BEFORE INSERT ON watched FOR EACH ROW SET @trigger = 'ran'",
        "CREATE FUNCTION sneaky() RETURNS INT BEGIN SET @hidden = 5; RETURN 1; END",
        "CREATE PROCEDURE outward(OUT a INT) SET a = 5",
        "CREATE FUNCTION failing() RETURNS INT BEGIN SET @hidden = 6; SIGNAL SQLSTATE '42000' SET MYSQL_ERRNO = 1064; RETURN 1; END",
        "CREATE PROCEDURE text_of_none() BEGIN DO GET_LOCK('{lane}2', 0); EXECUTE IMMEDIATE 'no SQL'; END",
        "CREATE VIEW way AS SELECT a FROM watched",
        "CREATE VIEW peek AS SELECT GET_LOCK('{lane}view', 0) AS a",
        "INSERT INTO things VALUES (0, 'zero')",
    ],
}
# What a program may have left in the tables of a server.
SWEEP = {
    "postgresql": [
        "DROP VIEW IF EXISTS public.shown, other.shown",
        "DROP TABLE IF EXISTS public.made, public.tmp, public.tmp2, other.made, other.tmp, other.tmp2",
        "DELETE FROM things WHERE id <> 0",
        "UPDATE things SET note = 'zero' WHERE note <> 'zero'",
        "DELETE FROM other.things WHERE id <> -1 OR note <> 'other'",
        "INSERT INTO other.things SELECT -1, 'other' WHERE NOT EXISTS (SELECT FROM other.things)",
        "DELETE FROM watched",
    ],
    "mysql": [
        "DROP TABLE IF EXISTS {lane}.made, {lane}_other.made",
        "DELETE FROM things WHERE id <> 0",
        "UPDATE things SET note = 'zero' WHERE note <> 'zero'",
        "DELETE FROM watched",
    ],
}
CHANGES = {
    "postgresql": [
        "SET work_mem TO '{n}MB'", "SET work_mem = DEFAULT", "RESET work_mem", "RESET ALL", "SET TimeZone TO 'Asia/Tokyo'",
        "SET TIME ZONE 'UTC'", "SET search_path TO other, public", "SET search_path = pg_temp, public", "SET app.mine TO 'x{n}'",
        "SET ROLE pg_monitor", "SET ROLE NONE", "RESET ROLE", "SET SESSION AUTHORIZATION DEFAULT", "SET LOCAL work_mem = '{n}MB'",
        "SET default_transaction_read_only = off", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SET standard_conforming_strings = off", "SET standard_conforming_strings = on", "SET DateStyle TO 'German'",
        "SELECT set_config('work_mem', '{n}MB', false)", "SELECT set_config('work_mem', '{n}MB', true)",
        "SELECT \"set_config\"('app.mine', 'y{n}', false)", "SELECT pg_catalog.set_config('app.mine', 'z{n}', true)",
        "SELECT sneaky()", "SELECT t.of_thing FROM things t", "SELECT * FROM peek", "INSERT INTO watched VALUES ({n})", "INSERT INTO way VALUES ({n})",
        "CREATE TEMP TABLE tmp (a int)", "CREATE TABLE pg_temp.tmp (a int)", 'CREATE TABLE "pg_temp".tmp (a int)',
        'CREATE TABLE U&"pg\\005ftemp".tmp (a int)', "SELECT 1 AS a INTO TEMP tmp", "SELECT {n} AS a INTO tmp",
        "DROP TABLE IF EXISTS tmp", "DISCARD TEMP", "DISCARD ALL", "ALTER TABLE IF EXISTS tmp RENAME TO tmp2", "DROP TABLE IF EXISTS tmp2",
        "EXPLAIN ANALYZE CREATE TEMP TABLE tmp AS SELECT 1", "SELECT pg_advisory_lock({n})", "SELECT pg_advisory_unlock({n})",
        "SELECT pg_advisory_unlock_all()", "SELECT pg_advisory_lock({n}), 1/(SELECT 0)", "LISTEN news", "UNLISTEN *",
        "PREPARE p AS SELECT {n}", "PREPARE q AS SELECT set_config('work_mem', '7MB', false)", "EXECUTE p", "EXECUTE q",
        "DEALLOCATE p", "DEALLOCATE ALL", "DO $$BEGIN PERFORM set_config('app.mine', 'do', false); END$$",
        "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", 'SAVEPOINT "A b"', "ROLLBACK TO a", 'ROLLBACK TO SAVEPOINT "A b"', "RELEASE a",
        "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "BEGIN; SET work_mem TO '{n}MB'; COMMIT", "SET work_mem TO '{n}MB'; ROLLBACK",
        "DECLARE c CURSOR WITH HOLD FOR SELECT {n}", "CLOSE c", "UPDATE pg_settings SET setting = '{n}111' WHERE name = 'work_mem'",
        "INSERT INTO things VALUES ({n}, 'n')", "UPDATE things SET note = note || '{n}' WHERE id = 0", "DELETE FROM things WHERE id > 0",
        "SELECT pg_advisory_lock({n}); SELECT nosuch()", "PREPARE p AS SELECT {n}; SELECT nosuch()", "SELECT nosuch()",
        "SELECT pg_advisory_lock({n}), ('no' || 'such')::text::regclass", "SELECT set_config('role', 'pg_monitor', false)",
        "SELECT 1/0", "CREATE TABLE made (a int)", "DROP TABLE IF EXISTS made", "CREATE OR REPLACE VIEW shown AS SELECT 1 AS a",
        "WITH w AS (INSERT INTO things VALUES ({n}0, 'w') RETURNING id) SELECT * FROM w", "SELECT E'\\'' || 'a\\\\' AS a",
    ],
    "mysql": [
        "SET time_zone = '+0{n}:00'", "SET @@session.time_zone = DEFAULT", "SET SESSION sql_mode = 'ANSI_QUOTES'", "SET sql_mode = ''",
        "SET sql_mode = DEFAULT", "SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')", "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
        "SET foreign_key_checks = 0", "SET group_concat_max_len = {n}777", "SET autocommit = 0", "SET autocommit = 1",
        "SET @x = {n}", "SELECT {n} INTO @x", "SELECT 1, {n} INTO @y, @x", "SELECT @x := {n}", "SET @x = NULL", "SELECT {n} INTO /* c */ @x",
        "SET STATEMENT max_statement_time = 5 FOR SELECT {n} INTO @x", "CALL outward(@x)", "SELECT sneaky()", "SELECT failing()", "CALL text_of_none()", "SELECT nosuch()",
        "SET time_zone = '+0{n}:00', sql_mode = 'nosuch'", "SELECT `sneaky`()",
        "SELECT * FROM peek", "INSERT INTO watched VALUES ({n})", "INSERT INTO way VALUES ({n})", "/*!50000 SET time_zone = '+0{n}:30' */", "SELECT 1 /*! INTO @x */",
        "CREATE TEMPORARY TABLE tmp (a INT)", "DROP TEMPORARY TABLE IF EXISTS tmp", "DROP TABLE IF EXISTS tmp", "ALTER TABLE tmp RENAME TO tmp2",
        "DROP TABLE IF EXISTS tmp2", "SELECT GET_LOCK('{lane}{n}', 0)", "DO GET_LOCK('{lane}{n}', 0)", "SELECT RELEASE_LOCK('{lane}{n}')",
        "SELECT RELEASE_ALL_LOCKS()", "LOCK TABLES things READ", "UNLOCK TABLES", "PREPARE p FROM 'SELECT 5 INTO @x'", "EXECUTE p",
        "EXECUTE IMMEDIATE 'SET @x = 9'", "BEGIN NOT ATOMIC SET @x = 8; END", "DEALLOCATE PREPARE p", "HANDLER things OPEN",
        "HANDLER things CLOSE", "SET TRANSACTION READ ONLY", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "SAVEPOINT a", "SAVEPOINT `A b`", "ROLLBACK TO a", "RELEASE SAVEPOINT a",
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin", "SET SESSION sort_buffer_size = {n}00000", "SET sql_auto_is_null = 1", "SET completion_type = 1",
        "USE {lane}", "USE {lane}_other", "INSERT INTO things VALUES ({n}, 'n')", "REPLACE INTO things VALUES ({n}, 'r')",
        "UPDATE things SET note = CONCAT(note, '{n}') WHERE id = 0", "DELETE FROM things WHERE id > 0", "SELECT * FROM nowhere",
        "CREATE TABLE made (a INT)", "DROP TABLE IF EXISTS made", "SELECT 'a\\\\' AS a, \"b\" AS b", "XA START '{lane}'", "XA END '{lane}'", "XA ROLLBACK '{lane}'",
        "SELECT -- \u00a0\n {n} INTO @x", "SELECT 5 --\u00a01\n", "SET max_sort_length = {n}00", "SET @x = {n}, time_zone = '+0{n}:00'",
    ],
}  # fmt: skip
PROBES = {
    "postgresql": [
        "SHOW work_mem", "SHOW TimeZone", "SHOW search_path", "SHOW DateStyle", "SHOW standard_conforming_strings", "SELECT current_user",
        "SELECT nullif(current_setting('app.mine', true), '')", "SELECT nullif(current_setting('app.trigger', true), '')",
        "SELECT nullif(current_setting('app.view', true), '')", "SELECT * FROM tmp", "SELECT id, note FROM things ORDER BY id",
        "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()", ("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
        "AND pid = pg_backend_pid()"), "SELECT count(*) FROM pg_listening_channels()", "SELECT name FROM pg_prepared_statements WHERE from_sql ORDER BY 1",
        "SELECT name FROM pg_cursors WHERE is_holdable AND name <> '' ORDER BY 1", "SHOW transaction_read_only", "SELECT 'a\\b'",
    ],
    "mysql": [
        "SELECT @@time_zone", "SELECT @@sql_mode", "SELECT @@foreign_key_checks", "SELECT @@group_concat_max_len", "SELECT @@autocommit", "SELECT @x",
        "SELECT @y", "SELECT @hidden", "SELECT @trigger", "SELECT COUNT(*) FROM tmp", "SELECT COUNT(*) FROM tmp2", "SELECT id, note FROM {lane}.things ORDER BY id",
        "SELECT IS_USED_LOCK('{lane}1') = CONNECTION_ID()", "SELECT IS_USED_LOCK('{lane}2') = CONNECTION_ID()", "SELECT IS_USED_LOCK('{lane}view') = CONNECTION_ID()",
        "SELECT DATABASE()", "SELECT @@tx_isolation, @@tx_read_only", "SELECT @@collation_connection", "SELECT @@sort_buffer_size", "HANDLER things READ FIRST",
        "SELECT 'a\\\\b'", "SELECT @@sql_auto_is_null, @@completion_type, @@max_sort_length",
    ],
}  # fmt: skip
COMMENTS = {
    "postgresql": ["/* c */", "/* a /* b */ */", "-- c\n", "-- c\r"],
    "mysql": ["/* c */", "-- c\n", "# c\n", "--\t\n"],
}
# What the answer of a statement is on any connection, and no matter of its session.
UNLIKE = ("EXPLAIN",)


@dataclass(frozen=True)
class Step:
    """One statement of one client; without a statement, the client leaves and another one comes."""

    client: int
    sql: str


def program(seed: int, engine: str, lane: str) -> list[Step]:
    """Make a program: changes and questions, now of one client, now of the other.

    Args:
        seed: what it depends on.
        engine: for which database.
        lane: the name of its tables' database, and of what the whole server has, such as locks: programs run side by side.

    """
    chance = random.Random(seed)
    steps, client = [], 0
    for _ in range(chance.randint(5, STEPS_MAX)):
        if chance.random() < 0.3:
            client = 1 - client
        if chance.random() < 0.05:
            steps.append(Step(client, ""))
        sql = chance.choice(CHANGES[engine] if chance.random() < 0.5 else PROBES[engine])
        text = sql.replace("{n}", str(chance.randint(1, 3))).replace("{lane}", lane)
        steps.append(Step(client, spelled(text, engine, chance)))
    return steps


def spelled(sql: str, engine: str, chance: random.Random) -> str:
    """Write a statement in another way that means the same: case, space, comments, a semicolon."""
    if chance.random() < 0.5:
        return sql
    if not any(mark in sql for mark in "'\"`\\-#$/"):
        if chance.random() < 0.5:
            sql = "".join(
                letter.swapcase() if letter.isalpha() and engine == "postgresql" else letter for letter in sql
            )
        parts = sql.split(" ")
        sql = "".join(
            part + chance.choice([" ", " ", "\n", "\t", f" {chance.choice(COMMENTS[engine])} "]) for part in parts
        )
    if chance.random() < 0.3:
        sql = f"{chance.choice(COMMENTS[engine])} {sql}"
    return sql + (" ;" if chance.random() < 0.2 else "")


class Bare:
    """A client's own connection, as the driver gives it."""

    def __init__(self, server: Server, lane: str) -> None:
        self.server = server
        self.lane = lane
        self.raw: Any = None

    async def open(self) -> None:
        """Connect."""
        login = {"host": "127.0.0.1", "port": self.server.port, "user": USER, "password": PASSWORD}
        if self.server.engine == "postgresql":
            self.raw = await asyncpg.connect(
                database=self.lane,
                server_settings={"application_name": "forebay"},
                statement_cache_size=0,  # asyncpg would use what DISCARD ALL has closed
                **login,
            )
        else:
            self.raw = await asyncmy.connect(db=self.lane, autocommit=True, charset="utf8mb4", **login)

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
        for statement in ("SET NAMES utf8mb4", "SET autocommit = 1"):
            await self.raw.query(statement)

    async def ask(self, sql: str) -> object:
        """Give the rows, or the error's number."""
        if self.server.engine == "postgresql":
            try:
                return [tuple(row) for row in await self.raw.fetch(sql)]
            except asyncpg.PostgresSyntaxError as error:
                if ";" not in sql:
                    return error.sqlstate
                return await self._several(sql)
            except asyncpg.PostgresError as error:
                return error.sqlstate
        try:
            async with self.raw.cursor() as cursor:
                await cursor.execute(sql)
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

    async def ask(self, sql: str) -> object:
        """Give the rows, or the error's number."""
        try:
            return [tuple(row) for row in await self.client.fetch_all(sql)]
        except InvalidParameterValue as error:
            return f"refused: {error}"
        except DBProxyError as error:
            code = getattr(error, "code", None)
            if code == "42601" and ";" in sql and self.proxy.engine == "postgresql":
                return await self._several(sql)
            return code or f"{type(error).__name__}: {error}"

    async def _several(self, sql: str) -> object:
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
                return await self._played(seed)
        except TimeoutError:
            return f"seed {seed}: no end after {SECONDS_MAX} s"

    async def _played(self, seed: int) -> str:
        through = [Through(self.proxy), Through(self.proxy)]
        for one in through:
            await one.open()
        told: list[str] = []
        try:
            for step in program(seed, self.engine, self.lane):
                other = 1 - step.client
                if through[other].holds:
                    told.append(f"{other}: leaves")
                    await self._leave(other, through)
                if not step.sql:
                    told.append(f"{step.client}: leaves")
                    await self._leave(step.client, through)
                    continue
                expected, found = await self._bare[step.client].ask(step.sql), await through[step.client].ask(step.sql)
                told.append(f"{step.client}: {step.sql!r} -> {expected!r}")
                if found != expected and not any(word in step.sql.upper() for word in UNLIKE):
                    return (
                        f"seed {seed}: {found!r} instead of {expected!r}, pinned: {through[step.client].client.pins}\n"
                        + "\n".join(told)
                    )
            return ""
        finally:
            for number in (0, 1):
                await self._gone(await through[number].close())
                await self._bare[number].renew()
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
