"""What a client connection can do, on both engines."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from forebay.errors import (
    ClientClosed,
    DatabaseError,
    DBProxyError,
    InvalidParameterValue,
    QueryTimeout,
    TooManyClients,
)

if TYPE_CHECKING:
    from db_servers import View


def mark(proxy, number=1):
    return "%s" if proxy.engine == "mysql" else f"${number}"


async def table(client, name="things"):
    await client.execute(f"DROP TABLE IF EXISTS {name}")
    key = "BIGINT AUTO_INCREMENT" if client.engine == "mysql" else "BIGSERIAL"
    await client.execute(f"CREATE TABLE {name} (id {key} PRIMARY KEY, note VARCHAR(200))")


async def test_rows_answer_to_positions_and_names(server, proxies):
    async with proxies(server).connect() as client:
        row = await client.fetch_one("SELECT 1 AS one, 'x' AS letter")
        assert (row[0], row["one"], row["letter"]) == (1, 1, "x")
        assert list(row.keys()) == ["one", "letter"]
        assert row.get("nothing", 7) == 7
        with pytest.raises(KeyError):
            row["nothing"]


async def test_arguments_reach_the_server_as_data(server, proxies):
    proxy = proxies(server)
    nasty = "Robert'); DROP TABLE students;-- \\ \" ` 名前 % \u0000"[:-1]
    async with proxy.connect() as client:
        await table(client)
        await client.execute(f"INSERT INTO things (note) VALUES ({mark(proxy)})", (nasty,))
        assert await client.fetch_value("SELECT note FROM things") == nasty


async def test_execute_counts_rows(server, proxies):
    proxy = proxies(server)
    async with proxy.connect() as client:
        await table(client)
        await client.executemany(f"INSERT INTO things (note) VALUES ({mark(proxy)})", [(f"n{i}",) for i in range(5)])
        result = await client.execute("UPDATE things SET note = 'same' WHERE id > 2")
        assert result.row_count == 3
        assert len(await client.fetch_all("SELECT * FROM things")) == 5
        assert await client.fetch_one("SELECT * FROM things WHERE id = 99") is None
        assert await client.fetch_value("SELECT note FROM things WHERE id = 99") is None


async def test_a_generated_key_is_told_by_the_result(mariadb, proxies):
    async with proxies(mariadb).connect() as client:
        await table(client)
        assert (await client.execute("INSERT INTO things (note) VALUES ('a')")).last_insert_id == 1
        assert (await client.execute("INSERT INTO things (note) VALUES ('b')")).last_insert_id == 2


async def test_a_stream_gives_every_row_and_the_connection_back(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    numbers = "SELECT seq FROM seq_1_to_5000" if proxy.engine == "mysql" else "SELECT generate_series(1, 5000)"
    async with proxy.connect() as client, proxy.connect() as other:
        assert [row[0] async for row in client.stream(numbers, prefetch=100)] == list(range(1, 5001))
        assert await other.fetch_value("SELECT 1") == 1


async def test_a_stream_left_early_harms_nobody(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    numbers = "SELECT seq FROM seq_1_to_50000" if proxy.engine == "mysql" else "SELECT generate_series(1, 50000)"
    async with proxy.connect() as client, proxy.connect() as other:
        rows = client.stream(numbers, prefetch=10)
        async for row in rows:
            if row[0] == 25:
                break
        await rows.aclose()
        assert await other.fetch_value("SELECT 42") == 42
        assert await client.fetch_value("SELECT 43") == 43


async def test_a_transaction_commits_or_rolls_back(server, proxies):
    proxy = proxies(server)
    async with proxy.connect() as client:
        await table(client)
        async with client.transaction():
            await client.execute("INSERT INTO things (note) VALUES ('kept')")
            assert client.in_transaction
        with pytest.raises(RuntimeError, match="mine"):
            async with client.transaction(isolation="serializable"):
                await client.execute("INSERT INTO things (note) VALUES ('undone')")
                raise RuntimeError("mine")
        assert not client.in_transaction
        assert [row[0] for row in await client.fetch_all("SELECT note FROM things")] == ["kept"]


async def test_an_inner_transaction_is_a_savepoint(server, proxies):
    async with proxies(server).connect() as client:
        await table(client)
        async with client.transaction():
            await client.execute("INSERT INTO things (note) VALUES ('outer')")
            with pytest.raises(DatabaseError):
                async with client.transaction():
                    await client.execute("INSERT INTO things (note) VALUES ('inner')")
                    await client.execute("INSERT INTO nowhere VALUES (1)")
            async with client.transaction():
                await client.execute("INSERT INTO things (note) VALUES ('second')")
        notes = [row[0] for row in await client.fetch_all("SELECT note FROM things ORDER BY id")]
        assert notes == ["outer", "second"]


async def test_the_isolation_level_is_the_transactions_own(server, proxies):
    proxy = proxies(server)
    level = (
        "SELECT trx_isolation_level FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()"
        if proxy.engine == "mysql"
        else "SELECT current_setting('transaction_isolation')"
    )
    async with proxy.connect() as client:
        await table(client)
        async with client.transaction(isolation="serializable"):
            await client.execute("INSERT INTO things (note) VALUES ('a')")
            await shows(client, level, {"serializable"})
        async with client.transaction():
            await client.execute("INSERT INTO things (note) VALUES ('b')")
            await shows(client, level, {"read committed", "repeatable read"})
        with pytest.raises(DatabaseError):
            async with client.transaction(read_only=True):
                await client.execute("INSERT INTO things (note) VALUES ('c')")
        assert await client.fetch_value("SELECT count(*) FROM things") == 2


async def shows(client, level, expected):
    """InnoDB refreshes what it tells of its transactions every 0.1 s only."""
    async with asyncio.timeout(5):
        while str(await client.fetch_value(level)).lower() not in expected:
            await asyncio.sleep(0.11)


async def test_a_transaction_written_as_text_holds_its_connection(server, proxies):
    proxy = proxies(server)
    async with proxy.connect() as client, proxy.connect() as other:
        await table(client)
        await client.execute("BEGIN")
        await client.execute("INSERT INTO things (note) VALUES ('unseen')")
        assert await other.fetch_value("SELECT count(*) FROM things") == 0
        await client.execute("COMMIT")
        assert not client.in_transaction
        assert await other.fetch_value("SELECT count(*) FROM things") == 1


async def test_a_client_that_leaves_in_a_transaction_is_rolled_back(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    async with proxy.connect() as client:
        await table(client)
    async with proxy.connect() as client:
        await client.execute("BEGIN")
        await client.execute("INSERT INTO things (note) VALUES ('orphan')")
    async with proxy.connect() as client:
        assert await client.fetch_value("SELECT count(*) FROM things") == 0


async def test_a_failed_statement_leaves_the_connection_usable(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    async with proxy.connect() as client:
        with pytest.raises(DatabaseError) as caught:
            await client.fetch_all("SELECT * FROM nowhere_at_all")
        assert caught.value.code in {"42P01", "1146"}
        assert await client.fetch_value("SELECT 1") == 1
        await table(client)
        with pytest.raises(DatabaseError):
            await client.executemany(f"INSERT INTO things (id) VALUES ({mark(proxy)})", [(1,), (1,)])
        assert await client.fetch_value("SELECT 1") == 1


async def test_a_commit_of_a_failed_transaction_is_not_a_success(postgres, proxies):
    async with proxies(postgres).connect() as client:
        with pytest.raises(DatabaseError, match="rolled it back"):
            async with client.transaction():
                with pytest.raises(DatabaseError):
                    await client.execute("SELECT 1/0")


async def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    async with proxy.connect() as client:
        with pytest.raises(InvalidParameterValue):
            await client.fetch_value(f"SELECT {mark(proxy)}", (1, 2, 3))
        assert await client.fetch_value("SELECT 1") == 1
        assert proxy.statistics()["InterruptedConnections"] == 0


@pytest.mark.parametrize("args", [1, object()])
async def test_what_is_no_sequence_of_arguments_is_refused_before_anything_is_sent(args, server, proxies):
    """It looked like a write whose answer was lost."""
    proxy = proxies(server, maximum_connections=1)
    sql = f"SELECT {mark(proxy)}"
    async with proxy.connect() as client:
        for work in (client.execute, client.fetch_all, client.fetch_one, client.fetch_value):
            with pytest.raises(InvalidParameterValue, match="must be a sequence, not"):
                await work(sql, args)
        for rows in (args, [args], None, [None]):
            with pytest.raises(InvalidParameterValue, match="must be a sequence, not"):
                await client.executemany(sql, rows)
        with pytest.raises(InvalidParameterValue, match="must be a sequence, not"):
            await anext(client.stream(sql, args))
        assert await client.fetch_value(sql, ["1"]) == "1"
        assert proxy.statistics()["InterruptedConnections"] == 0


async def test_none_is_no_arguments(server, proxies):
    """One engine took it, as many drivers do, and the other did not."""
    async with proxies(server).connect() as client:
        for work in (client.execute, client.fetch_all, client.fetch_one, client.fetch_value):
            await work("SELECT '%'", None)
        assert [row[0] async for row in client.stream("SELECT '%'", None)] == ["%"]


async def test_a_setting_whose_arguments_do_not_fit_gives_its_connection_back(mariadb, proxies):
    """The refusal once came after the borrowing, and kept the connection."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client:
        with pytest.raises(InvalidParameterValue, match="utf8mb4"):
            await client.execute("SET NAMES %s", ("gbk",))
        with pytest.raises(InvalidParameterValue):
            await client.execute("SET time_zone = %s", ("+01:00", "+02:00"))
        assert not client.pins
        assert await client.fetch_value("SELECT 1") == 1
        assert proxy.statistics()["DatabaseConnectionsCurrentlyBorrowed"] == 0


