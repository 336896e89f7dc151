"""Settings of a workflow: frozen, and valid once they exist."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from forebay._model import checks, limits, names
from forebay._model.concurrency import rate

if TYPE_CHECKING:
    from collections.abc import Mapping

WorkflowType = Literal["STANDARD", "EXPRESS"]
LogLevel = Literal["ALL", "ERROR", "FATAL", "OFF"]

_NO_ARN: Final = "Value is not a valid resource ARN"
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


Bucket = tuple[int, float]
"""A token bucket: most tokens that it holds, and tokens that flow in each second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowLimits:
    """How often executions of workflows may begin, and Standard ones enter states.

    Each is a token bucket, `(burst, per_second)`, or None for no limit.

    A start without a token is refused (`TooManyRequests`). A state without one waits; the metric ExecutionThrottled counts it.

    Args:
        standard_starts: starts of Standard executions, those by tasks and redrives too.
        express_starts: starts of Express executions.
        transitions: states that Standard executions enter.

    Raises:
        InvalidParameterValue: a bucket that is not a pair, or a number out of its range.

    """

    standard_starts: Bucket | None = None
    express_starts: Bucket | None = None
    transitions: Bucket | None = None

    def __post_init__(self) -> None:
        for name in ("standard_starts", "express_starts", "transitions"):
            bucket = getattr(self, name)
            if bucket is None:
                continue
            if not (isinstance(bucket, tuple) and len(bucket) == 2):  # noqa: PLR2004 - a pair
                checks.refuse(name, bucket, "allowed are (burst, per_second) and None")
            checks.integer(f"{name}[0]", bucket[0], low=1, high=limits.SCALING_BURST_MAX)
            rate(f"{name}[1]", bucket[1])


NO_LIMITS: Final = WorkflowLimits()

PROFILES: Final = {
    "aws-2019": WorkflowLimits(standard_starts=(800, 150), express_starts=(6000, 6000), transitions=(800, 500)),
    "aws": WorkflowLimits(standard_starts=(1300, 300), express_starts=(6000, 6000), transitions=(5000, 1500)),
}
"""AWS's quotas: those of most Regions in 2019, and of the largest Regions now.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""


def failure_of(error: str | None, cause: str | None) -> dict[str, str | None]:
    """Check what a task or an execution failed with, as it is told."""
    return {
        "error": checks.optional_text("error", error, most=limits.TASK_ERROR_CHARACTERS_MAX),
        "cause": checks.optional_text("cause", cause, most=limits.TASK_CAUSE_CHARACTERS_MAX),
    }


def workflow_limits(value: str | WorkflowLimits | None) -> WorkflowLimits:
    """Check how often executions may begin and go on: a profile's name, `WorkflowLimits`, or None for no limit."""
    if value is None or isinstance(value, WorkflowLimits):
        return value or NO_LIMITS
    if not isinstance(value, str) or value not in PROFILES:
        checks.refuse(
            "workflow_limits", value, f"allowed are {', '.join(map(repr, PROFILES))}, a WorkflowLimits and None"
        )
    return PROFILES[value]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivitySettings:
    """What an activity is declared with.

    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateActivity.html
    """

    name: str

    def __post_init__(self) -> None:
        names.workflow_name(self.name, of="an activity")


def definition_text(
    definition: Mapping[str, Any] | str | Path, substitutions: Mapping[str, object], function_arn: str
) -> str:
    """Read a definition, and put in what stands for `${Name}`: what is given, or the ARN of the function of that name."""
    is_file = isinstance(definition, Path) or (isinstance(definition, str) and not definition.lstrip().startswith("{"))
    if is_file:
        try:
            text = Path(definition).read_text(encoding="utf-8")  # type: ignore[arg-type]  # no mapping is a file
        except (OSError, UnicodeDecodeError) as error:
            checks.refuse(
                "definition", str(definition), f"it is not a JSON object, and no file that can be read: {error}"
            )
    elif isinstance(definition, str):
        text = definition
    else:
        try:
            text = json.dumps(definition, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            hint = 'write "${name}" for what `substitutions` gives, or for the function of that name'
            checks.refuse("definition", definition, f"it cannot be written as JSON: {error}; {hint}")
    text = put_in(text, substitutions, function_arn)
    if is_file:
        try:
            json.loads(text)
        except ValueError as error:
            checks.refuse("definition", str(definition), f"the file is not JSON, and YAML is not read: {error}")
    return text


def put_in(text: str, substitutions: Mapping[str, object], function_arn: str) -> str:
    """Put in what stands for `${Name}` in the text of a definition."""
    unknown = sorted(set(substitutions) - set(_SUBSTITUTION.findall(text)))
    if unknown:
        checks.refuse("substitutions", unknown, "the definition has no such ${Name}")

    def value_of(found: re.Match[str]) -> str:
        name = found[1]
        value = substitutions.get(name)
        value = function_arn + name if value is None else getattr(value, "arn", value)
        if not isinstance(value, str):
            checks.refuse("substitutions", {name: value}, "give a text, or a function, queue, topic or workflow")
        return json.dumps(str(value), ensure_ascii=False)[1:-1]

    return _SUBSTITUTION.sub(value_of, text)


def no_arns(definition: str, refusal: str) -> str:
    """Say of resources that a refusal calls no ARNs what they are, and how a function is written."""
    if _NO_ARN not in refusal:
        return ""
    found = {one for one in re.findall(r'"Resource": ?"([^"]*)"', definition) if not one.startswith("arn:")}
    if not found:
        return ""
    told = " and ".join(map(repr, sorted(found)))
    return f'; none is {told}: write "${{f}}" for the function f, or give what stands for ${{f}} by `substitutions`'
