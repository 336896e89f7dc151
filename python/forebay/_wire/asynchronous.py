"""Settings of asynchronous invocations in the engine's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forebay._wire.mapping import milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forebay._model.asynchronous import AsynchronousSettings


def settings(given: AsynchronousSettings, destinations: Mapping[str, str]) -> dict[str, Any]:
    """Give the settings; the destinations by the options that name them."""
    return {
        "maximum_retry_attempts": given.maximum_retry_attempts,
        "maximum_event_age_ms": milliseconds(given.maximum_event_age),
        "retry_delays_ms": [milliseconds(delay) for delay in given.retry_delays],
        "on_success": destinations.get("on_success"),
        "on_failure": destinations.get("on_failure"),
        "dead_letter": destinations.get("dead_letter_queue"),
    }
