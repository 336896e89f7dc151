"""Looks at a handler once, when it is declared: whether it can be called, where it runs, what its first parameter wants."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from forebay._model import checks
from forebay._runtime.annotations import meaning
from forebay._runtime.handler_reference import check_importable
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._model.settings import Isolation
    from forebay._runtime.annotations import Meaning


def isolation(handler: Callable[..., Any], asked: str | None) -> Isolation:
    """Decide where a handler runs: as it is asked for, or where its form is safe.

    A coroutine function runs in a task. A plain function in Lambda's form may keep state in its module, as it may on Lambda,
    where an environment has one invocation at a time: it runs in processes. One that takes a `Batch` was written for forebay: it
    runs in threads.
    """
    if asked is not None:
        checks.one_of("isolation", asked, ("task", "thread", "process"))
    is_async = _is_async(handler)
    if asked == "process" or (asked is None and not is_async and not wants_batch(handler)):
        check_importable(handler)
        return "process"
    if asked == "task" and not is_async:
        checks.refuse(
            "isolation", asked, "a plain def would block the event loop; make it async, or leave isolation out"
        )
    if asked == "thread" and is_async:
        checks.refuse(
            "isolation", asked, "an async handler runs in a task; make it a plain def, or leave isolation out"
        )
    return "task" if is_async else "thread"


def check_handler(handler: Callable[..., Any]) -> None:
    """Refuse what is not a handler: it cannot be called as one, it is a generator, or it wants one record at a time."""
    check_callable(handler)
    plain = _plain(handler)
    for called in (plain, getattr(plain, "__call__", None)):  # noqa: B004  an object whose call is the generator
        if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
            raise InvalidParameterValue(
                f"{_shown(handler)}: it has a `yield`, which makes it a generator: calling it would run nothing of it; take "
                "the `yield` out, and return what the function gives"
            )
    if _first_parameter(handler) == "item":
        raise InvalidParameterValue(
            f"{_shown(handler)}: its first parameter is annotated as a record or a message, or as a list of them, and a handler "
            "is given a whole batch: annotate it forebay.Batch[forebay.Record] or forebay.Batch[forebay.Message] and go "
            "through it, or leave the annotation out for Lambda's event"
        )


def isolation_of_version(handler: Callable[..., Any], of_function: Isolation) -> Isolation:
    """Decide where a version's handler runs: in processes as the function's own, else in a task or a thread."""
    if of_function == "process":
        return isolation(handler, "process")
    return "task" if _is_async(handler) else "thread"


def check_callable(handler: Callable[..., Any]) -> None:
    """Refuse a handler that cannot be called with (event, context). One whose signature is not its own is taken as it is."""
    if not callable(handler):
        checks.refuse("handler", handler, "a handler is a function that takes (event, context)")
    if hasattr(handler, "__signature__"):  # what a library shows in place of the real one
        return
    try:
        # A decorator's own function is what is called: it may hand what it wraps more than it is given.
        signature = _signature(handler, follow_wrapped=False)
    except (TypeError, ValueError):  # a callable without a signature, such as some built-ins
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        name = _shown(handler).partition(" (")[0].rpartition(".")[2]
        raise InvalidParameterValue(
            f"{_shown(handler)}: it is called with (event, context), which {name}{signature} does not take: {error}"
        ) from None


def check_asgi(app: Callable[..., Any]) -> None:
    """Refuse what cannot be called with (scope, receive, send). What shows no signature is taken as it is."""
    if not callable(app):
        checks.refuse("app", app, "an ASGI app")
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None, None, None)
    except TypeError as error:
        raise InvalidParameterValue(
            f"app={checks.shown(app)}: an ASGI app is called with (scope, receive, send), which {signature} does not take: "
            f"{error}. A WSGI app, as of Flask, is behind a route by apig-wsgi, or becomes an ASGI app by a2wsgi"
        ) from None


def wants_batch(handler: Callable[..., Any]) -> bool:
    """Tell whether the first parameter is annotated `forebay.Batch`, also where annotations are text."""
    return _first_parameter(handler) == "batch"


def _first_parameter(handler: Callable[..., Any]) -> Meaning:
    plain = _plain(handler)
    try:
        parameters = _signature(plain).parameters.values()
    except (TypeError, ValueError):  # a callable without a signature, such as some built-ins
        return "event"
    first = next(iter(parameters), None)
    return "event" if first is None or first.annotation is first.empty else meaning(first.annotation, plain)


def default_name(handler: Callable[..., Any]) -> str:
    """Name a function after its handler."""
    plain = _plain(handler)
    return getattr(plain, "__name__", type(plain).__name__)


def _shown(handler: Callable[..., Any]) -> str:
    """Name a handler and the place where it is written, for a refusal."""
    plain = inspect.unwrap(_plain(handler))
    name = f"{getattr(plain, '__module__', '?')}.{getattr(plain, '__qualname__', type(plain).__name__)}"
    code = getattr(plain, "__code__", None)
    where = f" ({code.co_filename}, line {code.co_firstlineno})" if code is not None else ""
    return f"handler={name}{where}"


def _is_async(handler: Callable[..., Any]) -> bool:
    plain = _plain(handler)
    return inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(getattr(plain, "__call__", None))  # noqa: B004


def _plain(handler: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return handler


def _signature(handler: Callable[..., Any], *, follow_wrapped: bool = True) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415  exists from this version on

        form = annotationlib.Format.FORWARDREF
        return inspect.signature(handler, follow_wrapped=follow_wrapped, annotation_format=form)
    return inspect.signature(handler, follow_wrapped=follow_wrapped)
