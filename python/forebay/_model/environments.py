"""Settings of the processes that run a function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from forebay._model import checks, limits

if TYPE_CHECKING:
    from forebay._model.checks import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Environments:
    """How many processes run a function with `isolation="process"` or a command, and how long each of them lives.

    Args:
        maximum: most at once, 1 to 1,000; None: four for each processor, and at least what is provisioned. Work beyond it waits.
        idle_timeout: seconds after which one that has nothing to do ends, 1 to 86,400; those that are provisioned stay.
        recycle_invocations: replace one after so many invocations, at least 1; None: never.
        recycle_after: replace one at this age, 1 to 31,536,000 seconds, as soon as it is not busy; None: never.
        report_lines: write Lambda's START, END and REPORT lines on standard output for each invocation, with its duration, the
            most memory used (by the process and its descendants) and, if work waited for the process's start, its init duration.

    Raises:
        InvalidParameterValue: an option outside its range.

    """

    maximum: int | None = None
    idle_timeout: Seconds = limits.ENVIRONMENT_IDLE_SECONDS
    recycle_invocations: int | None = None
    recycle_after: Seconds | None = None
    report_lines: bool = False

    def __post_init__(self) -> None:
        if self.maximum is not None:
            checks.integer("maximum", self.maximum, low=1, high=limits.ENVIRONMENTS_MAX)
        idle = checks.seconds("idle_timeout", self.idle_timeout, low=1, high=86_400)
        object.__setattr__(self, "idle_timeout", idle)
        if self.recycle_invocations is not None:
            checks.integer("recycle_invocations", self.recycle_invocations, low=1, high=2**53)
        if self.recycle_after is not None:
            age = checks.seconds("recycle_after", self.recycle_after, low=1, high=365 * 86_400)
            object.__setattr__(self, "recycle_after", age)
        checks.flag("report_lines", self.report_lines)

    @property
    def idle_seconds(self) -> float:
        """`idle_timeout` as a number."""
        return cast("float", self.idle_timeout)

    @property
    def recycle_seconds(self) -> float | None:
        """`recycle_after` as a number."""
        return cast("float | None", self.recycle_after)
