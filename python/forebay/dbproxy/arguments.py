"""What a call to a client is given, checked before anything is sent: later it would look like a lost connection."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Iterable
from datetime import timedelta
from numbers import Real
from typing import Any

from forebay.dbproxy.settings import count, within_range
from forebay.errors import InvalidParameterValue, QueryTimeout

CALL_SECONDS_MIN = 0.001
CALL_SECONDS_MAX = 86_400.0  # as `query_timeout`
PREFETCH_ROWS_MAX = 2_147_483_647  # PostgreSQL counts them in 32 bits


def checked_arguments(args: Any, engine: str) -> Any:
    """Give a statement's arguments back if they can be some.

    Raises:
        InvalidParameterValue: they cannot be taken one by one, or have names that the engine has no use for.

    """
    if isinstance(args, (tuple, list)):
        return args
    if isinstance(args, dict):
        if engine == "postgresql":
            raise InvalidParameterValue(
                "the arguments of a statement must be a sequence, not dict: PostgreSQL's placeholders are numbers, $1 and $2"
            )
        return args
    if isinstance(args, (str, bytes, bytearray)):
        raise InvalidParameterValue(
            f"the arguments of a statement must be a sequence: a {type(args).__name__} is a single one, and is written (one,)"
        )
    if not isinstance(args, Iterable):
        raise InvalidParameterValue(
            f"the arguments of a statement must be a sequence, not {type(args).__name__}: a single one is written [one]"
        )
    return list(args)  # what can be walked through once only would be gone when the statement is repeated


def checked_rows(rows: Any, engine: str) -> list[Any]:
    """Give the rows of `executemany` as a list, each of them checked. They are walked through once.

    Raises:
        InvalidParameterValue: they cannot be taken one by one, or one of them cannot be a statement's arguments.

    """
    if isinstance(rows, (str, bytes, bytearray, dict)) or not isinstance(rows, Iterable):
        raise InvalidParameterValue(
            f"rows: must be a sequence, not {type(rows).__name__}: executemany takes rows of arguments, [(1, 'a'), (2, 'b')]"
        )
    return [checked_arguments(row, engine) for row in rows]


def check_copied_rows(rows: Any, columns: Any) -> None:
    """Check what `copy_rows` is given, as far as it can be told before the first row is taken."""
    if isinstance(rows, (str, bytes, bytearray, dict)) or not isinstance(rows, (Iterable, AsyncIterable)):
        raise InvalidParameterValue(f"rows={type(rows).__name__}: must be rows of values, as in [(1, 'a'), (2, 'b')]")
    if columns is None:
        return
    if isinstance(columns, str) or not isinstance(columns, Iterable):
        raise InvalidParameterValue(f"columns={columns!r}: must be a sequence of names, as in ['id', 'price']")


def call_seconds(value: Any) -> float:
    """Check a statement's own ``timeout`` and give it in seconds.

    Raises:
        InvalidParameterValue: it is no number of seconds, or too many of them.
        QueryTimeout: none are left, as when the caller counts down to a deadline of its own.

    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, Real) and not isinstance(number, (bool, int)):
        try:
            number = float(number)
        except OverflowError:  # within_range says so
            number = value
    if number == math.inf:
        return CALL_SECONDS_MAX
    if isinstance(number, (int, float)) and not isinstance(number, bool) and number < CALL_SECONDS_MIN:
        raise QueryTimeout(f"timeout={value!r}: no time is left for the statement; nothing was sent")
    return within_range("timeout", number, CALL_SECONDS_MIN, CALL_SECONDS_MAX)


def checked_prefetch(value: Any) -> int:
    """Check how many rows of a stream are asked for at a time."""
    return count("prefetch", value, 1, PREFETCH_ROWS_MAX)


def choice(name: str, value: Any) -> bool | None:
    """Check an option that is True, False or left out."""
    if value is not None and not isinstance(value, bool):
        raise InvalidParameterValue(f"{name}={value!r}: must be True, False or None")
    return value
