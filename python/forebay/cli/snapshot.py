"""What `forebay top` shows, as plain data: a snapshot of a running app."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forebay.cli.backlog import COLUMNS, UNHANDLED, Backlog, ask_backlog
from forebay.cli.chart import number
from forebay.cli.connect import connect
from forebay.cli.show import cell, duration, table

if TYPE_CHECKING:
    from forebay.cli.backlog import Columns, Row
    from forebay.cli.connect import StoreConnection
    from forebay.cli.store_place import StorePlace

WINDOW_SECONDS = 10
"""Rates are those of so many seconds: the app answers at once, and yet a number can be read."""
PERCENTILE_SECONDS = 60
FUNCTIONS_MAX = 50
DEAD_MAX = 1000

STREAM_COLUMNS: Columns = [
    ("STREAM", lambda row: row["stream"]),
    ("FUNCTION", lambda row: row["function"]),
    ("SHARD", lambda row: _shard(row["shard_id"])),
    ("BEHIND", lambda row: row["records"]),
    ("AGE", lambda row: duration(row["iterator_age_ms"])),
    (
        "LANES",
        lambda row: (
            None
            if row["lanes_busy"] is None
            else lanes(row["lanes_busy"] - row["lanes_waiting"], row["lanes_waiting"], row["lanes"])
        ),
    ),
]
FUNCTION_COLUMNS: Columns = [
    ("FUNCTION", lambda row: row["name"]),
    ("IN FLIGHT", lambda row: number(row["in_flight"])),
    ("LATE", lambda row: number(row["past_deadline"])),
    ("ATTEMPTS/S", lambda row: number(row["attempts"])),
    ("ERRORS/S", lambda row: number(row["errors"])),
    ("P50", lambda row: _milliseconds(row["p50"])),
    ("P99", lambda row: _milliseconds(row["p99"])),
    ("P99.9", lambda row: _milliseconds(row["p99.9"])),
]
ALL_COLUMNS: dict[str, Columns] = {**COLUMNS, "streams": STREAM_COLUMNS, "functions": FUNCTION_COLUMNS}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot: a line about the whole, and rows of each kind."""

    headline: str
    kinds: dict[str, list[Row]]

    def cells(self, kind: str) -> list[tuple[str, ...]]:
        """Write the rows of a kind for people."""
        return [tuple(cell(value(row)) for _, value in ALL_COLUMNS[kind]) for row in self.kinds.get(kind, [])]

    def text(self) -> str:
        """Write everything for people."""
        tables = [table(rows, ALL_COLUMNS[kind]) for kind, rows in self.kinds.items() if rows]
        return "\n\n".join([self.headline, *tables])


def take_snapshot(store: StorePlace) -> Snapshot:
    """Look at the app that runs on a store. Never holds the store.

    Raises:
        ForebayError: no app runs there, or it does not answer.

    """
    with connect(store) as connection:
        connection.need_app()
        backlog = ask_backlog(connection)
        lanes_of = {
            (mapping["stream"], mapping["function"]): mapping.get("parallelization_factor", 1)
            for mapping in connection.ask("mapping.list")
            if "stream" in mapping
        }
        shards = [{**row, "lanes": lanes_of.get((row["stream"], row["function"]), 1)} for row in backlog.streams]
        kinds = {**backlog.kinds(), "streams": shards, "functions": _functions(connection)}
        return Snapshot(f"{stamp()}  {_headline(connection, backlog)}", kinds)


def stamp() -> str:
    """Write what time it is."""
    return time.strftime("%H:%M:%S")


def lanes(running: int, waiting: int, total: int) -> str:
    """Draw the lanes of a shard: in flight, waiting for a retry, idle."""
    return "█" * running + "▒" * waiting + "·" * max(0, total - running - waiting)


def _shard(shard_id: str | None) -> str:
    return UNHANDLED if shard_id is None else shard_id.removeprefix("shardId-").lstrip("0") or "0"


def _headline(connection: StoreConnection, backlog: Backlog) -> str:
    health = connection.ask("health")
    state = "ready" if health["ready"] else "; ".join(health["reasons"])
    put, commits = (_rate(connection, name) for name in ("IncomingRecords", "forebay_store_commits_total"))
    page = connection.ask("failed.list", limit=DEAD_MAX)
    letters = len(page["failures"]) + sum(
        queue["visible"] + queue["in_flight"] + queue["delayed"]
        for queue in backlog.queues
        if queue["dead_letter_sources"]
    )
    more = " or more" if page["next"] else ""
    return f"{state}   put {number(put)}/s   commits {number(commits)}/s   dead letters {letters:,}{more}"


def _functions(connection: StoreConnection) -> list[Row]:
    listed = sorted(connection.ask("functions.list"), key=lambda function: str(function["name"]))
    return [_function(connection, function) for function in listed[:FUNCTIONS_MAX]]


def _function(connection: StoreConnection, function: dict[str, Any]) -> Row:
    name = function["name"]
    return {
        **function,
        "attempts": _rate(connection, "Invocations", function=name),
        "errors": _rate(connection, "Errors", function=name),
        **{
            statistic: _ask(connection, "Duration", statistic, PERCENTILE_SECONDS, function=name)
            for statistic in ("p50", "p99", "p99.9")
        },
    }


def _milliseconds(value: float | None) -> str:
    return duration(value) if value is None or value >= 1 else f"{number(value)} ms"


def _rate(connection: StoreConnection, name: str, **labels: str) -> float:
    return round((_ask(connection, name, "Sum", WINDOW_SECONDS, **labels) or 0.0) / WINDOW_SECONDS, 1)


def _ask(connection: StoreConnection, name: str, statistic: str, period: int, **labels: str) -> float | None:
    asked = {"name": name, "statistic": statistic, "period": period, "labels": labels}
    value: float | None = connection.ask("metrics.statistic", **asked)["value"]
    return value
