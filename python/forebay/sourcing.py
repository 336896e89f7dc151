"""The part of an app in which queues and topics are declared and bound to functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from forebay._model import limits, names
from forebay._model.queue import QueueMappingSettings
from forebay.mapping import check_is_here
from forebay.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forebay._model.checks import Seconds
    from forebay._model.mapping import Backoff, Pattern
    from forebay._model.queue import Scope
    from forebay.declarations import Declarations
    from forebay.function import Function
    from forebay.running import Running
    from forebay.topic import Topic

P = ParamSpec("P")
R = TypeVar("R")


class DeclaresQueues:
    """What `App` can do with queues and topics."""

    _declared: Declarations
    _running: Running | None

    def _tell(self) -> None:
        """Let a running engine hear of what was declared, when the whole stack of decorators has been applied."""
        if self._running is not None:
            self._running.tell_soon()

    def on_queue(
        self,
        queue: str,
        *,
        batch_size: int = limits.QUEUE_BATCH_SIZE_DEFAULT,
        maximum_batching_window: Seconds = 0,
        maximum_concurrency: int | None = None,
        report_batch_item_failures: bool = False,
        filters: Iterable[Pattern] = (),
        retry_delay: Backoff | None = None,
        strict_lambda: bool = False,
        enabled: bool = True,
    ) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Give a function the messages of a queue. What it is done with is deleted, what failed comes back.

        Alone it declares the function, too. Messages are received only when the function can take them, and held until it has
        ended, however long that takes. After a failed message of a FIFO group the rest of its group comes back with it.

        Args:
            queue: the queue's name; it must be declared when the app starts.
            batch_size: most messages of a batch, 1 to 10,000 (over 10 with a window), of a FIFO queue 1 to 10.
            maximum_batching_window: seconds for which a batch that is not full gathers messages, 0 to 300; none with FIFO.
            maximum_concurrency: most batches that run at once, 1 to 1,000; None: as many as the app allows.
            report_batch_item_failures: read `batchItemFailures` out of the response, or what `batch.fail` was given.
            filters: at most 10 patterns, each a dict or its JSON text; a message that matches none is deleted.
            retry_delay: how long a failed message waits; None: from a second up to the queue's visibility timeout.
            strict_lambda: do as AWS does where forebay does better: what was received waits out its visibility timeout.
            enabled: False: begin nothing until `Mapping.resume`.

        Raises:
            InvalidParameterValue: an option outside its range.
            ResourceConflict: the queue is bound to the function already, with other settings.

        Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html

        """
        settings = QueueMappingSettings(
            batch_size=batch_size,
            maximum_batching_window=cast("float", maximum_batching_window),
            maximum_concurrency=maximum_concurrency,
            report_batch_item_failures=report_batch_item_failures,
            filters=cast("tuple[str, ...]", filters),
            retry_delay=retry_delay,
            strict_lambda=strict_lambda,
            enabled=enabled,
        )
        settings.fits(names.queue_name(queue, "queue"))

        def bind(handler: Callable[P, R]) -> Function[P, R]:
            function = self._declared.on_queue(handler, queue, settings)
            self._tell()
            return function

        return bind

    def queue(
        self,
        name: str,
        *,
        visibility_timeout: Seconds | None = None,
        delay: Seconds | None = None,
        retention: Seconds | None = None,
        content_based_deduplication: bool | None = None,
        deduplication_scope: Scope | None = None,
        dead_letter_queue: Queue | str | None = None,
        maximum_receive_count: int | None = None,
    ) -> Queue:
        """Declare a queue, or give the one that was declared.

        Args:
            name: 1 to 80 letters, digits, '-' and '_'; one that ends in ".fifo" makes it a FIFO queue.
            visibility_timeout: seconds for which a received message is hidden, 0 to 43,200; None: 30.
            delay: seconds before a new message can be received, 0 to 900; None: 0.
            retention: seconds a message is kept, 60 to 1,209,600; None: 345,600 (four days).
            content_based_deduplication: of a FIFO queue: a message without a deduplication id is known by its body.
            deduplication_scope: of a FIFO queue: ids are told apart in the whole "queue", or in each "messageGroup".
            dead_letter_queue: where a message goes that was received too often: a queue of the same kind.
            maximum_receive_count: how often that is, 1 to 1,000; None: 10.

        Raises:
            InvalidParameterValue: an option outside its range.
            ResourceConflict: it was declared with other settings.

        """
        target = dead_letter_queue
        if isinstance(target, Queue):
            check_is_here(target, self._declared, "dead_letter_queue")
            target = target.name
        asked: dict[str, Any] = {
            "visibility_timeout": visibility_timeout,
            "delay": delay,
            "retention": retention,
            "content_based_deduplication": content_based_deduplication,
            "deduplication_scope": deduplication_scope,
            "dead_letter_queue": target,
            "maximum_receive_count": maximum_receive_count,
        }
        queue, new = self._declared.queue(name, {option: value for option, value in asked.items() if value is not None})
        if new and self._running is not None:
            self._running.tell_of(queue)
        return queue

    def topic(self, name: str) -> Topic:
        """Declare a topic, or give the one that was declared.

        Args:
            name: 1 to 256 letters, digits, '-' and '_'.

        Raises:
            InvalidParameterValue: a name that no topic can have.

        """
        topic, new = self._declared.topic(name, self._tell)
        if new and self._running is not None:
            self._running.tell_of(topic)
        return topic
