"""Functions whose code is a directory, as a stack deploys them: what the engine is told of them, and whether they can start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from forebay._app import lambda_variables
from forebay._app.process_logging import log_settings
from forebay._app.process_settings import BOOT
from forebay._model import limits, names
from forebay._model.settings import DEFAULT_ENVIRONMENTS
from forebay._wire import mapping as wire_mapping
from forebay._wire import payload
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forebay._model.settings import AppSettings

_HEAD: Final = struct.Struct("<IB")
_CANNOT_START: Final = 2
_ANSWER_BYTES_MAX: Final = 1 << 20
_SAID_BYTES: Final = 1 << 16
_LAYERS: Final = (("PATH", "bin"), ("LD_LIBRARY_PATH", "lib"))


class CannotStart(ForebayError):
    """The code of a function cannot be loaded; the text is its own error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedFunction:
    """A function, or a version of one, that runs what stands in a directory.

    Attributes:
        name: its name.
        version: a number, or `$LATEST`.
        handler: of Python, "module.function"; None: the program `bootstrap` speaks the Runtime API.
        directory: where its code stands.
        layers: directories of its layers.
        variables: its environment.
        timeout: seconds.
        memory: MiB that are told to it and enforced.
        limits: its concurrency, as `Engine.function` takes it.
        asynchronous: how it is invoked asynchronously, as `Engine.function` takes it.
        keeps_logs: whether the app keeps what it logs.
        attachments: what it needs from outside, as its process is told of it (`forebay._worker.attachments`).

    """

    name: str
    version: str
    handler: str | None
    directory: str
    layers: tuple[str, ...]
    variables: dict[str, str]
    timeout: int
    memory: int
    limits: dict[str, Any]
    asynchronous: dict[str, Any]
    keeps_logs: bool = False
    attachments: tuple[dict[str, Any], ...] = ()

    @property
    def qualified(self) -> str:
        """The name that the engine knows it by."""
        return self.name if self.version == names.LATEST else f"{self.name}:{self.version}"


class Registers(Protocol):
    """An app that has started, and owns its store."""

    def register(self, function: DeployedFunction) -> None:
        """Have a function run from now on; one that runs already runs the new code as soon as it is there."""

    def registration(self, function: DeployedFunction) -> dict[str, Any]:
        """Describe a function to the engine."""

    def request(self, verb: str, fields: dict[str, Any]) -> asyncio.Future[bytes]:
        """Ask the engine."""


class Stacks(Protocol):
    """What deploys stacks into an app."""

    def declare(self, app: Registers) -> None:
        """Declare everything that is deployed to an engine that is new, and deploy into it from now on."""

    def close(self) -> None:
        """Deploy nothing more."""

    async def end(self) -> None:
        """Close what functions of stacks were attached to. The app has run the last of them."""


def registration(function: DeployedFunction, app: AppSettings, log_stream: str) -> dict[str, Any]:
    """Describe a function to the engine."""
    arn = names.function_arn(app.region, app.account, function.name)
    lifetime = DEFAULT_ENVIRONMENTS
    provisioned = int(function.limits.get("provisioned_concurrency") or 0)
    return {
        "kind": "function",
        "name": function.qualified,
        "timeout_ms": function.timeout * 1000,
        "isolation": "process",
        "wants": "event",
        **function.limits,
        "asynchronous": function.asynchronous,
        "environment": {
            "command": _command(function, app, arn, log_stream),
            "runtime_api": function.handler is None,
            "variables": list(_variables(function, app, log_stream).items()),
            "function_arn": arn,
            "directory": function.directory,
            "version": function.version,
            "memory_mebibytes": function.memory,
            "report_lines": lifetime.report_lines,
            "closing_ms": wire_mapping.milliseconds(limits.CLOSING_SECONDS) if function.attachments else 0,
            "memory_bytes": function.memory * 1024 * 1024,
            "provisioned": provisioned,
            "maximum": max(4 * (os.cpu_count() or 1), provisioned),
            "provisioned_maximum": limits.ENVIRONMENTS_MAX,
            "init_timeout_ms": wire_mapping.milliseconds(limits.INIT_SECONDS),
            "provisioned_init_timeout_ms": wire_mapping.milliseconds(
                max(limits.PROVISIONED_INIT_SECONDS, function.timeout)
            ),
            "idle_timeout_ms": wire_mapping.milliseconds(lifetime.idle_seconds),
            "recycle_invocations": None,
            "recycle_ms": None,
        },
    }


