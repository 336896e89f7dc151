"""Settings of an API destination: frozen, and valid once they exist. No secret is in their text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from forebay._model import checks, limits, names
from forebay._model.connection import ClientCredentials
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Secret: TypeAlias = "str | Callable[[], str]"  # noqa: S105 - a type
    """A secret, or what gives it each time that one is needed."""

METHODS: Final = ("POST", "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
"""https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateApiDestination.html"""

ENDPOINT_CHARACTERS_MAX: Final = 2048
RATE_MAX: Final = 1_000_000
TIMEOUT_SECONDS_MAX: Final = 30.0
PARAMETERS_MAX: Final = 100
WILDCARD: Final = "*"

_OWN_HEADERS: Final = frozenset(
    ("connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)
"""What the request's sender itself says."""
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_LOOPBACK: Final = re.compile(r"localhost|127(\.\d+){3}|::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDestinationSettings:
    """Where requests go, with what, and how many in a second.

    Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations.html
    """

    name: str
    invocation_endpoint: str
    http_method: str = "POST"
    basic: tuple[str, Secret] | None = field(default=None, repr=False)
    api_key: tuple[str, Secret] | None = field(default=None, repr=False)
    oauth: ClientCredentials | None = field(default=None, repr=False)
    header_parameters: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    query_string_parameters: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    body_parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cloud_events: Literal["structured", "binary"] | None = None
    invocation_rate_limit: int | None = limits.API_DESTINATION_RATE_DEFAULT
    timeout: float = limits.API_DESTINATION_TIMEOUT_SECONDS_DEFAULT

    def __post_init__(self) -> None:
        names.rule_name(self.name)
        checks.one_of("http_method", self.http_method, METHODS)
        if self.invocation_rate_limit is not None:
            checks.integer("invocation_rate_limit", self.invocation_rate_limit, low=1, high=RATE_MAX)
        timeout = checks.seconds("timeout", self.timeout, low=0.1, high=TIMEOUT_SECONDS_MAX)
        object.__setattr__(self, "timeout", timeout)
        if self.cloud_events not in (None, "structured", "binary"):
            checks.refuse("cloud_events", self.cloud_events, 'allowed are "structured", "binary" and None')
        if self.cloud_events is not None and self.body_parameters:
            checks.refuse_content("body_parameters", self.body_parameters, "a CloudEvent's body is the event alone")
        self._check_secrets()
        self._check_endpoint()
        header_names("header_parameters", self.header_parameters)
        for option in ("header_parameters", "query_string_parameters", "body_parameters"):
            if len(getattr(self, option)) > PARAMETERS_MAX:
                checks.refuse_content(option, getattr(self, option), f"allowed are {PARAMETERS_MAX} parameters")
        body_fields(self.body_parameters)

    def __repr__(self) -> str:
        return f"ApiDestinationSettings(name={self.name!r}, host={self.host!r}, http_method={self.http_method!r})"

    @property
    def host(self) -> str:
        """The endpoint's host: the rest of an endpoint may be secret."""
        return urlsplit(self.invocation_endpoint).hostname or ""

    @property
    def wildcards(self) -> int:
        """How many values the endpoint's path wants."""
        return urlsplit(self.invocation_endpoint).path.count(WILDCARD)

    def _check_endpoint(self) -> None:
        endpoint = self.invocation_endpoint
        try:
            parts = urlsplit(endpoint)
            port = parts.port
        except (TypeError, ValueError, AttributeError):
            checks.refuse_content(
                "invocation_endpoint", endpoint, "allowed is a URL such as https://example.com/orders/*"
            )
        is_plain = endpoint.isascii() and endpoint.isprintable() and " " not in endpoint
        if (
            not is_plain
            or len(endpoint) > ENDPOINT_CHARACTERS_MAX
            or parts.scheme not in ("http", "https")
            or not parts.hostname
            or port == 0
        ):
            checks.refuse_content(
                "invocation_endpoint",
                endpoint,
                f"allowed is a URL with http or https of at most {ENDPOINT_CHARACTERS_MAX:,} ASCII characters, such as "
                "https://example.com/orders/*",
            )
        if parts.fragment or parts.username is not None or WILDCARD in parts.netloc + parts.query:
            checks.refuse_content(
                "invocation_endpoint", endpoint, "a user, a fragment, and a * outside of the path are not allowed"
            )
        has_secrets = bool(self.basic or self.api_key or self.oauth)
        if has_secrets and parts.scheme == "http" and not _LOOPBACK.fullmatch(parts.hostname):
            checks.refuse_content(
                "invocation_endpoint", endpoint, "with basic, api_key or oauth it must be https, except on this machine"
            )

    def _check_secrets(self) -> None:
        if sum(way is not None for way in (self.basic, self.api_key, self.oauth)) > 1:
            raise_both()
        if self.oauth is not None:
            client_credentials(self.oauth)
        for option, pair in (("basic", self.basic), ("api_key", self.api_key)):
            if pair is None:
                continue
            if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str) or not pair[0]:  # noqa: PLR2004
                checks.refuse_content(option, pair, "allowed is a pair: a name, and the secret or what gives it")
            secret(option, pair[1])
        if self.basic is not None and ":" in self.basic[0]:
            checks.refuse_content("basic", self.basic, "a user's name has no colon")
        if self.api_key is not None:
            header_names("api_key", {self.api_key[0]: self.api_key[1]})
        for option in ("header_parameters", "query_string_parameters"):
            for value in getattr(self, option).values():
                secret(option, value)


