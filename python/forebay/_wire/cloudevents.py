"""CloudEvents 1.0 in HTTP's three forms (structured, binary, batched), to events of a bus and back.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from forebay._wire import payload
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH: Final = "application/cloudevents-batch+json"
STRUCTURED: Final = "application/cloudevents+json"
JSON: Final = "application/json"
VERSION: Final = "1.0"
KEPT: Final = "cloudevents"
"""Where a detail holds the attributes that an event of a bus has no place for, when they are to be kept."""

EVENTS_MAX: Final = 10_000
"""Most events of a batch: as many as one `put_many` takes."""

_PREFIX: Final = "ce-"
_NAME: Final = re.compile(r"[a-z0-9]{1,40}")
_OWN: Final = frozenset(("id", "source", "type", "specversion", "time", "subject", "datacontenttype"))
_AWS: Final = "aws."


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """One event, as CloudEvents has it."""

    id: str
    source: str
    type: str
    time: datetime | None = None
    subject: str | None = None
    data: Any = None
    extensions: Mapping[str, Any] = field(default_factory=dict)
    """Everything else: `dataschema`, and extensions."""

    def detail(self, *, keep_attributes: bool) -> dict[str, Any]:
        """Give the data as a detail, which is an object."""
        if keep_attributes:
            subject = {} if self.subject is None else {"subject": self.subject}
            return {KEPT: {"id": self.id, **subject, **self.extensions}, "data": self.data}
        return self.data if isinstance(self.data, dict) else {"data": self.data}


def read(content_type: str, headers: Mapping[str, str], body: bytes) -> list[CloudEvent]:
    """Read what came over HTTP; names of headers are in small letters.

    Raises:
        InvalidParameterValue: it is not a CloudEvent; the text says which one of a batch, and what is wrong with it.

    """
    kind, parameters = media_type(content_type)
    if kind in (BATCH, STRUCTURED) and parameters.get("charset", "utf-8").lower() not in ("utf-8", "us-ascii"):
        raise InvalidParameterValue(f"charset {parameters['charset']!r}: allowed is utf-8")
    if kind == BATCH:
        events = _json(body)
        if not isinstance(events, list):
            raise InvalidParameterValue("a batch is a JSON array of CloudEvents")
        if len(events) > EVENTS_MAX:
            raise InvalidParameterValue(f"the batch has {len(events):,} events: allowed are {EVENTS_MAX:,}")
        return [_structured(event, f"event {at} of {len(events)}: ") for at, event in enumerate(events, 1)]
    if kind == STRUCTURED:
        return [_structured(_json(body), "")]
    if f"{_PREFIX}specversion" in headers:
        return [_binary(kind, headers, body)]
    raise InvalidParameterValue(
        f"no CloudEvent: give the content type {STRUCTURED} or {BATCH}, or the headers ce-specversion, ce-id, ce-source, ce-type"
    )


def media_type(text: str) -> tuple[str, dict[str, str]]:
    """Read a content type: its name, and its parameters."""
    name, *rest = text.split(";")
    pairs = (one.partition("=") for one in rest)
    return name.strip().lower(), {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}


def _structured(event: object, where: str) -> CloudEvent:
    if not isinstance(event, dict):
        raise InvalidParameterValue(f"{where}a CloudEvent is a JSON object")
    attributes = {name: value for name, value in event.items() if name not in ("data", "data_base64")}
    if "data" in event and "data_base64" in event:
        raise InvalidParameterValue(f"{where}data and data_base64 stand beside each other: give one of them")
    data = event.get("data")
    if "data_base64" in event:
        try:
            raw = base64.b64decode(event["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise InvalidParameterValue(f"{where}data_base64 is not base64") from None
        data = _data(str(attributes.get("datacontenttype") or ""), raw)
    return _event(attributes, data, where)


def _binary(kind: str, headers: Mapping[str, str], body: bytes) -> CloudEvent:
    attributes = {
        name.removeprefix(_PREFIX): unquote(value) for name, value in headers.items() if name.startswith(_PREFIX)
    }
    return _event(attributes, _data(kind, body) if body else None, "")


def _event(attributes: dict[str, Any], data: Any, where: str) -> CloudEvent:
    if attributes.get("specversion") != VERSION:
        raise InvalidParameterValue(f"{where}specversion is {attributes.get('specversion')!r}: allowed is '1.0'")
    for name in ("id", "source", "type"):
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise InvalidParameterValue(f"{where}{name} is missing: a CloudEvent has one, a text that is not empty")
    if attributes["source"].startswith(_AWS):
        raise InvalidParameterValue(f"{where}source begins with 'aws.': such sources are AWS's own")
    for name in attributes:
        if not _NAME.fullmatch(name):
            raise InvalidParameterValue(f"{where}{name!r}: the name of an attribute has small letters and digits")
    subject = attributes.get("subject")
    if subject is not None and not isinstance(subject, str):
        raise InvalidParameterValue(f"{where}subject is not text")
    return CloudEvent(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        time=_moment(attributes.get("time"), where),
        subject=subject,
        data=data,
        extensions={name: value for name, value in attributes.items() if name not in _OWN and value is not None},
    )


def _moment(text: object, where: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidParameterValue(
            f"{where}time is {str(text)[:40]!r}: allowed is RFC 3339's form, 2026-01-31T09:00:00Z"
        )
    return moment


def _data(kind: str, body: bytes) -> Any:
    """Read data as its type says: JSON, else a text, else base64."""
    name, _ = media_type(kind)
    if name in ("", JSON) or name.endswith("+json"):
        return _json(body)
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(body).decode()}


def _json(body: bytes) -> Any:
    try:
        return payload.loads(body)
    except ValueError as error:
        raise InvalidParameterValue(f"the body is not JSON: {error}") from None


# --- and out again


def of(event: Mapping[str, Any]) -> dict[str, Any]:
    """Make a structured CloudEvent, a dict, of an event that a bus has given a target.

    Raises:
        InvalidParameterValue: it is not an event of a bus: what a target is given may be only a part of one.

    """
    try:
        detail, resources = event["detail"], event.get("resources") or ()
        made = {"specversion": VERSION, "id": event["id"], "source": event["source"], "type": event["detail-type"]}
        moment = datetime.fromisoformat(event["time"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        raise InvalidParameterValue(
            "only a whole event of a bus can be a CloudEvent: leave out its input options"
        ) from None
    made["time"] = moment.isoformat().replace("+00:00", "Z")
    if resources:
        made["subject"] = str(resources[0])
    made["datacontenttype"] = JSON
    if isinstance(detail, dict) and set(detail) == {KEPT, "data"} and isinstance(detail[KEPT], dict):
        return {**made, **detail[KEPT], "data": detail["data"]}
    return {**made, "data": detail}


def binary(event: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    """Make headers and body of a structured CloudEvent."""
    headers = {
        f"{_PREFIX}{name}": quote(_text(value), safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~")
        for name, value in event.items()
        if name not in ("data", "datacontenttype")
    }
    return {**headers, "content-type": str(event["datacontenttype"])}, payload.dumps(event["data"])


def _text(value: object) -> str:
    return value if isinstance(value, str) else payload.dumps(value).decode()
