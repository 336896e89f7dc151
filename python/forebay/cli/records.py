"""Reads records for `forebay stream put` out of JSON Lines or CSV."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from forebay._wire import payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Numbered = tuple[int, bytes, str]
"""Line number, data, partition key."""


def read(file: BinaryIO, form: str, key_of: Callable[[int, Any], str]) -> Iterator[Numbered]:
    """Give every record of a file."""
    return _read_csv(file, key_of) if form == "csv" else _read_json_lines(file, key_of)


def key_from(field: str | None, constant: str | None) -> Callable[[int, Any], str]:
    """Give the rule by which a record gets its partition key: a field of it, or one key for all."""
    if (field is None) == (constant is None):
        raise click.UsageError("give one of --key FIELD and --partition-key TEXT")
    if constant is not None:
        return lambda _line, _record: constant

    def key_of(line: int, record: Any) -> str:
        value = record.get(field) if isinstance(record, dict) else None
        if value is None or value == "":
            raise click.ClickException(f"line {line}: no field {field!r} for the partition key")
        return value if isinstance(value, str) else payload.dumps(value).decode()

    return key_of


def _read_json_lines(file: BinaryIO, key_of: Callable[[int, Any], str]) -> Iterator[Numbered]:
    for number, line in enumerate(file, 1):
        data = line.strip()
        if not data:
            continue
        try:
            record = payload.loads(data)
        except ValueError as error:
            raise click.ClickException(f"line {number}: not JSON: {error}") from None
        yield number, data, key_of(number, record)


def _read_csv(file: BinaryIO, key_of: Callable[[int, Any], str]) -> Iterator[Numbered]:
    lines = (line.decode("utf-8-sig" if at == 0 else "utf-8") for at, line in enumerate(file))
    rows = csv.DictReader(lines, strict=True)
    try:
        for row in rows:
            if None in row or None in row.values():
                raise click.ClickException(f"line {rows.line_num}: not as many fields as the heading has")
            yield rows.line_num, payload.dumps(row), key_of(rows.line_num, row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise click.ClickException(f"line {rows.line_num + 1}: not CSV in UTF-8: {error}") from None
