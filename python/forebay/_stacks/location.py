"""Makes a project from a directory or a zip file in sam's form: names and texts with placeholders."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Final

from forebay._sam.errors import TemplateRefused
from forebay._stacks.artifacts import unpack

VALUES: Final = "cookiecutter.json"
TEXT_BYTES_MAX: Final = 1 << 20
_PLACE: Final = re.compile(r"\{\{\s*cookiecutter(?:\.(\w+)|\[['\"](\w+)['\"]\])\s*\}\}")
_IF: Final = re.compile(
    r"\{%-?\s*if\s+cookiecutter(?:\.(\w+)|\[['\"](\w+)['\"]\])\s*(==|!=)\s*['\"]([^'\"]*)['\"]\s*-?%\}"
    r"((?:(?!\{%).)*?)(?:\{%-?\s*else\s*-?%\}((?:(?!\{%).)*?))?\{%-?\s*endif\s*-?%\}",
    re.DOTALL,
)
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
        raise TemplateRefused([f"{source}: there is no {VALUES}: it is no template in sam's form"])
    try:
        values = json.loads(found[0].read_text())
    except ValueError as error:
        raise TemplateRefused([f"{found[0]}: {error}"]) from None
    plain = {key: str(value[0] if isinstance(value, list) and value else value) for key, value in values.items()}
    plain["project_name"] = name
    roots = [path for path in found[0].parent.iterdir() if path.is_dir() and _PLACE.search(path.name)]
    if len(roots) != 1:
        raise TemplateRefused([f"{source}: beside {VALUES} stands one folder whose name has a placeholder"])
    folder = output / name
    for path in sorted(roots[0].rglob("*")):
        if path.is_file() and not path.is_symlink():
            relative = Path(*(_filled(part, plain, str(path)) for part in path.relative_to(roots[0]).parts))
            if ".." in relative.parts or relative.is_absolute():
                raise TemplateRefused([f"{path}: its name leads outside"])
            _put(path, folder / relative, plain)
    return folder


def _put(path: Path, target: Path, values: dict[str, str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    data = path.read_bytes()
    try:
        text = data.decode() if len(data) <= TEXT_BYTES_MAX else None
    except UnicodeDecodeError:
        text = None
    if text is None:
        target.write_bytes(data)
    else:
        target.write_text(_filled(text, values, str(path)))


def _filled(text: str, values: dict[str, str], where: str) -> str:
    def chosen(found: re.Match[str]) -> str:
        value = values.get(found[1] or found[2], "")
        holds = (value == found[4]) == (found[3] == "==")
        return found[5] if holds else found[6] or ""

    before = None
    while before != text:
        before, text = text, _IF.sub(chosen, text)
    text = _PLACE.sub(lambda found: values.get(found[1] or found[2], ""), text)
    if _OTHER.search(text):
        raise TemplateRefused([f"{where}: it has a condition or a filter that is not understood"])
    return text
