"""A declared event bus: an event that is put on it goes to the targets of every rule whose pattern it matches."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias
from uuid import uuid4

from forebay._model import checks, limits, names
from forebay._model.api_destination import HttpParameters
from forebay._model.archive import ArchiveSettings, ReplaySettings
from forebay._model.bus import BusSettings, Recipient, RuleSettings, RuleTarget, json_text, moment_ms
from forebay._runtime.context import parent
from forebay._runtime.store_resource import StoreResource
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import payload
from forebay._wire.bus import check_rule
from forebay.api_destination import ApiDestination
from forebay.archive import Archive, Replay
from forebay.errors import InvalidParameterValue
from forebay.function import Function
from forebay.queue import Queue
from forebay.stream import Stream
from forebay.topic import Topic
from forebay.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from forebay._model.bus import Kind
    from forebay._model.checks import Seconds
    from forebay._runtime.caller import Caller

    EventTarget: TypeAlias = "Function[..., Any] | Queue | Topic | Stream | Bus | Workflow | ApiDestination"
    """What a rule or a schedule can give events to."""


class Event(NamedTuple):
    """An event for `Bus.put_many`.

    Attributes:
        detail: a dict, or the text of a JSON object.
        source: who says it, such as "shop.orders"; it must not begin with "aws.".
        detail_type: what kind of event it is, at most 128 characters.
        resources: what it is about.
        time: when it happened, seconds since 1970 or a `datetime` with a time zone; None: now.

    """

    detail: Any
    source: str
    detail_type: str
    resources: Sequence[str] = ()
    time: float | datetime | None = None


class Rules(Protocol):
    """Where rules are declared."""

    def rule(self, rule: RuleSettings) -> None:
        """Declare a rule."""

    def archive(self, archive: ArchiveSettings) -> Archive:
        """Declare an archive."""
        ...


class Bus(StoreResource[BusSettings]):
    """An event bus. Made by `App.bus`, never by hand."""

    def __init__(
        self, settings: BusSettings, arn: str, caller: Caller, declared: Rules, on_new: Callable[[], None]
    ) -> None:
        super().__init__(settings, arn, caller)
        self._rules = declared
        self._on_new = on_new

    # --- rules

    def rule(
        self,
        name: str,
        pattern: Mapping[str, Any] | str,
        target: EventTarget | Iterable[EventTarget],
        *,
        input: Any = None,  # noqa: A002 - AWS's name
        input_path: str | None = None,
        input_transformer: tuple[Mapping[str, str], str] | None = None,
        group_id: str | None = None,
        partition_key_path: str | None = None,
        path_parameter_values: Iterable[str] = (),
        header_parameters: Mapping[str, str] | None = None,
        query_string_parameters: Mapping[str, str] | None = None,
        dead_letter_queue: Queue | str | None = None,
        maximum_retry_attempts: int = limits.RULE_RETRIES_MAX,
        maximum_event_age: Seconds = limits.RULE_EVENT_AGE_SECONDS_MAX,
        description: str = "",
        enabled: bool = True,
    ) -> None:
        """Declare that events which match a pattern go to a target, or to several.

        A rule lasts until `forebay rule delete`, also when it has gone from the code. Changed settings apply when the app starts.

        Args:
            name: 1 to 64 letters, digits, '.', '-' and '_'; a bus has each once.
            pattern: an event pattern, a dict or its JSON text of at most 4,096 characters.
            target: a function, queue, topic, stream, bus, workflow or API destination of this app; at most 5.
            input: what targets are given instead of the event: any JSON value, or a JSON text.
            input_path: the part of the event that targets are given, such as "$.detail".
            input_transformer: variables with their paths, and the template that has them as `<name>`.
            group_id: the message group of queues. A FIFO queue needs one; in a standard queue it orders nothing.
            partition_key_path: where a stream's partition key stands in the event; None: the event's id is the key.
            path_parameter_values: for each `*` in an API destination's endpoint, in order. A text that begins with "$.", here
                and in the next two, is a path into the event.
            header_parameters: headers of a request to an API destination.
            query_string_parameters: what stands behind the `?` of one.
            dead_letter_queue: a standard queue that is sent events which a target did not take; None: they are listed by
                `forebay dlq list`.
            maximum_retry_attempts: how often an event is given again to a target that has no room for it, or that
                does not answer, 0 to 185.
            maximum_event_age: for how many seconds it is given again, 60 to 86,400, or a `timedelta`.
            description: for people.
            enabled: False: the rule routes nothing.

        Raises:
            InvalidParameterValue: an argument that cannot be, with AWS's text where AWS has one.
            ResourceConflict: a rule of that name is already declared, with other settings.

        Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rules.html

        """
        targets = target if isinstance(target, list | tuple) else [target]
        parameters = HttpParameters(
            path_parameter_values=tuple(path_parameter_values),
            header_parameters=tuple((header_parameters or {}).items()),
            query_string_parameters=tuple((query_string_parameters or {}).items()),
        )
        _check_parameters(parameters, targets)
        settings = RuleSettings(
            bus=self.name,
            name=name,
            pattern=json_text("pattern", pattern),
            description=description,
            enabled=enabled,
            targets=tuple(
                RuleTarget(
                    id=str(at),
                    to=recipient(one, group_id, is_alone=len(targets) == 1),
                    partition_key_path=partition_key_path if isinstance(one, Stream) else None,
                    http_parameters=parameters if isinstance(one, ApiDestination) else None,
                    input=None if input is None else json_text("input", input),
                    input_path=input_path,
                    input_transformer=_transformer(input_transformer),
                    dead_letter_queue=queue_name("dead_letter_queue", dead_letter_queue),
                    maximum_retry_attempts=maximum_retry_attempts,
                    maximum_event_age=maximum_event_age,  # type: ignore[arg-type]
                )
                for at, one in enumerate(targets, 1)
            ),
        )
        check_rule(settings)
        if partition_key_path is not None and not any(isinstance(one, Stream) for one in targets):
            checks.refuse("partition_key_path", partition_key_path, "only a stream as target has a partition key")
        self._rules.rule(settings)
        self._on_new()

    # --- archives

    def archive(
        self,
        name: str,
        pattern: Mapping[str, Any] | str | None = None,
        *,
        retention: Seconds | None = None,
        description: str = "",
    ) -> Archive:
        """Declare that events of this bus are kept, so that `replay` can give them to its rules again.

        An archive lasts until `forebay archive delete`, also when it has gone from the code.

        Args:
            name: 1 to 48 letters, digits, '.', '-' and '_'; an app has each once.
            pattern: an event pattern, a dict or its JSON text; None: every event.
            retention: how many seconds an event is kept after its time, at least 1, or a `timedelta`; None: for ever.
            description: for people.

        Raises:
            InvalidParameterValue: an argument that cannot be, with AWS's text where AWS has one.
            ResourceConflict: an archive of that name is already declared, with other settings.

        Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-archive.html

        """
        settings = ArchiveSettings(
            name=name,
            bus=self.name,
            pattern=None if pattern is None else json_text("pattern", pattern),
            retention=retention,  # type: ignore[arg-type]
            description=description,
        )
        archive = self._rules.archive(settings)
        self._on_new()
        return archive

    async def replay(
        self,
        archive: Archive | str,
        start: float | datetime,
        end: float | datetime,
        *,
        rules: Iterable[str] | None = None,
        rate: int | None = None,
        name: str | None = None,
    ) -> Replay:
        """Begin to give archived events to the rules of this bus again; they have `replay-name` then.

        Events come in order of the minute of their time. A replay goes on after a restart, and gives each event once.

        Args:
            archive: an archive of this bus, or its name.
            start: events from this time on, seconds since 1970 or a `datetime` with a time zone.
            end: events before this time.
            rules: names of the rules whose targets are given the events; None: all.
            rate: most events in a second, 1 to 1,000,000; None: as fast as they are durable.
            name: 1 to 64 letters, digits, '.', '-' and '_'; None: the archive's name and a random end.

        Returns:
            The replay, which has begun: `await replay.wait()` waits for its end.

        Raises:
            InvalidParameterValue: an argument that cannot be, or ten replays run already.
            ResourceNotFound: there is no such archive or rule.
            ResourceConflict: there is a replay of that name.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_StartReplay.html

        """
        if isinstance(rules, str):
            checks.refuse("rules", rules, "allowed are a list of the names of rules, and None for all")
        source = archive.name if isinstance(archive, Archive) else archive
        start_ms, end_ms = moment_ms("start", start), moment_ms("end", end)
        if start_ms is None or end_ms is None:
            checks.refuse("start, end", None, "a replay has a start and an end")
        settings = ReplaySettings(
            name=name if name is not None else f"{source}-{uuid4().hex[:12]}",
            bus=self.name,
            archive=source,
            start_ms=start_ms,
            end_ms=end_ms,
            rules=None if rules is None else tuple(rules),
            rate=rate,
        )
        await self._declared()
        await self._caller.ask("replay.start", **settings.fields())
        return Replay(settings.name, self._caller)

    replay_sync = sync_twin(replay)

    # --- events

    async def put(
        self,
        detail: Any,
        *,
        source: str,
        detail_type: str,
        resources: Sequence[str] = (),
        time: float | datetime | None = None,
    ) -> str:
        """Put an event on the bus; when this returns, every target that it goes to has it, durably.

        Args:
            detail: a dict, or the text of a JSON object; the whole event has at most 1 MiB.
            source: who says it, such as "shop.orders"; it must not begin with "aws.".
            detail_type: what kind of event it is, at most 128 characters.
            resources: what it is about.
            time: when it happened, seconds since 1970 or a `datetime` with a time zone; None: now.

        Returns:
            The event's id.

        Raises:
            InvalidParameterValue: an event that cannot be, with AWS's text.
            ResourceNotFound: there is no such bus.
            TooManyRequests: too much waits for the disk; nothing was put.
            StoreFull: the disk is full; nothing was put.
            StoreFailed: a write failed; whether the event was put is unknown.
            AppClosed: the app is not running.

        Source: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html

        """
        [result] = await self.put_many([Event(detail, source, detail_type, resources, time)])
        if isinstance(result, InvalidParameterValue):
            raise result
        return result

    put_sync = sync_twin(put)

    async def put_many(self, events: Iterable[Event]) -> list[str | InvalidParameterValue]:
        """Put events on the bus in one commit; a bad one fails alone.

        Args:
            events: at most 10,000; together at most 32 MiB.

        Returns:
            For each event its id, or why it was refused. What goes wrong with all of them is raised as by `put`.

        Raises:
            InvalidParameterValue: what is given is one event instead of a list, or more than 10,000.

        """
        if isinstance(events, Event):
            checks.refuse_content("events", events, "give a list of events; `put` takes the parts of one")
        given = [_entry_or_error(event) for event in events]
        entries = [entry for entry in given if isinstance(entry, dict)]
        if not entries:
            return [error for error in given if isinstance(error, InvalidParameterValue)]
        await self._declared()
        fields = {"bus": self.name, "entries": entries, "parent": parent()}
        answers = iter(payload.loads(await self._caller.put_events(fields)))
        return [one if isinstance(one, InvalidParameterValue) else _result(next(answers)) for one in given]

    put_many_sync = sync_twin(put_many)


async def happened(bus: Bus, kind: str, detail: Mapping[str, Any], resources: Sequence[str]) -> None:
    """Put something that happened outside of the engine on the bus "default", if the app wants such events."""
    await bus._caller.ask("bus.happened", kind=kind, detail=payload.dumps(detail).decode(), resources=list(resources))  # noqa: SLF001


def _result(answer: dict[str, str]) -> str | InvalidParameterValue:
    if "event_id" in answer:
        return answer["event_id"]
    return InvalidParameterValue(f"{answer['error_code']}: {answer['error_message']}")


def _entry_or_error(event: Event) -> dict[str, Any] | InvalidParameterValue:
    try:
        return _entry(event)
    except InvalidParameterValue as error:
        return error


def _entry(event: Event) -> dict[str, Any]:
    if not isinstance(event, tuple) or len(event) != len(Event._fields):
        checks.refuse_content("event", event, "an Event is wanted")
    detail, source, detail_type, resources, time = event
    if not (isinstance(source, str) and isinstance(detail_type, str)):
        name, value = ("detail_type", detail_type) if isinstance(source, str) else ("source", source)
        checks.refuse(name, value, "a text is wanted")
    entry: dict[str, Any] = {
        "source": source,
        "detail_type": detail_type,
        "detail": detail if isinstance(detail, str) else _detail(detail),
    }
    # Most events have neither, and what is not written need not be read.
    if resources:
        if isinstance(resources, str) or not all(isinstance(one, str) for one in resources):
            checks.refuse("resources", resources, "a list of texts is wanted")
        entry["resources"] = list(resources)
    if time is not None:
        entry["time_ms"] = moment_ms("time", time)
    return entry


def _detail(value: object) -> str:
    try:
        text = payload.dumps(value).decode()
    except (TypeError, ValueError) as error:
        checks.refuse("detail", value, f"it cannot be written as JSON: {error}")
    if not text.startswith("{"):
        checks.refuse_content("detail", value, "allowed are a dict, and the text of a JSON object")
    return text


def recipient(target: object, group_id: str | None, *, is_alone: bool = True) -> Recipient:
    """Name what is given events; `is_alone`: the message group is for no other target, which is a queue then."""
    kinds: tuple[tuple[type, Kind], ...] = (
        (Queue, "queue"),
        (Topic, "topic"),
        (Stream, "stream"),
        (Bus, "bus"),
        (Workflow, "workflow"),
        (ApiDestination, "api_destination"),
    )
    kind = next((kind for type_, kind in kinds if isinstance(target, type_)), None)
    if kind is None and isinstance(target, Function) and target.latest is target:
        kind = "function"
    if kind is None:
        allowed = "allowed are a function, queue, topic, stream, bus, workflow and API destination of the app"
        hint = "; `@app.function()` makes a function of the app" if inspect.isroutine(target) else ""
        checks.refuse("target", target, allowed + hint)
    name: str = target.name  # type: ignore[attr-defined]
    is_queue = kind == "queue"
    if is_queue and names.is_fifo(name) and group_id is None:
        checks.refuse("group_id", None, "a FIFO queue as target needs one")
    if not is_queue and group_id is not None and is_alone:
        checks.refuse("group_id", group_id, "only a queue as target has message groups")
    return Recipient(kind=kind, name=name, group_id=group_id if is_queue else None)


def _check_parameters(parameters: HttpParameters, targets: Iterable[object]) -> None:
    """Refuse parameters of requests that no target sends, and too few or too many values for a path."""
    endpoints = [one for one in targets if isinstance(one, ApiDestination)]
    if not endpoints and parameters != HttpParameters():
        checks.refuse("header_parameters", "...", "only an API destination as target has parameters of a request")
    values = parameters.path_parameter_values
    for one in endpoints:
        if one.settings.wildcards != len(values):
            checks.refuse(
                "path_parameter_values",
                values,
                f"the endpoint of {one.name!r} has {one.settings.wildcards} wildcards in its path: give a value for each",
            )


def queue_name(option: str, queue: Queue | str | None) -> str | None:
    """Name a dead-letter queue."""
    if queue is None or isinstance(queue, str):
        return queue
    if not isinstance(queue, Queue):
        checks.refuse(option, queue, "allowed are a standard queue of the app, its name, and None")
    return queue.name


def _transformer(given: tuple[Mapping[str, str], str] | None) -> tuple[tuple[tuple[str, str], ...], str] | None:
    if given is None:
        return None
    if not isinstance(given, tuple) or len(given) != 2:  # noqa: PLR2004
        checks.refuse("input_transformer", given, 'it is a pair: ({"name": "$.path"}, "template with <name>")')
    paths, template = given
    return tuple(paths.items()), template
