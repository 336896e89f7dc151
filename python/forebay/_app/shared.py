"""What an attached resource has that the app's processes share: its own process hands out what the others ask it for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable


@runtime_checkable
class Shared(Protocol):
    """A resource of which there is one for all processes, such as a `forebay.DBProxy` with its maximum."""

    @property
    def permit_address(self) -> str | None:
        """Where other processes ask."""

    def share(self) -> None:
        """Let other processes ask, before it is opened."""

    async def unshare(self) -> None:
        """Let nobody ask any more."""


def shared(resources: Iterable[object]) -> list[tuple[str, str]]:
    """Give the address of each resource that is shared, by what the resource shows itself as."""
    found = [(repr(each), each.permit_address) for each in resources if isinstance(each, Shared)]
    return [(shown, address) for shown, address in found if address is not None]
