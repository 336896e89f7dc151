"""What the engine is told of a function that runs in processes: what they run, how many there are, how long they live."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from forebay._app import lambda_variables
from forebay._app.process_logging import log_settings
from forebay._app.shared import shared
from forebay._model import limits
from forebay._model.store_place import URL_VARIABLE
from forebay._runtime import handler_reference
from forebay._wire import mapping as wire_mapping

if TYPE_CHECKING:
    from forebay._model.settings import AppSettings
    from forebay.function import Function


BOOT: Final = (
    "import gc; gc.disable(); import json, sys; given = json.loads(sys.argv.pop()); sys.path[:] = given['path']; "
    "from forebay._worker import process; process.main(given)"
)
"""What the interpreter is started with; its argument is what `_command` puts behind it. The collector would look through what is
imported several times meanwhile, and find nothing."""


def process_settings(
    function: Function[..., Any], app: AppSettings, log_stream: str, fencing_token: int | None
) -> dict[str, Any]:
    """Describe a function's environments to the engine.

    Raises:
        InvalidParameterValue: no other process can import the handler by name.

    """
    settings = function.settings
    lifetime = settings.environments
    provisioned = settings.provisioned_concurrency
    maximum = lifetime.maximum or max(4 * (os.cpu_count() or 1), provisioned)
    provisioned_init = max(limits.PROVISIONED_INIT_SECONDS, settings.timeout)
    recycle = lifetime.recycle_seconds
    closes = bool(function.attached) and settings.command is None
    return {
        "command": list(settings.command)
        if settings.command is not None
        else _command(function, app, log_stream, fencing_token),
        "runtime_api": settings.command is not None,
        "variables": list(_variables(function, app, log_stream).items()),
        "function_arn": function.latest.arn,
        "directory": os.getcwd(),  # noqa: PTH109  text is wanted
        "version": function.version,
        "memory_mebibytes": _memory(function),
        "report_lines": lifetime.report_lines,
        "closing_ms": wire_mapping.milliseconds(limits.CLOSING_SECONDS) if closes else 0,
        "memory_bytes": None if settings.memory is None else settings.memory * 1024 * 1024,
        "provisioned": provisioned,
        "maximum": maximum,
        "provisioned_maximum": lifetime.maximum or limits.ENVIRONMENTS_MAX,
        "init_timeout_ms": wire_mapping.milliseconds(limits.INIT_SECONDS),
        "provisioned_init_timeout_ms": wire_mapping.milliseconds(provisioned_init),
        "idle_timeout_ms": wire_mapping.milliseconds(lifetime.idle_seconds),
        "recycle_invocations": lifetime.recycle_invocations,
        "recycle_ms": None if recycle is None else wire_mapping.milliseconds(recycle),
    }


def _command(function: Function[..., Any], app: AppSettings, log_stream: str, fencing_token: int | None) -> list[str]:
    has_door = app.store != ":memory:" and app.durability != "memory"
    client = {
        "app": app.name,
        "store": app.place,
        "region": app.region,
        "account": app.account,
        "durability": app.durability,
        "serve": False,
        **({"store_app": app.store_app or app.name} if app.is_on_server else {}),
    }
    given = {
        "path": sys.path,
        "parent": os.getpid(),
        "reference": asdict(handler_reference.reference(function.latest, function.latest.handler)),
        "handler": None,
        "title": f"forebay: {app.name}.{function.qualified}",
        "logging": log_settings(),
        "name": function.name,
        "arn": function.latest.arn,
        "version": function.version,
        "log_stream": log_stream,
        "memory": function.settings.memory,
        "shared": shared(function.attached),
        "fencing_token": fencing_token,
        "store": app.place,
        "engine": client if has_door else None,
    }
    return [sys.executable, "-c", BOOT, json.dumps(given)]


def _variables(function: Function[..., Any], app: AppSettings, log_stream: str) -> dict[str, str]:
    command = function.settings.command
    variables = lambda_variables.of_process(
        app,
        name=function.name,
        version=function.version,
        memory=_memory(function),
        log_stream=log_stream,
        handler=command[-1] if command is not None else _dotted(function),
        own_runtime=command is not None,
    )
    if app.is_on_server and command is None:
        # It may hold a password, which everybody on the machine could read among the arguments.
        variables[URL_VARIABLE] = app.store
    return variables


def _memory(function: Function[..., Any]) -> int:
    return function.settings.memory or limits.MEMORY_MEBIBYTES_DEFAULT


def _dotted(function: Function[..., Any]) -> str:
    """Give `_HANDLER`, which names the handler's own function where it has one."""
    handler = function.handler
    if hasattr(handler, "__qualname__"):
        return f"{handler.__module__}.{handler.__qualname__}"
    found = handler_reference.reference(function.latest, handler)
    return f"{found.module}.{found.attribute}"
