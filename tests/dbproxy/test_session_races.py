"""What a statement runs is what there is when it runs: a trigger made while it waited, a mode of reading that others got."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import sqlalchemy as sa

from forebay.dbproxy.sqlalchemy import create_async_engine
from forebay.errors import DatabaseError

TRIGGER = """CREATE OR REPLACE FUNCTION sets() RETURNS trigger LANGUAGE plpgsql AS
 $$BEGIN PERFORM set_config('work_mem', '7MB', false); RETURN NEW; END$$"""
SEEDS = "CREATE OR REPLACE FUNCTION seeds() RETURNS INT BEGIN SET rand_seed1 = 5, rand_seed2 = 7; RETURN 1; END"
FIRES = "CREATE TRIGGER fires BEFORE INSERT ON raced FOR EACH ROW "


@pytest.fixture
def raced(server):
    """A table that everybody writes to, and what makes and removes a trigger of it."""
    server.sql("DROP TABLE IF EXISTS raced")
    server.sql("CREATE TABLE raced (a INT UNIQUE)")
    if server.engine == "postgresql":
        server.sql("GRANT ALL ON raced TO app; ALTER TABLE raced OWNER TO app")
        server.sql(TRIGGER)
    yield FIRES + ("EXECUTE FUNCTION sets()" if server.engine == "postgresql" else "SET @x = 7")
    server.sql("DROP TABLE raced")


def probe(server):
    return "SHOW work_mem" if server.engine == "postgresql" else "SELECT @x"


@pytest.mark.parametrize("fails", [False, True], ids=["", "and fails"])
async def test_a_trigger_made_while_a_statement_waits_is_seen(fails, raced, server, proxies):
    """It was judged by the names before: what the trigger set stayed for every later client."""
    proxy = proxies(server, maximum_connections=2)
    is_postgres = server.engine == "postgresql"
    async with proxy.connect() as one, proxy.connect() as two, proxy.connect() as three:
        untouched = await three.fetch_value(probe(server))
        await two.execute("INSERT INTO raced VALUES (1)")
        await one.execute("BEGIN" if is_postgres else "LOCK TABLES raced WRITE")
        if is_postgres:
            await one.execute(raced)
        waits = asyncio.create_task(two.execute(f"INSERT INTO raced VALUES ({1 if fails else 2})"))
        await asyncio.sleep(0.3)
        assert not waits.done()
        if not is_postgres:
            await one.execute(raced)
        await one.execute("COMMIT" if is_postgres else "UNLOCK TABLES")
        with pytest.raises(DatabaseError) if fails else contextlib.nullcontext():
            await waits
        assert fails or two.pins
        for _ in range(4):
            assert await three.fetch_value(probe(server)) == untouched


async def test_others_changes_do_not_pin_what_has_no_part_in_them(raced, server, proxies):
    """Only what runs while the schema is changed is judged once more, and by its own names."""
    proxy = proxies(server, maximum_connections=2)
    async with proxy.connect() as one, proxy.connect() as two:
        await two.execute("DELETE FROM raced")
        changes = asyncio.create_task(one.execute("CREATE TABLE apart (a INT)"))
        for number in range(5):
            await two.execute(f"INSERT INTO raced VALUES ({number})")
        await changes
        await one.execute("DROP TABLE apart")
        assert two.pins == ()


async def test_a_new_mode_of_reading_is_every_connections(mariadb, proxies):
    """A reset took the server's new mode, and texts went on to be read by the old one: a table was taken for a text."""
    mariadb.sql("CREATE OR REPLACE TABLE written (a INT)")
    mariadb.sql("CREATE TRIGGER writes BEFORE INSERT ON written FOR EACH ROW SET @x = 7")
    proxy = proxies(mariadb, maximum_connections=1)
    try:
        async with proxy.connect() as one:
            await one.execute("SET @y = 1")
            mariadb.sql("SET GLOBAL sql_mode = 'ANSI_QUOTES'")
        async with proxy.connect() as two, proxy.connect() as three:
            await two.execute('INSERT INTO "written" VALUES (1)')
            assert two.pins
            await two.close()
            assert await three.fetch_value("SELECT @x") is None
            assert await three.fetch_value('SELECT "a" FROM (SELECT 1 AS a) AS t') == 1
    finally:
        mariadb.sql("SET GLOBAL sql_mode = DEFAULT")
        mariadb.sql("DROP TABLE written")


