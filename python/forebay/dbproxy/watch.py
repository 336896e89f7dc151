"""Who is told what a pool learns about its server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from forebay.dbproxy.connection import DBConnection
    from forebay.dbproxy.pool import Pool
    from forebay.errors import DBProxyError


class Watch(Protocol):
    """Who is told what a pool learns about its server."""

    def opened(self, pool: Pool, *, writer: bool, lag: float) -> None:
        """Take note that a connection was opened, what the server said it is, and how many seconds it is behind."""

    def reads_by(self, db: DBConnection) -> None:
        """Take note by which mode a connection reads its texts that is new, or as new."""

    def unreachable(self, pool: Pool, error: DBProxyError) -> None:
        """Take note that an attempt failed."""
