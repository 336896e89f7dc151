"""Settings of an archive and of a replay: frozen, and valid once they exist."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from forebay import _core
from forebay._model import checks, limits, names

RETENTION_SECONDS_MAX: Final = 100 * 366 * 86_400
"""Ours: a hundred years."""
RATE_MAX: Final = 1_000_000
"""Ours: more than a replay can give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSettings:
    """What an archive is declared with.

    Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateArchive.html
    """

    name: str
    bus: str
    pattern: str | None = None
    retention: float | None = None
    description: str = ""

    def __post_init__(self) -> None:
        names.rule_name(self.name, longest=limits.ARCHIVE_NAME_CHARACTERS_MAX)
        if self.pattern is not None:
            # An archive is a rule whose target is itself.
            _core.check_event_rule(json.dumps({"pattern": self.pattern, "targets": []}).encode())
        if self.retention is not None:
            seconds = checks.seconds("retention", self.retention, low=1, high=RETENTION_SECONDS_MAX)
            object.__setattr__(self, "retention", seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """What a replay is started with.

    Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_StartReplay.html
    """

    name: str
    bus: str
    archive: str
    start_ms: int
    end_ms: int
    rules: tuple[str, ...] | None = None
    rate: int | None = None

    def __post_init__(self) -> None:
        names.rule_name(self.name)
        if self.rate is not None:
            checks.integer("rate", self.rate, low=1, high=RATE_MAX)

    def fields(self) -> dict[str, Any]:
        """Give every setting as the engine takes it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
