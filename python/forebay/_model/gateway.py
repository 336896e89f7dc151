"""Settings of APIs, their routes, stages and authorisers: frozen. The engine's core says whether they can be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from forebay._model import checks

PayloadFormat = Literal["1.0", "2.0"]

_FOREIGN: Final = re.compile(r"/(:\w+|<[^<>/]+>)(?=/|$)")
TIMEOUT_SECONDS_MAX: Final = 30.0
"""Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html"""
RATE_MAX: Final = 1_000_000
"""Most requests a second of a throttle, and at once."""
TOKEN_SOURCE: Final = "$request.header.Authorization"  # noqa: S105  the name of a place


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Which pages of other origins may use an API. The gateway answers preflights itself, and no handler is asked.

    Attributes:
        allow_origins: origins such as "https://shop.example.com", or "*", "https://*", "http://*".
        allow_methods: methods, or "*".
        allow_headers: headers that a page may send, or "*".
        expose_headers: headers that a page may read.
        allow_credentials: whether cookies and passwords may be sent; not with the origin "*".
        max_age: seconds that a browser may remember a preflight, -1 to 86,400; None: it decides.

    Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html

    """

    allow_origins: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ("*",)
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age: int | None = None

    def __post_init__(self) -> None:
        for option in ("allow_origins", "allow_methods", "allow_headers", "expose_headers"):
            object.__setattr__(self, option, checks.texts(option, getattr(self, option)))
        checks.flag("allow_credentials", self.allow_credentials)
        if self.max_age is not None:
            checks.integer("max_age", self.max_age, low=-1, high=86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionUrl:
    """A URL of a function's own.

    Attributes:
        cors: which pages of other origins may use it; None: none may.
        auth: "NONE": it is open to everybody who reaches the port. "AWS_IAM": a request is signed (Signature Version 4, service
            `lambda`) with an access key that `forebay aws keys` has made; without keys nobody is let in.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html

    """

    cors: Cors | None = None
    auth: Literal["NONE", "AWS_IAM"] = "NONE"

    def __post_init__(self) -> None:
        checks.one_of("auth", self.auth, ("NONE", "AWS_IAM"))
        read_cors(self.cors)


class UrlOf(NamedTuple):
    """The URL of a function."""

    function: str
    url: FunctionUrl


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpApiSettings:
    """What an HTTP API is declared with."""

    name: str
    cors: Cors | None = None
    hosts: tuple[str, ...] = ()
    port: int | None = None
    truststore: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketApiSettings:
    """What a WebSocket API is declared with."""

    name: str
    selection: str = "$request.body.action"
    ordered: bool = False
    port: int | None = None
    truststore: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPort:
    """A port at which one API is alone.

    Attributes:
        name: the API's name.
        id: its id; of a REST API, whose id the store knows, None.
        port: the port.
        truststore: the file of the authorities of its clients' certificates; None: that of all ports.

    """

    name: str
    id: str | None
    port: int
    truststore: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """A limit: requests a second, and requests at once. What is beyond it gets 429."""

    rate: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """A route of an API."""

    key: str
    function: str | None = None
    url: str | None = None
    payload_format: PayloadFormat = "2.0"
    authorizer: str | None = None
    scopes: tuple[str, ...] = ()
    timeout: float = TIMEOUT_SECONDS_MAX
    throttle: Throttle | None = None
    responds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSettings:
    """A stage of an API."""

    name: str
    variables: tuple[tuple[str, str], ...] = ()
    throttle: Throttle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings:
    """An authoriser that looks at tokens."""

    name: str
    issuer: str
    audiences: tuple[str, ...]
    identity_source: str = TOKEN_SOURCE


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionAuthorizerSettings:
    """An authoriser that asks a function."""

    name: str
    function: str
    payload_format: PayloadFormat = "2.0"
    simple_responses: bool = True
    identity_sources: tuple[str, ...] = (TOKEN_SOURCE,)
    ttl: int = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class IamSettings:
    """An authoriser that looks at the signature of a request."""

    name: str


AuthorizerSettings = JwtSettings | FunctionAuthorizerSettings | IamSettings


def read_cors(given: Cors | None) -> Cors | None:
    """Read which pages of other origins may use an API."""
    if given is not None and not isinstance(given, Cors):
        checks.refuse("cors", given, "a forebay.Cors, or None")
    return given


def foreign_variable(route: str) -> str | None:
    """Say what is amiss where a path has a variable as Express and Flask write it, which stands for itself here."""
    found = _FOREIGN.search(route)
    if found is None:
        return None
    return f"route {route!r}: {found[1]!r} stands for itself: a variable is written {{id}}"


def pairs(option: str, given: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Read texts by their names."""
    found = {} if given is None else given
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(value, str) for name, value in found.items()
    ):
        checks.refuse(option, given, "texts by their names")
    return tuple(found.items())


def read_throttle(given: tuple[float, int] | None) -> Throttle | None:
    """Read a rate and a burst."""
    if given is None:
        return None
    if not isinstance(given, tuple) or len(given) != 2:  # noqa: PLR2004  a rate and a burst
        checks.refuse("throttle", given, "a rate and a burst, as (100.0, 200), or None")
    rate, burst = given
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= RATE_MAX:
        checks.refuse("throttle", given, f"the rate is 0 to {RATE_MAX:,} requests a second")
    return Throttle(rate=float(rate), burst=checks.integer("throttle", burst, low=0, high=RATE_MAX))
