"""A proxy attached to an app: open before the first event, closed after the last handler, its figures on the app's page."""

from __future__ import annotations

import asyncio
import urllib.request

import pytest
from db_servers import View, until
from ports import free_port

import forebay
from forebay.errors import DBProxyError, InvalidParameterValue


async def test_it_opens_before_the_first_event_and_closes_after_the_last_handler(server, view: View, proxies):
    proxy = proxies(server, maximum_connections=2, minimum_connections=2)
    nap = "SELECT SLEEP(0.3)" if proxy.engine == "mysql" else "SELECT pg_sleep(0.3)"
    app = forebay.App("attached", store=":memory:")
    stream = app.stream("orders", shards=2)
    warm, begun, ended = [], [], []

    @app.on_stream("orders", batch_size=1)
    async def handler(batch: forebay.Batch, context: forebay.Context) -> None:
        warm.append(proxy.statistics()["DatabaseConnections"])
        async with proxy.connect() as client:
            begun.append(batch)
            await client.fetch_value(nap)
            assert await client.fetch_value("SELECT 1") == 1
            ended.append(batch)

    app.attach(proxy)
    async with app:
        await stream.put({"number": 1}, partition_key="a")
        await until(lambda: begun)
    assert begun
    assert len(ended) == len(begun), "the handler that ran when the app was stopped had its database to the end"
    assert warm[0] >= 1
    assert await view.connections() == 0
    with pytest.raises(DBProxyError, match="closed"):
        await proxy.open()


async def test_the_minimum_is_warm_when_the_app_has_started(server, view: View, proxies):
    proxy = proxies(server, maximum_connections=5, minimum_connections=4)
    app = forebay.App("attached", store=":memory:")
    app.attach(proxy)
    async with app:
        assert proxy.statistics()["DatabaseConnections"] == 4
        assert await view.connections() == 4


async def test_a_target_that_cannot_be_reached_keeps_the_app_from_starting(proxies):
    app = forebay.App("attached", store=":memory:")
    app.attach(
        proxies(f"mysql://app:x@127.0.0.1:{free_port()}/app", minimum_connections=1, connection_borrow_timeout=1)
    )
    with pytest.raises(DBProxyError, match=r"127\.0\.0\.1"):
        await app.start()


async def test_its_metrics_are_on_the_apps_page(server, proxies):
    proxy = proxies(server, minimum_connections=1)
    app = forebay.App("attached", store=":memory:")
    app.attach(proxy)
    port = free_port()

    def page():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return answer.read().decode()

    await app.start(metrics_port=port)
    try:
        async with proxy.connect() as client:
            for _ in range(7):
                await client.fetch_value("SELECT 1")
            await client.execute("CREATE TEMPORARY TABLE mine (a INT)")
            async with asyncio.timeout(10):
                while 'forebay_dbproxy_query_requests_total{proxy="app"} 8' not in (
                    text := await asyncio.to_thread(page)
                ):
                    await asyncio.sleep(0.05)
            assert 'forebay_dbproxy_session_pins_total{proxy="app",reason="temporary table"} 1' in text
            assert 'forebay_dbproxy_database_connections_pinned{proxy="app"} 1' in text
            names = {name for name, _, _ in proxy.measurements() if not name.startswith("SessionPins")}
            shown = {row["aws_name"] for row in app.metrics.catalogue() if f"{row['name']}" in text and row["aws_name"]}
            assert names <= shown, names - shown
    finally:
        await app.stop()


async def test_two_proxies_of_one_database_have_metrics_of_their_own(server, proxies):
    """One's were taken for the other's, and nothing of either was told: a histogram seemed to have shrunk."""
    one, two, three = (
        proxies(server, maximum_connections=most, name=name) for most, name in ((2, None), (3, None), (4, "writes"))
    )
    app = forebay.App("attached", store=":memory:")
    port = free_port()

    def page():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return answer.read().decode()

    for proxy in (one, two, three):
        app.attach(proxy)
    await app.start(metrics_port=port)
    try:
        for number in range(3):
            for proxy, statements in ((one, 5), (two, 1), (three, 2)):
                async with proxy.connect() as client:
                    for _ in range(statements):
                        await client.fetch_value(f"SELECT {number}")
        shown = [
            f'forebay_dbproxy_query_requests_total{{proxy="{name}"}} {number}'
            for name, number in (("app", 15), ("app-2", 3), ("writes", 6))
        ]
        text = ""
        async with asyncio.timeout(15):
            while any(line not in text for line in shown):
                text = await asyncio.to_thread(page)
                await asyncio.sleep(0.05)
        for name, most in (("app", 2), ("app-2", 3), ("writes", 4)):
            assert f'forebay_dbproxy_database_connections_allowed{{proxy="{name}"}} {most}' in text
            assert f'forebay_dbproxy_query_duration_seconds_count{{proxy="{name}"}}' in text
    finally:
        await app.stop()


async def test_a_name_that_cannot_be_one_is_refused(server, proxies):
    for name in ("", 5, "a" * 64, "a\n"):
        with pytest.raises(InvalidParameterValue, match="name="):
            proxies(server, name=name)
