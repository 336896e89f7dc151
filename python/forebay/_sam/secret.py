"""Secret values of a stack stand as marks in everything that is kept, compared or shown. Only what runs is given the values."""

from __future__ import annotations

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


def shown(value: Any) -> Any:
    """Give a value as it may be shown."""
    return _each(value, lambda text: _MARK.sub(SHOWN, text))


def concealed(text: str, values: Iterable[str]) -> str:
    """Give a text, such as an error of a function's code, without the values of secrets; one of a letter or two is none."""
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= CONCEALED_MIN:
            text = text.replace(value, SHOWN)
    return str(shown(text))


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
