"""What the proxy does once in a while: ends clients and transactions that last too long, closes connections that nobody needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from forebay.dbproxy import statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forebay.dbproxy.borrowed_connection import BorrowedConnection
    from forebay.dbproxy.client import Client
    from forebay.dbproxy.lender import Lender
    from forebay.dbproxy.pool import Pool
    from forebay.dbproxy.settings import ProxySettings

SECONDS_BETWEEN_MAX = 1.0
DIRTY_IDLE_SECONDS_MAX = 1.0


def seconds_between(settings: ProxySettings, *, alone: bool) -> float:
    """Tell how often it must be done for all limits to be kept; ``alone``: there is one server, whose role is not asked for."""
    limits = (
        settings.idle_client_timeout,
        settings.client_lifetime,
        settings.connection_lifetime,
        settings.idle_in_transaction_timeout or math.inf,
        settings.transaction_timeout or math.inf,
    )
    return min(SECONDS_BETWEEN_MAX, min(limits) / 2, math.inf if alone else settings.role_check_interval)


def look_after_clients(
    clients: Mapping[Lender, Client | BorrowedConnection],
    settings: ProxySettings,
    now: float,
    dismiss: Callable[[Lender, str], None],
) -> None:
    """Close clients that are too old or idle for too long, and end transactions that last too long."""
    clock = statistics.now()
    in_transaction = settings.transaction_timeout or math.inf
    idle_in_transaction = settings.idle_in_transaction_timeout or math.inf
    for borrower, client in list(clients.items()):
        idle = clock - borrower.last_used
        if borrower.is_open and clock - borrower.began >= in_transaction:
            borrower.end_transaction(f"it lasted longer than {in_transaction:,.15g} s (transaction_timeout)")
        elif borrower.busy:
            continue
        elif now - client.opened_at >= settings.client_lifetime:
            dismiss(borrower, f"it is older than {settings.client_lifetime:,.15g} s (client_lifetime)")
        elif idle >= settings.idle_client_timeout:
            dismiss(borrower, f"it was idle for {settings.idle_client_timeout:,.15g} s (idle_client_timeout)")
        elif borrower.is_open and idle >= idle_in_transaction:
            borrower.end_transaction(f"idle in it for {idle_in_transaction:,.15g} s (idle_in_transaction_timeout)")


def idle_maximum(settings: ProxySettings, maximum: int) -> int:
    """Tell how many idle connections are kept, of a maximum of connections."""
    if settings.maximum_idle_connections is not None:
        return settings.maximum_idle_connections
    if settings.maximum_idle_connections_percent is not None and settings.maximum_connections_percent is not None:
        return math.floor(maximum * settings.maximum_idle_connections_percent / settings.maximum_connections_percent)
    return maximum // 2


def tidy(pool: Pool, now: float) -> None:
    """Close idle connections that are broken, old or too many; reset those left dirty."""
    settings = pool.settings
    idle = pool.idle()
    surplus = len(idle) - max(idle_maximum(settings, pool.maximum), pool.minimum)
    for db in idle:
        old = now - db.opened_at >= settings.connection_lifetime
        spare = surplus > 0 and now - db.idle_since >= settings.idle_connection_timeout
        dirty = bool(db.dirty) and now - db.idle_since >= DIRTY_IDLE_SECONDS_MAX
        if pool.queue is None or not (old or spare or dirty or not db.is_usable()):
            continue
        del pool.queue.idle[db]
        if db.is_usable() and not old and not spare:
            pool.clean(db)
        else:
            surplus -= 1
            pool.discard(db)
