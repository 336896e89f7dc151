"""Python as AWS's registry writes it: a class a file, with `_types` and `_attribute_map`, and a marshaller."""

import builtins
from collections.abc import Sequence
from typing import Final

from forebay._schema.names import PYTHON_WORDS, identifiers, quoted
from forebay._schema.read import Component, Type

_SCALARS: Final = {
    "any": "object",
    "boolean": "bool",
    "date-time": "datetime",
    "integer": "int",
    "number": "float",
    "string": "str",
}
_OWN: Final = frozenset({"to_dict", "to_str", "_types", "_attribute_map", "self"})

_METHODS: Final = """
    def to_dict(self):
        result = {}
        for name in self._types:
            value = getattr(self, name)
            if isinstance(value, list):
                value = [v.to_dict() if hasattr(v, "to_dict") else v for v in value]
            elif isinstance(value, dict):
                value = {
                    k: v.to_dict() if hasattr(v, "to_dict") else v
                    for k, v in value.items()
                }
            elif hasattr(value, "to_dict"):
                value = value.to_dict()
            result[name] = value
        return result

    def to_str(self):
        return pprint.pformat(self.to_dict())

    def __repr__(self):
        return self.to_str()

    def __eq__(self, other):
        return isinstance(other, type(self)) and self.__dict__ == other.__dict__

    def __ne__(self, other):
        return not self == other
"""

_MARSHALLER: Final = '''
PACKAGE = __name__.rpartition(".")[0]


class Marshaller:
    """Objects of this package to what can be written as JSON, and back."""

    @classmethod
    def marshall(cls, obj):
        if isinstance(obj, datetime):
            return obj.isoformat().replace("+00:00", "Z")
        if isinstance(obj, (list, tuple)):
            return [cls.marshall(item) for item in obj]
        if isinstance(obj, dict):
            return {key: cls.marshall(item) for key, item in obj.items()}
        if not hasattr(obj, "_attribute_map"):
            return obj
        values = ((key, getattr(obj, name)) for name, key in obj._attribute_map.items())
        return {key: cls.marshall(value) for key, value in values if value is not None}

    @classmethod
    def unmarshall(cls, data, typeName):
        if data is None:
            return None
        if not isinstance(typeName, str):
            if not hasattr(typeName, "_types"):
                return data
            given = {
                name: cls.unmarshall(data[key], typeName._types[name])
                for name, key in typeName._attribute_map.items()
                if key in data
            }
            return typeName(**given)
        if typeName.startswith("list["):
            return [cls.unmarshall(item, typeName[5:-1]) for item in data]
        if typeName.startswith("dict("):
            inner = typeName[len("dict(str, ") : -1]
            return {key: cls.unmarshall(item, inner) for key, item in data.items()}
        if typeName == "datetime":
            return datetime.fromisoformat(data)
        if typeName in ("bool", "float", "int", "object", "str"):
            return data
        module = import_module(f"{PACKAGE}.{typeName}")
        return cls.unmarshall(data, getattr(module, typeName))
'''


def classes(components: Sequence[Component], header: str, path: str) -> dict[str, str]:
    """Make a package: a file a component, `marshaller.py`, and `__init__.py`, which exports them all."""
    names = identifiers(
        (each.name for each in components), PYTHON_WORDS | frozenset(dir(builtins)) | {"Marshaller"}, cased=False
    )
    head = f'"""{header}"""\n'
    exported = sorted(names.values())
    modules = sorted(
        [*((name, name) for name in exported), ("marshaller", "Marshaller")], key=lambda pair: pair[0].lower()
    )
    imports = "".join(f"from .{module} import {name}\n" for module, name in modules)
    listed = "".join(f"    {quoted(name)},\n" for name in [*exported, "Marshaller"])
    files = {
        f"{path}/__init__.py": f"{head}\n{imports}\n__all__ = [\n{listed}]\n",
        f"{path}/marshaller.py": f"{head}\nfrom datetime import datetime\nfrom importlib import import_module\n{_MARSHALLER}",
    }
    for parent in range(1, path.count("/") + 1):
        files.setdefault("/".join(path.split("/")[:parent]) + "/__init__.py", "")
    for component in components:
        files[f"{path}/{names[component.name]}.py"] = head + _class(component, names)
    return files


def _class(component: Component, names: dict[str, str]) -> str:
    own = identifiers((each.key for each in component.fields), PYTHON_WORDS | _OWN)
    text = f"\nimport pprint\n\n\nclass {names[component.name]}:\n"
    text += _table("_types", {own[each.key]: _type(each.type, names) for each in component.fields})
    text += "\n" + _table("_attribute_map", {name: key for key, name in own.items()})
    text += (
        "\n    def __init__(\n        self,\n"
        + "".join(f"        {name}=None,\n" for name in own.values())
        + "    ):\n"
    )
    text += "".join(f"        self._{name} = {name}\n" for name in own.values()) or "        pass\n"
    for name in own.values():
        text += f"\n    @property\n    def {name}(self):\n        return self._{name}\n"
        text += f"\n    @{name}.setter\n    def {name}(self, {name}):\n        self._{name} = {name}\n"
    return text + _METHODS


def _table(name: str, rows: dict[str, str]) -> str:
    if not rows:
        return f"    {name} = {{}}\n"
    pairs = "".join(f"        {quoted(key)}: {quoted(value)},\n" for key, value in rows.items())
    return f"    {name} = {{\n{pairs}    }}\n"


def _type(kind: Type, names: dict[str, str]) -> str:
    match kind.kind:
        case "array":
            return f"list[{_type(kind.inner or kind, names)}]"
        case "map":
            return f"dict(str, {_type(kind.inner or kind, names)})"
        case "component":
            return names[kind.component]
        case _:
            return _SCALARS[kind.kind]
