"""Tells what the annotation of a handler's first parameter asks for. Text is read, never evaluated: it may name anything."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import sys
import types
from typing import TYPE_CHECKING, Annotated, Any, Final, ForwardRef, Literal, Optional, Union, get_args, get_origin

from forebay._core import Batch, Message, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Meaning = Literal["batch", "item", "event"]
"""A `Batch`; single records or messages, which no handler is given; or anything else: Lambda's event."""

UNKNOWN: Final = object()
NAMES_FOLLOWED_MAX: Final = 10
"""Names that stand for each other, such as aliases of aliases; a circle of them ends here."""


def meaning(annotation: object, handler: Callable[..., Any]) -> Meaning:
    """Tell what an annotation of this handler means."""
    return _Reader(handler).of(annotation) or "event"


class _Reader:
    """Reads annotations as the handler's module understands them; None stands for `None`."""

    def __init__(self, handler: Callable[..., Any]) -> None:
        function = inspect.unwrap(handler)
        function = function if hasattr(function, "__globals__") else type(function)
        self._module = sys.modules.get(function.__module__)
        own = {} if self._module is None else vars(self._module)
        self._scope: dict[str, Any] = getattr(function, "__globals__", own)
        self._followed = 0

    def of(self, annotation: object) -> Meaning | None:
        if annotation is None or annotation is type(None):
            return None
        if annotation is Batch:
            return "batch"
        if annotation is Record or annotation is Message:
            return "item"
        if isinstance(annotation, ForwardRef):
            annotation = annotation.__forward_arg__
        if isinstance(annotation, str):
            return self._of_text(annotation)
        if type(annotation).__name__ == "TypeAliasType":  # `type Orders = Batch[Record]`
            return self._of_alias(annotation)
        origin = get_origin(annotation)
        return "event" if origin is None else self._of_parts(origin, get_args(annotation), self.of)

    def _of_parts(self, head: object, parts: Iterable[Any], of: Callable[[Any], Meaning | None]) -> Meaning | None:
        """Tell what a type with types in brackets means."""
        if head is Annotated:
            return of(next(iter(parts)))
        if head is not UNKNOWN and self.of(head) == "batch":
            return "batch"
        meanings = {of(part) for part in parts} - {None}
        if head is Union or head is Optional or head is types.UnionType:
            return _either(meanings)
        # A list of records, for example, or of batches.
        return "item" if meanings & {"item", "batch"} else "event"

    def _of_alias(self, alias: Any) -> Meaning | None:
        try:
            return self.of(alias.__value__)
        except NameError:  # it names what is there for type checkers only
            return "event"

    def _of_text(self, text: str) -> Meaning | None:
        try:
            return self._of_node(ast.parse(text.strip(), mode="eval").body)
        except SyntaxError:
            return "event"

    def _of_node(self, node: ast.expr) -> Meaning | None:
        match node:
            case ast.Constant(value=None | str()):
                return self.of(node.value)
            case ast.BinOp(op=ast.BitOr()):
                return _either({self._of_node(node.left), self._of_node(node.right)} - {None})
            case ast.Subscript():
                parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
                if self._of_node(node.value) == "batch":
                    return "batch"
                return self._of_parts(self._head(node.value), parts, self._of_node)
            case ast.Name() | ast.Attribute():
                return self._of_name(ast.unparse(node))
            case _:
                return "event"

    def _head(self, node: ast.expr) -> object:
        """Find what stands before the brackets; typing's own names also where they are there for type checkers only."""
        name = ast.unparse(node)
        found = self._found(name)
        return (
            {"Annotated": Annotated, "Optional": Optional, "Union": Union}.get(name, UNKNOWN)
            if found is UNKNOWN
            else found
        )

    def _of_name(self, name: str) -> Meaning | None:
        found = self._found(name)
        if found is not UNKNOWN:
            return self.of(found)
        self._followed += 1
        head, _, rest = name.partition(".")
        stands_for = self._for_type_checkers().get(head) if self._followed <= NAMES_FOLLOWED_MAX else None
        if isinstance(stands_for, ast.expr):
            return self._of_node(stands_for)
        if stands_for is not None:
            found = _imported(f"{stands_for}.{rest}" if rest else stands_for)
            if found is not UNKNOWN:
                return self.of(found)
        # A name that leads nowhere and says Batch is taken at its word.
        return "batch" if name.rpartition(".")[2] == "Batch" else "event"

    def _found(self, name: str) -> object:
        head, *attributes = name.split(".")
        found = self._scope.get(head, getattr(builtins, head, UNKNOWN))
        for attribute in attributes:
            found = getattr(found, attribute, UNKNOWN)
        return found

    def _for_type_checkers(self) -> dict[str, str | ast.expr]:
        """Give what the names stand for that the module has under `if TYPE_CHECKING`: something imported, or a type."""
        names: dict[str, str | ast.expr] = {}
        try:
            tree = ast.parse(inspect.getsource(self._module)) if self._module is not None else ast.Module([], [])
        except (OSError, TypeError, SyntaxError):  # no source is at hand
            return names
        for block in ast.walk(tree):
            if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING"):
                for statement in block.body:
                    names |= self._bound(statement)
        return names

    def _bound(self, statement: ast.stmt) -> dict[str, str | ast.expr]:
        match statement:
            case ast.ImportFrom():
                package = getattr(self._module, "__package__", None) or ""
                source = "." * statement.level + (statement.module or "")
                module = importlib.util.resolve_name(source, package) if package or not statement.level else source
                return {alias.asname or alias.name: f"{module}.{alias.name}" for alias in statement.names}
            case ast.Import():
                return {
                    alias.asname or alias.name.partition(".")[0]: alias.name
                    if alias.asname
                    else alias.name.partition(".")[0]
                    for alias in statement.names
                }
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if statement.value:
                return {name: statement.value}
            case _:
                return {}


def _either(meanings: set[Any]) -> Meaning:
    """Tell what one of several types means: a batch is given to whoever takes one."""
    if "batch" in meanings:
        return "batch"
    return "item" if meanings == {"item"} else "event"


def _imported(name: str) -> object:
    """Find something by its full name, in what is already imported."""
    module, _, attribute = name.rpartition(".")
    if not module:
        return sys.modules.get(name, UNKNOWN)
    if module in sys.modules:
        return getattr(sys.modules[module], attribute, sys.modules.get(name, UNKNOWN))
    holder = _imported(module)
    return UNKNOWN if holder is UNKNOWN else getattr(holder, attribute, UNKNOWN)
