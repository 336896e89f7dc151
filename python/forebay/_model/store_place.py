"""Where a store is: a directory, ":memory:", or a URL of a PostgreSQL server."""

from __future__ import annotations

import re
from typing import Final

MEMORY: Final = ":memory:"
SCHEMES: Final = ("postgresql://", "postgres://")
URL_VARIABLE: Final = "FOREBAY_STORE_URL"
"""Tells a process of a function the URL of its app's store."""
_CREDENTIALS: Final = re.compile(r"(?<=://)[^@/?#]*@")
_LIKE_A_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*:/")


def is_on_server(store: str) -> bool:
    """Whether a store is given as a URL."""
    return store.startswith(SCHEMES)


def is_misspelt(store: str) -> bool:
    """Whether this looks like a URL and is none that a store can have: it would become the name of a directory."""
    return _LIKE_A_URL.match(store) is not None and not is_on_server(store)


def shown(store: str) -> str:
    """Give a store for a log or an error: a URL without its user, its password and what follows the database."""
    return _CREDENTIALS.sub("", store).partition("?")[0] if is_on_server(store) else store
