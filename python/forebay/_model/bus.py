"""Settings of a bus, a rule and a schedule: frozen, and valid once they exist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from forebay import _core
from forebay._model import checks, limits, names

if TYPE_CHECKING:
    from datetime import datetime

    from forebay._model.api_destination import HttpParameters

FLEXIBLE_MINUTES_MAX: Final = 1440
"""https://docs.aws.amazon.com/scheduler/latest/APIReference/API_FlexibleTimeWindow.html"""

MOMENTS_END: Final = 253_402_300_800
"""The year 10000, which no datetime has."""

Kind = Literal["function", "queue", "topic", "stream", "bus", "workflow", "api_destination"]
CatchUp = Literal["none", "one", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    """What a bus is declared with.

    Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateEventBus.html
    """

    name: str
    discovery: bool | None = None
    """None: as the store has it."""
    enforce: str | bool | None = None

    def __post_init__(self) -> None:
        names.bus_name(self.name)
        if self.discovery is not None:
            checks.flag("discovery", self.discovery)
        if isinstance(self.enforce, str):
            names.registry_name(self.enforce, "enforce")
        elif self.enforce is not None and not isinstance(self.enforce, bool):
            checks.refuse("enforce", self.enforce, "allowed are a registry of the app, its name, True, False and None")

    def fields(self) -> dict[str, Any]:
        """Give what was said of the bus."""
        said = {"discovery": self.discovery, "enforce": self.enforce}
        return {"name": self.name, **{name: value for name, value in said.items() if value is not None}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """What is given an event."""

    kind: Kind
    name: str
    group_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTarget:
    """Where events of a rule go, and what of them.

    Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_Target.html
    """

    id: str
    to: Recipient
    partition_key_path: str | None = None
    http_parameters: HttpParameters | None = None
    input: str | None = None
    input_path: str | None = None
    input_transformer: tuple[tuple[tuple[str, str], ...], str] | None = None
    dead_letter_queue: str | None = None
    maximum_retry_attempts: int = limits.RULE_RETRIES_MAX
    maximum_event_age: float = limits.RULE_EVENT_AGE_SECONDS_MAX

    def __post_init__(self) -> None:
        checks.integer("maximum_retry_attempts", self.maximum_retry_attempts, low=0, high=limits.RULE_RETRIES_MAX)
        low, high = limits.RULE_EVENT_AGE_SECONDS_MIN, limits.RULE_EVENT_AGE_SECONDS_MAX
        age = checks.seconds("maximum_event_age", self.maximum_event_age, low=low, high=high)
        object.__setattr__(self, "maximum_event_age", age)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """A rule of a bus.

    Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutRule.html
    """

    bus: str
    name: str
    pattern: str
    targets: tuple[RuleTarget, ...]
    description: str = ""
    enabled: bool = True

    def __post_init__(self) -> None:
        names.rule_name(self.name)
        checks.flag("enabled", self.enabled)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """When a target is given an event.

    Source: https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
    """

    name: str
    expression: str
    to: Recipient
    timezone: str = "UTC"
    flexible_minutes: int = 0
    start_ms: int | None = None
    end_ms: int | None = None
    catch_up: CatchUp = "none"
    input: str | None = None
    dead_letter_queue: str | None = None
    enabled: bool = True

    def __post_init__(self) -> None:
        names.rule_name(self.name)
        checks.flag("enabled", self.enabled)
        checks.integer("flexible", self.flexible_minutes, low=0, high=FLEXIBLE_MINUTES_MAX)
        for option, value, example in (
            ("expression", self.expression, "rate(5 minutes)"),
            ("timezone", self.timezone, "Europe/Paris"),
        ):
            if not isinstance(value, str):
                checks.refuse(option, value, f"allowed is a text, such as {example!r}")
        _core.upcoming(
            self.expression,
            rule=False,
            count=0,
            after_ms=0,
            zone=self.timezone,
            start_ms=self.start_ms,
            end_ms=self.end_ms,
        )
        if self.catch_up not in ("none", "one", "all"):
            checks.refuse("catch_up", self.catch_up, 'allowed are "none", "one" and "all"')


def json_text(option: str, value: Any) -> str:
    """Give a pattern or an input as JSON text; a text is one already."""
    return value if isinstance(value, str) else checks.json_text(option, value)


def moment_ms(option: str, value: float | datetime | None) -> int | None:
    """Give a moment as milliseconds since 1970."""
    if value is None:
        return None
    seconds = checks.timestamp(option, value)
    if seconds >= MOMENTS_END:
        checks.refuse(option, value, "allowed are moments before the year 10000")
    return round(seconds * 1000)
