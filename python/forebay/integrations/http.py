"""`http:invoke`: calls of HTTPS endpoints, with the authorization of a connection."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

from forebay._model.connection import ApiKey, BasicAuth, ClientCredentials, Connection
from forebay._wire.exchange import Exchange
from forebay._wire.tokens import LOOPBACK, NoToken, Tokens, tls
from forebay.errors import InvalidParameterValue
from forebay.integrations.port import ServiceCall, TaskError
from forebay.integrations.threads import THREADS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SECONDS: Final = 60.0
"""How long a call may take, with its token and its whole answer, as on AWS."""
_RESPONSE_BYTES: Final = 262_144
_BEARER: Final = "Bearer "
_PARAMETERS: Final = (
    "ApiEndpoint",
    "Authentication",
    "Headers",
    "Method",
    "QueryParameters",
    "RequestBody",
    "Transform",
)
# Nobody may set these in a definition; AWS refuses them, too.
_REFUSED: Final = (
    "x-amz",
    "x-amzn",
    "x-forwarded",
    "host",
    "content-length",
    "transfer-encoding",
    "authorization",
    "via",
)


class Http:
    """Calls HTTPS endpoints for tasks. Endpoints of this machine may be called by HTTP, too.

    Args:
        connections: how to authorize, by the connection's name: `Authentication.ConnectionArn` of a task names one.

    Source: https://docs.aws.amazon.com/step-functions/latest/dg/call-https-apis.html

    """

    def __init__(self, connections: Mapping[str, Connection] | None = None) -> None:
        self._connections = dict(connections or {})
        self._tokens: dict[str, Tokens] = {}
        for name, connection in self._connections.items():
            if not isinstance(connection, BasicAuth | ApiKey | ClientCredentials):
                raise InvalidParameterValue(
                    f"connections[{name!r}]={connection!r}: allowed are BasicAuth, ApiKey and ClientCredentials"
                )

    @property
    def resources(self) -> Sequence[str]:
        """Name what can be called."""
        return ("http:invoke",)

    @property
    def parameters(self) -> Mapping[str, Sequence[str]]:
        """Name what a call takes."""
        return {"http:invoke": _PARAMETERS}

    async def call(self, call: ServiceCall) -> Any:
        """Make a call.

        Raises:
            TaskError: the endpoint cannot be reached, or has answered with a status that is not a success.

        """
        exchange = Exchange()
        try:
            # Each read has its own timeout: this one ends a call whose answer comes a byte at a time.
            async with asyncio.timeout(_SECONDS):
                return await THREADS.run(self._invoke, call.parameters, exchange)
        except TimeoutError as error:
            host = urllib.parse.urlsplit(str(call.parameters.get("ApiEndpoint"))).hostname
            raise TaskError("States.Http.Socket", f"{host} has not answered within {_SECONDS:g} s") from error
        finally:
            exchange.abort()  # of a task that is stopped, too: its thread ends

    def _invoke(self, given: dict[str, Any], exchange: Exchange) -> Any:
        endpoint, method = given.get("ApiEndpoint"), str(given.get("Method", "")).upper()
        if not isinstance(endpoint, str) or not method:
            raise TaskError("States.Runtime", "ApiEndpoint or Method is missing")
        headers = _headers(given.get("Headers") or {})
        authorization = self._authorized(given.get("Authentication"))
        body = _body(given, headers)
        query = urllib.parse.urlencode(given.get("QueryParameters") or {}, doseq=True)
        if query:
            endpoint += ("&" if "?" in endpoint else "?") + query
        status, reason, told, data = _request(exchange, endpoint, method, headers | authorization, body)
        if status == http.HTTPStatus.UNAUTHORIZED and authorization.get("Authorization", "").startswith(_BEARER):
            # The token may have been taken back before its time.
            refused = authorization["Authorization"].removeprefix(_BEARER)
            authorization = self._authorized(given.get("Authentication"), refused)
            status, reason, told, data = _request(exchange, endpoint, method, headers | authorization, body)
        text = data.decode("utf-8", "replace")
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's successes
            raise TaskError(f"States.Http.StatusCode.{status}", text or reason)
        kind = told.get("content-type", [""])[0].partition(";")[0].strip()
        is_json = kind == "application/json" or kind.endswith("+json")
        answer: Any = text
        if is_json and text:
            try:
                answer = json.loads(text)
            except ValueError as error:
                raise TaskError("States.Runtime", f"the response is not JSON: {error}") from error
        return {"Headers": told, "ResponseBody": answer, "StatusCode": status, "StatusText": reason}

    def _authorized(self, given: Any, refused: str | None = None) -> dict[str, str]:
        if given is None:
            return {}
        arn = given.get("ConnectionArn", "") if isinstance(given, dict) else ""
        name = arn.partition(":connection/")[2].partition("/")[0] or arn
        connection = self._connections.get(name)
        match connection:
            case BasicAuth(username, password):
                pair = base64.b64encode(f"{username}:{password}".encode()).decode()
                return {"Authorization": f"Basic {pair}"}
            case ApiKey(header, value):
                return {header: value}
            case ClientCredentials():
                return {"Authorization": f"{_BEARER}{self._token(name, connection, refused)}"}
        cause = f"connection {name!r} is not known: forebay.integrations.Http(connections={{{name!r}: …}})"
        raise TaskError("Events.ConnectionResource.InvalidConnectionState", cause)

    def _token(self, name: str, connection: ClientCredentials, refused: str | None) -> str:
        tokens = self._tokens.setdefault(name, Tokens(connection))
        try:
            return tokens.token(_SECONDS, refused=refused)
        except NoToken as error:
            cause = f"connection {name!r} has no token: {error}"
            raise TaskError("Events.ConnectionResource.InvalidConnectionState", cause) from error


def _headers(given: dict[str, Any]) -> dict[str, str]:
    headers = {"User-Agent": "forebay", "Accept": "*/*"}
    for name, value in given.items():
        if name.lower().startswith(_REFUSED):
            raise TaskError("States.Runtime", f"Headers: {name!r} cannot be set")
        headers[name] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    if any(ord(character) < ord(" ") for text in (*headers, *headers.values()) for character in text):
        raise TaskError("States.Runtime", "Headers: a name or a value has a control character")
    return headers


def _body(given: dict[str, Any], headers: dict[str, str]) -> bytes | None:
    if "RequestBody" not in given:
        return None
    body, shape = given["RequestBody"], given.get("Transform") or {}
    if shape.get("RequestBodyEncoding") == "URL_ENCODED":
        form = (shape.get("RequestEncodingOptions") or {}).get("ArrayFormat", "INDICES")
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        return urllib.parse.urlencode(list(_pairs(body, "", form))).encode()
    headers.setdefault("Content-Type", "application/json")
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _pairs(value: Any, name: str, form: str) -> list[tuple[str, str]]:
    """Write a document as pairs of a form, as AWS does: members in brackets."""
    if isinstance(value, dict):
        members = ((f"{name}[{key}]" if name else key, one) for key, one in value.items())
        return [pair for member, one in members for pair in _pairs(one, member, form)]
    if isinstance(value, list):
        if form == "COMMAS":
            return [(name, ",".join(map(str, value)))]
        shown = {"INDICES": "{0}[{1}]", "BRACKETS": "{0}[]", "REPEAT": "{0}", "NONE": "{0}"}.get(form, "{0}[{1}]")
        return [pair for at, one in enumerate(value) for pair in _pairs(one, shown.format(name, at), form)]
    return [(name, json.dumps(value) if isinstance(value, bool) or value is None else str(value))]


def _request(
    exchange: Exchange, url: str, method: str, headers: dict[str, str], body: bytes | None
) -> tuple[int, str, dict[str, list[str]], bytes]:
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=_SECONDS, context=tls()
        )
    elif parts.scheme == "http" and host in LOOPBACK:
        connection = http.client.HTTPConnection(host, parts.port, timeout=_SECONDS)
    else:
        raise TaskError("States.Runtime", f"ApiEndpoint {url!r}: an endpoint begins with https://")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    answer = None
    try:
        connection.connect()
        exchange.begins(connection.sock)
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        data = answer.read(_RESPONSE_BYTES + 1)
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TaskError("States.Http.Socket", f"{host}: {error}") from error
    finally:
        exchange.ends()
        connection.close()
        if answer is not None:  # of a server that closes behind it, it alone has the socket
            answer.close()
    if len(data) > _RESPONSE_BYTES:
        raise TaskError("States.DataLimitExceeded", f"the response has more than {_RESPONSE_BYTES} bytes")
    told: dict[str, list[str]] = {}
    for name, value in answer.getheaders():
        told.setdefault(name.lower(), []).append(value)
    return answer.status, answer.reason, told, data
