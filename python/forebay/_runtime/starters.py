"""The handler that starts an execution for each message of a queue or each record of a stream."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from forebay._model import limits
from forebay._model.mapping import MappingSettings
from forebay._model.queue import QueueMappingSettings
from forebay._wire import payload
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Start = Callable[[str, str, dict[str, Any]], Awaitable[None]]
    """Starts an execution of an input, a name and the record that they are made of."""

log = logging.getLogger("forebay.runtime")

_MARK: Final = "__forebay_starter__"
_DIGEST_CHARACTERS: Final = 16

Settings = TypeVar("Settings", MappingSettings, QueueMappingSettings)


class PartFailed(Exception):
    """Leaves a handler of whose batch some items failed.

    They are reported if the mapping reads that. If it does not, or if another handler called this one, the whole batch fails with
    the error: what nobody reads would count as done.
    """

    def __init__(self, items: list[str], error: BaseException) -> None:
        super().__init__(str(error))
        self.items = items
        self.error = error


def mark(handler: Callable[..., Any]) -> None:
    """Let mappings know the handler of a starter."""
    handler.__dict__[_MARK] = True


def suited(handler: object, settings: Settings) -> Settings:
    """Let the mapping of a starter read which items failed, and part the others from them."""
    if not getattr(handler, _MARK, False):
        return settings
    if isinstance(settings, MappingSettings):
        return replace(settings, report_batch_item_failures=True, bisect_batch_on_function_error=True)
    return replace(settings, report_batch_item_failures=True)


def name_of(record: dict[str, Any]) -> str:
    """Name the execution of a record: the same for each attempt, and another one for each other record.

    Streams number their records alike, and so does a stream that was deleted and made again. So what the record is, and when it
    came, are in the name, too.
    """
    if "messageId" in record:
        return str(record["messageId"])
    kinesis, source = record["kinesis"], record["eventSourceARN"]
    parts = (
        source,
        record["eventID"],
        kinesis["approximateArrivalTimestamp"],
        kinesis["partitionKey"],
        kinesis["data"],
    )
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:_DIGEST_CHARACTERS]
    tail = f"-{record['eventID'].replace(':', '-')}-{digest}"
    stream = source.rpartition("/")[2]
    return f"{stream[: limits.EXECUTION_NAME_CHARACTERS_MAX - len(tail)]}{tail}"


def is_same(record: dict[str, Any], other: object) -> bool:
    """Tell whether an input is a record. What changes from one attempt to the next, as the receipt, is not looked at."""
    if not isinstance(other, dict):
        return False
    fields = ("messageId", "body") if "messageId" in record else ("eventID", "eventSourceARN", "kinesis")
    return all(record[field] == other.get(field) for field in fields)


async def start_each(start: Start, workflow: str, records: list[dict[str, Any]]) -> None:
    """Start an execution for each record.

    What can never be an input is known before anything is started: in a stream, and in a group of a FIFO queue, what is behind it
    comes again with it, and would be started each time.

    Raises:
        PartFailed: some could not be started.
        ForebayError: none of them could, or not the first one of a stream.

    """
    texts, failed = _readable(workflow, records)
    starts = (start(text, name_of(records[at]), records[at]) for at, text in texts.items())
    for at, answer in zip(texts, await asyncio.gather(*starts, return_exceptions=True), strict=True):
        if isinstance(answer, BaseException):
            failed[at] = answer
    if not failed:
        return
    first = min(failed)
    is_stream = "messageId" not in records[first]
    if len(failed) == len(records) or (is_stream and first == 0):
        raise failed[first]
    # A stream's mapping goes on from the first one.
    told = [first] if is_stream else sorted(failed)
    log.warning(
        "%d of %d executions of workflow %r did not start: %s", len(failed), len(records), workflow, failed[first]
    )
    raise PartFailed([_item(records[at]) for at in told], failed[first]) from failed[first]


def _readable(workflow: str, records: list[dict[str, Any]]) -> tuple[dict[int, str], dict[int, BaseException]]:
    """Give the inputs that can be, and the errors of those that cannot and of what must not overtake them, by their places."""
    texts: dict[int, str] = {}
    failed: dict[int, BaseException] = {}
    held: dict[str, BaseException] = {}
    for at, record in enumerate(records):
        line = _line(record)
        if line not in held:
            text = payload.dumps(record)
            if len(text) <= limits.EXECUTION_INPUT_BYTES_MAX:
                texts[at] = text.decode()
                continue
            held[line] = InvalidParameterValue(
                f"{'message' if 'messageId' in record else 'record'} {_item(record)} starts no execution of workflow "
                f"{workflow!r}: as its input it has {len(text):,} bytes, and allowed are "
                f"{limits.EXECUTION_INPUT_BYTES_MAX:,}"
            )
        failed[at] = held[line]
    return texts, failed


def _line(record: dict[str, Any]) -> str:
    """Name what a record is in order with."""
    if "messageId" not in record:
        return ""
    if record.get("eventSourceARN", "").endswith(".fifo"):
        return str(record["attributes"]["MessageGroupId"])
    return str(record["messageId"])


def _item(record: dict[str, Any]) -> str:
    return str(record["messageId"] if "messageId" in record else record["kinesis"]["sequenceNumber"])
