"""Imports a handler by its reference, with Lambda's errors."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forebay._runtime.handler_reference import find
from forebay._wire import errors
from forebay.function import Function

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from forebay._runtime.handler_reference import Reference


class CannotStartError(Exception):
    """The handler cannot be had; carries Lambda's error object."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.body = body


@dataclass(frozen=True, slots=True)
class PlainHandler:
    """A handler of code that knows nothing of forebay, as a deployed function has it."""

    handler: Callable[[Any, Any], Any]
    wants_batch: bool = False


def load_plain(named: str) -> PlainHandler:
    """Import a handler by Lambda's name of it, "module.function"; the module may stand in folders: "src/app.handler".

    Raises:
        CannotStartError: with Lambda's error object.

    """
    module_name, dot, attribute = named.rpartition(".")
    if not dot or not module_name or not attribute:
        text = f"Bad handler '{named}': not enough values to unpack (expected 2, got 1)"
        raise CannotStartError(errors.described(text, "Runtime.MalformedHandlerName", []))
    module_name = module_name.replace("/", ".")
    found = getattr(_imported(lambda: importlib.import_module(module_name), module_name), attribute, None)
    if not callable(found):
        text = f"Handler '{attribute}' missing on module '{module_name}'"
        raise CannotStartError(errors.described(text, "Runtime.HandlerNotFound", []))
    return PlainHandler(found)


def load(where: Reference, function: str) -> Any:
    """Import what a reference names: the function of this name.

    Raises:
        CannotStartError: with Lambda's error object.

    """
    module = _imported(lambda: _import(where), where.module)
    found = find(module, where.attribute)
    if not isinstance(found, Function) or found.name != function:
        text = f"Handler '{where.attribute}' missing on module '{where.module}'"
        raise CannotStartError(errors.described(text, "Runtime.HandlerNotFound", []))
    return found


def _imported(importing: Callable[[], ModuleType], name: str) -> ModuleType:
    try:
        return importing()
    except ImportError as error:
        text = f"Unable to import module '{name}': {error}"
        raise CannotStartError(errors.described(text, "Runtime.ImportModuleError", [])) from None
    except SyntaxError as error:
        text = f"Syntax error in module '{name}': {error}"
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise CannotStartError(errors.described(text, "Runtime.UserCodeSyntaxError", trace)) from None
    except Exception as error:  # noqa: BLE001  the user's own module: whatever it raises is told to the caller
        trace_back = error.__traceback__
        while trace_back is not None and _is_machinery(trace_back.tb_frame.f_code.co_filename):
            trace_back = trace_back.tb_next
        raise CannotStartError(errors.raised(error, "", trace_back)) from None


def _import(where: Reference) -> ModuleType:
    if where.script is None:
        return importlib.import_module(where.module)
    spec = importlib.util.spec_from_file_location(where.module, where.script)
    if spec is None or spec.loader is None:
        raise ImportError(f"{where.script} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[where.module] = module
    spec.loader.exec_module(module)
    return module


def _is_machinery(filename: str) -> bool:
    return filename == __file__ or "importlib" in filename
