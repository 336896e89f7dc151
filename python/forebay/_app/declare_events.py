"""The part of an app in which event buses, their rules and schedules are declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast

from forebay._model import checks, limits
from forebay.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from forebay._app.declarations import Declarations
    from forebay._app.run import AppRun
    from forebay._model.api_destination import Secret
    from forebay._model.bus import CatchUp, Recipient
    from forebay._model.checks import Seconds
    from forebay._model.connection import ClientCredentials
    from forebay.api_destination import ApiDestination
    from forebay.bus import Bus, EventTarget
    from forebay.function import Function
    from forebay.queue import Queue

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT = "default"


class DeclaresEvents:
    """What `App` can do with event buses and schedules."""

    _declared: Declarations
    _running: AppRun | None

    if TYPE_CHECKING:

        def _declare_soon(self) -> None: ...

    def bus(
        self, name: str = DEFAULT, *, discovery: bool | None = None, enforce: Registry | str | bool | None = None
    ) -> Bus:
        """Declare an event bus, or give the one that was declared.

        Args:
            name: 1 to 256 letters, digits, '/', '.', '-' and '_'; "default" always exists.
            discovery: whether the registry "discovered-schemas" learns from its events; None: as before, and at first not.
            enforce: a registry, or its name: an event that does not fit its schema there is refused, as a failed entry. True:
                its schema in whatever registry has one, in those of the app first. False: none. None: as before, and at first
                none. An event of a kind that has no schema is accepted.

        Raises:
            InvalidParameterValue: a name that no bus can have.
            ResourceConflict: the bus is already declared, with other settings.

        """
        registry = enforce.name if isinstance(enforce, Registry) else enforce
        bus, new = self._declared.bus(name, discovery, registry, self._declare_soon)
        if new and self._running is not None:
            self._running.declare_source(bus)
        return bus

    def api_destination(
        self,
        name: str,
        invocation_endpoint: str,
        *,
        http_method: str = "POST",
        basic: tuple[str, Secret] | None = None,
        api_key: tuple[str, Secret] | None = None,
        oauth: ClientCredentials | None = None,
        header_parameters: Mapping[str, Secret] | None = None,
        query_string_parameters: Mapping[str, Secret] | None = None,
        body_parameters: Mapping[str, Any] | None = None,
        cloud_events: Literal["structured", "binary"] | None = None,
        invocation_rate_limit: int | None = limits.API_DESTINATION_RATE_DEFAULT,
        timeout: Seconds = limits.API_DESTINATION_TIMEOUT_SECONDS_DEFAULT,
    ) -> ApiDestination:
        """Declare an HTTP endpoint to which rules send events, as an API destination with its connection on AWS.

        The event is durable before it is sent, and is removed when the endpoint has answered with a status from 200 to 299.
        Status 409, 429 and 500 to 599, no answer in time and no connection are tried again as the rule says; what the endpoint
        says in `Retry-After` is waited for. Any other status goes to the rule's dead-letter queue at once. An event may come
        twice: its id is in it.

        Secrets are in no log, no list and no store. A rule's own parameters give way to those of the same name here.

        Args:
            name: 1 to 64 letters, digits, '.', '-' and '_'.
            invocation_endpoint: a URL; each `*` in its path is filled by the rule's `path_parameter_values`. With a secret it
                must be https, except on this machine.
            http_method: "POST", "GET", "HEAD", "OPTIONS", "PUT", "PATCH" or "DELETE".
            basic: user and password of HTTP's basic authorization. Each secret may be a function that returns it, and is then
                asked for at each request.
            api_key: name and value of the header that has a key.
            oauth: `forebay.integrations.ClientCredentials`. Its token is asked for when the first request is sent, kept while
                it lasts, and asked for again when the endpoint answers 401.
            header_parameters: further headers.
            query_string_parameters: what stands behind the `?`.
            body_parameters: further fields of the body, which is then an object.
            cloud_events: send each event as a CloudEvent: "structured", all of it in the body, or "binary", with its attributes
                in headers.
            invocation_rate_limit: most requests in a second, 1 to 1,000,000, a tenth of them at once; None: no limit. What is
                above it waits.
            timeout: for how many seconds an answer is waited for, 0.1 to 30, or a `timedelta`.

        Raises:
            InvalidParameterValue: an argument that cannot be.
            ResourceConflict: it is already declared, with other settings.

        Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations.html

        """
        from forebay._model.api_destination import ApiDestinationSettings

        settings = ApiDestinationSettings(
            name=name,
            invocation_endpoint=invocation_endpoint,
            http_method=http_method,
            basic=basic,
            api_key=api_key,
            oauth=oauth,
            header_parameters=header_parameters or {},
            query_string_parameters=query_string_parameters or {},
            body_parameters=body_parameters or {},
            cloud_events=cloud_events,
            invocation_rate_limit=invocation_rate_limit,
            timeout=timeout,  # type: ignore[arg-type]
        )
        destination = self._declared.api_destination(settings)
        self._declare_soon()
        return destination

    def emit_events(self, *, enabled: bool = True) -> None:
        """Have what happens in forebay put on the bus "default" as events, for rules to route.

        An asynchronous event or a batch that was given up, a message that went to a dead-letter queue, a delivery that was given
        up, a function that was throttled, a database that failed over, and what `alerts` is sent. Their schemas are in the
        registry "aws.events". They are put by the process that owns the store, at most 100 in a second.

        Args:
            enabled: False: no more.

        """
        checks.flag("enabled", enabled)
        self._declared.emit_events = enabled
        if self._running is not None:
            self._running.emit_events()

    def registry(self, name: str, description: str | None = None) -> Registry:
        """Declare a registry of schemas, or give the one that was declared.

        A registry lasts until `forebay schema registry delete`, also when it has gone from the code.

        Args:
            name: 1 to 64 letters, digits, '.', '-' and '_'. "discovered-schemas", which discovery writes, and "aws.events", with
                the shapes of forebay's own events, always exist.
            description: for people; None: it stays as it is.

        Raises:
            InvalidParameterValue: a name that no registry can have.
            ResourceConflict: the registry is already declared, with another description.

        """
        registry, new = self._declared.registry(name, description)
        if new and self._running is not None:
            self._running.declare_source(registry)
        return registry

    def on_event(
        self,
        bus: Bus | str = DEFAULT,
        *,
        pattern: Mapping[str, Any] | str,
        name: str | None = None,
        input_path: str | None = None,
        input_transformer: tuple[Mapping[str, str], str] | None = None,
        dead_letter_queue: Queue | str | None = None,
        enabled: bool = True,
    ) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Give a function the events of a bus that match a pattern, each as an asynchronous invocation.

        Alone it declares the function, too. It is a rule of the bus with the function as its target: `Bus.rule` makes others.

        Args:
            bus: the bus, or its name.
            pattern: an event pattern, a dict or its JSON text of at most 4,096 characters.
            name: the rule's name; None: the function's.
            input_path: the part of the event that the function is given, such as "$.detail".
            input_transformer: variables with their paths, and the template that has them as `<name>`.
            dead_letter_queue: a standard queue that is sent events which the function could not be given.
            enabled: False: the rule routes nothing.

        Raises:
            InvalidParameterValue: an argument that cannot be, with AWS's text where AWS has one.
            ResourceConflict: a rule of that name is already declared, with other settings.

        """
        declared_bus = self.bus(bus) if isinstance(bus, str) else bus

        def bind(handler: Callable[P, R]) -> Function[P, R]:
            function = self._declared.bound_function(handler)
            declared_bus.rule(
                name if name is not None else function.name,
                pattern,
                function,
                input_path=input_path,
                input_transformer=input_transformer,
                dead_letter_queue=dead_letter_queue,
                enabled=enabled,
            )
            return function

        return bind

    def schedule(
        self,
        expression: str,
        *,
        name: str | None = None,
        target: EventTarget | None = None,
        timezone: str = "UTC",
        flexible: int = 0,
        start: float | datetime | None = None,
        end: float | datetime | None = None,
        catch_up: CatchUp = "none",
        input: Any = None,  # noqa: A002 - AWS's name
        group_id: str | None = None,
        dead_letter_queue: Queue | str | None = None,
        enabled: bool = True,
    ) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Give a function an event whenever a schedule is due; or another target, when one is named.

        As a decorator it declares the function, too. With `target` the schedule is declared at once, and the result is not to be
        used as a decorator. A schedule lasts until `forebay schedule delete`, also when it has gone from the code.

        Args:
            expression: "rate(5 minutes)", "cron(0 9 ? * MON-FRI *)" with its six fields, or "at(2030-01-31T09:00:00)".
            name: 1 to 64 letters, digits, '.', '-' and '_'; None: the function's name.
            target: a queue, topic, stream, bus, workflow, API destination or function of this app; None: the decorated function.
            timezone: IANA's name of the zone of `cron` and `at`.
            flexible: it fires within so many minutes of its due time, 1 to 1,440; 0: at that time.
            start: not due before, seconds since 1970 or a `datetime` with a time zone.
            end: not due after.
            catch_up: what becomes of due times at which no app ran: "none" counts them, "one" fires the latest, "all" fires all.
            input: what the target is given instead of a scheduled event: any JSON value, or a JSON text.
            group_id: the message group of a queue. A FIFO queue needs one; in a standard queue it orders nothing.
            dead_letter_queue: a standard queue that is sent events which the target could not be given.
            enabled: False: it does not fire.

        Raises:
            InvalidParameterValue: an argument that cannot be, with AWS's text where AWS has one.
            ResourceConflict: a schedule of that name is already declared, with other settings.

        Source: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html

        """
        from forebay._model.bus import Recipient, ScheduleSettings, json_text, moment_ms
        from forebay.api_destination import ApiDestination
        from forebay.bus import queue_name, recipient

        def declare(to: Recipient) -> None:
            self._declared.schedule(
                ScheduleSettings(
                    name=name if name is not None else to.name,
                    expression=expression,
                    to=to,
                    timezone=timezone,
                    flexible_minutes=flexible,
                    start_ms=moment_ms("start", start),
                    end_ms=moment_ms("end", end),
                    catch_up=catch_up,
                    input=None if input is None else json_text("input", input),
                    dead_letter_queue=queue_name("dead_letter_queue", dead_letter_queue),
                    enabled=enabled,
                )
            )
            self._declare_soon()

        if target is None and group_id is not None:
            checks.refuse("group_id", group_id, "only a queue as target has message groups")
        if isinstance(target, ApiDestination) and target.settings.wildcards:
            checks.refuse("target", target, "a schedule has no values for the * in its endpoint: a rule has")
        if target is not None:
            declare(recipient(target, group_id))
            return cast("Callable[[Callable[P, R]], Function[P, R]]", _no_decorator)

        def bind(handler: Callable[P, R]) -> Function[P, R]:
            function = self._declared.bound_function(handler)
            declare(Recipient(kind="function", name=function.name))
            return function

        return bind


def _no_decorator(_: object) -> None:
    raise TypeError("schedule(target=...) declares the schedule by itself: it decorates no function")
