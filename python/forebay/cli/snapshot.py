"""What `forebay top` shows, as plain data: a snapshot of a running app."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forebay.cli.chart import number
from forebay.cli.connect import connect, format_error
from forebay.cli.show import duration
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from pathlib import Path

    from forebay.cli.connect import StoreConnection

WINDOW_SECONDS = 10
"""Rates are those of so many seconds: the app answers at once, and yet a number can be read."""
PERCENTILE_SECONDS = 60
FUNCTIONS_MAX = 50
DEAD_MAX = 1000

SHARD_COLUMNS = ("STREAM", "FUNCTION", "SHARD", "BEHIND", "AGE", "LANES")
FUNCTION_COLUMNS = ("FUNCTION", "IN FLIGHT", "LATE", "ATTEMPTS/S", "ERRORS/S", "P50", "P99", "P99.9")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot: a line about the whole, a line for each shard, a line for each function."""

    headline: str
    shards: list[tuple[str, ...]] = field(default_factory=list)
    functions: list[tuple[str, ...]] = field(default_factory=list)


def take_snapshot(store: Path) -> Snapshot:
    """Look at the app that runs on a store. Never holds the store: where no app runs, that is all there is to see."""
    stamp = time.strftime("%H:%M:%S")
    try:
        with connect(store) as connection:
            connection.need_app()
            return Snapshot(f"{stamp}  {_headline(connection)}", _shards(connection), _functions(connection))
    except ForebayError as error:
        return Snapshot(f"{stamp}  {format_error(error)}")


def lanes(running: int, waiting: int, total: int) -> str:
    """Draw the lanes of a shard: in flight, waiting for a retry, idle."""
    return "█" * running + "▒" * waiting + "·" * max(0, total - running - waiting)


def _headline(connection: StoreConnection) -> str:
    health = connection.ask("health")
    state = "ready" if health["ready"] else "; ".join(health["reasons"])
    put, commits = (_rate(connection, name) for name in ("IncomingRecords", "forebay_store_commits_total"))
    page = connection.ask("failed.list", limit=DEAD_MAX)
    letters = f"{len(page['failures']):,}{' or more' if page['next'] else ''}"
    return f"{state}   put {number(put)}/s   commits {number(commits)}/s   dead letters {letters}"


def _shards(connection: StoreConnection) -> list[tuple[str, ...]]:
    totals = {
        (mapping["stream"], mapping["function"]): mapping["parallelization_factor"]
        for mapping in connection.ask("mapping.list")
    }
    rows = connection.ask("lag")
    rows.sort(key=lambda row: (row["stream"], row["function"], row["shard_id"]))
    return [
        (
            row["stream"],
            row["function"],
            row["shard_id"].removeprefix("shardId-").lstrip("0") or "0",
            f"{row['records']:,}",
            duration(row["iterator_age_ms"]),
            lanes(
                row["lanes_busy"] - row["lanes_waiting"],
                row["lanes_waiting"],
                totals.get((row["stream"], row["function"]), 1),
            ),
        )
        for row in rows
    ]


def _functions(connection: StoreConnection) -> list[tuple[str, ...]]:
    listed = sorted(connection.ask("functions.list"), key=lambda function: str(function["name"]))
    return [_function(connection, function) for function in listed[:FUNCTIONS_MAX]]


def _function(connection: StoreConnection, function: dict[str, Any]) -> tuple[str, ...]:
    name = function["name"]
    slow = [
        _ask(connection, "Duration", statistic, PERCENTILE_SECONDS, function=name)
        for statistic in ("p50", "p99", "p99.9")
    ]
    return (
        name,
        number(function["in_flight"]),
        number(function["past_deadline"]),
        number(_rate(connection, "Invocations", function=name)),
        number(_rate(connection, "Errors", function=name)),
        *(duration(value) if value is None or value >= 1 else f"{value:.2g} ms" for value in slow),
    )


def _rate(connection: StoreConnection, name: str, **labels: str) -> float:
    return round((_ask(connection, name, "Sum", WINDOW_SECONDS, **labels) or 0.0) / WINDOW_SECONDS, 1)


def _ask(connection: StoreConnection, name: str, statistic: str, period: int, **labels: str) -> float | None:
    asked = {"name": name, "statistic": statistic, "period": period, "labels": labels}
    value: float | None = connection.ask("metrics.statistic", **asked)["value"]
    return value
