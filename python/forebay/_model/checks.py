"""Checks of single options: each gives the value in its one form or refuses it by name, value and allowed range."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

from forebay._model import limits, plural
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Seconds = float | timedelta


def refuse(option: str, value: object, allowed: str) -> NoReturn:
    """Raise the refusal of an option's value."""
    raise InvalidParameterValue(f"{option}={shown(value)}: {allowed}")


def placed(error: InvalidParameterValue, where: str, hint: str = "") -> InvalidParameterValue:
    """Give a refusal that says first where it is, and a hint last: of the same class, raised from the other, with its notes."""
    told = type(error)(f"{where}: {error}{hint}")
    told.__cause__ = error
    for note in getattr(error, "__notes__", ()):
        told.add_note(note)
    return told


def refuse_content(option: str, value: object, allowed: str) -> NoReturn:
    """Raise the refusal of what is sent: a payload, body, attribute or key is told by its type, since errors end in logs."""
    raise InvalidParameterValue(f"{option} of type {type(value).__name__}: {allowed}") from None


def shown(value: object) -> str:
    """Show a value in an error, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."  # noqa: PLR2004


def integer(option: str, value: int, *, low: int, high: int, also: int | None = None) -> int:
    """Check a whole number in a range, or one special value outside it."""
    outside = isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high
    if outside and (also is None or value != also):
        special = "" if also is None else f", or {also}"
        refuse(option, value, f"allowed are whole numbers from {low:,} to {high:,}{special}")
    return value


def seconds(option: str, value: Seconds, *, low: float, high: float, also: float | None = None) -> float:
    """Check a duration in seconds or as a `timedelta`, in a range or one special value outside it."""
    plain = value.total_seconds() if isinstance(value, timedelta) else value
    number = isinstance(plain, int | float) and not isinstance(plain, bool) and math.isfinite(plain)
    if number and (low <= plain <= high or plain == also):
        return plain
    special = "" if also is None else f", or {plural.plain(also)}"
    refuse(option, value, f"allowed are {plural.plain(low)} to {plural.plain(high)} seconds{special}")


def redrive_rate(option: str, value: float | None) -> None:
    """Check how many a second may be run again at most; None: as many as there are."""
    low, high = limits.REDRIVE_RATES
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high
    ):
        refuse(option, value, f"allowed is {plural.plain(low)} to {high:,} a second, or None")


def text(option: str, value: str) -> str:
    """Check that something is text."""
    if not isinstance(value, str):
        refuse(option, value, "allowed is a text")
    return value


def optional_text(option: str, value: str | None, *, most: int | None = None) -> str | None:
    """Check that something is text, not longer than it may be, or None."""
    if value is None:
        return None
    if not isinstance(value, str):
        refuse(option, value, "allowed is a text, or None")
    if most is not None and len(value) > most:
        raise InvalidParameterValue(f"{option} has {len(value):,} characters: allowed are at most {most:,}")
    return value


def flag(option: str, value: bool) -> bool:
    """Check a yes or no."""
    if not isinstance(value, bool):
        refuse(option, value, "allowed are True and False")
    return value


def one_of(option: str, value: str, allowed: Collection[str]) -> str:
    """Check a word out of a few."""
    if value not in allowed:
        refuse(option, value, f"allowed are {', '.join(repr(word) for word in allowed)}")
    return value


def known_names(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse a setting that there is not."""
    for name in given:
        if name not in known:
            raise InvalidParameterValue(f"{name}: there is no such setting; there are {', '.join(sorted(known))}")


def json_text(option: str, value: object) -> str:
    """Write a setting as JSON text.

    Not by orjson, which writes NaN as null: the setting would mean what nobody meant.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except (TypeError, ValueError) as error:
        refuse(option, value, f"it cannot be written as JSON: {error}")
    return text


def timestamp(option: str, value: float | datetime) -> float:
    """Check a moment: seconds since 1970, or a `datetime` that knows its time zone."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            refuse(option, value, "a datetime needs a time zone, for example tzinfo=timezone.utc")
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        refuse(option, value, "allowed are seconds since 1970, or a datetime with a time zone")
    return float(value)


def texts(option: str, given: object) -> tuple[str, ...]:
    """Check several texts. One text by itself is none of several: its letters would be."""
    if isinstance(given, str) or not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        refuse(option, given, "a list of texts")
    return tuple(given)
