"""An event source mapping: a stream or a queue bound to a function."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any, Literal, Protocol

from forebay._model import checks
from forebay._model.mapping import POSITIONS, MappingSettings
from forebay._model.queue import QueueMappingSettings
from forebay._runtime.sync_twins import sync_twin
from forebay._wire import mapping as wire
from forebay.alias import Alias
from forebay.errors import InvalidParameterValue
from forebay.function import Function
from forebay.queue import Queue
from forebay.topic import Topic

if TYPE_CHECKING:
    from datetime import datetime

    from forebay._model.mapping import Position
    from forebay._runtime.caller import Caller
    from forebay.destinations import Destination

    Target = Destination | Function[..., Any] | Alias | Queue | Topic
    """What can be told what became of an event or a batch."""


class DeclaringApp(Protocol):
    """What a mapping needs of the app that it is declared in."""

    queues: dict[str, Queue]
    topics: dict[str, Topic]


def check_is_here(target: Queue | Topic, app: DeclaringApp, option: str) -> None:
    """Refuse what another app declares: it would be found by its name, in this app's store."""
    here = app.queues.get(target.name) if isinstance(target, Queue) else app.topics.get(target.name)
    if here is not target:
        checks.refuse(option, target, "it belongs to another app")


def check_destination(
    target: object, function: Function[..., Any] | None, app: DeclaringApp, option: str = "on_failure"
) -> None:
    """Refuse what no record can be delivered to."""
    of = target.function if isinstance(target, Alias) else target
    if of is not None and of is function:
        raise InvalidParameterValue("You can't specify the function as a destination for itself.")
    if isinstance(target, Function) and target.latest is not target:
        checks.refuse(option, target, "a version is not a destination: make an alias of it, which may be one")
    if isinstance(target, Queue | Topic):
        check_is_here(target, app, option)
    deliver = getattr(target, "deliver", None)
    if isinstance(target, Queue) and target.settings.fifo:
        raise InvalidParameterValue(
            f"The destination ARN {target.arn} is invalid. {option}: a FIFO queue takes no records; use a standard queue"
        )
    if target is None or isinstance(target, Function | Alias | Queue | Topic) or inspect.iscoroutinefunction(deliver):
        return
    checks.refuse(
        option,
        target,
        "a function, an alias, a queue, a topic, a forebay.JSONLines, or any object with `async def deliver(self, record)`",
    )


class Registrar(Protocol):
    """What a mapping needs of the running app when its settings change."""

    def prepare(self, mapping: Mapping) -> str | None:
        """Make the runtime fit the mapping's settings; give the name of its destination."""


