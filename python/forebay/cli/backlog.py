"""What waits in the app that runs on a store, in streams, queues and as events, and who works on it. `lag` and `top` show it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from forebay.cli.show import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from forebay.cli.connect import StoreConnection

Row = dict[str, Any]
Columns = list[tuple[str, "Callable[[Row], object]"]]

UNHANDLED = "(nothing handles it)"
_MEASURED = ("shard_id", "records", "iterator_age_ms", "lanes_busy", "lanes_waiting")


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows of each kind, sorted by name."""

    streams: list[Row]
    """One for each shard of each mapping, and one without a shard for each mapping that only a client declares."""
    queues: list[Row]
    topics: list[Row]
    events: list[Row]
    """One for each function, or version of one, that has asynchronous events."""
    environments: list[Row]
    """One for each function, or version of one, that runs in processes."""

    def kinds(self) -> dict[str, list[Row]]:
        """Give the rows by their kind."""
        return {kind.name: getattr(self, kind.name) for kind in fields(self)}


def ask_backlog(connection: StoreConnection, **names: str | None) -> Backlog:
    """Ask the running app what waits; where `stream`, `queue` or `function` is given, only what has all of these names."""
    given = {kind: name for kind, name in names.items() if name is not None}
    mappings, events = connection.ask("mapping.list"), connection.ask("events.list")
    queues = _queues(connection, mappings)
    waiting = {f"queue {row['queue']}": row["visible"] + row["in_flight"] + row["delayed"] for row in queues}
    waiting |= {f"function {row['function']}": row["waiting"] for row in events}
    return Backlog(
        streams=_chosen([*connection.ask("lag"), *_unhandled(mappings)], given, "stream", "function", "shard_id"),
        queues=_chosen(queues, given, "queue"),
        topics=_chosen([_topic(row, waiting) for row in connection.ask("topic.list")], given, "topic"),
        events=_chosen(events, given, "function"),
        environments=_chosen(connection.ask("environments.list"), given, "function"),
    )


def _chosen(rows: Iterable[Row], given: dict[str, str], *order: str) -> list[Row]:
    return sorted(
        (row for row in rows if all(name in _names(row, kind) for kind, name in given.items())),
        key=lambda row: [str(row[column]) for column in order],
    )


def _names(row: Row, kind: str) -> list[str]:
    if kind == "function" and "functions" in row:
        return [*row["functions"]]
    name = row.get(kind)
    # "function:2" is a version of the function.
    return [] if name is None else [name, name.partition(":")[0]]


def _unhandled(mappings: Iterable[Row]) -> Iterator[Row]:
    for mapping in mappings:
        if mapping["state"] == "Unhandled" and "stream" in mapping:
            yield {"stream": mapping["stream"], "function": mapping["function"], **dict.fromkeys(_MEASURED)}


def _queues(connection: StoreConnection, mappings: Iterable[Row]) -> list[Row]:
    return [
        {
            "queue": queue["name"],
            "visible": queue["visible"],
            "in_flight": queue["in_flight"],
            "delayed": queue["delayed"],
            "oldest_age_ms": queue.get("oldest_age_ms"),
            "functions": {one["function"]: one["state"] for one in mappings if one.get("queue") == queue["name"]},
            "dead_letter_sources": queue["dead_letter_sources"],
        }
        for queue in connection.ask("queue.list")
    ]


def _topic(topic: Row, waiting: dict[str, int]) -> Row:
    """Tell where a topic's messages wait: nothing is kept in the topic itself."""
    ends = (
        f"queue {one['queue']}" if "queue" in one else f"function {one['function']}" for one in topic["subscriptions"]
    )
    return {"topic": topic["name"], "subscribers": {end: waiting.get(end, 0) for end in ends}}


def _readers(row: Row) -> list[str]:
    states = {"Enabled": "", "Disabled": " (paused)", "Unhandled": f" {UNHANDLED}"}
    return [f"{name}{states[state]}" for name, state in row["functions"].items()]


def _subscribers(row: Row) -> list[str]:
    return [f"{end} ({waiting:,})" for end, waiting in row["subscribers"].items()]


def _waiting(row: Row) -> str:
    # The store may hold more than are in memory.
    return f"{row['waiting']:,}{' or more' if row['more'] else ''}"


COLUMNS: dict[str, Columns] = {
    "streams": [
        ("STREAM", lambda row: row["stream"]),
        ("FUNCTION", lambda row: row["function"]),
        ("SHARD", lambda row: row["shard_id"] or UNHANDLED),
        ("RECORDS", lambda row: row["records"]),
        ("AGE", lambda row: duration(row["iterator_age_ms"])),
        ("BUSY", lambda row: row["lanes_busy"]),
        ("WAITING", lambda row: row["lanes_waiting"]),
    ],
    "queues": [
        ("QUEUE", lambda row: row["queue"]),
        ("VISIBLE", lambda row: row["visible"]),
        ("IN FLIGHT", lambda row: row["in_flight"]),
        ("DELAYED", lambda row: row["delayed"]),
        ("OLDEST", lambda row: duration(row["oldest_age_ms"])),
        ("FUNCTION", _readers),
        ("DEAD LETTERS OF", lambda row: row["dead_letter_sources"]),
    ],
    "topics": [
        ("TOPIC", lambda row: row["topic"]),
        ("SUBSCRIBERS (WHAT WAITS THERE)", _subscribers),
    ],
    "events": [
        ("EVENTS OF", lambda row: row["function"]),
        ("WAITING", _waiting),
        ("RUNNING", lambda row: row["running"]),
        ("OLDEST", lambda row: duration(row["oldest_age_ms"])),
        ("REGISTERED", lambda row: row["registered"]),
    ],
    "environments": [
        ("PROCESSES OF", lambda row: row["function"]),
        ("BUSY", lambda row: row["busy"]),
        ("IDLE", lambda row: row["idle"]),
        ("STARTING", lambda row: row["starting"]),
        ("ENDING", lambda row: row["ending"]),
    ],
}
