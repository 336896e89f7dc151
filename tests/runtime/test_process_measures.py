"""What is attached to the app measures in processes, too, and the app's page has it."""

import asyncio
import os

import pytest

from forebay import FunctionError

QUERIES = 'forebay_dbproxy_query_requests_total{proxy="orders"}'
CONNECTIONS = 'forebay_dbproxy_database_connections{proxy="orders"}'


@pytest.fixture
def measured(import_app):
    return import_app("process_measured")


def value(app, series):
    return next((float(line.split()[-1]) for line in app.metrics.page().splitlines() if line.startswith(series)), None)


async def until(condition):
    async with asyncio.timeout(100):
        while not condition():  # noqa: ASYNC110  what is waited for happens in another process
            await asyncio.sleep(0.01)


async def test_what_a_process_measures_is_shown_beside_the_apps_own_and_its_levels_go_with_it(measured):
    app = measured.app
    measured.resource.queries, measured.resource.connections = 100, 1
    async with app:
        for queries in (3, 4):
            assert await measured.ask.invoke({"queries": queries, "connections": 2}) != os.getpid()
        await until(lambda: value(app, QUERIES) == 107)
        assert value(app, CONNECTIONS) == 3
        assert app.metrics.statistic("QueryResponseLatency", "SampleCount") == 7
        assert app.metrics.statistic("QueryResponseLatency", "p90") == 250_000
        # It ends when it was idle for three seconds; what it counted stays, the query of its end included.
        await until(lambda: value(app, CONNECTIONS) == 1)
        await until(lambda: value(app, QUERIES) == 108)


async def test_a_process_that_dies_takes_its_levels_along_and_nothing_that_was_told(measured):
    app = measured.app
    async with app:
        await measured.ask.invoke({"queries": 5, "connections": 2})
        await until(lambda: value(app, QUERIES) == 5)
        with pytest.raises(FunctionError, match="exited"):
            await measured.ask.invoke({"queries": 7, "connections": 2, "exit": True})
        await until(lambda: value(app, CONNECTIONS) == 0)
        assert value(app, QUERIES) == 5


async def test_a_resource_that_cannot_tell_is_logged_and_the_process_goes_on(measured, capfd):
    async with measured.app:
        first = await measured.ask.invoke({"queries": 5, "connections": 2, "fails": True})
        await asyncio.sleep(1.1)
        assert await measured.ask.invoke({"queries": 1, "connections": 1}) == first
        await until(lambda: value(measured.app, QUERIES) == 6)
    assert "an attached resource cannot tell what it has measured" in capfd.readouterr().err
