"""An answer is taken only for the question in flight: what a server, a row or the network sends beyond it reaches nobody.

`FOREBAY_COUNT` says how many questions are asked over the bad network, `FOREBAY_SEED` where chance begins.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from db_chaos import Chaos
from db_servers import PASSWORD, USER

from forebay.dbproxy import driver
from forebay.errors import CommitUnknown, ConnectionLost, DBProxyError

QUERIES = int(os.environ.get("FOREBAY_COUNT", "4000"))
MEBIBYTE = 1 << 20


def url(server, port):
    return f"{server.engine}://{USER}:{PASSWORD.replace('!', '%21')}@127.0.0.1:{port}/app"


@pytest.mark.parametrize("length", [16 * MEBIBYTE - 6, 16 * MEBIBYTE - 5, 16 * MEBIBYTE - 1, 16 * MEBIBYTE])
async def test_a_row_that_begins_with_16_mebibytes_is_a_row(mariadb, proxies, length):
    """The driver took it for the end of the result, and the next client got the rest of the rows as its answer."""
    proxy = proxies(mariadb, maximum_connections=1)
    question = f"SELECT REPEAT('x', {length}) UNION ALL SELECT 'last'"
    async with proxy.connect() as client, proxy.connect() as other:
        rows = await client.fetch_all(question)
        assert [len(row[0]) for row in rows] == [length, 4]
        assert await other.fetch_value("SELECT 'mine'") == "mine"
        assert [len(row[0]) async for row in client.stream(question)] == [length, 4]
        assert await other.fetch_value("SELECT 'mine'") == "mine"
        assert proxy.statistics()["InterruptedConnections"] == 0


async def test_the_server_s_status_is_known_after_rows(mariadb, proxies):
    """With autocommit off a SELECT begins a transaction: only the end of its rows says so."""
    proxy = proxies(mariadb, maximum_connections=1)
    async with proxy.connect() as client:
        await client.execute("SET autocommit = 0")
        assert not client.in_transaction
        assert await client.fetch_all("SELECT * FROM information_schema.engines LIMIT 1")
        await client.execute("DROP TABLE IF EXISTS plain")
        await client.execute("CREATE TABLE plain (a INT)")
        assert not client.in_transaction
        await client.fetch_all("SELECT * FROM plain")
        assert client.in_transaction
        await client.execute("ROLLBACK")
        assert [row async for row in client.stream("SELECT * FROM plain")] == []
        assert client.in_transaction
        await client.execute("COMMIT")
        assert not client.in_transaction


async def test_an_answer_that_comes_twice_reaches_nobody(server, proxies):
    """Of 300 questions, 279 got the answer to the question before."""
    async with Chaos(server.port) as chaos:
        proxy = proxies(url(server, chaos.port), maximum_connections=2)
        question = "SELECT %s" if proxy.engine == "mysql" else "SELECT $1::bigint"

        async def ask(first):
            async with proxy.connect() as client:
                for tag in range(first, first + 50):
                    try:
                        assert await client.fetch_value(question, (tag,)) == tag
                    except ConnectionLost:  # three connections in a row were out of step
                        continue

        async with proxy.connect() as client:
            await client.execute("DROP TABLE IF EXISTS plain")
            await client.execute("CREATE TABLE plain (a INT)")
        chaos.repeats = 0.2
        await asyncio.gather(*(ask(1000 * number) for number in range(6)))
        chaos.repeats = 1.0
        async with proxy.connect() as client:
            with pytest.raises((CommitUnknown, DBProxyError)):
                await client.execute("INSERT INTO plain VALUES (1)")
        assert chaos.done["repeated"] > 10


@pytest.mark.timeout(240 + QUERIES // 50)
async def test_no_answer_reaches_another_client_over_a_bad_network(server, proxies):
    """Questions with tags; the network stalls, splits, repeats and cuts their answers, and some are cancelled."""
    seed = int(os.environ.get("FOREBAY_SEED", "20261129"))
    dice = random.Random(seed)
    tags = iter(range(QUERIES))
    counts = {"asked": QUERIES, "answered": 0, "cancelled": 0, "lost": 0}
    wrong = []
    async with Chaos(server.port, seed) as chaos:
        proxy = proxies(url(server, chaos.port), maximum_connections=10, connection_borrow_timeout=60)
        question = "SELECT %s, %s" if proxy.engine == "mysql" else "SELECT $1::bigint, $2::text"

        async def ask():
            for tag in tags:
                text = "x" * dice.choice((1, 10, 3000, 40_000))
                async with proxy.connect() as client:
                    task = asyncio.ensure_future(client.fetch_one(question, (tag, text)))
                    if dice.random() < 0.05:
                        asyncio.get_running_loop().call_later(dice.random() * 0.02, task.cancel)
                    try:
                        row = await task
                    except asyncio.CancelledError:
                        counts["cancelled"] += 1
                    except DBProxyError:
                        counts["lost"] += 1
                    else:
                        counts["answered"] += 1
                        if tuple(row) != (tag, text):
                            wrong.append(tag)

        async with proxy.connect():
            pass
        chaos.stalls, chaos.splits, chaos.repeats, chaos.cuts = 0.05, 0.1, 0.01, 0.005
        await asyncio.gather(*(ask() for _ in range(40)))
    assert wrong == [], f"seed {seed}"
    assert counts["answered"] > 0.8 * QUERIES, f"seed {seed}: {counts}"
    assert all(number > QUERIES / 2000 for number in chaos.done.values()), f"seed {seed}: {chaos.done}"
    sys.stdout.write(f"figures {json.dumps({server.engine + ' ' + k: v for k, v in (counts | chaos.done).items()})}\n")


async def test_a_connection_that_a_firewall_swallowed_is_noticed_soon(server, proxies):
    """It was noticed after 65 s, and a statement without a time limit waited for ever. The kernel needs 15 s at most."""
    loop = asyncio.get_running_loop()
    async with Chaos(server.port) as chaos:
        proxy = proxies(url(server, chaos.port), maximum_connections=1, connection_borrow_timeout=60)
        async with proxy.connect() as client, proxy.connect() as other:
            await client.execute("BEGIN")
            chaos.swallow_all(proxy)
            began = loop.time()
            waiting = asyncio.create_task(other.fetch_value("SELECT 2"))
            with pytest.raises(ConnectionLost):
                await client.fetch_value("SELECT 1")
            assert 5 < loop.time() - began < 40
            chaos.thaw()
            assert await waiting == 2


def test_the_kernel_notices_a_silent_server_within_what_is_promised():
    """What a real connection shows takes 15 s, and longer beside other tests; this follows from what each socket is told."""
    page = (Path(__file__).parents[2] / "docs" / "dbproxy.md").read_text()
    (promised,) = map(int, re.findall(r"vanished without a word.* is noticed within (\d+) s, idle or not", page))
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as sock:
        driver.duplicate_socket(SimpleNamespace(get_extra_info={"socket": sock}.get)).close()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        begins = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"
        idle, interval, probes = (told(sock, name) for name in (begins, "TCP_KEEPINTVL", "TCP_KEEPCNT"))
        assert idle + probes * interval <= promised
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert 0 < told(sock, "TCP_USER_TIMEOUT") <= 1000 * promised
    assert f"after {idle} s, " in page


def told(sock, name):
    return sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))


async def test_an_idle_connection_that_a_firewall_swallowed_is_given_to_nobody(server, proxies, monkeypatch):
    monkeypatch.setattr(driver, "_KEEPALIVE", [("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 1)])
    async with Chaos(server.port) as chaos:
        proxy = proxies(url(server, chaos.port), maximum_connections=1)
        async with proxy.connect() as client:
            assert await client.fetch_value("SELECT 1") == 1
            chaos.swallow_all(proxy)
            chaos.thaw()
            await asyncio.sleep(4)  # the kernel asks after a second, and a second later it gives up
            async with asyncio.timeout(30):
                assert await client.fetch_value("SELECT 2") == 2
