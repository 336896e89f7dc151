"""Failovers of databases behind attached proxies, as events on the default bus."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from forebay._wire import payload

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from forebay._app.declarations import Declarations
    from forebay._runtime.caller import Caller
    from forebay.clock import Clock

log = logging.getLogger("forebay.app")


@runtime_checkable
class FailsOver(Protocol):
    """A resource that says when another server has become its writer."""

    on_failover: Callable[[str, str], None] | None


def tell_failovers(resources: Iterable[object], caller: Caller, declared: Declarations, clock: Clock) -> None:
    """Have the failovers of these resources put on the default bus, as RDS tells them, if the app wants such events."""
    for resource in resources:
        if isinstance(resource, FailsOver):
            resource.on_failover = partial(_tell, caller, declared, clock)


def _tell(caller: Caller, declared: Declarations, clock: Clock, former: str, writer: str) -> None:
    if not declared.emit_events or not caller.is_open:
        return
    arn = f"arn:aws:rds:{declared.settings.region}:{declared.settings.account}:cluster:{writer}"
    detail = {
        "EventCategories": ["failover"],
        "SourceType": "CLUSTER",
        "SourceArn": arn,
        "Date": datetime.fromtimestamp(clock.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "Message": f"Completed failover to DB instance: {writer} (before: {former})",
        "SourceIdentifier": writer,
        "EventID": "RDS-EVENT-0071",
    }
    text = payload.dumps(detail).decode()
    caller.request("bus.happened", kind="failover", detail=text, resources=[arn]).add_done_callback(_log_if_failed)


def _log_if_failed(answer: asyncio.Future[bytes]) -> None:
    error = None if answer.cancelled() else answer.exception()
    if error is not None:
        log.warning("a failover was not put on the bus 'default': %s", error)
