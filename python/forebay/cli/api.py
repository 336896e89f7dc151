"""`forebay api`: look at the APIs that a running app serves, at their routes, and try them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from forebay._app import served
from forebay.cli.api_request import Target, read_request, run_method, send, text_of
from forebay.cli.connect import connect, store_option
from forebay.cli.show import output_option, show, table
from forebay.cli.store_place import ServerStore

if TYPE_CHECKING:
    from forebay._app.served import Served
    from forebay.cli.api_request import Request
    from forebay.cli.connect import StoreConnection
    from forebay.cli.store_place import StorePlace

_FILE = click.Path(exists=True, dir_okay=False)
_url_option = click.option("--url", help="Where the app serves HTTP, if it is not where the running app says.")


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
        apis = [
            *connection.ask("api.list"),
            *(_described(connection, api) for api in _pages(connection, "GetRestApis")),
        ]
        told = _served(connection, store)
    names = Counter(api["name"] for api in apis)
    for one in apis:  # a name may be of several that were made by calls: an id is of one
        is_named = names[one["name"]] == 1
        own = _own(told, one["id"], one["name"] if is_named else "")
        scheme = "ws" if one["kind"] == "websocket" else "http"
        one["path"] = f"{scheme}{own.removeprefix('http')}/" if own else f"/_apis/{one['name' if is_named else 'id']}/"
    show(apis, output, text=table(apis, _COLUMNS))


@api.command()
@click.argument("name", metavar="NAME|ID")
@store_option
@output_option
def routes(name: str, store: StorePlace, output: str) -> None:
    """Show the routes of the API of a name or an id: where each goes, and who is let in."""
    with connect(store) as connection:
        connection.need_app()
        if (other := _known(connection, name)) is not None:
            described = connection.ask("api.describe", name=other["id"])
        else:
            described = _described(connection, _rest(connection, name))
    show(described, output, text=table(described["routes"], _ROUTES))


@api.command()
@click.argument("name", metavar="NAME|ID")
@click.argument("stage", required=False)
@click.option("--type", "kind", type=click.Choice(["oas30", "swagger"]), default="oas30", show_default=True)
@click.option("--yaml", is_flag=True, help="YAML in place of JSON.")
@click.option("--plain", is_flag=True, help="Without x-amazon-apigateway-….")
@store_option
def export(name: str, stage: str | None, kind: str, store: StorePlace, *, yaml: bool, plain: bool) -> None:
    """Write an API as an OpenAPI document: what a STAGE of a REST API serves, or an HTTP API, which has no stage here."""
    if stage is None:
        if kind == "swagger" or plain:
            raise click.ClickException("--type swagger and --plain are for REST APIs: name a stage")
        with connect(store) as connection:
            connection.need_app()
            if (other := _known(connection, name)) is None:
                rest_api = _rest_api(connection, name)
                known = _stages_text(_stages(connection, rest_api))
                raise click.ClickException(f"{name!r} is a REST API: say which stage, too: {known}")
            click.echo(connection.ask("api.export", name=other["id"], yaml=yaml)["body"])
        return
    accepts = "application/yaml" if yaml else "application/json"
    with connect(store) as connection:
        place = _stage(connection, name, stage)
        parameters = {} if plain else {"extensions": "apigateway"}
        told = _call(connection, "GetExport", **place, exportType=kind, accepts=accepts, parameters=parameters)
    click.echo(told["body"])


@api.command()
@click.argument("name", metavar="NAME|ID")
@click.argument("stage")
@click.option("--authorizers", is_flag=True, help="What Lambda authorisers have said, in place of the answers.")
@store_option
def flush(name: str, stage: str, store: StorePlace, *, authorizers: bool) -> None:
    """Forget the answers in the cache of a STAGE of a REST API: the next requests run.

    With --authorizers forget what Lambda authorisers have said for a STAGE of any API: they are asked anew.
    """
    what = "what authorisers have said for" if authorizers else "the answers of"
    with connect(store) as connection:
        connection.need_app()
        if (other := _known(connection, name)) is None:
            operation = "FlushStageAuthorizersCache" if authorizers else "FlushStageCache"
            _call(connection, operation, **_stage(connection, name, stage))
        elif authorizers:
            place = {"ApiId": other["id"], "StageName": stage}
            _call(connection, "ResetAuthorizersCache", verb="http_api.call", **place)
        else:
            text = "only the stages of REST APIs keep answers: --authorizers forgets what its authorisers have said"
            raise click.ClickException(f"{name!r} is not a REST API: {text}")
    click.echo(f"forgot {what} stage {stage} of {name}")


@api.command()
@click.option("--values", is_flag=True, help="Show the secrets, too.")
@store_option
@output_option
def keys(store: StorePlace, output: str, *, values: bool) -> None:
    """List the API keys of REST APIs, the latest first, with their usage plans and the stages that these open."""
    with connect(store) as connection:
        found = _pages(connection, "GetApiKeys", includeValues=values)
        for one in found:
            one["usagePlans"] = _pages(connection, "GetUsagePlans", keyId=one["id"])
    columns = _KEYS if values else _KEYS[:-1]
    show(found, output, text=table(found, columns))


@api.command()
@click.argument("name", metavar="NAME|ID")
@click.argument("request")
@click.option("--data", help="The body; @FILE reads it from a file, and @- from standard input.")
@click.option("--header", "-H", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header; repeatable.")
@click.option("--stage", help="The stage of an HTTP API, if it is not $default.")
@_url_option
@click.option("--cert", type=_FILE, help="A client's certificate to show, PEM.")
@click.option("--key", type=_FILE, help="Its key, PEM.")
@store_option
@output_option
def test(
    name: str,
    request: str,
    *,
    data: str | None,
    headers: tuple[str, ...],
    stage: str | None,
    url: str | None,
    cert: str | None,
    key: str | None,
    store: StorePlace,
    output: str,
) -> None:
    """Send the API of a name or an id a REQUEST such as "GET /orders/7", and show the answer.

    A method of a REST API is run as it stands now, without a stage, authorisation and keys, and its log is shown.
    """
    asked = read_request(request, headers, data)
    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key are given together")
    shown = (cert, key) if cert is not None and key is not None else None
    with connect(store) as connection:
        connection.need_app()
        api = _known(connection, name)
        place = _method(connection, _rest_api(connection, name), asked) if api is None else None
        # A release before this one has no token, and the tests of HTTP APIs need none.
        token = _token(connection) if api is None else ""
        told = _served(connection, store)
    if place is not None and stage is not None:
        raise click.UsageError("--stage is for HTTP APIs: a method of a REST API is run without a stage")
    certificate = told.certificate if told is not None and url is None else None
    if place is not None:
        answer = run_method(Target(url or _base(told, store), certificate, shown), token, place, asked)
    else:
        own = _own(told, api["id"]) if api is not None else None
        is_alone = own is not None and (url is None or url.rstrip("/") == own)
        base = url or own or _base(told, store)
        prefix = "" if is_alone else f"/_apis/{name}"
        path = f"{prefix}{_stage_part(api, stage, asked.path)}{asked.path}"
        answer = send(Target(base, certificate, shown), asked._replace(path=path))
    show(answer, output, text=text_of(answer))


@api.command()
@_url_option
@click.option("--token", is_flag=True, help="Only the token, for `authorization: Bearer …`.")
@store_option
def link(url: str | None, store: StorePlace, *, token: bool) -> None:
    """Print the link to the page of all routes, for a browser on this machine; it holds until the app stops."""
    with connect(store) as connection:
        connection.need_app()
        known = _token(connection)
        told = _served(connection, store) if url is None and not token else None
    click.echo(known if token else f"{url or _base(told, store)}/_routes?token={known}")


def _served(connection: StoreConnection, store: StorePlace) -> Served | None:
    """Give where the running app says that it serves HTTP, if it does; one of a store on a server may be elsewhere."""
    if isinstance(store, ServerStore) or not (store / served.FILE).exists():
        return None
    return served.read(store, _token(connection))


def _base(told: Served | None, store: StorePlace) -> str:
    """Give the address of all APIs. It is not guessed: another app there would get the request, and the token."""
    if told is None:
        raise click.ClickException(
            f"the app of {store.absolute()} does not say where it serves HTTP. Next: start it with --http-port, or say where "
            "by --url"
        )
    if told.base is None:
        alone = ", ".join(told.own.values())
        raise click.ClickException(
            f"the app serves single APIs at ports of their own ({alone}), and has no port for all. Next: start it with "
            "--http-port"
        )
    return told.base


def _own(told: Served | None, *known: str) -> str | None:
    """Give the address at which an API is alone, if it has one."""
    return next((told.own[one] for one in known if one in told.own), None) if told is not None else None


def _token(connection: StoreConnection) -> str:
    """Give what opens the pages that the HTTP port has for whoever works on this machine."""
    return str(connection.ask("api.token")["token"])


def _method(connection: StoreConnection, rest_api: str, asked: Request) -> dict[str, str]:
    """Give the ids of the resource that a path of a REST API reaches."""
    parts = asked.path.partition("?")[0].strip("/").split("/")
    resources = _pages(connection, "GetResources", restApiId=rest_api, embed=["methods"])
    fitting = [one for one in resources if _fits(one["path"].strip("/").split("/"), parts)]
    if not fitting:
        known = ", ".join(sorted(one["path"] for one in resources))
        raise click.ClickException(f"no resource has the path {asked.path!r}: there are {known}")
    # As on AWS, a part that is written out goes before a variable, and a variable before a greedy one.
    best = min(fitting, key=lambda one: [part.count("{") + part.count("+}") for part in one["path"].split("/")])
    methods = best.get("resourceMethods", {})
    if asked.method not in methods and "ANY" not in methods:
        known = ", ".join(sorted(methods)) or "none"
        raise click.ClickException(f"{best['path']} has no method {asked.method}: there is {known}")
    return {"restApiId": rest_api, "resourceId": best["id"]}


def _fits(pattern: list[str], parts: list[str]) -> bool:
    if pattern[-1].endswith("+}") and len(parts) >= len(pattern):
        pattern, parts = pattern[:-1], parts[: len(pattern) - 1]
    if len(pattern) != len(parts):
        return False
    return all(one.startswith("{") or one == part for one, part in zip(pattern, parts, strict=True))


def _call(connection: StoreConnection, operation: str, *, verb: str = "rest.call", **params: Any) -> dict[str, Any]:
    """Make a control call, of REST APIs unless it is said; a refusal is the command's error."""
    told: dict[str, Any] = connection.ask(verb, operation=operation, params=params)
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
    return str(_rest(connection, name)["id"])


