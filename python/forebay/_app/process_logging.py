"""What a process is told of this one's logging, so that its handler's lines come out as they would here."""

from __future__ import annotations

import logging
import os
import sys
from itertools import islice
from pathlib import Path
from typing import Any, Final

from forebay.logs import JSONFormatter, TextFormatter

LOCALTIME: Final = Path("/etc/localtime")
"""The machine's zone, which holds where no TZ is set."""
LEVELS_MAX: Final = 500
"""Loggers whose own level a process is told."""


def log_settings() -> dict[str, Any]:
    """Describe the levels that are set, and the form of the lines where `forebay.logs` writes them."""
    root = logging.getLogger()
    ours = [handler for handler in root.handlers if isinstance(handler.formatter, JSONFormatter | TextFormatter)]
    own_levels = (
        (name, logger.level)
        for name, logger in tuple(root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and logger.level
    )
    # Where a process is given a TZ, as Lambda does, its own time is not the app's.
    zone = str(LOCALTIME) if "TZ" not in os.environ and LOCALTIME.exists() else None
    return {
        "zone": zone,
        "form": None if not ours else "json" if isinstance(ours[0].formatter, JSONFormatter) else "text",
        "stdout": any(getattr(handler, "stream", None) is sys.stdout for handler in ours),
        "level": root.level,
        "levels": dict(islice(own_levels, LEVELS_MAX)),
    }
