"""`forebay migrate`: an app's store, from a directory to a PostgreSQL server or back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from forebay._core import look_at_server, migrate_store
from forebay._model.plural import counted
from forebay._stacks.store import FILE as STACKS
from forebay._wire import payload
from forebay.cli.store_place import ServerStore, as_text, read

if TYPE_CHECKING:
    from forebay.cli.store_place import StorePlace

_SAYS_SECONDS: Final = 2.0
_STOPPED: Final = 1


@click.command()
@click.argument("source", metavar="FROM", type=read)
@click.argument("target", metavar="TO", type=read)
@click.option("--app", metavar="NAME", help="Whose store is copied, where a server has several.")
@click.pass_context
def migrate(ctx: click.Context, source: StorePlace, target: StorePlace, app: str | None) -> None:
    """Copy the store FROM into the store TO: from a directory to the URL of a PostgreSQL server, or back.

    The app must not run. TO must be empty. All that the store keeps is copied and compared: records, messages, events, progress,
    failures, executions. A copy that was stopped goes on where it was when the same command is run again. Until it has ended, no
    app opens TO. FROM stays as it is: never start the app on it again.
    """
    _check(source, target, app)
    says_at = time.monotonic() + _SAYS_SECONDS

    def progress(records: int, rows: int) -> None:
        nonlocal says_at
        if time.monotonic() > says_at:
            says_at = time.monotonic() + _SAYS_SECONDS
            click.echo(f"{counted(records, 'record')} and {counted(rows, 'row')} so far", err=True)

    try:
        copied = migrate_store(as_text(source), as_text(target), app, progress)
    except KeyboardInterrupt:
        copied = None
    if copied is None:
        click.echo("stopped: run the same command again, which goes on where this one was", err=True)
        ctx.exit(_STOPPED)
    name, records, rows = copied
    click.echo(
        f"the store of app {name!r} is in {target}: {counted(records, 'record')} and {counted(rows, 'row')} were copied, and all "
        f"was compared. Start the app on it, and never again on {source}"
    )


def _check(source: StorePlace, target: StorePlace, app: str | None) -> None:
    """Refuse what would copy nothing, or leave something behind."""
    if not isinstance(source, ServerStore) and not isinstance(target, ServerStore):
        raise click.UsageError("both are directories: `forebay backup` copies a directory")
    if not isinstance(source, ServerStore) and (source / STACKS).exists():
        raise click.UsageError(
            f"{source} has stacks (`forebay deploy`), which a server does not keep: delete them first (`forebay stack delete`)"
        )
    if isinstance(source, ServerStore):
        if source == target:
            raise click.UsageError("FROM and TO are the same store")
        # Opening a store makes it where it is missing, and what is copied from it would be nothing.
        if payload.loads(look_at_server(source.url, app))["store"] is None:
            whose = "" if app is None else f" of app {app!r}"
            raise click.ClickException(
                f"there is no store{whose} in {source}: look at the app's name (--app), the database and ?schema="
            )
    elif app is not None:
        raise click.UsageError(
            "--app is for a server with several stores: a directory has one, and says itself whose it is"
        )
