"""The name under which `ps` and `top` show a worker process."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

ARG_START: Final = 45
"""Where /proc/self/stat has the address of the arguments, counted from the field behind the name; that of their end is next."""


def show_as(title: str) -> None:
    """Write a title over this process's arguments, as PostgreSQL does, and take it for its short name.

    The interpreter has its own copy of the arguments. Where the kernel does not allow it, the arguments stay.
    """
    process = Path("/proc/self")
    with contextlib.suppress(OSError):
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[ARG_START]), int(fields[ARG_START + 1])
        room = end - start
        with (process / "mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            # The kernel shows up to the end: what is left of the arguments must not follow the title.
            memory.write(title.encode()[: room - 1].ljust(room, b"\0"))
        (process / "comm").write_text(title)
