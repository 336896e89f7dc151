"""The store that a command is about: a directory, or a URL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from forebay._model import store_place


@dataclass(frozen=True, slots=True)
class ServerStore:
    """A store on a PostgreSQL server."""

    url: str

    def absolute(self) -> ServerStore:
        """Give the store itself, as a path gives the path from the root."""
        return self

    def __str__(self) -> str:
        return store_place.shown(self.url)


StorePlace = Path | ServerStore


class _Store(click.ParamType):
    """A directory or a URL."""

    name = "directory or url"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> StorePlace:
        """Read what was given."""
        if isinstance(value, ServerStore | Path):
            return value
        text = str(value)
        if store_place.is_on_server(text):
            return ServerStore(text)
        if store_place.is_misspelt(text):
            self.fail("a store is a directory, or a URL: postgresql://user@host/database", param, ctx)
        if Path(text).is_file():
            self.fail(f"Directory {text!r} is a file.", param, ctx)
        return Path(text)


class _Directory(_Store):
    """A directory, where only one will do."""

    name = "directory"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Read what was given, and refuse a URL."""
        return directory(super().convert(value, param, ctx))


STORE: Final = _Store()
DIRECTORY: Final = _Directory()


def address(store: StorePlace) -> str:
    """Give a store as an app and the engine are told it."""
    return store.url if isinstance(store, ServerStore) else str(store)


def directory(store: StorePlace) -> Path:
    """Give the directory of a store, where only one will do.

    Raises:
        click.UsageError: the store is on a server.

    """
    if isinstance(store, ServerStore):
        raise click.UsageError(
            f"{store} is a server, and this command needs a store in a directory: what it keeps stands beside it"
        )
    return store
