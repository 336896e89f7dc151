"""Settings of a workflow: frozen, and valid once they exist."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from forebay._model import checks, names

if TYPE_CHECKING:
    from collections.abc import Mapping

WorkflowType = Literal["STANDARD", "EXPRESS"]
LogLevel = Literal["ALL", "ERROR", "FATAL", "OFF"]

_SUBSTITUTION: Final = re.compile(r"\$\{([A-Za-z0-9_-]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSettings:
    """What a workflow is declared with.

    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachine.html
    """

    name: str
    definition: str
    type: WorkflowType = "STANDARD"
    log_level: LogLevel = "OFF"
    include_execution_data: bool = False

    def __post_init__(self) -> None:
        names.workflow_name(self.name)
        if self.type not in {"STANDARD", "EXPRESS"}:
            checks.refuse("type", self.type, 'allowed are "STANDARD" and "EXPRESS"')
        if self.log_level not in {"ALL", "ERROR", "FATAL", "OFF"}:
            checks.refuse("log_level", self.log_level, 'allowed are "ALL", "ERROR", "FATAL" and "OFF"')
        if self.type == "STANDARD" and (self.log_level != "OFF" or self.include_execution_data):
            given = "log_level" if self.log_level != "OFF" else "include_execution_data"
            checks.refuse(
                given, getattr(self, given), 'only an "EXPRESS" workflow has it; a "STANDARD" one has its history'
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivitySettings:
    """What an activity is declared with.

    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateActivity.html
    """

    name: str

    def __post_init__(self) -> None:
        names.workflow_name(self.name)


def definition_text(
    definition: Mapping[str, Any] | str | Path, substitutions: Mapping[str, object], function_arn: str
) -> str:
    """Read a definition, and put in what stands for `${Name}`: what is given, or the ARN of the function of that name."""
    if isinstance(definition, Path) or (isinstance(definition, str) and not definition.lstrip().startswith("{")):
        try:
            text = Path(definition).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            checks.refuse("definition", str(definition), f"it is no JSON object, and no file that can be read: {error}")
    elif isinstance(definition, str):
        text = definition
    else:
        try:
            text = json.dumps(definition, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            checks.refuse("definition", definition, f"it cannot be written as JSON: {error}")
    unknown = sorted(set(substitutions) - set(_SUBSTITUTION.findall(text)))
    if unknown:
        checks.refuse("substitutions", unknown, "the definition has no such ${Name}")

    def put_in(found: re.Match[str]) -> str:
        name = found[1]
        value = substitutions.get(name)
        value = function_arn + name if value is None else getattr(value, "arn", value)
        return json.dumps(str(value), ensure_ascii=False)[1:-1]

    return _SUBSTITUTION.sub(put_in, text)
