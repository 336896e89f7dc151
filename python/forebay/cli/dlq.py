"""`forebay dlq`: everything that was given up, in one place: listed, shown, and run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from forebay._model import limits
from forebay._model.plural import counted, plain
from forebay._wire import payload
from forebay.cli.arn import named
from forebay.cli.connect import connect, store_option
from forebay.cli.redrive import follow, listed, message_text, move, run_again
from forebay.cli.show import duration, moment, output_option, show, table, unpacked
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forebay.cli.connect import StoreConnection
    from forebay.cli.store_place import StorePlace

SHOWN_MAX = 1_000


@click.group()
def dlq() -> None:
    """Look at what was given up, and run it again.

    Messages of queues are in dead-letter queues. Batches of streams and asynchronous events are listed if they have no
    destination, or if the destination did not take them within 24 hours.
    """


@dlq.command("list")
@click.option("--function", callback=named("function"), help="Only failures of this function.")
@click.option("--stream", callback=named("stream"), help="Only batches of this stream.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="The largest number of rows."
)
@click.option("--after", metavar="NEXT", help="Continue a list: the value that it gave as `next`.")
@store_option
@output_option
def list_(
    *, function: str | None, stream: str | None, limit: int, after: str | None, store: StorePlace, output: str
) -> None:
    """List dead-letter queues, and the listed failures of functions, oldest first."""
    with connect(store) as connection:
        page = connection.ask("failed.list", function=function, stream=stream, limit=limit, after=after)
        is_whole = function is None and stream is None and after is None
        queues = dead_letter_queues(connection) if is_whole else []
    parts = [f"dead-letter queues:\n{table(queues, _QUEUES)}\n\ngiven up by functions:"] if queues else []
    parts.append(listing(page["failures"]))
    if page["next"]:
        parts.append(f"\nThere are more: --after {page['next']}")
    show({**page, "failures": unpacked(page["failures"]), "queues": queues}, output, text="\n".join(parts))


@dlq.command("show")
@click.argument("id_", metavar="[ID]", required=False)
@click.option(
    "--queue", metavar="NAME", callback=named("queue"), help="The messages of this dead-letter queue, instead of ID."
)
@click.option(
    "--limit", type=click.IntRange(1, SHOWN_MAX), default=10, show_default=True, help="The largest number of messages."
)
@store_option
@output_option
def show_(*, id_: str | None, queue: str | None, limit: int, store: StorePlace, output: str) -> None:
    """Show one listed failure: its record, its last error, and the payload of an event, ready to edit.

    With --queue show the oldest messages of a dead-letter queue. This does not count as receiving them.
    """
    if (id_ is None) == (queue is None):
        raise click.UsageError("give ID, or --queue")
    with connect(store) as connection:
        shown = connection.ask("failed.get", id=id_) if queue is None else list(waiting(connection, queue, limit))
    shown = unpacked(shown)
    show(shown, output, text=payload.indented(shown))


@dlq.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--function", callback=named("function"), help="All listed failures of this function, instead of IDS.")
@click.option(
    "--queue", metavar="NAME", callback=named("queue"), help="The messages of this dead-letter queue, instead of IDS."
)
@click.option(
    "--to",
    metavar="NAME",
    callback=named("queue"),
    help="With --queue: move to this queue, not to the queue of each message.",
)
@click.option("--rate", type=click.FloatRange(*limits.REDRIVE_RATES), help="The largest number per second.")
@click.option("--dry-run", is_flag=True, help="Only list what would run again.")
@click.option(
    "--edit",
    type=click.File("rb"),
    help="Run the one event of ID with the JSON of this file, or move the one message with its text.",
)
@click.option("--no-wait", is_flag=True, help="With --queue and no IDS: do not wait until all have moved.")
@store_option
@output_option
def redrive(
    *,
    ids: tuple[str, ...],
    function: str | None,
    queue: str | None,
    to: str | None,
    rate: float | None,
    dry_run: bool,
    edit: Any,
    no_wait: bool,
    store: StorePlace,
    output: str,
) -> None:
    """Run failures again: those with the IDS, all of a function, or the messages of a dead-letter queue.

    With --queue the IDS are ids of messages; without IDS all messages move. Failures that wait for their destination are left
    out, and with --function those whose records retention has dropped. You can repeat an interrupted command. The redrive of a
    whole queue goes on by itself, also over a restart; `forebay dlq cancel` stops it.
    """
    if (function is not None) + (queue is not None or bool(ids)) != 1:
        raise click.UsageError("give IDs, or --function, or --queue")
    if edit is not None and len(ids) != 1:
        raise click.UsageError("--edit: name the one event or message that it is for")
    if queue is None and (to is not None or no_wait):
        raise click.UsageError("--to and --no-wait: they are for a --queue")
    if ids and no_wait:
        raise click.UsageError("--no-wait: it is for all of a --queue; those of the IDS have moved when this ends")
    edited = None if edit is None else edit.read()
    with connect(store) as connection:
        if queue is not None and not ids:
            _redrive_all(connection, queue, (to, rate), dry_run=dry_run, no_wait=no_wait, output=output)
            return
        if queue is not None:
            messages = list(move(connection, queue, ids, rate=rate, to=to, body=message_text(edited), dry_run=dry_run))
            listed_text, redriven = table(messages, MESSAGES), len(messages)
        else:
            messages = (
                [connection.ask("failed.get", id=one) for one in ids] if ids else list(listed(connection, function))
            )
            listed_text = listing(messages)
            redriven = 0 if dry_run else run_again(connection, messages, rate, edited)
    if dry_run:
        show(unpacked(messages), output, text=listed_text)
        return
    if queue is not None:
        text = f"moved: {redriven:,}"
    elif function is not None and not messages:
        text = f"nothing of {function} is listed that can run again: `forebay dlq list` shows what is"
    else:
        text = f"accepted: {redriven:,}, to be run again one after the other; `forebay dlq list` shows what fails again"
    show({"redriven": redriven}, output, text=text)


def _redrive_all(
    connection: StoreConnection,
    queue: str,
    how: tuple[str | None, float | None],
    *,
    dry_run: bool,
    no_wait: bool,
    output: str,
) -> None:
    if dry_run:
        messages = list(waiting(connection, queue, SHOWN_MAX))
        waits = sum(connection.ask("queue.depth", name=queue).values())
        show(messages, output, text=table(messages, MESSAGES))
        if waits > len(messages):
            click.echo(f"These are the first {len(messages):,} of {counted(waits, 'message')}.", err=True)
        return
    to, rate = how
    moving = int(connection.ask("queue.redrive", name=queue, to=to, rate=rate)["moving"])
    if no_wait or moving == 0:
        show({"queue": queue, "moving": moving}, output, text=f"{counted(moving, 'message')} of {queue} to move")
        return
    task = follow(connection, queue, moving)
    text = f"{task['status'].lower()}: {counted(task['moved'], 'message')} of {queue} moved, {task['left']:,} stayed"
    show({"queue": queue, **task}, output, text=text)
    if task["status"] == "FAILED":
        raise ForebayError(task["failure_reason"])


@dlq.command()
@click.argument("queue", callback=named("queue"))
@store_option
@output_option
def cancel(queue: str, store: StorePlace, output: str) -> None:
    """Stop the redrive of a dead-letter queue. Messages on their way arrive."""
    with connect(store) as connection:
        answer = connection.ask("queue.cancel_redrive", name=queue)
    text = f"cancelled: {counted(answer['moved'], 'message')} of {queue} moved, {answer['left']:,} left"
    show({"queue": queue, **answer}, output, text=text)


def dead_letter_queues(connection: StoreConnection) -> list[dict[str, Any]]:
    """Give the queues that are some queue's dead-letter queue, or are being redriven."""
    return [queue for queue in connection.ask("queue.list") if queue["dead_letter_sources"] or redrive_of(queue)]


