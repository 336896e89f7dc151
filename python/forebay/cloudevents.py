"""CloudEvents 1.0 over HTTP: a handler that puts what comes on a bus, and the two forms of an event that a target was given."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from forebay._wire import cloudevents as wire
from forebay._wire import payload
from forebay.bus import Event
from forebay.errors import ForebayError, InvalidParameterValue, StoreFull, TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from forebay.bus import Bus

__all__ = ["receiver", "to_binary", "to_structured"]

_RETRY_SECONDS = "5"


def receiver(
    bus: Bus, *, name: str | None = None, keep_attributes: bool = False
) -> Callable[[dict[str, Any], Any], Awaitable[dict[str, Any]]]:
    """Make a handler for a route of an HTTP API that puts CloudEvents on a bus.

    It takes the structured, the binary and the batched form. `source`, `type` and `time` become the event's source, detail-type
    and time, `subject` its resource, and `data` its detail: an object as it is, anything else as `{"data": …}`. The bus gives
    the event an id of its own.

    The answer is 200 when everything is durable, with the id of each event; 400, and nothing is put, if one is not a CloudEvent;
    207 if the bus has refused some, for example since they do not fit their schema; 503 while the store takes nothing.

    Args:
        bus: where they are put.
        name: the name of its function; None: "cloud-events-" and the bus's name.
        keep_attributes: True: the detail is `{"cloudevents": {…}, "data": …}`, with the id, the subject and all extensions.

    """

    async def receive(event: dict[str, Any], _context: Any) -> dict[str, Any]:
        headers = {key.lower(): value for key, value in (event.get("headers") or {}).items()}
        text = event.get("body") or ""
        body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()
        try:
            came = wire.read(headers.get("content-type", ""), headers, body)
        except InvalidParameterValue as error:
            return _answer(400, {"message": str(error)})
        if not came:
            return _answer(200, [])
        events = [
            Event(
                one.detail(keep_attributes=keep_attributes),
                one.source,
                one.type,
                () if one.subject is None else (one.subject,),
                one.time,
            )
            for one in came
        ]
        try:
            results = await bus.put_many(events)
        except (StoreFull, TooManyRequests) as error:
            return _answer(503, {"message": str(error)}, {"retry-after": _RETRY_SECONDS})
        except InvalidParameterValue as error:
            return _answer(400, {"message": str(error)})
        told = [
            {"id": one.id, "message": str(result)}
            if isinstance(result, ForebayError)
            else {"id": one.id, "event_id": result}
            for one, result in zip(came, results, strict=True)
        ]
        refused = sum(isinstance(result, ForebayError) for result in results)
        status = 200 if not refused else 400 if refused == len(told) else 207
        return _answer(status, told)

    receive.__name__ = receive.__qualname__ = name or f"cloud-events-{bus.name}".replace("/", "-").replace(".", "-")
    return receive


def to_structured(event: Mapping[str, Any]) -> dict[str, Any]:
    """Make a structured CloudEvent of an event that a target was given.

    Args:
        event: the whole event, as a handler gets it.

    Raises:
        InvalidParameterValue: it is not the whole event.

    """
    return wire.of(event)


def to_binary(event: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    """Make headers and body of an event that a target was given.

    Args:
        event: the whole event, as a handler gets it.

    Raises:
        InvalidParameterValue: it is not the whole event.

    """
    return wire.binary(wire.of(event))


def _answer(status: int, body: object, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", **(headers or {})},
        "body": payload.dumps(body).decode(),
    }
