"""Names a handler so that another process can import it, and imports it there, with Lambda's errors."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from forebay._wire import errors
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

# What the script that was started is called in an environment: its `if __name__ == "__main__"` must not run there.
SCRIPT: Final = "__forebay_main__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where a handler is found."""

    module: str
    script: str | None
    """The file of `__main__`, which cannot be imported by its name."""
    attribute: str


class CannotStartError(Exception):
    """The handler cannot be had; carries Lambda's error object."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.body = body


def check_importable(handler: Callable[..., Any]) -> None:
    """Refuse a handler that no other process can import by name."""
    name, module = getattr(handler, "__qualname__", None), getattr(handler, "__module__", None)
    if isinstance(handler, functools.partial) or name is None or module is None:
        _refuse(f"{handler!r} has no name of its own")
    if "<" in name:
        _refuse(f"{module}.{name} is made inside a function")
    if module == "__main__":
        _script()


def reference(function: object, handler: Callable[..., Any]) -> Reference:
    """Find the name under which a declared function can be imported.

    Raises:
        InvalidParameterValue: there is none.

    """
    check_importable(handler)
    name, module_name = handler.__qualname__, handler.__module__
    module = sys.modules.get(module_name)
    if module is None or _find(module, name) is not function:
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


def load(where: Reference) -> Any:
    """Import what a reference names.

    Raises:
        CannotStartError: with Lambda's error object.

    """
    try:
        module = _import(where)
    except ImportError as error:
        text = f"Unable to import module '{where.module}': {error}"
        raise CannotStartError(errors.described(text, "Runtime.ImportModuleError", [])) from None
    except SyntaxError as error:
        text = f"Syntax error in module '{where.module}': {error}"
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise CannotStartError(errors.described(text, "Runtime.UserCodeSyntaxError", trace)) from None
    except Exception as error:  # noqa: BLE001  the user's own module: whatever it raises is told to the caller
        trace_back = error.__traceback__
        while trace_back is not None and _is_machinery(trace_back.tb_frame.f_code.co_filename):
            trace_back = trace_back.tb_next
        raise CannotStartError(errors.raised(error, "", trace_back)) from None
    found = _find(module, where.attribute)
    if found is None:
        text = f"Handler '{where.attribute}' missing on module '{where.module}'"
        raise CannotStartError(errors.described(text, "Runtime.HandlerNotFound", []))
    return found


def _import(where: Reference) -> ModuleType:
    if where.script is None:
        return importlib.import_module(where.module)
    spec = importlib.util.spec_from_file_location(where.module, where.script)
    if spec is None or spec.loader is None:
        raise ImportError(f"{where.script} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[where.module] = module
    spec.loader.exec_module(module)
    return module


def _is_machinery(filename: str) -> bool:
    return filename == __file__ or "importlib" in filename


def _find(module: ModuleType, name: str) -> object:
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
        f"isolation='process': another process must be able to import the handler by name, and {reason}; "
        "declare a plain function at the top of a module"
    )
