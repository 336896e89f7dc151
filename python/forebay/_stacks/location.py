"""Makes a project from a directory or a zip file in sam's form: names and texts with placeholders."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any, Final

from forebay._sam.errors import TemplateRefused
from forebay._stacks.artifacts import unpack

VALUES: Final = "cookiecutter.json"
TEXT_BYTES_MAX: Final = 1 << 20
_PLACE: Final = re.compile(r"\{\{\s*cookiecutter(?:\.(\w+)|\[['\"](\w+)['\"]\])\s*\}\}")
_IF: Final = re.compile(
    r"\{%\s*if\s+cookiecutter(?:\.(\w+)|\[['\"](\w+)['\"]\])\s*(==|!=)\s*['\"]([^'\"]*)['\"]\s*%\}"
    r"((?:(?!\{%).)*?)(?:\{%\s*else\s*%\}((?:(?!\{%).)*?))?\{%\s*endif\s*%\}",
    re.DOTALL,
)
_FOR: Final = re.compile(
    r"\{%\s*for\s+(\w+)\s+in\s+cookiecutter((?:\.\w+)+)\s*%\}((?:(?!\{%).)*?)\{%\s*endfor\s*%\}", re.DOTALL
)
_SPACE: Final = re.compile(r"(?<!\s)\s*(\{%)-|-(%\})\s*")
"""A dash takes the white space beside it away."""
_OTHER: Final = re.compile(r"\{%|\{\{\s*cookiecutter")


def write(source: Path, name: str, output: Path) -> Path:
    """Write the project; give its folder.

    Raises:
        TemplateRefused: it is not in this form, or it has something that is not understood.

    """
    if source.is_dir():
        return _write(source, name, output)
    with tempfile.TemporaryDirectory() as temporary:
        unpack(source, Path(temporary))
        return _write(Path(temporary), name, output)


def _write(source: Path, name: str, output: Path) -> Path:
    found = sorted(source.rglob(VALUES), key=lambda path: len(path.parts))
    if not found:
        raise TemplateRefused([f"{source}: there is no {VALUES}: it is not a template in sam's form"])
    try:
        values = json.loads(found[0].read_text())
    except (ValueError, RecursionError) as error:
        raise TemplateRefused([f"{found[0]}: {error}"]) from None
    if not isinstance(values, dict):
        raise TemplateRefused([f"{found[0]}: it is a mapping of names to values"])
    values["project_name"] = name
    roots = [path for path in found[0].parent.iterdir() if path.is_dir() and _PLACE.search(path.name)]
    if len(roots) != 1:
        raise TemplateRefused([f"{source}: beside {VALUES} stands one folder whose name has a placeholder"])
    folder = output / name
    filled = [_of_file(path, roots[0], values) for path in sorted(roots[0].rglob("*")) if _is_part(path)]
    for relative, data in filled:  # nothing is written of a template that is refused
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def _is_part(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts


def _of_file(path: Path, root: Path, values: dict[str, Any]) -> tuple[Path, bytes]:
    """Give where a file goes, and what it holds."""
    relative = Path(*(_filled(part, values, str(path)) for part in path.relative_to(root).parts))
    if ".." in relative.parts or relative.is_absolute():
        raise TemplateRefused([f"{path}: its name leads outside"])
    data = path.read_bytes()
    try:
        text = data.decode() if len(data) <= TEXT_BYTES_MAX else None
    except UnicodeDecodeError:
        text = None
    return relative, data if text is None else _filled(text, values, str(path)).encode()


def _value(values: dict[str, Any], name: str) -> str:
    """Give a value as a text; of a list the first, which is the default."""
    value = values.get(name, "")
    return str(value[0] if isinstance(value, list) and value else value)


def _filled(text: str, values: dict[str, Any], where: str) -> str:
    length = 0

    def chosen(found: re.Match[str]) -> str:
        value = _value(values, found[1] or found[2])
        holds = (value == found[4]) == (found[3] == "==")
        return found[5] if holds else found[6] or ""

    def repeated(found: re.Match[str]) -> str:
        items: Any = values
        for name in found[2].strip(".").split("."):
            items = items.get(name) if isinstance(items, dict) else None
        item = re.compile(r"\{\{\s*" + found[1] + r"\s*\}\}")
        each = [str(one) for one in items] if isinstance(items, list) else []
        bounded(len(each) * len(found[3]) + len(item.findall(found[3])) * sum(map(len, each)))
        return "".join(item.sub(lambda _, one=one: one, found[3]) for one in each)

    def placed(found: re.Match[str]) -> str:
        nonlocal length
        value = _value(values, found[1] or found[2])
        length += len(value)
        bounded(length)
        return value

    def bounded(characters: int) -> None:
        if characters > TEXT_BYTES_MAX:
            raise TemplateRefused([f"{where}: filled in it has more than {TEXT_BYTES_MAX:,} characters"])

    text = _SPACE.sub(lambda found: found[1] or found[2], text)
    before = None
    while before != text:
        before, text = text, _FOR.sub(repeated, _IF.sub(chosen, text))
        bounded(len(text))
    text = _PLACE.sub(placed, text)
    if _OTHER.search(text):
        raise TemplateRefused([f"{where}: it has a condition or a filter that is not understood"])
    return text
