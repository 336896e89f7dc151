"""What is done with a proxy while it runs: time limits, other limits, a pause, an end; and clients that are left half-way."""

from __future__ import annotations

import asyncio
import threading

import pytest
from db_servers import View, until

from forebay.dbproxy import EnvSecret
from forebay.errors import BorrowTimeout, ClientClosed, ConnectionLost, DBProxyError, InvalidParameterValue


def nap(proxy, seconds=30):
    return f"SELECT SLEEP({seconds})" if proxy.engine == "mysql" else f"SELECT pg_sleep({seconds})"


def number(proxy):
    return "SELECT CONNECTION_ID()" if proxy.engine == "mysql" else "SELECT pg_backend_pid()"


async def fresh_table(client):
    await client.execute("DROP TABLE IF EXISTS plain")
    await client.execute("CREATE TABLE plain (a INT)")


# Time limits of transactions


async def test_a_client_that_forgets_its_transaction_gives_it_back(server, proxies):
    """It held its connection and its row locks for 30 minutes."""
    proxy = proxies(server, maximum_connections=1, idle_in_transaction_timeout=0.2)
    async with proxy.connect() as client, proxy.connect() as other:
        await fresh_table(client)
        await client.execute("BEGIN")
        await client.execute("INSERT INTO plain VALUES (1)")
        assert await other.fetch_value("SELECT count(*) FROM plain") == 0
        assert client.in_transaction
        with pytest.raises(ConnectionLost, match="idle_in_transaction_timeout"):
            await client.execute("INSERT INTO plain VALUES (2)")
        await client.execute("ROLLBACK")
        await client.execute("INSERT INTO plain VALUES (3)")
        assert await other.fetch_value("SELECT sum(a) FROM plain") == 3
        assert proxy.statistics()["InterruptedConnections"] == 0, "the connection was kept"


async def test_a_statement_in_a_transaction_is_no_idling(server, proxies):
    proxy = proxies(server, maximum_connections=1, idle_in_transaction_timeout=0.2)
    async with proxy.connect() as client, client.transaction():
        for _ in range(3):
            await client.fetch_value(nap(proxy, 0.3))


async def test_a_transaction_that_lasts_too_long_is_ended(server, proxies):
    proxy = proxies(server, maximum_connections=1, transaction_timeout=0.3, idle_in_transaction_timeout=None)
    async with proxy.connect() as client, proxy.connect() as other:
        await fresh_table(client)
        await client.execute("BEGIN")
        await client.execute("INSERT INTO plain VALUES (1)")
        with pytest.raises(ConnectionLost, match=r"lasted longer than 0.3 s \(transaction_timeout\)"):
            await client.fetch_value(nap(proxy))
        await client.execute("ROLLBACK")
        await client.execute("BEGIN")
        for _ in range(2):
            await client.fetch_value("SELECT 1")
        assert await other.fetch_value("SELECT count(*) FROM plain") == 0
        with pytest.raises(ConnectionLost, match="transaction_timeout"):
            await client.execute("COMMIT")
        assert not client.in_transaction


# Limits, pause, reconnect


async def test_limits_can_be_changed_while_it_runs(server, view: View, proxies):
    proxy = proxies(server, maximum_connections=1, connection_borrow_timeout=30)
    async with proxy.connect() as holder, proxy.connect() as client:
        await holder.execute("BEGIN")
        waiting = asyncio.create_task(client.fetch_value("SELECT 1"))
        await until(lambda: proxy.statistics()["ClientsWaiting"] == 1)
        proxy.change(maximum_connections=2)
        assert await waiting == 1
        assert proxy.statistics()["MaxDatabaseConnectionsAllowed"] == 2
        proxy.change(maximum_connections=1, connection_borrow_timeout=0.05)
        with pytest.raises(BorrowTimeout):
            await client.fetch_value("SELECT 1")
        await holder.execute("COMMIT")
        assert await client.fetch_value("SELECT 1") == 1
        assert await view.connections() == 1
        proxy.change(query_timeout=0.1)
        with pytest.raises(DBProxyError, match="did not end in time"):
            await client.fetch_value(nap(proxy))


async def test_a_change_is_checked_before_any_of_it_holds(server, proxies):
    proxy = proxies(server, maximum_connections=3)
    for wrong, said in (
        ({"maximum_connections": 0}, "maximum_connections=0"),
        ({"maximum_connections": 5, "query_timeout": -1}, "query_timeout=-1"),
        ({"hygiene": "always"}, "hygiene: it cannot be changed while the proxy runs"),
        ({"maximum_connections": 2, "minimum_connections": 3}, "minimum_connections=3"),
    ):
        with pytest.raises(InvalidParameterValue, match=said):
            proxy.change(**wrong)
    assert proxy.settings.maximum_connections == 3
    proxy.change(maximum_connections=4)
    async with proxy.connect():
        assert proxy.statistics()["MaxDatabaseConnectionsAllowed"] == 4


