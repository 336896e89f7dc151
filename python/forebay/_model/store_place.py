"""Where a store is: a directory, ":memory:", or a URL of a PostgreSQL server."""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import quote

MEMORY: Final = ":memory:"
SCHEMES: Final = ("postgresql://", "postgres://")
URL_VARIABLE: Final = "FOREBAY_STORE_URL"
"""Tells a process of a function the URL of its app's store."""
UNANSWERED: Final = (
    "an owner that lives answers at its socket on this machine, or over the network: `forebay cluster members` says at which "
    "address, and FOREBAY_CLUSTER_ADDRESS gives it another one"
)
_CREDENTIALS: Final = re.compile(r"(?<=://)[^@/?#]*@")
_LIKE_A_URL: Final = re.compile(r"(jdbc:)?[a-z][a-z0-9+.-]*:/+", re.IGNORECASE)
_LONE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_VARIABLE: Final = re.compile(r"\$(\w+|\{\w+\}|\(\w+\))")
_A_DIRECTORY: Final = re.compile(r"/(?!/)|\.{1,2}/")
_WITHOUT_SCHEME: Final = re.compile(
    r"""postgres(ql)?(:|//)        # the scheme, misspelt
    |[^/]*:[^/]*@                  # user:password@
    |[^/:]*:.*@[^/]*\.[^/]*(/|$)   # with a / in the password
    |[^/]*@[^/]+/.                 # user@host/database
    |//+[^/]*[@:]
    |([^/:]*\.[^/:]*|localhost):\d{1,5}(/|$)         # host:port
    |[^/:]+:(5432|6432)(/|$)
    |(host|hostaddr|dbname|password|service)\s*=      # settings of libpq
    |(user|port)\s*=.*\s(host|hostaddr|dbname|password|service)\s*=
    |.*\?(user|password|host|hostaddr|port|sslmode|schema|options|application_name|connect_timeout)=
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def is_on_server(store: str) -> bool:
    """Whether a store is given as a URL."""
    return store.lower().startswith(SCHEMES)


def plain(store: str) -> str:
    """Give a store with its scheme as all others write it."""
    if not is_on_server(store):
        return store
    scheme, colon, rest = store.partition(":")
    return scheme.lower() + colon + rest


def is_misspelt(store: str) -> bool:
    """Whether this looks like a URL and is none that a store can have: it would become the name of a directory."""
    return ("://" in store or _LIKE_A_URL.match(store) is not None) and not is_on_server(store)


def lacks_scheme(store: str) -> bool:
    """Whether this reads like a URL without its scheme, or settings of libpq. It would become the name of a directory, too.

    What begins like the path of a directory is one, whatever its names are.
    """
    if store == MEMORY or is_on_server(store) or _A_DIRECTORY.match(store):
        return False
    return _WITHOUT_SCHEME.match(store) is not None


def is_ambiguous(store: str) -> bool:
    """Whether a URL has an @ or a % where none may stand: a password with signs of its own would be taken for something else.

    Everything up to the second @ may be the password, so an @ of what follows the hosts is written as %40, too.
    """
    if not is_on_server(store):
        return False
    authority, rest = _parts(store)
    return authority.count("@") > 1 or "@" in rest or _LONE_PERCENT.search(authority) is not None


def refusal(store: str) -> str | None:
    """Say what a store may be, if this looks like a URL and is none that a store can have. The text shows no password."""
    if store != store.strip():
        newline = " (a file or a secret ends with a newline)" if store.endswith(("\n", "\r")) else ""
        return f"it has white space around it{newline}: take that off"
    if is_misspelt(store):
        return f"a directory, ':memory:', or a URL as text: postgresql://user@host/database. {_misspelling(store)}"
    if variable := _VARIABLE.match(store):
        # What follows may be a password.
        name = variable[0] if variable.end() == len(store) else "a variable"
        return (
            f"it begins with {name}, whose value was not put in: it stays as it is within single quotes, and in a file that no "
            "shell reads. For a directory of that name write ./ before it"
        )
    if lacks_scheme(store):
        return (
            "it reads like the URL of a server, and such a URL begins with postgresql://: postgresql://user@host/database. "
            "For a directory of that name write ./ before it"
        )
    if is_ambiguous(store):
        return (
            "what its user and its password are is not clear. In a user or a password of a URL write @ as %40, / as %2F, "
            "? as %3F, # as %23, : as %3A and % as %25"
        )
    return None


def _misspelling(store: str) -> str:
    """Say what is wrong with what is no URL of a store."""
    if store[0] in "'\"":
        return "Take the quotes off that are around it"
    scheme = _LIKE_A_URL.match(store)
    return f"A store's URL does not begin with {scheme[0]}" if scheme else "The name of a directory has no :// in it"


def as_directory(path: str) -> str:
    """Give a directory as it is written where it might be read as something else."""
    return path if refusal(path) is None else f"./{path}"


def of_path(path: os.PathLike[str]) -> str:
    """Give what a path names: a directory, whatever its name is like. A URL that was made a path is still no directory."""
    text = os.fspath(path)
    return text if is_misspelt(text) else as_directory(text)


def with_password(store: str) -> str:
    """Give a URL the password that PGPASSWORD has, if it has none of its own."""
    password = os.environ.get("PGPASSWORD")
    if not password or not is_on_server(store) or is_ambiguous(store):
        return store
    authority, rest = _parts(store)
    query = rest.partition("?")[2]
    if ":" in authority.rpartition("@")[0] or any(one.startswith("password=") for one in query.split("&")):
        return store
    return f"{store}{'&' if query else '' if rest.endswith('?') else '?'}password={quote(password, safe='')}"


def shown(store: str) -> str:
    """Give a store for a log or an error: a URL without its user, its password and what follows the database but for the schema.

    Of a URL that none can have nothing is shown but how it begins: where its password ends is not known.
    """
    if refusal(store) is not None:
        begins = _LIKE_A_URL.match(store.strip())
        return f"{begins[0] if begins else ''}…"
    if not is_on_server(store):
        return store
    place, _, query = _CREDENTIALS.sub("", store).partition("?")
    schema = [one for one in query.split("&") if one.startswith("schema=")]
    return "?".join([place, *schema[-1:]])


def _parts(store: str) -> tuple[str, str]:
    """Divide a URL into what names the user and the hosts, and what follows."""
    after = store.partition("://")[2]
    ends = next((at for at, char in enumerate(after) if char in "/?#"), len(after))
    return after[:ends], after[ends:]
