"""`forebay api`: look at the APIs that a running app serves, and at their routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from forebay.cli.connect import connect, store_option
from forebay.cli.show import output_option, show, table

if TYPE_CHECKING:
    from forebay.cli.connect import StoreConnection
    from forebay.cli.store_place import StorePlace


@click.group()
def api() -> None:
    """Look at APIs and their routes."""


@api.command("list")
@store_option
@output_option
def list_(store: StorePlace, output: str) -> None:
    """List the APIs of the running app, and the URLs of its functions."""
    with connect(store) as connection:
        connection.need_app()
        apis = connection.ask("api.list")
    show(apis, output, text=table(apis, _COLUMNS))


@api.command()
@click.argument("name")
@store_option
@output_option
def routes(name: str, store: StorePlace, output: str) -> None:
    """Show the routes of an API: where each goes, and who is let in."""
    with connect(store) as connection:
        connection.need_app()
        described = connection.ask("api.describe", name=name)
    show(described, output, text=table(described["routes"], _ROUTES))


@api.command()
@click.argument("name")
@click.argument("stage")
@click.option("--type", "kind", type=click.Choice(["oas30", "swagger"]), default="oas30", show_default=True)
@click.option("--yaml", is_flag=True, help="YAML in place of JSON.")
@click.option("--plain", is_flag=True, help="Without x-amazon-apigateway-….")
@store_option
def export(name: str, stage: str, kind: str, store: StorePlace, *, yaml: bool, plain: bool) -> None:
    """Write what a stage of a REST API serves as an OpenAPI document."""
    accepts = "application/yaml" if yaml else "application/json"
    with connect(store) as connection:
        params = {"restApiId": _rest_api(connection, name), "stageName": stage, "exportType": kind, "accepts": accepts}
        parameters = {} if plain else {"extensions": "apigateway"}
        told = _call(connection, "GetExport", **params, parameters=parameters)
    click.echo(told["body"])


@api.command()
@click.option("--values", is_flag=True, help="Show the secrets, too.")
@store_option
@output_option
def keys(store: StorePlace, output: str, *, values: bool) -> None:
    """List the API keys of REST APIs, the latest first."""
    with connect(store) as connection:
        found = _pages(connection, "GetApiKeys", includeValues=values)
    columns = _KEYS if values else _KEYS[:-1]
    show(found, output, text=table(found, columns))


def _call(connection: StoreConnection, operation: str, **params: Any) -> dict[str, Any]:
    """Make a control call of REST APIs; a refusal is the command's error."""
    told: dict[str, Any] = connection.ask("rest.call", operation=operation, params=params)
    if "error" in told:
        raise click.ClickException(f"{operation}: {told['body']['message']}")
    body: dict[str, Any] = told["body"]
    return body


def _pages(connection: StoreConnection, operation: str, **params: Any) -> list[dict[str, Any]]:
    page = _call(connection, operation, **params, limit=500)
    found: list[dict[str, Any]] = page["items"]
    while "position" in page:
        page = _call(connection, operation, **params, limit=500, position=page["position"])
        found += page["items"]
    return found


def _rest_api(connection: StoreConnection, name: str) -> str:
    """Give the id of the REST API of an id or a name."""
    apis = _pages(connection, "GetRestApis")
    found = [api["id"] for api in apis if name in (api["id"], api["name"])]
    if not found:
        known = ", ".join(api["name"] for api in apis) or "none"
        raise click.ClickException(f"there is no REST API {name!r}: in the store are {known}")
    return str(found[0])


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
_KEYS = [
    ("KEY", lambda key: key["id"]),
    ("NAME", lambda key: key.get("name", "")),
    ("ENABLED", lambda key: "yes" if key["enabled"] else "no"),
    ("STAGES", lambda key: key["stageKeys"]),
    ("VALUE", lambda key: key["value"]),
]
_ROUTES = [
    ("ROUTE", lambda route: route["key"]),
    ("TARGET", lambda route: _target(route["target"])),
    ("AUTHORIZER", lambda route: route["authorizer"]),
    ("TIMEOUT MS", lambda route: route["timeout_ms"]),
]
