"""No answer ever reaches the wrong client: tagged queries, of which many are cancelled at random moments.

`FOREBAY_COUNT` says how many, `FOREBAY_SEED` where chance begins.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys

import pytest
from db_servers import View, until

from forebay.dbproxy.server_close import wait_until_closed
from forebay.errors import CommitUnknown, ConnectionLost, QueryTimeout

QUERIES = int(os.environ.get("FOREBAY_COUNT", "20000"))
CANCELLED = 0.05
CLIENTS = 40


@pytest.mark.timeout(240 + QUERIES // 200)
async def test_a_cancelled_query_never_answers_another_one(server, view: View, proxies):
    seed = int(os.environ.get("FOREBAY_SEED", "20261129"))
    dice = random.Random(seed)
    proxy = proxies(server, maximum_connections=10, connection_borrow_timeout=120)
    question = "SELECT %s, %s" if proxy.engine == "mysql" else "SELECT $1::bigint, $2::text"
    loop = asyncio.get_running_loop()
    tags = iter(range(QUERIES))
    wrong, answered, cancelled = [], 0, 0
    typical = 0.005  # seconds from a question to its answer: cancelled anywhere between, in line and at the server

    async def worker():
        nonlocal answered, cancelled, typical
        client = None
        for tag in tags:
            if client is None or dice.random() < 0.01:  # clients come and go
                if client is not None:
                    await client.close()
                client = await proxy.connect().__aenter__()
            text = "x" * dice.choice((1, 10, 3000))
            task = asyncio.ensure_future(client.fetch_one(question, (tag, text)))
            began = loop.time()
            if dice.random() < CANCELLED:
                loop.call_later(dice.random() * 1.5 * typical, task.cancel)
            try:
                row = await task
            except asyncio.CancelledError:
                cancelled += 1
                continue
            answered += 1
            typical += (loop.time() - began - typical) / 100
            if tuple(row) != (tag, text):
                wrong.append((tag, tuple(row)))
        if client is not None:
            await client.close()

    watcher = asyncio.create_task(view.watch())
    await asyncio.gather(*(worker() for _ in range(CLIENTS)))
    watcher.cancel()
    assert wrong == [], f"seed {seed}"
    assert answered + cancelled == QUERIES
    assert cancelled >= QUERIES * CANCELLED / 10, "too few were caught in the act for the test to mean anything"
    assert proxy.statistics()["InterruptedConnections"] >= cancelled / 100, f"seed {seed}, cancelled {cancelled}"
    figures = proxy.statistics()
    assert view.peak <= 10 + (server.engine == "mysql"), "see _kill_alone: one more, when every connection is stuck"
    assert figures["ClientsWaiting"] == 0
    interrupted = figures["InterruptedConnections"]
    sys.stdout.write(
        f"{QUERIES:,} asked, {answered:,} answered, {cancelled:,} cancelled, {interrupted:,} in the act; peak {view.peak}\n"
    )


async def test_a_cancelled_transaction_is_rolled_back_and_its_connection_not_reused(server, proxies):
    proxy = proxies(server, maximum_connections=1)
    nap = "SELECT SLEEP(30)" if proxy.engine == "mysql" else "SELECT pg_sleep(30)"
    number = "SELECT CONNECTION_ID()" if proxy.engine == "mysql" else "SELECT pg_backend_pid()"
    async with proxy.connect() as client:
        await client.execute("DROP TABLE IF EXISTS plain")
        await client.execute("CREATE TABLE plain (a INT)")
        first = await client.fetch_value(number)

        async def work():
            async with client.transaction():
                await client.execute("INSERT INTO plain VALUES (1)")
                await client.fetch_value(nap)

        task = asyncio.create_task(work())
        await until(lambda: client.in_transaction)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not client.in_transaction
        assert await client.fetch_value("SELECT count(*) FROM plain") == 0
        assert await client.fetch_value(number) != first


async def test_in_a_lost_transaction_nothing_runs_until_it_is_ended(server, proxies):
    proxy = proxies(server, maximum_connections=2)
    nap = "SELECT SLEEP(30)" if proxy.engine == "mysql" else "SELECT pg_sleep(30)"
    async with proxy.connect() as client:
        await client.execute("DROP TABLE IF EXISTS plain")
        await client.execute("CREATE TABLE plain (a INT)")
        await client.execute("BEGIN")
        with pytest.raises(QueryTimeout):
            await client.fetch_value(nap, timeout=0.05)
        with pytest.raises(ConnectionLost):
            await client.execute("INSERT INTO plain VALUES (1)")
        with pytest.raises(ConnectionLost):
            await client.execute("COMMIT")
        assert await client.fetch_value("SELECT count(*) FROM plain") == 0
        await client.execute("BEGIN")
        with pytest.raises(QueryTimeout):
            await client.fetch_value(nap, timeout=0.05)
        await client.execute("ROLLBACK")
        assert await client.fetch_value("SELECT 1") == 1
        with pytest.raises(ConnectionLost):
            async with client.transaction():
                try:
                    await client.fetch_value(nap, timeout=0.05)
                except QueryTimeout:
                    await client.execute("INSERT INTO plain VALUES (2)")
        assert await client.fetch_value("SELECT count(*) FROM plain") == 0


async def test_all_connections_stuck_at_once_come_back(server, view: View, proxies):
    """Every connection runs a statement that is cancelled: on MySQL nobody is left to kill them, so one more is opened."""
    proxy = proxies(server, maximum_connections=4)
    nap = "SELECT SLEEP(60)" if proxy.engine == "mysql" else "SELECT pg_sleep(60)"
    clients = [await proxy.connect().__aenter__() for _ in range(4)]
    tasks = [asyncio.create_task(client.fetch_value(nap)) for client in clients]
    await until(lambda: proxy.statistics()["DatabaseConnectionsCurrentlyBorrowed"] == 4)
    await asyncio.sleep(0.05)
    watcher = asyncio.create_task(view.watch())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(8):
        assert await asyncio.gather(*(client.fetch_value("SELECT 1") for client in clients)) == [1] * 4
    watcher.cancel()
    assert view.peak <= 4 + (server.engine == "mysql")
    for client in clients:
        await client.close()


async def test_a_killed_statement_makes_room_while_others_wait(server, view: View, proxies):
    proxy = proxies(server, maximum_connections=2)
    nap = "SELECT SLEEP(60)" if proxy.engine == "mysql" else "SELECT pg_sleep(60)"
    watcher = asyncio.create_task(view.watch())

    async def impatient():
        async with proxy.connect() as client:
            with pytest.raises(QueryTimeout):
                await client.fetch_value(nap, timeout=0.02)

    async def patient():
        async with proxy.connect() as client:
            for _ in range(20):
                assert await client.fetch_value("SELECT 7") == 7

    await asyncio.gather(impatient(), *(patient() for _ in range(5)), impatient(), *(patient() for _ in range(5)))
    watcher.cancel()
    assert view.peak <= 2 + (server.engine == "mysql")


async def test_a_commit_that_does_not_answer_in_time_is_unknown(postgres, proxies):
    proxy = proxies(postgres)
    async with proxy.connect() as client:
        await client.execute("DROP TABLE IF EXISTS slow CASCADE")
        await client.execute("CREATE TABLE slow (a INT)")
        await client.execute(
            "CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(30); RETURN NULL; END$$"
        )
        await client.execute(
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle()"
        )
        await client.execute("BEGIN")
        await client.execute("INSERT INTO slow VALUES (1)")
        with pytest.raises(CommitUnknown):
            await client.execute("COMMIT", timeout=0.05)
        assert not client.in_transaction
        assert await client.fetch_value("SELECT count(*) FROM slow") == 0


async def test_a_server_that_never_stops_sending_does_not_hold_the_event_loop():
    """What still comes after a statement was left was read to its end, and nobody else had a turn."""

    class Endless(socket.socket):
        def recv(self, *_):
            return b"more"

    near, far = socket.socketpair()
    endless = Endless(fileno=near.detach())
    with endless, far:
        far.send(b"more")
        assert not await wait_until_closed(endless, 0.05)


async def test_tagged_queries_on_the_standard_event_loop(server):
    """The same promise without uvloop, in small."""
    from forebay.dbproxy import DBProxy

    async def main():
        async with DBProxy(server.url, maximum_connections=3) as proxy:

            async def one(tag):
                async with proxy.connect() as client:
                    task = asyncio.ensure_future(client.fetch_value(f"SELECT {tag}"))
                    if tag % 7 == 0:
                        asyncio.get_running_loop().call_later(0.001 * (tag % 5), task.cancel)
                    try:
                        return await task == tag
                    except asyncio.CancelledError:
                        return True

            assert all(await asyncio.gather(*(one(tag) for tag in range(500))))

    def run():
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(main())

    await asyncio.to_thread(run)
