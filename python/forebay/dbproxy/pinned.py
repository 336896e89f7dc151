"""What the proxy tells of a client that is pinned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pinned:
    """A pinned client: who, why, for how long.

    Attributes:
        client: the client's number.
        connection: the server's own number of the DB connection (process or thread id).
        reason: ``temporary table``, ``lock``, ``user variable`` and so on.
        detail: its name, when it has one.
        digest: the statement that did it, without its literals.
        seconds: how long ago.

    """

    client: int
    connection: int
    reason: str
    detail: str
    digest: str
    seconds: float
