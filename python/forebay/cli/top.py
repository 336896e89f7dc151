"""`forebay top`: a running app at a glance, again every second."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import click

from forebay.cli.connect import store_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option(
    "--interval", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds between two looks."
)
@store_option
def top(interval: float, store: Path) -> None:
    """Watch lag, lanes, rates, percentiles and dead letters of the app that runs on a store.

    q ends it, p holds the picture.
    """
    if importlib.util.find_spec("textual") is None:
        raise click.ClickException("`forebay top` needs the extra `top`: pip install 'forebay[top]'")
    from forebay.cli.screen import Screen  # noqa: PLC0415  an extra, and slow to load

    Screen(store, interval).run()
