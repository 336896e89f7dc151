"""How fast an app's concurrency may grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from forebay._model import checks, limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How fast concurrency may grow: so many places at once, then so many a minute.

    A place that was in use within the last five minutes counts as grown already. Provisioned concurrency needs no growth.

    Args:
        burst: places at once, 1 to 1e12.
        per_minute: places a minute beyond that, 1 to 1e18, as a steady flow.
        per_account: for all functions together; False: for each.

    Raises:
        InvalidParameterValue: a value outside its range.

    """

    burst: int
    per_minute: int
    per_account: bool = False

    def __post_init__(self) -> None:
        checks.integer("burst", self.burst, low=1, high=limits.SCALING_BURST_MAX)
        checks.integer("per_minute", self.per_minute, low=1, high=limits.SCALING_PER_MINUTE_MAX)
        checks.flag("per_account", self.per_account)


PROFILES: Final = {
    "2019": Scaling(burst=1000, per_minute=500, per_account=True),
    "2023": Scaling(burst=1000, per_minute=6000),
}
"""What AWS has done, by the year in which it began."""


def scaling(value: str | Scaling) -> Scaling:
    """Check how fast concurrency may grow: a profile's name, or a `Scaling`."""
    if isinstance(value, Scaling):
        return value
    checks.one_of("scaling", value, tuple(PROFILES))
    return PROFILES[value]


def rate(option: str, value: float | None) -> float | None:
    """Check a number of things a second."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and limits.RATE_MIN <= value <= limits.RATE_MAX):
        checks.refuse(option, value, "allowed are 1e-9 to 1e9 a second, or None")
    return value
