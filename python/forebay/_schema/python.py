"""Python in three styles: dataclasses, Pydantic models, typed dicts. One file a schema."""

import builtins
from collections.abc import Iterable, Sequence
from typing import Final

from forebay._schema.names import PYTHON_WORDS, identifiers, quoted, words
from forebay._schema.read import Component, Field, Type

WIDTH: Final = 88
_SCALARS: Final = {
    "any": "Any",
    "boolean": "bool",
    "date-time": "datetime",
    "integer": "int",
    "number": "float",
    "string": "str",
}
# What stands in annotations or at the top of a file: a class or a field of that name would hide it.
_USED: Final = frozenset(
    {"Any", "BaseModel", "ClassVar", "ConfigDict", "Field", "NotRequired", "TypedDict", "UnionType", "cast", "datetime"}
    | {"dataclass", "dump", "field", "fields", "get_args", "get_origin", "get_type_hints", "load", "timezone"}
)
_CLASSES: Final = PYTHON_WORDS | _USED | frozenset(dir(builtins))
_FIELDS: Final = PYTHON_WORDS | _USED | {"bool", "dict", "float", "int", "list", "str"}
# Names of Pydantic's own; what begins with `model_` is renamed, too.
_PYDANTIC: Final = words(
    "construct copy dict from_orm json parse_file parse_obj parse_raw schema schema_json update_forward_refs validate"
)

_LOADER: Final = '''

def load(kind: Any, value: Any) -> Any:
    """Make a value of a type, such as `AWSEvent`, from what JSON was read as."""
    if isinstance(kind, UnionType):
        kind = next(arm for arm in get_args(kind) if arm is not type(None))
    if value is None:
        return None
    if kind is datetime:
        return datetime.fromisoformat(value)
    if get_origin(kind) is list:
        return [load(get_args(kind)[0], item) for item in value]
    if get_origin(kind) is dict:
        return {key: load(get_args(kind)[1], item) for key, item in value.items()}
    if not hasattr(kind, "KEYS"):
        return value
    hints, keys = get_type_hints(kind), kind.KEYS
    given = {
        name: load(hints[name], value[key])
        for name, key in keys.items()
        if key in value
    }
    if "additional_properties" in hints:
        rest = {key: item for key, item in value.items() if key not in keys.values()}
        given["additional_properties"] = load(hints["additional_properties"], rest)
    return kind(**given)


def dump(value: Any) -> Any:
    """Make of a value what can be written as JSON. Optional fields without a value are left out."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list):
        return [dump(item) for item in value]
    if isinstance(value, dict):
        return {key: dump(item) for key, item in value.items()}
    if not hasattr(value, "KEYS"):
        return value
    optional = {each.name for each in fields(value) if each.default is None}
    told = {
        key: dump(getattr(value, name))
        for name, key in value.KEYS.items()
        if name not in optional or getattr(value, name) is not None
    }
    return told | dump(getattr(value, "additional_properties", {}))
'''


def dataclasses(components: Sequence[Component], header: str, path: str) -> dict[str, str]:
    """Make dataclasses, with `load` and `dump` beside them."""
    names = _class_names(components)
    text = f'"""{header}"""\n\nfrom __future__ import annotations\n\n'
    needed = "dataclass, field, fields" if any(each.additional for each in components) else "dataclass, fields"
    text += f"from dataclasses import {needed}\nfrom datetime import datetime\nfrom types import UnionType\n"
    text += "from typing import Any, ClassVar, get_args, get_origin, get_type_hints\n"
    for component in components:
        own = identifiers(
            (each.key for each in component.fields), _FIELDS | set(names.values()) | {"KEYS", "additional_properties"}
        )
        text += f"\n\n@dataclass(kw_only=True)\nclass {names[component.name]}:\n"
        text += _wrapped(
            "    KEYS: ClassVar[dict[str, str]] = {", [f"{quoted(own[key])}: {quoted(key)}" for key in own], "}"
        )
        text += "\n" if own or component.additional else ""
        for each in _required_first(component.fields):
            default = "" if each.required else " = None"
            text += f"    {own[each.key]}: {_annotation(each, names)}{default}\n"
        if component.additional:
            kind = _python(component.additional, names)
            text += _wrapped(
                f"    additional_properties: dict[str, {kind}] = field(", ["default_factory=dict"], ")", magic=False
            )
    return {f"{path}.py": text + _LOADER}


