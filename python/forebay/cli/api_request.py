"""Sends a request to a running app's HTTP port, as `forebay api test` does, and shows what came back."""

from __future__ import annotations

import http
import http.client
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import click

from forebay._wire import payload

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_SECONDS = 60.0


class Request(NamedTuple):
    """What is sent."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: str | None


def read_request(route: str, headers: tuple[str, ...], data: str | None) -> Request:
    """Read `GET /orders/7` and headers such as `name: value`."""
    method, _, path = route.partition(" ")
    if not method.isalpha() or not path.startswith("/"):
        raise click.UsageError(f'{route!r}: a request is a method and a path, as "GET /orders/7"')
    pairs = [(name.strip(), value.strip()) for name, found, value in (one.partition(":") for one in headers) if found]
    if len(pairs) != len(headers):
        raise click.UsageError('a header is a name and a value, as "accept: text/plain"')
    if data is not None and not any(name.lower() == "content-type" for name, _ in pairs):
        pairs.append(("content-type", _kind(data)))
    return Request(method.upper(), path, tuple(pairs), data)


def _kind(data: str) -> str:
    """Give the media type of a text. A body without one reaches a handler in base64."""
    try:
        payload.loads(data)
    except ValueError:
        return "text/plain"
    return "application/json"


def send(url: str, request: Request) -> dict[str, Any]:
    """Send a request to an app; give the answer's status, headers and body."""
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or place.hostname is None:
        raise click.UsageError(f"--url is {url!r}: allowed is where the app serves HTTP, as http://127.0.0.1:8000")
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.hostname, place.port, timeout=TIMEOUT_SECONDS)
    try:
        body = None if request.body is None else request.body.encode()
        connection.request(request.method, request.path, body, dict(request.headers))
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        return {"status": answer.status, "headers": dict(answer.getheaders()), "body": text}
    except OSError as error:
        raise click.ClickException(
            f"nothing answers at {url}: {error}. Next: start the app with --http-port, and say where by --url"
        ) from error
    finally:
        connection.close()


def run_method(url: str, token: str, place: Mapping[str, str], request: Request) -> dict[str, Any]:
    """Have the app run a method of a REST API, with its token, as `TestInvokeMethod` does; give its answer with the log."""
    asked = {
        **place,
        "httpMethod": request.method,
        "pathWithQueryString": request.path,
        "headers": dict(request.headers),
        "body": request.body,
    }
    known = (("authorization", f"Bearer {token}"),)
    told = send(url, Request("POST", "/_test/invoke-method", known, payload.dumps(asked).decode()))
    answer: dict[str, Any] = payload.loads(told["body"])
    if told["status"] != http.HTTPStatus.OK:
        raise click.ClickException(str(answer.get("message", told["body"])))
    return answer


def text_of(answer: Mapping[str, Any]) -> str:
    """Write an answer for people: the status, the headers, the body, and the log if there is one."""
    lines = [str(answer["status"]), *(f"{name}: {value}" for name, value in answer["headers"].items()), ""]
    lines.append(answer["body"])
    if answer.get("log"):
        lines += ["", answer["log"].rstrip()]
    return "\n".join(lines)
