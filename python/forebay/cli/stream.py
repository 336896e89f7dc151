"""`forebay stream`: look at streams, put records, follow them."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any, Final

import click

from forebay._model import checks, limits, settings
from forebay._model.plural import counted
from forebay.cli.arn import named
from forebay.cli.connect import connect, store_option
from forebay.cli.put import put
from forebay.cli.show import RANGES_MAX, duration, moment, output_option, show, table, whole_seconds, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forebay.cli.store_place import StorePlace

TAIL_RECORDS: Final = 1000
TAIL_SECONDS: Final = 0.2


@click.group()
def stream() -> None:
    """Look at streams, put records, follow them."""


@stream.command("list")
@store_option
@output_option
def list_(store: StorePlace, output: str) -> None:
    """List the streams of a store."""
    with connect(store) as connection:
        streams = connection.ask("stream.list")
    show(streams, output, text="\n\n".join([table(streams, _COLUMNS), *map(_lost, filter(_has_lost, streams))]))


def _has_lost(stream: dict[str, Any]) -> bool:
    return bool(stream.get("lost_records"))


def _lost(stream: dict[str, Any]) -> str:
    """Tell where a stream has lost records: the first few ranges, and how many there are in all."""
    ranges = table(
        stream["lost"][:RANGES_MAX],
        [
            ("SHARD", lambda gap: gap["shard_id"]),
            ("RECORDS", lambda gap: gap["records"]),
            ("FIRST LOST", lambda gap: gap["first_sequence_number"]),
            ("LAST LOST", lambda gap: gap["last_sequence_number"]),
        ],
    )
    more = "\nand more: forebay doctor tells all" if len(stream["lost"]) > RANGES_MAX else ""
    lost = counted(stream["lost_records"], "record")
    return f"lost to damage before a salvage, and counted above: {lost} of {stream['name']}\n{ranges}{more}"


@stream.command()
@click.argument("name", callback=named("stream"))
@store_option
@output_option
def describe(name: str, store: StorePlace, output: str) -> None:
    """Show a stream with its shards."""
    with connect(store) as connection:
        described = connection.ask("stream.describe", name=name)
    shards = table(
        described["shards"],
        [
            ("SHARD", lambda shard: shard["shard_id"]),
            ("OPEN", lambda shard: shard["open"]),
            ("RECORDS", lambda shard: shard["records"]),
            ("BYTES", lambda shard: shard["bytes"]),
            ("LAST", lambda shard: shard.get("last_sequence_number")),
            ("PARENTS", lambda shard: shard["parents"]),
        ],
    )
    lost = [_lost(described)] if _has_lost(described) else []
    show(described, output, text="\n\n".join([table([described], _COLUMNS), shards, *lost]))


stream.add_command(put)


@stream.command()
@click.argument("name", callback=named("stream"))
@click.option(
    "--position",
    type=click.Choice(["LATEST", "TRIM_HORIZON"]),
    default="LATEST",
    show_default=True,
    help="Where to begin: after the newest record, or at the oldest.",
)
@click.option("--follow/--no-follow", default=True, show_default=True, help="Wait for more at the end.")
@click.option("--limit", type=click.IntRange(1), help="Stop after this number of records.")
@store_option
@output_option
def tail(*, name: str, position: str, follow: bool, limit: int | None, store: StorePlace, output: str) -> None:
    """Print the records of a stream; with --follow also new ones."""
    for at, record in enumerate(_follow(name, position, store, wait=follow), 1):
        raw = base64.b64decode(record.pop("data"))
        try:
            record["data"] = raw.decode()
        except UnicodeDecodeError:
            record["data_base64"] = base64.b64encode(raw).decode()
        if output == "json":
            write_json(record)
        else:
            when = moment(record["approximate_arrival_timestamp"] * 1000)
            body = record.get("data", record.get("data_base64"))
            click.echo(f"{when}  {record['sequence_number']}  {record['partition_key']}  {body}")
        if at == limit:
            return


def _follow(name: str, position: str, store: StorePlace, *, wait: bool) -> Iterator[dict[str, Any]]:
    cursors = None
    while True:
        # StoreConnection anew each time: while no app runs, the store is then free for one that starts.
        with connect(store) as connection:
            while True:
                where: dict[str, Any] = {"position": position} if cursors is None else {"cursors": cursors}
                answer = connection.ask("stream.read", name=name, limit=TAIL_RECORDS, **where)
                cursors = answer["cursors"]
                yield from answer["records"]
                if answer["behind"] == 0 and (connection.owned or not wait):
                    break
                if answer["behind"] == 0:
                    time.sleep(TAIL_SECONDS)
        if not wait:
            return
        time.sleep(TAIL_SECONDS)


@stream.command()
@click.argument("name", callback=named("stream"))
@click.option("--shards", type=int, help="The new number of open shards.")
@click.option("--retention", metavar="DURATION", help="How long records are kept: 3600, 90m, 12h, 7d.")
@click.option("--retention-bytes", type=int, metavar="BYTES", help="Bytes of records that are kept; 0: no limit.")
@store_option
@output_option
def alter(
    *,
    name: str,
    shards: int | None,
    retention: str | None,
    retention_bytes: int | None,
    store: StorePlace,
    output: str,
) -> None:
    """Change a stream while it is in use."""
    if shards is None and retention is None and retention_bytes is None:
        raise click.UsageError("give at least one of --shards, --retention, --retention-bytes")
    changes: dict[str, Any] = {}
    if retention is not None:
        changes["retention_ms"] = round(settings.retention(whole_seconds("--retention", retention)) * 1000)
    if retention_bytes is not None:
        changes["retention_bytes"] = settings.retention_bytes(retention_bytes) if retention_bytes else 0
    if shards is not None:
        checks.integer("shards", shards, low=1, high=limits.SHARDS_MAX)
    with connect(store) as connection:
        if changes:
            described = connection.ask("stream.alter", name=name, **changes)
        if shards is not None:
            described = connection.ask("stream.reshard", name=name, shards=shards)
    show(described, output, text=table([described], _COLUMNS))


@stream.command()
@click.argument("name", callback=named("stream"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@output_option
def delete(name: str, yes: bool, store: StorePlace, output: str) -> None:
    """Delete a stream with all its records."""
    if not yes:
        click.confirm(f"Delete stream {name} with all its records?", abort=True, err=True)
    with connect(store) as connection:
        connection.ask("stream.delete", name=name)
    show({"deleted": name}, output, text=f"deleted {name}")


_COLUMNS: Final[list[tuple[str, Callable[[dict[str, Any]], object]]]] = [
    ("STREAM", lambda stream: stream["name"]),
    ("SHARDS", lambda stream: stream["open_shards"]),
    ("RECORDS", lambda stream: stream["records"]),
    ("BYTES", lambda stream: stream["bytes"]),
    ("RETENTION", lambda stream: duration(stream["retention_ms"])),
    ("SINCE", lambda stream: moment(stream["created_ms"])),
]
