"""RDS Proxy's 24 metrics, by their names."""

from __future__ import annotations

from forebay import Histogram

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
        for name, labels, value in proxy.measurements()
        if labels == {"ProxyName": "app"} and isinstance(value, int | float | Histogram)
    ]
    assert set(names) >= RDS_PROXY


async def test_latencies_are_told_with_their_percentiles(server, proxies):
    proxy = proxies(server)
    assert proxy.latencies()["QueryResponseLatency"]["SampleCount"] == 0
    nap = "SELECT SLEEP(0.05)" if server.engine == "mysql" else "SELECT pg_sleep(0.05)"
    async with proxy.connect() as client:
        for _ in range(9):
            await client.fetch_value("SELECT 1")
        await client.fetch_value(nap)
    told = proxy.latencies()["QueryDatabaseResponseLatency"]
    assert told["SampleCount"] == 10
    assert told["p50"] <= told["p99"] <= told["Maximum"] * 1.001
    assert told["Maximum"] >= 50_000
    assert proxy.latencies()["DatabaseConnectionsBorrowLatency"]["SampleCount"] >= 10