def _command(function: DeployedFunction, app: AppSettings, arn: str, log_stream: str) -> list[str]:
    if function.handler is None:
        return [f"{function.directory}/bootstrap"]
    given = {
        "path": [function.directory, *_python_paths(function.layers), *(path for path in sys.path if path)],
        "parent": os.getpid(),
        "reference": None,
        "handler": function.handler,
        "title": f"forebay: {app.name}.{function.qualified}",
        "logging": log_settings(),
        "name": function.name,
        "arn": arn,
        "version": function.version,
        "log_stream": log_stream,
        "memory": function.memory,
        "shared": [],
        "store": app.store,
        "keeps_logs": function.keeps_logs,
        "engine": None,
    }
    return [sys.executable, "-c", BOOT, json.dumps(given)]


def _python_paths(layers: Iterable[str]) -> list[str]:
    release = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return [path for layer in layers for path in (f"{layer}/python", f"{layer}/python/lib/{release}/site-packages")]


def _variables(function: DeployedFunction, app: AppSettings, log_stream: str) -> dict[str, str]:
    """Give the variables that Lambda sets, and the function's own."""
    paths = {}
    for name, folder in _LAYERS:
        added = [f"{layer}/{folder}" for layer in function.layers]
        if added:
            paths[name] = ":".join([*added, *filter(None, [os.environ.get(name)])])
    variables = {
        **lambda_variables.of_process(
            app,
            name=function.name,
            version=function.version,
            memory=function.memory,
            log_stream=log_stream,
            handler=function.handler or "bootstrap",
            own_runtime=function.handler is None,
        ),
        **paths,
        "LAMBDA_TASK_ROOT": function.directory,
        **function.variables,
    }
    if function.attachments:
        variables[names.ATTACHMENTS] = json.dumps(function.attachments)
    return variables


async def check_start(described: dict[str, Any]) -> None:
    """Start a function's process once, and see that its code can be loaded. A program of the Runtime API is only looked for.

    Raises:
        CannotStart: in the code's own words.

    """
    environment = described["environment"]
    if environment["runtime_api"]:
        program = environment["command"][0]
        if not os.access(program, os.X_OK):
            raise CannotStart(f"Runtime.InvalidEntrypoint: there is no program {os.path.basename(program)!r}")  # noqa: PTH119
        return
    await asyncio.to_thread(_start_once, environment, limits.INIT_SECONDS)


def _start_once(environment: dict[str, Any], seconds: float) -> None:
    ours, theirs = socket.socketpair()
    # What it says goes into a file: nobody reads a pipe until the process has ended, and a full one would hold it up.
    with ours, theirs, tempfile.TemporaryFile() as said:
        ours.settimeout(seconds)
        command: list[str] = environment["command"]
        try:
            process = subprocess.Popen(
                command,
                cwd=environment["directory"],
                env={**os.environ, **dict(environment["variables"])},
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
        except (OSError, ValueError) as failed:  # its code is gone, or a variable is none that a process can have
            raise CannotStart(f"Runtime.InvalidEntrypoint: it cannot be started: {failed}") from None
        try:
            theirs.close()
            kind, body = _first_frame(ours)
        except TimeoutError:
            raise CannotStart(f"Runtime.InitError: it did not start within {seconds:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # with what its code has started
            process.wait()
        last = _last_line(said)
    if kind is None:
        raise CannotStart(f"Runtime.ExitError: {last or 'its process ended while it started'}")
    if kind == _CANNOT_START:
        error = payload.loads(body)
        raise CannotStart(f"{error.get('errorType')}: {error.get('errorMessage')}")


def _last_line(said: IO[bytes]) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(size - _SAID_BYTES, 0))
    return next(iter(reversed(said.read().decode(errors="replace").strip().splitlines())), "")


def _first_frame(engine: socket.socket) -> tuple[int | None, bytes]:
    """Read what a worker says when it has started; no kind where it has ended."""
    read = b""
    while len(read) < _HEAD.size:
        more = engine.recv(_HEAD.size - len(read))
        if not more:
            return None, b""
        read += more
    length, kind = _HEAD.unpack(read)
    body = b""
    while len(body) < min(length - 1, _ANSWER_BYTES_MAX):
        more = engine.recv(length - 1 - len(body))
        if not more:
            break
        body += more
    return kind, body