def waiting(connection: StoreConnection, queue: str, limit: int) -> Iterator[dict[str, Any]]:
    """Give the oldest messages of a queue as they wait there; none of them is received."""
    page: dict[str, Any] = {"next": None}
    while limit > 0:
        page = connection.ask("queue.peek", name=queue, limit=limit, after=page["next"])
        yield from page["messages"]
        limit -= len(page["messages"])
        if page["next"] is None:
            return


def redrive_of(queue: dict[str, Any]) -> str | None:
    """Tell how far the redrive of a queue is that is going on."""
    task = queue.get("redrive")
    if task is None or task["status"] != "RUNNING":
        return None
    rate = "" if task["rate"] is None else f", {plain(task['rate'])} a second"
    waits = f", waits for {task['waits_for']}" if "waits_for" in task else ""
    return f"{task['moved']:,} of {task['messages']:,}{rate}{waits}"


def listing(failures: Sequence[dict[str, Any]]) -> str:
    """Align what functions gave up for people."""
    columns: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
        ("ID", lambda failure: failure["id"]),
        ("FUNCTION", lambda failure: failure["function"]),
        ("STREAM", lambda failure: failure["stream"]),
        ("WHEN", lambda failure: moment(failure["failed_ms"])),
        ("CONDITION", lambda failure: failure["record"]["requestContext"]["condition"]),
        ("ATTEMPTS", _attempts),
        ("RECORDS", lambda failure: failure["record"].get("KinesisBatchInfo", {}).get("batchSize")),
        ("WAITS FOR", lambda failure: failure["destination"]),
        ("REDRIVABLE", lambda failure: failure["redrivable"]),
    ]
    return table(failures, columns)


def _attempts(failure: dict[str, Any]) -> object:
    """How often it was tried: at the function, or, of an event that a rule's target did not take, at the target."""
    return failure["record"]["requestContext"].get("approximateInvokeCount", failure["delivery_attempts"])


def one_line(body: str) -> str:
    """Write a message's body in one line, cut where it is long."""
    text = payload.dumps(body).decode()[1:-1]
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004


MESSAGES: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("MESSAGE", lambda message: message["messageId"]),
    ("RECEIVED", lambda message: int(message["attributes"]["ApproximateReceiveCount"])),
    ("GROUP", lambda message: message["attributes"].get("MessageGroupId")),
    ("BODY", lambda message: one_line(message["body"])),
]
_QUEUES: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("QUEUE", lambda queue: queue["name"]),
    ("MESSAGES", lambda queue: queue["visible"] + queue["in_flight"] + queue["delayed"]),
    ("OLDEST", lambda queue: duration(queue.get("oldest_age_ms"))),
    ("FROM", lambda queue: queue["dead_letter_sources"]),
    ("REDRIVE", redrive_of),
]
