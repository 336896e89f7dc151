"""The proxy's figures under RDS Proxy's names; durations in microseconds, as RDS Proxy has them.

Source: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.monitoring.html
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

LATENCIES_KEPT = 2048
MICROSECONDS = 1e6

# A loop's own time may stand still for a whole iteration (uvloop: whole milliseconds); latencies need a finer clock.
now = time.perf_counter


class Latency:
    """Count, sum and maximum of all durations, and percentiles of the latest ones."""

    __slots__ = ("count", "latest", "maximum", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.maximum = 0.0
        self.latest: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def record(self, seconds: float) -> None:
        """Add one duration."""
        self.count += 1
        self.total += seconds
        self.maximum = max(self.maximum, seconds)
        self.latest.append(seconds)

    def percentile(self, percent: float) -> float:
        """Give a percentile (nearest rank) of the latest durations in seconds; 0 when there are none."""
        ordered = sorted(self.latest)
        if not ordered:
            return 0.0
        return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]

    def summary(self) -> dict[str, float]:
        """Give average, maximum, p50, p99 in microseconds, and the count."""
        average = self.total / self.count if self.count else 0.0
        return {
            "SampleCount": self.count,
            "Average": average * MICROSECONDS,
            "Maximum": self.maximum * MICROSECONDS,
            "p50": self.percentile(50) * MICROSECONDS,
            "p99": self.percentile(99) * MICROSECONDS,
        }


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
    borrow: Latency = field(default_factory=Latency)
    response: Latency = field(default_factory=Latency)
    database_response: Latency = field(default_factory=Latency)

    def answered(self, began: float, started: float) -> None:
        """Count a statement that was asked for at one time and sent at another."""
        ended = now()
        self.queries += 1
        self.database_response.record(ended - started)
        self.response.record(ended - began)


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


GAUGES = frozenset(
    (
        "AvailabilityPercentage",
        "ClientConnections",
        "DatabaseConnections",
        "DatabaseConnectionsCurrentlyBorrowed",
        "DatabaseConnectionsCurrentlyInTransaction",
        "DatabaseConnectionsCurrentlySessionPinned",
        "DatabaseConnectionsWithTLS",
        "MaxDatabaseConnectionsAllowed",
        "ClientsWaiting",
    )
)
LATENCIES = frozenset(("DatabaseConnectionsBorrowLatency", "QueryDatabaseResponseLatency", "QueryResponseLatency"))


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
        "DatabaseConnectionsBorrowLatency": counters.borrow.summary()["Average"],
        "DatabaseConnectionsCurrentlyBorrowed": levels.borrowed,
        "DatabaseConnectionsCurrentlyInTransaction": levels.in_transaction,
        "DatabaseConnectionsCurrentlySessionPinned": levels.pinned,
        "DatabaseConnectionsSetupFailed": counters.connections_failed,
        "DatabaseConnectionsSetupSucceeded": counters.connections_succeeded,
        "DatabaseConnectionsWithTLS": levels.connections if tls else 0,
        "MaxDatabaseConnectionsAllowed": levels.maximum,
        "QueryDatabaseResponseLatency": counters.database_response.summary()["Average"],
        "QueryRequests": counters.queries,
        "QueryRequestsNoTLS": counters.queries,
        "QueryRequestsTLS": 0,
        "QueryResponseLatency": counters.response.summary()["Average"],
        "ClientsWaiting": levels.waiting,
        "SessionResets": counters.resets,
        "SessionReplays": counters.replays,
        "InterruptedConnections": counters.interrupted,
        "BorrowTimeouts": counters.borrow_timeouts,
    }
