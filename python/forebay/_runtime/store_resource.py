"""What a stream, a queue and a topic have in common: a name, settings, and a declaration that the engine must have taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from forebay._runtime.sync_twins import on_a_loop

if TYPE_CHECKING:
    import asyncio

    from forebay._runtime.caller import Caller


class Named(Protocol):
    """Settings with a name."""

    @property
    def name(self) -> str:
        """The name."""
        ...


S = TypeVar("S", bound=Named)


class StoreResource(Generic[S]):
    """Something that an app declares and the engine keeps."""

    def __init__(self, settings: S, arn: str, caller: Caller) -> None:
        self.settings = settings
        self.arn = arn
        self._caller = caller
        self._declaring: asyncio.Future[bytes] | None = None
        self.is_bare = False
        """It was named without a setting."""

    def __repr__(self) -> str:
        return f"<forebay {type(self).__name__.lower()} {self.name!r}>"

    @property
    def name(self) -> str:
        """Its name."""
        return self.settings.name

    def declaring(self, answer: asyncio.Future[bytes]) -> None:
        """Remember a declaration that the engine has not answered."""
        self._declaring = answer

    async def _declared(self) -> None:
        """Wait for the engine's answer to the declaration. Off the loop what is asked next comes behind it all the same."""
        if self._declaring is None or not on_a_loop():
            return
        declaring, self._declaring = self._declaring, None
        await declaring
