"""Connects a command to a store: through its owner's socket while an app runs, else by owning it for the moment."""

from __future__ import annotations

import functools
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from forebay._core import Engine, look_at_server
from forebay._model import names
from forebay._model.store_place import UNANSWERED
from forebay._wire import event
from forebay._wire import payload as wire
from forebay.cli.owner_timeout import OwnerNotAnswering, wait_for_owner
from forebay.cli.store_place import ServerStore, StorePlace, as_text, directory, read, read_directory
from forebay.errors import AppClosed, ForebayError, OwnerLost, ResourceNotFound, StoreLocked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Answered = TypeVar("Answered")
FILE: Final = "forebay.db"
FRESH_MS: Final = 3_000
"""An owner whose last beat is no older lives."""
MAKE_SECONDS: Final = 5.0
"""A command waits for so long for a store that another command makes."""
NOTHING: Final[Mapping[str, Any]] = {}
_NOT_STARTED: Final = "the app is not started"
"""What an owner is not ready for that runs nothing."""

store_option = click.option(
    "--store",
    type=read,
    metavar="DIRECTORY|URL",
    default=Path("data"),
    show_default=True,
    envvar="FOREBAY_STORE",
    show_envvar=True,
    help="Directory of the store, or its URL.",
)


directory_option = click.option(
    "--store",
    type=read_directory,
    metavar="DIRECTORY",
    default=Path("data"),
    show_default=True,
    envvar="FOREBAY_STORE",
    show_envvar=True,
    help="Directory of the store.",
)


class StoreConnection:
    """A connection to a store."""

    def __init__(self, engine: Engine, store: StorePlace) -> None:
        self._engine = engine.waiting()
        self._store = store

    @property
    def owned(self) -> bool:
        """Whether no app runs, so that this command holds the store meanwhile."""
        return self._engine.role == "owner"

    @functools.cached_property
    def runs_nothing(self) -> bool:
        """Whether no app runs: this command holds the store meanwhile, or another process that waits for the app."""
        return self.owned or _NOT_STARTED in self.ask("health")["reasons"]

    def need_app(self) -> None:
        """Refuse what only a running app can answer."""
        if self.owned:
            raise AppClosed(f"no app runs on {self._store.absolute()}: start it with `forebay run`")

    def ask(self, verb: str, **fields: Any) -> Any:
        """Ask the engine; the fields are those of `docs/requests.md`."""
        body = wire.dumps(fields)
        return wire.loads(self._wait(lambda: self._engine.request(verb, body)))

    def put_many(self, stream: str, records: Sequence[tuple[bytes | str, str]]) -> list[str]:
        """Put records; they are durable when this returns."""
        numbers: list[str] = self._wait(lambda: self._engine.put_many(stream, records))
        return numbers

    def invoke(self, function: str, payload: bytes) -> tuple[bytes, str | None]:
        """Run a function of the app that owns the store; give its response, and the version if one was asked for."""
        answer = self._wait(lambda: self._engine.invoke(function, payload))
        return answer if isinstance(answer, tuple) else (answer, None)

    def invoke_async(self, function: str, payload: bytes) -> str:
        """Have a function of the app that owns the store run later; give the request id."""
        return str(self._wait(lambda: self._engine.invoke_async(function, payload, None)))

    def invoke_event(self, function: str, payload: bytes, options: dict[str, Any]) -> str:
        """Do the same with options, as `events.invoke` has them."""
        body = event.invocation(function, payload, options)
        return str(wire.loads(self._wait(lambda: self._engine.request("events.invoke", body))))

    def _wait(self, ask: Callable[[], Answered]) -> Answered:
        if self.owned:
            return ask()
        return wait_for_owner(ask, lambda: _ping(self._store, self._engine.asks()), self._store)


def format_error(error: ForebayError) -> str:
    """Write an error in one line, with what was added to it."""
    text, notes = str(error), getattr(error, "__notes__", [])
    return "; ".join([text.removesuffix(".") if notes else text, *notes])


def warn_of_promises(refused: str | None) -> None:
    """Warn of a server that promises less than an app asks for if it says nothing; `refused` is what such an app is told."""
    if refused is not None:
        lacking = refused.partition(". Next:")[0]
        click.echo(f"Warning: {lacking}. A power cut of the server may take back what it has acknowledged", err=True)


def _warn_of_damage(engine: Engine) -> None:
    """Warn of what opening the store has found damaged: no other command will hear of it."""
    _, answered = engine.exchange([], 0)
    for notice in (notice for _, ok, notices in answered if ok for notice in wire.loads(notices)):
        if notice["what"] == "damaged":
            click.echo(f"Warning: {notice['text']}", err=True)


@contextmanager
def connect(
    store: StorePlace, *, region: str = names.REGION_DEFAULT, new_for: str | None = None
) -> Iterator[StoreConnection]:
    """Connect to a store for as long as the block lasts. What is not found there is told with its path.

    The region is that of ARNs while no app runs. A store that is not there is made, where an app is named that it is for.
    """
    try:
        engine = _opened(store, region) if new_for is None else _made(store, region, new_for)
        try:
            _warn_of_damage(engine)
            if isinstance(store, ServerStore) and engine.role == "owner":
                warn_of_promises(wire.loads(look_at_server(store.url))["refused"])
            yield StoreConnection(engine, store)
        except OwnerNotAnswering:
            raise  # hanging up would wait for it, too
        except BaseException:
            engine.close()
            raise
        engine.close()
    except ResourceNotFound as error:
        error.add_note(f"looked in {store.absolute()}")
        raise


def _made(store: StorePlace, region: str, app: str) -> Engine:
    """Open a store that is made for an app if it is missing. Of two commands that would make it, the second waits for it."""
    ends = time.monotonic() + MAKE_SECONDS
    while not (directory(store) / FILE).exists():
        try:
            return _open(store, region, {"app": app, "store_app": app, "serve": True})
        except StoreLocked:
            if time.monotonic() >= ends:
                raise
        time.sleep(0.02)
    return _opened(store, region)


def _opened(store: StorePlace, region: str) -> Engine:
    if isinstance(store, ServerStore):
        # It takes as long as it takes until somebody owns the store, which has a limit of its own.
        try:
            return _open(store, region)
        except OwnerLost as error:
            error.add_note(UNANSWERED)
            raise
    return wait_for_owner(lambda: _open(store, region), lambda: _ping(store), store)


def _open(store: StorePlace, region: str = names.REGION_DEFAULT, more: Mapping[str, Any] = NOTHING) -> Engine:
    settings = {
        "app": "forebay-cli",
        "store": as_text(store),
        "region": region,
        "account": "000000000000",
        # Whether that is enough was for the store's app to say.
        "durability": "process-crash" if isinstance(store, ServerStore) else "power-loss",
        "serve": False,
        **more,
    }
    return Engine(wire.dumps(settings))


def _ping(store: StorePlace, owner: str | None = None) -> None:
    """Return when the owner of a store has given a sign of life; `owner`: its name where several processes share the store."""
    if isinstance(store, ServerStore):
        return _see_beat(store, owner)
    engine = _open(store)
    try:
        engine.waiting().request("health", b"{}")
    finally:
        engine.close()


def _see_beat(store: ServerStore, owner: str | None) -> None:
    """Return when the owner that was asked has beaten. Of another owner's beat it cannot be seen that this one lives."""
    while True:
        seen = wire.loads(look_at_server(store.url))["store"]
        if seen is None:
            return
        silent = seen["owner_silent_ms"]
        if seen["owner"] == owner and silent is not None and silent < FRESH_MS:
            return
        time.sleep(1.0)
