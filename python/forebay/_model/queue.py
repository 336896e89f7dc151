"""Settings of a queue and of a mapping on a queue: frozen, and valid once they exist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from forebay._model import checks, limits, names
from forebay._model.mapping import Backoff, queue_patterns
from forebay.errors import InvalidParameterValue

Scope = Literal["queue", "messageGroup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What a queue is declared with, by AWS's names; durations in seconds.

    Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
    """

    name: str
    visibility_timeout: float = limits.VISIBILITY_SECONDS_DEFAULT
    delay: float = 0
    retention: float = limits.QUEUE_RETENTION_SECONDS_DEFAULT
    content_based_deduplication: bool = False
    deduplication_scope: Scope = "queue"
    dead_letter_queue: str | None = None
    maximum_receive_count: int = limits.RECEIVE_COUNT_DEFAULT

    def __post_init__(self) -> None:
        names.queue_name(self.name)
        ranges: tuple[tuple[str, float, float], ...] = (
            ("visibility_timeout", 0, limits.VISIBILITY_SECONDS_MAX),
            ("delay", 0, limits.DELAY_SECONDS_MAX),
            ("retention", limits.QUEUE_RETENTION_SECONDS_MIN, limits.QUEUE_RETENTION_SECONDS_MAX),
        )
        for option, low, high in ranges:
            object.__setattr__(self, option, checks.seconds(option, getattr(self, option), low=low, high=high))
        checks.flag("content_based_deduplication", self.content_based_deduplication)
        checks.one_of("deduplication_scope", self.deduplication_scope, ("queue", "messageGroup"))
        checks.integer("maximum_receive_count", self.maximum_receive_count, low=1, high=limits.RECEIVE_COUNT_MAX)
        self._check_kind()

    def _check_kind(self) -> None:
        if not self.fifo and self.content_based_deduplication:
            checks.refuse("content_based_deduplication", True, "only a FIFO queue has it; let its name end in '.fifo'")
        if not self.fifo and self.deduplication_scope != "queue":
            checks.refuse(
                "deduplication_scope", self.deduplication_scope, "only a FIFO queue has it; let its name end in '.fifo'"
            )
        target = self.dead_letter_queue
        if target is None:
            return
        if names.queue_name(target, "dead_letter_queue") == self.name:
            checks.refuse("dead_letter_queue", target, "a queue cannot be its own dead-letter queue")
        if names.is_fifo(target) != self.fifo:
            kind = "FIFO" if self.fifo else "standard"
            checks.refuse(
                "dead_letter_queue", target, f"the dead-letter queue of a {kind} queue is a {kind} queue, too"
            )

    @property
    def fifo(self) -> bool:
        """Whether it keeps the order of its message groups."""
        return names.is_fifo(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMappingSettings:
    """What a mapping on a queue is declared with, by AWS's names; durations in seconds.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html
    """

    batch_size: int = limits.QUEUE_BATCH_SIZE_DEFAULT
    maximum_batching_window: float = 0
    maximum_concurrency: int | None = None
    report_batch_item_failures: bool = False
    filters: tuple[str, ...] = ()
    retry_delay: Backoff | None = None
    strict_lambda: bool = False
    enabled: bool = True

    def __post_init__(self) -> None:
        checks.integer("batch_size", self.batch_size, low=1, high=limits.QUEUE_BATCH_SIZE_MAX)
        longest = limits.BATCHING_WINDOW_SECONDS_MAX
        window = checks.seconds("maximum_batching_window", self.maximum_batching_window, low=0, high=longest)
        object.__setattr__(self, "maximum_batching_window", window)
        for option in ("report_batch_item_failures", "strict_lambda", "enabled"):
            checks.flag(option, getattr(self, option))
        if self.maximum_concurrency is not None:
            least = limits.MAPPING_CONCURRENCY_MIN_ON_AWS if self.strict_lambda else limits.MAPPING_CONCURRENCY_MIN
            checks.integer(
                "maximum_concurrency", self.maximum_concurrency, low=least, high=limits.MAPPING_CONCURRENCY_MAX
            )
        object.__setattr__(self, "filters", queue_patterns(self.filters))
        if self.retry_delay is not None and not isinstance(self.retry_delay, Backoff):
            checks.refuse("retry_delay", self.retry_delay, "allowed is a forebay.Backoff, or None")
        if self.retry_delay is not None and self.strict_lambda:
            checks.refuse(
                "retry_delay", self.retry_delay, "with strict_lambda a failed message waits for its visibility timeout"
            )

    def fits(self, queue: str) -> None:
        """Refuse what no mapping on this queue can be."""
        if names.is_fifo(queue):
            checks.integer("batch_size", self.batch_size, low=1, high=limits.FIFO_BATCH_SIZE_MAX)
            if self.maximum_batching_window:
                checks.refuse(
                    "maximum_batching_window", self.maximum_batching_window, "a mapping on a FIFO queue has none"
                )
        elif self.batch_size > limits.QUEUE_BATCH_SIZE_DEFAULT and not self.maximum_batching_window:
            raise InvalidParameterValue(
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
            )
