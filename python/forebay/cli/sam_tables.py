"""Tables as AWS's SAM command prints them: equal columns over the terminal's width, text wrapped inside, colours by status."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH_MIN: Final = 100
_MARGIN: Final = 2
_RULE: Final = "-"
_ACTIONS: Final = {"Add": ("+ Add", "green"), "Modify": ("* Modify", "yellow"), "Remove": ("- Delete", "red")}


class Table:
    """A table whose rows are printed as they come."""

    def __init__(self, title: str, columns: Sequence[str]) -> None:
        """Print the title and the heading."""
        width = max(WIDTH_MIN, shutil.get_terminal_size((WIDTH_MIN, 24)).columns)
        self._column = width // len(columns)
        self._rule = _RULE * (self._column * len(columns))
        click.secho(f"\n{title}")
        click.secho(self._rule)
        self._print(columns, "yellow")
        click.secho(self._rule)

    def row(self, cells: Sequence[str], colour: str | None = None) -> None:
        """Print a row."""
        self._print(cells, colour)

    def end(self) -> None:
        """Print the last line."""
        click.secho(f"{self._rule}\n")

    def _print(self, cells: Sequence[str], colour: str | None) -> None:
        room = self._column - _MARGIN
        wrapped = [textwrap.wrap(cell, room) or [""] for cell in cells]
        for at in range(max(map(len, wrapped))):
            line = "".join((lines[at] if at < len(lines) else "").ljust(self._column) for lines in wrapped)
            click.secho(line.rstrip(), fg=colour)


def changes(rows: Iterable[dict[str, Any]]) -> None:
    """Print what a deploy would do."""
    table = Table("CloudFormation stack changeset", ["Operation", "LogicalResourceId", "ResourceType", "Replacement"])
    empty = True
    for row in rows:
        empty = False
        text, colour = _ACTIONS[row["action"]]
        replacement = "N/A" if row["replacement"] is None else str(row["replacement"])
        table.row([text, row["logical"], row["type"], replacement], colour)
    if empty:
        table.row([_RULE, _RULE, _RULE, _RULE])
    table.end()


def events_table() -> Table:
    """Begin the table of a deploy's events."""
    title = "CloudFormation events from stack operations"
    return Table(title, ["ResourceStatus", "ResourceType", "LogicalResourceId", "ResourceStatusReason"])


def event_row(table: Table, event: dict[str, Any]) -> None:
    """Print an event."""
    table.row(
        [event["status"], event["type"], event["logical"], event["reason"] or _RULE], status_colour(event["status"])
    )


def status_colour(status: str) -> str:
    """Give the colour of a status."""
    if "FAILED" in status or "ROLLBACK" in status:
        return "red"
    if status.endswith("IN_PROGRESS"):
        return "yellow"
    return "red" if status.startswith("DELETE") else "green"


def outputs(rows: Sequence[dict[str, Any]], stack: str) -> None:
    """Print a stack's outputs."""
    if not rows:
        return
    width = max(WIDTH_MIN, shutil.get_terminal_size((WIDTH_MIN, 24)).columns)
    click.secho(f"\nCloudFormation outputs from deployed stack {stack}")
    click.secho(_RULE * width)
    click.secho("Outputs", fg="yellow")
    click.secho(_RULE * width)
    for row in rows:
        for heading, value in (
            ("Key", row["key"]),
            ("Description", row["description"] or _RULE),
            ("Value", row["value"]),
            *([("Served at", row["served_at"])] if row["served_at"] is not None else []),
        ):
            click.secho(f"{heading:<20}{value}", fg="green")
        click.echo()
    click.secho(_RULE * width)