async def test_a_connection_that_reads_otherwise_is_judged_as_it_reads(postgres, proxies):
    """A second connection was of another mode, and the first one's texts were read by it."""
    proxy = proxies(postgres, maximum_connections=2)
    hides = r"SELECT 'a\', set_config($$work_mem$$, $$7MB$$, false) --'"
    try:
        async with proxy.connect() as one, proxy.connect() as two:
            await one.execute("BEGIN")
            assert await one.fetch_value("SELECT 1") == 1
            postgres.sql("ALTER ROLE app SET standard_conforming_strings = off")
            assert await two.fetch_value(r"SELECT 'a\'b'") == "a'b"
            assert await one.fetch_value(r"SELECT 'a\'") == "a\\"
            await one.fetch_all(hides)
            assert one.pins
            await one.execute("ROLLBACK")
            await one.close()
            for _ in range(3):
                assert await two.fetch_value("SHOW work_mem") == "4MB"
    finally:
        postgres.sql("ALTER ROLE app RESET standard_conforming_strings")


async def test_a_mode_of_reading_that_nobody_carries_ends_with_its_client(mariadb, proxies):
    """Set beside a variable it was forgotten: a call in quotes was taken for a text, and its leavings outlived the reset."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as one, proxy.connect() as two:
        await one.execute(SEEDS)
        number = await two.fetch_value("SELECT CONNECTION_ID()")
        await one.execute("SET sql_mode = 'ANSI_QUOTES', @x = 1")
        assert await one.fetch_value('SELECT "seeds"()') == 1
        await one.close()
        assert await two.fetch_value("SELECT CONNECTION_ID()") != number


@pytest.mark.parametrize("steps", [
    ["SET sql_mode = 'ANSI_QUOTES'", 'SELECT "seeds"()'],
    ["SET sql_mode = 'ANSI_QUOTES'", 'INSERT INTO "written_to" VALUES (1)'],
    ["USE seeding", "INSERT INTO written_to VALUES (1)"],
])  # fmt: skip
async def test_an_adapters_statements_are_read_as_it_has_set(steps, mariadb, proxies):
    """They were read by the mode, and looked up in the database, of a connection on which nobody had set anything."""
    for database in ("app", "seeding"):
        mariadb.sql(f"CREATE DATABASE IF NOT EXISTS {database}")
        mariadb.sql(f"CREATE OR REPLACE TABLE {database}.written_to (a INT)")
    home = "app" if "USE" not in steps[0] else "seeding"
    mariadb.sql(
        "CREATE TRIGGER seeder BEFORE INSERT ON written_to FOR EACH ROW SET rand_seed1 = 5, rand_seed2 = 7", home
    )
    proxy = proxies(mariadb, maximum_connections=1)
    engine = create_async_engine(proxy)
    async with proxy.connect() as two:
        await two.execute(SEEDS)
        number = await two.fetch_value("SELECT CONNECTION_ID()")
        async with engine.connect() as one:
            for step in steps:
                await one.exec_driver_sql(step)
        assert await two.fetch_value("SELECT CONNECTION_ID()") != number, "nobody knows what a reset leaves of it"
    await engine.dispose()


async def test_an_adapters_statements_are_read_as_postgresql_reads_them(postgres, proxies):
    """What stood in quotes by the server's default stood outside of them by the mode that was set: its seed outlived the reset."""
    hides = r"SELECT '\' || ' , setseed(0.25) --'"
    proxy = proxies(postgres, maximum_connections=1)
    engine = create_async_engine(proxy)
    async with proxy.connect() as other:
        assert await other.fetch_value("SELECT 1") == 1
        async with engine.connect() as one:
            await one.execute(sa.text("SELECT setseed(0.25)"))
            seeded = await one.scalar(sa.text("SELECT random()"))
        async with engine.connect() as one:
            await one.execute(sa.text("SET standard_conforming_strings = off"))
            assert len((await one.exec_driver_sql(hides)).one()) == 2
        assert await other.fetch_value("SELECT random()") != seeded
    await engine.dispose()