def pydantic(components: Sequence[Component], header: str, path: str) -> dict[str, str]:
    """Make Pydantic v2 models, which read by key or by name."""
    names = _class_names(components)
    body = ""
    for component in components:
        reserved = _FIELDS | set(names.values()) | _PYDANTIC
        keys = [each.key for each in component.fields]
        own = identifiers((f"field_{key}" if key.startswith("model_") else key for key in keys), reserved)
        own = dict(zip(keys, own.values(), strict=True))
        body += f"\n\nclass {names[component.name]}(BaseModel):\n"
        extra = ['extra="allow"'] if component.additional else []
        body += f"    model_config = ConfigDict({', '.join([*extra, 'populate_by_name=True'])})\n"
        if component.fields:
            body += "\n"
        for each in _required_first(component.fields):
            name = own[each.key]
            options = [] if each.required else ["default=None"]
            options += [f"alias={quoted(each.key)}"] if name != each.key else []
            start = f"    {name}: {_annotation(each, names)}"
            if options in ([], ["default=None"]):
                body += f"{start}{' = None' if options else ''}\n"
            else:
                body += _wrapped(f"{start} = Field(", options, ")", magic=False)
    text = f'"""{header}"""\n\nfrom __future__ import annotations\n\n'
    text += "from datetime import datetime\n" if "datetime" in body else ""
    text += "from typing import Any\n" if "Any" in body else ""
    needed = ["BaseModel", "ConfigDict", *(["Field"] if "= Field(" in body else [])]
    text += "\n" if not text.endswith("\n\n") else ""
    return {f"{path}.py": f"{text}from pydantic import {', '.join(needed)}\n{body}"}


def typed_dicts(components: Sequence[Component], header: str, path: str) -> dict[str, str]:
    """Make typed dicts, the types of what JSON is read as: dates stay texts."""
    names = _class_names(components)
    body = ""
    for component in components:
        name = names[component.name]
        kinds = {each.key: _python(each.type, names, date="str") for each in component.fields}
        kinds |= {each.key: f"NotRequired[{kinds[each.key]}]" for each in component.fields if not each.required}
        if all(key.isidentifier() and key not in PYTHON_WORDS | _FIELDS for key in kinds) and not set(kinds) & set(
            names.values()
        ):
            body += f"\n\nclass {name}(TypedDict):\n"
            body += "".join(f"    {key}: {kind}\n" for key, kind in kinds.items()) or "    pass\n"
        else:
            body += f"\n\n{name} = TypedDict(\n    {quoted(name)},\n    {{\n"
            # A name inside a call is looked up at once: what comes later stands in quotes.
            body += "".join(f"        {quoted(key)}: {quoted(kind)},\n" for key, kind in kinds.items()) + "    },\n)\n"
    needed = [name for name in ("Any", "NotRequired", "TypedDict") if name in body]
    text = f'"""{header}"""\n\nfrom __future__ import annotations\n\nfrom typing import {", ".join(needed)}\n'
    return {f"{path}.py": text + body}


def _class_names(components: Iterable[Component]) -> dict[str, str]:
    return identifiers((component.name for component in components), _CLASSES)


def _required_first(fields: Iterable[Field]) -> list[Field]:
    return sorted(fields, key=lambda field: not field.required)


def _python(kind: Type, names: dict[str, str], date: str = "datetime") -> str:
    match kind.kind:
        case "array":
            text = f"list[{_python(kind.inner or kind, names, date)}]"
        case "map":
            text = f"dict[str, {_python(kind.inner or kind, names, date)}]"
        case "component":
            text = names[kind.component]
        case "date-time":
            text = date
        case _:
            text = _SCALARS[kind.kind]
    return f"{text} | None" if kind.nullable else text


def _annotation(field: Field, names: dict[str, str]) -> str:
    text = _python(field.type, names)
    return text if field.required or text == "Any" or text.endswith("| None") else f"{text} | None"


def _wrapped(start: str, pieces: Sequence[str], end: str, *, magic: bool = True) -> str:
    """Write a list in brackets, on as many lines as the formatter takes."""
    one = f"{start}{', '.join(pieces)}{end}"
    if len(one) <= WIDTH:
        return f"{one}\n"
    inner = f"        {', '.join(pieces)}"
    if not magic and len(inner) <= WIDTH:
        return f"{start}\n{inner}\n    {end}\n"
    return f"{start}\n" + "".join(f"        {piece},\n" for piece in pieces) + f"    {end}\n"
