"""What the processes of a test write down, and the clock that they share."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def noted_in(path: str) -> Callable[..., None]:
    """Give what writes down a line in one piece: the process may be killed at any moment."""
    notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(*words: object) -> None:
        os.write(notes, (" ".join(map(str, words)) + "\n").encode())

    return note


def now() -> float:
    """A clock that all processes of the machine share, and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