async def test_a_second_statement_in_one_text_is_refused_on_mysql(mariadb, proxies):
    async with proxies(mariadb).connect() as client:
        with pytest.raises(DatabaseError):
            await client.execute("SELECT 1; SELECT 2")
        assert await client.fetch_value("SELECT 3") == 3


async def test_a_procedure_with_several_results_is_read_to_its_end(mariadb, proxies):
    async with proxies(mariadb, maximum_connections=1).connect() as client:
        await client.execute("DROP PROCEDURE IF EXISTS two")
        await client.execute("CREATE PROCEDURE two() BEGIN SELECT 1 AS a; SELECT 2 AS b; END")
        assert [row["a"] for row in await client.fetch_all("CALL two()")] == [1]
        assert await client.fetch_value("SELECT 5") == 5


async def test_a_statement_over_its_time_is_cancelled_at_the_server(server, view: View, proxies):
    proxy = proxies(server, maximum_connections=2)
    nap = "SELECT SLEEP(60)" if proxy.engine == "mysql" else "SELECT pg_sleep(60)"
    async with proxy.connect() as client:
        with pytest.raises(QueryTimeout):
            await client.fetch_value(nap, timeout=0.1)
        assert await client.fetch_value("SELECT 1") == 1
    running = (
        "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'"
        if proxy.engine == "mysql"
        else "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"
    )
    async with asyncio.timeout(5):
        while await view.value(running):
            await asyncio.sleep(0.01)


async def test_a_client_serves_one_task_at_a_time(server, proxies):
    async with proxies(server).connect() as client:
        first = asyncio.ensure_future(client.fetch_value("SELECT 1"))
        await asyncio.sleep(0)
        with pytest.raises(DBProxyError, match="one task per client"):
            await client.fetch_value("SELECT 2")
        assert await first == 1


async def test_a_closed_client_says_why(server, proxies):
    proxy = proxies(server)
    client = proxy.connect()
    with pytest.raises(ClientClosed, match="async with"):
        await client.fetch_value("SELECT 1")
    async with client:
        pass
    with pytest.raises(ClientClosed, match="closed"):
        await client.fetch_value("SELECT 1")


async def test_clients_over_the_limit_are_refused(server, proxies):
    proxy = proxies(server, maximum_clients=2)
    async with proxy.connect(), proxy.connect():
        with pytest.raises(TooManyClients, match="2"):
            async with proxy.connect():
                pass
    async with proxy.connect() as client:
        assert await client.fetch_value("SELECT 1") == 1
