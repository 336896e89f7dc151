"""A proxy attached to an app: open before the first event, closed after the last handler, its figures on the app's page."""

from __future__ import annotations

import asyncio
import urllib.request

import pytest
from db_servers import View, until
from ports import free_port

import forebay
from forebay.errors import DBProxyError


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
