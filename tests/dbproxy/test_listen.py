"""Notifications of PostgreSQL: heard by the client that listens, pinned while it does, and by nobody after it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from db_servers import until

from forebay.dbproxy import listen
from forebay.errors import ClientClosed, ConnectionLost, DBProxyError, InvalidParameterValue


async def test_a_listening_client_is_pinned_and_hears_every_notification(postgres, proxies):
    proxy = proxies(postgres, maximum_connections=2)
    async with proxy.connect() as client, proxy.connect() as other:
        heard = []

        async def hear():
            async with contextlib.aclosing(client.listen('a "strange" channel')) as notes:
                async for note in notes:
                    heard.append(note)
                    assert await client.fetch_value("SELECT 1") == 1, "it may ask between two notifications"
                    if len(heard) == 100:
                        return

        task = asyncio.create_task(hear())
        await until(lambda: [pin.reason for pin in proxy.pinned()] == ["LISTEN"])
        await asyncio.sleep(0.1)
        for number in range(100):
            await other.execute("SELECT pg_notify($1, $2)", ('a "strange" channel', f"n{number}"))
        await asyncio.wait_for(task, 10)
        assert heard == [f"n{number}" for number in range(100)]
        assert proxy.pinned() == []
        for _ in range(2):
            assert await other.fetch_value("SELECT count(*) FROM pg_listening_channels()") == 0


async def test_a_listener_is_told_when_its_connection_is_lost(own_server, proxies):
    if own_server.engine == "mysql":
        async with proxies(own_server).connect() as client:
            with pytest.raises(InvalidParameterValue, match="PostgreSQL"):
                client.listen("channel")
        return
    proxy = proxies(own_server)
    async with proxy.connect() as client:
        waiting = asyncio.ensure_future(anext(client.listen("channel")))
        await until(proxy.pinned)
        await asyncio.sleep(0.1)
        own_server.kill()
        with pytest.raises(ConnectionLost, match="missed"):
            await asyncio.wait_for(waiting, 10)


async def test_a_listener_is_told_when_the_proxy_is_closed(postgres, proxies):
    proxy = proxies(postgres)
    async with proxy.connect() as client:
        waiting = asyncio.ensure_future(anext(client.listen("channel")))
        await until(proxy.pinned)
        await asyncio.sleep(0.1)
        await proxy.close()
        with pytest.raises(ClientClosed, match="proxy was closed"):
            await asyncio.wait_for(waiting, 10)


async def test_a_listener_that_falls_behind_is_told_so(postgres, proxies, monkeypatch):
    monkeypatch.setattr(listen, "UNREAD_MAX", 5)
    proxy = proxies(postgres, maximum_connections=2)
    async with proxy.connect() as client, proxy.connect() as other:
        notes = client.listen("channel")
        first = asyncio.ensure_future(anext(notes))
        await until(proxy.pinned)
        await asyncio.sleep(0.1)
        for _ in range(10):
            await other.execute("NOTIFY channel, 'x'")
        assert await first == "x"
        await asyncio.sleep(0.1)
        with pytest.raises(DBProxyError, match="waiting to be read"):
            for _ in range(10):
                await anext(notes)


async def test_a_listener_keeps_its_connection_after_unlisten(postgres, proxies):
    """The client had unlistened itself: the next client's notifications came to it, and its end met that client's statement."""
    proxy = proxies(postgres, maximum_connections=2)
    async with proxy.connect() as one, proxy.connect() as two, proxy.connect() as three:
        heard = one.listen("news")
        first = asyncio.ensure_future(anext(heard))
        await until(proxy.pinned)
        await asyncio.sleep(0.1)
        await three.execute("NOTIFY news, 'mine'")
        assert await first == "mine"
        await one.execute("UNLISTEN *")
        assert one.pins
        theirs = two.listen("news")
        second = asyncio.ensure_future(anext(theirs))
        await until(lambda: two.pins)
        await asyncio.sleep(0.1)
        postgres.sql("SELECT pg_notify('news', 'theirs')")
        assert await second == "theirs"
        await heard.aclose()
        assert one.pins == ()
        await theirs.aclose()


async def test_two_listeners_of_a_channel_end_one_by_one(postgres, proxies):
    """The first one's end unlistened for both."""
    proxy = proxies(postgres, maximum_connections=1)
    async with proxy.connect() as client:
        both = [client.listen("x"), client.listen("x")]
        for heard in both:
            waiting = asyncio.ensure_future(anext(heard))
            await asyncio.sleep(0.2)
            postgres.sql("SELECT pg_notify('x', 'one')")
            assert await asyncio.wait_for(waiting, 5) == "one"
        await both[0].aclose()
        waiting = asyncio.ensure_future(anext(both[1]))
        await asyncio.sleep(0.1)
        postgres.sql("SELECT pg_notify('x', 'two')")
        assert await asyncio.wait_for(waiting, 5) == "two"
        await both[1].aclose()
        assert client.pins == ()
