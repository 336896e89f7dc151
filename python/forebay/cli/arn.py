"""Arguments that name a thing of the store: by its name, or by its ARN, which the outputs of a stack are full of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ARN: Final = "arn:"
_PLACE_PARTS: Final = 5
"""`arn:aws:SERVICE:REGION:ACCOUNT:`; what comes behind them names the thing."""
_BEFORE: Final[Mapping[str, tuple[str, str]]] = {
    "function": ("lambda", "function:"),
    "workflow": ("states", "stateMachine:"),
    "execution": ("states", "execution:"),
    "queue": ("sqs", ""),
    "topic": ("sns", ""),
    "stream": ("kinesis", "stream/"),
}


def named(kind: str) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Make what turns the ARN of a thing into its name; a queue's URL, too."""
    service, before = _BEFORE[kind]

    def name_of(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is None:
            return None
        if kind == "queue" and value.startswith(("http://", "https://")):
            return value.rpartition("/")[2]
        if not value.startswith(_ARN):
            return value
        parts = value.split(":", _PLACE_PARTS)
        if len(parts) <= _PLACE_PARTS or parts[2] != service or not parts[_PLACE_PARTS].startswith(before):
            text = f"{value} is not the ARN of a {kind}: arn:aws:{service}:REGION:ACCOUNT:{before}NAME"
            raise click.BadParameter(text, ctx, param)
        name = parts[_PLACE_PARTS].removeprefix(before)
        return name.rpartition(":")[2] if kind == "execution" else name

    return name_of
