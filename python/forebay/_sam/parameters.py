"""Parameters of a template: their types, their limits, and their defaults. Values of NoEcho parameters stand in no error."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from forebay._sam import patterns, secret
from forebay._sam.errors import TemplateRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

VALUE_CHARACTERS_MAX: Final = 4096
"""Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
_FROM_SSM: Final = re.compile(r"AWS::SSM::Parameter::Value<(.+)>")
_LISTS: Final = ("CommaDelimitedList", "List<")
_PLAIN: Final = r"(?:String|Number|AWS::[A-Za-z0-9:]+)"
_ANY: Final = rf"(?:{_PLAIN}|CommaDelimitedList|List<{_PLAIN}>)"
_TYPE: Final = re.compile(rf"{_ANY}|AWS::SSM::Parameter::Value<{_ANY}>")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a template's parameters are.

    Attributes:
        values: by name, as templates use them; a secret is its mark.
        given: by name, the texts that are kept for the next deploy; a secret is its mark.
        secrets: the values of those with NoEcho.

    """

    values: dict[str, Any] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


def is_secret(declared: Any) -> bool:
    """Whether a parameter's value must not be shown."""
    return isinstance(declared, dict) and str(declared.get("NoEcho", False)).lower() == "true"


def read(
    declared: Any,
    given: Mapping[str, str],
    before: Parameters | None = None,
    *,
    stored: Mapping[str, str] | None = None,
    hidden: Collection[str] = (),
) -> Parameters:
    """Check the values that are given; take those of the last deploy for others, and then the defaults.

    Args:
        declared: the template's section.
        given: values by name.
        before: what the stack was deployed with.
        stored: parameters of the store (AWS::SSM::Parameter), by name.
        hidden: names of those whose values are secret.

    Raises:
        TemplateRefused: in AWS's words, all that is wrong.

    """
    declared = {} if declared is None else declared
    if not isinstance(declared, dict):
        raise TemplateRefused(["Template format error: Parameters is a mapping"])
    reasons = []
    unknown = sorted(set(given) - set(declared))
    if unknown:
        reasons.append(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    found = Parameters()
    missing = []
    matched: dict[str, tuple[str, list[str]]] = {}
    for name, one in declared.items():
        text = _text_of(name, one, given, before)
        if text is None:
            missing.append(name)
            continue
        is_stored = _FROM_SSM.fullmatch(str(one.get("Type", ""))) is not None
        value = (stored or {}).get(text) if is_stored else text
        if value is None:
            reasons.append(f"Parameter '{name}' names {text!r}, and no parameter of the store has that name")
            continue
        reason = _refusal(name, one, value)
        if reason is not None:
            reasons.append(reason)
            continue
        if isinstance(one.get("AllowedPattern"), str):
            matched[name] = (one["AllowedPattern"], _members(one, value))
        _take(found, name, one, text=text, value=value, is_hidden=is_stored and text in hidden)
    reasons += [_told(name, declared[name], why) for name, why in patterns.broken(matched).items()]
    if missing:
        reasons.insert(0, f"Parameters: [{', '.join(missing)}] must have values")
    if reasons:
        raise TemplateRefused(reasons)
    return found


def _take(found: Parameters, name: str, one: dict[str, Any], *, text: str, value: str, is_hidden: bool) -> None:
    """Take a parameter; `text` is what was given, and `is_hidden` tells that the value is secret and the text is not."""
    if is_secret(one) or is_hidden:
        found.secrets[name] = value
        found.values[name] = secret.mark(name)
        found.given[name] = text if is_hidden else secret.mark(name)
        return
    found.given[name] = text
    found.values[name] = _members(one, value) if _is_list(one) else value


def _is_list(one: dict[str, Any]) -> bool:
    kind = str(one["Type"])
    from_ssm = _FROM_SSM.fullmatch(kind)
    return (kind if from_ssm is None else from_ssm[1]).startswith(_LISTS)


def _members(one: dict[str, Any], value: str) -> list[str]:
    """Give what limits of a parameter hold for: each member of a list, else the value."""
    return [part.strip() for part in value.split(",")] if _is_list(one) else [value]


def _text_of(name: str, one: Any, given: Mapping[str, str], before: Parameters | None) -> str | None:
    if not isinstance(one, dict) or "Type" not in one:
        raise TemplateRefused([f"Template format error: Every Parameters object must contain a Type member. ({name})"])
    if not _TYPE.fullmatch(str(one["Type"])):
        raise TemplateRefused([f"Template format error: Unrecognized parameter type: {one['Type']} ({name})"])
    if name in given:
        return given[name]
    if before is not None and name in before.given:
        return (
            before.secrets.get(name)
            if is_secret(one) and name in before.secrets
            else secret.revealed(before.given[name], before.secrets)
        )
    default = one.get("Default")
    if default is None:
        return None
    if isinstance(default, bool):
        return "true" if default else "false"
    return ",".join(map(str, default)) if isinstance(default, list) else str(default)


def _refusal(name: str, one: dict[str, Any], value: str) -> str | None:
    try:
        reason = _broken_limit(one, value)
    except (TypeError, ValueError):
        return f"Template format error: Parameter '{name}' has a limit that is not a number"
    return None if reason is None else _told(name, one, reason)


def _told(name: str, one: dict[str, Any], why: str) -> str:
    """Say what is wrong with a parameter, in the template's own words where it has some."""
    described = one.get("ConstraintDescription")
    return f"Parameter '{name}' " + (f"failed to satisfy constraint: {described}" if described else why)


def _broken_limit(one: dict[str, Any], value: str) -> str | None:
    if len(value) > VALUE_CHARACTERS_MAX:
        return f"must contain at most {VALUE_CHARACTERS_MAX} characters"
    allowed = one.get("AllowedValues")
    if isinstance(allowed, list) and not set(_members(one, value)) <= {_plain(each) for each in allowed}:
        return "must be one of AllowedValues"
    lengths = (("MinLength", "at least", -1), ("MaxLength", "at most", 1))
    for limit, words, sign in lengths:
        if limit in one and (len(value) - int(one[limit])) * sign > 0:
            return f"must contain {words} {one[limit]} characters"
    return _broken_number(one, value) if str(one.get("Type")) in {"Number", "List<Number>"} else None


def _broken_number(one: dict[str, Any], value: str) -> str | None:
    for part in value.split(",") if str(one["Type"]) == "List<Number>" else [value]:
        try:
            number = float(part)
        except ValueError:
            return "must be a number"
        if "MinValue" in one and number < float(one["MinValue"]):
            return f"must be a number not less than {one['MinValue']}"
        if "MaxValue" in one and number > float(one["MaxValue"]):
            return f"must be a number not greater than {one['MaxValue']}"
    return None


def _plain(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
