"""Logging in a worker process: as in the process that runs the app, and else as on Lambda, whose root logger has a handler."""

from __future__ import annotations

import logging
import sys
from typing import Any

from forebay import logs


def follow(given: dict[str, Any]) -> None:
    """Take over the levels and the form of the process that runs the app, before the app's module sets up its own."""
    root = logging.getLogger()
    if given["form"] is not None:
        _add_handler(root, form=given["form"], to_stdout=given["stdout"])
    root.setLevel(given["level"])
    for name, level in given["levels"].items():
        logging.getLogger(name).setLevel(level)


def complete() -> None:
    """Give the root logger a handler where the app's module has not: without one, no line below WARNING is ever written."""
    root = logging.getLogger()
    if not root.handlers:
        _add_handler(root, form="text", to_stdout=False)


def _add_handler(root: logging.Logger, *, form: str, to_stdout: bool) -> None:
    handler = logging.StreamHandler(sys.stdout if to_stdout else sys.stderr)
    if form == "json":
        handler.setFormatter(logs.JSONFormatter())
        handler.addFilter(logs.RequestFilter())
    else:  # the engine writes function and request before each line of text
        handler.setFormatter(logs.TextFormatter())
    root.addHandler(handler)
