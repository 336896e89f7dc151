"""`forebay api`: look at the APIs that a running app serves, and at their routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from forebay.cli.connect import connect, store_option
from forebay.cli.show import output_option, show, table

if TYPE_CHECKING:
    from pathlib import Path


@click.group()
def api() -> None:
    """Look at APIs and their routes."""


@api.command("list")
@store_option
@output_option
def list_(store: Path, output: str) -> None:
    """List the APIs of the running app, and the URLs of its functions."""
    with connect(store) as connection:
        connection.need_app()
        apis = connection.ask("api.list")
    show(apis, output, text=table(apis, _COLUMNS))


@api.command()
@click.argument("name")
@store_option
@output_option
def routes(name: str, store: Path, output: str) -> None:
    """Show the routes of an API: where each goes, and who is let in."""
    with connect(store) as connection:
        connection.need_app()
        described = connection.ask("api.describe", name=name)
    show(described, output, text=table(described["routes"], _ROUTES))


def _target(target: dict[str, str]) -> str:
    [(kind, value)] = target.items()
    return f"function {value}" if kind == "function" else value


_COLUMNS = [
    ("API", lambda api: api["name"]),
    ("KIND", lambda api: api["kind"]),
    ("ID", lambda api: api["id"]),
    ("PATH", lambda api: f"/_apis/{api['name']}/"),
    ("STAGES", lambda api: api["stages"]),
    ("ROUTES", lambda api: len(api["routes"])),
]
_ROUTES = [
    ("ROUTE", lambda route: route["key"]),
    ("TARGET", lambda route: _target(route["target"])),
    ("AUTHORIZER", lambda route: route["authorizer"]),
    ("TIMEOUT MS", lambda route: route["timeout_ms"]),
]
