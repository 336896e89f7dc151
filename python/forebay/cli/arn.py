"""Arguments that name a thing of the store: by its name, or by its ARN, which the outputs of a stack are full of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ARN: Final = "arn:"
_URL: Final = ("http://", "https://")
_PLACE_PARTS: Final = 5
"""`arn:aws:SERVICE:REGION:ACCOUNT:`; what comes behind them names the thing."""
_BEFORE: Final[Mapping[str, tuple[str, str]]] = {
    "function": ("lambda", "function:"),
    "workflow": ("states", "stateMachine:"),
    "queue": ("sqs", ""),
    "topic": ("sns", ""),
    "stream": ("kinesis", "stream/"),
}
_EXECUTION: Final = re.compile(r"arn:[^:]+:states:[^:]*:[^:]*:(?:execution|express):([^:/]+):([^:]+)(?::[0-9a-f]+)?")
_CHILD: Final = re.compile(r"arn:[^:]+:states:[^:]*:[^:]*:(?:execution|express):([^:/]+/[^:]+:[^:]+):(\d+)")
"""A child of a distributed Map: the run of the Map, `WORKFLOW/LABEL:ID`, and the child's index in it."""
"""Behind the name of an Express execution stands its number: names need not differ."""
_EXECUTION_FORM: Final = "arn:aws:states:REGION:ACCOUNT:execution:WORKFLOW:NAME"


def named(kind: str, *, versions: bool = False) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Make what turns the ARN of a thing into its name; a queue's URL, too.

    Args:
        kind: what it names.
        versions: whether a version or an alias of a workflow can be named.

    """

    def name_of(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
        return None if value is None else _name(kind, value, versions=versions)

    return name_of


def named_execution(ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Turn the ARN of an execution into its name; the argument `name` before it must be its workflow."""
    if value is None or not value.startswith(_ARN):
        return value
    found = execution_of(value)
    if found is None:
        raise click.BadParameter(f"{value} is not the ARN of an execution: {_EXECUTION_FORM}")
    workflow, name = found
    asked = ctx.params.get("name")
    if asked is not None and workflow not in {asked, asked.partition(":")[0]}:
        raise click.BadParameter(f"{value} is an execution of workflow {workflow}, not of {asked}")
    return name


def execution_of(text: str) -> tuple[str, str] | None:
    """Give the workflow and the name of the execution that an ARN names; None: it is not such an ARN."""
    found = _EXECUTION.fullmatch(text) or _CHILD.fullmatch(text)
    return None if found is None else (found[1], found[2])


def source_of(value: str, *, queue: bool) -> tuple[str, str]:
    """Give the kind and the name of a mapping's source: an ARN or a URL says by itself which kind it is."""
    says_queue = value.startswith(_URL) or (value.startswith(_ARN) and value.split(":")[2:3] == ["sqs"])
    kind = "queue" if queue or says_queue else "stream"
    return kind, _name(kind, value)


def _name(kind: str, value: str, *, versions: bool = False) -> str:
    if kind == "queue" and value.startswith(_URL):
        name = urlsplit(value).path.rstrip("/").rpartition("/")[2]
        if not name:
            raise click.BadParameter(f"{value} is not the URL of a queue: it ends in /ACCOUNT/NAME")
        return name
    if not value.startswith(_ARN):
        return value
    service, before = _BEFORE[kind]
    parts = value.split(":", _PLACE_PARTS)
    behind = parts[-1] if len(parts) > _PLACE_PARTS and parts[2] == service else ""
    name = behind.removeprefix(before)
    if not name or not behind.startswith(before):
        text = f"{value} is not the ARN of a {kind}: arn:aws:{service}:REGION:ACCOUNT:{before}NAME"
        raise click.BadParameter(text)
    if kind == "workflow" and ":" in name and not versions:
        raise click.BadParameter(
            f"{value} is the ARN of a version or an alias: give the workflow's, without :{name.partition(':')[2]}"
        )
    return name
