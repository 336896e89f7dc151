"""`forebay top`: a running app at a glance, again every second."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

import click

from forebay.cli.connect import store_option
from forebay.cli.snapshot import take_snapshot

if TYPE_CHECKING:
    from forebay.cli.store_place import StorePlace


@click.command()
@click.option(
    "--interval", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds between updates."
)
@store_option
def top(interval: float, store: StorePlace) -> None:
    """Watch what waits, lanes, rates, percentiles, processes and dead letters of the app that runs on a store.

    Press q to end, p to pause. If standard output is not a terminal, one look is printed as plain text.
    """
    if not sys.stdout.isatty():
        click.echo(take_snapshot(store).text())
        return
    if importlib.util.find_spec("textual") is None:
        raise click.ClickException("`forebay top` needs the extra `top`: pip install 'forebay[top]'")
    from forebay.cli.screen import Screen  # noqa: PLC0415  an extra, and slow to load

    take_snapshot(store)  # where no app runs, that is told before the screen is drawn
    screen = Screen(store, interval)
    screen.run()
    if screen.return_code:
        sys.exit(screen.return_code)