class Mapping:
    """A stream or a queue bound to a function. `App.on_stream` and `App.on_queue` make it, `App.mappings` lists it."""

    def __init__(
        self,
        source: str,
        function: Function[..., Any],
        settings: MappingSettings | QueueMappingSettings,
        caller: Caller,
        app: DeclaringApp,
    ) -> None:
        self.source = source
        self.function = function
        self.settings = self.declared = settings
        self._caller = caller
        self._app = app
        self._registrar: Registrar | None = None

    def __repr__(self) -> str:
        return f"<forebay mapping of {self.kind} {self.source!r} to function {self.function.name!r}>"

    @property
    def kind(self) -> Literal["stream", "queue"]:
        """Return "stream" or "queue"."""
        return "queue" if isinstance(self.settings, QueueMappingSettings) else "stream"

    @property
    def stream(self) -> str | None:
        """Name of the stream; None for a mapping of a queue."""
        return self.source if self.kind == "stream" else None

    @property
    def queue(self) -> str | None:
        """Name of the queue; None for a mapping of a stream."""
        return self.source if self.kind == "queue" else None

    def as_declared(self) -> None:
        """Forget what was changed while the app ran."""
        self.settings = self.declared

    def follow(self, registrar: Registrar | None) -> None:
        """Let changes of the settings reach the running app."""
        self._registrar = registrar

    async def describe(self) -> dict[str, Any]:
        """Return the mapping's settings, state and progress, for each shard and lane."""
        answer: dict[str, Any] = await self._caller.ask("mapping.describe", **self._key())
        return answer

    describe_sync = sync_twin(describe)

    async def pause(self) -> None:
        """Hand out no new work until `resume`. Running work ends. A restart keeps the mapping paused."""
        await self._caller.ask("mapping.pause", **self._key())

    pause_sync = sync_twin(pause)

    async def resume(self) -> None:
        """Continue after `pause`."""
        await self._caller.ask("mapping.resume", **self._key())

    resume_sync = sync_twin(resume)

    async def update(self, /, **settings: Any) -> None:
        """Change settings while the mapping runs.

        The declared settings apply again at the next start, or when another process takes the store over.

        Args:
            settings: options of `App.on_queue`, or of `App.on_stream` except the starting position; use `seek` for it.

        Raises:
            InvalidParameterValue: an unknown setting, or a value outside its range.

        """
        before, fields = self._change(settings)
        try:
            await self._caller.ask("mapping.update", **fields)
        except BaseException:
            self._take_back(before)
            raise

    update_sync = sync_twin(update)

    async def seek(
        self,
        position: Position | None = None,
        *,
        timestamp: float | datetime | None = None,
        sequence_number: str | None = None,
    ) -> None:
        """Continue at another place. Give exactly one argument.

        Args:
            position: "TRIM_HORIZON" (the oldest record kept) or "LATEST" (after the newest).
            timestamp: the first record that arrived at or after this moment.
            sequence_number: this record, in its shard. The other shards do not change.

        """
        await self._caller.ask("mapping.seek", **self._place(position, timestamp, sequence_number))

    seek_sync = sync_twin(seek)

    async def skip(self, batch: str) -> None:
        """Give up a waiting batch without further retries. It is listed as failed and can be redriven.

        Args:
            batch: as `describe` names it: "<shard id>:<sequence number of its first record>".

        """
        await self._caller.ask("mapping.skip", **self._batch(batch))

    skip_sync = sync_twin(skip)

    async def delete(self) -> None:
        """Remove the mapping with its checkpoint. Declared again, it begins anew at its starting position."""
        await self._caller.ask("mapping.delete", **self._key())

    delete_sync = sync_twin(delete)

    def _key(self) -> dict[str, Any]:
        return {self.kind: self.source, "function": self.function.name}

    def _change(self, changes: dict[str, Any]) -> tuple[MappingSettings | QueueMappingSettings, dict[str, Any]]:
        known_settings = type(self.settings).__dataclass_fields__
        for name in changes:
            if name in {"starting_position", "starting_position_timestamp"}:
                raise InvalidParameterValue(f"{name}: fixed when the mapping was first seen; use seek to move it")
        checks.known_names(changes, known_settings)
        before = self.settings
        changed = dataclasses.replace(before, **changes)
        if isinstance(changed, QueueMappingSettings):
            changed.fits(self.source)
        else:
            check_destination(changed.on_failure, self.function, self._app)
        self.settings = changed
        destination = self._registrar.prepare(self) if self._registrar is not None else None
        return before, {**self._key(), **wire.only(self.settings, changes, destination)}

    def _take_back(self, before: MappingSettings | QueueMappingSettings) -> None:
        self.settings = before
        if self._registrar is not None:
            self._registrar.prepare(self)

    def _place(
        self,
        position: Position | None,
        timestamp: float | datetime | None,
        sequence_number: str | None,
    ) -> dict[str, Any]:
        self._has_places("seek")
        if sum(given is not None for given in (position, timestamp, sequence_number)) != 1:
            raise InvalidParameterValue("seek: give exactly one of position, timestamp and sequence_number")
        if timestamp is not None:
            moment = wire.milliseconds(checks.timestamp("timestamp", timestamp))
            return {**self._key(), "position": "AT_TIMESTAMP", "timestamp_ms": moment}
        if sequence_number is not None:
            if not isinstance(sequence_number, str) or not sequence_number.isdecimal():
                checks.refuse("sequence_number", sequence_number, "a decimal text, as put gave it")
            return {**self._key(), "sequence_number": sequence_number}
        checks.one_of("position", str(position), POSITIONS[:2])
        return {**self._key(), "position": position}

    def _has_places(self, verb: str) -> None:
        if self.kind == "queue":
            raise InvalidParameterValue(
                f"{verb}: a mapping on a queue has no place in a stream; see Queue.purge and redrive"
            )

    def _batch(self, batch: str) -> dict[str, Any]:
        self._has_places("skip")
        if not isinstance(batch, str) or ":" not in batch:
            checks.refuse("batch", batch, 'a batch as describe names it: "<shard id>:<sequence number>"')
        return {**self._key(), "batch": batch}
