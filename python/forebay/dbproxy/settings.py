"""The proxy's settings: parsed and checked once, then frozen. Names and defaults are RDS Proxy's.

Source: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ConnectionPoolConfiguration.html
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from forebay._core import StatementJudge, split_statements
from forebay.dbproxy.effect import Effect
from forebay.dbproxy.secrets import Credentials, FixedSecret, Secret
from forebay.errors import InvalidParameterValue

BORROW_TIMEOUT_SECONDS_MAX = 300.0  # ConnectionBorrowTimeout
CONNECTIONS_MAX = 16_384  # AWS counts in percent; this is the largest max_connections of an RDS MySQL instance
CLIENT_LIFETIME_SECONDS_MAX = 86_400.0  # RDS Proxy closes a client connection after 24 hours
CLIENTS_MAX = 1_000_000
NAME_MAX = 63  # of an RDS proxy
DURATION_RANGES = {
    "connection_borrow_timeout": (0, BORROW_TIMEOUT_SECONDS_MAX),
    "idle_client_timeout": (0.001, 28_800),  # IdleClientTimeout: eight hours at most
    "client_lifetime": (0.001, CLIENT_LIFETIME_SECONDS_MAX),
    "idle_connection_timeout": (0, 86_400),
    "connection_lifetime": (0.001, 604_800),
    "connect_timeout": (0.01, 300),
    "query_timeout": (0.001, 86_400),
    "role_check_interval": (0.01, 3600),
    "idle_in_transaction_timeout": (0.001, 28_800),
    "transaction_timeout": (0.001, 86_400),
    "maximum_replica_lag": (0, 86_400),
}
OPTIONAL_DURATIONS = ("query_timeout", "idle_in_transaction_timeout", "transaction_timeout", "maximum_replica_lag")
CHANGEABLE = (
    "maximum_connections", "minimum_connections", "maximum_idle_connections", "maximum_clients", *DURATION_RANGES,
)  # fmt: skip
EXCLUDE_VARIABLE_SETS = "EXCLUDE_VARIABLE_SETS"
DEFAULT_PORTS = {"mysql": 3306, "postgresql": 5432}
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]{0,19}")
_ENGINES = {"mysql": "mysql", "mariadb": "mysql", "postgresql": "postgresql", "postgres": "postgresql"}


@dataclass(frozen=True, slots=True)
class Address:
    """A server's host and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """The database behind the proxy.

    Attributes:
        engine: ``"mysql"`` (MariaDB too) or ``"postgresql"``.
        addresses: the servers; with several, the writer is found by asking each of them.
        database: the database every connection begins in.
        username: the user, when the secret does not name one.

    """

    engine: str
    addresses: tuple[Address, ...]
    database: str
    username: str = ""
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.engine not in DEFAULT_PORTS:
            raise InvalidParameterValue(f"engine={self.engine!r}: must be 'mysql' or 'postgresql'")
        if not self.addresses:
            raise InvalidParameterValue("addresses: at least one server is needed")


def parse_url(url: str) -> Target:
    """Parse ``mysql://user:password@host:port,host2:port/database``.

    Raises:
        InvalidParameterValue: a part is missing or not understood. The text never holds the password.

    """
    scheme, separator, rest = url.partition("://")
    engine = _ENGINES.get(scheme.lower())
    if not separator or engine is None:
        # Before what is no "://" there may be a password.
        told = f"scheme {scheme!r}" if separator and _SCHEME.fullmatch(scheme) else "the scheme, before '://',"
        raise InvalidParameterValue(f"url: {told} is not one of mysql, mariadb, postgresql, postgres")
    for mark in ("?", "#"):
        if mark in rest.rpartition("@")[2]:
            raise InvalidParameterValue(
                "url: options in the URL are not understood. Use the settings of DBProxy (init_query, require_tls, tls_context).",
            )
    location, _, database = rest.rpartition("@")[2].partition("/")
    login = rest.rpartition("@")[0]
    username, _, password = login.partition(":")
    addresses = tuple(_parse_address(part, engine) for part in location.split(","))
    if len(set(addresses)) < len(addresses):
        raise InvalidParameterValue(f"url: {location!r} names a server twice")
    if not database or "/" in database:
        raise InvalidParameterValue(
            f"url: exactly one database name must follow the host, as in {scheme}://user@{location}/name"
        )
    return Target(engine, addresses, unquote(database), unquote(username), unquote(password) if ":" in login else None)


def _parse_address(text: str, engine: str) -> Address:
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        raise InvalidParameterValue(f"url: {text!r} is not host:port with a port from 1 to 65535") from None
    if not parts.hostname or port == 0:
        raise InvalidParameterValue(f"url: {text!r} has no host, or port 0; a server's socket file cannot be used")
    host = parts.hostname
    if ":" in host:  # an IPv6 address has its zone behind a %, which a URL may write as %25
        host = host.replace("%25", "%")
    elif "%" in host:
        raise InvalidParameterValue(f"url: {text!r} is no host name; a server's socket file cannot be used")
    return Address(host, port or DEFAULT_PORTS[engine])


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Everything a proxy was told, checked when it is made. Durations in seconds, checked by ``seconds``."""

    target: Target
    secret: Secret
    maximum_connections: int | None
    maximum_connections_percent: float | None
    minimum_connections: int
    maximum_idle_connections: int | None
    maximum_idle_connections_percent: float | None
    connection_borrow_timeout: float
    idle_client_timeout: float
    client_lifetime: float
    idle_connection_timeout: float
    connection_lifetime: float
    connect_timeout: float
    query_timeout: float | None
    init_query: tuple[str, ...]
    exclude_variable_sets: bool
    clean_functions: tuple[str, ...]
    hygiene_always: bool
    tls: ssl.SSLContext | None
    maximum_clients: int
    role_check_interval: float
    idle_in_transaction_timeout: float | None
    transaction_timeout: float | None
    maximum_replica_lag: float | None
    users: Mapping[str, Secret]

    def __post_init__(self) -> None:
        maximum, percent = check_maximum(self.maximum_connections, self.maximum_connections_percent)
        object.__setattr__(self, "maximum_connections", maximum)
        object.__setattr__(self, "maximum_connections_percent", percent)
        most = maximum or CONNECTIONS_MAX
        count("minimum_connections", self.minimum_connections, 0, most)
        if self.maximum_idle_connections is not None:
            count("maximum_idle_connections", self.maximum_idle_connections, 0, most)
        check_idle_percent(self)
        count("maximum_clients", self.maximum_clients, 1, CLIENTS_MAX)


