"""`forebay function`: look at functions, and change what they are limited to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import orjson

from forebay.cli.reach import reach, store_option
from forebay.cli.show import output_option, show, table
from forebay.errors import InvalidParameterValue
from forebay.model import checks
from forebay.wire import limits as wire

if TYPE_CHECKING:
    from pathlib import Path


@click.group()
def function() -> None:
    """Look at functions, and change what they are limited to."""


@function.command("list")
@store_option
@output_option
def list_(store: Path, output: str) -> None:
    """List the functions of the app that runs, their limits and what they are doing; below, what of the app is in use."""
    with reach(store) as reached:
        functions = reached.ask("functions.list")
        account = reached.ask("account.describe")
    used = f"{account['in_use']:,} of {account['concurrency']:,} places in use, {account['claimed']:,} claimed"
    show(functions, output, text=f"{table(functions, _COLUMNS)}\n\n{used}")


@function.command()
@click.argument("name")
@click.argument("limits", nargs=-1, required=True, metavar="LIMIT=VALUE...")
@store_option
@output_option
def update(name: str, limits: tuple[str, ...], store: Path, output: str) -> None:
    """Change limits while the function runs.

    LIMIT is reserved_concurrency, provisioned_concurrency or rate_limit, VALUE a number, or null to take the limit away. What the
    app declares applies again when it starts next.
    """
    changes = dict(_limit(text) for text in limits)
    with reach(store) as reached:
        described = reached.ask("function.update", name=name, **changes)
    show(described, output, text=table([described], _COLUMNS))


def _limit(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidParameterValue(f"{text!r}: give LIMIT=VALUE; the limits are {', '.join(wire.FUNCTION)}")
    checks.known_names([name], wire.FUNCTION)
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        raise InvalidParameterValue(f"{name}={value}: the value must be a number or null") from None


_COLUMNS = [
    ("FUNCTION", lambda function: function["name"]),
    ("ISOLATION", lambda function: function["isolation"]),
    ("RUNNING", lambda function: function["in_flight"]),
    ("RESERVED", lambda function: function["reserved_concurrency"]),
    ("PROVISIONED", lambda function: f"{function['provisioned_ready']}/{function['provisioned_concurrency']}"),
    ("RATE LIMIT", lambda function: function["rate_limit"]),
    ("TIMEOUT MS", lambda function: function["timeout_ms"]),
]
