"""A token bucket to wait for. It counts in Rust; here is only the queue of those who wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from forebay import _core

if TYPE_CHECKING:
    from forebay._core import BucketState
    from forebay.clock import Clock


class TokenBucket(_core.TokenBucket):
    """Let `rate` things happen a second, and up to `burst` of them at once.

    The bucket is full at first. `try_acquire`, `time_until`, `update` and `state` may be called from any thread; `acquire`
    belongs to one event loop. It counts in whole parts of a token: nothing is lost to rounding. A clock that leaps forward fills
    the bucket and no more; one that goes back brings nothing.

    Args:
        rate: tokens a second, from 1e-9 to 1e9; fractions to nine decimals.
        burst: most tokens it holds, from 1 to 1e12.
        clock: a forebay clock, such as `forebay.testing.VirtualClock`; None for the machine's.
        state: what `state()` of an earlier bucket gave; what has flowed in since is added.

    Raises:
        InvalidParameterValue: an argument is out of its range.

    """

    __slots__ = ("_sleep", "_turn")

    def __init__(
        self,
        rate: float,  # noqa: ARG002 # the base takes these four when it is made
        burst: int,  # noqa: ARG002
        clock: Clock | None = None,
        *,
        state: BucketState | None = None,  # noqa: ARG002
    ) -> None:
        self._sleep = asyncio.sleep if clock is None else clock.sleep
        self._turn = asyncio.Lock()

    async def acquire(self, n: int = 1) -> None:
        """Wait until `n` tokens are there and take them. First come, first served; cancelling takes nothing.

        Raises:
            InvalidParameterValue: `n` is not from 1 to `burst`.

        """
        if self.try_acquire(n):
            return
        self._join()
        try:
            async with self._turn:
                while not self._take(n):
                    await self._sleep(self.time_until(n))
        finally:
            self._leave()
