"""A declared queue: what is sent to it is kept until somebody is done with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from forebay import _core
from forebay._core import Message
from forebay._model import checks, limits
from forebay._model.queue import QueueSettings
from forebay._runtime.store_resource import StoreResource
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import mapping as wire
from forebay._wire import message as parts
from forebay._wire import payload
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from forebay._model.checks import Seconds
    from forebay._runtime.caller import Caller, Packed
    from forebay._wire.message import AttributeValue

_ARGUMENTS: Final = frozenset({"body", "group_id", "deduplication_id", "delay", "attributes"})


@dataclass(frozen=True, slots=True)
class Depth:
    """The number of messages in each state, as SQS counts them."""

    visible: int
    """Waiting, those of message groups held back included."""
    in_flight: int
    """Received, and neither deleted nor visible again."""
    delayed: int
    """Waiting for a delay to end."""


class Queue(StoreResource[QueueSettings]):
    """A queue of messages. `App.queue` makes it."""

    def __init__(self, settings: QueueSettings, arn: str, caller: Caller, forget: Callable[[Queue], None]) -> None:
        super().__init__(settings, arn, caller)
        self._forget = forget

    # --- sending

    async def send(
        self,
        body: Any,
        *,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        delay: Seconds | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> str:
        """Send a message. It is durable when the call returns.

        Args:
            body: text, or any JSON value; 1 byte to 1 MiB together with the attributes. NaN and Infinity are not JSON.
            group_id: message group, 1 to 128 characters. A FIFO queue needs one, and its messages stay in order. In a standard
                queue it is an attribute that receivers see.
            deduplication_id: of a FIFO queue, 1 to 128 characters; within five minutes a message with the same one is accepted
                and not delivered. None: the body's SHA-256, if the queue has `content_based_deduplication`.
            delay: seconds before a standard queue's message can be received, 0 to 900; None: as the queue says.
            attributes: at most 10 by name; text, numbers and bytes.

        Returns:
            The message's id; of a duplicate, that of the first one.

        Raises:
            InvalidParameterValue: an argument outside its range (`RequestTooLarge` for the size).
            ResourceNotFound: there is no such queue.
            TooManyRequests: the queue is full, or too much waits for the disk.
            StoreFull: the disk is full; nothing was accepted.
            StoreFailed: a write failed; whether the message is kept is unknown.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html

        """
        packed = _packed(body, group_id, deduplication_id, delay, attributes)
        ids = await self._send([packed])
        return ids[0]

    send_sync = sync_twin(send)

    async def send_many(self, messages: Iterable[str | Mapping[str, Any]]) -> list[str]:
        """Send up to ten messages in one step: all are durable when this returns, or none was accepted.

        Args:
            messages: each a body as text, or a dict of the arguments of `send`, such as `{"body": …, "group_id": …}`; at most
                10, and 1 MiB together.

        Returns:
            Their ids, in the order of the messages.

        Raises:
            InvalidParameterValue: as for `send`; the text names the message.

        """
        return await self._send(_entries(messages))

    send_many_sync = sync_twin(send_many)

    async def _send(self, packed: list[Packed]) -> list[str]:
        if self._declaring is not None:
            await self._declared()
        ids: list[str] = payload.loads(await self._caller.send(self.name, packed))
        return ids

    # --- receiving by hand

    async def receive(
        self,
        maximum: int = 10,
        wait: Seconds = 0,
        *,
        visibility_timeout: Seconds | None = None,
        attempt_id: str | None = None,
    ) -> list[Message]:
        """Receive messages; each is hidden from others until its visibility timeout is over.

        Args:
            maximum: most messages, 1 to 10.
            wait: seconds to wait for the first one, 0 to 20.
            visibility_timeout: seconds, 0 to 43,200; None: as the queue says.
            attempt_id: of a FIFO queue: within five minutes the same one gives the same messages, for whoever lost an answer.

        Raises:
            InvalidParameterValue: an argument outside its range.
            TooManyRequests: 120,000 messages of a standard queue are in flight.

        Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html

        """
        fields = self._receive(maximum, wait, visibility_timeout, attempt_id)
        await self._declared()
        return _core.messages(await self._caller.request("queue.receive", **fields))

    receive_sync = sync_twin(receive)

    async def delete(self, message: Message | str) -> None:
        """Delete a received message.

        Args:
            message: the message, or its receipt handle.

        Raises:
            InvalidParameterValue: the receipt is not that of the last receive any more, or the message is on its way to the
                dead-letter queue.

        """
        await self._caller.ask("queue.delete_message", **self._held(message))

    delete_sync = sync_twin(delete)

    async def change_visibility(self, message: Message | str, visibility_timeout: Seconds) -> None:
        """Change how long a received message stays hidden, from now on. 0 makes it visible at once.

        Args:
            message: the message, or its receipt handle.
            visibility_timeout: seconds, 0 to 43,200. For a message in the hands of a mapping's handler it says when the message
                comes back if the handler fails.

        Raises:
            InvalidParameterValue: the receipt is not that of the last receive any more, or the message waits already.

        """
        await self._caller.ask("queue.change_visibility", **self._held(message), **_visible_in(visibility_timeout))

    change_visibility_sync = sync_twin(change_visibility)

    # --- the whole queue

    def depth(self) -> Depth:
        """Return the number of messages in each state. The call waits some microseconds for the store's owner."""
        return Depth(**self._caller.ask_now("queue.depth", name=self.name))

    async def purge(self) -> None:
        """Remove every message, received or not. What a handler has in its hands ends, and is then gone as well."""
        await self._declared()
        await self._caller.ask("queue.purge", name=self.name)

    purge_sync = sync_twin(purge)

    async def redrive(self, to: Queue | str | None = None, rate: float | None = None) -> int:
        """Move the waiting messages of this dead-letter queue back to their queues. Receive count and retention start again.

        The redrive goes on after the call has returned, over restarts, too, until the messages that waited have moved.

        Args:
            to: another queue of the same kind; None: each message's own.
            rate: at most so many messages a second, 0.001 to 1,000,000; None for no limit.

        Returns:
            How many messages will move.

        Raises:
            InvalidParameterValue: the queue is not a dead-letter queue and `to` is None, or `to` is of the other kind.
            ResourceConflict: a redrive of it is going on already.

        """
        fields = self._redrive(to, rate)
        await self._declared()
        answer = await self._caller.ask("queue.redrive", **fields)
        return int(answer["moving"])

    redrive_sync = sync_twin(redrive)

    async def cancel_redrive(self) -> int:
        """Stop a redrive. Messages on their way arrive, the others stay.

        Returns:
            How many messages have moved.

        Raises:
            ResourceNotFound: no redrive of it is going on.

        Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CancelMessageMoveTask.html

        """
        await self._declared()
        return int((await self._caller.ask("queue.cancel_redrive", name=self.name))["moved"])

    cancel_redrive_sync = sync_twin(cancel_redrive)

    async def delete_queue(self) -> int:
        """Delete the queue with everything in it, and the mappings on it whose code does not run. Its name is free at once.

        Later calls are refused (`ResourceNotFound`) until `App.queue`, in this app or the next one, makes the queue again.

        Returns:
            How many messages were removed.

        Raises:
            ResourceConflict: a function that runs reads it or has it as a destination, another queue has it as its dead-letter
                queue, or a redrive from or to it is going on.

        Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html

        """
        await self._declared()
        answer = await self._caller.ask("queue.delete", name=self.name)
        self._forget(self)
        return int(answer["removed"])

    delete_queue_sync = sync_twin(delete_queue)

    def _receive(
        self, maximum: int, wait: Seconds, visibility_timeout: Seconds | None, attempt_id: str | None
    ) -> dict[str, Any]:
        checks.integer("maximum", maximum, low=1, high=limits.MESSAGES_OF_A_CALL_MAX)
        waits = checks.seconds("wait", wait, low=0, high=limits.RECEIVE_WAIT_SECONDS_MAX)
        fields = {"name": self.name, "maximum": maximum, "wait_ms": wire.milliseconds(waits)}
        if visibility_timeout is not None:
            fields |= _visible_in(visibility_timeout)
        if attempt_id is not None:
            fields["attempt_id"] = parts.text("attempt_id", attempt_id)
        return fields

    def _held(self, message: Message | str) -> dict[str, Any]:
        receipt = message.receipt_handle if isinstance(message, Message) else message
        if not isinstance(receipt, str):
            checks.refuse_content("message", message, "a message as receive gave it, or its receipt handle")
        return {"name": self.name, "receipt_handle": parts.text("message", receipt)}

    def _redrive(self, to: Queue | str | None, rate: float | None) -> dict[str, Any]:
        checks.redrive_rate("rate", rate)
        if isinstance(to, Queue) and to._caller is not self._caller:  # noqa: SLF001  of this same class
            checks.refuse("to", to, "it belongs to another app")
        return {"name": self.name, "to": to.name if isinstance(to, Queue) else to, "rate": rate}


