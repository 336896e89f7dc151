"""`forebay lag`: what waits, and how long it has waited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from forebay.cli.arn import named
from forebay.cli.backlog import COLUMNS, ask_backlog
from forebay.cli.connect import connect, store_option
from forebay.cli.show import output_option, show, table

if TYPE_CHECKING:
    from forebay.cli.store_place import StorePlace


@click.command()
@click.option("--stream", callback=named("stream"), help="Only this stream.")
@click.option("--queue", callback=named("queue"), help="Only this queue.")
@click.option("--function", callback=named("function"), help="Only what waits for this function.")
@store_option
@output_option
def lag(*, stream: str | None, queue: str | None, function: str | None, store: StorePlace, output: str) -> None:
    """Show how far the running app is behind: each shard of each mapping, queues, topics, events, and its processes.

    AGE is the age of the oldest record that the function has not finished, also while the mapping is paused.
    """
    with connect(store) as connection:
        connection.need_app()
        kinds = ask_backlog(connection, stream=stream, queue=queue, function=function).kinds()
    tables = [table(rows, COLUMNS[kind]) for kind, rows in kinds.items() if rows]
    show(kinds, output, text="\n\n".join(tables) or "(none)")
