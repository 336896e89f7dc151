"""`forebay failed`: what was given up, and how to run it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from forebay.cli.reach import reach, store_option
from forebay.cli.show import moment, output_option, show, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@click.group()
def failed() -> None:
    """Look at what was given up, and run it again."""


@failed.command("list")
@click.option("--function", help="Only this function.")
@click.option("--stream", help="Only this stream.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many, oldest first."
)
@click.option("--after", metavar="NEXT", help="Go on where a list ended: what it gave as `next`.")
@store_option
@output_option
def list_(*, function: str | None, stream: str | None, limit: int, after: str | None, store: Path, output: str) -> None:
    """List failures that are kept, oldest first."""
    with reach(store) as reached:
        page = reached.ask("failed.list", function=function, stream=stream, limit=limit, after=after)
    text = listing(page["failures"], "RECORDS", lambda record: record.get("KinesisBatchInfo", {}).get("batchSize"))
    more = f"\n\nThere are more: --after {page['next']}" if page["next"] else ""
    show(page, output, text=text + more)


@failed.command()
@click.argument("function")
@click.argument("ids", nargs=-1)
@click.option("--rate", type=float, help="At most so many failures a second.")
@store_option
@output_option
def redrive(function: str, ids: tuple[str, ...], rate: float | None, store: Path, output: str) -> None:
    """Run a function's failures again: those of the IDS, or all of them."""
    with reach(store) as reached:
        answer = reached.ask("failed.redrive", function=function, ids=list(ids) or None, rate=rate)
    more = ", more are listed: redrive again when these have run" if answer["more"] else ""
    show(answer, output, text=f"redriven: {answer['redriven']}{more}")


def listing(failures: Sequence[dict[str, Any]], count: str, of: Callable[[dict[str, Any]], object]) -> str:
    """Align failures for people; one column, `count`, is taken out of the failure record by `of`."""
    columns: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
        ("ID", lambda failure: failure["id"]),
        ("FUNCTION", lambda failure: failure["function"]),
        ("STREAM", lambda failure: failure["stream"]),
        ("WHEN", lambda failure: moment(failure["failed_ms"])),
        ("CONDITION", lambda failure: failure["record"]["requestContext"]["condition"]),
        (count, lambda failure: of(failure["record"])),
        ("WAITS FOR", lambda failure: failure["destination"]),
    ]
    return table(failures, columns)
