"""RDS Proxy's 24 metrics, by their names."""

from __future__ import annotations

from forebay.dbproxy.statistics import Counters, Latency

RDS_PROXY = {
    "AvailabilityPercentage", "ClientConnections", "ClientConnectionsClosed", "ClientConnectionsNoTLS", "ClientConnectionsReceived",
    "ClientConnectionsSetupFailedAuth", "ClientConnectionsSetupSucceeded", "ClientConnectionsTLS", "DatabaseConnectionRequests",
    "DatabaseConnectionRequestsWithTLS", "DatabaseConnections", "DatabaseConnectionsBorrowLatency", "DatabaseConnectionsCurrentlyBorrowed",
    "DatabaseConnectionsCurrentlyInTransaction", "DatabaseConnectionsCurrentlySessionPinned", "DatabaseConnectionsSetupFailed",
    "DatabaseConnectionsSetupSucceeded", "DatabaseConnectionsWithTLS", "MaxDatabaseConnectionsAllowed", "QueryDatabaseResponseLatency",
    "QueryRequests", "QueryRequestsNoTLS", "QueryRequestsTLS", "QueryResponseLatency",
}  # fmt: skip


async def test_every_metric_of_rds_proxy_is_there(server, proxies):
    proxy = proxies(server)
    assert proxy.statistics().keys() >= RDS_PROXY
    async with proxy.connect() as client:
        await client.execute("BEGIN")
        figures = proxy.statistics()
        assert (
            figures["DatabaseConnectionsCurrentlyInTransaction"] == figures["DatabaseConnectionsCurrentlyBorrowed"] == 1
        )
        await client.execute("ROLLBACK")
    figures = proxy.statistics()
    assert figures["DatabaseConnectionsCurrentlyInTransaction"] == 0
    assert figures["QueryRequests"] == figures["QueryRequestsNoTLS"] == 2
    assert figures["QueryResponseLatency"] >= figures["QueryDatabaseResponseLatency"] > 0
    assert figures["AvailabilityPercentage"] == 100
    assert figures["MaxDatabaseConnectionsAllowed"] == 10
    names = [
        name
        for name, labels, value in proxy.samples()
        if labels == {"ProxyName": "app"} and isinstance(value, int | float)
    ]
    assert set(names) >= RDS_PROXY


def test_percentiles_are_nearest_ranks_in_microseconds():
    latency = Latency()
    for milliseconds in range(1, 101):
        latency.record(milliseconds / 1000)
    summary = latency.summary()
    assert (round(summary["p50"]), round(summary["p99"]), round(summary["Maximum"])) == (50_000, 99_000, 100_000)
    assert (summary["SampleCount"], round(summary["Average"])) == (100, 50_500)
    assert Latency().summary() == {"SampleCount": 0, "Average": 0, "Maximum": 0, "p50": 0, "p99": 0}


def test_latencies_are_kept_in_bounded_room():
    counters = Counters()
    for _ in range(10_000):
        counters.borrow.record(0.001)
    assert len(counters.borrow.latest) < 5000
    assert counters.borrow.count == 10_000
