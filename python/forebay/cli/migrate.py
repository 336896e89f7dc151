"""`forebay migrate`: an app's store, from a directory to a PostgreSQL server or back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from forebay._core import look_at_server, migrate_store, unmark_store
from forebay._model.plural import counted
from forebay._stacks.store import FILE as STACKS
from forebay._wire import payload
from forebay.cli.connect import warn_of_promises
from forebay.cli.store_place import ServerStore, as_text, read

if TYPE_CHECKING:
    from forebay.cli.store_place import StorePlace

_SAYS_SECONDS: Final = 2.0
_STOPPED: Final = 1


@click.command()
@click.argument("source", metavar="FROM", type=read)
@click.argument("target", metavar="TO", type=read, required=False)
@click.option("--app", metavar="NAME", help="Whose store is copied, where a server has several.")
@click.option("--unmark", is_flag=True, help="Copy nothing: let an app open FROM again, which was copied before.")
@click.pass_context
def migrate(
    ctx: click.Context, source: StorePlace, target: StorePlace | None, app: str | None, *, unmark: bool
) -> None:
    """Copy the store FROM into the store TO: from a directory to the URL of a PostgreSQL server, or back.

    The app must not run. TO must be empty. All that the store keeps is copied and compared: records, messages, events, progress,
    failures, executions. A copy that was stopped goes on where it was when the same command is run again. Until it has ended, no
    app opens TO. FROM keeps what it has, and is marked then: no app opens it any more, since it would handle everything once more
    that TO handles, too. --unmark takes the mark back.
    """
    if unmark != (target is None):
        raise click.UsageError("name FROM and TO, or --unmark and the store that was copied")
    _check(source, target, app)
    if target is None:
        _unmark(source, app)
        return
    says_at = time.monotonic() + _SAYS_SECONDS

    def progress(records: int, rows: int) -> None:
        nonlocal says_at
        if time.monotonic() > says_at:
            says_at = time.monotonic() + _SAYS_SECONDS
            click.echo(f"{_amount(records, rows)} so far", err=True)

    try:
        copied = migrate_store(as_text(source), as_text(target), app, progress)
    except KeyboardInterrupt:
        copied = None
    if copied is None:
        click.echo("stopped: run the same command again, which goes on where this one was", err=True)
        ctx.exit(_STOPPED)
    name, records, rows, *before = copied
    earlier = f" ({_amount(*before)} of them by earlier runs of this command)" if any(before) else ""
    click.echo(
        f"the store of app {name!r} is in {target}: {_amount(records + before[0], rows + before[1])} were copied{earlier}, and "
        f"all was compared. Start the app on it. {source} is marked, so that no app opens it any more"
    )


def _unmark(store: StorePlace, app: str | None) -> None:
    place = unmark_store(as_text(store), app)
    if place is None:
        click.echo(f"{store} has no mark of a migration: an app may open it")
    else:
        click.echo(f"an app may open {store} again, which was migrated to {place}: never run both")


def _amount(records: int, rows: int) -> str:
    return f"{counted(records, 'record')} and {counted(rows, 'row')}"


def _check(source: StorePlace, target: StorePlace | None, app: str | None) -> None:
    """Refuse what would copy nothing, or leave something behind."""
    if target is not None and not isinstance(source, ServerStore) and not isinstance(target, ServerStore):
        raise click.UsageError("both are directories: `forebay backup` copies a directory")
    if target is not None and not isinstance(source, ServerStore) and (source / STACKS).exists():
        raise click.UsageError(
            f"{source} has stacks (`forebay deploy`), which a server does not keep: delete them first (`forebay stack delete`)"
        )
    if isinstance(source, ServerStore):
        if source == target:
            raise click.UsageError("FROM and TO are the same store")
        # Opening a store makes it where it is missing, and what is copied from it would be nothing.
        seen = payload.loads(look_at_server(source.url, app))
        if seen["store"] is None:
            whose = "" if app is None else f" of app {app!r}"
            raise click.ClickException(
                f"there is no store{whose} in {source}: look at the app's name (--app), the database and ?schema="
            )
        warn_of_promises(seen["refused"])
    elif app is not None:
        raise click.UsageError(
            "--app is for a server with several stores: a directory has one, and says itself whose it is"
        )