def _rest(connection: StoreConnection, name: str) -> dict[str, Any]:
    apis = _pages(connection, "GetRestApis")
    found = _named(apis, name)
    if found is None:
        others = [] if connection.owned else connection.ask("api.list")
        if any(name in (one["name"], one["id"]) for one in others):
            raise click.ClickException(f"{name!r} is not a REST API: leave the stage out")
        known = ", ".join(api["name"] for api in [*others, *apis]) or "none"
        raise click.ClickException(f"there is no API {name!r}: there are {known}")
    return found


def _named(apis: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """Give the API of an id or a name, if it is there. A name of several would be that of the wrong one."""
    found = next(([one] for one in apis if one["id"] == name), [one for one in apis if one["name"] == name])
    if len(found) > 1:
        ids = ", ".join(str(one["id"]) for one in found)
        raise click.ClickException(f"{name!r} is the name of {len(found)} APIs: say the id: {ids}")
    return found[0] if found else None


def _stage(connection: StoreConnection, name: str, stage: str) -> dict[str, str]:
    """Give the names by which calls know a stage of a REST API."""
    rest_api = _rest_api(connection, name)
    stages = _stages(connection, rest_api)
    if stage not in stages:
        known = _stages_text(stages)
        raise click.ClickException(f"REST API {name!r} has no stage {stage!r}: there is {known}")
    return {"restApiId": rest_api, "stageName": stage}


def _stage_part(api: dict[str, Any] | None, stage: str | None, path: str) -> str:
    """Give what a path of an HTTP API begins with for a stage."""
    stages = [] if api is None else api["stages"]
    if stage is None and _DEFAULT_STAGE not in stages and path.split("/")[1].partition("?")[0] not in stages:
        raise click.ClickException(
            f"the API has no stage {_DEFAULT_STAGE}: say which one by --stage: {', '.join(stages)}"
        )
    if stage is not None and stage not in stages:
        raise click.ClickException(f"the API has no stage {stage!r}: there is {', '.join(stages)}")
    return "" if stage in (None, _DEFAULT_STAGE) else f"/{stage}"


def _stages(connection: StoreConnection, rest_api: str) -> list[str]:
    return [stage["stageName"] for stage in _call(connection, "GetStages", restApiId=rest_api)["item"]]


def _stages_text(stages: list[str]) -> str:
    return ", ".join(stages) or "none, until `RestApi.deploy` or CreateDeployment of AWS's API makes one"


def _known(connection: StoreConnection, name: str) -> dict[str, Any] | None:
    """Give the HTTP or the WebSocket API of a name or an id, or the URL of a function."""
    known = connection.ask("api.list")
    apis = [one for one in known if one["kind"] != "url"]
    found = _named([*apis, *_pages(connection, "GetRestApis")], name)
    # As a path is read: the URL of a function has its function's name, unless an API has it.
    return _named(known, name) if found is None else found if found in apis else None


def _described(connection: StoreConnection, api: dict[str, Any]) -> dict[str, Any]:
    """Describe a REST API as the others are: its methods as they stand now."""
    place = {"restApiId": api["id"]}
    authorizers = {one["id"]: one["name"] for one in _pages(connection, "GetAuthorizers", **place)}
    routes = [
        {
            "key": f"{verb} {resource['path']}",
            "target": _integration(method.get("methodIntegration", {})),
            "authorizer": authorizers.get(method.get("authorizerId"), _OPEN.get(method["authorizationType"])),
            "timeout_ms": method.get("methodIntegration", {}).get("timeoutInMillis"),
        }
        for resource in sorted(
            _pages(connection, "GetResources", embed=["methods"], **place), key=lambda one: str(one["path"])
        )
        for verb, method in resource.get("resourceMethods", {}).items()
    ]
    stages = _stages(connection, api["id"])
    return {"id": api["id"], "name": api["name"], "kind": "rest", "stages": stages, "routes": routes}


def _opened(key: dict[str, Any]) -> list[str]:
    """Give the stages that a key opens, by itself or by a usage plan, as `API/STAGE`."""
    stages = (stage for plan in key["usagePlans"] for stage in plan.get("apiStages", ()))
    return sorted({*key["stageKeys"], *(f"{stage['apiId']}/{stage['stage']}" for stage in stages)})


def _integration(integration: dict[str, Any]) -> dict[str, str]:
    uri = integration.get("uri", "")
    _, is_function, function = uri.partition(":function:")
    if is_function:
        return {"function": function.removesuffix("/invocations")}
    return {"url": uri or integration.get("type", "nothing").lower()}


def _target(target: dict[str, Any]) -> str:
    [(kind, value)] = target.items()
    if kind == "nothing":
        return kind
    return f"function {value}" if kind == "function" else str(value)


_DEFAULT_STAGE = "$default"
_OPEN = {"AWS_IAM": "AWS_IAM"}
_COLUMNS = [
    ("API", lambda api: api["name"]),
    ("KIND", lambda api: api["kind"]),
    ("ID", lambda api: api["id"]),
    ("PATH", lambda api: api["path"]),
    ("STAGES", lambda api: api["stages"]),
    ("ROUTES", lambda api: len(api["routes"])),
]
_KEYS = [
    ("KEY", lambda key: key["id"]),
    ("NAME", lambda key: key.get("name", "")),
    ("ENABLED", lambda key: "yes" if key["enabled"] else "no"),
    ("PLANS", lambda key: [plan.get("name", plan["id"]) for plan in key["usagePlans"]]),
    ("STAGES", _opened),
    ("VALUE", lambda key: key["value"]),
]
_ROUTES = [
    ("ROUTE", lambda route: route["key"]),
    ("TARGET", lambda route: _target(route["target"])),
    ("AUTHORIZER", lambda route: route["authorizer"]),
    ("TIMEOUT MS", lambda route: route["timeout_ms"]),
]
