"""A schema's document becomes components with fields, in the order in which code can define them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["any", "array", "boolean", "component", "date-time", "integer", "map", "number", "string"]

WORD_PREFIX: Final = "x-amazon-open-api-schema-"
_PIECE: Final = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a value. Of arrays and maps, `inner` is that of their elements."""

    kind: Kind
    component: str = ""
    inner: "Type | None" = None
    nullable: bool = False


ANY: Final = Type("any")
# What discovery says of the elements of lists that were all empty: nothing is known of them.
_UNSEEN: Final = {"type": "object"}


@dataclass(frozen=True, slots=True)
class Field:
    """A key of an object."""

    key: str
    type: Type
    required: bool


@dataclass(frozen=True, slots=True)
class Component:
    """An object: its keys, and the type of further ones if there is one."""

    name: str
    fields: tuple[Field, ...]
    additional: Type | None = None


def components(content: str, schema_format: str) -> list[Component]:
    """Read a schema, OpenApi3 or JSONSchemaDraft4. Each component stands behind those it refers to; the root is the last.

    What has several types, or what only `allOf` and its like describe, is of any type.
    """
    document = json.loads(content)
    schemas = document["components"]["schemas"] if schema_format == "OpenApi3" else document.get("definitions", {})
    reader = _Reader(document, schemas)
    if schema_format == "OpenApi3":
        title = document["info"]["title"]
        root = next((name for name in ("AWSEvent", title, _pascal(title)) if name in schemas), next(iter(schemas)))
        reader.read(root, schemas[root])
    elif "$ref" in document:
        root = reader.type(document, "Event", "Event").component
    else:
        root = "AWSEvent" if "x-amazon-events-source" in document else _pascal(document.get("title", "")) or "Event"
        root = f"{root}Root" if root in schemas else root
        reader.read(root, document)
    for name, schema in schemas.items():
        reader.read(name, schema)
    return _ordered(reader.found, root)


class _Reader:
    def __init__(self, document: Mapping[str, Any], schemas: Mapping[str, Any]) -> None:
        self.document = document
        self.found: dict[str, Component] = {}
        self._schemas = schemas
        self._started: set[str] = set()
        # What was referred to is read afterwards: a chain of references may be longer than Python's stack.
        self._waiting: list[tuple[str, Mapping[str, Any]]] = []

    def read(self, name: str, schema: Mapping[str, Any]) -> None:
        """Read a component and those that it refers to."""
        self.component(name, schema)
        while self._waiting:
            self.component(*self._waiting.pop())

    def component(self, name: str, schema: Mapping[str, Any]) -> None:
        """Read an object's schema under a name, unless it is not an object."""
        if name in self._started or _types(schema)[0] != ["object"]:
            return
        self._started.add(name)
        required = set(schema.get("required", ()))
        fields = []
        for written, inner in schema.get("properties", {}).items():
            key = written.removeprefix(WORD_PREFIX)
            fields.append(Field(key, self.type(inner, _pascal(key) or "Object", name), key in required))
        additional = schema.get("additionalProperties")
        rest = self.type(additional, f"{name}Value", name) if isinstance(additional, dict) else None
        self.found[name] = Component(name, tuple(fields), rest)

    def type(self, schema: Mapping[str, Any], name: str, parent: str) -> Type:
        """Give the type of a place. `name`: what an object that stands here, and not in the components, is called."""
        if "$ref" in schema:
            return self._reference(schema["$ref"], parent)
        types, nullable = _types(schema)
        match types:
            case ["object"]:
                return self._object(schema, name, nullable)
            case ["array"]:
                items = schema.get("items", {})
                inner = ANY if items == _UNSEEN else self.type(items, f"{parent}Item", f"{parent}Item")
                return Type("array", inner=inner, nullable=nullable)
            case ["string"]:
                return Type("date-time" if schema.get("format") == "date-time" else "string", nullable=nullable)
            case ["integer"] | ["number"] | ["boolean"]:
                return Type(types[0], nullable=nullable)
            case _:
                return ANY

    def _reference(self, reference: str, parent: str) -> Type:
        target: Any = self.document
        steps = [step.replace("~1", "/").replace("~0", "~") for step in reference.removeprefix("#").split("/")[1:]]
        for step in steps:
            target = target[step]
        name = steps[-1] if steps else "Event"
        if _types(target)[0] == ["object"] and target.get("properties"):
            self._waiting.append((name, target))
            return Type("component", component=name, nullable=_types(target)[1])
        return self.type(target, name, parent)

    def _object(self, schema: Mapping[str, Any], name: str, nullable: bool) -> Type:
        if schema.get("properties"):
            numbers = (name if number == 1 else f"{name}_{number}" for number in range(1, 10_000))
            own = next(number for number in numbers if number not in self._started and number not in self._schemas)
            self.component(own, schema)
            return Type("component", component=own, nullable=nullable)
        additional = schema.get("additionalProperties")
        inner = self.type(additional, f"{name}Value", name) if isinstance(additional, dict) else ANY
        return Type("map", inner=inner, nullable=nullable)


def _types(schema: Mapping[str, Any]) -> tuple[list[Any], bool]:
    """Give the types of a schema without null, and whether null is one."""
    written = schema.get("type")
    types = list(written) if isinstance(written, list) else [written] if written else []
    if not types and "properties" in schema:
        types = ["object"]
    return [name for name in types if name != "null"], "null" in types or schema.get("nullable") is True


def _pascal(text: str) -> str:
    return "".join(piece[0].upper() + piece[1:] for piece in _PIECE.findall(text))


def _named(kind: Type | None) -> Iterator[str]:
    if kind is not None:
        if kind.component:
            yield kind.component
        yield from _named(kind.inner)


def _ordered(found: dict[str, Component], root: str) -> list[Component]:
    """Put each component behind those it names; where they name each other, the first stands first."""
    ordered: dict[str, Component] = {}
    visited: set[str] = set()
    names = [name for name in found if name != root] + [root]
    stack = [(name, False) for name in reversed(names) if name in found]
    while stack:
        name, ready = stack.pop()
        if ready:
            ordered.setdefault(name, found[name])
        elif name not in visited:
            visited.add(name)
            stack.append((name, True))
            component = found[name]
            needed = [needed for field in component.fields for needed in _named(field.type)]
            needed += _named(component.additional)
            stack.extend((other, False) for other in reversed(needed) if other in found and other not in visited)
    return list(ordered.values())
