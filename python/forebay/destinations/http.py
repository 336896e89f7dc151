"""Events as HTTP requests: each is answered before it is confirmed. Where a request goes wrong, it says what that means."""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from forebay._model.api_destination import WILDCARD, header_names
from forebay._wire import cloudevents, payload
from forebay._wire.exchange import Exchange
from forebay._wire.tokens import NoToken, Tokens
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forebay._model.api_destination import ApiDestinationSettings, Secret

AT_ONCE: Final = 16
"""How many requests of one destination are under way at once; each has a thread and a connection that it keeps."""

_ANSWER_BYTES_READ: Final = 64 * 1024
"""A connection whose answer is longer is closed: nobody reads the answer."""
_OK: Final = range(200, 300)
_RETRIED: Final = frozenset((409, 429, *range(500, 600)))
"""https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations.html"""
_CODES: Final = {
    401: "NO_PERMISSIONS",
    403: "NO_PERMISSIONS",
    404: "NO_RESOURCE",
    410: "NO_RESOURCE",
    429: "THROTTLING",
}
_CLIENT_ERROR: Final = "SDK_CLIENT_ERROR"
_UNAUTHORIZED: Final = 401

Refusal = dict[str, Any]
"""Why an event was not taken, as the engine reads it."""


def refusal(code: str, message: str, *, retry_after: float = 0.0, is_final: bool = False) -> Refusal:
    """Say that an event was not taken."""
    wait_ms = max(0, round(retry_after * 1000))
    return {"error_code": code, "error_message": message, "retry_after_ms": wait_ms, "is_final": is_final}


class HttpSender:
    """Sends what an API destination is given. No part of a request or an answer is in what it tells of errors."""

    def __init__(self, settings: ApiDestinationSettings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix=f"forebay-{settings.name}")
        self._free = asyncio.Semaphore(AT_ONCE)
        self._idle: list[HTTPConnection] = []
        self._lock = threading.Lock()
        self._is_closed = False
        self._tls = ssl.create_default_context() if settings.invocation_endpoint.startswith("https:") else None
        self._tokens = None if settings.oauth is None else Tokens(settings.oauth)

    def close(self, *, cancel: bool = True) -> None:
        """Let the threads and the connections go; without `cancel`, what is under way ends first."""
        self._is_closed = True
        self._pool.shutdown(wait=False, cancel_futures=cancel)
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    async def send(self, given: dict[str, Any]) -> Refusal | None:
        """Send a request; None: the endpoint has confirmed it."""
        async with self._free:
            exchange = Exchange()
            loop = asyncio.get_running_loop()
            # Each read has its own timeout: this one ends a request whose answer comes a byte at a time.
            timer = loop.call_later(self._settings.timeout, exchange.abort)
            try:
                return await loop.run_in_executor(self._pool, self._send, given, exchange)
            finally:
                timer.cancel()
                exchange.abort()

    def _send(self, given: dict[str, Any], exchange: Exchange) -> Refusal | None:
        where = f"{self._settings.name} ({self._settings.host})"
        try:
            request = _Request.of(self._settings, given)
        except InvalidParameterValue as error:
            return refusal(_CLIENT_ERROR, f"no request to {where} can be made of the event: {error}", is_final=True)
        except Exception as error:  # noqa: BLE001  a function of the user's that gives a secret
            return refusal(_CLIENT_ERROR, f"a secret of {where} was not given: {type(error).__name__}")
        try:
            status, reason, retry_after = self._authorized(request, exchange)
        except NoToken as error:
            return refusal(_CLIENT_ERROR, f"{where}: {error}")
        except (OSError, HTTPException) as error:
            if exchange.is_aborted or isinstance(error, TimeoutError):
                return refusal("TIMEOUT", f"{where} did not answer within {self._settings.timeout:g} s")
            return refusal(_CLIENT_ERROR, f"{where} was not reached: {type(error).__name__}: {_plain(error)}")
        message = f"{where} answered {status} {reason}".rstrip()
        code, is_final = _CODES.get(status, _CLIENT_ERROR), status not in _RETRIED
        return None if status in _OK else refusal(code, message, retry_after=retry_after, is_final=is_final)

    def _authorized(self, request: _Request, exchange: Exchange) -> tuple[int, str, float]:
        """Send a request with a token, if the connection has tokens. One that is refused is asked for again, once."""
        if self._tokens is None:
            return self._ask(request, exchange)
        token = self._tokens.token(self._settings.timeout)
        request.headers["Authorization"] = f"Bearer {token}"
        answer = self._ask(request, exchange)
        if answer[0] != _UNAUTHORIZED:
            return answer
        token = self._tokens.token(self._settings.timeout, refused=token)
        request.headers["Authorization"] = f"Bearer {token}"
        return self._ask(request, exchange)

    def _ask(self, request: _Request, exchange: Exchange) -> tuple[int, str, float]:
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            try:
                return self._ask_on(kept, request, exchange)
            except (ConnectionError, HTTPException):
                kept.close()  # the server has let it go meanwhile
                if exchange.is_aborted:
                    raise
        return self._ask_on(self._connection(), request, exchange)

    def _connection(self) -> HTTPConnection:
        parts = urlsplit(self._settings.invocation_endpoint)
        host, timeout = parts.hostname or "", self._settings.timeout
        if self._tls is not None:
            return HTTPSConnection(host, parts.port, timeout=timeout, context=self._tls)
        return HTTPConnection(host, parts.port, timeout=timeout)

    def _ask_on(self, connection: HTTPConnection, request: _Request, exchange: Exchange) -> tuple[int, str, float]:
        is_kept = False
        try:
            if connection.sock is None:
                connection.connect()
            exchange.begins(connection.sock)
            connection.request(self._settings.http_method, request.target, request.body, request.headers)
            answer = connection.getresponse()
            answer.read(_ANSWER_BYTES_READ)
            is_kept = answer.isclosed() and not answer.will_close
            return answer.status, _one_word(answer.reason), _retry_after(answer)
        finally:
            exchange.ends()
            if is_kept and not exchange.is_aborted and not self._is_closed:
                with self._lock:
                    self._idle.append(connection)
            else:
                connection.close()


