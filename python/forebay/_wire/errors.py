"""Lambda's error object: what a failed attempt leaves behind. Text only, so that no traceback is held alive."""

from __future__ import annotations

import traceback
from itertools import islice
from typing import TYPE_CHECKING

import orjson

from forebay._model import limits

if TYPE_CHECKING:
    from types import TracebackType

PAST_DEADLINE = "the attempt is past its deadline"
"""Why a handler in a task is cancelled whose outcome nobody waits for any more, other than that the app stops."""
RESPONSE_TOO_LARGE = orjson.dumps(
    {
        "errorMessage": f"Response payload size exceeded maximum allowed payload size ({limits.RESPONSE_BYTES_MAX} bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    },
)


def raised(error: BaseException, request_id: str, trace: TracebackType | None) -> bytes:
    """Write down an exception that left a handler; `trace` begins at the handler's own frame."""
    return _object(_text(error), type(error).__name__, request_id, _stack(trace))


def exited(error: SystemExit | KeyboardInterrupt, request_id: str) -> bytes:
    """Write down that a handler asked the process to end, which on Lambda ends the environment and fails the attempt."""
    status = error.code if isinstance(error, SystemExit) else 130
    if isinstance(status, str):
        status = 1
    reason = f"with error: exit status {status}" if status else "without providing a reason"
    return _object(f"RequestId: {request_id} Error: Runtime exited {reason}", "Runtime.ExitError", request_id, [])


def not_json(error: BaseException, request_id: str) -> bytes:
    """Write down that a handler's answer cannot be written as JSON."""
    return _object(f"Unable to marshal response: {_text(error)}", "Runtime.MarshalError", request_id, [])


def unreadable(reason: str, request_id: str) -> bytes:
    """Write down that an event cannot be given to the handler."""
    return _object(f"Unable to unmarshal input: {reason}", "Runtime.UnmarshalError", request_id, [])


def described(message: str, kind: str, stack: list[str]) -> bytes:
    """Write down why an environment cannot start: there is no request yet."""
    return _object(message, kind, "", stack)


def _object(message: str, kind: str, request_id: str, stack: list[str]) -> bytes:
    fields = {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": stack}
    try:
        return orjson.dumps(fields)
    except TypeError:
        # A lone surrogate in the message: JSON text has no place for it.
        fields["errorMessage"] = message.encode("utf-8", "backslashreplace").decode()
        fields["stackTrace"] = [line.encode("utf-8", "backslashreplace").decode() for line in stack]
        return orjson.dumps(fields)


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as second:  # noqa: BLE001  the user's own __str__: any error it raises is told instead
        text = f"<the error's text could not be made: {type(second).__name__}>"
    return text[: limits.ERROR_MESSAGE_CHARACTERS_MAX]


def _stack(trace: TracebackType | None) -> list[str]:
    frames = islice(traceback.walk_tb(trace), limits.STACK_FRAMES_MAX)
    return traceback.format_list(traceback.StackSummary.extract(frames))
