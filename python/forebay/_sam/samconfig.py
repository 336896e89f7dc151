"""`samconfig.toml`: what commands are given where the command line says nothing. It is edited, not rewritten."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING, Any, Final

from forebay import _durable
from forebay._sam.errors import TemplateRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME: Final = "samconfig.toml"
ENVIRONMENT: Final = "default"
_SWITCHES: Final = frozenset({"confirm_changeset", "disable_rollback", "fail_on_empty_changeset", "skip_unsupported"})
_TRUTH: Final = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}
"""The words that click takes, by which `sam` reads its options."""
_OVERRIDE: Final = re.compile(
    r"""\s*(?:ParameterKey=)?([A-Za-z0-9]+)(?:,ParameterValue)?=("(?:\\.|[^"\\])*"|'[^']*'|[^\s]*)"""
)


def read(path: Path, command: str, environment: str = ENVIRONMENT) -> dict[str, Any]:
    """Give the options of a command, those of `global` behind its own. Without a file there are none.

    Raises:
        TemplateRefused: the file is not TOML, or a truth value in it is something else.

    """
    import tomllib  # noqa: PLC0415  few commands read it

    if not path.exists():
        return {}
    try:
        whole = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TemplateRefused([f"{path}: {error}"]) from None
    found: dict[str, Any] = {}
    for name in ("global", command):
        table: Any = whole
        for key in (environment, name, "parameters"):
            table = table.get(key, {})
            if not isinstance(table, dict):
                raise TemplateRefused([f"{path}: [{environment}.{name}.parameters]: {key} is not a table"])
        found |= table
    for name in _SWITCHES & found.keys():
        found[name] = _switch(found[name], f"{path}: {name}")
    return found


def _switch(value: Any, where: str) -> bool:
    """Read a truth value as `sam` does, which takes it as a text, too."""
    text = str(value).strip().lower()
    if isinstance(value, bool | str) and text in _TRUTH:
        return _TRUTH[text]
    raise TemplateRefused([f"{where} = {value!r}: allowed are true and false"])


def write(path: Path, command: str, options: Mapping[str, Any], environment: str = ENVIRONMENT) -> None:
    """Set options of a command; a value that `global` has already is not repeated. Comments and other keys stay.

    Raises:
        TemplateRefused: the file is not TOML, or tomlkit is missing.

    """
    try:
        import tomlkit  # noqa: PLC0415  an optional dependency
        from tomlkit.exceptions import ParseError  # noqa: PLC0415
    except ModuleNotFoundError:
        raise TemplateRefused([f"to write {NAME} tomlkit is needed: pip install 'forebay[sam]'"]) from None
    try:
        document = tomlkit.parse(path.read_text()) if path.exists() else tomlkit.document()
    except ParseError as error:
        raise TemplateRefused([f"{path}: {error}"]) from None
    if "version" not in document:
        document["version"] = 0.1
    shared = read(path, "global", environment)
    table: Any = document
    is_new = False
    for key in (environment, command, "parameters"):
        is_new = key not in table
        if is_new:
            table.append(key, tomlkit.table(is_super_table=key != "parameters"))
        table = table[key]
    for key, value in options.items():
        if (key in shared and shared[key] == value) or value is None:
            table.pop(key, None)
        else:
            table[key] = value
    if is_new:
        table.add(tomlkit.nl())  # the next table stands apart
    target = path.resolve()
    target.touch()  # a new one has the mode of the user's other files
    text = tomlkit.dumps(document).rstrip("\n") + "\n"
    _durable.write(target, text.encode(), mode=stat.S_IMODE(target.stat().st_mode))


def overrides(text: str) -> dict[str, str]:
    """Read parameters as AWS's command line takes them: `Key=Value Other="two words"`, or its longer form."""
    found: dict[str, str] = {}
    at = 0
    while text[at:].strip():
        match = _OVERRIDE.match(text, at)
        if match is None:
            # What stands there may be part of a secret.
            last = f"behind the value of {list(found)[-1]}" if found else "at the beginning"
            raise TemplateRefused(
                [f"parameter overrides: no Key=Value stands {last}: put a value with spaces into quotes"]
            )
        value = match[2]
        if value[:1] == '"' and value[-1:] == '"' and len(value) > 1:
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        elif value[:1] == "'" and value[-1:] == "'" and len(value) > 1:
            value = value[1:-1]
        found[match[1]] = value
        at = match.end()
    return found


def overrides_text(values: Mapping[str, str]) -> str:
    """Write parameters as AWS's command line takes them."""

    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return " ".join(f"{key}={quoted(value)}" for key, value in values.items())
