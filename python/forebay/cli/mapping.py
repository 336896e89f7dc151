"""`forebay mapping`: look at mappings, hold them, move them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from forebay._model.mapping import Backoff, MappingSettings
from forebay._model.queue import QueueMappingSettings
from forebay._wire import mapping as wire
from forebay._wire import payload
from forebay.cli import moments
from forebay.cli.arn import named, source_of
from forebay.cli.connect import connect, store_option
from forebay.cli.show import duration, output_option, show, table, unpacked
from forebay.errors import InvalidParameterValue, ResourceNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forebay.cli.store_place import StorePlace


def bound(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every command on one mapping takes; the source comes as the fields that name it to the engine."""

    def with_source(*, source: str, queue: bool, **options: Any) -> None:
        kind, name = source_of(source, queue=queue)
        try:
            command(bound_to={kind: name}, **options)
        except ResourceNotFound as error:
            with connect(options["store"]) as connection:
                mappings = connection.ask("mapping.list")
            other = "stream" if kind == "queue" else "queue"
            if {other: name, "function": options["function"]} in map(_bound_to, mappings):
                hint = "a stream's: leave --queue out" if kind == "queue" else "a queue's: add --queue"
                error.add_note(f"the mapping of {name} is {hint}")
            raise

    with_source.__name__, with_source.__doc__ = command.__name__, command.__doc__
    with_source.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    wrapped: Callable[..., None] = with_source
    a_queue = click.option("--queue", is_flag=True, help="SOURCE is a queue, not a stream.")
    a_function = click.argument("function", callback=named("function"))
    for add in (output_option, store_option, a_queue, a_function, click.argument("source")):
        wrapped = add(wrapped)
    return wrapped


@click.group()
def mapping() -> None:
    """Look at mappings, hold them, move them."""


@mapping.command("list")
@store_option
@output_option
def list_(store: StorePlace, output: str) -> None:
    """List every mapping, also those whose function no app declares any more."""
    with connect(store) as connection:
        mappings = connection.ask("mapping.list")
    show(unpacked(mappings), output, text=table(mappings, _COLUMNS))


@mapping.command()
@bound
def describe(bound_to: dict[str, str], function: str, store: StorePlace, output: str) -> None:
    """Show a mapping's settings and, lane by lane, its progress."""
    with connect(store) as connection:
        described = connection.ask("mapping.describe", **bound_to, function=function)
    parsed = wire.parsed(described)
    settings = wire.only(parsed, parsed.__dataclass_fields__, described.get("on_failure"))
    lines = "\n".join(f"{name}: {_written(value)}" for name, value in settings.items())
    lanes = [{**shard, **lane} for shard in described.get("shards", []) for lane in shard["lanes"]]
    progress = table(lanes, _LANES) if "shards" in described else table([described], _MESSAGES)
    show(unpacked(described), output, text=f"{table([described], _COLUMNS)}\n\n{lines}\n\n{progress}")


@mapping.command()
@bound
def pause(bound_to: dict[str, str], function: str, store: StorePlace, output: str) -> None:
    """Let what runs end, and begin nothing new."""
    _change("mapping.pause", store, output, **bound_to, function=function)


@mapping.command()
@bound
def resume(bound_to: dict[str, str], function: str, store: StorePlace, output: str) -> None:
    """Go on where the mapping was paused."""
    _change("mapping.resume", store, output, **bound_to, function=function)


@mapping.command()
@bound
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
def update(bound_to: dict[str, str], function: str, settings: tuple[str, ...], store: StorePlace, output: str) -> None:
    """Change settings while the mapping runs.

    NAME is a setting of `App.on_stream` or `App.on_queue`, VALUE its JSON text: batch_size=50 maximum_retry_attempts=-1
    'filters=[{"data":{"kind":["a"]}}]' 'retry_backoff={"base":1,"cap":60,"jitter":0.2}'. What the app declares applies again when
    it starts next.
    """
    known = (QueueMappingSettings if "queue" in bound_to else MappingSettings).__dataclass_fields__
    changes = dict(_setting(text, known) for text in settings)
    with connect(store) as connection:
        described = connection.ask("mapping.describe", **bound_to, function=function)
        changed = dataclasses.replace(wire.parsed(described), **changes)
        fields = wire.only(changed, changes, None)
        described = connection.ask("mapping.update", **bound_to, function=function, **fields)
    show(unpacked(described), output, text=table([described], _COLUMNS))


