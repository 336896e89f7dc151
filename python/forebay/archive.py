"""A declared archive of an event bus, and a replay of its events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from forebay._runtime.sync_twins import sync_twin

if TYPE_CHECKING:
    from forebay._model.archive import ArchiveSettings
    from forebay._runtime.caller import Caller

POLL_SECONDS: Final = 0.05
"""How often `Replay.wait` looks."""

ReplayState = Literal["STARTING", "RUNNING", "CANCELLING", "COMPLETED", "CANCELLED"]


class Archive:
    """An archive. Made by `Bus.archive`, never by hand."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self.settings = settings

    def __repr__(self) -> str:
        return f"<forebay archive {self.name!r}>"

    @property
    def name(self) -> str:
        """Its name."""
        return self.settings.name


class ReplayStatus(NamedTuple):
    """How far a replay is.

    Attributes:
        state: "STARTING", "RUNNING", "CANCELLING", "COMPLETED" or "CANCELLED".
        events: how many events were replayed.
        last_event_time: the time of the last one, seconds since 1970; None: there was none.

    """

    state: ReplayState
    events: int
    last_event_time: float | None

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state in ("COMPLETED", "CANCELLED")


class Replay:
    """A replay. Made by `Bus.replay`, never by hand."""

    def __init__(self, name: str, caller: Caller) -> None:
        self.name = name
        self._caller = caller

    def __repr__(self) -> str:
        return f"<forebay replay {self.name!r}>"

    async def status(self) -> ReplayStatus:
        """Tell how far the replay is.

        Raises:
            ResourceNotFound: the store has forgotten it: it remembers 1,000 replays.
            AppClosed: the app is not running.

        """
        return _status(await self._caller.ask("replay.describe", name=self.name))

    status_sync = sync_twin(status)

    async def cancel(self) -> ReplayStatus:
        """End the replay before it is complete; what is under way is still given to its targets.

        Raises:
            InvalidParameterValue: it has ended.
            ResourceNotFound: the store has forgotten it.
            AppClosed: the app is not running.

        """
        return _status(await self._caller.ask("replay.cancel", name=self.name))

    cancel_sync = sync_twin(cancel)

    async def wait(self) -> ReplayStatus:
        """Wait until the replay has ended. Its errors are those of `status`."""
        while not (status := await self.status()).is_over:  # noqa: ASYNC110 - another process may run the engine
            await asyncio.sleep(POLL_SECONDS)
        return status


def _status(answer: dict[str, Any]) -> ReplayStatus:
    last_ms = answer["last_event_ms"]
    return ReplayStatus(answer["state"], answer["events"], None if last_ms is None else last_ms / 1000)
