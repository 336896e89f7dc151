"""An asynchronous invocation with options, and its result: see `events.invoke` and `events.result` in `docs/requests.md`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from forebay._model import checks, limits
from forebay.errors import FunctionError, RequestTooLarge, ResultNotReady

if TYPE_CHECKING:
    from datetime import datetime


def options(
    *,
    delay: checks.Seconds | None,
    at: float | datetime | None,
    deduplication_id: str | None,
    deduplication_window: checks.Seconds | None,
    keep_result: bool,
) -> dict[str, Any]:
    """Give what was asked for beside the run; nothing where that is the run alone.

    Raises:
        InvalidParameterValue: an option outside its range, or two that exclude each other.

    """
    asked: dict[str, Any] = {}
    if delay is not None:
        if at is not None:
            checks.refuse("at", at, "give a delay or a moment, not both")
        seconds = checks.seconds("delay", delay, low=0, high=limits.EVENT_DELAY_SECONDS_MAX)
        asked["delay_ms"] = round(seconds * 1000)
    if at is not None:
        asked["at_ms"] = round(checks.timestamp("at", at) * 1000)
    if deduplication_id is not None:
        most = limits.EVENT_ID_CHARACTERS_MAX
        if not isinstance(deduplication_id, str) or not 1 <= len(deduplication_id) <= most:
            checks.refuse("deduplication_id", deduplication_id, f"allowed are 1 to {most} characters")
        asked["deduplication_id"] = deduplication_id
    if deduplication_window is not None:
        if deduplication_id is None:
            checks.refuse("deduplication_window", deduplication_window, "it is for a deduplication_id: give one")
        low, high = limits.EVENT_ID_WINDOW_SECONDS_MIN, limits.EVENT_ID_WINDOW_SECONDS_MAX
        seconds = checks.seconds("deduplication_window", deduplication_window, low=low, high=high)
        asked["deduplication_window_ms"] = round(seconds * 1000)
    if checks.flag("keep_result", keep_result):
        asked["keep_result"] = True
    return asked


def invocation(function: str, body: bytes, asked: dict[str, Any]) -> bytes:
    """Write the request; `body` is the payload as JSON."""
    return orjson.dumps({"function": function, "payload": orjson.Fragment(body), **asked})


def asked_result(function: str, request_id: str, wait: checks.Seconds) -> dict[str, Any]:
    """Give the question for a result, with the whole wait."""
    if not isinstance(request_id, str):
        checks.refuse("request_id", request_id, "a text, as invoke_async gave it")
    seconds = checks.seconds("wait", wait, low=0, high=limits.EVENT_RESULT_WAIT_SECONDS_MAX)
    return {"function": function, "request_id": request_id, "wait_ms": round(seconds * 1000)}


def has_ended(answer: dict[str, Any]) -> bool:
    """Tell whether the answer has a result."""
    return answer.get("condition") is not None


def result(answer: dict[str, Any], request_id: str) -> Any:
    """Give what the function returned.

    Raises:
        ResultNotReady: the event has not ended.
        FunctionError: it has failed.
        RequestTooLarge: the response is not kept.

    """
    if not has_ended(answer):
        raise ResultNotReady(f"request {request_id} of function {answer['function']} has not ended yet")
    condition = answer["condition"]
    response, size = answer["response"], answer["response_bytes"]
    if response is None and size > 0:
        raise RequestTooLarge(
            f"request {request_id} ended with {condition}, but its response of {size} bytes was not kept: "
            f"the limit is {limits.EVENT_BYTES_MAX} bytes"
        )
    if condition == "Success":
        return response
    raise _failure(answer, request_id)


def _failure(answer: dict[str, Any], request_id: str) -> FunctionError:
    """Make the error of an event that has failed: Lambda's error object, or the condition where the function gave none."""
    condition, attempts = answer["condition"], answer["attempts"]
    error = answer["response"]
    if not isinstance(error, dict):
        message = f"the event ended after {attempts} attempts: {condition}"
        error = {"errorType": condition, "errorMessage": message, "requestId": request_id}
    text = f"{error.get('errorType', 'Error')}: {error.get('errorMessage', '')} ({condition}, attempts: {attempts})"
    return FunctionError(text, error, answer["version"], condition)
