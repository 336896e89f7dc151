"""A type of resources: which of its properties are honoured, how it is named, and by which requests it comes and goes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from forebay._sam.intrinsics import plain
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forebay._model.bus import Kind as RecipientKind
    from forebay._sam.plan import Resource, World

Properties = Mapping[str, Any]
REFUSED: Final = "it is not served"
_ARN: Final = re.compile(r"arn:[a-z-]+:([a-z0-9-]+):[^:]*:[^:]*:(.+)")


class Request(NamedTuple):
    """A request to the engine, as `docs/requests.md` has it."""

    verb: str
    fields: dict[str, Any]


Ask = Callable[[Request], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """What several requests make, each by the answer to the one before it. What it makes lasts in the store.

    Attributes:
        fields: what it is to be; secrets are marks.
        put: makes it what it is to be, whatever is there.
        remove: removes it, if it is there.

    """

    fields: dict[str, Any]
    put: Callable[[Ask, dict[str, Any]], Awaitable[None]]
    remove: Callable[[Ask, dict[str, Any]], Awaitable[None]]


def _nothing(_resource: Resource, _before: Resource | None, _world: World) -> list[Request]:
    return []


def _nothing_gone(_resource: Resource) -> list[Request]:
    return []


def _ref(physical: str, _properties: Properties, _world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    return {"Ref": physical}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of resources.

    Attributes:
        type: AWS's name of it.
        becomes: what it is here, for people.
        honoured: the properties that are honoured.
        inert: properties that are taken and have no effect, and why.
        refused: why other properties that users have are not served; what is in none of the three is refused, too.
        fixed: properties that cannot be changed.
        within: what its name is one of, given the properties: others elsewhere may have it, too.
        name: the property that holds its name.
        longest: most characters of its name.
        joint: what stands between the parts of a name that is made here.
        end: what a name must end in, given the properties.
        describe: the request that tells whether it exists already.
        is_snapshot: whether its attributes stay as they were.
        check: yields what is wrong with values of properties.
        given: what the template can ask of it.
        put: the requests that make it, or bring it up to date.
        gone: the requests that remove it.

    """

    type: str
    becomes: str
    honoured: frozenset[str]
    inert: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    within: Callable[[Properties], str] = lambda _: ""
    name: str | None = None
    longest: int = 64
    joint: str = "-"
    end: Callable[[Properties], str] = lambda _: ""
    describe: Callable[[Resource], Request] | None = None
    is_snapshot: bool = False
    check: Callable[[Properties], Iterable[tuple[str, str]]] = lambda _: ()
    given: Callable[[str, Properties, World, Mapping[str, Resource]], dict[str, Any]] = _ref
    put: Callable[[Resource, Resource | None, World], list[Request]] = _nothing
    gone: Callable[[Resource], list[Request]] = _nothing_gone
    naming: Callable[[str, str, Properties, World], str] | None = None

    def refusals(self, properties: Properties) -> Iterable[tuple[str, str]]:
        """Yield each property that is not honoured, and why."""
        for key in properties:
            if key not in self.honoured and key not in self.inert:
                yield key, self.refused.get(key, REFUSED)
        yield from self.check(properties)

    def notes(self, properties: Properties) -> Iterable[tuple[str, str]]:
        """Yield each property that has no effect, and why."""
        for key in properties:
            if self.inert.get(key):
                yield key, self.inert[key]

    def identity(self, physical: str, properties: Properties) -> tuple[str, str]:
        """Give what no two resources have in common."""
        return self.type, f"{self.within(properties)}/{physical}"

    def own_name(self, properties: Properties) -> str | None:
        """Give the name that the template gives it, if any."""
        value = properties.get(self.name) if self.name is not None else None
        return None if value is None else plain(value)

    def new_name(self, stack: str, logical: str, properties: Properties, world: World) -> str:
        """Give a name that no other resource has: the stack's, its own, and something new behind them."""
        if self.naming is not None:
            return self.naming(stack, logical, properties, world)
        end = f"{self.joint}{world.suffix()}{self.end(properties)}"
        room = self.longest - len(end) - len(self.joint)
        own = logical[: room - min(len(stack), room // 2)]
        return f"{stack[: room - len(own)]}{self.joint}{own}{end}"

    def attributes(
        self, physical: str, properties: Properties, world: World, others: Mapping[str, Resource]
    ) -> dict[str, Any]:
        """Give what the template can ask of it."""
        return self.given(physical, properties, world, others)


def described(noun: str) -> Callable[[Resource], Request]:
    """Give the request that describes a resource by its name."""
    return lambda resource: Request(f"{noun}.describe", {"name": resource.physical})


def deleted(noun: str) -> Callable[[Resource], list[Request]]:
    """Give the request that deletes a resource by its name."""
    return lambda resource: [Request(f"{noun}.delete", {"name": resource.physical})]


def words(text: str) -> frozenset[str]:
    """Give the words of a text."""
    return frozenset(text.split())


def arn_name(arn: Any, service: str, what: str) -> str:
    """Give the name in an ARN of a service.

    Raises:
        InvalidParameterValue: it is none.

    """
    found = _ARN.fullmatch(str(arn))
    if found is None or found[1] != service:
        raise InvalidParameterValue(f"{what}: {str(arn)[:200]!r} is not an ARN of {service}")
    return re.split(r"[:/]", found[2], maxsplit=1)[-1] if service in {"lambda", "kinesis", "events"} else found[2]


def recipient(arn: Any) -> tuple[RecipientKind, str]:
    """Give the kind and the name of what an ARN names, of what can be given events.

    Raises:
        InvalidParameterValue: it names nothing of that kind.

    """
    found = _ARN.fullmatch(str(arn))
    service, rest = (found[1], found[2]) if found is not None else ("", "")
    if service == "lambda" and rest.startswith("function:"):
        return "function", rest.removeprefix("function:").split(":")[0]
    if service == "sqs":
        return "queue", rest
    if service == "sns":
        return "topic", rest
    if service == "kinesis" and rest.startswith("stream/"):
        return "stream", rest.removeprefix("stream/")
    if service == "events" and rest.startswith("event-bus/"):
        return "bus", rest.removeprefix("event-bus/")
    if service == "states" and rest.startswith("stateMachine:"):
        return "workflow", rest.removeprefix("stateMachine:")
    raise InvalidParameterValue(f"{str(arn)[:200]!r} is none of a function, queue, topic, stream, bus or state machine")


def function_of(value: Any) -> str:
    """Give a function's name: of a name, a name with a qualifier, or an ARN."""
    text = str(value)
    return recipient(text)[1] if text.startswith("arn:") else text.split(":", maxsplit=1)[0]


def flag(value: Any) -> bool:
    """Read a truth value: templates write them as texts, too."""
    return str(value).lower() == "true"


def number(properties: Properties, key: str, default: float | None = None) -> Any:
    """Read a number: templates write them as texts, too.

    Raises:
        InvalidParameterValue: it is none.

    """
    value = properties.get(key, default)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    try:
        return int(str(value))
    except ValueError:
        raise InvalidParameterValue(f"{key}: {str(value)[:100]!r} is not a whole number") from None
