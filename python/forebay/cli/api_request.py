"""Sends a request to a running app's HTTP port, as `forebay api test` does, and shows what came back."""

from __future__ import annotations

import http
import http.client
import re
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import click

from forebay._wire import payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TIMEOUT_SECONDS = 60.0
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Request(NamedTuple):
    """What is sent."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None


class Target(NamedTuple):
    """Where it is sent.

    Attributes:
        url: the address, without a path.
        certificate: the file of the certificate that is shown there; None: one of a known authority, for the address.
        shown: the files of the client's certificate and its key, if it shows one.

    """

    url: str
    certificate: str | None = None
    shown: tuple[str, str] | None = None


def read_request(route: str, headers: tuple[str, ...], data: str | None) -> Request:
    """Read `GET /orders/7` and headers such as `name: value`."""
    method, _, path = route.partition(" ")
    if not method.isalpha() or not path.startswith("/"):
        raise click.UsageError(f'{route!r}: a request is a method and a path, as "GET /orders/7"')
    pairs = [(name.strip(), value.strip()) for name, found, value in (one.partition(":") for one in headers) if found]
    if len(pairs) != len(headers):
        raise click.UsageError('a header is a name and a value, as "accept: text/plain"')
    body = None if data is None else _body(data)
    if body is not None and not any(name.lower() == "content-type" for name, _ in pairs):
        pairs.append(("content-type", _kind(body)))
    return Request(method.upper(), path, tuple(pairs), body)


def _body(data: str) -> bytes:
    """Give the body that `--data` says: its text, or what is in the file that it names behind an @, as curl reads it."""
    if not data.startswith("@"):
        return data.encode()
    if data == "@-":
        return sys.stdin.buffer.read()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise click.UsageError(f"--data: {data[1:]} cannot be read: {error.strerror}") from error


def _kind(body: bytes) -> str:
    """Give the media type of a body. One without it reaches a handler in base64."""
    try:
        payload.loads(body.decode())
    except UnicodeDecodeError:
        return "application/octet-stream"
    except ValueError:
        return "text/plain"
    return "application/json"


def send(target: Target, request: Request) -> dict[str, Any]:
    """Send a request to an app; give the answer's status, headers and body."""
    url, place = target.url, urlsplit(target.url)
    if place.scheme not in ("http", "https") or place.hostname is None:
        raise click.UsageError(f"--url is {url!r}: allowed is where the app serves HTTP, as http://127.0.0.1:8000")
    connection = (
        http.client.HTTPSConnection(place.hostname, place.port, timeout=TIMEOUT_SECONDS, context=_context(target))
        if place.scheme == "https"
        else http.client.HTTPConnection(place.hostname, place.port, timeout=TIMEOUT_SECONDS)
    )
    try:
        connection.connect()
        _check_certificate(target, connection.sock)
        _ask(connection, request)
        answer = connection.getresponse()
        text, headers = answer.read().decode("utf-8", "replace"), answer.getheaders()
        return {
            "status": answer.status,
            "headers": dict(headers),
            "multiValueHeaders": _by_name(headers),
            "body": text,
        }
    except (OSError, http.client.HTTPException) as error:
        raise click.ClickException(_reason(target, error)) from error
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection, request: Request) -> None:
    """Send a request whose headers may have names that stand more than once."""
    given = {name.lower() for name, _ in request.headers}
    connection.putrequest(request.method, request.path, skip_host="host" in given, skip_accept_encoding=True)
    for name, value in request.headers:
        connection.putheader(name, value)
    has_body = request.body is not None or request.method in {"POST", "PUT", "PATCH"}
    if has_body and "content-length" not in given:
        connection.putheader("content-length", str(len(request.body or b"")))
    connection.endheaders(request.body)


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return values


def _context(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if target.certificate is not None:  # the very certificate is looked for, whoever has signed it and for what name
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if target.shown is not None:
        try:
            context.load_cert_chain(*target.shown)
        except OSError as error:
            raise click.ClickException(f"--cert and --key cannot be read: {error}") from error
    return context


def _check_certificate(target: Target, sock: Any) -> None:
    """Refuse another server than the app that has told its address, which would be given the app's token."""
    if target.certificate is None:
        return
    try:
        known = _CERTIFICATE.search(Path(target.certificate).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"the app's certificate cannot be read: {error}. Next: give --url") from error
    if known is None or sock.getpeercert(binary_form=True) != ssl.PEM_cert_to_DER_cert(known[0]):
        raise click.ClickException(
            f"what answers at {target.url} does not show the certificate in {target.certificate}: it is another program, or "
            "the app has not read a new certificate yet"
        )


def _reason(target: Target, error: OSError | http.client.HTTPException) -> str:
    """Say what is wrong where no answer came, and what to do next."""
    url = target.url
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of what answers at {url} is not good here: {error.verify_message}. Next: set SSL_CERT_FILE to the "
            "file of its authority, or leave --url out, and the app's own certificate is looked for"
        )
    wants_certificate = "Next: show a client's certificate by --cert and --key, if it asks for one"
    if isinstance(error, ssl.SSLError):
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            return f"what answers at {url} does not speak TLS. Next: say http:// by --url"
        return f"TLS with what answers at {url} failed: {error}. {wants_certificate}"
    if isinstance(error, ConnectionResetError | BrokenPipeError) and url.startswith("https:"):
        return f"what answers at {url} has hung up: {error}. {wants_certificate}"
    if isinstance(error, http.client.HTTPException | ConnectionResetError):
        return f"what answers at {url} does not speak HTTP. Next: say https:// by --url, if it speaks TLS"
    return f"nothing answers at {url}: {error}. Next: start the app with --http-port, and say where by --url"


def run_method(target: Target, token: str, place: Mapping[str, str], request: Request) -> dict[str, Any]:
    """Have the app run a method of a REST API, with its token, as `TestInvokeMethod` does; give its answer with the log."""
    try:
        body = None if request.body is None else request.body.decode()
    except UnicodeDecodeError as error:
        raise click.ClickException("the body is not UTF-8: a method of a REST API is tested with a text") from error
    asked = {
        **place,
        "httpMethod": request.method,
        "pathWithQueryString": request.path,
        "multiValueHeaders": _by_name(request.headers),
        "body": body,
    }
    known = (("authorization", f"Bearer {token}"),)
    told = send(target, Request("POST", "/_test/invoke-method", known, payload.dumps(asked)))
    answer: dict[str, Any] = payload.loads(told["body"])
    if told["status"] != http.HTTPStatus.OK:
        raise click.ClickException(str(answer.get("message", told["body"])))
    return answer


def text_of(answer: Mapping[str, Any]) -> str:
    """Write an answer for people: the status, the headers, the body, and the log if there is one."""
    several = answer.get("multiValueHeaders", {})
    headers = [(name, one) for name, value in answer["headers"].items() for one in several.get(name, [value])]
    lines = [str(answer["status"]), *(f"{name}: {value}" for name, value in headers), ""]
    lines.append(answer["body"])
    if answer.get("log"):
        lines += ["", answer["log"].rstrip()]
    return "\n".join(lines)
