"""Values to JSON and back, as Lambda does it: what is put, what an invocation is given, what a handler returned.

orjson does it where it is exact. It writes NaN and Infinity as null, and whole numbers only up to 64 bits.
"""

from __future__ import annotations

import json
import math
from typing import Final

import orjson

from forebay._core import loads, non_finite
from forebay._model import limits
from forebay._model.checks import refuse_content
from forebay.errors import RequestTooLarge

__all__ = [
    "argument",
    "checked_event",
    "checked_request",
    "dumps",
    "event",
    "indented",
    "invocation",
    "loads",
    "record",
]

# What orjson would write by itself and Lambda's encoder refuses goes through `_as_lambda`, so that a handler means the same in
# both places.
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS

_BYTES: Final = (bytes, bytearray, memoryview)  # a union would be made anew at every call


def _as_lambda(value: object) -> object:
    from decimal import Decimal  # noqa: PLC0415  every process of a function imports this while its event waits

    if isinstance(value, Decimal):
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"no float can hold {value}")
        return number
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def dumps(value: object) -> bytes:
    """Write a value as JSON. Whole numbers keep all their digits.

    Raises:
        TypeError | ValueError: it is not JSON; the text is the one that Lambda gives. NaN and Infinity are not JSON either: where
            the first one is, the text says.

    """
    try:
        text = orjson.dumps(value, _as_lambda, _OPTIONS)
    except TypeError:
        # Rare: whole numbers over 64 bits, which the standard library writes, or something that is not JSON at all, for
        # which it has Lambda's own words.
        return _by_the_standard_library(value)
    _refuse_non_finite(value, text)
    return text


def _by_the_standard_library(value: object) -> bytes:
    separators = (",", ":")
    try:
        text = json.dumps(value, default=_as_lambda, ensure_ascii=False, separators=separators, allow_nan=False)
    except ValueError:
        _refuse_non_finite(value)
        raise
    return text.encode()


def _refuse_non_finite(value: object, text: bytes | None = None) -> None:
    found = non_finite(value, text)
    if found is not None:
        raise ValueError(f"{found}: JSON has neither NaN nor Infinity; give None or a text instead")


def indented(value: object) -> str:
    """Write for people what `loads` gave."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError:  # a whole number over 64 bits
        return json.dumps(value, ensure_ascii=False, indent=2)


def invocation(payload: object) -> bytes:
    """Write the payload of an invocation.

    Raises:
        RequestTooLarge: over 6 MiB of JSON.
        InvalidParameterValue: not JSON.

    """
    return checked_request(_json("payload", payload))


def argument(option: str, value: object) -> str:
    """Write an argument as JSON text.

    Raises:
        InvalidParameterValue: not JSON.

    """
    return _json(option, value).decode()


def _json(option: str, value: object) -> bytes:
    if isinstance(value, _BYTES):
        refuse_content(option, value, "allowed is any JSON value; decode bytes first")
    try:
        return dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        refuse_content(option, value, f"allowed is any JSON value; {error}")


def checked_request(body: bytes) -> bytes:
    """Refuse a payload over the limit of an invocation, in AWS's words."""
    if len(body) > limits.REQUEST_BYTES_MAX:
        raise RequestTooLarge(
            f"{len(body)} byte payload is too large for the RequestResponse invocation type "
            f"(limit {limits.REQUEST_BYTES_MAX} bytes)",
        )
    return body


def event(payload: object) -> bytes:
    """Write the payload of an asynchronous invocation.

    Raises:
        RequestTooLarge: over 1 MiB of JSON.
        InvalidParameterValue: not JSON.

    """
    return checked_event(_json("payload", payload))


def checked_event(body: bytes) -> bytes:
    """Refuse a payload over the limit of an asynchronous invocation, in AWS's words."""
    if len(body) > limits.EVENT_BYTES_MAX:
        raise RequestTooLarge(
            f"{len(body)} byte payload is too large for the Event invocation type (limit {limits.EVENT_BYTES_MAX} bytes)",
        )
    return body


def record(data: object) -> bytes | str:
    """Give a record's data the form in which it is kept: bytes and text stay, anything else becomes JSON.

    Raises:
        InvalidParameterValue: neither bytes nor text nor JSON.

    """
    if isinstance(data, bytes | str):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    try:
        return dumps(data)
    except (TypeError, ValueError, RecursionError) as error:
        refuse_content("data", data, f"allowed are bytes, text or any JSON value; {error}")
