"""What an app declares: functions, streams, queues, topics, mappings. Knows what may be declared twice; starts nothing."""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from forebay._app import missing_functions
from forebay._app.declared_apis import DeclaredApis
from forebay._app.declared_events import DeclaredEvents
from forebay._app.versions import handler_of_version, settings_of_version
from forebay._core import check_limits
from forebay._model import checks, limits, names
from forebay._model.alias import AliasSettings
from forebay._model.asynchronous import DESTINATIONS, AsynchronousSettings
from forebay._model.queue import QueueMappingSettings, QueueSettings
from forebay._model.settings import FunctionSettings, StreamSettings
from forebay._model.topic import Subscription, TopicSettings
from forebay._runtime import inspection
from forebay.alias import Alias
from forebay.errors import ForebayError, InvalidParameterValue, ResourceConflict, ResourceNotFound
from forebay.function import Function
from forebay.mapping import Mapping, check_destination
from forebay.queue import Queue
from forebay.stream import Stream
from forebay.topic import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Mapping as MappingOf
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from forebay._api import DeclaredApi
    from forebay._app.deployed import Stacks
    from forebay._model.archive import ArchiveSettings
    from forebay._model.bus import RuleSettings, ScheduleSettings
    from forebay._model.checks import Seconds
    from forebay._model.gateway import UrlOf
    from forebay._model.mapping import MappingSettings
    from forebay._model.settings import AppSettings
    from forebay._model.workflow import WorkflowType
    from forebay._runtime.caller import Caller
    from forebay.activity import Activity
    from forebay.api_destination import ApiDestination
    from forebay.integrations import Integration, Objects
    from forebay.integrations.serve import Integrations
    from forebay.workflow import Workflow

    Declarable = (
        Function[..., Any]
        | Alias
        | Mapping
        | Subscription
        | RuleSettings
        | ScheduleSettings
        | ArchiveSettings
        | ApiDestination
        | DeclaredApi[Any]
        | UrlOf
    )
    """What is declared to a running engine."""

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("forebay.app")

_RESULTS: Final = 100


