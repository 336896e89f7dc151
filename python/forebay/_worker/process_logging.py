"""Logging in a worker process: as in the process that runs the app, and else as on Lambda, whose root logger has a handler."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forebay import logs

if TYPE_CHECKING:
    from datetime import tzinfo


def follow(given: dict[str, Any]) -> None:
    """Take over the levels and the form of the process that runs the app, before the app's module sets up its own."""
    root = logging.getLogger()
    if given["form"] is not None:
        _add_handler(root, form=given["form"], to_stdout=given["stdout"], zone=given["zone"])
    root.setLevel(given["level"])
    for name, level in given["levels"].items():
        logging.getLogger(name).setLevel(level)


def complete(given: dict[str, Any]) -> None:
    """Give the root logger a handler where the app's module has not: without one, no line below WARNING is ever written."""
    root = logging.getLogger()
    if not root.handlers:
        _add_handler(root, form="text", to_stdout=False, zone=given["zone"]).addFilter(_is_unwritten)


def _is_unwritten(record: logging.LogRecord) -> bool:
    """Tell whether no logger on the way to the root writes a record itself, as Powertools' `Logger` does: once is enough."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger.parent is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return False
        logger = logger.parent
    return True


def _add_handler(root: logging.Logger, *, form: str, to_stdout: bool, zone: str | None) -> logging.Handler:
    handler = logging.StreamHandler(sys.stdout if to_stdout else sys.stderr)
    if form == "json":
        handler.setFormatter(logs.JSONFormatter())
        handler.addFilter(logs.RequestFilter())
    else:  # the engine writes function and request before each line of text
        handler.setFormatter(logs.TextFormatter(_zone(zone)))
    root.addHandler(handler)
    return handler


def _zone(file: str | None) -> tzinfo | None:
    """Read the zone of the process that runs the app, whose lines stand beside these; None if it cannot be read."""
    if file is None:
        return None
    from zoneinfo import ZoneInfo  # noqa: PLC0415  JSON lines have no zone

    try:
        with Path(file).open("rb") as opened:
            return ZoneInfo.from_file(opened)
    except (OSError, ValueError):
        return None
