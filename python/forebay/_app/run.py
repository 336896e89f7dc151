"""One run of an app, from start to stop: opens the engine, declares to it what the app declares, runs handlers, drains."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from forebay._api import DeclaredApi
from forebay._app import declarable, served  # noqa: F401  it is imported for what it imports
from forebay._app.deployed import registration
from forebay._app.failover import tell_failovers
from forebay._app.handlers import Handlers
from forebay._app.made_destinations import MadeDestinations
from forebay._app.reconnect import GIVE_UP_SECONDS, Reconnector
from forebay._app.shared_store import SharedStore
from forebay._core import Engine
from forebay._model import limits
from forebay._model.archive import ArchiveSettings
from forebay._model.bus import RuleSettings, ScheduleSettings
from forebay._model.gateway import UrlOf
from forebay._model.topic import Subscription
from forebay._runtime import tracing
from forebay._runtime.runner import Runner
from forebay._runtime.state_spans import StateSpans
from forebay._runtime.threads import ThreadPool
from forebay._wire import bus as wire_bus
from forebay._wire import gateway as wire_gateway
from forebay._wire import limits as wire_limits
from forebay._wire import mapping as wire_mapping
from forebay._wire import payload
from forebay._wire import queue as wire_queue
from forebay._wire import topic as wire_topic
from forebay.activity import Activity
from forebay.alias import Alias
from forebay.api_destination import ApiDestination
from forebay.bus import Bus
from forebay.clock import ManualClock
from forebay.errors import AppClosed, ForebayError, InvalidParameterValue, OwnerLost, ResourceConflict, ResourceNotFound
from forebay.function import Function
from forebay.mapping import Mapping
from forebay.metrics.exporter import Exporter, Measured
from forebay.queue import Queue
from forebay.registry import Registry
from forebay.topic import Topic
from forebay.workflow import Workflow, refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forebay._app.declarations import Declarable, Declarations
    from forebay._app.deployed import DeployedFunction
    from forebay._model.http_address import HttpAddress
    from forebay._model.metrics import MetricsAddress
    from forebay._model.settings import AppSettings, StreamSettings
    from forebay._model.wire import WireAddress
    from forebay._runtime.caller import Caller
    from forebay.clock import Clock
    from forebay.integrations.serve import Integrations
    from forebay.rest_api import RestApi
    from forebay.stream import Stream

    Source = Stream | Queue | Topic | Registry | Bus | Activity | Workflow
    """What an app declares and the engine keeps."""

log = logging.getLogger("forebay.app")

POLL_SECONDS: Final = 0.005
INTERRUPT_SECONDS: Final = 1.0
UNENDED: Final = "stopped while these had not ended; after the next start what is not a call's runs again: %s"


class AppRun:
    """A started app."""

    def __init__(
        self,
        settings: AppSettings,
        clock: Clock,
        caller: Caller,
        declared: Declarations,
        addresses: tuple[MetricsAddress, HttpAddress, WireAddress],
    ) -> None:
        self._settings = settings
        self._declared = declared
        self._clock = clock
        self._caller = caller
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._metrics, self._http, self._wire = addresses
        self._tracing = tracing.found()
        self._stop_by = float("inf")
        self.runner = Runner(self._loop, clock, ThreadPool(limits.CONCURRENCY_MAX, self._loop))
        self.runner.asks_through_loop |= settings.serve is False
        self.runner.operator_events.metrics_page = self._metrics.page
        self._handlers = Handlers(declared, clock, self.runner, self._tracing)
        self._made = MadeDestinations(self._handlers, self.runner, caller)
        self._state_spans = StateSpans(self._tracing, caller, self.runner) if self._tracing is not None else None
        self._reconnecting: asyncio.Task[None] | None = None
        self._exporter: Exporter | None = None
        self._exporting: asyncio.Task[None] | None = None
        self._shared = SharedStore(self.runner, settings)

    def _open_engine(self, *, ports_late: bool = False) -> Engine:
        settings = self._engine_settings() | {"ports_late": ports_late}
        return Engine(payload.dumps(settings), self._shared.member)

    async def _open_again(self) -> Engine:
        """Open an engine that may take the store over, which a program that holds a port must not prevent."""
        return await asyncio.to_thread(self._open_engine, ports_late=True)

    def _engine_settings(self) -> dict[str, Any]:
        given, clock = self._settings, self._clock
        moment = clock.moment() if isinstance(clock, ManualClock) else None
        return {
            "app": given.name,
            "store": given.store,
            "store_app": given.store_app or given.name,
            "region": given.region,
            "account": given.account,
            "durability": given.durability,
            "serve": given.serve,
            "limits": wire_limits.account(given),
            "manual": moment is not None,
            "mono_ns": moment.mono_ns if moment else 0,
            "wall_ms": moment.wall_ms if moment else 0,
            "entropy": moment.entropy if moment else 0,
            "metrics": given.metrics,
            "metrics_host": self._metrics.host,
            "metrics_port": self._metrics.port,
            "metrics_token": self._metrics.token,
            "http_host": self._http.host,
            "http_port": self._http.port,
            "http_api_ports": [wire_gateway.own_port(own) for own in self._declared.own_ports()],
            "http_truststore": self._http.truststore,
            "http_plain": self._http.tls is False,
            "http_user_pools": self._declared.user_pools(),
            "http_certificate": self._http.tls[0] if self._http.tls else None,
            "http_key": self._http.tls[1] if self._http.tls else None,
            "http_trusted_proxies": self._http.trusted_proxies,
            "http_access_log": self._http.access_log,
            "http_access_log_format": self._http.access_log_format,
            "aws_host": self._wire.host,
            "aws_port": self._wire.port,
            "aws_access_log": self._wire.access_log,
        }

    async def begin(self, resources: Iterable[object] = ()) -> None:
        """Open the engine, declare everything to it, let it run, and show what the resources measure."""
        manual = isinstance(self._clock, ManualClock)
        await self._shared.join(payload.dumps(self._engine_settings()))
        engine = self._open_engine() if manual else await self._shared.open_first(self._open_engine)
        self.runner.attach(engine)
        self._caller.connect(self.runner, self._tracing)
        log.info(
            "app %r is %s of store %s%s",
            self._settings.name,
            "the owner" if engine.role == "owner" else f"a {engine.role}",
            self._settings.place,
            self._metrics_text(engine),
        )
        if engine.role == "owner":
            served.tell_of_apis(self._declared, self._http)
        answers = self._declare_all()
        serve = self._settings.serve
        if serve is False or engine.role != "owner" or self._shared.member is not None:
            reconnector = Reconnector(
                self.runner, self._open_again, self._shared.let_go, self._declare_all_again, client_only=serve is False
            )
            self._reconnecting = self._loop.create_task(reconnector.run(), name="forebay-reconnector")
            self._reconnecting.add_done_callback(partial(_log_if_failed, reconnector))
        await self._wait_until_declared(answers)
        if engine.role == "owner":
            kept = served.keep(self._settings, self._http, self._declared, self._caller)
            await asyncio.gather(*kept, return_exceptions=True)
            await served.tell_of_made(self._declared, self._http, self._caller)
        tell_failovers(resources, self._caller, self._declared, self._clock)
        measured = [resource for resource in resources if isinstance(resource, Measured)]
        if measured:
            self._exporter = Exporter(self._caller, measured)
            self._exporting = self._loop.create_task(self._exporter.run(), name="forebay-exporter")

    async def _wait_until_declared(self, answers: list[tuple[object, asyncio.Future[bytes]]]) -> None:
        """Wait until the engine has taken the declarations. The owner may leave just then: they go to its successor, too."""
        gives_up_at = self._loop.time() + GIVE_UP_SECONDS
        while True:
            results = await asyncio.gather(*(answer for _, answer in answers), return_exceptions=True)
            errors = refusals([item for item, _ in answers], results)
            if not errors:
                return
            left = all(isinstance(error, OwnerLost) for error in errors)
            if not left or self._reconnecting is None or self._loop.time() > gives_up_at:
                raise errors[0]
            await asyncio.sleep(POLL_SECONDS)
            answers = self._add_sources()

    def _declare_all(self) -> list[tuple[object, asyncio.Future[bytes]]]:
        """Declare everything to an engine that is new. A client declares its sources, and offers its functions to the owner."""
        declared, engine = self._declared, self.runner.engine
        declared.take_new()
        if engine is not None and engine.role == "standby":
            self._shared.tell_why(self._caller)
            return []  # declared when this process owns the store, or is a client of an owner
        answers = self._add_sources()
        self._declare_wanted()
        self.emit_events()
        if engine is not None and self._shared.runs_for_owner(engine):
            self._handlers.run_for_owner(engine)
        if engine is not None and self._runs:
            declared.tell_of_missing_functions()
            for function in tuple(declared.functions.values()):
                for version in (function, *function.versions.values()):
                    self._handlers.add_function(engine, version)
            for destination in tuple(declared.api_destinations.values()):
                self._handlers.add_api_destination(engine, destination)
            answers += [(alias, self._add_alias(alias)) for alias in tuple(declared.aliases.values())]
            answers += [(mapping, self._add_mapping(mapping)) for mapping in tuple(declared.mappings.values())]
            answers += self._add_subscriptions("function")
            answers += [(api, self._add_api(api)) for api in declared.all_apis()]
            if declared.stacks is not None:
                declared.stacks.declare(self)
            answers += [(rest, self._deploy(rest)) for rest in declared.rest_apis.values()]
            engine.start()
        return answers

    def register(self, function: DeployedFunction) -> None:
        """Have a function of a stack run from now on; what it runs already it runs by the new code as soon as that is there."""
        engine = self.runner.engine
        if engine is None:
            raise AppClosed(f"app {self._settings.name!r} is not running")
        self.runner.listen_to_processes()
        engine.function(payload.dumps(self.registration(function)))

    def registration(self, function: DeployedFunction) -> dict[str, Any]:
        """Describe a function of a stack to the engine."""
        return registration(function, self._settings, self._handlers.log_stream(function.version))

    def request(self, verb: str, fields: dict[str, Any]) -> asyncio.Future[bytes]:
        """Ask the engine, for a stack."""
        return self._caller.request(verb, **fields)

    def _declare_all_again(self) -> None:
        engine = self.runner.engine
        if engine is not None:
            self._shared.tell_role(engine)
        if self._runs:
            self._declared.as_declared()  # whoever made the changes that end here with the owner that is gone
            served.keep(self._settings, self._http, self._declared, self._caller)
        for item, answer in self._declare_all():
            self._check_answer(item, answer)

    def _metrics_text(self, engine: Engine) -> str:
        """Say where the metrics are; only the owner serves them, and who never owns the store never does."""
        where = self._metrics.page
        if where is None or self._settings.serve is False:
            return ""
        if engine.role == "owner":
            return f", metrics on {where}"
        if self._settings.is_on_server:
            return f": the owner serves the metrics, and this process does so on {where} when it owns the store"
        return f": another process owns it and serves its metrics, if any; this one does so on {where} when it owns the store"

    @property
    def _runs(self) -> bool:
        """Whether this process runs the handlers."""
        engine = self.runner.engine
        return engine is not None and engine.role == "owner" and self._settings.serve is not False

    def declare_soon(self) -> None:
        """Tell the engine of new functions and mappings when the loop comes to it, or before the next call to the engine."""
        self._caller.declare_first(self._declare_new)
        self._loop.call_soon_threadsafe(self._caller.declare_now)

    def _declare_new(self) -> None:
        engine = self.runner.engine
        refused: list[ForebayError] = []
        items = self._declared.take_new() if engine is not None else []
        if engine is not None and engine.role == "standby":
            return
        if any(isinstance(item, Mapping) for item in items):
            self._declare_wanted()
        for item in items:
            try:
                self._declare_one(item)
            except ForebayError as error:
                refused.append(error)  # the others are declared all the same
        for other in refused[1:]:
            log.error("a declaration failed: %s", other)
        if refused:
            raise refused[0]

    def _declare_wanted(self) -> None:
        """Tell the owner which mappings this client declares: it knows which of them nobody handles."""
        engine, mappings = self.runner.engine, tuple(self._declared.mappings.values())
        if engine is None or engine.role != "client" or not mappings:
            return
        named = [{mapping.kind: mapping.source, "function": mapping.function.name} for mapping in mappings]
        self._caller.request("mapping.wanted", mappings=named).add_done_callback(self._warn_unhandled)

    def _warn_unhandled(self, answer: asyncio.Future[bytes]) -> None:
        """Say which mappings nobody handles. An owner that leaves, or is of an earlier release, does not tell."""
        if answer.cancelled() or answer.exception() is not None:
            return
        answered = payload.loads(answer.result())
        for wanted in answered["unhandled"]:
            source = wanted.get("stream") or wanted["queue"]
            log.warning(
                "mapping %s/%s is declared here, and nothing handles it: this process is a client of store %s, and the program "
                "that owns it (app %r) does not declare the mapping. Declare it there too, or give this app a store of its own",
                source,
                wanted["function"],
                self._settings.place,
                answered["app"],
            )

    def _declare_one(self, item: Declarable) -> None:
        engine, runs = self.runner.engine, self._runs
        if isinstance(item, RuleSettings | ScheduleSettings | ArchiveSettings):
            self._check_answer(item, self._add_events_of(item))
        elif isinstance(item, Subscription) and (runs or item.kind == "queue"):
            self._check_answer(item, self._add_subscription(item))
        elif isinstance(item, Function) and engine is not None and (runs or self._shared.runs_for_owner(engine)):
            self._handlers.add_function(engine, item)
        elif engine is None or not runs:
            return  # declared when this process takes over
        elif isinstance(item, ApiDestination):
            self._handlers.add_api_destination(engine, item)
        elif isinstance(item, Alias):
            self._check_answer(item, self._add_alias(item))
        elif isinstance(item, Mapping):
            self._check_answer(item, self._add_mapping(item))
        elif isinstance(item, DeclaredApi | UrlOf):
            self._check_answer(item, self._add_api(item))

    def emit_events(self) -> None:
        """Tell the engine whether what happens is put on the default bus."""
        if self._runs and self._caller.is_open:
            wanted = self._declared.emit_events
            self._check_answer("emit_events", self._caller.request("bus.emit", wanted=wanted))

    def declare_source(self, source: Source) -> None:
        """Declare a stream, a queue, a topic, a registry, a bus or a workflow while the app runs; from a thread, wait for it."""
        verb, fields = _declaration(source)
        if isinstance(source, Workflow) and self._declared.integrations and self._runs:
            self._add_integrations(self._declared.integrations)
        if threading.get_ident() == self._thread:
            answer = self._caller.request(verb, **fields)
            self._check_answer(source, answer)
            source.declaring(answer)
        else:
            self._caller.ask_sync(verb, **fields)

    # --- declarations

    def _add_sources(self) -> list[tuple[object, asyncio.Future[bytes]]]:
        declared = self._declared
        sources: list[Source] = [
            *declared.streams.values(),
            *declared.queues_in_order(),
            *declared.topics.values(),
            *declared.registries.values(),
            *declared.buses.values(),
            *declared.activities.values(),
            *declared.workflows.values(),
        ]
        events: list[RuleSettings | ScheduleSettings | ArchiveSettings] = [
            *(archive.settings for archive in declared.archives.values()),
            *declared.rules.values(),
            *declared.schedules.values(),
        ]
        integrations = declared.integrations
        return [
            *((one, self._add_integrations(one)) for one in (integrations,) if one and self._runs),
            *((source, self._add_source(source)) for source in sources),
            *((one, self._add_events_of(one)) for one in events),
            *self._add_subscriptions("queue"),
        ]

    def _add_integrations(self, integrations: Integrations) -> asyncio.Future[bytes]:
        return self._caller.request("integration.declare", **integrations.declaration)

    def _add_source(self, source: Source) -> asyncio.Future[bytes]:
        declared, (verb, fields) = self._declared, _declaration(source)
        # What else is declared may need it, and is asked for next: then it must be there.
        is_needed = declared.subscriptions or declared.rules or declared.schedules
        if self._runs or is_needed or not source.is_bare:
            return self._caller.request(verb, **fields)
        return self._loop.create_task(self._declare_unless_there(verb, fields))

    async def _declare_unless_there(self, verb: str, fields: dict[str, Any]) -> bytes:
        """Take a stream or a queue as it is, where this client names no setting: defaults would undo what its owner declares."""
        try:
            return await self._caller.request(f"{verb.partition('.')[0]}.describe", name=fields["name"])
        except ResourceNotFound:
            return await self._caller.request(verb, **fields)

    def _add_events_of(self, one: RuleSettings | ScheduleSettings | ArchiveSettings) -> asyncio.Future[bytes]:
        if isinstance(one, ArchiveSettings):
            return self._caller.request("archive.put", **wire_bus.archive(one))
        if isinstance(one, RuleSettings):
            return self._caller.request("rule.put", **wire_bus.rule(one))
        return self._caller.request("schedule.put", **wire_bus.schedule(one))

    def _add_subscriptions(self, kind: str) -> list[tuple[object, asyncio.Future[bytes]]]:
        given = tuple(self._declared.subscriptions.values())
        return [(one, self._add_subscription(one)) for one in given if one.kind == kind]

    def _add_subscription(self, subscription: Subscription) -> asyncio.Future[bytes]:
        return self._caller.request("topic.subscribe", **wire_topic.settings(subscription))

    def _add_alias(self, alias: Alias) -> asyncio.Future[bytes]:
        return self._caller.request("alias.declare", **asdict(alias.settings))

    def _add_api(self, api: DeclaredApi[Any] | UrlOf) -> asyncio.Future[bytes]:
        definition = (
            api.definition()
            if isinstance(api, DeclaredApi)
            else wire_gateway.function_url(api.function, api.url.cors, api.url.auth)
        )
        return self._caller.request("api.declare", definition=definition)

    def _deploy(self, rest: RestApi) -> asyncio.Future[bytes]:
        """Bring the methods of a REST API's handlers to its stage, where they are not what it serves."""

        async def deploy() -> bytes:
            await rest.deploy_if_changed()
            return b"{}"

        return self._loop.create_task(deploy(), name=f"forebay-deploy-{rest.name}")

    def _check_answer(self, item: object, answer: asyncio.Future[bytes]) -> None:
        """Log it when the engine refuses a declaration; an alias that it refuses is no longer declared."""

        def check(answer: asyncio.Future[bytes]) -> None:
            _log_if_failed(item, answer)
            error = None if answer.cancelled() else answer.exception()
            if isinstance(item, Alias) and isinstance(
                error, InvalidParameterValue | ResourceConflict | ResourceNotFound
            ):
                self._declared.drop_alias(item, error)

        answer.add_done_callback(check)

    def _add_mapping(self, mapping: Mapping) -> asyncio.Future[bytes]:
        mapping.follow(self)
        fields = wire_mapping.settings(mapping.settings, self.prepare(mapping))
        source = {mapping.kind: mapping.source}
        answer = self._caller.request("mapping.declare", **source, function=mapping.function.name, **fields)
        answer.add_done_callback(partial(self._warn_if_paused, mapping))
        return answer

    def _warn_if_paused(self, mapping: Mapping, answer: asyncio.Future[bytes]) -> None:
        """Say that a mapping is held by a pause from before this start: it looks like an app that does nothing."""
        failed = answer.cancelled() or answer.exception() is not None
        if failed or not mapping.declared.enabled or payload.loads(answer.result())["state"] == "Enabled":
            return
        source, function = mapping.source, mapping.function.name
        queue = " --queue" if mapping.kind == "queue" else ""
        # The URL is shown without its user: whoever has it gives it by FOREBAY_STORE.
        store = "" if self._settings.is_on_server else f" --store {self._settings.place}"
        command = f"forebay mapping resume {source} {function}{queue}{store}"
        log.warning("mapping %s/%s is still paused; to go on: %s", source, function, command)

    def prepare(self, mapping: Mapping) -> str | None:
        """Make the runtime fit a mapping's settings; give the name of its destination."""
        engine = self.runner.engine
        if engine is not None and self._runs:
            self._handlers.apply_settings(engine, mapping)
        return self._handlers.name_destination(mapping)

    # --- the end

    def hurry(self, grace: float) -> None:
        """End no later than so many seconds from now."""
        self._stop_by = min(self._stop_by, self._loop.time() + grace)

    async def end(self, grace: float) -> None:
        """Drain within the grace, interrupt what is left, and close."""
        await self._stop_reconnecting()
        engine, clock = self.runner.engine, self._clock
        if engine is not None:
            while not engine.drain():  # noqa: ASYNC110  requests of APIs are on their way, and no event tells of their end
                await asyncio.sleep(POLL_SECONDS)
            self.hurry(grace)
            idle = engine.idle
            drained = await (clock.run_until(idle, grace) if isinstance(clock, ManualClock) else self._until(idle))
            await self._until(self._declared.are_answered)
            if not drained:
                await self._interrupt()
        elif list(self.runner.attempts()):  # the store was lost: they were interrupted then, and may be tidying up
            self.hurry(grace)
            await self._attempts_end()
        if self._state_spans is not None:
            await self._state_spans.finish()
        await self._stop_exporting()
        self.close()
        if self._declared.stacks is not None:
            await self._declared.stacks.end()
        self._declared.close_by(min(self._stop_by, self._loop.time() + grace))

    async def _stop_exporting(self) -> None:
        if self._exporting is not None and self._exporter is not None:
            self._exporting.cancel()
            await asyncio.gather(self._exporting, return_exceptions=True)
            # When the owner is gone, the levels are gone with it.
            with contextlib.suppress(ForebayError, TimeoutError):
                async with asyncio.timeout(INTERRUPT_SECONDS):
                    await self._exporter.close()

    async def _stop_reconnecting(self) -> None:
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)

    async def _interrupt(self) -> None:
        self._stop_by = self._loop.time() + INTERRUPT_SECONDS
        self.runner.tell_late()
        self.runner.interrupt()
        await self._attempts_end()

    async def _attempts_end(self) -> None:
        if not await self._until(lambda: not list(self.runner.attempts())):
            log.warning(UNENDED, ", ".join(map(str, self.runner.attempts())))
        self.runner.flush()

    async def _until(self, done: Callable[[], bool]) -> bool:
        while not (is_done := done()) and self._loop.time() < self._stop_by:  # noqa: ASYNC110  anything may be asked for
            await asyncio.sleep(POLL_SECONDS)
        return is_done

    def close(self) -> None:
        """Let go of everything, at once."""
        self._caller.cut()
        for task in (self._reconnecting, self._exporting):
            if task is not None:
                task.cancel()
        for mapping in tuple(self._declared.mappings.values()):
            mapping.follow(None)
        engine = self.runner.engine
        self.runner.close()
        self.runner.pool.close()
        if engine is not None:
            engine.close()
        self._shared.leave()
        self._made.close()
        if self._state_spans is not None:
            self._state_spans.close()
        self._handlers.close()
        if self._declared.stacks is not None:
            self._declared.stacks.close()

    def forked(self) -> None:
        """Refuse everything in the child of a fork: the store, the connection and the loop are its parent's."""
        self._caller.cut("the app was opened by the process that this one was forked from: open one here")
        self.runner.forget()

    async def store_failure(self) -> ForebayError:
        """Wait until the store fails; give the reason."""
        try:
            return await asyncio.shield(self.runner.store_failure)
        except asyncio.CancelledError:
            if self.runner.store_failure.cancelled():
                raise AppClosed("the app was stopped") from None
            raise


def _declaration(source: Source) -> tuple[str, dict[str, Any]]:
    """Give the verb that declares a source, and its fields."""
    if isinstance(source, Bus):
        return "bus.declare", source.settings.fields()
    if isinstance(source, Registry):
        return "registry.put", asdict(source.settings)
    if isinstance(source, Workflow):
        return "workflow.declare", asdict(source.settings)
    if isinstance(source, Topic | Activity):
        kind = "topic" if isinstance(source, Topic) else "activity"
        return f"{kind}.declare", {"name": source.name}
    if isinstance(source, Queue):
        return "queue.declare", wire_queue.settings(source.settings)
    return "stream.declare", _stream_fields(source.settings)


def _stream_fields(given: StreamSettings) -> dict[str, Any]:
    return {
        "name": given.name,
        "shards": given.shards,
        "retention_ms": wire_mapping.milliseconds(given.retention),
        "retention_bytes": given.retention_bytes,
    }


def _log_if_failed(what: object, answer: asyncio.Future[Any]) -> None:
    error = None if answer.cancelled() else answer.exception()
    if error is not None:
        log.error("%r failed: %s", what, error)
