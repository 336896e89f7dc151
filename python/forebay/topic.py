"""A declared topic: what is published to it goes to every queue and function that is subscribed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from forebay._model import checks
from forebay._model.topic import Subscription, TopicSettings, policy_text
from forebay._runtime.context import parent
from forebay._runtime.store_resource import StoreResource
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import message as parts
from forebay._wire import payload
from forebay.function import Function
from forebay.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forebay._model.topic import FilterPolicyScope
    from forebay._runtime.caller import Caller
    from forebay._wire.message import AttributeValue


class Subscriptions(Protocol):
    """Where subscriptions are declared."""

    def subscribe(self, subscription: Subscription) -> None:
        """Declare a subscription."""

    def forget(self, topic: str, kind: str, endpoint: str) -> None:
        """Have a subscription no longer declared."""


class Topic(StoreResource[TopicSettings]):
    """A topic. `App.topic` makes it."""

    def __init__(
        self, settings: TopicSettings, arn: str, caller: Caller, declared: Subscriptions, on_new: Callable[[], None]
    ) -> None:
        super().__init__(settings, arn, caller)
        self._subscriptions = declared
        self._on_new = on_new

    # --- subscriptions

    def subscribe(
        self,
        endpoint: Queue | Function[..., Any],
        *,
        filter_policy: Mapping[str, Any] | str | None = None,
        filter_policy_scope: FilterPolicyScope = "MessageAttributes",
        raw_message_delivery: bool = False,
    ) -> None:
        """Subscribe a queue, which gets messages, or a function, which gets asynchronous events.

        A subscription lasts until `unsubscribe` or `forebay topic unsubscribe` ends it, even when it has gone from the
        code. Changed settings apply when the app starts.

        Args:
            endpoint: a standard queue or a function of this app.
            filter_policy: only messages that match it, by the operators of SNS; a dict or its JSON text of at most 4,096
                characters. None: everything.
            filter_policy_scope: what the policy looks at: the attributes of a message, or its body, a JSON object.
            raw_message_delivery: give a queue the published text and attributes themselves instead of SNS's JSON around them.

        Raises:
            InvalidParameterValue: an argument that cannot be, such as a FIFO queue or a malformed policy.
            ResourceConflict: the endpoint is already subscribed, with other settings.

        Source: https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html

        """
        kind, name = _endpoint(endpoint)
        subscription = Subscription(
            topic=self.name,
            kind=kind,
            endpoint=name,
            filter_policy=policy_text(filter_policy),
            filter_policy_scope=filter_policy_scope,
            raw_message_delivery=raw_message_delivery,
        )
        self._subscriptions.subscribe(subscription)
        self._on_new()

    async def unsubscribe(self, endpoint: Queue | Function[..., Any]) -> None:
        """End a subscription. Messages that were published before still arrive.

        Raises:
            ResourceNotFound: the endpoint is not subscribed.

        """
        kind, name = _endpoint(endpoint)
        await self._caller.ask("topic.unsubscribe", name=self.name, **{kind: name})
        self._subscriptions.forget(self.name, kind, name)

    unsubscribe_sync = sync_twin(unsubscribe)

    # --- publishing

    async def publish(
        self,
        message: Any,
        *,
        subject: str | None = None,
        attributes: Mapping[str, AttributeValue | Sequence[Any]] | None = None,
    ) -> str:
        """Publish a message. When the call returns, every matching subscription has it on disk.

        Args:
            message: text, or any JSON value; 1 byte to 256 KiB together with the attributes. NaN and Infinity are not JSON.
            subject: 1 to 100 characters of printable ASCII that do not begin with a space.
            attributes: at most 10 by name; text, numbers, bytes, and lists of texts, numbers, booleans and None.

        Returns:
            The message's id; it stands in each copy.

        Raises:
            InvalidParameterValue: an argument outside its range (`RequestTooLarge` for the size).
            ResourceNotFound: there is no such topic.
            TooManyRequests: a subscribed queue is full, or too much waits for the disk; nothing was published.
            StoreFull: the disk is full; nothing was published.
            StoreFailed: a write failed; whether the message is published is unknown.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html

        """
        fields = self._publication(message, subject, attributes)
        await self._declared()
        published: str = payload.loads(await self._caller.publish(self.name, fields))
        return published

    publish_sync = sync_twin(publish)

    def _publication(
        self, message: Any, subject: str | None, attributes: Mapping[str, AttributeValue | Sequence[Any]] | None
    ) -> dict[str, Any]:
        given = [_attribute(name, value) for name, value in (attributes or {}).items()]
        return {
            "name": self.name,
            "message": parts.body("message", message),
            "subject": None if subject is None else parts.text("subject", subject),
            "attributes": [dict(zip(("name", "data_type", "value"), one, strict=True)) for one in given],
            "parent": parent(),
        }


def _endpoint(endpoint: object) -> tuple[Any, str]:
    if not isinstance(endpoint, Queue | Function) or (
        isinstance(endpoint, Function) and endpoint.latest is not endpoint
    ):
        checks.refuse("endpoint", endpoint, "allowed are a queue and a function of the app; not a version or an alias")
    return "queue" if isinstance(endpoint, Queue) else "function", endpoint.name


def _attribute(name: object, value: object) -> tuple[str, str, str]:
    if not isinstance(value, list | tuple):
        return parts.attribute(name, value)
    name = parts.text("attribute name", name)
    option = f"attributes[{checks.shown(name)}]"
    if not all(element is None or isinstance(element, str | int | float) for element in value):
        checks.refuse_content(option, value, "a list has texts, numbers, booleans and None")
    return name, "String.Array", parts.body(option, list(value))
