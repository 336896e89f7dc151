"""What a published version has of its function, and what is its own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from forebay._model import checks
from forebay._runtime import inspection
from forebay.function import Function

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._model.settings import FunctionSettings


def handler_of_version(function: Function[..., Any], handler: Callable[..., Any] | None) -> Callable[..., Any]:
    """Give what a version runs: a plain function, or what the function declares."""
    if handler is None or handler is function:
        return function.handler
    if function.settings.command is not None:
        checks.refuse("handler", handler, "a command has no handler: leave it out")
    if isinstance(handler, Function) or not callable(handler):
        checks.refuse("handler", handler, "a plain function that takes (event, context), or None for the declared one")
    inspection.check_handler(handler)
    return handler


def settings_of_version(
    function: Function[..., Any], handler: Callable[..., Any], given: dict[str, Any]
) -> FunctionSettings:
    """Give a version's settings: what was given, and for the rest the function's, which limits all versions together."""
    isolation = inspection.isolation_of_version(handler, function.declared.isolation)
    return dataclasses.replace(
        function.declared, isolation=isolation, reserved_concurrency=None, rate_limit=None, **given
    )


def is_latest(version: Function[..., Any]) -> bool:
    """Tell whether a version has the handler and the settings of what is declared."""
    function = version.latest
    if version is function:
        return True
    if version.handler is not function.handler:
        return False
    given = {"provisioned_concurrency": version.declared.provisioned_concurrency}
    return version.declared == settings_of_version(function, version.handler, given)
