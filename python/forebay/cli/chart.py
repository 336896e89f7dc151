"""Draws a series as lines of text: a bar for each period."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EIGHTHS = " ▏▎▍▌▋▊▉█"
WIDTH_MIN = 40
WIDTH_MAX = 120
LINES_MAX = 60
DAY_SECONDS = 86_400


def chart(title: str, points: Sequence[tuple[float, float]], period: int, width: int | None = None) -> str:
    """Draw points of `(start, value)`, oldest first, as bars from zero; a period without values has an empty line.

    The newest 60 periods are drawn; the title tells how many are left out.
    """
    if not points:
        return f"{title}\n(no values)"
    first, last = int(points[0][0]), int(points[-1][0])
    values = {int(start): value for start, value in points}
    starts = list(range(max(first, last - (LINES_MAX - 1) * period), last + 1, period))
    left_out = sum(1 for start in values if start < starts[0])
    lines = [f"{title} ({left_out} earlier points left out)" if left_out else title]
    shown = {start: number(values[start]) for start in starts if start in values}
    widest = max(map(len, shown.values()))
    form = "%m-%d %H:%M" if last - starts[0] >= DAY_SECONDS else "%H:%M" if period % 60 == 0 else "%H:%M:%S"
    stamps = {start: datetime.fromtimestamp(start, UTC).strftime(form) + "Z" for start in starts}
    room = width if width is not None else min(shutil.get_terminal_size((80, 24)).columns, WIDTH_MAX)
    room = max(room, WIDTH_MIN) - widest - len(stamps[last]) - 5
    greatest = max((values[start] for start in shown), default=0.0)
    for start in starts:
        value = values.get(start)
        if value is None:
            lines.append(f"{stamps[start]}  {'-':>{widest}}")
        else:
            lines.append(f"{stamps[start]}  {shown[start]:>{widest}}  {bar(value, greatest, room)}".rstrip())
    return "\n".join(lines)


def bar(value: float, greatest: float, room: int) -> str:
    """Draw a value as blocks, of which `greatest` fills the room; what is more than nothing is seen."""
    eighths = round(value / greatest * room * 8) if greatest > 0 else 0
    if value > 0:
        eighths = max(eighths, 1)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (EIGHTHS[rest] if rest else "")


def number(value: float) -> str:
    """Write a number with four digits that mean something, or all of a whole one."""
    if value == int(value) and abs(value) < 1e15:  # noqa: PLR2004
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{Decimal(f'{value:.4g}'):f}"  # noqa: PLR2004
