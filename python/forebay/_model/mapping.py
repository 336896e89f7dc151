"""Settings of an event source mapping on a stream: frozen, and valid once they exist."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from forebay._core import check_filters, check_queue_filters
from forebay._model import checks, limits
from forebay.errors import InvalidParameterValue

Position = Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"]
POSITIONS: Final = ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")

Pattern = dict[str, Any] | str


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a failed batch waits before it is tried again.

    Retry n waits `base * 2**(n - 1)` seconds, at most `cap`, spread by plus or minus `jitter` of itself. AWS does not document
    its own.

    Args:
        base: seconds before the first retry, 0 to 86,400.
        cap: the longest wait in seconds, `base` to 86,400.
        jitter: 0 (none) to 1.

    Raises:
        InvalidParameterValue: a value outside its range.

    """

    base: float = 0.5
    cap: float = 30.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        longest = limits.BACKOFF_SECONDS_MAX
        object.__setattr__(self, "base", checks.seconds("base", self.base, low=0, high=longest))
        object.__setattr__(self, "cap", checks.seconds("cap", self.cap, low=self.base, high=longest))
        jitter = self.jitter
        if isinstance(jitter, bool) or not isinstance(jitter, int | float) or not 0 <= jitter <= 1:
            checks.refuse("jitter", jitter, "allowed are 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSettings:
    """What a mapping is declared with, by AWS's names; durations in seconds.

    Source: https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
    """

    batch_size: int = limits.BATCH_SIZE_DEFAULT
    maximum_batching_window: float = 0
    starting_position: Position = "TRIM_HORIZON"
    starting_position_timestamp: float | None = None
    parallelization_factor: int = 1
    maximum_retry_attempts: int = limits.RETRY_ATTEMPTS_MAX
    maximum_record_age: float = limits.RECORD_AGE_SECONDS_MAX
    bisect_batch_on_function_error: bool = False
    report_batch_item_failures: bool = False
    filters: tuple[str, ...] = ()
    tumbling_window: float = 0
    on_failure: Any = None
    include_payload: bool = False
    retry_backoff: Backoff = Backoff()
    enabled: bool = True

    def __post_init__(self) -> None:
        self._check_numbers()
        for option in ("bisect_batch_on_function_error", "report_batch_item_failures", "include_payload", "enabled"):
            checks.flag(option, getattr(self, option))
        self._check_position()
        object.__setattr__(self, "filters", patterns(self.filters))
        if not isinstance(self.retry_backoff, Backoff):
            checks.refuse("retry_backoff", self.retry_backoff, "allowed is a forebay.Backoff")
        if self.tumbling_window and self.parallelization_factor > 1:
            checks.refuse(
                "parallelization_factor",
                self.parallelization_factor,
                "allowed is 1 together with a tumbling_window, whose state belongs to a whole shard",
            )

    def _check_numbers(self) -> None:
        checks.integer("batch_size", self.batch_size, low=1, high=limits.BATCH_SIZE_MAX)
        factor = self.parallelization_factor
        checks.integer("parallelization_factor", factor, low=1, high=limits.PARALLELIZATION_FACTOR_MAX)
        retries = self.maximum_retry_attempts
        checks.integer("maximum_retry_attempts", retries, low=0, high=limits.RETRY_ATTEMPTS_MAX, also=-1)
        ranges: tuple[tuple[str, float, float, float | None], ...] = (
            ("maximum_batching_window", 0, limits.BATCHING_WINDOW_SECONDS_MAX, None),
            ("maximum_record_age", limits.RECORD_AGE_SECONDS_MIN, limits.RECORD_AGE_SECONDS_MAX, -1),
            ("tumbling_window", 0, limits.TUMBLING_WINDOW_SECONDS_MAX, None),
        )
        for option, low, high, also in ranges:
            value = checks.seconds(option, getattr(self, option), low=low, high=high, also=also)
            object.__setattr__(self, option, value)

    def _check_position(self) -> None:
        if self.starting_position is None:
            raise InvalidParameterValue(
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
                "Member must not be null.",
            )
        checks.one_of("starting_position", self.starting_position, POSITIONS)
        moment = self.starting_position_timestamp
        if (self.starting_position == "AT_TIMESTAMP") != (moment is not None):
            checks.refuse(
                "starting_position_timestamp",
                moment,
                f"needed with 'AT_TIMESTAMP' and with nothing else; starting_position={self.starting_position!r}",
            )
        if moment is not None:
            moment = checks.timestamp("starting_position_timestamp", moment)
            object.__setattr__(self, "starting_position_timestamp", moment)


def patterns(filters: Iterable[Pattern]) -> tuple[str, ...]:
    """Bring filter patterns, each a dict or its JSON text, into their text form, and check what they say of records."""
    return _patterns(filters, check_filters)


def queue_patterns(filters: Iterable[Pattern]) -> tuple[str, ...]:
    """Do the same with patterns that speak of messages."""
    return _patterns(filters, check_queue_filters)


def _patterns(filters: Iterable[Pattern], check: Callable[[list[str]], None]) -> tuple[str, ...]:
    if isinstance(filters, str | dict) or not isinstance(filters, Iterable):
        checks.refuse("filters", filters, "a list of patterns, each a dict or its JSON text")
    texts = tuple(pattern if isinstance(pattern, str) else _text(pattern) for pattern in filters)
    try:
        check(list(texts))
    except UnicodeEncodeError as error:
        raise InvalidParameterValue(f"Invalid filter pattern definition. filters: {error}") from None
    return texts


def _text(pattern: dict[str, Any]) -> str:
    try:
        return json.dumps(pattern, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidParameterValue(f"Invalid filter pattern definition. filters: {error}") from None


def moment_not_in_future(settings: MappingSettings, now: float) -> MappingSettings:
    """Refuse a starting position that lies ahead."""
    moment = settings.starting_position_timestamp
    if moment is not None and moment > now:
        when = datetime.fromtimestamp(moment).astimezone().isoformat()
        checks.refuse("starting_position_timestamp", moment, f"must not be in the future, and {when} is")
    return settings
