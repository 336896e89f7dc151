"""Matches a value against a template's regular expression, in a process of its own: an expression may take for ever."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

SECONDS: Final = 2.0
_PROGRAM: Final = """
import json, re, sys
pattern, value = json.load(sys.stdin)
try:
    print(json.dumps(re.fullmatch(pattern, value) is not None))
except (re.error, OverflowError, RecursionError) as error:
    print(json.dumps(str(error)))
"""


def broken(pattern: str, value: str) -> str | None:
    """Say what is wrong, if anything; the value is no part of it."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            input=json.dumps([pattern, value]).encode(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return f"has an AllowedPattern that was not matched within {SECONDS:g} s"
    except ValueError:
        return "has an AllowedPattern that cannot be matched"
    if isinstance(answer, str):
        return f"has an AllowedPattern that is no regular expression: {answer}"
    return None if answer else f"must match pattern {pattern}"
