"""`forebay cluster`: the processes that share a store on a server, and which of them owns it."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import click

from forebay._core import drain_on_server, look_at_server, move_on_server
from forebay._model.plural import counted
from forebay._wire import payload
from forebay.cli.connect import connect, store_option
from forebay.cli.show import output_option, show, table
from forebay.cli.store_place import ServerStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay.cli.store_place import StorePlace

_NOT_WELL = 1
_DEAD_MS = 5_000
_LOOK_SECONDS = 0.2
_REACHED_SECONDS = 3.0
_STAYS_SECONDS = 5.0
"""A process that takes the store and cannot open it has given it back by then."""
_SCHEMAS_LISTED = 10


@click.group()
def cluster() -> None:
    """Show the processes that share a store on a PostgreSQL server, and choose its owner.

    They are seen on the server, so no owner must answer. PROCESS is the number of a process, HOST/NUMBER, or HOST where one
    process alone is.
    """


@cluster.command()
@store_option
@output_option
@click.pass_context
def status(ctx: click.Context, store: StorePlace, output: str) -> None:
    """Show who owns the store, and how many others could take it over.

    The exit status is 1 when nobody owns the store, when its owner is silent, or when the owner is on another machine and cannot
    be reached from here.
    """
    seen = _look(store)
    held = seen["store"]
    held["owner_unreached"] = unreached = unreached_text(held)
    standing_by = [one for one in held["members"] if _role(one) == "stands by"]
    lines = [
        f"app {seen['app']} on {seen['place']}",
        owner_text(held),
        *(
            []
            if unreached is None
            else [f"{unreached}. A process that does not reach it runs no handlers, and puts nothing"]
        ),
        f"{counted(len(standing_by), 'process', 'processes')} could take it over",
        _format_text(held),
        *migration_text(held),
        *others_text(held),
    ]
    del seen["refused"]  # what the server promises is asked of `forebay doctor`
    held["members"] = _with_roles(held["members"])
    show(seen, output, text="\n".join(lines))
    if not _has_living_owner(held):
        ctx.exit(_NOT_WELL)
    if unreached is not None and _host(held["owner"]) != socket.gethostname():
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
        ("LISTENS AT", lambda member: member["address"] or "-"),
        ("LAST BEAT", lambda member: f"{member['silent_ms'] / 1000:.1f} s ago"),
        ("VERSION", lambda member: member["version"]),
    ]
    show(_with_roles(found), output, text=table(found, columns))


@cluster.command()
@store_option
@output_option
def handlers(store: StorePlace, output: str) -> None:
    """List the processes that run handlers, and how many attempts each runs now. The owner is asked."""
    held = _look(store)["store"]
    named = {None: held["owner_process"], **{one["name"]: one["process"] for one in held["members"]}}
    with connect(store) as connection:
        connection.need_app()
        found = connection.ask("process.list")
    listed = [
        {"process": named.get(one["member"], one["member"]), "owns": one["member"] is None, **one} for one in found
    ]
    columns: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
        ("PROCESS", lambda one: one["process"] or "-"),
        ("ROLE", lambda one: "owner" if one["owns"] else "client"),
        ("RUNNING", lambda one: one["running"]),
    ]
    show(listed, output, text=table(listed, columns))


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


process_argument = click.argument("process", metavar="PROCESS")
timeout_option = click.option(
    "--timeout", type=click.FloatRange(0), default=60.0, show_default=True, help="Seconds to wait for another owner."
)


@cluster.command()
@process_argument
@store_option
@timeout_option
def move(process: str, store: StorePlace, timeout: float) -> None:
    """Have PROCESS own the store.

    The owner begins nothing more, lets what runs end within 10 s, interrupts the rest, and gives the store up. A thread that goes
    on is not waited for: its record runs again, and what it returns is not written.
    """
    url, held = _server(store).url, _look(store)["store"]
    member = _member(held, process)
    if member["owns"]:
        click.echo(f"{member['process']} owns it already")
        return
    if _role(member) == "cannot own it now":
        raise click.ClickException(
            f"{member['process']} cannot own the store now: its log says why. Next: name another one"
        )
    if not move_on_server(url, member["name"]):
        raise click.ClickException(_why_not(store, member, process))
    _wait_for_owner(store, lambda one: bool(one["name"] == member["name"]), timeout, others=False)


@cluster.command()
@process_argument
@click.option("--undo", is_flag=True, help="Let it own the store again.")
@store_option
@timeout_option
def drain(process: str, store: StorePlace, timeout: float, *, undo: bool) -> None:
    """Have PROCESS own nothing until it ends, before its machine is shut down.

    Where it owns the store, another process takes it, as by `move`. It stays a client of the owner.
    """
    url, held = _server(store).url, _look(store)["store"]
    member = _member(held, process)
    if undo:
        if not drain_on_server(url, member["name"], False):
            raise click.ClickException(f"{member['process']} has just ended")
        click.echo(f"{member['process']} may own the store again")
        return
    others = [one for one in held["members"] if one["name"] != member["name"]]
    if member["owns"] and not any(_role(one) == "stands by" for one in others):
        raise click.ClickException(f"no other process could take the store from {member['process']}: start one first")
    if not drain_on_server(url, member["name"], True):
        raise click.ClickException(f"{member['process']} has just ended")
    click.echo(f"{member['process']} owns nothing from now on")
    if member["owns"]:
        _wait_for_owner(store, lambda one: bool(one["name"] != member["name"]), timeout, others=True)


def _member(held: dict[str, Any], process: str) -> dict[str, Any]:
    """Find a process that lives."""
    living = [member for member in held["members"] if member["silent_ms"] < _DEAD_MS]
    found = [one for one in living if process in _names(one)]
    if len(found) == 1:
        return dict(found[0])
    if found:
        several = ", ".join("/".join(one["name"].split("/")[:2]) for one in found)
        raise click.UsageError(f"there are several processes {process}: name one of {several}")
    raise click.ClickException(f"no living process {process!r} shares the store: `forebay cluster members` lists them")


def _names(member: dict[str, Any]) -> set[str]:
    """Give what a process may be called."""
    host, number = member["name"].split("/")[:2]
    return {number, f"{host}/{number}", host}


def _why_not(store: StorePlace, member: dict[str, Any], process: str) -> str:
    """Say why a process cannot be the one that is to own the store."""
    now = next((one for one in _look(store)["store"]["members"] if one["name"] == member["name"]), None)
    if now is None:
        return f"{member['process']} has just ended"
    if now["drained"]:
        return f"{member['process']} is drained: forebay cluster drain {process} --undo"
    return (
        f"{member['process']} runs release {now['version']}, which does not understand the store's format: restart it with the "
        "release that the others have"
    )


def _wait_for_owner(
    store: StorePlace, is_it: Callable[[dict[str, Any]], bool], timeout: float, *, others: bool
) -> None:
    """Wait until a process owns the store and keeps it; `others`: whichever it is of several."""
    gives_up_at = time.monotonic() + timeout
    owner: dict[str, Any] | None = None
    stays_at = 0.0
    while True:
        held = _look(store)["store"]
        now = next((member for member in held["members"] if member["owns"] and is_it(member)), None)
        is_same = now is not None and owner is not None and now["name"] == owner["name"]
        if owner is not None and not is_same and not others:
            raise click.ClickException(
                f"{owner['process']} took the store, and does not own it any more: its log says why. Now this holds: "
                f"{owner_text(held)}. Next: run this again in 30 s, or name another process"
            )
        if not is_same:
            owner, stays_at = now, time.monotonic() + _STAYS_SECONDS
        elif time.monotonic() > stays_at:
            click.echo(owner_text(held))
            return
        if time.monotonic() > gives_up_at + (_STAYS_SECONDS if owner is not None else 0):
            raise click.ClickException(f"that is asked for, and not done after {timeout:g} s: {owner_text(held)}")
        time.sleep(_LOOK_SECONDS)


def owner_text(held: dict[str, Any]) -> str:
    """Say who owns a store."""
    if held["owner"] is None:
        return f"nobody owns it (epoch {held['epoch']})"
    silent = held["owner_silent_ms"]
    beat = (
        "it has left without giving the store up" if silent is None else f"its last beat was {silent / 1000:.1f} s ago"
    )
    deaths = (
        f"; {counted(held['deaths'], 'owner')} before it did not give the store up (killed, stopped or cut off)"
        if held["deaths"]
        else ""
    )
    return f"owned by {held['owner_process']} (epoch {held['epoch']}); {beat}{deaths}"


def _format_text(held: dict[str, Any]) -> str:
    """Say which format a store has, and who keeps it from a newer one."""
    living = [member for member in held["members"] if member["silent_ms"] < _DEAD_MS]
    newest = max((member["format"] for member in living), default=held["format"])
    if newest <= held["format"]:
        return f"its format is {held['format']}"
    behind = [member["process"] for member in living if member["format"] < newest]
    if not behind:
        return f"its format is {held['format']}, and becomes {newest} within minutes"
    return f"its format is {held['format']}, and becomes {newest} when these have the new release: {', '.join(behind)}"


def unreached_text(held: dict[str, Any]) -> str | None:
    """Say why the owner, which lives, cannot be reached from here over the network. Whether it is asked so is another matter."""
    if not _has_living_owner(held):
        return None
    address = next((member["address"] for member in held["members"] if member["owns"]), None)
    if address is None:
        others = {_host(one["name"]) for one in held["members"] if not one["owns"] and one["silent_ms"] < _DEAD_MS}
        if others | {socket.gethostname()} == {_host(held["owner"])}:
            return None
        return "it lets no process of another machine in at present (FOREBAY_CLUSTER_ADDRESS)"
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACHED_SECONDS).close()
    except (OSError, ValueError) as error:  # a name may be none of a host
        why = getattr(error, "strerror", None) or str(error)
        return (
            f"it is not reached from here at {address} ({why}). If it has just died, another process owns the store within "
            "7 s; else FOREBAY_CLUSTER_ADDRESS gives it another address"
        )
    return None


def _has_living_owner(held: dict[str, Any]) -> bool:
    silent = held["owner_silent_ms"]
    return silent is not None and silent < _DEAD_MS


def _host(process: str) -> str:
    return process.partition("/")[0]


def others_text(held: dict[str, Any]) -> list[str]:
    """Say where the database has other stores."""
    others, more = held["other_schemas"][:_SCHEMAS_LISTED], len(held["other_schemas"]) - _SCHEMAS_LISTED
    if not others:
        return []
    named = ", ".join(others) + (f" and {more} more" if more > 0 else "")
    return [f"its database has other stores, in the schemas {named} (?schema=NAME in the URL)"]


def migration_text(held: dict[str, Any]) -> list[str]:
    """Say what a migration has left: then no app opens the store."""
    if held["half_copied"]:
        return ["a migration into it has not ended: run the same `forebay migrate` again. Until then no app opens it"]
    return moved_text(held)


def moved_text(held: dict[str, Any]) -> list[str]:
    """Say where a migration has copied a store to: then no app opens it either."""
    if held["moved_to"] is None:
        return []
    return [f"it was migrated to {held['moved_to']}: no app opens it (`forebay migrate --unmark` takes that back)"]


def _with_roles(members: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add each member's role, as the text says it."""
    return [{"process": member["process"], "role": _role(member), **member} for member in members]


def _role(member: dict[str, Any]) -> str:
    if member["owns"]:
        return "owner"
    if member["drained"]:
        return "drained"
    if member["outdated"]:
        return "too old to own it"
    if member["declined"] and member["silent_ms"] < _DEAD_MS:
        return "cannot own it now"
    return "stands by" if member["silent_ms"] < _DEAD_MS else "silent"


def _server(store: StorePlace) -> ServerStore:
    if not isinstance(store, ServerStore):
        raise click.UsageError(
            f"{store} is a directory, which one process owns (`forebay doctor` looks at it); --store takes the URL of a store "
            "that several share: postgresql://user@host/database"
        )
    return store


def _look(store: StorePlace) -> dict[str, Any]:
    seen: dict[str, Any] = payload.loads(look_at_server(_server(store).url))
    if seen["store"] is None:
        raise click.ClickException(f"there is no store in {store}: the first start of the app makes it")
    return seen
