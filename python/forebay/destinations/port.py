"""What a destination is."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Destination(Protocol):
    """Anything that takes records."""

    async def deliver(self, record: dict[str, Any]) -> None:
        """Take a record. Returning confirms it; raising has it delivered again later.

        A record may come more than once; its delivery id is then the same.
        """
