"""`forebay doctor`: whether a store is whole, and what can be saved of one that is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from forebay._core import examine_store, salvage_store
from forebay.cli.reach import store_option
from forebay.cli.show import output_option, show, table

_DAMAGED = 1
_ADVICE = "Stop its app, then copy what is whole: forebay doctor STORE --salvage TARGET"
_NEXT = (
    "To go on with it, put it where the app looks for its store. What was handled since its last checkpoint is handled again; "
    "what was lost at the end of a log is not in it, and its numbers are given out anew."
)


@click.command()
@click.argument("directory", metavar="[STORE]", type=click.Path(path_type=Path, file_okay=False), required=False)
@store_option
@click.option(
    "--salvage",
    metavar="TARGET",
    type=click.Path(path_type=Path, file_okay=False),
    help="Copy what is whole into a new store in this directory. No app may run on either.",
)
@output_option
@click.pass_context
def doctor(ctx: click.Context, directory: Path | None, store: Path, salvage: Path | None, output: str) -> None:
    """Check every record, row and page of the store in the directory STORE, else in that of --store, and change nothing in it.

    Works while an app runs on it. The exit status is 0 when the store is whole and 1 when it is damaged, salvaged or not. Tells,
    too, what would hold the processes of functions to their memory, if the app were started from here.
    """
    store = (directory or store).absolute()
    if not store.is_dir():
        raise click.UsageError(f"the directory {store} does not exist")
    if salvage is None:
        report = orjson.loads(examine_store(store))
        advice = "" if report["whole"] else f"\n{_ADVICE}"
        show(report, output, text=f"{_told(store, report)}{advice}\n{_kept(report['memory_limits'])}")
    else:
        saved = orjson.loads(salvage_store(store, salvage))
        report = saved["report"]
        show(saved, output, text=f"{_told(store, report)}\n\n{_saved(salvage, saved)}")
    if not report["whole"]:
        ctx.exit(_DAMAGED)


def _told(store: Path, report: dict[str, Any]) -> str:
    held = (
        f"{report['records']:,} records of {report['bytes']:,} bytes in {report['logs']:,} logs, "
        f"{sum(report['rows'].values()):,} rows, {report['commits']:,} commits"
    )
    if report["whole"]:
        return f"{store} is whole: {held}"
    more = report["findings"] - len(report["damage"])
    findings = [*report["damage"], *([f"and {more:,} more"] if more else [])]
    return "\n".join([f"{store} is damaged, {report['findings']:,} findings. Whole are {held}", *findings])


def _kept(limits: dict[str, str]) -> str:
    return f"memory= of functions is kept by {limits['kept_by']}: {limits['why']}"


def _saved(target: Path, saved: dict[str, Any]) -> str:
    told = f"{target} has {saved['records']:,} records and {saved['rows']:,} rows"
    if not saved["lost"]:
        return f"{told}, and no log of it has a gap. {_NEXT}"
    lost = [{"log": log, "first": first, "end": end} for log, first, end in saved["lost"]]
    columns = [
        ("LOG", lambda gap: gap["log"]),
        ("LOST FROM POSITION", lambda gap: gap["first"]),
        ("UP TO BEFORE", lambda gap: gap["end"]),
    ]
    return f"{told}; mappings step over what is lost:\n{table(lost, columns)}\n{_NEXT}"
