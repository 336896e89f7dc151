"""The catalogue is asked where the session is as it was opened: no client's settings are in it, and no client waits for it."""

from __future__ import annotations

import asyncio

import pytest
from db_chaos import Chaos
from db_servers import until

from forebay.errors import DatabaseError, QueryTimeout


async def look(client, sql):
    """Give the rows of a question, or the server's error."""
    try:
        return await client.fetch_all(sql)
    except DatabaseError as error:
        return error.code


async def test_what_a_session_remembers_is_not_lost_to_a_look_up(mariadb, proxies):
    """The proxy's own question came between: ROW_COUNT() was -1, FOUND_ROWS() 0, the first time and after each DDL."""
    proxy = proxies(mariadb, maximum_connections=2)
    async with proxy.connect() as one, proxy.connect() as two:
        await one.execute("CREATE OR REPLACE TABLE counted (a INT)")
        await one.execute("INSERT INTO counted VALUES (1), (2), (3)")
        async with two.transaction():  # so that there are two connections
            assert await one.fetch_value("SELECT 1") == 1
        async with one.transaction():
            await one.execute("UPDATE counted SET a = a + 1")
            assert await one.fetch_value("SELECT ROW_COUNT() FROM counted LIMIT 1") == 3
            assert len(await one.fetch_all("SELECT SQL_CALC_FOUND_ROWS a FROM counted LIMIT 1")) == 1
            assert await one.fetch_value("SELECT FOUND_ROWS() FROM counted WHERE a > 0 LIMIT 1") == 3


async def test_a_count_is_not_lost_to_a_look_up_on_the_only_connection(mariadb, proxies):
    """There was no other connection to ask on: the table's name was looked up between a statement and its count."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as one:
        for statement in ("TABLE counted (a INT)", "TABLE counts (n INT)"):
            await one.execute(f"CREATE OR REPLACE {statement}")
        await one.execute("INSERT INTO counted VALUES (1), (2), (3)")
        async with one.transaction():
            await one.execute("UPDATE counted SET a = a + 1")
            await one.execute("INSERT INTO counts VALUES (ROW_COUNT())")
        assert await one.fetch_value("SELECT n FROM counts") == 3


async def test_a_clients_rights_do_not_tell_others_what_there_is(mariadb, proxies):
    """Under SET ROLE NONE a table with a trigger was nothing, for all clients."""
    mariadb.sql("CREATE OR REPLACE TABLE hidden (a INT)")
    mariadb.sql("CREATE TRIGGER hides BEFORE INSERT ON hidden FOR EACH ROW SET @x = 7")
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as one:
        await one.execute("SET ROLE NONE")
        with pytest.raises(DatabaseError):
            await one.fetch_all("SELECT nothing FROM hidden")
        assert "statement:the catalogue cannot be read" in one.pins
    async with proxy.connect() as two, proxy.connect() as three:
        await two.execute("INSERT INTO hidden VALUES (1)")
        assert two.pins
        await two.close()
        assert await three.fetch_value("SELECT @x") is None
    mariadb.sql("DROP TABLE hidden")


async def test_a_view_that_is_being_changed_is_not_waited_for(postgres, proxies):
    """Its text has a lock on it: every statement with its name, even as an alias, ended after 10 s by a limit nobody had set."""
    proxy = proxies(postgres, maximum_connections=3)
    async with proxy.connect() as one, proxy.connect() as two, proxy.connect() as three:
        await one.execute("CREATE OR REPLACE VIEW changed AS SELECT 1 AS a")
        await one.execute("BEGIN")
        await one.execute("CREATE OR REPLACE VIEW changed AS SELECT 2 AS a")
        assert await three.fetch_value("SELECT 1 AS changed", timeout=5) == 1
        waits = asyncio.create_task(two.fetch_value("SELECT a FROM changed"))
        await asyncio.sleep(1)
        assert not waits.done()
        await one.execute("COMMIT")
        assert await waits == 2
        await one.execute("DROP VIEW changed")


@pytest.mark.parametrize("connections", [1, 2])
async def test_a_look_up_has_not_the_clients_time_limit(connections, postgres, proxies):
    """It ran under SET LOCAL statement_timeout and ended the transaction: the next statement was told 25P02, and not why."""
    proxy = proxies(postgres, maximum_connections=connections)
    postgres.sql(
        "DROP TABLE IF EXISTS slow; CREATE TABLE slow (a int DEFAULT 1 CHECK (a > 0)); GRANT ALL ON slow TO app"
    )
    async with proxy.connect() as one:
        await one.execute("BEGIN")
        await one.execute("SET LOCAL statement_timeout = 1")
        assert await look(one, "SELECT a FROM slow LIMIT 1") in ([], "57014")  # 1 ms may be too little
        await one.execute("ROLLBACK")
        await one.execute("BEGIN")
        await one.execute("SET LOCAL lock_timeout = 77")
        assert await one.fetch_all("SELECT a AS unseen FROM slow") == []
        assert await one.fetch_value("SHOW lock_timeout") == "77ms"
        await one.execute("ROLLBACK")
        assert one.pins == ()
    postgres.sql("DROP TABLE slow")


async def test_a_connection_that_is_asked_beside_is_not_lost_with_its_client(server, proxies):
    """It was being reset for the question when the statement's time was up: nobody closed it, nobody gave it back."""
    async with Chaos(server.port) as chaos:
        proxy = proxies(server.url.replace(f":{server.port}/", f":{chaos.port}/"), maximum_connections=2)
        async with proxy.connect() as one, proxy.connect() as two:
            async with two.transaction():
                assert await one.fetch_value("SELECT 1") == 1
            setting = "SET work_mem = '5MB'" if server.engine == "postgresql" else "SET time_zone = '+05:00'"
            await one.execute("BEGIN")
            await two.execute(setting)  # so that the one that is free must be reset
            chaos.freeze()
            with pytest.raises(QueryTimeout):
                await one.fetch_all("SELECT * FROM not_looked_up", timeout=0.2)
            chaos.thaw()
            await until(lambda: proxy.statistics()["DatabaseConnectionsCurrentlyBorrowed"] == 0)
            await until(lambda: proxy.statistics()["DatabaseConnections"] == 0)
            await one.execute("ROLLBACK")
            async with one.transaction(), two.transaction():
                assert await one.fetch_value("SELECT 1") == await two.fetch_value("SELECT 1")
