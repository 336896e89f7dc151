"""Who may have a connection to one server, over all processes of an app: first come, first served.

It decides and does no I/O. A permit is the right to have one connection, from before it is opened until the server has hung up.
While processes wait, those that have permits are asked to give one back: one after the other, until enough of them have.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = TypeVar("P")


class Ask(IntEnum):
    """What a process says."""

    TAKE = 1
    """It wants a permit, and waits for it."""
    TRY = 2
    """It wants a permit if one is free."""
    CANCEL = 3
    """It does not want that one any more."""
    OPENED = 4
    """Here is the socket of the connection, for whoever outlives this process."""
    HOLD = 5
    """It had this connection before it asked."""
    FREE = 6
    """It gives a permit back."""
    BUSY = 7
    """It has nothing idle to give, and gives the next that comes back."""
    LIMIT = 8
    """So many connections the server allows."""


class Tell(IntEnum):
    """What a process is told."""

    GRANTED = 1
    LATER = 2
    """It has to wait."""
    REFUSED = 3
    """None is free."""
    GIVE = 4
    """Give one back as soon as one is idle: others wait."""
    KEEP = 5
    """One less has to be given back."""


@dataclass(slots=True)
class Share:
    """What one process has.

    Attributes:
        permits: how many.
        owed: so many of them it was asked to give back.
        asked: it has not said yet whether it can do that at once.

    """

    permits: int = 0
    owed: int = 0
    asked: bool = False


class Permits(Generic[P]):
    """The permits of one server. `P` stands for a process.

    Args:
        maximum: how many there are.
        tell: called with a process, what it is told, and the number of its request (0 where it is about none).

    """

    def __init__(self, maximum: int, tell: Callable[[P, Tell, int], None]) -> None:
        self.maximum = maximum
        self.taken = 0
        self.shares: dict[P, Share] = {}
        self._waiting: dict[tuple[P, int], None] = {}
        self._wants: Counter[P] = Counter()
        self._tell = tell

    def take(self, process: P, number: int, *, waits: bool) -> None:
        """Give a process a permit now, or in its turn."""
        if self.taken < self.maximum and not self._waiting:
            self._grant(process, number)
        elif waits:
            self._waiting[process, number] = None
            self._wants[process] += 1
            self._tell(process, Tell.LATER, number)
            self._ask_for_more()
        else:
            self._tell(process, Tell.REFUSED, number)

    def hold(self, process: P) -> None:
        """Count a connection that a process had before it asked."""
        self.taken += 1
        self.shares.setdefault(process, Share()).permits += 1

    def cancel(self, process: P, number: int) -> None:
        """Let a process wait no longer."""
        if (process, number) in self._waiting:
            self._forget(process, number)
            self._ask_for_less()

    def free(self, process: P) -> None:
        """Take a permit back, and give it to whoever waits longest."""
        share = self.shares[process]
        share.permits -= 1
        share.owed = max(0, share.owed - 1)
        share.asked = False
        if not share.permits:
            del self.shares[process]
        self.freed()

    def freed(self) -> None:
        """Take back the permit of a process that has left."""
        self.taken -= 1
        self._serve()

    def busy(self, process: P) -> None:
        """Ask another process instead: this one has nothing idle, or does not answer."""
        share = self.shares.get(process)
        if share is not None and share.asked:
            share.asked = False
            self._ask_for_more()

    def limit(self, maximum: int) -> None:
        """Have more permits, or less."""
        self.maximum = maximum
        self._serve()

    def leave(self, process: P) -> None:
        """Forget a process; its permits are taken until `freed` is called for each."""
        self.shares.pop(process, None)
        for waiting in [waiting for waiting in self._waiting if waiting[0] is process]:
            self._forget(*waiting)
        self._ask_for_less()
        self._ask_for_more()

    def _forget(self, process: P, number: int) -> None:
        del self._waiting[process, number]
        self._wants[process] -= 1
        if not self._wants[process]:
            del self._wants[process]

    def _grant(self, process: P, number: int) -> None:
        self.hold(process)
        self._tell(process, Tell.GRANTED, number)

    def _serve(self) -> None:
        while self._waiting and self.taken < self.maximum:
            process, number = next(iter(self._waiting))
            self._forget(process, number)
            self._grant(process, number)
        self._ask_for_less()
        self._ask_for_more()

    def _may_owe(self, process: P, share: Share) -> int:
        """Tell how many permits a process can be asked for: no more than others wait for."""
        return min(share.permits, len(self._waiting) - self._wants[process])

    def _ask_for_more(self) -> None:
        """Ask processes to give back: no more at a time than requests wait."""
        if not self._waiting:
            return
        unanswered = sum(share.asked for share in self.shares.values())
        for process, share in list(self.shares.items()):
            if unanswered >= len(self._waiting):
                return
            if not share.asked and share.owed < self._may_owe(process, share):
                share.owed += 1
                share.asked = True
                unanswered += 1
                self._tell(process, Tell.GIVE, 0)

    def _ask_for_less(self) -> None:
        for process, share in list(self.shares.items()):
            allowed = self._may_owe(process, share)
            while share.owed > allowed:
                share.owed -= 1
                share.asked = False
                self._tell(process, Tell.KEEP, 0)
