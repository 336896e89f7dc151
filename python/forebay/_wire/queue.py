"""A queue's settings as the engine takes them: see `docs/requests.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forebay._wire.mapping import milliseconds

if TYPE_CHECKING:
    from forebay._model.queue import QueueSettings


def settings(given: QueueSettings) -> dict[str, Any]:
    """Give every setting."""
    return {
        "name": given.name,
        "visibility_timeout_ms": milliseconds(given.visibility_timeout),
        "delay_ms": milliseconds(given.delay),
        "retention_ms": milliseconds(given.retention),
        "content_based_deduplication": given.content_based_deduplication,
        "deduplication_scope": given.deduplication_scope,
        "dead_letter_queue": given.dead_letter_queue,
        "maximum_receive_count": given.maximum_receive_count,
    }