@mapping.command()
@click.option(
    "--position", type=click.Choice(["TRIM_HORIZON", "LATEST"]), help="The oldest record kept, or after the newest."
)
@click.option("--timestamp", metavar="TIME", help="Seconds since 1970, or ISO 8601 with a time zone.")
@click.option("--sequence-number", metavar="NUMBER", help="This record; the other shards stay where they are.")
@bound
def seek(
    *,
    bound_to: dict[str, str],
    function: str,
    position: str | None,
    timestamp: str | None,
    sequence_number: str | None,
    store: StorePlace,
    output: str,
) -> None:
    """Go on from another place."""
    if sum(given is not None for given in (position, timestamp, sequence_number)) != 1:
        raise click.UsageError("give exactly one of --position, --timestamp, --sequence-number")
    place: dict[str, Any] = {"position": position, "sequence_number": sequence_number}
    if timestamp is not None:
        place = {"position": "AT_TIMESTAMP", "timestamp_ms": wire.milliseconds(moments.parsed("timestamp", timestamp))}
    place = {name: value for name, value in place.items() if value is not None}
    _change("mapping.seek", store, output, **bound_to, function=function, **place)


@mapping.command()
@bound
@click.argument("batch")
def skip(bound_to: dict[str, str], function: str, batch: str, store: StorePlace, output: str) -> None:
    """Give a waiting batch up without further retries; `mapping describe` names it."""
    _change("mapping.skip", store, output, **bound_to, function=function, batch=batch)


@mapping.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@bound
def delete(bound_to: dict[str, str], function: str, yes: bool, store: StorePlace, output: str) -> None:
    """Remove a mapping with its checkpoint."""
    if not yes:
        [(kind, name)] = bound_to.items()
        question = f"Delete the mapping of {kind} {name} to function {function} with its progress?"
        click.confirm(question, abort=True, err=True)
    with connect(store) as connection:
        connection.ask("mapping.delete", **bound_to, function=function)
    show(
        {"deleted": {**bound_to, "function": function}},
        output,
        text=f"deleted {', '.join(bound_to.values())} -> {function}",
    )


def _bound_to(mapping: dict[str, Any]) -> dict[str, str]:
    return {field: mapping[field] for field in ("stream", "queue", "function") if field in mapping}


def _change(verb: str, store: StorePlace, output: str, **fields: Any) -> None:
    with connect(store) as connection:
        described = connection.ask(verb, **fields)
    show(unpacked(described), output, text=table([described], _COLUMNS))


def _setting(text: str, settings: Iterable[str]) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    allowed = [known for known in settings if not known.startswith("starting_position") and known != "on_failure"]
    if not equals or name not in allowed:
        raise InvalidParameterValue(f"{text!r}: give NAME=VALUE; the names are {', '.join(allowed)}")
    try:
        parsed = payload.loads(value)
    except ValueError:
        raise InvalidParameterValue(f"{name}={value}: the value must be JSON text, for example 50 or true") from None
    if name not in {"retry_backoff", "retry_delay"} or parsed is None:
        return name, parsed
    try:
        return name, Backoff(**parsed)
    except TypeError:
        raise InvalidParameterValue(f"{name}={value}: allowed is an object of base, cap and jitter") from None


def _written(value: object) -> str:
    """Write a setting for people, as `update` takes it where it is more than a word or a number."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, str | int | float) else payload.dumps(value).decode()


_COLUMNS = [
    ("SOURCE", lambda mapping: mapping.get("stream") or mapping["queue"]),
    ("FUNCTION", lambda mapping: mapping["function"]),
    ("STATE", lambda mapping: mapping["state"]),
    ("DECLARED", lambda mapping: mapping["declared"]),
    ("BATCH", lambda mapping: mapping["batch_size"]),
    ("LANES", lambda mapping: mapping.get("parallelization_factor")),
    ("ON FAILURE", lambda mapping: mapping.get("on_failure")),
    ("LAST RESULT", lambda mapping: mapping["last_result"]),
]
_LANES = [
    ("SHARD", lambda lane: lane["shard_id"]),
    ("LANE", lambda lane: lane["lane"]),
    ("STATE", lambda lane: lane["state"]),
    ("RECORDS", lambda lane: lane["records"]),
    ("ATTEMPT", lambda lane: lane["attempt"]),
    ("RETRY IN", lambda lane: duration(lane.get("retry_in_ms"))),
    ("BATCH", lambda lane: lane.get("batch")),
]
_MESSAGES = [
    ("BATCHES", lambda mapping: mapping["batches_in_flight"]),
    ("VISIBLE", lambda mapping: mapping["visible"]),
    ("IN FLIGHT", lambda mapping: mapping["in_flight"]),
    ("DELAYED", lambda mapping: mapping["delayed"]),
]
