"""CloudFormation's intrinsic functions and conditions, and what a value refers to."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from forebay._sam import secret
from forebay._sam.errors import TemplateRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NO_VALUE: Final = object()
"""What `AWS::NoValue` stands for: the property is left out."""
_VARIABLE: Final = re.compile(r"\$\{([^${}]*)\}")
_IN_SUB: Final = re.compile(r"[A-Za-z0-9_:.]+")
_DYNAMIC: Final = re.compile(r"\{\{resolve:([a-z-]+):([^{}]+)\}\}")
VALUES_CHARACTERS_MAX: Final = 16_000_000
"""Characters of everything that a template's functions and references give. Resources that repeat each other could double."""
_PAIR: Final = 2
_SELECT_SPLIT_IF: Final = 3
_CONDITIONS_MAX: Final = 10


@dataclass(slots=True)
class Scope:
    """What names stand for.

    Attributes:
        values: parameters and pseudo parameters.
        mappings: the section of that name.
        conditions: the section of that name.
        secrets: what the marks of secrets stand for: a condition compares the values.
        exports: outputs of other stacks, by their export names.
        resource: gives a resource's `Ref`; None where there is no such resource.
        attribute: gives an attribute of a resource.
        stored: gives what a parameter or a secret holds, by its service and the reference.
        block: the section of the template whose values are asked for, for errors.

    """

    values: Mapping[str, Any]
    mappings: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    exports: Mapping[str, str] = field(default_factory=dict)
    resource: Callable[[str], Any] = lambda _: None
    attribute: Callable[[str, str], Any] = lambda _, __: None
    stored: Callable[[str, str], str] = lambda _, __: ""
    block: str = "Resources"
    _known: dict[str, bool] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _left: int = VALUES_CHARACTERS_MAX

    def is_meant(self, one: Mapping[str, Any]) -> bool:
        """Tell whether the condition holds that a resource or an output names; without one it is meant."""
        if "Condition" not in one:
            return True
        name = one["Condition"]
        if not isinstance(name, str):
            raise _format_error("Every Condition member must be a string.")
        if name not in self.conditions:
            raise _format_error(f"Unresolved condition dependency {name} in the {self.block} block of the template")
        return self.condition(name)

    def condition(self, name: Any, function: str = "Condition") -> bool:
        """Tell whether a named condition holds; `function` is what names it."""
        if not isinstance(name, str) or name not in self.conditions:
            raise _error(f"unresolved condition dependency {name} in {function}")
        if name in self._open:
            raise _format_error(f"Circular dependency between conditions: [{', '.join(self._open)}]")
        if name not in self._known:
            self._open.append(name)
            try:
                self._known[name] = self.holds(self.conditions[name])
            finally:
                self._open.pop()
        return self._known[name]

    def holds(self, what: Any) -> bool:
        """Tell whether a condition's expression holds."""
        kind, given = _only(what)
        if kind == "Condition":
            return self.condition(given)
        if kind == "Fn::Equals":
            if not isinstance(given, list) or len(given) != _PAIR:
                raise _error("every Fn::Equals object requires a list of 2 string parameters.")
            first, second = (as_text(secret.revealed(self.resolve(one), self.secrets)) for one in given)
            return first == second
        if kind == "Fn::Not":
            if not isinstance(given, list) or len(given) != 1:
                raise _error("every Fn::Not object requires a list with exactly 1 boolean parameter.")
            return not self.holds(given[0])
        if kind in {"Fn::And", "Fn::Or"}:
            if not isinstance(given, list) or not _PAIR <= len(given) <= _CONDITIONS_MAX:
                text = f"every {kind} object requires a list of at least 2 and at most 10 boolean parameters."
                raise _error(text)
            return (all if kind == "Fn::And" else any)([self.holds(one) for one in given])
        raise _format_error("Conditions can only be boolean operations on parameters and other conditions")

    def resolve(self, value: Any) -> Any:
        """Give a value without intrinsic functions."""
        if isinstance(value, list):
            found = [self.resolve(one) for one in value]
            return [one for one in found if one is not NO_VALUE]
        if not isinstance(value, dict):
            return self._filled(value)
        kind, given = _only(value)
        if kind == "Ref":
            return self._counted(self._ref(given))
        if kind is not None and kind.startswith("Fn::"):
            function = _FUNCTIONS.get(kind)
            if function is None:
                raise _error(f"{kind} is not served")
            return self._counted(self._filled(function(self, given)))
        found_by_key = {key: self.resolve(one) for key, one in value.items()}
        return {key: one for key, one in found_by_key.items() if one is not NO_VALUE}

    def _counted(self, value: Any) -> Any:
        """Give a value, unless all of them together are too long."""
        parts = value if isinstance(value, list) else [value]
        self._left -= sum(len(one) if isinstance(one, str) else 1 for one in parts)
        if self._left < 0:
            raise _error(f"its values have more than {VALUES_CHARACTERS_MAX:,} characters")
        return value

    def _filled(self, value: Any) -> Any:
        """Give a text with what its dynamic references stand for."""
        if not isinstance(value, str) or "{{resolve:" not in value:
            return value
        return _DYNAMIC.sub(lambda found: self.stored(found[1], found[2]), value)

    def _ref(self, name: Any) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if isinstance(name, str) and name in self.values:
            return self.values[name]
        found = self.resource(name) if isinstance(name, str) else None
        if found is None:
            raise self._unresolved(name)
        return found

    def _unresolved(self, name: object) -> TemplateRefused:
        if self._open:
            text = (
                f"Unresolved dependencies [{name}]. Cannot reference resources in the Conditions block of the template"
            )
            return _format_error(text)
        return _format_error(f"Unresolved resource dependencies [{name}] in the {self.block} block of the template")

    def _get_att(self, given: Any) -> Any:
        names = given.split(".", 1) if isinstance(given, str) else given
        if not isinstance(names, list) or len(names) != _PAIR or not isinstance(names[0], str):
            raise _error(
                "every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute"
            )
        attribute = self.resolve(names[1])
        found = self.attribute(names[0], str(attribute))
        if found is None:
            if self.resource(names[0]) is None:
                raise self._unresolved(names[0])
            raise _error(f"Requested attribute {attribute} does not exist in resource {names[0]}")
        return found

    def _sub(self, given: Any) -> str:
        text, own = (given[0], given[1]) if isinstance(given, list) and len(given) == _PAIR else (given, {})
        if not isinstance(text, str) or not isinstance(own, dict):
            raise _error("Fn::Sub is a text, or a list of a text and a mapping")

        def put_in(found: re.Match[str]) -> str:
            name = found[1].strip()
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            _check_variable(name)
            if name in own:
                return as_text(self.resolve(own[name]))
            return as_text(self._get_att(name) if "." in name and name not in self.values else self._ref(name))

        return _VARIABLE.sub(put_in, text)

    def _join(self, given: Any) -> str:
        parts = self.resolve(given[1]) if isinstance(given, list) and len(given) == _PAIR else None
        if not isinstance(parts, list) or not isinstance(given[0], str):
            raise _error("every Fn::Join object requires two parameters, a string delimiter and a list of strings")
        return str(given[0]).join(as_text(part) for part in parts)

    def _split(self, given: Any) -> list[str]:
        text = self.resolve(given[1]) if isinstance(given, list) and len(given) == _PAIR else None
        if not isinstance(text, str) or not isinstance(given[0], str) or not given[0]:
            raise _error("every Fn::Split object requires two parameters, a string delimiter and a string to be split")
        if secret.has_mark(text):
            raise _error("Fn::Split of a NoEcho parameter is not served: give its parts as parameters")
        return text.split(given[0])

    def _select(self, given: Any) -> Any:
        if not isinstance(given, list) or len(given) != _PAIR:
            raise _error("every Fn::Select object requires two non-empty parameters, an index and a list")
        at, among = self.resolve(given[0]), self.resolve(given[1])
        if not isinstance(among, list) or not str(at).isdecimal() or int(at) >= len(among):
            raise _error(f"Fn::Select cannot select nonexistent value at index {at}")
        return among[int(at)]

    def _if(self, given: Any) -> Any:
        if not isinstance(given, list) or len(given) != _SELECT_SPLIT_IF:
            raise _error("Fn::If requires three parameters: a condition and the values for true and false")
        return self.resolve(given[1] if self.condition(given[0], "Fn::If") else given[2])

    def _find_in_map(self, given: Any) -> Any:
        default = {}
        if isinstance(given, list) and len(given) == _SELECT_SPLIT_IF + 1 and isinstance(given[3], dict):
            default = given[3]
            given = given[:3]
        if not isinstance(given, list) or len(given) != _SELECT_SPLIT_IF:
            raise _error(
                "every Fn::FindInMap object requires three parameters: the map name, map key and the attribute"
            )
        found: Any = self.mappings
        for name in given:
            key = str(self.resolve(name))
            if not isinstance(found, dict) or key not in found:
                if "DefaultValue" in default:
                    return self.resolve(default["DefaultValue"])
                raise _error(f"Unable to get mapping for {'::'.join(as_text(self.resolve(one)) for one in given)}")
            found = found[key]
        return found

    def _import(self, given: Any) -> str:
        name = as_text(self.resolve(given))
        if name not in self.exports:
            raise TemplateRefused([f"No export named {name} found."])
        return self.exports[name]

    def _base64(self, given: Any) -> str:
        text = as_text(self.resolve(given))
        if secret.has_mark(text):
            raise _error("Fn::Base64 of a NoEcho parameter is not served: give the parameter in base64")
        return base64.b64encode(text.encode()).decode()

    def _to_json(self, given: Any) -> str:
        text = json.dumps(self.resolve(given), separators=(",", ":"), ensure_ascii=False)
        for value in secret.marked(text, self.secrets):
            if json.dumps(value, ensure_ascii=False) != f'"{value}"':
                raise _error("Fn::ToJsonString of a NoEcho parameter with quotes or backslashes is not served")
        return text

    def _length(self, given: Any) -> int:
        found = self.resolve(given)
        if not isinstance(found, list):
            raise _error("Fn::Length counts the members of a list")
        return len(found)