async def test_a_pause_lets_transactions_end_and_statements_wait(server, view: View, proxies):
    proxy = proxies(server, maximum_connections=3)
    async with proxy.connect() as inside, proxy.connect() as outside:
        await fresh_table(inside)
        await inside.execute("BEGIN")
        assert not await proxy.pause(timeout=0.05)
        waiting = asyncio.create_task(outside.fetch_value("SELECT count(*) FROM plain"))
        await inside.execute("INSERT INTO plain VALUES (1)")
        await inside.execute("COMMIT")
        assert await proxy.pause(timeout=5)
        assert await view.connections() == 0
        assert not waiting.done()
        proxy.resume()
        assert await waiting == 1


async def test_a_client_that_waits_too_long_for_the_end_of_a_pause_is_told(server, proxies):
    proxy = proxies(server, connection_borrow_timeout=0.1)
    async with proxy.connect() as client:
        await client.fetch_value("SELECT 1")
        await proxy.pause()
        with pytest.raises(DBProxyError, match="the proxy is paused"):
            await client.fetch_value("SELECT 1")
        proxy.resume()
        assert await client.fetch_value("SELECT 1") == 1
        async with proxy.connect() as other, client.transaction():
            await client.fetch_value("SELECT 1")
            await proxy.pause(timeout=0)
            with pytest.raises(BorrowTimeout, match="The proxy is paused"):
                await other.fetch_value("SELECT 1")
            proxy.resume()


async def test_reconnect_replaces_connections_as_they_come_back(server, proxies):
    proxy = proxies(server, maximum_connections=2)
    async with proxy.connect() as inside, proxy.connect() as outside:
        await inside.execute("BEGIN")
        held = await inside.fetch_value(number(proxy))
        idle = await outside.fetch_value(number(proxy))
        proxy.reconnect()
        assert await inside.fetch_value(number(proxy)) == held
        assert await outside.fetch_value(number(proxy)) not in (idle, held)
        await inside.execute("COMMIT")
        assert await inside.fetch_value(number(proxy)) != held
        assert proxy.statistics()["InterruptedConnections"] == 0


# Users


async def test_users_have_connections_of_their_own_under_one_maximum(server, view: View, proxies, monkeypatch):
    monkeypatch.setenv("REPORTS_PASSWORD", "reports-S3cret")
    if server.engine == "mysql":
        server.sql(
            "CREATE OR REPLACE USER reports@'%' IDENTIFIED BY 'reports-S3cret'; GRANT SELECT ON app.* TO reports@'%'"
        )
        who = "SELECT CURRENT_USER()"
    else:
        server.sql("DROP ROLE IF EXISTS reports")
        server.sql("CREATE ROLE reports LOGIN PASSWORD 'reports-S3cret'")
        who = "SELECT current_user"
    proxy = proxies(server, maximum_connections=2, users={"reports": EnvSecret("REPORTS_PASSWORD")})
    async with proxy.connect() as app, proxy.connect(user="reports") as reports, proxy.connect(user="app") as same:
        assert str(await app.fetch_value(who)).startswith("app")
        assert str(await reports.fetch_value(who)).startswith("reports")
        assert str(await same.fetch_value(who)).startswith("app")

        async def ask(client, said):
            for _ in range(20):
                assert str(await client.fetch_value(who)).startswith(said)

        clients = [(await proxy.connect(user=name).__aenter__(), name) for name in ("app", "reports") * 4]
        await asyncio.gather(*(ask(client, name) for client, name in clients))
        assert proxy.statistics()["DatabaseConnections"] <= 2
        assert proxy.statistics()["MaxDatabaseConnectionsAllowed"] == 2
        for client, _ in clients:
            await client.close()
    with pytest.raises(InvalidParameterValue, match="no secret for it"):
        await proxy.connect(user="nobody").__aenter__()


# Ends


async def test_open_that_is_cancelled_strands_no_connection(server, view: View, proxies):
    """What had been opened for the minimum was lent to nobody, and never came back."""
    for pause in (0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05):
        proxy = proxies(server, maximum_connections=4, minimum_connections=4)
        opening = asyncio.create_task(proxy.open())
        await asyncio.sleep(pause)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        clients = [await proxy.connect().__aenter__() for _ in range(4)]
        async with asyncio.timeout(5):
            for client in clients:
                await client.execute("BEGIN")
        for client in clients:
            await client.close()
        await proxy.close()


async def test_a_stream_that_is_left_by_break_leaves_the_client_free(server, proxies):
    """The next statement was refused: the client was already in a statement."""
    proxy = proxies(server, maximum_connections=2)
    many = "SELECT seq FROM seq_1_to_5000" if proxy.engine == "mysql" else "SELECT generate_series(1, 5000)"
    async with proxy.connect() as client:
        async for row in client.stream(many, prefetch=10):
            assert row[0] == 1
            break
        assert await client.fetch_value("SELECT 2") == 2
        assert not client.in_transaction
        async for _ in client.stream(many, prefetch=10):
            break
        assert [row[0] async for row in client.stream("SELECT 3")] == [3]
        async with client.transaction():
            async for _ in client.stream(many, prefetch=10):
                break
            if proxy.engine == "postgresql":
                assert await client.fetch_value("SELECT 4") == 4
            else:
                with pytest.raises(ConnectionLost):
                    await client.fetch_value("SELECT 4")
                await client.execute("ROLLBACK")


