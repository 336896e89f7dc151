"""The proxy's figures under RDS Proxy's names; durations in microseconds, as RDS Proxy has them.

Source: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.monitoring.html
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from forebay._core import Histogram

MICROSECONDS = 1e6

# A loop's own time may stand still for a whole iteration (uvloop: whole milliseconds); latencies need a finer clock.
now = time.perf_counter


def summary(latency: Histogram) -> dict[str, float]:
    """Give average, maximum and percentiles in microseconds, and the count; zeros when nothing was recorded."""
    if not latency.count:
        return dict.fromkeys(("SampleCount", "Average", "Maximum", "p50", "p99", "p99.9"), 0.0)
    return {
        "SampleCount": latency.count,
        "Average": (latency.mean or 0.0) * MICROSECONDS,
        "Maximum": (latency.max or 0.0) * MICROSECONDS,
        "p50": (latency.percentile(50) or 0.0) * MICROSECONDS,
        "p99": (latency.percentile(99) or 0.0) * MICROSECONDS,
        "p99.9": (latency.percentile(99.9) or 0.0) * MICROSECONDS,
    }


def _average(latency: Histogram) -> float:
    return (latency.mean or 0.0) * MICROSECONDS


@dataclass(slots=True)
class Counters:
    """What has happened since the proxy was made."""

    clients_received: int = 0
    clients_succeeded: int = 0
    clients_failed_auth: int = 0
    clients_closed: int = 0
    connections_requested: int = 0
    connections_succeeded: int = 0
    connections_failed: int = 0
    probes: int = 0
    probes_failed: int = 0
    queries: int = 0
    resets: int = 0
    replays: int = 0
    interrupted: int = 0
    borrow_timeouts: int = 0
    pins: dict[str, int] = field(default_factory=dict)
    borrow: Histogram = field(default_factory=Histogram)  # seconds
    response: Histogram = field(default_factory=Histogram)
    database_response: Histogram = field(default_factory=Histogram)

    def answered(self, began: float, started: float, *, borrowed: bool) -> None:
        """Count a statement that was asked for at one time and sent, once it had its connection, at another."""
        ended = now()
        self.queries += 1
        if borrowed:
            self.borrow.record(started - began)
        self.database_response.record(ended - started)
        self.response.record(ended - began)

    def latencies(self) -> dict[str, Histogram]:
        """Give RDS Proxy's three latencies, in seconds."""
        return {
            "DatabaseConnectionsBorrowLatency": self.borrow,
            "QueryDatabaseResponseLatency": self.database_response,
            "QueryResponseLatency": self.response,
        }


@dataclass(frozen=True, slots=True)
class Levels:
    """How things stand at this moment."""

    clients: int
    connections: int
    borrowed: int
    in_transaction: int
    pinned: int
    waiting: int
    maximum: int


def statistics(counters: Counters, levels: Levels, *, tls: bool) -> dict[str, float]:
    """Give RDS Proxy's 24 metrics, and four of our own.

    A client of this proxy is in the same process and needs no TLS: it counts as one without. Latencies are averages;
    ``latencies`` has their percentiles.
    """
    tried = counters.probes
    return {
        "AvailabilityPercentage": 100.0 * (tried - counters.probes_failed) / tried if tried else 100.0,
        "ClientConnections": levels.clients,
        "ClientConnectionsClosed": counters.clients_closed,
        "ClientConnectionsNoTLS": counters.clients_succeeded,
        "ClientConnectionsReceived": counters.clients_received,
        "ClientConnectionsSetupFailedAuth": counters.clients_failed_auth,
        "ClientConnectionsSetupSucceeded": counters.clients_succeeded,
        "ClientConnectionsTLS": 0,
        "DatabaseConnectionRequests": counters.connections_requested,
        "DatabaseConnectionRequestsWithTLS": counters.connections_requested if tls else 0,
        "DatabaseConnections": levels.connections,
        "DatabaseConnectionsBorrowLatency": _average(counters.borrow),
        "DatabaseConnectionsCurrentlyBorrowed": levels.borrowed,
        "DatabaseConnectionsCurrentlyInTransaction": levels.in_transaction,
        "DatabaseConnectionsCurrentlySessionPinned": levels.pinned,
        "DatabaseConnectionsSetupFailed": counters.connections_failed,
        "DatabaseConnectionsSetupSucceeded": counters.connections_succeeded,
        "DatabaseConnectionsWithTLS": levels.connections if tls else 0,
        "MaxDatabaseConnectionsAllowed": levels.maximum,
        "QueryDatabaseResponseLatency": _average(counters.database_response),
        "QueryRequests": counters.queries,
        "QueryRequestsNoTLS": counters.queries,
        "QueryRequestsTLS": 0,
        "QueryResponseLatency": _average(counters.response),
        "ClientsWaiting": levels.waiting,
        "SessionResets": counters.resets,
        "SessionReplays": counters.replays,
        "InterruptedConnections": counters.interrupted,
        "BorrowTimeouts": counters.borrow_timeouts,
    }
