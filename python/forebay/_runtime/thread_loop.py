"""The event loop of a handler's thread, for what runs coroutines from a blocking handler: Mangum, and `asyncio.get_event_loop()`.

On Lambda a handler runs in the main thread, where asyncio gives a loop to whoever asks; in any other thread it refuses.
"""

from __future__ import annotations

import asyncio
from typing import Any


class ThreadLoop(asyncio.SelectorEventLoop):
    """An event loop that is made when it is first used: a thread whose handler never asks for it holds no descriptor for it."""

    _made = False

    def __init__(self) -> None:
        """Make nothing yet."""

    def __getattr__(self, name: str) -> Any:
        """Make the loop, since it lacks the first attribute of it that is read; then give that."""
        if self._made:
            raise AttributeError(name)
        given = vars(self).copy()  # set before anything was read, such as an exception handler
        self._made = True
        super().__init__()
        vars(self).update(given)
        return getattr(self, name)

    def close(self) -> None:
        """Close what was made."""
        if self._made:
            super().close()

    def __del__(self) -> None:
        """Close what was made and not closed."""
        if self._made:
            super().__del__()

    @property
    def is_usable(self) -> bool:
        """Whether no handler has closed it."""
        return not (self._made and self.is_closed())


class ThreadLoops:
    """The loops of one thread, one after the other."""

    def __init__(self) -> None:
        self._loop = ThreadLoop()

    def enter(self) -> None:
        """Make the loop the current one: the handler before may have closed it, or unset it, as `asyncio.run` does."""
        if not self._loop.is_usable:
            self._loop = ThreadLoop()
        asyncio.set_event_loop(self._loop)

    def close(self) -> None:
        """Close the loop: the thread ends."""
        asyncio.set_event_loop(None)
        self._loop.close()
