"""`forebay function`: look at functions, change what they are limited to, and where their aliases point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from forebay._model import checks
from forebay._wire import limits as wire
from forebay._wire import payload
from forebay.cli.arn import named
from forebay.cli.connect import connect, store_option
from forebay.cli.qualifier import qualified, qualifier_option
from forebay.cli.show import output_option, show, table
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from forebay.cli.store_place import StorePlace


@click.group()
def function() -> None:
    """Look at functions, change their limits and their aliases."""


@function.command("list")
@store_option
@output_option
def list_(store: StorePlace, output: str) -> None:
    """List the functions of the running app with their limits and work, and the permits in use."""
    with connect(store) as connection:
        functions = connection.ask("functions.list")
        account = connection.ask("account.describe")
    used = f"{account['in_use']:,} of {account['concurrency']:,} places in use, {account['claimed']:,} claimed"
    show(functions, output, text=f"{table(functions, _COLUMNS)}\n\n{used}")


@function.command()
@click.argument("name", callback=named("function"))
@qualifier_option
@store_option
@output_option
def describe(name: str, qualifier: str | None, store: StorePlace, output: str) -> None:
    """Show limits and work of a function, its versions and aliases; or of one of them."""
    with connect(store) as connection:
        described = connection.ask("function.describe", name=qualified(name, qualifier))
    show(described, output, text=_described(described))


@function.command()
@click.argument("name", callback=named("function"))
@click.argument("limits", nargs=-1, required=True, metavar="LIMIT=VALUE...")
@qualifier_option
@store_option
@output_option
def update(name: str, limits: tuple[str, ...], qualifier: str | None, store: StorePlace, output: str) -> None:
    """Change limits while the function runs.

    LIMIT is reserved_concurrency, provisioned_concurrency or rate_limit, VALUE a number, or null to take the limit away; a
    version has provisioned_concurrency alone. What the app declares applies again when it starts next.
    """
    changes = dict(_limit(text) for text in limits)
    with connect(store) as connection:
        described = connection.ask("function.update", name=qualified(name, qualifier), **changes)
    show(described, output, text=_described(described))


@function.command()
@click.argument("name", callback=named("function"))
@click.argument("alias")
@click.option("--version", help="The version it points to.")
@click.option(
    "--weight", metavar="VERSION=SHARE", help="A second version and its share of the invocations, 0.0 to 1.0."
)
@click.option("--whole", is_flag=True, help="Remove the second version: the first gets all invocations.")
@click.option("--provisioned-concurrency", type=int, help="Permits that are always ready, divided by weight.")
@store_option
@output_option
def alias(
    *,
    name: str,
    alias: str,
    version: str | None,
    weight: str | None,
    whole: bool,
    provisioned_concurrency: int | None,
    store: StorePlace,
    output: str,
) -> None:
    """Point an alias to another version while the function runs.

    Options that you leave out stay as they are. The app's declaration applies again at its next start.
    """
    if whole and weight is not None:
        raise InvalidParameterValue("give --weight or --whole, not both")
    weights = {} if whole else _weights(weight)
    asked = {"version": version, "weights": weights, "provisioned_concurrency": provisioned_concurrency}
    changes = {setting: value for setting, value in asked.items() if value is not None}
    with connect(store) as connection:
        described = connection.ask("alias.update", function=name, name=alias, **changes)
    show(described, output, text=table([described], _ALIASES))


def _weights(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    version, _, share = text.partition("=")
    try:
        return {version: float(share)}
    except ValueError:
        raise InvalidParameterValue(f"weight={text!r}: give VERSION=SHARE, for example 2=0.1") from None


def _described(described: dict[str, Any]) -> str:
    """Write a function with its versions and aliases, or one of these."""
    if "weights" in described:
        return table([described], _ALIASES)
    if "reserved_concurrency" not in described:
        return table([described], _VERSIONS)
    tables = [table([described], _COLUMNS)]
    if described.get("versions"):
        tables.append(table(described["versions"], _VERSIONS))
    if described.get("aliases"):
        tables.append(table(described["aliases"], _ALIASES))
    return "\n\n".join(tables)


def _limit(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidParameterValue(f"{text!r}: give LIMIT=VALUE; the limits are {', '.join(wire.FUNCTION)}")
    checks.known_names([name], wire.FUNCTION)
    try:
        return name, payload.loads(value)
    except ValueError:
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
_VERSIONS = [
    ("VERSION", lambda version: version["name"]),
    ("ISOLATION", lambda version: version["isolation"]),
    ("RUNNING", lambda version: version["in_flight"]),
    ("PROVISIONED", lambda version: f"{version['provisioned_ready']}/{version['provisioned_concurrency']}"),
    ("TIMEOUT MS", lambda version: version["timeout_ms"]),
]
_ALIASES = [
    ("ALIAS", lambda alias: f"{alias['function']}:{alias['name']}"),
    ("VERSION", lambda alias: alias["version"]),
    ("AND", lambda alias: ", ".join(f"{version} ({share:.2%})" for version, share in alias["weights"].items())),
    ("PROVISIONED", lambda alias: alias["provisioned_concurrency"]),
]
