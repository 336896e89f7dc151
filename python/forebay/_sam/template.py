"""Reads a template: YAML with CloudFormation's tags, or JSON. Whatever it says, reading it takes little time and memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from forebay._sam.errors import TemplateRefused

if TYPE_CHECKING:
    from pathlib import Path

BYTES_MAX: Final = 1_000_000
"""Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
DEPTH_MAX: Final = 100
VALUES_MAX: Final = 100_000
"""Most values of a template once its aliases stand for what they name."""
MERGED_KEYS_MAX: Final = 10_000
SHORT: Final = ("Ref", "Condition")
"""Tags that stand for a key without `Fn::`."""


@dataclass(frozen=True, slots=True)
class Template:
    """A template as it was read.

    Attributes:
        body: the template itself.
        lines: the line of each resource, from 1.

    """

    body: dict[str, Any]
    lines: dict[str, int]


def read_file(path: Path) -> Template:
    """Read a template's file.

    Raises:
        TemplateRefused: it is not a template, or it is too large.

    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TemplateRefused([f"{path}: {error.strerror}"]) from None
    return read(data, str(path))


def read(data: bytes, name: str = "template") -> Template:
    """Read a template.

    Raises:
        TemplateRefused: it is not a template, or it is too large; says where.

    """
    if len(data) > BYTES_MAX:
        raise TemplateRefused([f"{name}: it has {len(data):,} bytes, at most {BYTES_MAX:,} are allowed"])
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise TemplateRefused([f"{name}: it is not UTF-8: {error}"]) from None
    body, lines = _json(text, name) if text.lstrip().startswith("{") else _yaml(text, name)
    if not isinstance(body, dict):
        raise TemplateRefused([f"{name}: Template format error: a template is a mapping with Resources"])
    _check_size(body, name)
    return Template(body, lines)


def _json(text: str, name: str) -> tuple[Any, dict[str, int]]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = (
            next((key for at, key in enumerate(keys) if key in keys[:at]), None) if len(set(keys)) < len(keys) else None
        )
        if twice is not None:
            raise TemplateRefused([f"{name}: the key {twice!r} appears twice in one object"])
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once), {}
    except json.JSONDecodeError as error:
        raise TemplateRefused([f"{name}:{error.lineno}:{error.colno}: {error.msg}"]) from None
    except RecursionError:
        raise TemplateRefused([f"{name}: it is nested deeper than {DEPTH_MAX}"]) from None


def _yaml(text: str, name: str) -> tuple[Any, dict[str, int]]:
    try:
        import yaml  # noqa: PLC0415  an optional dependency, and not needed where a template is JSON
    except ModuleNotFoundError:
        raise TemplateRefused(["a template in YAML needs pyyaml: pip install 'forebay[sam]'"]) from None
    from forebay._sam.yaml_loader import Loader, lines_of_resources  # noqa: PLC0415

    try:
        loader = Loader(text)
        try:
            node = loader.get_single_node()
            body = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark is not None else name
        raise TemplateRefused([f"{where}: {error.problem or error.context}"]) from None
    except yaml.YAMLError as error:
        raise TemplateRefused([f"{name}: {error}"]) from None
    except RecursionError:
        raise TemplateRefused([f"{name}: it is nested deeper than {DEPTH_MAX}"]) from None
    except (ValueError, OverflowError) as error:
        raise TemplateRefused([f"{name}: {error}"]) from None
    return body, lines_of_resources(node)


def _check_size(body: Any, name: str) -> None:
    """Refuse what grows beyond bounds where aliases are written out, and what holds itself."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()

    def size(value: Any, depth: int) -> int:
        if not isinstance(value, dict | list):
            return 1
        if depth > DEPTH_MAX:
            raise TemplateRefused([f"{name}: it is nested deeper than {DEPTH_MAX}"])
        key = id(value)
        if key in open_:
            raise TemplateRefused([f"{name}: an alias appears inside what it names"])
        if key not in sizes:
            open_.add(key)
            children = value.values() if isinstance(value, dict) else value
            sizes[key] = 1 + sum(size(child, depth + 1) for child in children)
            open_.discard(key)
        if sizes[key] > VALUES_MAX:
            raise TemplateRefused([f"{name}: with its aliases written out it has more than {VALUES_MAX:,} values"])
        return sizes[key]

    size(body, 0)
