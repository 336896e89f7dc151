"""What is wrong with a template: one error holds all that was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterable


class TemplateRefused(InvalidParameterValue):
    """A template that is not deployed, with every reason.

    Attributes:
        reasons: one text for each thing that is wrong.
        code: AWS's name of the error.

    """

    def __init__(self, reasons: Iterable[str], code: str = "ValidationError") -> None:
        self.reasons = tuple(reasons)
        self.code = code
        super().__init__("\n".join(self.reasons))


class NoChanges(InvalidParameterValue):
    """A deploy that would change nothing."""


class StackNotFound(InvalidParameterValue):
    """There is no such stack."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Stack with id {name} does not exist")
