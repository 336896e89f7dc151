"""`forebay cluster`: the processes that share a store on a server, and which of them owns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from forebay._core import look_at_server
from forebay._model.plural import counted
from forebay._wire import payload
from forebay.cli.connect import store_option
from forebay.cli.show import output_option, show, table
from forebay.cli.store_place import ServerStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay.cli.store_place import StorePlace

_NOT_WELL = 1
_DEAD_MS = 5_000


@click.group()
def cluster() -> None:
    """Show the processes that share a store on a PostgreSQL server. They are seen there, so no owner must answer."""


@cluster.command()
@store_option
@output_option
@click.pass_context
def status(ctx: click.Context, store: StorePlace, output: str) -> None:
    """Show who owns the store, and how many others could take it over.

    The exit status is 1 when nobody owns the store, or its owner is silent.
    """
    seen = _look(store)
    held = seen["store"]
    standing_by = [one for one in held["members"] if not one["owns"] and one["silent_ms"] < _DEAD_MS]
    lines = [
        f"app {seen['app']} on {seen['place']}",
        owner_text(held),
        f"{counted(len(standing_by), 'process', 'processes')} could take it over",
    ]
    show(seen, output, text="\n".join(lines))
    if held["owner_silent_ms"] is None or held["owner_silent_ms"] >= _DEAD_MS:
        ctx.exit(_NOT_WELL)


@cluster.command()
@store_option
@output_option
def members(store: StorePlace, output: str) -> None:
    """List the processes that share the store. One that was killed stays in the list for an hour."""
    found = _look(store)["store"]["members"]
    columns: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
        ("PROCESS", lambda member: member["process"]),
        ("ROLE", _role),
        ("LAST BEAT", lambda member: f"{member['silent_ms'] / 1000:.1f} s ago"),
        ("VERSION", lambda member: member["version"]),
    ]
    show(found, output, text=table(found, columns))


@cluster.command()
@store_option
@output_option
def units(store: StorePlace, output: str) -> None:
    """List what has one owner at a time. At present that is the whole store, the unit "all"."""
    held = _look(store)["store"]
    listed = [
        {"unit": "all", **{name: held[name] for name in ("owner", "owner_process", "epoch", "commits", "deaths")}}
    ]
    columns: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
        ("UNIT", lambda unit: unit["unit"]),
        ("OWNER", lambda unit: unit["owner_process"] or "-"),
        ("EPOCH", lambda unit: unit["epoch"]),
        ("COMMITS", lambda unit: unit["commits"]),
        ("DEATHS", lambda unit: unit["deaths"]),
    ]
    show(listed, output, text=table(listed, columns))


def owner_text(held: dict[str, Any]) -> str:
    """Say who owns a store."""
    if held["owner"] is None:
        return f"nobody owns it (epoch {held['epoch']})"
    silent = held["owner_silent_ms"]
    beat = (
        "it has left without giving the store up" if silent is None else f"its last beat was {silent / 1000:.1f} s ago"
    )
    deaths = f"; {counted(held['deaths'], 'owner')} died before it in a row" if held["deaths"] else ""
    return f"owned by {held['owner_process']} (epoch {held['epoch']}); {beat}{deaths}"


def _role(member: dict[str, Any]) -> str:
    if member["owns"]:
        return "owner"
    return "stands by" if member["silent_ms"] < _DEAD_MS else "silent"


def _look(store: StorePlace) -> dict[str, Any]:
    if not isinstance(store, ServerStore):
        raise click.UsageError(
            f"{store} is a directory, which one process owns; --store takes the URL of a store that several share: "
            "postgresql://user@host/database"
        )
    seen: dict[str, Any] = payload.loads(look_at_server(store.url))
    if seen["store"] is None:
        raise click.ClickException(f"there is no store in {store}: the first start of the app makes it")
    return seen
