"""MySQL statements with their arguments filled in: escaped by the server's current mode, or refused before anything is sent."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from asyncmy import errors
from asyncmy.cursors import RE_INSERT_VALUES

from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

INSERT_BYTES_MAX = 1_024_000  # asyncmy's own measure for rows that it joins
_NO_BACKSLASH_ESCAPES = 0x0200
_COMMAND_BYTES = 1  # before the text in its packet


def fill_in(raw: Any, sql: str, args: Any) -> str:
    """Fill in the arguments (``%s`` or ``%(name)s``).

    Raises:
        InvalidParameterValue: they do not fit, or MySQL has no such value.

    """
    try:
        if isinstance(args, dict):
            return sql % {key: _literal(raw, value) for key, value in args.items()}
        return sql % tuple([_literal(raw, value) for value in args])
    except (TypeError, KeyError, ValueError, errors.Error) as error:
        if isinstance(error, InvalidParameterValue):
            raise
        raise InvalidParameterValue(
            f"args do not fit the statement ({type(error).__name__}: {error}). MySQL's placeholders are %s or "
            "%(name)s; write %% for a percent sign when there are arguments.",
        ) from None


def _literal(raw: Any, value: Any) -> str:
    """Write one argument as the server's SQL mode reads it."""
    kind = type(value)
    if kind is str or kind is int:
        return raw.literal(value)  # type: ignore[no-any-return]  # asyncmy looks at the mode for a text, and for nothing else
    if isinstance(value, (float, Decimal)) and not math.isfinite(value):
        raise InvalidParameterValue(f"args: MySQL has no number {value}")
    if isinstance(value, (list, tuple)):
        return f"({', '.join([_literal(raw, item) for item in value])})"
    if isinstance(value, (set, frozenset)):
        return ", ".join([_literal(raw, item) for item in value])
    if isinstance(value, dict):
        raise InvalidParameterValue("args: a dict cannot be one argument; MySQL takes JSON as text: json.dumps(value)")
    if isinstance(value, memoryview):
        value = bytes(value)
    if isinstance(value, (bytes, bytearray)) and raw.server_status & _NO_BACKSLASH_ESCAPES:
        text = bytes(value).replace(b"'", b"''").decode("ascii", "surrogateescape")
        return f"_binary'{text}'"
    if isinstance(value, str) or type(value) not in raw._encoders:  # noqa: SLF001 - asyncmy would write it as a text in one mode only
        return raw.literal(str(value))  # type: ignore[no-any-return]
    return raw.literal(value)  # type: ignore[no-any-return]


def encode(raw: Any, sql: str, args: Any, packet_bytes_max: int) -> bytes:
    """Give the bytes of a statement with its arguments.

    Raises:
        InvalidParameterValue: they do not fit, cannot be encoded, or are longer than the server accepts.

    """
    text = fill_in(raw, sql, args) if args else sql
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = _encode_bytes(text, sql, args)
    return _short_enough(data, packet_bytes_max)


def encode_rows(raw: Any, sql: str, rows: Iterable[Any], packet_bytes_max: int) -> list[bytes]:
    """Give the statements that stand for one statement with many rows of arguments; INSERT rows are joined.

    All of them are made before the first can be sent, so that a row that cannot be sent leaves nothing half done.

    Raises:
        InvalidParameterValue: as ``encode``.

    """
    insert = RE_INSERT_VALUES.match(sql)
    if insert is None:
        return [encode(raw, sql, row, packet_bytes_max) for row in rows]
    start, values, end = (insert[1] % ()).encode(), insert[2].rstrip(), (insert[3] or "").encode()
    room = min(INSERT_BYTES_MAX, packet_bytes_max - _COMMAND_BYTES) - len(start) - len(end)
    encoded = (encode(raw, values, row, packet_bytes_max) for row in rows)
    return [_short_enough(start + b",".join(joined) + end, packet_bytes_max) for joined in _by_length(encoded, room)]


def _by_length(parts: Iterable[bytes], room: int) -> Iterator[list[bytes]]:
    """Put parts together that fit in a room with commas between them; one that is longer comes alone."""
    joined: list[bytes] = []
    length = 0
    for part in parts:
        if joined and length + len(part) > room:
            yield joined
            joined, length = [], 0
        joined.append(part)
        length += len(part) + 1
    if joined:
        yield joined


def _encode_bytes(text: str, sql: str, args: Any) -> bytes:
    """Encode a text with bytes in it, which asyncmy writes as surrogates; a text's own surrogates are refused."""
    for part in (sql, *_texts(args)):
        try:
            part.encode()
        except UnicodeEncodeError as error:
            raise InvalidParameterValue(
                f"the statement or an argument cannot be encoded as UTF-8: {error.reason} (character {error.start})"
            ) from None
    return text.encode(errors="surrogateescape")


def _texts(value: Any) -> Iterator[str]:
    """Give the texts among arguments."""
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, (bytes, bytearray)):
        return
    if isinstance(value, str):
        yield value
    elif hasattr(value, "__iter__"):
        for item in value:
            yield from _texts(item)


def _short_enough(data: bytes, packet_bytes_max: int) -> bytes:
    if len(data) + _COMMAND_BYTES >= packet_bytes_max:
        raise InvalidParameterValue(
            f"the statement with its arguments is {len(data):,} bytes long: the server accepts less than "
            f"{packet_bytes_max:,} (max_allowed_packet)"
        )
    return data
