"""Tokens that OAuth's client credentials give: asked for once, kept while they last, and asked for again when one is refused."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
import urllib.parse
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from forebay._model.connection import ClientCredentials

LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))
"""Hosts that may be asked without TLS."""
_ANSWER_BYTES: Final = 262_144
_SECONDS_DEFAULT: Final = 300.0
"""How long a token lasts whose answer does not say it."""
_EARLY_SECONDS: Final = 30.0
"""A token is asked for again so long before it ends."""


class NoToken(Exception):
    """The endpoint gave no token. The text has nothing of the request and nothing of the answer's body."""


@cache
def tls() -> ssl.SSLContext:
    """Give the context of all requests. It reads the certificates that are trusted once."""
    return ssl.create_default_context()


class Tokens:
    """The token of one connection."""

    def __init__(self, credentials: ClientCredentials) -> None:
        self._credentials = credentials
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def token(self, timeout: float, *, refused: str | None = None) -> str:
        """Give the token. Threads that want one at the same time wait for one request.

        Args:
            timeout: for how many seconds the endpoint is waited for.
            refused: the token that was refused: another one is asked for, unless a thread has done so already.

        Raises:
            NoToken: the endpoint gave none.

        """
        with self._lock:
            if self._token and self._token != refused and time.monotonic() < self._until:
                return self._token
            self._token, seconds = _asked(self._credentials, timeout)
            self._until = time.monotonic() + max(0.0, seconds - _EARLY_SECONDS)
            return self._token


def _asked(credentials: ClientCredentials, timeout: float) -> tuple[str, float]:
    form = {"grant_type": "client_credentials", "client_id": credentials.client_id, **credentials.body}
    form["client_secret"] = credentials.client_secret
    parts = urllib.parse.urlsplit(credentials.endpoint)
    host = parts.hostname or ""
    in_query = credentials.method == "GET"
    query = {**dict(urllib.parse.parse_qsl(parts.query)), **credentials.query, **(form if in_query else {})}
    target = (parts.path or "/") + (f"?{urllib.parse.urlencode(query)}" if query else "")
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **credentials.headers}
    try:
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, parts.port, timeout=timeout, context=tls()
            )
        elif parts.scheme == "http" and host in LOOPBACK:
            connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
        else:
            raise NoToken("the endpoint that gives tokens is not an https URL")
        try:
            body = None if in_query else urllib.parse.urlencode(form).encode()
            connection.request(credentials.method, target, body=body, headers=headers)
            answer = connection.getresponse()
            data = answer.read(_ANSWER_BYTES + 1)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoToken(f"{host} gave no token: {type(error).__name__}") from error
    told = f"{host} gave no token: it answered {answer.status} {answer.reason}".rstrip()
    if answer.status != http.HTTPStatus.OK or len(data) > _ANSWER_BYTES:
        raise NoToken(told)
    try:
        given = json.loads(data)
        token, seconds = given["access_token"], float(given.get("expires_in") or _SECONDS_DEFAULT)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoToken(f"{told}, and its body has no access_token") from error
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise NoToken(f"{told}, and its access_token is not text that a header can have")
    return token, seconds