def seconds(name: str, value: float | timedelta) -> float:
    """Check a duration against its range and give it in seconds."""
    return within_range(name, value, *DURATION_RANGES[name])


def within_range(name: str, value: Any, low: float, high: float) -> float:
    """Check a duration and give it in seconds."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not low <= number <= high:
        raise InvalidParameterValue(f"{name}={value!r}: must be {low:,.15g} to {high:,.15g} seconds")
    return float(number)


def optional_seconds(name: str, value: float | timedelta | None) -> float | None:
    """Check a duration that may be left out: None is no limit."""
    return None if value is None else seconds(name, value)


def changed(settings: ProxySettings, changes: Mapping[str, Any]) -> ProxySettings:
    """Give the settings with some of their limits changed.

    Raises:
        InvalidParameterValue: a value is out of range, or that setting cannot be changed while the proxy runs.

    """
    checked: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in CHANGEABLE:
            raise InvalidParameterValue(
                f"{name}: it cannot be changed while the proxy runs; these can: {', '.join(CHANGEABLE)}"
            )
        is_optional = name in OPTIONAL_DURATIONS
        if name in DURATION_RANGES:
            checked[name] = optional_seconds(name, value) if is_optional else seconds(name, value)
        else:
            checked[name] = value
    if "maximum_idle_connections" in checked:
        checked["maximum_idle_connections_percent"] = None
    if "maximum_connections" in checked:
        count("maximum_connections", checked["maximum_connections"], 1, CONNECTIONS_MAX)
        checked["maximum_connections_percent"] = checked["maximum_idle_connections_percent"] = None
        for name in ("minimum_connections", "maximum_idle_connections"):
            own = getattr(settings, name)
            if name not in checked and own is not None and own > checked["maximum_connections"]:
                raise InvalidParameterValue(
                    f"maximum_connections={checked['maximum_connections']!r}: {name} is {own}, which is more; change both"
                )
    return replace(settings, **checked)


def for_user(settings: ProxySettings, user: str) -> ProxySettings:
    """Give the settings of one of the proxy's other users."""
    target = replace(settings.target, username=user, password=None)
    return replace(settings, target=target, secret=settings.users[user], minimum_connections=0)


