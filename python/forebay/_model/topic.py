"""Settings of a topic and of a subscription: frozen, and valid once they exist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from forebay import _core
from forebay._model import checks, names
from forebay.errors import InvalidParameterValue

FilterPolicyScope = Literal["MessageAttributes", "MessageBody"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """What a topic is declared with.

    Source: https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html
    """

    name: str

    def __post_init__(self) -> None:
        names.topic_name(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A queue or a function that a topic's messages go to.

    Source: https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html
    """

    topic: str
    kind: Literal["queue", "function"]
    endpoint: str
    filter_policy: str | None = None
    filter_policy_scope: FilterPolicyScope = "MessageAttributes"
    raw_message_delivery: bool = False

    def __post_init__(self) -> None:
        if self.kind == "queue" and names.is_fifo(self.endpoint):
            raise InvalidParameterValue(
                "Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard "
                "SNS topics"
            )
        checks.flag("raw_message_delivery", self.raw_message_delivery)
        if self.kind == "function" and self.raw_message_delivery:
            raise InvalidParameterValue(
                "Invalid parameter: Attributes Reason: Delivery protocol [lambda] does not support raw message delivery."
            )
        if self.filter_policy_scope not in ("MessageAttributes", "MessageBody"):
            raise InvalidParameterValue(
                f"Invalid parameter: Attributes Reason: FilterPolicyScope: Invalid value [{self.filter_policy_scope}]. "
                "Please use either MessageBody or MessageAttributes"
            )
        if self.filter_policy is not None:
            _core.check_filter_policy(self.filter_policy, self.filter_policy_scope == "MessageBody")


def policy_text(policy: Any) -> str | None:
    """Give a filter policy as JSON text."""
    if policy is None or isinstance(policy, str):
        return policy
    if not isinstance(policy, dict):
        checks.refuse("filter_policy", policy, "allowed are a dict, its JSON text, and None")
    return checks.json_text("filter_policy", policy)
