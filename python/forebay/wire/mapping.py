"""A mapping's settings as the engine takes them: see `forebay.wire.verbs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forebay.model.mapping import MappingSettings

_IN_MS = {
    "maximum_batching_window": "maximum_batching_window_ms",
    "maximum_record_age": "maximum_record_age_ms",
    "tumbling_window": "tumbling_window_ms",
    "starting_position_timestamp": "starting_position_timestamp_ms",
}


def milliseconds(seconds: float | None) -> int | None:
    """Give whole milliseconds; -1, which stands for no limit, stays."""
    return seconds if seconds is None or seconds == -1 else round(seconds * 1000)  # type: ignore[return-value]


def settings(given: MappingSettings, on_failure: str | None) -> dict[str, Any]:
    """Give every setting; `on_failure` is the name under which its destination is registered."""
    return only(given, given.__dataclass_fields__, on_failure)


def only(given: MappingSettings, names: Any, on_failure: str | None) -> dict[str, Any]:
    """Give the settings of these names."""
    fields: dict[str, Any] = {}
    for name in names:
        value = getattr(given, name)
        if name in _IN_MS:
            fields[_IN_MS[name]] = milliseconds(value)
        elif name == "on_failure":
            fields[name] = on_failure
        elif name == "retry_backoff":
            base, cap = milliseconds(value.base), milliseconds(value.cap)
            fields[name] = {"base_ms": base, "cap_ms": cap, "jitter": value.jitter}
        else:
            fields[name] = value
    return fields
