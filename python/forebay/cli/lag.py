"""`forebay lag`: how far each mapping is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from forebay.cli.connect import connect, store_option
from forebay.cli.show import duration, output_option, show, table

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option("--stream", help="Only this stream.")
@click.option("--function", help="Only this function.")
@store_option
@output_option
def lag(stream: str | None, function: str | None, store: Path, output: str) -> None:
    """Show how far each mapping of the running app is behind, shard by shard."""
    with connect(store) as connection:
        connection.need_app()
        rows = connection.ask("lag", stream=stream, function=function)
    columns = [
        ("STREAM", lambda row: row["stream"]),
        ("FUNCTION", lambda row: row["function"]),
        ("SHARD", lambda row: row["shard_id"]),
        ("RECORDS", lambda row: row["records"]),
        ("AGE", lambda row: duration(row["iterator_age_ms"])),
        ("BUSY", lambda row: row["lanes_busy"]),
        ("WAITING", lambda row: row["lanes_waiting"]),
    ]
    show(rows, output, text=table(rows, columns))
