"""Connects a command to the stacks of a store: through the app that runs on it, else by deploying into the store alone."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from forebay._app.deployed import check_start, registration
from forebay._model import names
from forebay._model.settings import AppSettings
from forebay._sam.errors import NoChanges, StackNotFound, TemplateRefused
from forebay._stacks import host
from forebay._stacks.artifacts import Artifacts
from forebay._stacks.attachments import describe
from forebay._stacks.buckets import Buckets
from forebay._stacks.service import Place, Service
from forebay._stacks.store import StackStore
from forebay._worker.stack_socket import SOCKET
from forebay.cli.connect import FILE, StoreConnection, connect
from forebay.errors import AppClosed, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from forebay._stacks.functions import Deployed
    from forebay._stacks.kind import Request

APP: Final = "stacks"
"""The app of a store that no program has used yet."""
HTTP: Final = "http://127.0.0.1:3000"
AWS: Final = "http://127.0.0.1:4566"
"""Where `forebay run` serves APIs of stacks, unless it is told otherwise."""
REGION: Final = "us-east-1"
ACCOUNT: Final = "000000000000"
_ANSWER_SECONDS: Final = 60.0
_START_SECONDS: Final = 5.0
_FIRST_POLL_SECONDS: Final = 0.02
_POLL_SECONDS: Final = 0.1
_POLL_SECONDS_MAX: Final = 0.5
_BEGIN: Final = ("deploy", "delete")
"""What begins an operation; everything else only asks."""

Event = dict[str, Any]


class Stacks:
    """The stacks of a store, through its app or without one."""

    def __init__(
        self, ask: Callable[[dict[str, Any]], dict[str, Any]], work: Callable[[], Awaitable[str]] | None = None
    ) -> None:
        """Take how they are asked, and what carries out the operation that has begun where no app does."""
        self._ask = ask
        self._work = work
        self.is_live = work is None

    def ask(self, operation: str, **fields: Any) -> Any:
        """Ask something.

        Raises:
            TemplateRefused | NoChanges | StackNotFound: it is refused.

        """
        answer = self._ask({"operation": operation, **fields})
        if "error" not in answer:
            return answer["answer"]
        code, reasons = answer["error"], answer["reasons"]
        if code == "NoChanges":
            raise NoChanges(reasons[0])
        if code == "StackNotFound":
            raise StackNotFound(fields.get("stack", ""))
        raise TemplateRefused(reasons, code)

    def follow(self, stack_id: str, after: int, told: Callable[[Event], None]) -> str:
        """Tell each event of an operation until it has ended; give the stack's status.

        Where no app runs, the operation is carried out here.
        """
        return asyncio.run(self._follow(stack_id, after, told))

    async def _follow(self, stack_id: str, after: int, told: Callable[[Event], None]) -> str:
        work = None if self._work is None else asyncio.ensure_future(self._work())
        pause = _FIRST_POLL_SECONDS
        status = None
        while status is None:
            has_ended = work is not None and work.done()
            events = self.ask("events", id=stack_id, after=after)
            for event in events:
                after = event["id"]
                told(event)
                is_stack = event["physical"] == stack_id
                if is_stack and not event["status"].endswith("_IN_PROGRESS"):
                    status = str(event["status"])
            if has_ended:
                break
            pause = _FIRST_POLL_SECONDS if events else min(2 * pause, _POLL_SECONDS_MAX)
            if work is None:
                await asyncio.sleep(0 if status else pause)
            else:
                await asyncio.wait({work}, timeout=None if status else pause)
        return str(status) if work is None else await work

    def last_event(self, stack_id: str) -> int:
        """Give the id of the newest event of a stack, 0 where there is none."""
        last = 0
        while events := self.ask("events", id=stack_id, after=last):
            last = events[-1]["id"]
        return last


class StoreTarget:
    """A store that no app runs on."""

    is_live = False

    def __init__(self, connection: StoreConnection, service: Service, artifacts: Artifacts, store: Path) -> None:
        self._connection = connection
        self._secret_of = service.secret_value
        place = service.place
        self._artifacts = artifacts
        self._buckets = Buckets(store)
        self._settings = AppSettings(
            name=place.app,
            store=str(store.absolute()),
            region=place.region,
            account=place.account,
            concurrency=1000,
            durability="power-loss",
            serve=False,
        )

    async def request(self, request: Request) -> Any:
        """Ask the engine; buckets are directories of the store."""
        if request.verb.startswith("bucket."):
            return self._buckets.carry_out(request)
        return self._connection.ask(request.verb, **request.fields)

    async def register(self, function: Deployed) -> None:
        """See that a function's code can be loaded; it is served when the app starts."""
        attachments = tuple(describe(one, self._secret_of) for one in function.attachments)
        ready = host.runnable(function, self._artifacts, attachments)
        await check_start(registration(ready, self._settings, names.LATEST))