class Declarations(DeclaredApis, DeclaredEvents):
    """Everything that was declared in one app.

    Threads declare and forget while the event loop looks: whoever goes through one of these takes a tuple of it first.
    """

    def __init__(self, settings: AppSettings, caller: Caller, on_new: Callable[[], None]) -> None:
        super().__init__()
        self.settings = self.declared = settings
        self._caller = caller
        self._on_new = on_new
        self.functions: dict[str, Function[..., Any]] = {}
        self.aliases: dict[tuple[str, str], Alias] = {}
        self.streams: dict[str, Stream] = {}
        self.queues: dict[str, Queue] = {}
        self.topics: dict[str, Topic] = {}
        self.workflows: dict[str, Workflow] = {}
        self.activities: dict[str, Activity] = {}
        self.integrations: Integrations | None = None
        self._making = threading.Lock()
        self.subscriptions: dict[tuple[str, str, str], Subscription] = {}
        self.mappings: dict[tuple[str, Function[..., Any]], Mapping] = {}
        self.attached: list[AbstractAsyncContextManager[Any]] = []
        self.stacks: Stacks | None = None
        self._default_settings: set[Function[..., Any]] = set()
        self._new: list[Declarable] = []

    def __repr__(self) -> str:
        return f"<declarations of app {self.settings.name!r}>"

    def tell_of_missing_functions(self) -> None:
        """Log which functions workflows call and nobody declares. Those of stacks are deployed later."""
        found = missing_functions.missing(tuple(self.workflows.values()), self.functions) if self.stacks is None else {}
        for workflow, unknown in found.items():
            text = "workflow %r calls functions that this app does not declare: %s; tasks that call them fail"
            log.warning(text, workflow, ", ".join(unknown))

    def take_new(self) -> list[Declarable]:
        """Give the functions, versions, aliases, mappings and subscriptions that came since the last call, in order."""
        new, self._new = self._new, []
        return new

    def function(
        self,
        handler: Callable[P, R],
        name: str | None,
        timeout: Seconds,
        isolation: str | None,
        asynchronous: AsynchronousSettings,
        **more: Any,
    ) -> Function[P, R]:
        """Declare a function. A mapping below it in the same stack of decorators made it already, with default settings."""
        known = self._known(handler)
        bare: Callable[P, R] = known.handler if known is not None else handler
        for option in DESTINATIONS:
            check_destination(getattr(asynchronous, option), known, self, option)
        settings = FunctionSettings(
            name=name if name is not None else inspection.default_name(bare),
            timeout=timeout,  # type: ignore[arg-type]
            isolation=inspection.isolation(bare, isolation),
            asynchronous=asynchronous,
            **more,
        )
        if known is None:
            return self._add(bare, settings)
        self._check_limits(settings, instead_of=known)
        is_open = known in self._new and not known.versions and not self.aliases_of(known)
        if known in self._default_settings and is_open:
            self._default_settings.discard(known)
            del self.functions[known.name]
            self._take_name(settings.name, bare)
            self.functions[settings.name] = known
            known.declare(settings, self._arn(settings.name))
        elif known.declared != settings:
            raise ResourceConflict(f"function {known.name!r} is already declared, with other settings")
        return known

    def command(self, settings: FunctionSettings) -> Function[..., Any]:
        """Declare a function that another program runs."""
        known = self.functions.get(settings.name)
        if known is None:
            return self._add(_no_handler(settings.name), settings)
        if known.declared != settings:
            raise ResourceConflict(f"function {settings.name!r} is already declared, with other settings")
        return known

    def publish(
        self,
        function: Function[..., Any],
        handler: Callable[..., Any] | None,
        number: int | None,
        given: dict[str, Any],
    ) -> str:
        """Publish a version of a function; give its number, which is the last one's where nothing has changed since."""
        if self.functions.get(function.name) is not function:
            raise InvalidParameterValue(f"function {function.name!r} belongs to another app, or is a version itself")
        bare = handler_of_version(function, handler)
        is_process = function.settings.isolation == "process"
        settings = settings_of_version(function, bare, given)
        provisioned = settings.provisioned_concurrency
        last = next(reversed(function.versions.values()), None)
        highest = 0 if last is None else int(last.version)
        if last is not None and last.handler is bare and number in {None, highest}:
            if last.declared == settings:
                return last.version
            if dataclasses.replace(last.declared, provisioned_concurrency=provisioned) == settings:
                raise ResourceConflict(
                    f"version {highest} of function {function.name!r} is already published, with provisioned_concurrency="
                    f"{last.declared.provisioned_concurrency}, and nothing else has changed since"
                )
        if is_process and settings.command is None and self._caller.is_open and function not in self._new:
            raise InvalidParameterValue(
                f"function {function.name!r} runs in processes, which know the versions that the module has when it is "
                "imported: publish them there, before the app starts"
            )
        if number is not None:
            checks.integer("number", number, low=highest + 1, high=limits.VERSION_MAX)
        self._check_limits(function.declared, function, more=provisioned)
        number = highest + 1 if number is None else number
        version = Function(bare, settings, function.arn, self._caller, self, version=str(number), latest=function)
        function.versions[version.version] = version
        self._new.append(version)
        self._on_new()
        return version.version

    def alias(self, function: object, given: dict[str, Any]) -> Alias:
        """Declare an alias, or give the one that was declared."""
        if not isinstance(function, Function) or self.functions.get(function.name) is not function:
            checks.refuse("function", function, "a function of this app")
        settings = AliasSettings(function=function.name, **given)
        known = self.aliases.get((function.name, settings.name))
        if known is not None and known.declared != settings:
            raise ResourceConflict(f"Alias already exists: {known.arn}")
        if known is not None:
            return known
        for version, share in settings.shares().items():
            known_version = function if version == names.LATEST else function.versions.get(version)
            if known_version is None:
                raise ResourceNotFound(f"Function not found: {function.arn}:{version}")
            try:
                # Refuses what the version could not have by itself.
                dataclasses.replace(known_version.declared, provisioned_concurrency=share)
            except InvalidParameterValue as error:
                raise InvalidParameterValue(f"alias {settings.name!r} on version {version}: {error}") from None
        self._check_provisioned_once(function, settings)
        self._check_limits(function.declared, function, more=settings.provisioned_concurrency)
        alias = self.aliases[function.name, settings.name] = Alias(function, settings, self._caller)
        self._new.append(alias)
        self._on_new()
        return alias

    def aliases_of(self, function: Function[..., Any]) -> list[Alias]:
        """Give a function's aliases."""
        return [alias for alias in tuple(self.aliases.values()) if alias.function is function]

    def drop_alias(self, alias: Alias, refusal: ForebayError) -> None:
        """Have an alias that the running engine refused no longer declared."""
        if self.aliases.get((alias.function.name, alias.name)) is alias:
            del self.aliases[alias.function.name, alias.name]
        alias.refused = refusal

    def _check_provisioned_once(self, function: Function[..., Any], settings: AliasSettings) -> None:
        provisioned = {of.version for of in function.versions.values() if of.declared.provisioned_concurrency}
        for alias in self.aliases_of(function):
            if alias.declared.provisioned_concurrency:
                provisioned |= alias.declared.shares().keys()
        if settings.provisioned_concurrency and provisioned & settings.shares().keys():
            raise ResourceConflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            )

    def on_stream(self, handler: Callable[P, R], stream: str, settings: MappingSettings) -> Function[P, R]:
        """Bind a stream to a handler's function; make the function with default settings if there is none."""
        known = self._known(handler)
        check_destination(settings.on_failure, known, self)
        arn = names.stream_arn(self.settings.region, self.settings.account, stream)
        return self._bind(handler, known, (stream, arn), settings)

    def on_queue(self, handler: Callable[P, R], queue: str, settings: QueueMappingSettings) -> Function[P, R]:
        """Bind a queue to a handler's function; make the function with default settings if there is none."""
        arn = names.queue_arn(self.settings.region, self.settings.account, queue)
        return self._bind(handler, self._known(handler), (queue, arn), settings)

    def bound_function(self, handler: Callable[P, R]) -> Function[P, R]:
        """Give a handler's function; make it with default settings if there is none."""
        known = self._known(handler)
        if known is None:
            known = self._with_defaults(handler)
            self._on_new()
        return known

    def _with_defaults(self, handler: Callable[P, R]) -> Function[P, R]:
        isolation = inspection.isolation(handler, None)
        own_name = inspection.default_name(handler)
        defaults = FunctionSettings(name=own_name, timeout=limits.TIMEOUT_SECONDS_DEFAULT, isolation=isolation)
        function = self._add(handler, defaults)
        self._default_settings.add(function)
        return function

    def _bind(
        self,
        handler: Callable[P, R],
        function: Function[P, R] | None,
        source: tuple[str, str],
        settings: MappingSettings | QueueMappingSettings,
    ) -> Function[P, R]:
        name, arn = source
        if function is None:
            function = self._with_defaults(handler)
        known = self.mappings.get((arn, function))
        if known is None:
            mapping = Mapping(name, function, settings, self._caller, self)
            self.mappings[arn, function] = mapping
            self._new.append(mapping)
        elif known.declared != settings and isinstance(settings, QueueMappingSettings):
            raise ResourceConflict(
                f'An event source mapping with SQS arn (" {arn} ") and function (" {function.name} ") already exists. '
                "Please update or delete the existing mapping",
            )
        elif known.declared != settings:
            raise ResourceConflict(
                f'The event source arn (" {arn} ") and function (" {function.name} ") provided mapping already exists. '
                "Please update or delete the existing mapping",
            )
        return function

    def stream(self, name: str, given: dict[str, Any]) -> tuple[Stream, bool]:
        """Declare a stream with the settings that were given; tell whether it is new."""
        settings = StreamSettings(name=name, **given)
        known = self.streams.get(name)
        if known is None:
            arn = names.stream_arn(self.settings.region, self.settings.account, name)
            known = self.streams[name] = Stream(settings, arn, self._caller)
            known.is_bare = not given
            return known, True
        _refuse_others(f"stream {name!r}", known.settings, settings, given)
        return known, False

    def queue(self, name: str, given: dict[str, Any]) -> tuple[Queue, bool]:
        """Declare a queue with the settings that were given; tell whether it is new."""
        settings = QueueSettings(name=name, **given)
        known = self.queues.get(name)
        has_target = "dead_letter_queue" in given or (
            known is not None and known.settings.dead_letter_queue is not None
        )
        if "maximum_receive_count" in given and not has_target:
            checks.refuse(
                "maximum_receive_count",
                given["maximum_receive_count"],
                "it says when a message goes to the dead-letter queue, and there is none: give dead_letter_queue, too",
            )
        if known is None:
            arn = names.queue_arn(self.settings.region, self.settings.account, name)
            known = self.queues[name] = Queue(settings, arn, self._caller, self._forget_queue)
            known.is_bare = not given
            return known, True
        _refuse_others(f"queue {name!r}", known.settings, settings, given)
        return known, False

    def _forget_queue(self, queue: Queue) -> None:
        """Have a deleted queue no longer declared. Mappings on it could not start without it, so they go, too."""
        if self.queues.get(queue.name) is queue:
            del self.queues[queue.name]
            for key, mapping in tuple(self.mappings.items()):
                if mapping.queue == queue.name:
                    del self.mappings[key]

    def topic(self, name: str, on_new: Callable[[], None]) -> tuple[Topic, bool]:
        """Declare a topic, which calls `on_new` when something is subscribed; tell whether it is new."""
        settings = TopicSettings(name=name)
        known = self.topics.get(name)
        if known is None:
            arn = names.topic_arn(self.settings.region, self.settings.account, name)
            known = self.topics[name] = Topic(settings, arn, self._caller, self, on_new)
            return known, True
        return known, False

    def workflow(
        self,
        name: str,
        definition: MappingOf[str, Any] | str | Path,
        type_: WorkflowType,
        substitutions: MappingOf[str, object],
        **more: Any,
    ) -> tuple[Workflow, bool]:
        """Declare a workflow; tell whether it is new."""
        from forebay._model.workflow import WorkflowSettings, definition_text
        from forebay.integrations.offered import check_sdk
        from forebay.workflow import Workflow

        region, account = self.settings.region, self.settings.account
        text = definition_text(definition, substitutions, names.function_arn(region, account, ""))
        settings = WorkflowSettings(name=name, definition=text, type=type_, **more)
        self.integrate_plugins(text)
        try:
            check_sdk(text, self._integrations())
        except InvalidParameterValue as error:
            raise checks.placed(error, f"workflow {name!r}") from error
        known = self.workflows.get(name)
        if known is None:
            arn = names.workflow_arn(region, account, name)
            known = self.workflows[name] = Workflow(settings, arn, self._caller)
            known.integrations = self.integrations
            return known, True
        if known.settings != settings:
            raise ResourceConflict(f"workflow {name!r} is already declared, otherwise: give one of them another name")
        return known, False

    def _integrations(self) -> Integrations:
        from forebay.integrations.serve import Integrations

        with self._making:
            if self.integrations is None:
                self.integrations = Integrations(self._map_results)
            return self.integrations

    def integrate(self, integration: Integration | Objects) -> None:
        """Take an integration, and declare the function that makes its calls."""
        from forebay.integrations.serve import FUNCTION

        integrations = self._integrations()
        integrations.add(integration)
        if FUNCTION not in self.functions:
            handle = integrations.handle
            self.function(handle, FUNCTION, 900, "task", AsynchronousSettings())

    def integrate_plugins(self, text: str) -> None:
        """Take what packages offer for the services that a definition names, and that nothing calls yet."""
        from forebay.integrations.offered import offered

        for service, make in offered(text, self._integrations().has):
            try:
                self.integrate(make())
            except InvalidParameterValue as error:
                raise checks.placed(error, f"a task of the definition calls {service}") from error

    async def _map_results(self, number: int, after: int | None) -> dict[str, Any]:
        page = await self._caller.ask("map_run.results", map_run=number, limit=_RESULTS, after=after)
        return dict(page)

    def activity(self, name: str) -> tuple[Activity, bool]:
        """Declare an activity; tell whether it is new."""
        from forebay._model.workflow import ActivitySettings
        from forebay.activity import Activity

        known = self.activities.get(name)
        if known is not None:
            return known, False
        arn = names.activity_arn(self.settings.region, self.settings.account, name)
        known = self.activities[name] = Activity(ActivitySettings(name=name), arn, self._caller)
        return known, True

    def subscribe(self, subscription: Subscription) -> None:
        """Declare a subscription."""
        key = (subscription.topic, subscription.kind, subscription.endpoint)
        endpoints = self.queues if subscription.kind == "queue" else self.functions
        if subscription.endpoint not in endpoints:
            raise InvalidParameterValue(
                f"endpoint: {subscription.kind} {subscription.endpoint!r} belongs to another app"
            )
        known = self.subscriptions.setdefault(key, subscription)
        if known != subscription:
            raise ResourceConflict(
                "Invalid parameter: Attributes Reason: Subscription already exists with different attributes "
                f"({subscription.kind} {subscription.endpoint!r}, topic {subscription.topic!r})"
            )
        self._new.append(subscription)

    def forget(self, topic: str, kind: str, endpoint: str) -> None:
        """Have a subscription no longer declared."""
        self.subscriptions.pop((topic, kind, endpoint), None)

    def queues_in_order(self) -> list[Queue]:
        """Give the queues, every dead-letter queue before those that use it."""
        ordered: dict[str, Queue] = {}

        def add(queue: Queue, above: tuple[str, ...] = ()) -> None:
            target = self.queues.get(queue.settings.dead_letter_queue or "")
            if target is not None and target.name not in ordered and target.name not in above:
                add(target, (*above, queue.name))
            ordered.setdefault(queue.name, queue)

        for queue in tuple(self.queues.values()):
            add(queue)
        return list(ordered.values())

    def _known(self, handler: Callable[P, R]) -> Function[P, R] | None:
        if not isinstance(handler, Function):
            inspection.check_handler(handler)
            return None
        if handler.latest is not handler:
            checks.refuse("handler", handler, "it is a version: a decorator is the function's")
        if self.functions.get(handler.name) is not handler:
            raise InvalidParameterValue(f"handler={handler!r}: belongs to another app")
        return handler

    def _add(self, handler: Callable[P, R], settings: FunctionSettings) -> Function[P, R]:
        self._check_limits(settings)
        self._take_name(settings.name, handler)
        function = Function(handler, settings, self._arn(settings.name), self._caller, self)
        self.functions[settings.name] = function
        self._new.append(function)
        return function

    def as_declared(self) -> None:
        """Forget what was changed while the app ran."""
        for function in tuple(self.functions.values()):
            for version in (function, *function.versions.values()):
                version.as_declared()
        for alias in tuple(self.aliases.values()):
            alias.as_declared()
        for mapping in tuple(self.mappings.values()):
            mapping.as_declared()
        self.settings = self.declared

    def _check_limits(self, new: FunctionSettings, instead_of: Function[..., Any] | None = None, more: int = 0) -> None:
        """Refuse to promise more concurrency than there is; `more`: that of one more version or alias."""
        others = [function for function in tuple(self.functions.values()) if function is not instead_of]
        promised = [self._promised(function.declared, function) for function in others]
        reserved, provisioned = self._promised(new, instead_of)
        promised.append((reserved, provisioned + more))
        check_limits(self.declared.concurrency, self.declared.unreserved_minimum, promised)

    def _promised(self, settings: FunctionSettings, function: Function[..., Any] | None) -> tuple[int | None, int]:
        """Give what a function has reserved, and what it has provisioned over all its versions and aliases."""
        more: list[FunctionSettings | AliasSettings] = []
        if function is not None:
            more += [version.declared for version in function.versions.values()]
            more += [alias.declared for alias in self.aliases_of(function)]
        provisioned = sum(each.provisioned_concurrency for each in more)
        return settings.reserved_concurrency, settings.provisioned_concurrency + provisioned

    def _take_name(self, name: str, handler: Callable[..., Any]) -> None:
        holder = self.functions.get(name)
        if holder is not None and holder.handler is not handler:
            where = f"{getattr(holder, '__module__', '?')}.{getattr(holder, '__qualname__', name)}"
            raise ResourceConflict(f"function {name!r} is already declared, by {where}: give one of them another name")
        if holder is not None:
            raise ResourceConflict(
                f"function {name!r} is already declared for this handler: put its decorators one above "
                "the other, or give the second one what the first one has returned"
            )

    def _arn(self, name: str) -> str:
        return names.function_arn(self.settings.region, self.settings.account, name)


def _no_handler(name: str) -> Callable[[Any, Any], Any]:
    def handler(_event: Any, _context: Any) -> Any:
        raise ForebayError(f"function {name!r} is a command and cannot be called here: await its invoke()")

    handler.__name__ = handler.__qualname__ = name
    return handler


def _refuse_others(what: str, known: object, settings: object, given: Iterable[str]) -> None:
    """Refuse the options that were given, if they differ from what is declared."""
    for option in given:
        before, now = getattr(known, option), getattr(settings, option)
        if before != now:
            raise ResourceConflict(f"{what} is already declared with {option}={before!r}, not {now!r}")
