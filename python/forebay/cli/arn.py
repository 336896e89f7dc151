"""Arguments that name a thing of the store: by its name, or by its ARN, which the outputs of a stack are full of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class Named(click.ParamType):
    """Takes the name of a thing, or its ARN; a queue's URL, too."""

    name = "text"

    def __init__(self, kind: str) -> None:
        """Take what is named."""
        self._kind = kind

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Give the name."""
        if self._kind == "queue" and value.startswith(("http://", "https://")):
            return value.rpartition("/")[2]
        if not value.startswith(_ARN):
            return value
        service, before = _BEFORE[self._kind]
        parts = value.split(":", _PLACE_PARTS)
        if len(parts) <= _PLACE_PARTS or parts[2] != service or not parts[_PLACE_PARTS].startswith(before):
            self.fail(
                f"{value} is not the ARN of a {self._kind}: arn:aws:{service}:REGION:ACCOUNT:{before}NAME", param, ctx
            )
        name = parts[_PLACE_PARTS].removeprefix(before)
        return name.rpartition(":")[2] if self._kind == "execution" else name
