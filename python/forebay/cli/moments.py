"""Moments as options of commands."""

from __future__ import annotations

import contextlib
from datetime import datetime

from forebay._model import checks
from forebay.errors import InvalidParameterValue


def parsed(option: str, text: str) -> float:
    """Read a moment, in seconds since 1970.

    Raises:
        InvalidParameterValue: it is none.

    """
    for read in (float, datetime.fromisoformat):
        with contextlib.suppress(ValueError):
            return checks.timestamp(option, read(text))
    raise InvalidParameterValue(f"{option}={text!r}: allowed are seconds since 1970, or ISO 8601 with a time zone")
