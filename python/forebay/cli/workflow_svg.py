"""A state machine as a picture: states in rows by how far they are from the start, flows inside their states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

_HEIGHT: Final = 36
_GAP: Final = 40
_PAD: Final = 16
_CHARACTER: Final = 8
_TITLE: Final = 22

Ways = Mapping[str, list[tuple[str, str]]]


@dataclass
class _Box:
    """A state, with what is inside of it, and where it stands."""

    name: str
    kind: str
    inner: list[_Flow]
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = _HEIGHT


@dataclass
class _Flow:
    """States in rows."""

    start: str
    boxes: dict[str, _Box]
    ways: list[tuple[str, str, str]]
    rows: list[list[_Box]] = field(default_factory=list)
    width: float = 0
    height: float = 0


def svg(machine: Mapping[str, Any], ways_of: Any, flows_of: Any) -> str:
    """Draw a machine; `ways_of` and `flows_of` say where a state leads, and what is inside of it."""
    flow = _read(machine, ways_of, flows_of)
    _measure(flow)
    _place(flow, _PAD, _PAD + 30)
    width, height = flow.width + 2 * _PAD, flow.height + 2 * _PAD + 30
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    style = "font-family: sans-serif; font-size: 13px; text-anchor: middle"
    head = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z"/></marker></defs>'
    )
    first = flow.boxes.get(flow.start)
    middle = first.x + first.width / 2 if first else _PAD
    start = f'<circle cx="{middle:.0f}" cy="16" r="7"/>'
    if first:
        start += _arrow((middle, 23), (middle, first.y), "")
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{style}">', head, start, *_drawn(flow), "</svg>"]
    return "\n".join(lines)


def _read(part: Mapping[str, Any], ways_of: Any, flows_of: Any) -> _Flow:
    boxes, ways = {}, []
    for name, state in part.get("States", {}).items():
        inner = [_read(one, ways_of, flows_of) for one in flows_of(state)]
        boxes[name] = _Box(name, str(state.get("Type", "")), inner)
        ways += [(name, target, label) for target, label in ways_of(state)]
    return _Flow(str(part.get("StartAt", "")), boxes, ways)


def _measure(flow: _Flow) -> None:
    """Put states into rows, and find how large everything is."""
    depth = {flow.start: 0} if flow.start in flow.boxes else {}
    line = list(depth)
    while line:
        name = line.pop(0)
        for source, target, _ in flow.ways:
            if source == name and target in flow.boxes and target not in depth:
                depth[target] = depth[name] + 1
                line.append(target)
    for name in flow.boxes:
        depth.setdefault(name, max(depth.values(), default=-1) + 1)
    for name, box in flow.boxes.items():
        for one in box.inner:
            _measure(one)
        inside = sum(one.width for one in box.inner) + _PAD * (len(box.inner) + 1)
        box.width = max(len(box.name) * _CHARACTER + 2 * _PAD, inside if box.inner else 0)
        if box.inner:
            box.height = _TITLE + max(one.height for one in box.inner) + 2 * _PAD
        while len(flow.rows) <= depth[name]:
            flow.rows.append([])
        flow.rows[depth[name]].append(box)
    flow.width = max((sum(box.width for box in row) + _GAP * (len(row) - 1) for row in flow.rows), default=0)
    flow.height = sum(max(box.height for box in row) for row in flow.rows) + _GAP * max(0, len(flow.rows) - 1)


def _place(flow: _Flow, left: float, top: float) -> None:
    for row in flow.rows:
        x = left + (flow.width - sum(box.width for box in row) - _GAP * (len(row) - 1)) / 2
        for box in row:
            box.x, box.y = x, top
            inside = x + _PAD
            for one in box.inner:
                _place(one, inside, top + _TITLE + _PAD)
                inside += one.width + _PAD
            x += box.width + _GAP
        top += max(box.height for box in row) + _GAP


def _drawn(flow: _Flow) -> Iterator[str]:
    for box in flow.boxes.values():
        corner = 18 if box.kind == "Choice" else 6
        fill = "#fff6e0" if box.kind == "Choice" else "#ffffff" if not box.inner else "#f4f6fa"
        place = f'x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}" rx="{corner}"'
        yield f'<rect {place} fill="{fill}" stroke="#445"/>'
        y = box.y + (16 if box.inner else _HEIGHT / 2 + 5)
        yield f'<text x="{box.x + box.width / 2:.0f}" y="{y:.0f}">{escape(box.name)}</text>'
        for one in box.inner:
            yield from _drawn(one)
    for source, target, label in flow.ways:
        if target in flow.boxes:
            yield _way(flow.boxes[source], flow.boxes[target], label)


def _way(source: _Box, target: _Box, label: str) -> str:
    begin = (source.x + source.width / 2, source.y + source.height)
    end = (target.x + target.width / 2, target.y)
    if end[1] <= begin[1]:
        # It leads back, or to the side.
        begin = (source.x + source.width, source.y + source.height / 2)
        end = (target.x + target.width, target.y + target.height / 2)
    return _arrow(begin, end, label)


def _arrow(begin: tuple[float, float], end: tuple[float, float], label: str) -> str:
    (x1, y1), (x2, y2) = begin, end
    bend = 30 if y2 <= y1 else 0
    way = (
        f"M{x1:.0f} {y1:.0f} C{x1 + bend:.0f} {(y1 + y2) / 2:.0f} {x2 + bend:.0f} {(y1 + y2) / 2:.0f} {x2:.0f} {y2:.0f}"
    )
    says = f'<text x="{(x1 + x2) / 2:.0f}" y="{(y1 + y2) / 2:.0f}" fill="#667">{escape(label)}</text>' if label else ""
    return f'<path d="{way}" fill="none" stroke="#445" marker-end="url(#tip)"/>{says}'
