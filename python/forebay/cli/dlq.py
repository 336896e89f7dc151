"""`forebay dlq`: events and batches that were given up: listed, shown, and run again."""

from __future__ import annotations

import itertools
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click
import orjson

from forebay.cli.failed import listing
from forebay.cli.reach import Reached, reach, store_option
from forebay.cli.show import output_option, show
from forebay.errors import InvalidParameterValue
from forebay.wire import payload as wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PAGE: Final = 1_000
# A bar is drawn where somebody would else wonder whether anything happens.
BAR_FROM: Final = 100
STEP_SECONDS: Final = 0.1


@click.group()
def dlq() -> None:
    """Look at what was given up, and run it again: events of asynchronous invocations, batches of streams."""


@dlq.command("list")
@click.option("--function", help="Only this function.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@store_option
@output_option
def list_(function: str | None, limit: int, store: Path, output: str) -> None:
    """List what is kept, oldest first."""
    with reach(store) as reached:
        failures = list(itertools.islice(kept(reached, function), limit))
    show(failures, output, text=listing(failures, "ATTEMPTS", _attempts))


@dlq.command("show")
@click.argument("id_", metavar="ID")
@store_option
@output_option
def show_(id_: str, store: Path, output: str) -> None:
    """Show one of them whole: its record, its last error, and the payload of an event as it can be edited."""
    with reach(store) as reached:
        failure = reached.ask("failed.get", id=id_)
    show(failure, output, text=orjson.dumps(failure, option=orjson.OPT_INDENT_2).decode())


@dlq.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--function", help="All that is listed of this function, instead of IDS.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="At most so many a second.")
@click.option("--dry-run", is_flag=True, help="Only list what would be run again.")
@click.option("--edit", type=click.File("rb"), help="Run the one event with the JSON of this file as its payload.")
@store_option
@output_option
def redrive(
    *,
    ids: tuple[str, ...],
    function: str | None,
    rate: float | None,
    dry_run: bool,
    edit: Any,
    store: Path,
    output: str,
) -> None:
    """Run again what was given up: those of the IDS, or all of a function.

    What waits for its destination is left alone. Interrupted, it can be begun again: what is done is no longer listed.
    """
    if bool(ids) == (function is not None):
        raise click.UsageError("give IDs, or --function")
    if edit is not None and len(ids) != 1:
        raise click.UsageError("--edit: name the one event that it is for")
    with reach(store) as reached:
        failures = [reached.ask("failed.get", id=one) for one in ids] if ids else list(listed(reached, function))
        if dry_run:
            show(failures, output, text=listing(failures, "ATTEMPTS", _attempts))
            return
        redriven = run_again(reached, failures, rate) if edit is None else edited(reached, failures[0], edit.read())
    show({"redriven": redriven}, output, text=f"redriven: {redriven}")


def edited(reached: Reached, failure: dict[str, Any], body: bytes) -> int:
    """Run an event again with another payload."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidParameterValue(f"--edit: allowed is JSON text; {error}") from None
    text = wire.checked_event(body.strip()).decode()
    answer = reached.ask("failed.redrive", function=failure["function"], ids=[failure["id"]], payload=text)
    return int(answer["redriven"])


def listed(reached: Reached, function: str | None) -> Iterator[dict[str, Any]]:
    """Give everything that is listed of a function and waits for no destination."""
    return (failure for failure in kept(reached, function) if failure["destination"] is None)


def kept(reached: Reached, function: str | None) -> Iterator[dict[str, Any]]:
    """Give everything that is kept of a function, or of all, oldest first, page by page."""
    page: dict[str, Any] = {"next": None}
    while True:
        page = reached.ask("failed.list", function=function, limit=PAGE, after=page["next"])
        yield from page["failures"]
        if page["next"] is None:
            return


def run_again(reached: Reached, failures: Sequence[dict[str, Any]], rate: float | None) -> int:
    """Hand failures over in portions, so that a rate is kept and progress can be seen."""
    portion = PAGE if rate is None else max(1, round(rate * STEP_SECONDS))
    redriven, start = 0, time.monotonic()
    is_long = len(failures) >= BAR_FROM or (rate is not None and len(failures) / rate > 1)
    # On standard error: what is printed for programs stays clean.
    with click.progressbar(length=len(failures), label="redriving", file=sys.stderr, hidden=not is_long) as bar:
        for at in range(0, len(failures), portion):
            if rate is not None:
                time.sleep(max(0.0, start + at / rate - time.monotonic()))
            part = failures[at : at + portion]
            for function in dict.fromkeys(failure["function"] for failure in part):
                ids = [failure["id"] for failure in part if failure["function"] == function]
                redriven += int(reached.ask("failed.redrive", function=function, ids=ids)["redriven"])
            bar.update(len(part))
    return redriven


def _attempts(record: dict[str, Any]) -> object:
    return record["requestContext"]["approximateInvokeCount"]
