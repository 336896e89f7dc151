"""A subscription as the engine takes it: see `docs/requests.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forebay._model.topic import Subscription


def settings(given: Subscription) -> dict[str, Any]:
    """Give every setting."""
    return {
        "name": given.topic,
        given.kind: given.endpoint,
        "filter_policy": given.filter_policy,
        "filter_policy_scope": given.filter_policy_scope,
        "raw_message_delivery": given.raw_message_delivery,
    }
