"""A mapping's settings as the engine takes and gives them: see `docs/requests.md`."""

from __future__ import annotations

from typing import Any

from forebay._model.mapping import Backoff, MappingSettings
from forebay._model.queue import QueueMappingSettings

_IN_MS = {
    "maximum_batching_window": "maximum_batching_window_ms",
    "maximum_record_age": "maximum_record_age_ms",
    "tumbling_window": "tumbling_window_ms",
    "starting_position_timestamp": "starting_position_timestamp_ms",
}

_BACKOFFS = frozenset({"retry_backoff", "retry_delay"})


def milliseconds(seconds: float | None) -> int | None:
    """Give whole milliseconds; -1, which stands for no limit, stays."""
    return seconds if seconds is None or seconds == -1 else round(seconds * 1000)  # type: ignore[return-value]


def settings(given: MappingSettings | QueueMappingSettings, on_failure: str | None) -> dict[str, Any]:
    """Give every setting; `on_failure` is the name under which its destination is registered."""
    return only(given, given.__dataclass_fields__, on_failure)


def only(given: MappingSettings | QueueMappingSettings, names: Any, on_failure: str | None) -> dict[str, Any]:
    """Give the settings of these names."""
    fields: dict[str, Any] = {}
    for name in names:
        value = getattr(given, name)
        if name in _IN_MS:
            fields[_IN_MS[name]] = milliseconds(value)
        elif name == "on_failure":
            fields[name] = on_failure
        elif isinstance(value, Backoff):
            base, cap = milliseconds(value.base), milliseconds(value.cap)
            fields[name] = {"base_ms": base, "cap_ms": cap, "jitter": value.jitter}
        else:
            fields[name] = value
    return fields


def parsed(fields: dict[str, Any]) -> MappingSettings | QueueMappingSettings:
    """Read the settings out of a mapping as the engine describes it."""
    given: dict[str, Any] = {}
    kind = QueueMappingSettings if "queue" in fields else MappingSettings
    for name in kind.__dataclass_fields__:
        value: Any = fields.get(_IN_MS.get(name, name))
        if name in _IN_MS and value is not None and value != -1:
            value /= 1000
        if name in _BACKOFFS and value is not None:
            value = Backoff(value["base_ms"] / 1000, value["cap_ms"] / 1000, value["jitter"])
        given[name] = value
    return kind(**given)
