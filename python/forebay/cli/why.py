"""`forebay why`: the life of one request, message or record, from the store and from what the owner remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from forebay.cli.reach import Reached, reach, store_option
from forebay.cli.show import moment, output_option, show
from forebay.errors import ResourceNotFound

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("id_", metavar="ID")
@store_option
@output_option
def why(id_: str, store: Path, output: str) -> None:
    """Tell the life of one request, message or record: when it came, its lane or group, attempts, errors, destinations.

    Of a publication: which subscriptions were told, and which filtered it out. ID is what `invoke_async`, `send` or `publish`
    gave, or a sequence number; where several streams or queues have that number, all are told. What has not ended, or was given
    up, is found in the store; what happened lately is remembered by the running app.
    """
    with reach(store) as reached:
        life = asked(reached, id_)
    if not (life["facts"] or life["kept"] or life["running"]):
        raise ResourceNotFound(f"nothing is known of {id_}: it was handled some time ago, or was never accepted here")
    show(life, output, text="\n".join(lines(life)))


def asked(reached: Reached, id_: str) -> dict[str, Any]:
    """Ask until the whole store has been looked through, a portion at a time so that the app goes on meanwhile."""
    life: dict[str, Any] = reached.ask("why", id=id_)
    cursor = life.pop("cursor")
    while cursor is not None:
        more = reached.ask("why", id=id_, cursor=cursor)
        life["kept"] += more["kept"]
        life["facts"] += more["facts"]
        life["running"] |= more["running"]
        cursor = more["cursor"]
    return life


def lines(life: dict[str, Any]) -> list[str]:
    """Write a life for people."""
    told = [fact_line(fact) for fact in life["facts"]]
    if life["running"]:
        told.append("now: an attempt runs")
    for row in life["kept"]:
        if row["where"] == "queue":
            told.append(
                f"now: waits for {row['function']}, due {moment(row['due_ms'])}, {row['failures']} attempts failed"
            )
        elif row["where"] == "message":
            told.append(_message_line(row))
        elif row["where"] == "record":
            told.append(
                f"now: {row['state']} in lane {row['lane']} of {row['function']} ({row['stream']}, {row['shard_id']})"
            )
        elif row["destination"] is not None:
            told.append(f"now: waits for its destination {row['destination']}, tried {row['delivery_attempts']} times")
        else:
            condition = row["record"]["requestContext"]["condition"]
            told.append(f"now: listed as {row['id']} ({condition}); `forebay dlq redrive {row['id']}` runs it again")
        if row.get("last_error"):
            told.append(f"last error: {row['last_error']}")
    return told


def _message_line(message: dict[str, Any]) -> str:
    attributes = message["attributes"]
    group = f", group {attributes['MessageGroupId']}" if "MessageGroupId" in attributes else ""
    until = f" until {moment(message['visible_at_ms'])}" if "visible_at_ms" in message else ""
    received = attributes["ApproximateReceiveCount"]
    return f"now: {message['state']}{until} in {message['queue']}{group}, received {received} times"


def fact_line(fact: dict[str, Any]) -> str:
    """Write one thing that happened."""
    details = {name: value for name, value in fact.items() if name not in {"at_ms", "what"}}
    if "next_attempt_ms" in details:
        details["next attempt"] = moment(details.pop("next_attempt_ms"))
    return " ".join([moment(fact["at_ms"]), fact["what"], *(f"{name}={value}" for name, value in details.items())])
