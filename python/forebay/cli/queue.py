"""`forebay queue`: look at queues, send, receive, purge, delete."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from forebay._model import limits
from forebay._model.plural import counted
from forebay._wire.mapping import milliseconds
from forebay.cli.arn import named
from forebay.cli.connect import connect, store_option
from forebay.cli.dlq import MESSAGES, redrive_of
from forebay.cli.show import attribute, duration, output_option, show, table

if TYPE_CHECKING:
    from forebay.cli.store_place import StorePlace


@click.group()
def queue() -> None:
    """Look at queues, send, receive, purge, delete.

    `forebay dlq` shows dead letters and sends them back.
    """


@queue.command("list")
@store_option
@output_option
def list_(store: StorePlace, output: str) -> None:
    """List the queues of a store."""
    with connect(store) as connection:
        queues = connection.ask("queue.list")
    show(queues, output, text=table(queues, _COLUMNS))


@queue.command()
@click.argument("name", callback=named("queue"))
@store_option
@output_option
def describe(name: str, store: StorePlace, output: str) -> None:
    """Show a queue's settings and how many messages are in which state."""
    with connect(store) as connection:
        described = connection.ask("queue.describe", name=name)
    lines = "\n".join(f"{field}: {described[field]}" for field in _SETTINGS if described.get(field) is not None)
    show(described, output, text=f"{table([described], _COLUMNS)}\n\n{lines}")


@queue.command()
@click.argument("name", callback=named("queue"))
@click.argument("body", default="-")
@click.option("--group-id", metavar="TEXT", help="Message group; a FIFO queue needs it.")
@click.option("--deduplication-id", metavar="TEXT", help="Needed by a FIFO queue without content-based deduplication.")
@click.option("--delay", type=float, metavar="SECONDS", help="Seconds before the message can be received, 0 to 900.")
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=TEXT", help="A message attribute; repeatable.")
@store_option
@output_option
def send(
    *,
    name: str,
    body: str,
    group_id: str | None,
    deduplication_id: str | None,
    delay: float | None,
    attributes: tuple[str, ...],
    store: StorePlace,
    output: str,
) -> None:
    """Send BODY (default: standard input, as it is) as one message."""
    message: dict[str, Any] = {
        "body": sys.stdin.read() if body == "-" else body,
        "group_id": group_id,
        "deduplication_id": deduplication_id,
        "delay_ms": milliseconds(delay),
        "attributes": [attribute(text) for text in attributes],
    }
    with connect(store) as connection:
        [message_id] = connection.ask("queue.send", name=name, messages=[message])
    show({"queue": name, "message_id": message_id}, output, text=f"sent {message_id} to {name}")


@queue.command()
@click.argument("name", callback=named("queue"))
@click.option("--maximum", type=click.IntRange(1, limits.MESSAGES_OF_A_CALL_MAX), default=10, show_default=True)
@click.option("--wait", type=click.FloatRange(0, limits.RECEIVE_WAIT_SECONDS_MAX), default=0, help="Seconds.")
@click.option(
    "--visibility-timeout", type=float, metavar="SECONDS", help="Seconds that the messages are hidden from others."
)
@click.option("--delete", "deletes", is_flag=True, help="Delete the messages after showing them.")
@store_option
@output_option
def receive(
    *,
    name: str,
    maximum: int,
    wait: float,
    visibility_timeout: float | None,
    deletes: bool,
    store: StorePlace,
    output: str,
) -> None:
    """Receive messages. Without --delete they are visible again when their visibility timeout is over.

    Each time counts as a receive: a message shown too often goes to the dead-letter queue. --visibility-timeout 0 shows
    messages without hiding them.
    """
    hidden = {} if visibility_timeout is None else {"visibility_timeout_ms": milliseconds(visibility_timeout)}
    with connect(store) as connection:
        fields = {"name": name, "maximum": maximum, "wait_ms": milliseconds(wait), **hidden}
        messages = connection.ask("queue.receive", **fields)
        show(messages, output, text=table(messages, MESSAGES))
        for message in messages if deletes else []:
            connection.ask("queue.delete_message", name=name, receipt_handle=message["receiptHandle"])


@queue.command()
@click.argument("name", callback=named("queue"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@output_option
def purge(name: str, yes: bool, store: StorePlace, output: str) -> None:
    """Remove every message of a queue, received or not."""
    with connect(store) as connection:
        depth = connection.ask("queue.depth", name=name)
        count = sum(depth.values())
        if not yes:
            click.confirm(f"Remove {counted(count, 'message')} of queue {name}?", abort=True, err=True)
        removed = connection.ask("queue.purge", name=name)
    total = sum(removed.values())
    show({"queue": name, "removed": total}, output, text=f"removed {counted(total, 'message')} from {name}")


@queue.command()
@click.argument("name", callback=named("queue"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@output_option
def delete(name: str, yes: bool, store: StorePlace, output: str) -> None:
    """Delete a queue with everything in it. Refused while a function that runs, or another queue, depends on it.

    If the app's code still declares the queue, its next start makes an empty one.
    """
    with connect(store) as connection:
        if not yes:
            count = sum(connection.ask("queue.depth", name=name).values())
            click.confirm(f"Delete queue {name} with its {counted(count, 'message')}?", abort=True, err=True)
        removed = int(connection.ask("queue.delete", name=name)["removed"])
    show({"deleted": name, "removed": removed}, output, text=f"deleted {name} with {counted(removed, 'message')}")


_SETTINGS = (
    "arn",
    "visibility_timeout_ms",
    "delay_ms",
    "retention_ms",
    "content_based_deduplication",
    "deduplication_scope",
    "dead_letter_queue",
    "maximum_receive_count",
    "dead_letter_sources",
)
_COLUMNS = [
    ("QUEUE", lambda queue: queue["name"]),
    ("FIFO", lambda queue: queue["fifo"]),
    ("VISIBLE", lambda queue: queue["visible"]),
    ("IN FLIGHT", lambda queue: queue["in_flight"]),
    ("DELAYED", lambda queue: queue["delayed"]),
    ("OLDEST", lambda queue: duration(queue.get("oldest_age_ms"))),
    ("DEAD LETTERS", lambda queue: queue.get("dead_letter_queue")),
    ("REDRIVE", redrive_of),
]
