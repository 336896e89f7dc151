"""Rules, schedules and events as the engine takes them: see `docs/requests.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forebay import _core
from forebay._wire import payload
from forebay._wire.mapping import milliseconds

if TYPE_CHECKING:
    from forebay._model.archive import ArchiveSettings
    from forebay._model.bus import Recipient, RuleSettings, RuleTarget, ScheduleSettings


def rule(given: RuleSettings) -> dict[str, Any]:
    """Give every setting of a rule."""
    return {
        "bus": given.bus,
        "name": given.name,
        "pattern": given.pattern,
        "description": given.description,
        "enabled": given.enabled,
        "targets": [_target(target) for target in given.targets],
    }


def check_rule(given: RuleSettings) -> None:
    """Refuse what no rule can be."""
    _core.check_event_rule(payload.dumps(rule(given)))


def _target(given: RuleTarget) -> dict[str, Any]:
    fields = {
        "id": given.id,
        **_recipient(given.to),
        "partition_key_path": given.partition_key_path,
        "http_parameters": None if given.http_parameters is None else given.http_parameters.fields(),
        "input": given.input,
        "input_path": given.input_path,
        "dead_letter_queue": given.dead_letter_queue,
        "maximum_retry_attempts": given.maximum_retry_attempts,
        "maximum_event_age_ms": milliseconds(given.maximum_event_age),
    }
    if given.input_transformer is not None:
        paths, template = given.input_transformer
        fields["input_transformer"] = {"paths": paths, "template": template}
    return fields


def _recipient(given: Recipient) -> dict[str, Any]:
    return {given.kind: given.name, "group_id": given.group_id}


def archive(given: ArchiveSettings) -> dict[str, Any]:
    """Give every setting of an archive."""
    return {
        "name": given.name,
        "bus": given.bus,
        "pattern": given.pattern,
        "description": given.description,
        "retention_ms": milliseconds(given.retention),
    }


def schedule(given: ScheduleSettings) -> dict[str, Any]:
    """Give every setting of a schedule."""
    return {
        "name": given.name,
        "expression": given.expression,
        "timezone": given.timezone,
        "start_ms": given.start_ms,
        "end_ms": given.end_ms,
        "flexible_minutes": given.flexible_minutes,
        "catch_up": given.catch_up,
        "enabled": given.enabled,
        **_recipient(given.to),
        "input": given.input,
        "dead_letter_queue": given.dead_letter_queue,
    }
