"""The way from a command to a store: through its owner's socket while an app runs, else by owning it for the moment."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from forebay._core import Engine
from forebay.errors import AppClosed, ForebayError, ResourceNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data"),
    show_default=True,
    envvar="FOREBAY_STORE",
    show_envvar=True,
    help="Directory of the store.",
)


class Reached:
    """A store at hand."""

    def __init__(self, engine: Engine, store: Path) -> None:
        self._engine = engine
        self._store = store

    @property
    def owned(self) -> bool:
        """Whether no app runs, so that this command holds the store meanwhile."""
        return self._engine.role == "owner"

    def need_app(self) -> None:
        """Refuse what only a running app can answer."""
        if self.owned:
            raise AppClosed(f"no app runs on {self._store.absolute()}: start it with `forebay run`")

    def ask(self, verb: str, **fields: Any) -> Any:
        """Ask the engine; the fields are those of `forebay.wire.verbs`."""
        return orjson.loads(self._engine.request_sync(verb, orjson.dumps(fields)))

    def put_many(self, stream: str, records: Sequence[tuple[bytes | str, str]]) -> list[str]:
        """Put records; they are durable when this returns."""
        return self._engine.put_many_sync(stream, records)

    def invoke(self, function: str, payload: bytes) -> tuple[bytes, str | None]:
        """Run a function of the app that owns the store; give its response, and the version if one was asked for."""
        answer = self._engine.invoke_sync(function, payload)
        return answer if isinstance(answer, tuple) else (answer, None)

    def invoke_async(self, function: str, payload: bytes) -> str:
        """Have a function of the app that owns the store run later; give the request id."""
        return self._engine.invoke_async_sync(function, payload, None)


def told(error: ForebayError) -> str:
    """Tell an error in one line, with what was added to it."""
    return "; ".join([str(error), *getattr(error, "__notes__", [])])


@contextmanager
def reach(store: Path) -> Iterator[Reached]:
    """Reach a store for as long as the block lasts. What is not found there is told with its path."""
    settings = {
        "app": "forebay-cli",
        "store": str(store),
        "region": "local",
        "account": "000000000000",
        "durability": "power-loss",
        "serve": False,
    }
    try:
        engine = Engine(orjson.dumps(settings))
        try:
            yield Reached(engine, store)
        finally:
            engine.close()
    except ResourceNotFound as error:
        error.add_note(f"looked in {store.absolute()}")
        raise
