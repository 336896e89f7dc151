"""`forebay schedule`: look at schedules, fire one now, delete one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from forebay.cli.bus import target
from forebay.cli.connect import connect, store_option
from forebay.cli.show import output_option, show, table, unpacked

if TYPE_CHECKING:
    from forebay.cli.connect import StoreConnection
    from forebay.cli.store_place import StorePlace


@click.group()
def schedule() -> None:
    """Look at schedules, fire one now, delete one."""


@schedule.command("list")
@store_option
@output_option
def list_(store: StorePlace, output: str) -> None:
    """List the schedules of a store."""
    with connect(store) as connection:
        schedules = _all(connection)
    show(unpacked(schedules), output, text=table(schedules, _SCHEDULES))


@schedule.command()
@click.argument("name")
@store_option
@output_option
def describe(*, name: str, store: StorePlace, output: str) -> None:
    """Show a schedule and its next due times."""
    with connect(store) as connection:
        described = connection.ask("schedule.describe", name=name)
    lines = [
        f"expression: {described['expression']} ({described['timezone']})",
        f"target: {target(described)}",
        f"missed: {described['missed']}",
        *([f"due: {_moment(at)}" for at in described["upcoming_ms"]] or ["due: never"]),
    ]
    show(unpacked(described), output, text="\n".join(lines))


@schedule.command("run-now")
@click.argument("name")
@store_option
@output_option
def run_now(*, name: str, store: StorePlace, output: str) -> None:
    """Give the target of a schedule its event now, beside its due times."""
    with connect(store) as connection:
        connection.ask("schedule.run", name=name)
    show({"schedule": name}, output, text=f"fired schedule {name}")


@schedule.command()
@click.argument("name")
@store_option
@output_option
def delete(*, name: str, store: StorePlace, output: str) -> None:
    """Delete a schedule; a program that still declares it makes it again when it starts."""
    with connect(store) as connection:
        connection.ask("schedule.delete", name=name)
    show({"schedule": name}, output, text=f"deleted schedule {name}")


def _all(connection: StoreConnection) -> list[dict[str, Any]]:
    """Ask for page after page."""
    schedules: list[dict[str, Any]] = []
    while page := connection.ask("schedule.list", after=schedules[-1]["name"] if schedules else None):
        # An owner of an earlier release knows no pages, and tells all each time.
        if schedules and page[0]["name"] <= schedules[-1]["name"]:
            break
        schedules += page
    return schedules


def _moment(at_ms: int | None) -> str:
    return "-" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")


_SCHEDULES = [
    ("SCHEDULE", lambda row: row["name"]),
    ("EXPRESSION", lambda row: row["expression"]),
    ("ZONE", lambda row: row["timezone"]),
    ("STATE", lambda row: "ENABLED" if row["enabled"] else "DISABLED"),
    ("NEXT", lambda row: _moment(row["next_due_ms"])),
    ("TARGET", target),
]
