"""What `forebay top` shows, as plain data: one look at a running app."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forebay.cli.chart import number
from forebay.cli.reach import reach, told
from forebay.cli.show import duration
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from pathlib import Path

    from forebay.cli.reach import Reached

WINDOW_SECONDS = 10
"""Rates are those of so many seconds: the app answers at once, and yet a number can be read."""
PERCENTILE_SECONDS = 60
FUNCTIONS_MAX = 50
DEAD_MAX = 1000

SHARD_COLUMNS = ("STREAM", "FUNCTION", "SHARD", "BEHIND", "AGE", "LANES")
FUNCTION_COLUMNS = ("FUNCTION", "IN FLIGHT", "LATE", "ATTEMPTS/S", "ERRORS/S", "P50", "P99", "P99.9")


@dataclass(frozen=True, slots=True)
class Glance:
    """One look: a line about the whole, a line for each shard, a line for each function."""

    headline: str
    shards: list[tuple[str, ...]] = field(default_factory=list)
    functions: list[tuple[str, ...]] = field(default_factory=list)


def look(store: Path) -> Glance:
    """Look at the app that runs on a store. Never holds the store: where no app runs, that is all there is to see."""
    stamp = time.strftime("%H:%M:%S")
    try:
        with reach(store) as reached:
            reached.need_app()
            return Glance(f"{stamp}  {_headline(reached)}", _shards(reached), _functions(reached))
    except ForebayError as error:
        return Glance(f"{stamp}  {told(error)}")


def lanes(running: int, waiting: int, total: int) -> str:
    """Draw the lanes of a shard: in flight, waiting for a retry, idle."""
    return "█" * running + "▒" * waiting + "·" * max(0, total - running - waiting)


def _headline(reached: Reached) -> str:
    health = reached.ask("health")
    state = "ready" if health["ready"] else "; ".join(health["reasons"])
    put, commits = (_rate(reached, name) for name in ("IncomingRecords", "forebay_store_commits_total"))
    page = reached.ask("failed.list", limit=DEAD_MAX)
    letters = f"{len(page['failures']):,}{' or more' if page['next'] else ''}"
    return f"{state}   put {number(put)}/s   commits {number(commits)}/s   dead letters {letters}"


def _shards(reached: Reached) -> list[tuple[str, ...]]:
    totals = {
        (mapping["stream"], mapping["function"]): mapping["parallelization_factor"]
        for mapping in reached.ask("mapping.list")
    }
    rows = reached.ask("lag")
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


def _functions(reached: Reached) -> list[tuple[str, ...]]:
    listed = sorted(reached.ask("functions.list"), key=lambda function: str(function["name"]))
    return [_function(reached, function) for function in listed[:FUNCTIONS_MAX]]


def _function(reached: Reached, function: dict[str, Any]) -> tuple[str, ...]:
    name = function["name"]
    slow = [
        _ask(reached, "Duration", statistic, PERCENTILE_SECONDS, function=name) for statistic in ("p50", "p99", "p99.9")
    ]
    return (
        name,
        number(function["in_flight"]),
        number(function["past_deadline"]),
        number(_rate(reached, "Invocations", function=name)),
        number(_rate(reached, "Errors", function=name)),
        *(duration(value) if value is None or value >= 1 else f"{value:.2g} ms" for value in slow),
    )


def _rate(reached: Reached, name: str, **labels: str) -> float:
    return round((_ask(reached, name, "Sum", WINDOW_SECONDS, **labels) or 0.0) / WINDOW_SECONDS, 1)


def _ask(reached: Reached, name: str, statistic: str, period: int, **labels: str) -> float | None:
    asked = {"name": name, "statistic": statistic, "period": period, "labels": labels}
    value: float | None = reached.ask("metrics.statistic", **asked)["value"]
    return value
