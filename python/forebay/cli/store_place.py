"""The store that a command is about: a directory, or a URL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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


def read(given: object) -> StorePlace:
    """Read what a command was given.

    Raises:
        click.BadParameter: it is neither a directory nor a URL that a store can have.

    """
    if isinstance(given, ServerStore | Path):
        return given
    text = str(given)
    if (refusal := store_place.refusal(text)) is not None:
        raise click.BadParameter(f"{store_place.shown(text)}: {refusal}")
    if store_place.is_on_server(text):
        return ServerStore(store_place.with_password(store_place.plain(text)))
    if Path(text).is_file():
        raise click.BadParameter(f"Directory '{text}' is a file.")
    return Path(text)


def read_directory(given: object) -> Path:
    """Read what a command was given that needs a store in a directory."""
    return directory(read(given))


def as_text(store: StorePlace) -> str:
    """Give a store as an app and the engine are told it."""
    # A path has lost the ./ that made it one.
    return store.url if isinstance(store, ServerStore) else store_place.as_directory(str(store))


def directory(store: StorePlace) -> Path:
    """Give the directory of a store, where only one will do.

    Raises:
        click.UsageError: the store is on a server.

    """
    if isinstance(store, ServerStore):
        raise click.UsageError(
            f"{store} is a server, and this command needs a store in a directory: what it keeps stands beside it. Next: back a "
            "server up with its own tools (`pg_basebackup`). Deploy stacks and make access keys where the store is a directory"
        )
    if str(store) == store_place.MEMORY:
        raise click.UsageError(f"{store} is no directory: a store in memory ends with its app, and has no access keys")
    return store