_FUNCTIONS: Final[dict[str, Callable[[Scope, Any], Any]]] = {
    "Fn::GetAtt": Scope._get_att,  # noqa: SLF001  a table of this class's own methods
    "Fn::Sub": Scope._sub,  # noqa: SLF001
    "Fn::Join": Scope._join,  # noqa: SLF001
    "Fn::Split": Scope._split,  # noqa: SLF001
    "Fn::Select": Scope._select,  # noqa: SLF001
    "Fn::If": Scope._if,  # noqa: SLF001
    "Fn::FindInMap": Scope._find_in_map,  # noqa: SLF001
    "Fn::ImportValue": Scope._import,  # noqa: SLF001
    "Fn::Base64": Scope._base64,  # noqa: SLF001
    "Fn::ToJsonString": Scope._to_json,  # noqa: SLF001
    "Fn::Length": Scope._length,  # noqa: SLF001
}


def references(value: Any, scope: Scope) -> Iterator[str]:
    """Yield every name that a value refers to, of the branches that are taken."""
    if isinstance(value, list):
        for one in value:
            yield from references(one, scope)
        return
    if not isinstance(value, dict):
        return
    kind, given = _only(value)
    if kind == "Ref" and isinstance(given, str):
        yield given
    elif kind == "Fn::GetAtt":
        names = given.split(".", 1) if isinstance(given, str) else given
        yield from (str(name) for name in names[:1])
    elif kind == "Fn::Sub":
        yield from _references_of_sub(given, scope)
    elif kind == "Fn::If" and isinstance(given, list) and len(given) == _SELECT_SPLIT_IF:
        yield from references(given[1] if scope.condition(given[0], "Fn::If") else given[2], scope)
    else:
        for one in value.values():
            yield from references(one, scope)


