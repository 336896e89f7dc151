"""The part of an app in which streams, queues and topics are declared and bound to functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from forebay._model import limits, names
from forebay._model.mapping import Backoff, MappingSettings, moment_not_in_future
from forebay._model.queue import QueueMappingSettings
from forebay._runtime.starters import suited
from forebay.mapping import check_is_here
from forebay.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from forebay._app.declarations import Declarations
    from forebay._app.run import AppRun
    from forebay._model.checks import Seconds
    from forebay._model.mapping import Pattern, Position
    from forebay._model.queue import Scope
    from forebay.clock import Clock
    from forebay.function import Function
    from forebay.mapping import Target
    from forebay.stream import Stream
    from forebay.topic import Topic

P = ParamSpec("P")
R = TypeVar("R")


class DeclaresSources:
    """The methods of `App` for streams, queues and topics."""

    clock: Clock
    _declared: Declarations
    _running: AppRun | None

    def _declare_soon(self) -> None:
        """Declare to a running engine what is new, when the whole stack of decorators has been applied."""
        if self._running is not None:
            self._running.declare_soon()

    def on_stream(
        self,
        stream: str,
        *,
        batch_size: int = limits.BATCH_SIZE_DEFAULT,
        maximum_batching_window: Seconds = 0,
        starting_position: Position = "TRIM_HORIZON",
        starting_position_timestamp: float | datetime | None = None,
        parallelization_factor: int = 1,
        maximum_retry_attempts: int = limits.RETRY_ATTEMPTS_MAX,
        maximum_record_age: Seconds = limits.RECORD_AGE_SECONDS_MAX,
        bisect_batch_on_function_error: bool = False,
        report_batch_item_failures: bool = False,
        filters: Iterable[Pattern] = (),
        tumbling_window: Seconds = 0,
        on_failure: Target | None = None,
        include_payload: bool = False,
        retry_backoff: Backoff | None = None,
        enabled: bool = True,
    ) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Bind a function to a stream: it gets the records in batches, in order within each partition key.

        Without `@app.function` the decorator also declares the function. See https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html

        Args:
            stream: the stream's name; it must be declared when the app starts.
            batch_size: the largest number of records in a batch, 1 to 10,000.
            maximum_batching_window: seconds that a batch waits for more records when it is not full, 0 to 300.
            starting_position: "TRIM_HORIZON", "LATEST" or "AT_TIMESTAMP"; used once, when the mapping is first declared.
            starting_position_timestamp: for "AT_TIMESTAMP": seconds since 1970 or a `datetime`.
            parallelization_factor: lanes of each shard, 1 to 10. A key stays in its lane, and a lane has one batch in flight.
            maximum_retry_attempts: retries after the first attempt, 0 to 10,000; -1: no limit.
            maximum_record_age: seconds after which a record is given up, 60 to 604,800; -1: never.
            bisect_batch_on_function_error: True: split a failed batch in two. False: retry the whole batch.
            report_batch_item_failures: True: only items in the response's `batchItemFailures`, or passed to `batch.fail`, failed.
            filters: at most 10 patterns, each a dict or its JSON text. A record that matches none is skipped.
            tumbling_window: length in seconds of a window whose state is passed from call to call, 0 to 900; 0: no window.
            on_failure: destination for batches that are given up: a function (which gets an asynchronous event), a standard
                queue, a topic, a `forebay.JSONLines`, or any object with `async def deliver(self, record)`. None: list them
                (`Function.failed`).
            include_payload: True: the failure record contains the batch.
            retry_backoff: the delay before a failed batch is tried again; None: `forebay.Backoff()`.
            enabled: False: hand out nothing until `Mapping.resume`.

        Raises:
            InvalidParameterValue: an option is outside its range.
            ResourceConflict: the stream is bound to the function already, with other settings.

        """
        settings = MappingSettings(
            batch_size=batch_size,
            maximum_batching_window=cast("float", maximum_batching_window),
            starting_position=starting_position,
            starting_position_timestamp=cast("float | None", starting_position_timestamp),
            parallelization_factor=parallelization_factor,
            maximum_retry_attempts=maximum_retry_attempts,
            maximum_record_age=cast("float", maximum_record_age),
            bisect_batch_on_function_error=bisect_batch_on_function_error,
            report_batch_item_failures=report_batch_item_failures,
            filters=cast("tuple[str, ...]", filters),
            tumbling_window=cast("float", tumbling_window),
            on_failure=on_failure,
            include_payload=include_payload,
            retry_backoff=retry_backoff if retry_backoff is not None else Backoff(),
            enabled=enabled,
        )
        name = names.stream_name(stream, "stream")
        settings = moment_not_in_future(settings, self.clock.time())

        def bind(handler: Callable[P, R]) -> Function[P, R]:
            function = self._declared.on_stream(handler, name, suited(handler, settings))
            self._declare_soon()
            return function

        return bind

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
        """Bind a function to a queue. Handled messages are deleted, failed messages come back.

        Without `@app.function` the decorator also declares the function. Messages are received only when the function can take
        them, and are held until it has ended. After a failed message of a FIFO group the rest of its group comes back, too.

        Args:
            queue: the queue's name; it must be declared when the app starts.
            batch_size: the largest number of messages in a batch, 1 to 10,000 (over 10 only with a window); FIFO queues: 1 to 10.
            maximum_batching_window: seconds that a batch waits for more messages when it is not full, 0 to 300; FIFO queues: 0.
            maximum_concurrency: batches that run at once, 1 to 1,000; None: as many as the app allows.
            report_batch_item_failures: True: only items in the response's `batchItemFailures`, or passed to `batch.fail`, failed.
            filters: at most 10 patterns, each a dict or its JSON text. A message that matches none is deleted.
            retry_delay: the delay before a failed message comes back; None: 1 second, doubling up to the visibility timeout.
            strict_lambda: True: behave as AWS does, for example a failed message waits for the end of its visibility timeout.
            enabled: False: receive nothing until `Mapping.resume`.

        Raises:
            InvalidParameterValue: an option is outside its range.
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
            function = self._declared.on_queue(handler, queue, suited(handler, settings))
            self._declare_soon()
            return function

        return bind

    def stream(
        self,
        name: str,
        *,
        shards: int | None = None,
        retention: Seconds | None = None,
        retention_bytes: int | None = None,
    ) -> Stream:
        """Declare a stream, or return the one with this name.

        Args:
            name: 1 to 128 letters, digits, '.', '-' and '_'.
            shards: number of shards of a new stream, 1 to 10,000; None: 4. `Stream.reshard` changes it later.
            retention: seconds that a record is kept, 60 to 31,536,000; None: 86,400 (one day).
            retention_bytes: bytes of records that are kept, at least 1,048,576; None: no limit.

        Raises:
            InvalidParameterValue: an option is outside its range.
            ResourceConflict: the name was declared with other settings.

        """
        asked = {"shards": shards, "retention": retention, "retention_bytes": retention_bytes}
        given = {option: value for option, value in asked.items() if value is not None}
        stream, new = self._declared.stream(name, given)
        if new and self._running is not None:
            self._running.declare_source(stream)
        return stream

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
        """Declare a queue, or return the one with this name.

        Args:
            name: 1 to 80 letters, digits, '-' and '_'. A name that ends in ".fifo" makes a FIFO queue.
            visibility_timeout: seconds that a received message is hidden from others, 0 to 43,200; None: 30.
            delay: seconds before a new message can be received, 0 to 900; None: 0.
            retention: seconds that a message is kept, 60 to 1,209,600; None: 345,600 (four days).
            content_based_deduplication: FIFO queues: the SHA-256 of its body is the id of a message without a deduplication id.
            deduplication_scope: FIFO queues: an id is unique in the "queue", or in its "messageGroup".
            dead_letter_queue: the queue, of the same kind, for messages that were received too often.
            maximum_receive_count: receives after which a message is a dead letter, 1 to 1,000; None: 10. Needs a dead-letter
                queue.

        Raises:
            InvalidParameterValue: an option is outside its range.
            ResourceConflict: the name was declared with other settings.

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
            self._running.declare_source(queue)
        return queue

    def topic(self, name: str) -> Topic:
        """Declare a topic, or return the one with this name.

        Args:
            name: 1 to 256 letters, digits, '-' and '_'.

        Raises:
            InvalidParameterValue: the name is not allowed.

        """
        topic, new = self._declared.topic(name, self._declare_soon)
        if new and self._running is not None:
            self._running.declare_source(topic)
        return topic
