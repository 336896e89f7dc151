"""Names a handler so that a worker process can import it."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, ModuleType

SCRIPT: Final = "__forebay_main__"
"""What the script that was started is called in a worker: its `if __name__ == "__main__"` must not run there."""
IMPORTING: Final = "FOREBAY_ENVIRONMENT"
"""The variable that is set while a worker imports the app, which must not be started then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where a handler is found."""

    module: str
    script: str | None
    """The file of `__main__`, which cannot be imported by its name."""
    attribute: str


def check_importable(handler: Callable[..., Any]) -> None:
    """Refuse a handler that no other process can import by name."""
    name, module = getattr(handler, "__qualname__", None), getattr(handler, "__module__", None)
    if name is None or module is None:
        # An object that is called has no name of its own, but what @app.function gives for it may get one.
        frame = _declaring()
        if frame.f_code.co_name != "<module>":
            _refuse(f"{handler!r} has no name of its own, and is declared inside a function")
        name, module = "", frame.f_globals.get("__name__")
    if "<" in name:
        _refuse(f"{module}.{name} is made inside a function")
    if module == "__main__":
        _script()


def reference(function: object, handler: Callable[..., Any]) -> Reference:
    """Find the name under which a declared function can be imported.

    Raises:
        InvalidParameterValue: there is none.

    """
    name = getattr(handler, "__qualname__", None)
    if name is None:
        module_name, name = _where_bound(function, handler)
    else:
        check_importable(handler)
        module_name = handler.__module__
    module = sys.modules.get(module_name)
    if module is None or find(module, name) is not function:
        names = [key for key, value in vars(module).items() if value is function] if module is not None else []
        if not names:
            _refuse(f"{module_name} has no name that is bound to what @app.function gave for {name}")
        name = names[0]
    if module_name != "__main__":
        return Reference(module=module_name, script=None, attribute=name)
    spec = getattr(module, "__spec__", None)  # python -m package.module
    if spec is not None and spec.name != "__main__":
        return Reference(module=spec.name, script=None, attribute=name)
    return Reference(module=SCRIPT, script=_script(), attribute=name)


def _where_bound(function: object, handler: object) -> tuple[str, str]:
    """Find the module and the name that a declared object which is called is bound to."""
    modules = [(module_name, getattr(module, "__dict__", {})) for module_name, module in list(sys.modules.items())]
    bound = (
        (module_name, name)
        for module_name, names in modules
        for name, value in list(names.items())
        if value is function
    )
    found = next(bound, None)
    if found is None:
        _refuse(
            f"no module has a name that is bound to what app.function gave for {handler!r}: `name = app.function(…)(…)`"
        )
    return found


def _declaring() -> FrameType:
    """Give the frame outside of forebay that declares something."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_back is not None and _is_ours(frame):
        frame = frame.f_back
    return cast("FrameType", frame)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == __name__.partition(".")[0]


def find(module: ModuleType, name: str) -> object:
    """Follow a dotted name from a module on; None where it leads nowhere."""
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _script() -> str:
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if file is None and spec is None:
        _refuse("it was typed in, or given with -c: there is no file to import it from")
    return str(file)


def _refuse(reason: str) -> NoReturn:
    raise InvalidParameterValue(
        "isolation='process' (the default of a plain def that takes an event): another process must be able to import the "
        f"handler by name, and {reason}. Move it to the top of a module, make it async def, or let it run in threads of this "
        "process, whose attempts share all of its state: @app.function(isolation='thread') below the decorators of its sources"
    )