def _visible_in(timeout: Seconds) -> dict[str, Any]:
    plain = checks.seconds("visibility_timeout", timeout, low=0, high=limits.VISIBILITY_SECONDS_MAX)
    return {"visibility_timeout_ms": wire.milliseconds(plain)}


def _entries(messages: Iterable[str | Mapping[str, Any]]) -> list[Packed]:
    if isinstance(messages, str | bytes | dict):
        checks.refuse_content(
            "messages", messages, "a list of messages, each a text or a dict of the arguments of send"
        )
    return [_entry(at, message) for at, message in enumerate(messages)]


def _entry(at: int, message: str | Mapping[str, Any]) -> Packed:
    if isinstance(message, str):
        return (message, None, None, None, [])
    if not isinstance(message, dict) or "body" not in message or not message.keys() <= _ARGUMENTS:
        checks.refuse_content(
            f"messages[{at}]", message, f"a text, or a dict with 'body' and others of {sorted(_ARGUMENTS)}"
        )
    given = dict.fromkeys(_ARGUMENTS) | message
    try:
        return _packed(given["body"], given["group_id"], given["deduplication_id"], given["delay"], given["attributes"])
    except InvalidParameterValue as error:
        raise type(error)(f"messages[{at}]: {error}") from None


def _packed(
    body: Any,
    group_id: str | None,
    deduplication_id: str | None,
    delay: Seconds | None,
    attributes: Mapping[str, AttributeValue] | None,
) -> Packed:
    if group_id is not None:
        parts.text("group_id", group_id)
    if deduplication_id is not None:
        parts.text("deduplication_id", deduplication_id)
    delay_ms = None
    if delay is not None:
        delay_ms = wire.milliseconds(checks.seconds("delay", delay, low=0, high=limits.DELAY_SECONDS_MAX))
    packed = [parts.attribute(name, value) for name, value in attributes.items()] if attributes else []
    return parts.body("body", body), group_id, deduplication_id, delay_ms, packed
