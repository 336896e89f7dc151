"""Matches values against a template's regular expressions, in a process of its own: an expression may take for ever."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECONDS: Final = 2.0
"""For all expressions of a template together: an app's loop waits for them."""
_PROGRAM: Final = """
import json, re, sys
for pattern, values in json.load(sys.stdin):
    try:
        print(json.dumps(all(re.fullmatch(pattern, value) for value in values)), flush=True)
    except (re.error, OverflowError, RecursionError) as error:
        print(json.dumps(str(error)), flush=True)
"""


def broken(asked: Mapping[str, tuple[str, Sequence[str]]]) -> dict[str, str]:
    """Say what is wrong, by name; values are not part of it.

    Args:
        asked: an expression and the values that it must match, by name.

    """
    if not asked:
        return {}
    is_late = False
    try:
        said = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            input=json.dumps(list(asked.values())).encode(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as error:
        said, is_late = error.stdout or b"", True
    answers = [json.loads(line) for line in said.splitlines()]
    found = {
        name: why
        for (name, (pattern, _)), answer in zip(asked.items(), answers, strict=False)
        if (why := _why(pattern, answer)) is not None
    }
    left = list(asked)[len(answers) :]
    if is_late and left:  # those behind it were not looked at
        found[left[0]] = f"has an AllowedPattern that was not matched within {SECONDS:g} s"
    else:
        found |= dict.fromkeys(left, "has an AllowedPattern that cannot be matched")
    return found


def _why(pattern: str, answer: bool | str) -> str | None:
    if isinstance(answer, str):
        return f"has an AllowedPattern that is not a regular expression: {answer}"
    return None if answer else f"must match pattern {pattern}"
