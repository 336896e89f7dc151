"""Finds handlers that AWS's SDK for durable functions does not run: those that are certain at once, others at the first run."""

from __future__ import annotations

import builtins
import dis
import inspect
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Protocol

from forebay._model import checks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ORDER = "put @app.durable_function() above @durable_execution, and that above a plain def"
_NAMING = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "IMPORT_NAME"))
"""Instructions by which code comes to what it was not given."""
_FINDING = frozenset(("__import__", "compile", "eval", "exec", "globals", "locals", "vars"))
"""Builtins by which it does, too."""
_STATUSES = frozenset(("SUCCEEDED", "FAILED", "PENDING"))


def check(handler: Any) -> None:
    """Refuse a handler that the SDK certainly does not run: an execution of it would fail.

    Raises:
        InvalidParameterValue: it is an `async def`, nothing to call, or a function that calls nothing but builtins.

    """
    if not callable(handler):
        checks.refuse("handler", handler, _ORDER)
    at = handler
    while at is not None:
        if inspect.iscoroutinefunction(at) or inspect.isasyncgenfunction(at):
            checks.refuse("handler", handler, f"AWS's SDK runs no async def: {_ORDER}")
        at = getattr(at, "__wrapped__", None)
    if isinstance(handler, FunctionType) and _is_alone(handler):
        checks.refuse("handler", handler, f"it is not under @durable_execution: {_ORDER}")


def _is_alone(function: FunctionType) -> bool:
    """Tell whether a function comes to nothing but what it is called with, and builtins."""
    if function.__closure__ or function.__defaults__ or function.__kwdefaults__:
        return False
    named = set(_names(function.__code__))
    return not named & _FINDING and all(hasattr(builtins, one) and one not in function.__globals__ for one in named)


def _names(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in _NAMING:
            yield instruction.argval
    for one in code.co_consts:
        if isinstance(one, CodeType):  # of a function inside
            yield from _names(one)


class Input(Protocol):
    """The SDK's input of one run of a handler."""

    is_entered: bool


def inputs(of_sdk: type[Any]) -> Callable[..., Input]:
    """Give the SDK's class of inputs with a note: whether the SDK's wrapper, which takes the client, has begun."""

    class DurableExecutionInput(of_sdk):  # type: ignore[misc]
        is_entered = False

        def __getattribute__(self, name: str) -> Any:
            if name == "service_client":
                object.__setattr__(self, "is_entered", True)  # it is frozen
            return super().__getattribute__(name)

        def __repr__(self) -> str:
            # A handler that only prints it takes no client.
            return f"{type(self).__name__}({self.durable_execution_arn!r})"

    return DurableExecutionInput


def run(handler: Callable[..., Any], given: Input, context: Any) -> Any:
    """Run a handler. One that certainly did not come to the SDK has failed for good: it would do what it does again."""
    try:
        answer = handler(given, context)
    except (AttributeError, TypeError) as error:
        if given.is_entered or not _is_of(error, given, context):
            raise
        return _refused(f". It ended with {type(error).__name__}: {error}")
    if given.is_entered or (isinstance(answer, dict) and answer.get("Status") in _STATUSES):
        return answer
    if inspect.iscoroutine(answer):
        answer.close()
    return _refused("")


def _is_of(error: AttributeError | TypeError, given: Input, context: Any) -> bool:
    """Tell whether a handler took the input for an event, or the context for a durable one. Other errors may pass."""
    if isinstance(error, AttributeError):
        return error.obj is given or error.obj is context
    return repr(type(given).__name__) in str(error)


def _refused(more: str) -> dict[str, Any]:
    text = f"the handler did not call a function that is under @durable_execution: {_ORDER}{more}"
    return {"Status": "FAILED", "Error": {"ErrorType": "States.Runtime", "ErrorMessage": text}}
