"""Imports a handler by its reference, with Lambda's errors."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from forebay._runtime.handler_reference import find
from forebay._wire import errors
from forebay.function import Function

if TYPE_CHECKING:
    from types import ModuleType

    from forebay._runtime.handler_reference import Reference


class CannotStartError(Exception):
    """The handler cannot be had; carries Lambda's error object."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.body = body


def load(where: Reference, function: str) -> Any:
    """Import what a reference names: the function of this name.

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
    found = find(module, where.attribute)
    if not isinstance(found, Function) or found.name != function:
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