@contextmanager
def connect_stacks(store: Path, region: str | None = None, *, makes: bool = False) -> Iterator[Stacks]:
    """Connect to the stacks of a store for as long as the block lasts.

    Args:
        store: its directory.
        region: that of ARNs, where no app runs and the store has no stacks yet.
        makes: whether a store that is not there is made.

    Raises:
        StoreError: there is no store.
        AppClosed: another program has the store and deploys no stacks.

    """
    if makes:
        store.mkdir(parents=True, exist_ok=True)
    elif not (store / FILE).exists():
        text = f"there is no store in {store.absolute()}: `forebay deploy` makes one (commands take --store)"
        raise StoreError(text)
    ends = time.monotonic() + _START_SECONDS
    while (live := _socket(store)) is None:
        with _alone(store, region) as alone:
            if alone is not None:
                yield alone
                return
        if time.monotonic() >= ends:
            raise AppClosed(
                f"another program has {store.absolute()} and deploys no stacks: wait for the command that is at work there, or "
                "serve the app by `forebay run`"
            )
        time.sleep(_POLL_SECONDS)  # an app that has just started, or another command
    with live, live.makefile("rwb") as channel:
        yield Stacks(_Channel(channel).ask)


@contextmanager
def _alone(store: Path, region: str | None) -> Iterator[Stacks | None]:
    """Give the stacks of a store that no app runs on; None where one does."""
    kept = StackStore(store)
    try:
        stacks = kept.stacks()
        found = stacks[0].region if stacks else region
        with connect(store, region=found or REGION, new_for=APP) as connection:
            if not connection.owned:
                yield None
                return
            app = connection.ask("health").get("app")
            # Of a store that an app has used, the app's own region; of a new one, AWS's first.
            default = names.REGION_DEFAULT if app is not None and app != APP else REGION
            place = Place(app=app or APP, region=found or default, account=ACCOUNT, http=HTTP, aws=AWS)
            service = Service(kept, place)
            target = StoreTarget(connection, service, Artifacts(store), store)
            asyncio.run(_resume(service, target))

            begun: list[str] = []

            def ask(asked: dict[str, Any]) -> dict[str, Any]:
                return host.carry_out(service, asked, begun.append)

            yield Stacks(ask, lambda: service.run(begun.pop(), target))
    finally:
        kept.close()


async def _resume(service: Service, target: StoreTarget) -> None:
    for name, status in await service.resume(target):
        click.echo(f"stack {name}: the operation that was interrupted has ended: {status}", err=True)


def _socket(store: Path) -> socket.socket | None:
    if not (store / SOCKET).exists():
        return None
    found = socket.socket(socket.AF_UNIX)
    try:
        found.settimeout(_ANSWER_SECONDS)
        with host.socket_path(store) as path:
            found.connect(path)
    except (ConnectionRefusedError, FileNotFoundError):
        found.close()
        return None  # left behind by a program that was killed
    except BaseException:
        found.close()
        raise
    return found


class _Channel:
    """The app that runs on a store, over its socket."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._begun: str | None = None
        """The stack of the operation that the app was asked to begin."""

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Ask something. Where the app may have begun an operation, an error says what becomes of it."""
        operation = asked["operation"]
        if operation in _BEGIN:
            self._begun = asked["deploy"]["stack"] if operation == "deploy" else asked["stack"]
        follows = self._begun is not None and (operation in _BEGIN or operation == "events")
        try:
            self._channel.write(json.dumps(asked).encode() + b"\n")
            self._channel.flush()
            line = self._channel.readline()
        except TimeoutError:
            more = f": an operation that has begun goes on in the app; {self._events()}" if follows else ""
            raise AppClosed(f"the app did not answer within {_ANSWER_SECONDS:g} s{more}") from None
        except ConnectionError:
            line = b""
        if not line:
            more = f": an operation that has begun goes on when the app runs again; {self._events()}" if follows else ""
            raise AppClosed(f"the app went away before it answered{more}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _events(self) -> str:
        return f"`forebay stack events {self._begun}` tells of it"