class _Request:
    """A request, ready to be sent."""

    def __init__(self, target: str, headers: dict[str, str], body: bytes) -> None:
        self.target = target
        self.headers = headers
        self.body = body

    @classmethod
    def of(cls, settings: ApiDestinationSettings, given: dict[str, Any]) -> _Request:
        parameters = given["http_parameters"]
        said, body = _body(settings, given["body"])
        headers = _headers(settings, {**said, **parameters["header_parameters"]})
        return cls(_target(settings, parameters), headers, body)


def _target(settings: ApiDestinationSettings, parameters: dict[str, Any]) -> str:
    """Give path and query. Where a rule and the connection name the same, the connection's counts, as on AWS."""
    parts = urlsplit(settings.invocation_endpoint)
    values = parameters["path_parameter_values"]
    pieces = parts.path.split(WILDCARD)
    if len(values) != len(pieces) - 1:
        raise InvalidParameterValue(
            f"its path has {len(pieces) - 1} wildcards, and the rule gives {len(values)} values"
        )
    path = pieces[0] + "".join(quote(value, safe="") + piece for value, piece in zip(values, pieces[1:], strict=True))
    # A server would take them for a step up: an event must not choose which endpoint the connection's secret opens.
    if values and not {".", ".."}.isdisjoint(path.split("/")):
        raise InvalidParameterValue("a value of its path is '.' or '..', which would lead to another path")
    query: dict[str, str] = {**parameters["query_string_parameters"], **_open(settings.query_string_parameters)}
    own = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in query]
    text = urlencode([*own, *query.items()])
    return f"{path or '/'}?{text}" if text else path or "/"


def _headers(settings: ApiDestinationSettings, given: dict[str, str]) -> dict[str, str]:
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "forebay"}
    headers |= _titled(given) | _titled(_open(settings.header_parameters))
    if settings.api_key is not None:
        name, key = settings.api_key
        headers |= _titled(_open({name: key}))
    if settings.basic is not None:
        user, password = settings.basic
        token = base64.b64encode(f"{user}:{_said(password)}".encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    header_names("header_parameters", headers)  # a path into the event may have found anything
    return headers


def _titled(given: Mapping[str, str]) -> dict[str, str]:
    """Write names in one way, so that one name is one header."""
    return {"-".join(word.capitalize() for word in name.split("-")): value for name, value in given.items()}


def _body(settings: ApiDestinationSettings, text: str) -> tuple[dict[str, str], bytes]:
    """Give the body, and headers that belong to it."""
    if settings.cloud_events is None and not settings.body_parameters:
        return {}, text.encode()
    try:
        body = payload.loads(text.encode())
    except ValueError:
        body = None
    if settings.cloud_events is not None:
        event = cloudevents.of(body)
        if settings.cloud_events == "binary":
            return cloudevents.binary(event)
        return {"content-type": f"{cloudevents.STRUCTURED}; charset=utf-8"}, payload.dumps(event)
    if not isinstance(body, dict):
        raise InvalidParameterValue("the destination has body_parameters, and what it is given is not a JSON object")
    return {}, payload.dumps({**body, **settings.body_parameters})


def _open(secrets: Mapping[str, Secret]) -> dict[str, str]:
    return {name: _said(value) for name, value in secrets.items()}


def _said(value: str | Callable[[], str]) -> str:
    return value if isinstance(value, str) else value()


def _retry_after(answer: HTTPResponse) -> float:
    """Read for how many seconds the endpoint wants to be left alone: seconds, or a date."""
    text = (answer.headers.get("Retry-After") or "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _one_word(reason: str) -> str:
    return " ".join(reason.split())[:60]


def _plain(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
