"""What a handler's end becomes for the engine: a status and, where somebody reads it, a body."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from forebay._model import limits
from forebay._model.one_line import one_line
from forebay._runtime.starters import PartFailed
from forebay._wire import errors, payload
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from forebay._runtime.environments import ServedFunction

log = logging.getLogger("forebay.runtime")

# How an attempt ended, and what kind of work it was: the numbers are those of the extension's stub.
RETURNED: Final = 0
RAISED: Final = 1
STOPPED: Final = 2
NOT_REACHED: Final = 3
INTERRUPTED: Final = 4

INVOCATION: Final = 0
EVENT: Final = 1
BATCH: Final = 2
STOP: Final = 3
DELIVERY: Final = 4
INTERRUPT: Final = 5
ASYNCHRONOUS: Final = 7

INVOCATIONS: Final = frozenset({INVOCATION, ASYNCHRONOUS})
"""Work whose payload is JSON and whose response is wanted."""

BATCHES: Final = frozenset({EVENT, BATCH})
ITEM_FAILURES: Final = "batchItemFailures"

Answer = tuple[int, bytes | None]

DONE: Final[Answer] = (RETURNED, None)


def returned(served: ServedFunction, kind: int, event: Any, result: Any, request_id: str) -> Answer:
    """Turn what a handler returned into JSON; the body is given where somebody reads it, else it is only held to be JSON."""
    if kind == BATCH and event.failures:
        result = _with_failures(result, event.failures, reported=event.source_arn in served.reports)
    elif isinstance(result, dict) and kind in BATCHES and result.get(ITEM_FAILURES):
        _tell_unread(served, event)
    if result is None:
        return DONE
    try:
        body = payload.dumps(result)
    except (TypeError, ValueError, RecursionError) as error:
        return RAISED, errors.not_json(error, request_id)
    if len(body) > limits.RESPONSE_BYTES_MAX:
        return RAISED, errors.RESPONSE_TOO_LARGE
    return RETURNED, body if served.reads or kind in INVOCATIONS else None


def _with_failures(result: Any, failures: list[str], *, reported: bool) -> Any:
    """Put what `batch.fail` gathered into the response, as Lambda's partial response."""
    if not reported:
        raise InvalidParameterValue(
            "batch.fail was called, but the mapping has report_batch_item_failures=False: set it to True",
        )
    response = dict(result) if isinstance(result, dict) else {}
    listed = response.get(ITEM_FAILURES) or []
    response[ITEM_FAILURES] = [*listed, *({"itemIdentifier": number} for number in failures)]
    return response


def _tell_unread(served: ServedFunction, event: Any) -> None:
    """Warn, once for each mapping, of a partial response that nobody reads: what it names as failed counts as done."""
    source = source_arn(event)
    if source in served.reports or source in served.told_unread:
        return
    served.told_unread.add(source)
    log.warning(
        "function %s: it returned batchItemFailures for a batch of %s, and that mapping does not read them: what they name "
        "counts as done and does not come back; declare the mapping with report_batch_item_failures=True",
        served.facts.qualified,
        one_line(source),
    )


def source_arn(event: Any) -> str:
    """Name the stream or queue of a batch; a handler may have changed its event."""
    if not isinstance(event, dict):
        return str(event.source_arn)
    records = event.get("Records")
    first = records[0] if isinstance(records, list) and records else event
    return str(first.get("eventSourceARN")) if isinstance(first, dict) else "its source"


def thrown(served: ServedFunction, event: Any, error: BaseException, request_id: str) -> Answer:
    """Turn what left a handler into its end: of a part that failed, a response with its items where somebody reads it."""
    if not isinstance(error, PartFailed):
        return raised(error, request_id)
    if source_arn(event) not in served.reports:
        return raised(error.error, request_id)
    return RETURNED, payload.dumps({ITEM_FAILURES: [{"itemIdentifier": item} for item in error.items]})


def raised(error: BaseException, request_id: str) -> Answer:
    """Turn what left a handler into Lambda's error object. The first frame is forebay's own and is left out."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return RAISED, errors.exited(error, request_id)
    trace = error.__traceback__
    return RAISED, errors.raised(error, request_id, trace.tb_next if trace is not None else None)


def invocation(body: bytes, request_id: str, *, wants_batch: bool) -> tuple[Any, bytes | None]:
    """Read the payload of an invocation; the second value is the error object if it cannot be given to the handler."""
    if wants_batch:
        return None, errors.unreadable("the handler takes a forebay.Batch, which only a mapping gives it", request_id)
    try:
        return payload.loads(body), None
    except ValueError as error:
        return None, errors.unreadable(str(error), request_id)
