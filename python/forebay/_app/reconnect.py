"""Keeps an app that does not own its store in touch with it: connects again, takes over, lets go.

serve="elect"   the owner is gone -> open again at once: own the store, or be the next owner's client. The owner of a
                store on a server does the same when it has lost the store
serve=False     somebody asks     -> open; where nobody owns the store, own it until nobody waits any more, or an app wants it:
                what still waits is asked of the app
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from forebay.errors import ForebayError, OwnerLeft, OwnerLost, StoreError, StoreLocked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from forebay._core import Engine
    from forebay._runtime.runner import Runner

log = logging.getLogger("forebay.runtime")

GIVE_UP_SECONDS: Final = 10.0
RETRY_SECONDS: Final = (0.01, 1.0)
LINGER_SECONDS: Final = 0.02
GIVES_WAY_SECONDS: Final = 0.1
"""For so long a process that runs nothing leaves a store to others whose owner has gone."""
REPEAT_SECONDS: Final = 60.0
"""How often the same reason is told while a store cannot be opened."""


class Reconnector:
    """Looks after one app's connection; `declare_all` is called for every engine that is new."""

    def __init__(
        self,
        runner: Runner,
        open_engine: Callable[[], Awaitable[Engine]],
        let_go: Callable[[Engine | None], Awaitable[None]],
        declare_all: Callable[[], None],
        *,
        client_only: bool,
    ) -> None:
        self._runner = runner
        self._open_engine = open_engine
        self._let_go = let_go
        self._declare_all = declare_all
        self._client_only = client_only
        self._told = ""
        self._tells_again_at = 0.0

    def __repr__(self) -> str:
        return "<connection to the store>"

    async def run(self) -> None:
        """Run until cancelled; one engine after the other."""
        runner = self._runner
        while True:
            await self._until_disconnected()
            gives_way = runner.lost.is_set()
            await self._let_go(runner.engine)
            # Others can take the store only now.
            leaves_at = runner.loop.time() + (GIVES_WAY_SECONDS if gives_way else 0)
            if self._client_only:
                await runner.needed.wait()
                await asyncio.sleep(max(0, leaves_at - runner.loop.time()))
            runner.attach(await self._open())
            self._told = ""
            try:
                self._declare_all()
            except OwnerLost as error:
                # The store was lost just then: what is asked goes to the next owner.
                log.info("the store was lost at once: %s", error)
                runner.lost.set()
                continue
            runner.ask_deferred()

    async def _until_disconnected(self) -> None:
        runner = self._runner
        if not self._client_only or runner.engine is None or runner.engine.role != "owner":
            await runner.lost.wait()
            return
        while True:
            await asyncio.sleep(LINGER_SECONDS)
            if not runner.waits or runner.lost.is_set():
                return

    async def _open(self) -> Engine:
        runner, pause = self._runner, RETRY_SECONDS[0]
        gives_up_at = runner.loop.time() + GIVE_UP_SECONDS
        while True:
            try:
                return await self._open_engine()
            except ForebayError as error:
                lasting = not isinstance(error, OwnerLost | StoreLocked)
                if lasting or runner.loop.time() > gives_up_at:
                    self._tell(error)
                    # Whoever asks has done nothing wrong, whatever is wrong with this process.
                    refused = isinstance(error, StoreError)
                    runner.refuse_deferred(error if refused else OwnerLeft(f"the store cannot be opened: {error}"))
                    gives_up_at = runner.loop.time() + GIVE_UP_SECONDS
                    pause = RETRY_SECONDS[1]
                    if self._client_only:
                        await runner.needed.wait()
                        continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_SECONDS[1])

    def _tell(self, error: ForebayError) -> None:
        """Say why there is no engine: at once if it is news, else now and then."""
        now, text = self._runner.loop.time(), str(error)
        if text != self._told or now >= self._tells_again_at:
            log.warning("the store cannot be opened, and is tried again: %s", text)
            self._told, self._tells_again_at = text, now + REPEAT_SECONDS
