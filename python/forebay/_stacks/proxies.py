"""Database proxies: each is a `forebay.DBProxy` in the functions that have its endpoint in a variable."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from forebay._sam import secret
from forebay._sam.stored import SECRET, VALUE
from forebay._stacks.kind import Kind, Properties, flag, number, words
from forebay._stacks.messaging import TAGS
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from forebay._sam.plan import Resource, World

HOST: Final = ".proxy.forebay.invalid"
"""The end of each endpoint. No name server knows it, so that a client by TCP fails, and reaches nothing else."""
_ENGINES: Final = {"MYSQL": "mysql", "POSTGRESQL": "postgresql"}
_AUTH: Final = words("AuthScheme ClientPasswordAuthType Description IAMAuth SecretArn UserName")
_POOL: Final = words(
    "ConnectionBorrowTimeout InitQuery MaxConnectionsPercent MaxIdleConnectionsPercent SessionPinningFilters"
)
_PERCENT: Final = 100
"""Source: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ConnectionPoolConfiguration.html"""
_GROUP: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A proxy as the functions of a stack are attached to it. Equal ones are opened once.

    Attributes:
        name: the proxy's name.
        endpoint: what stands for its address.
        arn: its ARN.
        engine: "mysql" or "postgresql".
        secrets: ARNs of the secrets with its database users; the first one tells where the database is, too.
        settings: of `forebay.DBProxy`.
        version: another one when a secret of the stack has another value.

    """

    name: str
    endpoint: str
    arn: str
    engine: str
    secrets: tuple[str, ...]
    settings: tuple[tuple[str, Any], ...]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What a secret says of a database user, and of the database. Its password is not kept."""

    host: str
    port: int | None
    database: str
    username: str


def login(arn: str, value: str, *, needs_database: bool) -> Login:
    """Read a secret as RDS writes them: `username`, `password`, and `host`, `port`, `dbname` of the database.

    Raises:
        InvalidParameterValue: something is missing; says what, and nothing of the value.

    """
    needed = ["username", "password", *(("host", "dbname") if needs_database else ())]
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    found = found if isinstance(found, dict) else {}
    missing = [key for key in needed if not isinstance(found.get(key), str) or not found[key]]
    if missing:
        raise InvalidParameterValue(
            f"the secret {arn} has no {' and no '.join(missing)}: a proxy reads JSON with username, password, host, port and "
            "dbname"
        )
    port = found.get("port")
    if port is not None and not str(port).isdecimal():
        raise InvalidParameterValue(f"the secret {arn}: port is a number")
    return Login(
        host=found.get("host", ""),
        port=None if port is None else int(port),
        database=found.get("dbname", ""),
        username=found["username"],
    )


def _proxy_check(properties: Properties) -> Iterator[tuple[str, str]]:
    if properties.get("DefaultAuthScheme", "NONE") == "IAM_AUTH":
        yield "DefaultAuthScheme", "there is no IAM to log on by: name a secret in Auth"
    given = properties.get("Auth")
    for at, one in enumerate(given if isinstance(given, list) else ()):
        for key in one if isinstance(one, dict) else ():
            if key not in _AUTH and not key.startswith("Fn::"):
                yield f"Auth.{at}.{key}", "it is not served"
    if not given:
        yield "Auth", "a proxy needs a secret with its database user"


def _proxy_given(name: str, properties: Properties, world: World, others: Mapping[str, Resource]) -> dict[str, Any]:
    if properties.get("EngineFamily") not in _ENGINES:
        raise InvalidParameterValue(f"EngineFamily: {', '.join(_ENGINES)} are served")
    own = {str(one.attributes["Ref"]): str(one.attributes[VALUE]) for one in others.values() if one.type == SECRET}
    for at, arn in enumerate(_secrets(properties)):
        value = own.get(arn, world.secrets.get(arn))
        if value is None:
            raise InvalidParameterValue(f"Auth.SecretArn: no stack of this store has the secret {arn[:200]!r}")
        known = secret.shown(value)
        if known != secret.SHOWN:  # what is secret as a whole is read when it is deployed
            login(arn, known.replace(secret.SHOWN, "0"), needs_database=at == 0)
    _check_settings(properties, {})
    arn = f"arn:aws:rds:{world.region}:{world.account}:db-proxy:{name}"
    return {"Ref": name, "DBProxyArn": arn, "Endpoint": f"{name.lower()}{HOST}"}


def _secrets(properties: Properties) -> tuple[str, ...]:
    arns = tuple(str(one.get("SecretArn", "")) for one in properties.get("Auth") or ())
    if not all(arns) or not arns:
        raise InvalidParameterValue("Auth.SecretArn: it is needed")
    return arns


def settings(proxy: Properties, pool: Properties) -> dict[str, Any]:
    """Give the settings of `forebay.DBProxy`.

    Args:
        proxy: properties of the proxy.
        pool: `ConnectionPoolConfigurationInfo` of its target group.

    Raises:
        InvalidParameterValue: one of them is not a number.

    """
    found: dict[str, Any] = {
        "maximum_connections_percent": number(pool, "MaxConnectionsPercent", _PERCENT),
        "require_tls": flag(proxy.get("RequireTLS", False)),
    }
    numbers = (
        (proxy, "IdleClientTimeout", "idle_client_timeout"),
        (pool, "ConnectionBorrowTimeout", "connection_borrow_timeout"),
        (pool, "MaxIdleConnectionsPercent", "maximum_idle_connections_percent"),
    )
    for properties, key, option in numbers:
        if key in properties:
            found[option] = number(properties, key)
    if pool.get("SessionPinningFilters"):
        found["session_pinning_filters"] = tuple(pool["SessionPinningFilters"])
    if pool.get("InitQuery"):
        found["init_query"] = str(pool["InitQuery"])
    return found


def _check_settings(proxy: Properties, pool: Properties) -> None:
    from forebay.dbproxy import DBProxy, EnvSecret, Target  # noqa: PLC0415  few stacks have a proxy
    from forebay.dbproxy.settings import Address  # noqa: PLC0415

    target = Target(_ENGINES[proxy["EngineFamily"]], (Address("database", 1),), "checked", "checked")
    DBProxy(target, secret=EnvSecret("CHECKED"), **settings(proxy, pool))


PROXY: Final = Kind(
    type="AWS::RDS::DBProxy",
    becomes="a `forebay.DBProxy` in each function that has its endpoint in a variable",
    honoured=words("Auth DBProxyName EngineFamily IdleClientTimeout RequireTLS"),
    inert={
        **TAGS,
        "DebugLogging": "the log has why a client is pinned, and never its statement",
        "DefaultAuthScheme": "",
        "EndpointNetworkType": "an endpoint is not an address",
        "RoleArn": "roles are not taken on",
        "TargetConnectionNetworkType": "a function reaches what this machine reaches",
        "VpcSecurityGroupIds": "a function reaches what this machine reaches",
        "VpcSubnetIds": "a function reaches what this machine reaches",
    },
    fixed=words("DBProxyName EngineFamily"),
    name="DBProxyName",
    longest=60,
    check=_proxy_check,
    given=_proxy_given,
)


def _targets_check(properties: Properties) -> Iterator[tuple[str, str]]:
    if properties.get("TargetGroupName", _GROUP) != _GROUP:
        yield "TargetGroupName", f"a proxy has one group, named {_GROUP}"
    pool = properties.get("ConnectionPoolConfigurationInfo")
    for key in pool if isinstance(pool, dict) else ():
        if key not in _POOL and not key.startswith("Fn::"):
            yield f"ConnectionPoolConfigurationInfo.{key}", "it is not served"


def _targets_name(_stack: str, _logical: str, properties: Properties, _world: World) -> str:
    return f"{properties.get('DBProxyName')}:{_GROUP}"


def _targets_given(
    physical: str, properties: Properties, world: World, others: Mapping[str, Resource]
) -> dict[str, Any]:
    proxy = next((one for one in others.values() if one.type == PROXY.type and _is_of(properties, one)), None)
    if proxy is None:
        raise InvalidParameterValue(f"DBProxyName: {properties.get('DBProxyName')!r} is not a proxy of this stack")
    _check_settings(proxy.properties, _pool(properties))
    arn = f"arn:aws:rds:{world.region}:{world.account}:target-group:{physical}"
    return {"Ref": arn, "TargetGroupArn": arn}


def _is_of(properties: Properties, proxy: Resource) -> bool:
    return properties.get("DBProxyName") == proxy.physical


def _pool(properties: Properties) -> Properties:
    return properties.get("ConnectionPoolConfigurationInfo") or {}


TARGETS: Final = Kind(
    type="AWS::RDS::DBProxyTargetGroup",
    becomes="the limits of a proxy",
    honoured=words("ConnectionPoolConfigurationInfo DBProxyName TargetGroupName"),
    inert={
        "DBClusterIdentifiers": "the host in the proxy's secret is the database",
        "DBInstanceIdentifiers": "the host in the proxy's secret is the database",
    },
    fixed=words("DBProxyName TargetGroupName"),
    naming=_targets_name,
    check=_targets_check,
    given=_targets_given,
)
KINDS: Final = (PROXY, TARGETS)


def of_function(
    variables: Mapping[str, str], resources: Mapping[str, Resource]
) -> list[tuple[Attachment, list[Resource]]]:
    """Give the proxies that a function's variables name, each with the resources that it is made of.

    Raises:
        InvalidParameterValue: a variable names a proxy that is not the stack's.

    """
    texts = list(variables.values())
    proxies = [one for one in resources.values() if one.type == PROXY.type]
    foreign = [text for text in texts if HOST in text]
    found = []
    for proxy in proxies:
        endpoint = proxy.attributes["Endpoint"]
        if any(endpoint in text or text in {proxy.physical, proxy.attributes["DBProxyArn"]} for text in texts):
            found.append(_attachment(proxy, resources))
        foreign = [text for text in foreign if endpoint not in text]
    if foreign:
        raise InvalidParameterValue(
            f"a variable names a database proxy of another stack ({foreign[0][:100]!r}): declare the proxy beside the function"
        )
    return found


def _attachment(proxy: Resource, resources: Mapping[str, Resource]) -> tuple[Attachment, list[Resource]]:
    groups = [one for one in resources.values() if one.type == TARGETS.type and _is_of(one.properties, proxy)]
    arns = _secrets(proxy.properties)
    held = [one for one in resources.values() if one.type == SECRET and one.attributes["Ref"] in arns]
    pool = _pool(groups[0].properties) if groups else {}
    attachment = Attachment(
        name=proxy.physical,
        endpoint=proxy.attributes["Endpoint"],
        arn=proxy.attributes["DBProxyArn"],
        engine=_ENGINES[proxy.properties["EngineFamily"]],
        secrets=arns,
        settings=tuple(settings(proxy.properties, pool).items()),
        version=_version(held),
    )
    return attachment, [*held, proxy, *groups]


def _version(secrets: Iterable[Resource]) -> str:
    whole = hashlib.sha256()
    for one in secrets:
        whole.update(json.dumps([one.physical, one.attributes[VALUE], one.secrets]).encode())
    return whole.hexdigest()