async def test_a_stream_that_somebody_still_holds_is_not_closed_under_him(server, proxies):
    proxy = proxies(server, maximum_connections=2)
    async with proxy.connect() as client:
        rows = client.stream("SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a", prefetch=1)
        assert (await anext(rows))[0] == 1
        with pytest.raises(DBProxyError, match="aclose"):
            await client.fetch_value("SELECT 1")
        assert [row[0] async for row in rows] == [2]
        assert await client.fetch_value("SELECT 3") == 3


async def test_close_under_many_statements_tells_everyone_that_it_was_closed(server, proxies):
    """Some were told that the database is unavailable."""
    proxy = proxies(server, maximum_connections=4)
    clients = [await proxy.connect().__aenter__() for _ in range(200)]
    asking = [asyncio.create_task(client.fetch_value(nap(proxy))) for client in clients]
    await until(lambda: proxy.statistics()["ClientsWaiting"] == 196)
    await proxy.close()
    errors = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(error) for error in errors} == {ClientClosed}, errors
    assert {str(error).partition(": ")[2] for error in errors} == {"the proxy was closed"}


async def test_another_event_loop_gets_a_sentence_and_does_no_harm(server, proxies):
    """It got asyncio's internals, and the proxy's own loop waited for ever."""
    proxy = proxies(server, maximum_connections=1)
    said = []
    async with proxy.connect() as client:
        assert await client.fetch_value("SELECT 1") == 1

        async def elsewhere():
            for ask in (
                lambda: client.fetch_value("SELECT 1"),
                lambda: proxy.connect().__aenter__(),
                lambda: anext(client.stream("SELECT 1")),
                proxy.close,
                client.close,
            ):
                try:
                    await ask()
                except DBProxyError as error:
                    said.append(str(error))

        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert len(said) == 5
        assert all("belongs to another event loop" in each for each in said), said
        assert await client.fetch_value("SELECT 2") == 2


async def test_a_client_whose_event_loop_has_ended_is_closed_without_a_word(server, proxies):
    """There is no loop any more in which it could be closed."""
    proxy = proxies(server)

    async def left_open():
        client = await proxy.connect().__aenter__()
        await proxy.pause()
        return client

    client = await asyncio.to_thread(asyncio.run, left_open())
    assert proxy.statistics()["ClientConnections"] == 1
    await client.close()
    assert proxy.statistics()["ClientConnections"] == 0
    with pytest.raises(DBProxyError, match="belongs to another event loop"):
        await client.fetch_value("SELECT 1")


# Probes


async def test_a_read_only_client_costs_nobody_a_connection(postgres, view_of_postgres, proxies):
    """The question who is the writer ran on that client's connection, and every connection was closed as read-only."""
    proxy = proxies(postgres, maximum_connections=3)
    async with proxy.connect() as client, proxy.connect() as other:
        await fresh_table(other)
        await other.execute("BEGIN")
        held = await other.fetch_value(number(proxy))
        await client.execute("SET default_transaction_read_only = on")
        probes = proxy.counters.probes
        with pytest.raises(DBProxyError, match="read-only"):
            await client.execute("INSERT INTO plain VALUES (1)")
        await until(lambda: proxy.counters.probes > probes)
        await asyncio.sleep(0.1)
        with pytest.raises(DBProxyError, match="read-only"):
            await client.execute("INSERT INTO plain VALUES (1)")
        assert await other.fetch_value(number(proxy)) == held
        await other.execute("COMMIT")
        assert proxy.statistics()["InterruptedConnections"] == 0


async def test_a_client_whose_setting_is_refused_by_now_can_leave_it(postgres, proxies, caplog):
    """Each of its statements failed, and RESET itself: the setting was made again before it. It goes on without, as the log says."""
    postgres.sql("DROP TEXT SEARCH CONFIGURATION IF EXISTS passing")
    postgres.sql("CREATE TEXT SEARCH CONFIGURATION passing (COPY = simple)")
    proxy = proxies(postgres, maximum_connections=2)
    async with proxy.connect() as client, proxy.connect() as other:
        default = await client.fetch_value("SHOW default_text_search_config")
        await client.execute("SET default_text_search_config = 'passing'")
        assert await client.fetch_value("SHOW default_text_search_config") == "public.passing"
        assert not proxy.pinned()
        postgres.sql("DROP TEXT SEARCH CONFIGURATION passing")
        for _ in range(3):
            await other.fetch_value("SELECT 1")
        proxy.reconnect()
        assert await client.fetch_value("SELECT 1") == 1
        assert "default_text_search_config" in caplog.text
        await client.execute("RESET default_text_search_config")
        assert await client.fetch_value("SHOW default_text_search_config") == default


@pytest.fixture
async def view_of_postgres(postgres):
    async with View(postgres) as found:
        yield found
