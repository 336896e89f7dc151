"""Looks at a handler once, when it is declared: whether it can be called, where it runs, what its first parameter wants."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any, ForwardRef

from forebay._core import Batch
from forebay._model import checks
from forebay._runtime.handler_reference import check_importable
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._model.settings import Isolation


def isolation(handler: Callable[..., Any], asked: str | None) -> Isolation:
    """Decide where a handler runs: a coroutine function in a task, any other in a thread, never on the loop; or in processes."""
    if asked is not None:
        checks.one_of("isolation", asked, ("task", "thread", "process"))
    if asked == "process":
        check_importable(handler)
        return "process"
    is_async = _is_async(handler)
    if asked == "task" and not is_async:
        checks.refuse(
            "isolation", asked, "a plain def would block the event loop; make it async, or leave isolation out"
        )
    if asked == "thread" and is_async:
        checks.refuse(
            "isolation", asked, "an async handler runs in a task; make it a plain def, or leave isolation out"
        )
    return "task" if is_async else "thread"


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
        plain = inspect.unwrap(_plain(handler))
        name = f"{getattr(plain, '__module__', '?')}.{getattr(plain, '__qualname__', type(plain).__name__)}"
        code = getattr(plain, "__code__", None)
        where = f" ({code.co_filename}, line {code.co_firstlineno})" if code is not None else ""
        raise InvalidParameterValue(
            f"handler={name}{where}: it is called with (event, context), which {name.rpartition('.')[2]}{signature} does "
            f"not take: {error}"
        ) from None


def wants_batch(handler: Callable[..., Any]) -> bool:
    """Tell whether the first parameter is annotated `forebay.Batch`, also where annotations are text."""
    plain = _plain(handler)
    try:
        parameters = _signature(plain).parameters.values()
    except (TypeError, ValueError):  # a callable without a signature, such as some built-ins
        return False
    first = next(iter(parameters), None)
    if first is None:
        return False
    return _means_batch(first.annotation, plain)


def default_name(handler: Callable[..., Any]) -> str:
    """Name a function after its handler."""
    plain = _plain(handler)
    return getattr(plain, "__name__", type(plain).__name__)


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


def _means_batch(annotation: object, handler: Callable[..., Any]) -> bool:
    if annotation is Batch:
        return True
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if not isinstance(annotation, str):
        return False
    # Text is looked up name by name, never evaluated: it may name things that exist for type checkers only.
    text = annotation.strip("'\" ")
    head, *attributes = text.split(".")
    if not all(part.isidentifier() for part in (head, *attributes)):
        return False
    found = _lookup(head, handler)
    for attribute in attributes:
        found = getattr(found, attribute, None)
    if found is None:
        return text in {"Batch", "forebay.Batch"}
    return found is Batch


def _lookup(name: str, handler: Callable[..., Any]) -> object:
    function = inspect.unwrap(handler)
    scope = getattr(function, "__globals__", None)
    if scope is None:
        scope = vars(sys.modules[type(function).__module__])
    return scope.get(name)
