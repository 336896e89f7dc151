"""Makes text that others wrote safe to stand on one line of a log."""

from __future__ import annotations

import re
from typing import Final

UNSAFE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What ends a line, moves a terminal's cursor, turns the direction of writing, or cannot be written as UTF-8."""


def one_line(text: str) -> str:
    """Escape such characters as a Python literal would; everything else stays as it is, backslashes too."""
    return UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)
