"""Finds functions that workflows call and that the app does not declare: their tasks fail one by one, long after the start."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from forebay.workflow import Workflow

_ARN: Final = re.compile(r"arn:aws[a-z-]*:lambda:[^:]*:[^:]*:function:([A-Za-z0-9_-]+)(?::[A-Za-z0-9$_-]+)?")
_DATA: Final = frozenset({"Arguments", "Assign", "Output", "Parameters", "Result", "ResultSelector"})
_NAME: Final = re.compile(r"([A-Za-z0-9_-]+)(?::[A-Za-z0-9$_-]+)?")


def missing(workflows: Iterable[Workflow], declared: Container[str]) -> dict[str, list[str]]:
    """Give, by the name of each workflow, the functions that its definition names and that are not declared."""
    found = {}
    for workflow in workflows:
        try:
            named = set(_named(json.loads(workflow.settings.definition)))
        except ValueError:
            continue  # what is wrong with the definition is told with its place
        unknown = sorted(name for name in named if name not in declared)
        if unknown:
            found[workflow.name] = unknown
    return found


def _named(part: Any) -> Iterator[str]:
    """Walk through a definition; what a task takes from its input names no function here."""
    if isinstance(part, list):
        for one in part:
            yield from _named(one)
    if not isinstance(part, dict):
        return
    for key, one in part.items():
        if key not in _DATA:
            # Names of states are any.
            yield from _named(list(one.values()) if key == "States" and isinstance(one, dict) else one)
    resource = part.get("Resource")
    if part.get("Type") != "Task" or not isinstance(resource, str):
        return
    name = _ARN.fullmatch(resource)
    if resource.partition(":::")[2].startswith("lambda:invoke"):
        given = part.get("Parameters", part.get("Arguments"))
        text = given.get("FunctionName") if isinstance(given, dict) else None
        name = (_ARN.fullmatch(text) or _NAME.fullmatch(text)) if isinstance(text, str) else None
    if name is not None:
        yield name[1]
