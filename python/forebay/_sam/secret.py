"""Secret values of a stack stand as marks in everything that is kept, compared or shown. Only what runs is given the values."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHOWN: Final = "****"
CONCEALED_MIN: Final = 3
_MARK: Final = re.compile("\ue000([^\ue000\ue001]+)\ue001")


def mark(name: str) -> str:
    """Give what stands for the secret of this name."""
    return f"\ue000{name}\ue001"


def has_mark(text: str) -> bool:
    """Whether a secret is part of a text."""
    return _MARK.search(text) is not None


def marked(text: str, secrets: Mapping[str, str]) -> list[str]:
    """Give the values of those secrets that are part of a text."""
    return [secrets[name] for name in _MARK.findall(text) if name in secrets]


def shown(value: Any) -> Any:
    """Give a value as it may be shown."""
    return _each(value, lambda text: _MARK.sub(SHOWN, text))


def concealed(text: str, values: Iterable[str]) -> str:
    """Give a text, such as an error of a function's code, without the values of secrets; one of a letter or two is none."""
    secrets = [value for value in values if len(value) >= CONCEALED_MIN]
    # As they are, and as Python and JSON write them.
    forms = {form for value in secrets for form in (value, repr(value)[1:-1], *_in_json(value))}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, SHOWN)
    return str(shown(text))


def _in_json(value: str) -> tuple[str, str]:
    return json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]


def revealed(value: Any, secrets: Mapping[str, str]) -> Any:
    """Give a value with its secrets, for what runs."""
    return _each(value, lambda text: _MARK.sub(lambda found: secrets.get(found[1], found[0]), text))


def _each(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each(one, change) for one in value]
    if isinstance(value, dict):
        return {change(name): _each(one, change) for name, one in value.items()}
    return value
