"""How commands print: aligned text for people, or JSON for programs; and how they read what several of them take."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from forebay._wire import payload
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

RANGES_MAX: Final = 20
"""Ranges of lost records that a text lists; how many more there are it says."""
JSON_TEXTS: Final = ("payload", "error", "last_error", "filters", "filter_policy")
"""Fields that the engine gives as JSON text."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

output_option = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text for people, or one JSON value for programs.",
)


def show(value: Any, output: str, *, text: str) -> None:
    """Print a value as JSON, or the text that stands for it."""
    if output == "json":
        write_json(value)
    else:
        click.echo(text)


def write_json(value: Any) -> None:
    """Print one line of JSON."""
    sys.stdout.buffer.write(payload.dumps(value) + b"\n")
    sys.stdout.buffer.flush()


def unpacked(value: Any) -> Any:
    """Give rows with the JSON texts in them as what they say, so that no program has to read JSON inside JSON.

    Objects inside a row, such as a record of a failure, are the user's: they stay as they are.
    """
    if isinstance(value, list):
        return [unpacked(one) for one in value]
    if not isinstance(value, dict):
        return value
    texts = {name: _read(one) for name, one in value.items() if name in JSON_TEXTS}
    lists = {name: unpacked(one) for name, one in value.items() if name not in JSON_TEXTS and isinstance(one, list)}
    return {**value, **texts, **lists}


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(one) for one in value]
    try:
        return payload.loads(value) if isinstance(value, str) else value
    except ValueError:  # an error may be plain text, or cut where it was long
        return value


def table(rows: Iterable[dict[str, Any]], columns: Sequence[tuple[str, Callable[[dict[str, Any]], object]]]) -> str:
    """Align rows under headings; numbers to the right."""
    cells = [[cell(value(row)) for _, value in columns] for row in rows]
    if not cells:
        return "(none)"
    widths = [max(len(name), *(len(row[at]) for row in cells)) for at, (name, _) in enumerate(columns)]
    numeric = [all(_is_number(row[at]) for row in cells) for at in range(len(columns))]
    lines = [[name for name, _ in columns], *cells]
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def cell(value: object) -> str:
    """Write one value for people."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return str(value)


def duration(ms: float | None) -> str:
    """Write milliseconds for people."""
    if ms is None or ms < 0:
        return "-"
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if ms >= size:
            return f"{ms / size:,.0f} {unit}" if ms >= 100 * size else f"{ms / size:.3g} {unit}"
    return f"{ms:.0f} ms"


def moment(ms: float) -> str:
    """Write a wall time for people."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def whole_seconds(option: str, text: str) -> int:
    """Read a duration as it is typed: "90", "90s", "5m", "1h", "7d"."""
    match = re.fullmatch(r"(\d{1,9})([smhd]?)", text.strip())
    if match is None or int(match[1]) == 0:
        raise InvalidParameterValue(
            f"{option}={text!r}: allowed are seconds, or a number with s, m, h or d, such as 30s or 1h"
        )
    return int(match[1]) * UNITS[match[2] or "s"]


def attribute(text: str) -> dict[str, str]:
    """Read a message attribute as it is typed."""
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--attribute {text}: give NAME=TEXT")
    return {"name": name, "data_type": "String", "value": value}


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(",", "").replace(".", "").isdecimal()
