"""Has `forebay run` serve what was deployed to the store of its app, and deploy into it while it runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forebay._model import names
from forebay._model.store_place import MEMORY
from forebay._stacks.host import Host
from forebay._stacks.service import Place
from forebay._stacks.store import StackStore
from forebay.app import App
from forebay.cli.connect import connect
from forebay.cli.stack_connection import ACCOUNT, APP, AWS, HTTP, REGION
from forebay.logs import FunctionLogs

if TYPE_CHECKING:
    from forebay._model.http_address import HttpAddress
    from forebay._model.wire import WireAddress

log = logging.getLogger("forebay")

STACKS_PORT: Final = 3000
"""Where an app that is nothing but stacks serves HTTP: the port of `sam local start-api`."""


def stacks_app(store: Path) -> App:
    """Make the app of a store that has stacks alone; it is named as the store's own."""
    store.mkdir(parents=True, exist_ok=True)
    with connect(store, new_for=APP) as connection:
        known = connection.ask("health").get("app")
    kept = StackStore(store)
    try:
        stacks = kept.stacks()
    finally:
        kept.close()
    if not stacks:
        log.info(
            "nothing has been deployed to %s yet: `forebay deploy` or `sam deploy` deploys into it", store.absolute()
        )
    region, account = (stacks[0].region, stacks[0].account) if stacks else (REGION, ACCOUNT)
    if not stacks and known not in {None, APP}:
        region = names.REGION_DEFAULT
    app = App(known or APP, store=store, region=region, account=account)
    app.attach(FunctionLogs(app))
    return app


def host_stacks(app: App, http: HttpAddress, aws: WireAddress) -> None:
    """Have an app serve the stacks of its store."""
    settings = app.settings
    if settings.store == MEMORY or settings.is_on_server:
        return
    owner = settings.store_app or settings.name
    place = Place(
        app=owner,
        region=settings.region,
        account=settings.account,
        http=http.base or HTTP,
        aws=aws.url or AWS,
        aws_names=aws.names,
    )
    declared = app._declared  # noqa: SLF001  an app without `forebay run` has no stacks
    logs = next((one for one in declared.attached if isinstance(one, FunctionLogs)), None)
    declared.stacks = Host(Path(settings.store).absolute(), place, aws.url, app.clock, logs)