def check_users(users: Mapping[str, Secret] | None) -> dict[str, Secret]:
    """Check the secrets of further users."""
    if users is not None and not isinstance(users, Mapping):
        raise InvalidParameterValue(
            f"users={type(users).__name__}: must be a dict, as in {{'reports': EnvSecret('NAME')}}"
        )
    checked = dict(users or {})
    for user, secret in checked.items():
        if not isinstance(user, str) or not user:
            raise InvalidParameterValue(f"users: {user!r} is not the name of a database user")
        if not isinstance(secret, Secret):
            raise InvalidParameterValue(f"users: {user!r} has {type(secret).__name__}, which has no `async def get()`")
    return checked


def check_name(name: str) -> str:
    """Check a proxy's name."""
    if not isinstance(name, str) or not 0 < len(name) <= NAME_MAX or not name.isprintable():
        raise InvalidParameterValue(f"name={name!r}: must be a text of 1 to {NAME_MAX} characters that can be printed")
    return name


def count(name: str, value: int, low: int, high: int) -> int:
    """Check a whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidParameterValue(f"{name}={value!r}: must be a whole number from {low} to {high}")
    return value


def check_idle_percent(settings: ProxySettings) -> None:
    """Check the share of idle connections against the share of all."""
    percent, most = settings.maximum_idle_connections_percent, settings.maximum_connections_percent
    if percent is None:
        return
    if most is None or settings.maximum_idle_connections is not None:
        raise InvalidParameterValue(
            "maximum_idle_connections_percent: it goes with maximum_connections_percent, and without maximum_idle_connections"
        )
    if isinstance(percent, bool) or not isinstance(percent, (int, float)) or not 0 <= percent <= most:
        raise InvalidParameterValue(
            f"maximum_idle_connections_percent={percent!r}: must be 0 to {most:g}, the maximum's"
        )


def check_maximum(maximum: int | None, percent: float | None) -> tuple[int | None, float | None]:
    """Check that the maximum is given one way only; 10 connections when it is not given at all."""
    if percent is None:
        return count("maximum_connections", 10 if maximum is None else maximum, 1, CONNECTIONS_MAX), None
    if maximum is not None:
        raise InvalidParameterValue("maximum_connections and maximum_connections_percent: give one of them")
    if isinstance(percent, bool) or not isinstance(percent, (int, float)) or not 1 <= percent <= 100:  # noqa: PLR2004 - AWS's range
        raise InvalidParameterValue(f"maximum_connections_percent={percent!r}: must be 1 to 100")
    return None, float(percent)


def check_filters(filters: Iterable[str]) -> bool:
    """Check ``session_pinning_filters``; tell whether variable sets are excluded."""
    if isinstance(filters, str):
        raise InvalidParameterValue(
            f"session_pinning_filters={filters!r}: must be a sequence of names, as in ({filters!r},)"
        )
    if not isinstance(filters, Iterable):
        raise InvalidParameterValue(
            f"session_pinning_filters={filters!r}: must be a sequence of names, as in ({EXCLUDE_VARIABLE_SETS!r},)"
        )
    names = tuple(filters)
    for name in names:
        if name != EXCLUDE_VARIABLE_SETS:
            raise InvalidParameterValue(
                f"session_pinning_filters: {name!r} is unknown; the one filter is {EXCLUDE_VARIABLE_SETS!r}"
            )
    return bool(names)


def check_init_query(text: str | None, engine: str) -> tuple[str, ...]:
    """Split ``init_query`` at its semicolons."""
    if text is None:
        return ()
    if not isinstance(text, str):
        raise InvalidParameterValue(f"init_query={text!r}: must be a str of statements")
    found = split_statements(engine, text)
    if found is None:
        raise InvalidParameterValue(
            "init_query: it cannot be read to its end: a quote or a comment is open, or is run by some versions only (/*! */)"
        )
    statements = tuple(found)
    if not statements:
        raise InvalidParameterValue("init_query: there is no statement in it; leave it out instead")
    judge = StatementJudge(engine, Effect, [])
    for statement in statements:
        try:
            ends = judge.judge(statement).transaction
        except InvalidParameterValue as error:
            raise InvalidParameterValue(f"init_query: {error}") from None
        if ends:
            raise InvalidParameterValue(f"init_query: {judge.digest(statement)} is not session state")
    return statements


def check_clean_functions(names: Iterable[str]) -> tuple[str, ...]:
    """Check ``clean_functions``; give the names as the judge compares them."""
    if isinstance(names, str):
        raise InvalidParameterValue(f"clean_functions={names!r}: must be a sequence of names, as in ({names!r},)")
    if not isinstance(names, Iterable):
        raise InvalidParameterValue(f"clean_functions={names!r}: must be a sequence of names, as in ('slug',)")
    given = tuple(names)
    for name in given:
        if not isinstance(name, str) or not name or not all(name.split(".")) or name.count(".") > 1:
            raise InvalidParameterValue(f"clean_functions: {name!r} must be 'name' or 'schema.name'")
        if name.endswith(")"):
            raise InvalidParameterValue(
                f"clean_functions: {name!r} must be 'name' or 'schema.name', without parentheses and arguments"
            )
    return given


def check_hygiene(hygiene: str) -> bool:
    """Check ``hygiene``; tell whether every connection is reset between clients."""
    if hygiene not in {"auto", "always"}:
        raise InvalidParameterValue(f"hygiene={hygiene!r}: must be 'auto' or 'always'")
    return hygiene == "always"


def choose_target(target: str | Target) -> Target:
    """Take a target, or the one a URL describes."""
    if isinstance(target, Target):
        return target
    if not isinstance(target, str):
        raise InvalidParameterValue(f"target={type(target).__name__}: must be a URL or a Target")
    return parse_url(target)


def choose_secret(secret: Secret | None, target: Target) -> Secret:
    """Take the secret, or the URL's own password."""
    if secret is not None:
        if target.password is not None:
            raise InvalidParameterValue("secret: the URL holds a password too; give one of them")
        if not isinstance(secret, Secret):
            raise InvalidParameterValue(f"secret={type(secret).__name__}: must have `async def get()`")
        return secret
    if not target.username:
        raise InvalidParameterValue("url: there is no user in it; write user@host, or give secret=")
    return FixedSecret(Credentials(target.username, target.password or ""))


def choose_tls(require_tls: bool, context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """Make the TLS context: certificates and host names are checked unless the caller's own context says otherwise."""
    if context is not None and not isinstance(context, ssl.SSLContext):
        raise InvalidParameterValue(f"tls_context={type(context).__name__}: must be an ssl.SSLContext")
    if not isinstance(require_tls, bool):
        raise InvalidParameterValue(f"require_tls={require_tls!r}: must be True or False")
    if context is None and require_tls:
        return ssl.create_default_context()
    return context
