"""A proxy attached to an app keeps its maximum over the app's own process and all of its environments.

Each process had a pool of its own: eight of them with ten connections were eighty at the server.
"""

from __future__ import annotations

import asyncio
import os
import time
import urllib.request
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from ports import free_port

from forebay import FunctionError

if TYPE_CHECKING:
    from db_servers import View


@pytest.fixture
def shop(server, monkeypatch, import_app):
    """Import the app anew, with a proxy of so many connections."""
    monkeypatch.setenv("FOREBAY_TEST_DATABASE", server.url)

    def import_anew(connections, **more):
        monkeypatch.setenv("FOREBAY_TEST_CONNECTIONS", str(connections))
        for name, value in more.items():
            monkeypatch.setenv(f"FOREBAY_TEST_{name.upper()}", str(value))
        return import_app("process_proxy")

    return import_anew


@asynccontextmanager
async def watched(view: View):
    """Count the server's connections all the time."""
    view.peak, over = 0, asyncio.Event()

    async def watch():
        while not over.is_set():
            await view.connections()
            await asyncio.sleep(0.001)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        over.set()
        await watching


async def test_eight_processes_and_the_app_itself_share_ten_connections(shop, view: View):
    shop = shop(10)
    work = {"seconds": 0.02, "clients": 5}
    async with shop.app, watched(view):
        pids = await asyncio.gather(
            *[shop.busy.invoke(work) for _ in range(60)],
            *[shop.plain.invoke({"seconds": 0.02}) for _ in range(60)],
            *[shop.in_the_app.invoke({"seconds": 0.02}) for _ in range(60)],
        )
        assert len({pid for pid in pids if pid}) > 8
        assert len(pids) == 180
    assert 8 <= view.peak <= 10
    await until_none(view)


async def until_none(view: View):
    ends = time.monotonic() + 100
    while await view.connections():
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)


async def test_more_processes_than_connections_take_turns(shop, view: View):
    """A connection that is idle in one process goes to another that waits, also while the first does nothing at all."""
    shop = shop(1)
    async with shop.app, watched(view):
        await asyncio.gather(*[shop.plain.invoke({"seconds": 0.2}) for _ in range(8)])
        began = time.monotonic()
        await shop.in_the_app.invoke({"seconds": 0})
        await shop.busy.invoke({"seconds": 0, "clients": 3})
        await shop.in_the_app.invoke({"seconds": 0})
        assert time.monotonic() - began < 18, "whoever waits in vain is refused after 20 s"
    assert view.peak == 1


async def test_a_process_that_dies_gives_its_permits_back_when_the_server_has_let_go(shop, view: View):
    """The statement of a killed handler runs on at the server, so its connection counts until it has ended."""
    shop = shop(2, borrow_timeout=20)
    async with shop.app, watched(view):
        attempts = await asyncio.gather(*[shop.killed.invoke({"seconds": 4}) for _ in range(2)], return_exceptions=True)
        assert all(isinstance(attempt, FunctionError) for attempt in attempts), attempts
        await asyncio.gather(*[shop.busy.invoke({"seconds": 0.05, "clients": 3}) for _ in range(4)])
        await shop.in_the_app.invoke({"seconds": 0})
    assert view.peak == 2


async def test_who_waits_too_long_is_told_that_other_processes_have_the_connections(shop, server):
    shop = shop(1, borrow_timeout=0.5)
    async with shop.app:
        assert await shop.plain.invoke({"seconds": 0}) != os.getpid()
        holding = asyncio.create_task(shop.plain.invoke({"seconds": 8}))
        await asyncio.sleep(1.5)  # its process is there and has the connection
        with pytest.raises(FunctionError) as refused:
            await shop.busy.invoke({"seconds": 0, "clients": 1})
        assert refused.value.payload["errorType"] == "BorrowTimeout", refused.value.payload
        assert "0 connections in this process and the rest in others of the app" in str(refused.value)
        assert not holding.done(), "it was told before the connection was free"
        await holding
        assert await shop.busy.invoke({"seconds": 0, "clients": 1}), "whoever was refused has left the line"


async def test_a_connection_that_a_busy_handler_does_not_use_comes_when_it_ends(shop, view: View):
    shop = shop(1)
    async with shop.app, watched(view):
        computing = asyncio.create_task(shop.plain.invoke({"seconds": 0, "after": 1}))
        await asyncio.sleep(0.6)
        began = time.monotonic()
        await shop.in_the_app.invoke({"seconds": 0})
        assert time.monotonic() - began < 18, "whoever waits in vain is refused after 20 s"
        await computing
    assert view.peak == 1


async def test_the_minimum_is_the_apps_own_and_gives_way_to_processes(shop, view: View):
    """Eight processes that each open a minimum of three of the same three connections would wait for each other."""
    shop = shop(3, minimum=3)
    async with shop.app, watched(view):
        assert shop.proxy.statistics()["DatabaseConnections"] == 3
        await asyncio.gather(*[shop.busy.invoke({"seconds": 0.01, "clients": 2}) for _ in range(20)])
        await shop.in_the_app.invoke({"seconds": 0})
    assert view.peak == 3


async def test_the_apps_page_counts_the_maximum_once(shop):
    shop, port = shop(7), free_port()

    def page():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return answer.read().decode()

    await shop.app.start(metrics_port=port)
    try:
        await asyncio.gather(*[shop.plain.invoke({"seconds": 1.5}) for _ in range(3)])
        async with asyncio.timeout(100):
            while 'forebay_dbproxy_query_requests_total{proxy="app"} 9' not in (text := await asyncio.to_thread(page)):
                await asyncio.sleep(0.05)
    finally:
        await shop.app.stop()
    levels = [line for line in text.splitlines() if line.startswith("forebay_dbproxy_") and "connections" in line]
    assert 'forebay_dbproxy_database_connections_allowed{proxy="app"} 7' in levels
    assert 'forebay_dbproxy_database_connections{proxy="app"} 3' in levels
