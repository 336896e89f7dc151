"""Alerts of Prometheus's alert rules as events: a handler for the webhook of its Alertmanager."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from forebay._model.one_line import one_line
from forebay._wire import payload
from forebay.bus import happened
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from forebay.bus import Bus

__all__ = ["receiver"]

ALERTS_MAX = 1_000
_STATES = {"firing": ("ALARM", "OK"), "resolved": ("OK", "ALARM")}


def receiver(bus: Bus, *, name: str = "alerts") -> Callable[[dict[str, Any], Any], Awaitable[dict[str, Any]]]:
    """Make a handler for a route of an HTTP API to which Alertmanager's webhook points.

    Each alert becomes the event "CloudWatch Alarm State Change", as CloudWatch tells it of an alarm, if the app has asked for
    such events with `App.emit_events`.

    Args:
        bus: the bus "default" of the app.
        name: the name of its function.

    Raises:
        InvalidParameterValue: it is another bus.

    """
    if bus.name != "default":
        raise InvalidParameterValue(f"bus={bus!r}: such events are put on the bus 'default'")

    async def receive(event: dict[str, Any], _context: Any) -> dict[str, Any]:
        text = event.get("body") or ""
        try:
            body = payload.loads(base64.b64decode(text) if event.get("isBase64Encoded") else text.encode())
            details = [_detail(alert) for alert in body["alerts"][:ALERTS_MAX]]
        except (ValueError, KeyError, TypeError, AttributeError):
            return {"statusCode": 400, "body": "this takes what Alertmanager's webhook sends, version 4"}
        for detail in details:
            resource = bus.arn.replace(":events:", ":cloudwatch:").replace(
                "event-bus/default", f"alarm:{detail['alarmName']}"
            )
            await happened(bus, "alarm", detail, [resource])
        return {"statusCode": 200}

    receive.__name__ = receive.__qualname__ = name
    return receive


def _detail(alert: Mapping[str, Any]) -> dict[str, Any]:
    """Write an alert as CloudWatch writes an alarm that has changed its state."""
    now, before = _STATES[alert["status"]]
    labels, notes = dict(alert["labels"]), dict(alert.get("annotations") or {})
    reason = one_line(str(notes.get("summary") or notes.get("description") or labels["alertname"]))
    began, ended = str(alert["startsAt"]), str(alert.get("endsAt") or alert["startsAt"])
    return {
        "alarmName": str(labels["alertname"]),
        "state": {"value": now, "reason": reason, "timestamp": began if now == "ALARM" else ended},
        "previousState": {"value": before, "reason": "", "timestamp": began},
        "labels": labels,
        "configuration": {"description": str(notes.get("description") or "")},
    }
