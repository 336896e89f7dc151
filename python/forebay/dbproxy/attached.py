"""The proxies that a stack's template attaches to a function, found by what the template calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from forebay.dbproxy.proxy import DBProxy
from forebay.dbproxy.settings import DEFAULT_PORTS, Address, Target
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from forebay.dbproxy.secrets import Secret

_HERE: Final[dict[str, DBProxy]] = {}
"""Those of this process, by each of their names. A process runs one function."""
_NAME_SHOWN_MAX: Final = 200


def attached(name: str) -> DBProxy:
    """Give a proxy that the function's template attaches to it: the same object each time.

    It is open: use it by ``async with attached(name).connect() as client``.

    Args:
        name: its endpoint, its name or its ARN, as the template puts it into a variable of the function.

    Raises:
        InvalidParameterValue: no proxy of that name is attached to this function.

    """
    found = _HERE.get(name)
    if found is None:
        known = ", ".join(sorted(_HERE)) or "none"
        raise InvalidParameterValue(
            f"{name[:_NAME_SHOWN_MAX]!r} is not a database proxy of this function (attached: {known}). A template attaches a "
            "proxy (AWS::RDS::DBProxy) to each function that has its endpoint in a variable"
        )
    return found


def attach_here(names: Iterable[str], proxy: DBProxy) -> None:
    """Have `attached` give a proxy under these names."""
    _HERE.update(dict.fromkeys(names, proxy))


def proxy_of(described: Mapping[str, Any], secret_of: Callable[[str], Secret]) -> DBProxy:
    """Make a proxy of what a stack's template and the secrets say of it.

    Args:
        described: `engine`, `host`, `port`, `database`, `username`, the ARN of its `secret`, those of its other `users`,
            and the other `settings`.
        secret_of: gives a secret by its ARN.

    Raises:
        InvalidParameterValue: a setting is out of range.

    """
    engine = described["engine"]
    port = described.get("port") or DEFAULT_PORTS.get(engine, 0)
    address = Address(described["host"], port)
    return DBProxy(
        Target(engine, (address,), described["database"], described["username"]),
        secret=secret_of(described["secret"]),
        users={user: secret_of(arn) for user, arn in described["users"].items()},
        **described["settings"],
    )
