"""The parts of a message as the engine takes them: see `docs/requests.md`."""

from __future__ import annotations

import base64
import math
from typing import Any

from forebay._model import checks
from forebay._wire import payload

AttributeValue = str | int | float | bytes


def body(option: str, value: Any) -> str:
    """Give a body: text as it is, anything else as JSON."""
    if isinstance(value, str):
        return text(option, value)
    if isinstance(value, bytes | bytearray | memoryview):
        checks.refuse_content(option, value, "allowed are text and any JSON value; decode bytes first")
    try:
        return payload.dumps(value).decode()
    except (TypeError, ValueError, RecursionError) as error:
        checks.refuse_content(option, value, f"allowed are text and any JSON value; {error}")


def text(option: str, value: object) -> str:
    """Check a text; half a surrogate pair has no place in what is stored and sent."""
    if not isinstance(value, str):
        checks.refuse_content(option, value, "allowed is text")
    if not value.isascii():  # which costs nothing
        try:
            value.encode()
        except UnicodeEncodeError:
            checks.refuse_content(option, value, "allowed is text without lone surrogates")
    return value


def attribute(name: object, value: object) -> tuple[str, str, str]:
    """Give an attribute's name, its type and its value; that of bytes is base64."""
    name = text("attribute name", name)
    option = f"attributes[{checks.shown(name)}]"
    if isinstance(value, str):
        return name, "String", text(option, value)
    if isinstance(value, bytes):
        return name, "Binary", base64.b64encode(value).decode()
    if isinstance(value, bool) or not isinstance(value, int | float):
        checks.refuse_content(option, value, "allowed are text, numbers and bytes")
    if not -math.inf < value < math.inf:  # not `isfinite`, which makes a float of a whole number
        checks.refuse_content(option, value, "allowed are text, numbers and bytes; NaN and Infinity are not numbers")
    return name, "Number", repr(value)
