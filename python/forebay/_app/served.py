"""Where a running app serves HTTP: told in the log, and kept beside the store for the commands."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from forebay._durable import write
from forebay._model.store_place import MEMORY
from forebay._wire import payload

if TYPE_CHECKING:
    import asyncio

    from forebay._app.declarations import Declarations
    from forebay._model.http_address import HttpAddress
    from forebay._model.settings import AppSettings
    from forebay._runtime.caller import Caller

FILE: Final = "http.json"
"""In the store's directory."""

log = logging.getLogger("forebay.app")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Where an app serves HTTP.

    Attributes:
        base: the address of all APIs; None: there is none.
        own: the addresses at which one API is alone, by its id; of a REST API by its name.
        certificate: the file of the certificate that is shown there; None: without TLS.

    """

    base: str | None
    own: dict[str, str]
    certificate: str | None


def keep(
    settings: AppSettings, http: HttpAddress, declared: Declarations, caller: Caller
) -> list[asyncio.Future[bytes]]:
    """Keep where this app, the owner of its store, serves HTTP; give what is over when that is done.

    The token is of this app alone: by it a reader knows of whom this is told. Only the engine knows it.
    """
    alone, here = declared.own_ports(), http.here
    if settings.store == MEMORY or settings.is_on_server or not (http.port or alone):
        return []
    file = Path(settings.store) / FILE
    where = Served(
        base=here.base,
        own={own.id or own.name: here.at(own.port) for own in alone},
        certificate=str(Path(http.tls[0]).absolute()) if http.tls else None,
    )

    def told(answer: asyncio.Future[bytes]) -> None:
        if answer.cancelled() or answer.exception() is not None:
            return  # the store is gone again
        of = _mark(payload.loads(answer.result())["token"])
        try:
            write(file, payload.dumps({"of": of, **asdict(where)}))
        except OSError as error:
            log.warning("%s cannot be written (%s): tell `forebay api` by --url where HTTP is", file, error)

    asked = caller.request("api.token")
    asked.add_done_callback(told)
    return [asked]


def read(store: Path, token: str) -> Served | None:
    """Give where the app of this token serves HTTP; None if it has not told, as one without HTTP does not."""
    try:
        told = payload.loads((store / FILE).read_bytes())
        if told.pop("of") != _mark(token):
            return None  # of an app before it, whose port may be another program's now
        return Served(**told)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _mark(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def tell_of_apis(declared: Declarations, http: HttpAddress) -> None:
    """Say in the log where the APIs are, or why they are nowhere."""
    rest_apis = (f"{rest.name}/{rest.stage}" for rest in declared.rest_apis.values() if rest.stage)
    names = [*declared.apis, *declared.websocket_apis, *declared.urls, *rest_apis]
    alone, sockets = declared.own_ports(), declared.websocket_apis
    for own in alone:
        log.info("API %s is served at %s/", own.name, http.at(own.port, socket=own.name in sockets))
    for name in names if http.base is not None else ():
        if not any(own.truststore and own.name == name.partition("/")[0] for own in alone):
            log.info("API %s is served at %s/_apis/%s/", name, http.at(socket=name in sockets), name)
    nowhere = sorted(name for name in names if name.partition("/")[0] not in {own.name for own in alone})
    if http.base is None and nowhere:
        log.info("no API is served (%s): give --http-port, or start(http_port=…)", ", ".join(nowhere))


async def tell_of_made(declared: Declarations, http: HttpAddress, caller: Caller) -> None:
    """Say in the log where the APIs and stages are that calls have made: the store keeps them."""
    if http.base is None:
        return
    known = {*declared.apis, *declared.websocket_apis, *declared.urls}
    for one in await caller.ask("api.list"):
        if one["name"] not in known:
            base = http.at(socket=one["kind"] == "websocket")
            log.info("API %s is served at %s/_apis/%s/", one["name"], base, one["id"])
    for api in await _rest(caller, "GetRestApis", limit=500):
        declares = declared.rest_apis.get(api["name"])
        for stage in [one["stageName"] for one in await _rest(caller, "GetStages", restApiId=api["id"])]:
            if declares is None or declares.stage != stage:
                log.info("API %s/%s is served at %s/_apis/%s/%s/", api["name"], stage, http.base, api["id"], stage)


async def _rest(caller: Caller, operation: str, **params: Any) -> list[dict[str, Any]]:
    """Give the items of an answer."""
    told = await caller.ask("rest.call", operation=operation, params=params)
    items: list[dict[str, Any]] = told["body"].get("items", told["body"].get("item", []))
    return items
