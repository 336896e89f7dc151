"""`forebay doctor`: whether a store is whole, and what can be saved of one that is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from forebay._core import examine_store, look_at_server, salvage_store
from forebay._model.plural import counted
from forebay.cli import aws
from forebay.cli.cluster import migration_text, moved_text, owner_text, unreached_text
from forebay.cli.connect import store_option
from forebay.cli.show import RANGES_MAX, output_option, show, table
from forebay.cli.store_place import ServerStore, StorePlace, read

if TYPE_CHECKING:
    from collections.abc import Callable

_DAMAGED = 1
_ADVICE = "Stop its app, then copy what is whole: forebay doctor --store {store} --salvage TARGET"
_UNREADABLE = (
    "What it holds is not counted, since nothing leads to it. --salvage reads on, in a copy with a new first page: for a while "
    "it needs the room of both."
)
_NEXT = (
    "To go on with it, put it where the app looks for its store. What was handled since its last checkpoint is handled again; "
    "what was lost at the end of a log is not in it, and its numbers are given out anew."
)


@click.command()
@click.argument("named", metavar="[STORE]", type=read, required=False)
@store_option
@click.option(
    "--salvage",
    metavar="TARGET",
    type=click.Path(path_type=Path, file_okay=False),
    help="Copy what is intact into a new store in this directory. No app may run on either store.",
)
@output_option
@click.pass_context
def doctor(ctx: click.Context, named: StorePlace | None, store: StorePlace, salvage: Path | None, output: str) -> None:
    """Check every record, row and page of a store: the directory STORE, or that of --store. Nothing in it is changed.

    The app may run meanwhile. The exit status is 0 when the store is intact and 1 when it is damaged, salvaged or not. Of an
    intact store the last line says how `memory=` of functions would be enforced if the app were started from here.

    Of a store on a PostgreSQL server it says what the server promises, and who owns the store. The status is 1 when the server
    promises less than durability="power-loss".
    """
    store = named or store
    if isinstance(store, ServerStore):
        if salvage is not None:
            raise click.UsageError("--salvage copies a store in a directory; a server is restored from its own backup")
        _examine_server(ctx, store, output)
        return
    store = store.absolute()
    if not store.is_dir():
        raise click.UsageError(f"the directory {store} does not exist")
    if salvage is None:
        report = orjson.loads(examine_store(store))
        report["access_keys"] = aws.damage(store)
        lines = [_whole_or_damaged(store, report)]
        lines += moved_text(report)
        lines += [] if report["whole"] else [_ADVICE.format(store=store)]
        lines += [] if report["access_keys"] is None else [report["access_keys"]]
        # Of a damaged store nobody wants to know it.
        lines += [_memory_line(report["memory_limits"])] if report["whole"] else []
        show(report, output, text="\n".join(lines))
        if report["access_keys"] is not None:
            ctx.exit(_DAMAGED)
    else:
        saved = orjson.loads(salvage_store(store, salvage))
        report = saved["report"]
        show(saved, output, text=f"{_whole_or_damaged(store, report)}\n\n{_salvage_text(salvage, saved)}")
    if not report["whole"]:
        ctx.exit(_DAMAGED)


def _examine_server(ctx: click.Context, store: ServerStore, output: str) -> None:
    seen = orjson.loads(look_at_server(store.url))
    held = seen["store"]
    lines = [f"{seen['place']}, app {seen['app']}", *seen["promises"]]
    if held is None:
        lines.append("there is no store yet: the first start of the app makes it")
    else:
        lines.append(f"{counted(held['commits'], 'commit')}; {owner_text(held)}")
        unreached = unreached_text(held)
        lines += [] if unreached is None else [unreached]
        lines += migration_text(held)
    if seen["refused"] is not None:
        lines.append(seen["refused"])
    show(seen, output, text="\n".join(lines))
    if seen["refused"] is not None:
        ctx.exit(_DAMAGED)


def _whole_or_damaged(store: Path, report: dict[str, Any]) -> str:
    held = (
        f"{counted(report['records'], 'record')} of {counted(report['bytes'], 'byte')} in {counted(report['logs'], 'log')}, "
        f"{counted(sum(report['rows'].values()), 'row')}, {counted(report['commits'], 'commit')}"
    )
    lost = [_marked(report)] if report["lost_records"] else []
    if report["whole"]:
        return "\n".join([f"{store} is whole: {held}", *lost])
    more = report["findings"] - len(report["damage"])
    findings = [*report["damage"], *([f"and {more:,} more"] if more else []), *lost]
    count = counted(report["findings"], "finding")
    whole = f"Whole are {held}" if report["readable"] else _UNREADABLE
    return "\n".join([f"{store} is damaged, {count}. {whole}", *findings])


def _marked(report: dict[str, Any]) -> str:
    return (
        f"{report['lost_records']:,} of these records are only marked as lost, since a salvage could not save them:\n"
        f"{lost_ranges(report['lost'])}"
    )


def lost_ranges(lost: list[dict[str, Any]]) -> str:
    """List where records are lost: the first few ranges, and how many more there are."""
    columns: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
        ("STREAM OR QUEUE", lambda gap: gap["stream"] or gap["queue"] or f"log {gap['log']}"),
        ("SHARD", lambda gap: gap["shard_id"]),
        ("RECORDS", lambda gap: gap["end"] - gap["first"]),
        ("FIRST LOST", lambda gap: gap["first_sequence_number"] or gap["first"]),
        ("LAST LOST", lambda gap: gap["last_sequence_number"] or gap["end"] - 1),
    ]
    more = len(lost) - RANGES_MAX
    return table(lost[:RANGES_MAX], columns) + (f"\nand {counted(more, 'more range')}" if more > 0 else "")


def _memory_line(limits: dict[str, str]) -> str:
    return f"memory= of functions is kept by {limits['kept_by']}: {limits['why']}"


def _salvage_text(target: Path, saved: dict[str, Any]) -> str:
    copied = f"{target} has {counted(saved['records'], 'record')} and {counted(saved['rows'], 'row')}"
    unreached = "".join(f"{finding}\n" for finding in saved["unreached"])
    if unreached:
        unreached = f"Rows are lost without which what else is whole is of no use:\n{unreached}"
    if not saved["lost"]:
        return f"{copied}, and no log of it has a gap. {unreached}{_NEXT}"
    ranges = lost_ranges(saved["lost"])
    return (
        f"{copied}. These are lost; mappings step over them, warn of them, and list them as failed (RecordsLost):\n"
        f"{ranges}\n{unreached}{_NEXT}"
    )
