"""What attached resources measure is shown among the app's own metrics."""

import asyncio
import contextlib
import logging
import math
import time

import pytest

from forebay import App, DBProxy, Histogram
from forebay.metrics import exporter


class Resource(contextlib.AbstractAsyncContextManager):
    """Measures what a test tells it to."""

    def __init__(self, name="orders"):
        self.labels = {"ProxyName": name}
        self.queries = 0
        self.connections = 0
        self.latency = Histogram()
        self.more = []

    async def __aexit__(self, *_):
        return None

    def measurements(self):
        yield "QueryRequests", self.labels, self.queries
        yield "DatabaseConnections", self.labels, self.connections
        yield "AvailabilityPercentage", self.labels, 75.0
        yield "QueryResponseLatency", self.labels, self.latency
        yield from self.more


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(exporter, "EVERY_SECONDS", 0.01)


async def until(condition):
    ends = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.005)


def value(app, start):
    """Read the number of the first line of the page that begins so."""
    return next((float(line.split()[-1]) for line in app.metrics.page().splitlines() if line.startswith(start)), None)


async def test_counters_grow_levels_move_and_latencies_have_percentiles(often, no_task_is_left):
    app, resource = App("attached", store=":memory:"), Resource()
    app.attach(resource)
    async with app:
        resource.queries, resource.connections = 5, 3
        resource.latency.record_many([0.25] * 9 + [0.75])
        await until(lambda: value(app, 'forebay_dbproxy_query_requests_total{proxy="orders"}') == 5)
        resource.queries, resource.connections = 8, 1
        await until(lambda: value(app, 'forebay_dbproxy_query_requests_total{proxy="orders"}') == 8)
        assert value(app, 'forebay_dbproxy_database_connections{proxy="orders"}') == 1
        assert value(app, 'forebay_dbproxy_availability_ratio{proxy="orders"}') == 0.75
        assert app.metrics.statistic("QueryRequests", "Sum", proxy="orders") == 8
        assert app.metrics.statistic("DatabaseConnections", "Maximum") == 3
        assert app.metrics.statistic("AvailabilityPercentage", "Minimum", period=1) == 75
        assert app.metrics.statistic("QueryResponseLatency", "SampleCount") == 10
        assert app.metrics.statistic("QueryResponseLatency", "p90") == 250_000
        assert app.metrics.statistic("QueryResponseLatency", "Maximum") == 750_000


async def test_the_proxies_of_a_client_are_shown_by_the_owner_and_go_with_it(often, tmp_path, no_task_is_left):
    owner, client = (
        App("owner", store=tmp_path / "data"),
        App("client", store=tmp_path / "data", store_app="owner", serve=False),
    )
    resources = [Resource(), Resource()]
    owner.attach(resources[0])
    client.attach(resources[1])
    for resource in resources:
        resource.queries, resource.connections = 4, 2
    async with owner:
        async with client:
            await until(lambda: value(owner, 'forebay_dbproxy_database_connections{proxy="orders"}') == 4)
        assert value(owner, 'forebay_dbproxy_database_connections{proxy="orders"}') == 2
        assert value(owner, 'forebay_dbproxy_query_requests_total{proxy="orders"}') == 8


async def test_a_source_that_falls_silent_is_forgotten(often, monkeypatch, tmp_path, no_task_is_left):
    monkeypatch.setattr(exporter, "KEEP_SECONDS", 0.2)
    owner, client = (
        App("owner", store=tmp_path / "data"),
        App("client", store=tmp_path / "data", store_app="owner", serve=False),
    )
    resource = Resource()
    resource.connections = 2
    client.attach(resource)
    series = 'forebay_dbproxy_database_connections{proxy="orders"}'
    async with owner, client:
        await until(lambda: value(owner, series) == 2)
        client._running._exporting.cancel()
        await until(lambda: value(owner, series) is None)
    assert resource.connections == 2


async def test_what_the_catalogue_does_not_know_is_told_once_and_left_out(often, caplog, no_task_is_left):
    app, resource = App("attached", store=":memory:"), Resource()
    resource.more = [("Unheard", {}, 1)]
    app.attach(resource)
    with caplog.at_level(logging.WARNING, "forebay.metrics"):
        async with app:
            await until(lambda: value(app, "forebay_dbproxy_query_requests_total") == 0)
            resource.queries = 2
            await until(lambda: value(app, "forebay_dbproxy_query_requests_total") == 2)
    assert [record.message for record in caplog.records].count(
        "an attached resource measures 'Unheard', which is not in the catalogue of metrics: it is not shown"
    ) == 1


async def test_a_resource_that_cannot_tell_is_logged_and_hides_nothing_of_the_others(often, caplog, no_task_is_left):
    """One exception ended the metrics of every resource for good, unseen, and `app.stop` raised it."""
    app, broken, sound = App("attached", store=":memory:"), Resource("broken"), Resource("sound")
    total = 'forebay_dbproxy_query_requests_total{{proxy="{}"}}'.format
    app.attach(broken), app.attach(sound)
    async with app:
        broken.queries, broken.more = 3, ["nothing that can be unpacked"]
        await until(lambda: "cannot tell" in caplog.text)
        sound.queries = 5
        await until(lambda: value(app, total("sound")) == 5)
        broken.more = []
        await until(lambda: value(app, total("broken")) == 3)
        broken.more = [("forebay_dbproxy_database_connections", broken.labels, math.nan)]
        await until(lambda: caplog.text.count("an attached resource cannot tell what it has measured") == 2)


async def test_more_series_than_there_may_be_are_counted_as_other(no_task_is_left):
    """A resource that makes a label of something unbounded fills no memory."""
    app = App("attached", store=":memory:")
    async with app:
        for start in (0, 6_000):
            samples = [["forebay_dbproxy_query_requests_total", [f"p{start + n}"], 1] for n in range(6_000)]
            await app._caller.ask("metrics.tell", source="test", samples=samples)
        page = app.metrics.page()
    lines = [line for line in page.splitlines() if line.startswith("forebay_dbproxy_query_requests_total{")]
    assert len(lines) == 10_001
    assert 'forebay_dbproxy_query_requests_total{proxy="other"} 2000' in lines


def test_every_metric_of_the_proxy_is_one_that_an_app_shows(monkeypatch):
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    proxy = DBProxy("mysql://app@127.0.0.1/orders", secret=None)
    names = {name for name, _, _ in proxy.measurements()}
    app = App("attached", store=":memory:")

    async def known():
        async with app:
            return {
                row["aws_name"] for row in app.metrics.catalogue() if row["aws_namespace"] in {"AWS/RDS", "Forebay"}
            }

    listed = asyncio.run(known())
    assert names <= listed
