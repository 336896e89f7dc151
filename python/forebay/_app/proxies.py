"""What AWS's wire API may read and change of the database proxies that are attached to an app."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from forebay.errors import ForebayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay.dbproxy.proxy import DBProxy

FUNCTION: Final = "forebay-dbproxies"
"""The function's name; the door of AWS's wire API knows it, too."""
_NAME_MAX: Final = 60
"""RDS allows 63 characters, of which a number takes three.
Source: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBProxy.html"""
_FAMILIES: Final = {"mysql": "MYSQL", "postgresql": "POSTGRESQL"}


@runtime_checkable
class Proxied(Protocol):
    """A resource that is a `forebay.DBProxy`; few apps load one."""

    settings: Any
    name: str

    def change(self, **limits: Any) -> None:
        """Change limits while it runs."""

    def pinned(self) -> list[Any]:
        """List who is pinned."""


class Proxies:
    """The proxies of an app by the names that RDS would give them: their own, with a number from the second of a name on."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._named: dict[str, DBProxy] = {}
        self._times: dict[str, list[float]] = {}

    def add(self, proxy: DBProxy) -> None:
        """Take a proxy. One that is called as another gets another name: its metrics would be the other's."""
        taken = {each.name for each in self._named.values()}
        own, number = proxy.name, 1
        while proxy.name in taken:
            number += 1
            proxy.name = f"{own}-{number}"
        plain = re.sub(r"[^a-zA-Z0-9]+", "-", own).strip("-")
        first = plain if plain[:1].isalpha() else f"db-{plain}".rstrip("-")
        first, name, number = first[:_NAME_MAX].rstrip("-"), "", 1
        while not name or name in self._named:
            name = first if number == 1 else f"{first}-{number}"
            number += 1
        self._named[name] = proxy
        now = self._wall()
        self._times[name] = [now, now]

    async def handle(self, event: dict[str, Any], _context: Any) -> dict[str, Any]:
        """List the proxies, after a change if one is asked for."""
        change = event.get("change")
        if change is not None:
            proxy = self._named.get(change["name"])
            if proxy is None:
                return {"unknown": change["name"]}
            try:
                proxy.change(**change["limits"])
            except ForebayError as error:
                return {"refused": str(error)}
            self._times[change["name"]][1] = self._wall()
        return {"proxies": [self._described(name, proxy) for name, proxy in self._named.items()]}

    def _described(self, name: str, proxy: DBProxy) -> dict[str, Any]:
        settings = proxy.settings
        created, updated = self._times[name]
        return {
            "name": name,
            "engine_family": _FAMILIES[settings.target.engine],
            "require_tls": settings.tls is not None,
            "idle_client_timeout": round(settings.idle_client_timeout),
            "created_ms": round(created * 1000),
            "updated_ms": round(updated * 1000),
            "users": list(dict.fromkeys(user for user in (settings.target.username, *settings.users) if user)),
            "pool": {
                "MaxConnectionsPercent": _whole(settings.maximum_connections_percent),
                "MaxIdleConnectionsPercent": _whole(settings.maximum_idle_connections_percent),
                "ConnectionBorrowTimeout": round(settings.connection_borrow_timeout),
                "SessionPinningFilters": ["EXCLUDE_VARIABLE_SETS"] if settings.exclude_variable_sets else [],
                "InitQuery": "; ".join(settings.init_query) or None,
            },
            "targets": _targets(proxy),
        }


def _whole(percent: float | None) -> int | None:
    return None if percent is None else round(percent)


def _targets(proxy: DBProxy) -> list[dict[str, Any]]:
    """Tell of each server its role and how it is."""
    cluster = proxy._cluster  # noqa: SLF001  nobody else asks for it
    if cluster is None:
        return [
            {"host": each.host, "port": each.port, "role": "UNKNOWN", "state": "REGISTERING"}
            for each in proxy.settings.target.addresses
        ]
    found = []
    for pool, address in zip(cluster.pools, proxy.settings.target.addresses, strict=True):
        is_reader = pool.queue is cluster.reader_queue
        role = "READ_WRITE" if pool is cluster.writer else "READ_ONLY" if is_reader else "UNKNOWN"
        state, reason = "AVAILABLE", None
        if pool.failures and not pool.connections:
            state, reason = "UNAVAILABLE", str(pool.last_error)
        elif not pool.connections and not cluster.proven:
            state = "REGISTERING"
        found.append({"host": address.host, "port": address.port, "role": role, "state": state, "reason": reason})
    return found
