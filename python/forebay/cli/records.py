"""Reads records for `forebay stream put` out of JSON Lines or CSV."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from forebay._model import limits
from forebay._model.plural import counted
from forebay._wire import payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Numbered = tuple[int, bytes, str]
"""Line number, data, partition key."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is not a record, and why."""

    line: int
    why: str

    def __str__(self) -> str:
        return f"line {self.line:,}: {self.why}"


class _NotARecordError(Exception):
    """What a line says is not a record."""


def read(file: BinaryIO, form: str, key_of: Callable[[Any], str]) -> Iterator[Numbered | BadLine]:
    """Give every record of a file, and every line that is none."""
    return _read_csv(file, key_of) if form == "csv" else _read_json_lines(file, key_of)


def key_from(field: str | None, constant: str | None) -> Callable[[Any], str]:
    """Give the rule by which a record gets its partition key: a field of it, or one key for all."""
    if (field is None) == (constant is None):
        raise click.UsageError("give one of --key FIELD and --partition-key TEXT")
    if constant is not None:
        return lambda _record: constant

    def key_of(record: Any) -> str:
        if not isinstance(record, dict) or field not in record:
            what = "" if isinstance(record, dict) else ", since it is not a JSON object"
            raise _NotARecordError(f"no field {field!r} for the partition key{what}")
        value = record[field]
        if value is None or value == "":
            what = "null" if value is None else "empty"
            raise _NotARecordError(f"field {field!r} is {what}: a partition key has at least 1 character")
        return value if isinstance(value, str) else payload.dumps(value).decode()

    return key_of


def _numbered(line: int, data: bytes, record: Any, key_of: Callable[[Any], str]) -> Numbered | BadLine:
    try:
        key = key_of(record)
    except _NotARecordError as error:
        return BadLine(line, str(error))
    if len(data) > limits.RECORD_BYTES_MAX:
        return BadLine(line, f"{counted(len(data), 'byte')}: a record has at most {limits.RECORD_BYTES_MAX:,}")
    if len(key) > limits.PARTITION_KEY_MAX:
        return BadLine(line, f"a partition key of {len(key):,} characters: it has at most {limits.PARTITION_KEY_MAX:,}")
    return line, data, key


def _read_json_lines(file: BinaryIO, key_of: Callable[[Any], str]) -> Iterator[Numbered | BadLine]:
    for line, text in enumerate(file, 1):
        data = text.strip()
        if not data:
            continue
        try:
            record = payload.loads(data)
        except ValueError as error:
            yield BadLine(line, f"not JSON: {error}")
        else:
            yield _numbered(line, data, record, key_of)


def _read_csv(file: BinaryIO, key_of: Callable[[Any], str]) -> Iterator[Numbered | BadLine]:
    lines = (line.decode("utf-8-sig" if at == 0 else "utf-8") for at, line in enumerate(file))
    rows = csv.DictReader(lines, strict=True)
    try:
        for row in rows:
            if None in row or None in row.values():
                yield BadLine(rows.line_num, "not as many fields as the heading has")
            else:
                yield _numbered(rows.line_num, payload.dumps(row), row, key_of)
    except (csv.Error, UnicodeDecodeError) as error:
        yield BadLine(rows.line_num + 1, f"not CSV in UTF-8: {error}")