def raise_both() -> None:
    """Refuse two ways of authorization."""
    checks.refuse_content("basic", (), "give basic, api_key or oauth: a connection has one way of authorization")


def client_credentials(given: object) -> None:
    """Refuse what asks for no token."""
    if not isinstance(given, ClientCredentials):
        checks.refuse_content("oauth", given, "allowed is forebay.integrations.ClientCredentials")
    checks.one_of("oauth.method", given.method, ("POST", "PUT", "GET"))
    texts = [given.endpoint, given.client_id, given.client_secret]
    texts += [text for part in (given.body, given.headers, given.query) for pair in part.items() for text in pair]
    if not all(isinstance(text, str) for text in texts):
        checks.refuse_content("oauth", given, "its endpoint, id, secret and further parameters are texts")
    parts = urlsplit(given.endpoint)
    if parts.scheme != "https" and not (parts.scheme == "http" and _LOOPBACK.fullmatch(parts.hostname or "")):
        checks.refuse_content("oauth", given, "its endpoint is an https URL; on this machine it may be http")
    header_names("oauth.headers", given.headers)


def secret(option: str, value: object) -> None:
    """Check a secret that is given itself, or something that gives it."""
    if not callable(value) and not isinstance(value, str):
        checks.refuse_content(option, value, "allowed is a str, or a function without arguments that returns one")


def header_names(option: str, given: Mapping[str, object]) -> None:
    """Refuse names that no header has, values that none can have, and headers that the sender says itself."""
    for name, value in given.items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            checks.refuse_content(option, name, "a name of a header has letters, digits, and characters such as '-'")
        if name.lower() in _OWN_HEADERS:
            checks.refuse(option, name, "forebay says this header itself")
        if isinstance(value, str) and not _VALUE.fullmatch(value):
            checks.refuse_content(option, value, "a header's value has printable ASCII characters")


def body_fields(given: Mapping[str, Any]) -> None:
    """Refuse what is not part of a JSON object; its text is not told."""
    if not all(isinstance(name, str) for name in given):
        checks.refuse_content("body_parameters", given, "names are str")
    try:
        checks.json_text("body_parameters", dict(given))
    except InvalidParameterValue:
        checks.refuse_content("body_parameters", given, "it cannot be written as JSON")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpParameters:
    """What a rule adds to each request; a text that begins with "$." is a path into the event.

    Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_HttpParameters.html
    """

    path_parameter_values: tuple[str, ...] = ()
    header_parameters: tuple[tuple[str, str], ...] = ()
    query_string_parameters: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        header_names("header_parameters", dict(self.header_parameters))
        texts = [*self.path_parameter_values]
        texts += [text for pair in (*self.header_parameters, *self.query_string_parameters) for text in pair]
        if not all(isinstance(text, str) for text in texts):
            checks.refuse_content("parameters", texts, "allowed are texts")

    def fields(self) -> dict[str, Any]:
        """Give them as the engine takes them."""
        return {
            "path_parameter_values": list(self.path_parameter_values),
            "header_parameters": dict(self.header_parameters),
            "query_string_parameters": dict(self.query_string_parameters),
        }
