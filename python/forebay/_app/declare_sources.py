"""The part of an app in which streams, queues and topics are declared and bound to functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from forebay._model import limits, names
from forebay._model.mapping import Backoff, MappingSettings, moment_not_in_future
from forebay._model.queue import QueueMappingSettings
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
    """What `App` can do with streams, queues and topics."""

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
        """Give a function the records of a stream, batch by batch, in order within each partition key.

        Alone it declares the function, too. See https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html

        Args:
            stream: the stream's name; it must be declared when the app starts.
            batch_size: most records of a batch, 1 to 10,000.
            maximum_batching_window: seconds for which a batch that is not full gathers records, 0 to 300.
            starting_position: "TRIM_HORIZON", "LATEST" or "AT_TIMESTAMP"; fixed when the mapping is first seen.
            starting_position_timestamp: for "AT_TIMESTAMP": seconds since 1970 or a `datetime`.
            parallelization_factor: lanes of a shard, 1 to 10: a key stays in its lane, one batch per lane is in flight.
            maximum_retry_attempts: retries after the first attempt, 0 to 10,000; -1: for ever.
            maximum_record_age: seconds after which a record is given up, 60 to 604,800; -1: never.
            bisect_batch_on_function_error: split a failed batch in two instead of retrying it whole.
            report_batch_item_failures: read `batchItemFailures` out of the response, or what `batch.fail` was given.
            filters: at most 10 patterns, each a dict or its JSON text; a record that matches none is passed over.
            tumbling_window: seconds of a window whose state the handler carries on, 0 to 900; 0: none.
            on_failure: where a batch that was given up is told of: a function (as an asynchronous event), a standard queue, a
                topic, a `forebay.JSONLines`, or any object with `async def deliver(self, record)`; None: `Function.failed` alone.
            include_payload: put the batch itself into that record.
            retry_backoff: how long a failed batch waits; None: `forebay.Backoff()`.
            enabled: False: begin nothing until `Mapping.resume`.

        Raises:
            InvalidParameterValue: an option outside its range.
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
            function = self._declared.on_stream(handler, name, settings)
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
        """Declare a stream, or give the one that was declared.

        Args:
            name: 1 to 128 letters, digits, '.', '-' and '_'.
            shards: open shards when the stream is first seen, 1 to 10,000; None: 4. Later there is `Stream.reshard`.
            retention: seconds a record is kept, 60 to 31,536,000; None: 86,400.
            retention_bytes: bytes of records that are kept, at least 1,048,576; None: as many as retention allows.

        Raises:
            InvalidParameterValue: an option outside its range.
            ResourceConflict: it was declared with other settings.

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
        """Declare a queue, or give the one that was declared.

        Args:
            name: 1 to 80 letters, digits, '-' and '_'; one that ends in ".fifo" makes it a FIFO queue.
            visibility_timeout: seconds for which a received message is hidden, 0 to 43,200; None: 30.
            delay: seconds before a new message can be received, 0 to 900; None: 0.
            retention: seconds a message is kept, 60 to 1,209,600; None: 345,600 (four days).
            content_based_deduplication: of a FIFO queue: a message without a deduplication id is known by its body.
            deduplication_scope: of a FIFO queue: ids are told apart in the whole "queue", or in each "messageGroup".
            dead_letter_queue: where a message goes that was received too often: a queue of the same kind.
            maximum_receive_count: how often that is, 1 to 1,000; None: 10. Only with a dead-letter queue.

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
            self._running.declare_source(queue)
        return queue

    def topic(self, name: str) -> Topic:
        """Declare a topic, or give the one that was declared.

        Args:
            name: 1 to 256 letters, digits, '-' and '_'.

        Raises:
            InvalidParameterValue: a name that no topic can have.

        """
        topic, new = self._declared.topic(name, self._declare_soon)
        if new and self._running is not None:
            self._running.declare_source(topic)
        return topic
