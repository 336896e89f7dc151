"""Asks the app that a function of a stack belongs to. The call blocks."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any, Final

SOCKET: Final = "stacks.sock"
"""Where the app answers for its stacks, in the store's directory."""
SECONDS: Final = 5.0
ANSWER_BYTES_MAX: Final = 1 << 20


def ask(store: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Ask something; give the answer.

    Raises:
        OSError: the app has ended, is not there yet, or did not answer in time.
        ValueError: what it answered is not an answer.

    """
    folder = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = Path(f"/proc/self/fd/{folder}")  # the address of a socket has 108 bytes at most
        path = (short if short.is_dir() else Path(store)) / SOCKET
        with socket.socket(socket.AF_UNIX) as app:
            app.settimeout(SECONDS)
            app.connect(str(path))
            app.sendall(json.dumps(asked).encode() + b"\n")
            with app.makefile("rb") as answers:
                answer: dict[str, Any] = json.loads(answers.readline(ANSWER_BYTES_MAX))
                return answer
    finally:
        os.close(folder)
