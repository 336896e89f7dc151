"""`forebay archive` and `forebay replay`: look at archives of event buses and delete them; start, follow and cancel replays."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import click

from forebay._model.archive import ReplaySettings
from forebay._model.plural import counted
from forebay.cli import moments
from forebay.cli.connect import connect, store_option
from forebay.cli.show import moment, output_option, show, table, unpacked
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from forebay.cli.store_place import StorePlace

POLL_SECONDS: Final = 0.2
"""How often `replay start` looks how far it is."""
OVER: Final = ("COMPLETED", "CANCELLED")
_DAY_MS: Final = 86_400_000


@click.group()
def archive() -> None:
    """Look at archives of event buses; delete one."""


@archive.command("list")
@store_option
@output_option
def list_(*, store: StorePlace, output: str) -> None:
    """List the archives of a store."""
    with connect(store) as connection:
        archives = connection.ask("archive.list")
    show(unpacked(archives), output, text=table(archives, _ARCHIVES))


@archive.command()
@click.argument("name")
@store_option
@output_option
def describe(*, name: str, store: StorePlace, output: str) -> None:
    """Show what an archive keeps, and how much it holds."""
    with connect(store) as connection:
        described = connection.ask("archive.describe", name=name)
    lines = [f"arn: {described['arn']}", f"pattern: {described['pattern'] or 'every event'}"]
    text = "\n".join([table([described], _ARCHIVES), "", *lines])
    show(unpacked(described), output, text=text)


@archive.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@output_option
def delete(*, name: str, yes: bool, store: StorePlace, output: str) -> None:
    """Delete an archive with its events."""
    with connect(store) as connection:
        described = connection.ask("archive.describe", name=name)
        if not yes:
            click.confirm(
                f"Delete archive {name} with its {counted(described['events'], 'event')}?", abort=True, err=True
            )
        connection.ask("archive.delete", name=name)
    show({"archive": name}, output, text=f"deleted archive {name}")


@click.group()
def replay() -> None:
    """Give events of an archive to the rules of its bus again."""


@replay.command()
@click.argument("archive")
@click.option(
    "--start", required=True, metavar="TIME", help="Events from this time on: ISO 8601, or seconds since 1970."
)
@click.option("--end", metavar="TIME", help="Events before this time; default: now.")
@click.option("--rule", "rules", multiple=True, metavar="NAME", help="Only to this rule; repeatable.")
@click.option("--rate", type=int, metavar="N", help="Most events in a second; default: as fast as they are durable.")
@click.option("--name", metavar="NAME", help="The replay's name; default: the archive's name and a random end.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Show how far it is until it ends.")
@store_option
@output_option
def start(
    *,
    archive: str,
    start: str,
    end: str | None,
    rules: tuple[str, ...],
    rate: int | None,
    name: str | None,
    wait: bool,
    store: StorePlace,
    output: str,
) -> None:
    """Replay the events of ARCHIVE; Ctrl-C stops the waiting, not the replay."""
    with connect(store) as connection:
        described = connection.ask("archive.describe", name=archive)
        settings = ReplaySettings(
            name=name or f"{archive}-{uuid4().hex[:12]}",
            bus=described["bus"],
            archive=archive,
            start_ms=round(moments.parsed("start", start) * 1000),
            end_ms=round((time.time() if end is None else moments.parsed("end", end)) * 1000),
            rules=rules or None,
            rate=rate,
        )
        status = connection.ask("replay.start", **settings.fields())
        if connection.owned:
            click.echo(f"No app runs on {store.absolute()}: the replay begins when one does.", err=True)
        elif wait:
            try:
                status = _follow(connection, status, described["events"], output)
            except KeyboardInterrupt:
                click.echo(
                    f"\nThe replay goes on: `forebay replay describe {settings.name}` shows how far it is.", err=True
                )
                raise
            except ForebayError as error:
                error.add_note(f"replay {settings.name} was accepted, and goes on when an app runs")
                raise
    took = ""
    if status["ended_ms"] is not None:
        seconds = max(status["ended_ms"] - status["started_ms"], 1) / 1000
        took = f" in {seconds:.1f} s, {status['events'] / seconds:,.0f} a second"
    text = f"replay {settings.name} {status['state']}: {counted(status['events'], 'event')}{took}"
    show(unpacked(status), output, text=text)


def _follow(connection: Any, status: dict[str, Any], most: int, output: str) -> dict[str, Any]:
    """Show a replay's progress until it ends. The archive may hold more events than are in its range."""
    hidden = output == "json" or not sys.stderr.isatty()
    with click.progressbar(length=max(most, 1), label=status["name"], file=sys.stderr, hidden=hidden) as bar:
        while status["state"] not in OVER:
            time.sleep(POLL_SECONDS)
            before, status = status["events"], connection.ask("replay.describe", name=status["name"])
            bar.update(status["events"] - before)
    return status


@replay.command("list")
@store_option
@output_option
def list_replays(*, store: StorePlace, output: str) -> None:
    """List the replays that the store remembers."""
    with connect(store) as connection:
        replays = connection.ask("replay.list")
    show(unpacked(replays), output, text=table(replays, _REPLAYS))


@replay.command("describe")
@click.argument("name")
@store_option
@output_option
def describe_replay(*, name: str, store: StorePlace, output: str) -> None:
    """Show how far a replay is."""
    with connect(store) as connection:
        described = connection.ask("replay.describe", name=name)
    rules = ", ".join(described["rules"] or ["all"])
    show(unpacked(described), output, text=f"{table([described], _REPLAYS)}\n\nrules: {rules}")


@replay.command()
@click.argument("name")
@store_option
@output_option
def cancel(*, name: str, store: StorePlace, output: str) -> None:
    """End a replay before it is complete; without a running app, it ends when one begins to run."""
    with connect(store) as connection:
        described = connection.ask("replay.cancel", name=name)
    show(unpacked(described), output, text=f"replay {name} {described['state']} after {described['events']} events")


def _moment(at_ms: int | None) -> str:
    return "-" if at_ms is None else moment(at_ms)


def _retention(kept_ms: int | None) -> str:
    if kept_ms is None:
        return "for ever"
    days, rest = divmod(kept_ms, _DAY_MS)
    if days and not rest:
        return "1 day" if days == 1 else f"{days} days"
    return f"{kept_ms / 1000:.15g} s"


_ARCHIVES = [
    ("ARCHIVE", lambda row: row["name"]),
    ("BUS", lambda row: row["bus"]),
    ("EVENTS", lambda row: row["events"]),
    ("BYTES", lambda row: row["bytes"]),
    ("KEPT", lambda row: _retention(row["retention_ms"])),
]
_REPLAYS = [
    ("REPLAY", lambda row: row["name"]),
    ("ARCHIVE", lambda row: row["archive"]),
    ("STATE", lambda row: row["state"]),
    ("EVENTS", lambda row: row["events"]),
    ("STARTED", lambda row: _moment(row["started_ms"])),
    ("ENDED", lambda row: _moment(row["ended_ms"])),
    ("LAST EVENT", lambda row: _moment(row["last_event_ms"])),
]
