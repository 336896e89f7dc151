"""`forebay lag`: how far each mapping is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from forebay.cli.connect import connect, store_option
from forebay.cli.show import duration, output_option, show, table

if TYPE_CHECKING:
    from pathlib import Path

_MEASURED = ("shard_id", "records", "iterator_age_ms", "lanes_busy", "lanes_waiting")


@click.command()
@click.option("--stream", help="Only this stream.")
@click.option("--function", help="Only this function.")
@store_option
@output_option
def lag(stream: str | None, function: str | None, store: Path, output: str) -> None:
    """Show how far each mapping of the running app is behind, shard by shard, and the mappings that only clients declare."""
    with connect(store) as connection:
        connection.need_app()
        rows = connection.ask("lag", stream=stream, function=function)
        unhandled = [mapping for mapping in connection.ask("mapping.list") if mapping["state"] == "Unhandled"]
    for mapping in unhandled:
        source = mapping.get("stream") or mapping["queue"]
        if stream in {None, source} and function in {None, mapping["function"]}:
            rows.append({**dict.fromkeys(_MEASURED), "stream": source, "function": mapping["function"]})
    columns = [
        ("STREAM", lambda row: row["stream"]),
        ("FUNCTION", lambda row: row["function"]),
        ("SHARD", lambda row: row["shard_id"] or "(nothing handles it)"),
        ("RECORDS", lambda row: row["records"]),
        ("AGE", lambda row: duration(row["iterator_age_ms"])),
        ("BUSY", lambda row: row["lanes_busy"]),
        ("WAITING", lambda row: row["lanes_waiting"]),
    ]
    show(rows, output, text=table(rows, columns))
