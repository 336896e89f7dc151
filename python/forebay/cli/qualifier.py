"""How commands name a version or an alias of a function."""

from __future__ import annotations

import click

from forebay._model import names

qualifier_option = click.option("--qualifier", help="The number of a published version, or an alias.")


def qualified(name: str, qualifier: str | None) -> str:
    """Give the name by which the engine knows a function, or a version or alias of it."""
    return name if qualifier is None else f"{name}:{names.qualifier(qualifier)}"