def _references_of_sub(given: Any, scope: Scope) -> Iterator[str]:
    own = given[1] if isinstance(given, list) and len(given) == _PAIR and isinstance(given[1], dict) else {}
    text = given[0] if isinstance(given, list) and given else given
    for name in (found.strip() for found in _VARIABLE.findall(text)) if isinstance(text, str) else ():
        if not name.startswith("!"):
            _check_variable(name)
            yield from () if name in own else (name.split(".", 1)[0],)
    yield from references(own, scope)


def imported(value: Any, scope: Scope) -> Iterator[Any]:
    """Yield what names each import, of the branches that are taken."""
    kind, given = _only(value)
    if kind == "Fn::ImportValue":
        yield given
    elif kind == "Fn::If" and isinstance(given, list) and len(given) == _SELECT_SPLIT_IF:
        yield from imported(given[1] if scope.condition(given[0]) else given[2], scope)
    else:
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from imported(one, scope)


def _only(value: Any) -> tuple[str | None, Any]:
    """Give the one key of a mapping, and what stands there."""
    if isinstance(value, dict) and len(value) == 1:
        key = next(iter(value))
        return key, value[key]
    return None, None


def _check_variable(name: str) -> None:
    if not _IN_SUB.fullmatch(name):
        text = "variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, periods, and colons"
        raise _error(text)


def plain(value: Any) -> str:
    """Give a value that is neither a list nor a mapping as a text, with truth values as AWS writes them."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def as_text(value: Any) -> str:
    """Give a value as a text, as AWS writes it."""
    if isinstance(value, list):
        return ",".join(as_text(one) for one in value)
    if isinstance(value, dict) or value is None or value is NO_VALUE:
        raise _error("a text is needed, and there is none")
    return plain(value)


def _error(text: str) -> TemplateRefused:
    return TemplateRefused([f"Template error: {text}"])


def _format_error(text: str) -> TemplateRefused:
    return TemplateRefused([f"Template format error: {text}"])
