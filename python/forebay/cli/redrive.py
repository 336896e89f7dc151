"""Redrives what was given up, with a bar for whoever waits."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from forebay._wire import payload as wire
from forebay.errors import ForebayError, InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forebay.cli.connect import StoreConnection

PAGE: Final = 1_000
# A bar is drawn where somebody would else wonder whether anything happens.
BAR_FROM: Final = 100
STEP_SECONDS: Final = 0.1


def message_text(body: bytes | None) -> str | None:
    """Read a message's new body, without the end of line that an editor puts behind it."""
    if body is None:
        return None
    try:
        return body.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise InvalidParameterValue(f"--edit: allowed is text in UTF-8; {error}") from None


def move(
    connection: StoreConnection, queue: str, ids: Sequence[str], *, rate: float | None, dry_run: bool, **how: Any
) -> Iterator[dict[str, Any]]:
    """Move messages of a queue one by one, each as it is looked up by its id; give them.

    Where one cannot move, those that have moved before it are told.
    """
    start = time.monotonic()
    for at, id_ in enumerate(ids):
        if rate is not None:
            time.sleep(max(0.0, start + at / rate - time.monotonic()))
        answer: dict[str, Any] = {"redriven": 0, "next": None}
        fields = {"name": queue, "id": id_, "dry_run": dry_run, **how}
        try:
            while not answer["redriven"]:
                answer = connection.ask("queue.redrive_message", **{**fields, "next": answer["next"]})
        except ForebayError:
            if at > 0 and not dry_run:
                click.echo(f"redriven before this: {', '.join(ids[:at])}", err=True)
            raise
        yield answer["message"]


def listed(connection: StoreConnection, function: str | None) -> Iterator[dict[str, Any]]:
    """Give everything that is listed of a function and can be run again, oldest first, page by page."""
    page: dict[str, Any] = {"next": None}
    while True:
        page = connection.ask("failed.list", function=function, limit=PAGE, after=page["next"])
        yield from (failure for failure in page["failures"] if failure["redrivable"])
        if page["next"] is None:
            return


def run_again(
    connection: StoreConnection, failures: Sequence[dict[str, Any]], rate: float | None, edited: bytes | None
) -> int:
    """Hand failures over in portions, so that a rate is kept and progress can be seen; or the one, with another payload."""
    if edited is not None:
        return _run_edited(connection, failures[0], edited)
    portion = PAGE if rate is None else max(1, round(rate * STEP_SECONDS))
    redriven, start = 0, time.monotonic()
    with _bar(len(failures), rate) as bar:
        for at in range(0, len(failures), portion):
            if rate is not None:
                time.sleep(max(0.0, start + at / rate - time.monotonic()))
            part = failures[at : at + portion]
            for function in dict.fromkeys(failure["function"] for failure in part):
                ids = [failure["id"] for failure in part if failure["function"] == function]
                redriven += int(connection.ask("failed.redrive", function=function, ids=ids)["redriven"])
            bar.update(len(part))
    return redriven


def _run_edited(connection: StoreConnection, failure: dict[str, Any], body: bytes) -> int:
    try:
        wire.loads(body)
    except ValueError as error:
        raise InvalidParameterValue(f"--edit: allowed is JSON text; {error}") from None
    text = wire.checked_event(body.strip()).decode()
    answer = connection.ask("failed.redrive", function=failure["function"], ids=[failure["id"]], payload=text)
    return int(answer["redriven"])


def follow(connection: StoreConnection, queue: str, messages: int) -> dict[str, Any]:
    """Watch the redrive of a queue until it has ended; tell how."""
    shown = 0
    task: dict[str, Any] = connection.ask("queue.describe", name=queue)["redrive"]
    with _bar(messages, task["rate"]) as bar:
        while True:
            bar.update(task["moved"] - shown)
            shown = task["moved"]
            if task["status"] != "RUNNING":
                return task
            time.sleep(STEP_SECONDS)
            task = connection.ask("queue.describe", name=queue)["redrive"]


def _bar(length: int, rate: float | None) -> Any:
    is_long = length >= BAR_FROM or (rate is not None and length / rate > 1)
    # On standard error: what is printed for programs stays clean.
    return click.progressbar(length=length, label="redriving", file=sys.stderr, hidden=not is_long)
