"""Settings of a function's asynchronous invocations: frozen, and valid once they exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from forebay._model import checks, limits

DESTINATIONS: Final = ("on_success", "on_failure", "dead_letter_queue")
"""The options that name a destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsynchronousSettings:
    """How a function is invoked asynchronously. What the destinations may be is checked where they are declared."""

    maximum_retry_attempts: int = limits.EVENT_RETRY_ATTEMPTS_MAX
    maximum_event_age: float = limits.EVENT_AGE_SECONDS_MAX
    retry_delays: tuple[float, ...] = limits.EVENT_RETRY_DELAYS_SECONDS
    on_success: object = None
    on_failure: object = None
    dead_letter_queue: object = None

    def __post_init__(self) -> None:
        most = limits.EVENT_RETRY_ATTEMPTS_MAX
        checks.integer("maximum_retry_attempts", self.maximum_retry_attempts, low=0, high=most)
        low, high = limits.EVENT_AGE_SECONDS_MIN, limits.EVENT_AGE_SECONDS_MAX
        age = checks.seconds("maximum_event_age", self.maximum_event_age, low=low, high=high)
        object.__setattr__(self, "maximum_event_age", age)
        given = self.retry_delays
        if isinstance(given, str) or not isinstance(given, Sequence) or not 1 <= len(given) <= most:
            checks.refuse(
                "retry_delays", given, f"one delay or {most}: seconds after the first failed attempt, the second"
            )
        delays = tuple(checks.seconds("retry_delays", delay, low=0, high=high) for delay in given)
        object.__setattr__(self, "retry_delays", delays)
