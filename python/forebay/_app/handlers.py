"""The handlers of a started app: its functions with their versions, and the destinations that Python delivers to."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from forebay._app import durable
from forebay._app.lambda_variables import SharedVariables
from forebay._app.process_settings import process_settings
from forebay._app.versions import is_latest
from forebay._model.asynchronous import DESTINATIONS
from forebay._model.names import LATEST
from forebay._runtime.context import FunctionFacts
from forebay._runtime.environments import EverySource, ServedFunction
from forebay._runtime.tasks import TaskEnvironment
from forebay._runtime.threads import ThreadEnvironment
from forebay._wire import asynchronous as wire_asynchronous
from forebay._wire import limits as wire_limits
from forebay._wire import mapping as wire_mapping
from forebay._wire import payload
from forebay.alias import Alias
from forebay.destinations import JSONLines, http, jsonlines
from forebay.destinations.http import HttpSender
from forebay.function import Function
from forebay.queue import Queue
from forebay.topic import Topic

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from forebay._app.declarations import Declarations
    from forebay._core import Engine
    from forebay._runtime.runner import Runner
    from forebay._runtime.tracing import Tracing
    from forebay.api_destination import ApiDestination
    from forebay.clock import Clock
    from forebay.destinations import Destination
    from forebay.mapping import Mapping

    class Sender(Protocol):
        """Sends the requests of an API destination."""

        def close(self, *, cancel: bool = True) -> None:
            """Let go of what it holds; without `cancel`, what is under way ends first."""

        async def send(self, given: dict[str, Any]) -> http.Refusal | None:
            """Send a request; None: the endpoint has confirmed it."""


class Handlers:
    """Registers what is declared with the engine, and serves it on this side."""

    def __init__(self, declared: Declarations, clock: Clock, runner: Runner, tracing: Tracing | None) -> None:
        self._declared = declared
        self._clock = clock
        self._runner = runner
        self._tracing = tracing
        self._log_stream = f"{time.strftime('%Y/%m/%d', time.gmtime(clock.time()))}/[{LATEST}]{uuid.uuid4().hex}"
        self._served: dict[str, ServedFunction] = {}
        self._files: list[JSONLines] = []
        self._senders: dict[str, Sender] = {}
        self._variables = SharedVariables()

    def close(self) -> None:
        """Close what destinations have open, and take away the variables that were set."""
        self._variables.unset()
        for file in self._files:
            file.close()
        for sender in self._senders.values():
            sender.close()

    # --- functions

    def add_function(self, engine: Engine, function: Function[..., Any]) -> None:
        """Serve a function, or a version of one."""
        if engine.role == "client":
            self._offer(engine, function)
            return
        served = self._serve(function)
        served.limits = wire_limits.function(function.settings)
        self._served[function.qualified] = served
        self._add_destinations(engine, function)
        if durable.is_hosted(function.handler):
            self._runner.operator_events.decorators[function.name] = "durable_function"
        handler_id = self._register(engine, function, served)
        if function.settings.isolation != "process":  # else the engine hands it work itself
            self._run_here(function, handler_id, served)

    def run_for_owner(self, engine: Engine) -> None:
        """Run the app's functions for the process that owns the store."""
        for function in tuple(self._declared.functions.values()):
            for version in (function, *function.versions.values()):
                self._offer(engine, version)
        engine.start()

    def _offer(self, engine: Engine, function: Function[..., Any]) -> None:
        # The owner knows all settings. It says with each attempt whether the response is read, and whether partial failures are.
        if function.settings.isolation == "process":
            return
        wants = "batch" if function.wants_batch else "event"
        first = engine.function(payload.dumps({"kind": "function", "name": function.qualified, "wants": wants}))
        for number in range(4):
            served = self._serve(function)
            served.reads, served.reports = bool(number & 1), EverySource() if number & 2 else frozenset()
            self._run_here(function, first + number, served)

    def _serve(self, function: Function[..., Any]) -> ServedFunction:
        facts = FunctionFacts(
            function_name=function.name,
            function_version=function.version,
            function_arn=function.latest.arn,
            log_stream_name=self.log_stream(function.version),
            wall=self._clock.time,
            lease=self._runner.lease,
        )
        wants = function.wants_batch
        return ServedFunction(handler=function.handler, facts=facts, wants_batch=wants, tracing=self._tracing)

    def _run_here(self, function: Function[..., Any], handler_id: int, served: ServedFunction) -> None:
        self._variables.set(self._declared.settings)
        runner = self._runner
        if function.settings.isolation == "task":
            runner.serve(handler_id, self._in_tasks(served))
        else:
            runner.serve(handler_id, ThreadEnvironment(served, runner, runner.pool, runner.now_ns))

    def log_stream(self, version: str) -> str:
        """Name the log stream of a version."""
        return self._log_stream.replace(LATEST, version)

    def _register(self, engine: Engine, function: Function[..., Any], served: ServedFunction) -> int:
        settings: dict[str, Any] = {
            "kind": "function",
            "name": function.qualified,
            "timeout_ms": wire_mapping.milliseconds(function.settings.timeout),
            "isolation": function.settings.isolation,
            "wants": "batch" if function.wants_batch else "event",
            "is_latest": is_latest(function),
            "response": served.reads,
            **served.limits,
            "asynchronous": wire_asynchronous.settings(
                function.settings.asynchronous, self._name_destinations(function)
            ),
        }
        if function.settings.isolation == "process":
            self._runner.listen_to_processes()
            log_stream = self.log_stream(function.version)
            settings["environment"] = process_settings(
                function, self._declared.settings, log_stream, self._runner.lease.token
            )
        return engine.function(payload.dumps(settings))

    def _in_tasks(self, served: ServedFunction) -> TaskEnvironment:
        runner = self._runner
        # A manual clock starts handlers in the middle of answering somebody: they wait for the loop's next pass.
        return TaskEnvironment(served, runner, runner.loop, runner.now_ns, eager=runner.manual is None)

    # --- mappings

    def name_destination(self, mapping: Mapping) -> str | None:
        """Name what is told of a mapping's failures."""
        target = getattr(mapping.settings, "on_failure", None)
        if target is None:
            return None
        return self._in_store(target) or f"on_failure:{mapping.source}/{mapping.function.name}"

    def apply_settings(self, engine: Engine, mapping: Mapping) -> None:
        """Read and report responses as a mapping's settings say, and register its destination."""
        function = mapping.function
        served = self._served[function.name]
        mappings = [
            (arn, other.settings) for (arn, of), other in tuple(self._declared.mappings.items()) if of is function
        ]
        served.reports = frozenset(arn for arn, settings in mappings if settings.report_batch_item_failures)
        reads = bool(served.reports) or any(getattr(settings, "tumbling_window", 0) for _, settings in mappings)
        if reads != served.reads:
            served.reads = reads
            self._register(engine, function, served)
        name = self.name_destination(mapping)
        if name is not None and name.startswith("on_failure:"):
            self._add_destination(engine, name, getattr(mapping.settings, "on_failure", None))

    # --- destinations

    def _in_store(self, target: object) -> str | None:
        """Name a destination that is part of this app's store, and is told in the same commit."""
        if isinstance(target, Function) and self._declared.functions.get(target.name) is target:
            return f"function:{target.name}"
        if isinstance(target, Alias) and target in self._declared.aliases_of(target.function):
            return f"function:{target.function.name}:{target.name}"
        if isinstance(target, Queue):
            return f"queue:{target.name}"
        if isinstance(target, Topic):
            return f"topic:{target.name}"
        return None

    def _name_destinations(self, function: Function[..., Any]) -> dict[str, str]:
        """Name the destinations of a function's asynchronous invocations."""
        given = {option: getattr(function.settings.asynchronous, option) for option in DESTINATIONS}
        return {
            option: self._in_store(target) or f"{option}:{function.name}"
            for option, target in given.items()
            if target is not None
        }

    def _add_destinations(self, engine: Engine, function: Function[..., Any]) -> None:
        for option, name in self._name_destinations(function).items():
            if name.startswith(f"{option}:"):
                self._add_destination(engine, name, getattr(function.settings.asynchronous, option))

    def _add_destination(self, engine: Engine, name: str, target: Any) -> None:
        if isinstance(target, JSONLines) and target not in self._files:
            self._files.append(target)
        at_once = jsonlines.AT_ONCE if isinstance(target, JSONLines) else None
        destination = {"kind": "destination", "name": name, "type": _kind_of(target), "at_once": at_once}
        shown = repr(target) if isinstance(target, JSONLines) else type(target).__name__
        self._serve_destination(engine, destination, shown, _delivering(target))

    def add_api_destination(self, engine: Engine, destination: ApiDestination) -> None:
        """Serve an HTTP endpoint. What it answers in vain says whether and when it is tried again."""
        name, rate = destination.name, destination.settings.invocation_rate_limit
        sender = self._senders.get(f"api_destination:{name}") or HttpSender(destination.settings)
        self.serve_sender(engine, name, repr(destination), sender, rate)

    def declares(self, named: str) -> bool:
        """Tell whether the app itself declares an API destination."""
        return named in self._declared.api_destinations

    def serve_sender(self, engine: Engine, named: str, shown: str, sender: Sender, rate: int | None) -> None:
        """Serve an API destination by what sends its requests, from now on; what is under way ends as it began."""
        name = f"api_destination:{named}"
        before = self._senders.get(name)
        self._senders[name] = sender
        if before is not None and before is not sender:
            before.close(cancel=False)
        fields = {"kind": "destination", "name": name, "at_once": http.AT_ONCE, "invocation_rate": rate}

        async def deliver(request: bytes, _context: object) -> http.Refusal | None:
            return await sender.send(payload.loads(request))

        self._serve_destination(engine, fields, shown, deliver, reads=True)

    def _serve_destination(
        self,
        engine: Engine,
        fields: dict[str, Any],
        shown: str,
        deliver: Callable[[bytes, Any], Any],
        *,
        reads: bool = False,
    ) -> None:
        name = fields["name"]
        handler_id = engine.function(payload.dumps(fields))
        facts = FunctionFacts(function_name=name, function_arn="", log_stream_name="", wall=self._clock.time)
        self._runner.operator_events.destinations[name] = shown
        served = ServedFunction(handler=deliver, facts=facts, wants_batch=False, reads=reads, tracing=self._tracing)
        self._runner.serve(handler_id, self._in_tasks(served))


def _kind_of(target: object) -> str:
    """Name the kind of a destination, for its metrics."""
    if isinstance(target, Function | Alias):
        return "function"
    return "jsonlines" if isinstance(target, JSONLines) else "object"


def _delivering(target: Function[..., Any] | Alias | Destination) -> Callable[[bytes, Any], Any]:
    if isinstance(target, Function | Alias):
        invoke = target.invoke_async  # of another app: confirmed when that one has it

        async def deliver(record: bytes, _context: object) -> None:
            await invoke(payload.loads(record))
    else:
        take = target.deliver

        async def deliver(record: bytes, _context: object) -> None:
            await take(payload.loads(record))

    return deliver
