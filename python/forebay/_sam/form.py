"""What is wrong with the form of a template: its sections, and attributes of resources beside their properties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DELETE: Final = "Delete"
RETAIN: Final = "Retain"
_REFUSED: Final = {"Hooks": "hooks are not served", "Rules": "rules of parameters are not served"}
_SECTIONS: Final = frozenset(
    {
        *("AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Mappings", "Conditions", "Transform"),
        *("Resources", "Outputs", *_REFUSED),
    }
)
_MOST: Final = {"Resources": 500, "Parameters": 200, "Mappings": 200, "Outputs": 200}
"""Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
_DESCRIPTION_BYTES_MAX: Final = 1024
_ON_DELETION: Final = (DELETE, RETAIN, "RetainExceptOnCreate")
_ON_REPLACEMENT: Final = (DELETE, RETAIN)


def wrong_resources(resources: Mapping[str, Any]) -> list[str]:
    """Say of each resource what is wrong with its form. Folders and other resources are named by logical ids."""
    typed = {name for name, one in resources.items() if isinstance(one, dict) and isinstance(one.get("Type"), str)}
    misnamed = (name for name in resources if not (name.isascii() and name.isalnum()))
    return [
        *(
            f"Template format error: [/Resources/{name}] Every Resources object must contain a Type member."
            for name in resources
            if name not in typed
        ),
        *(f"Template format error: Resource name {name[:100]} is non alphanumeric." for name in misnamed),
    ]


def too_many(body: Mapping[str, Any]) -> list[str]:
    """Say which sections have more members than AWS takes."""
    sections = {name: body[name] for name in _MOST if isinstance(body.get(name), dict)}
    counted = ((name, _MOST[name], len(section)) for name, section in sections.items())
    return [
        f"Template format error: Number of {name.lower()}, {count}, is greater than maximum allowed, {most}"
        for name, most, count in counted
        if count > most
    ]


def wrong_sections(body: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with the sections of a template that is expanded."""
    reasons = [*(f"{section}: {why}" for section, why in _REFUSED.items() if body.get(section)), *too_many(body)]
    unknown = sorted(set(body) - _SECTIONS)
    if unknown:
        reasons.append(f"Invalid template property or properties [{', '.join(unknown)}]")
    description = body.get("Description", "")
    if not isinstance(description, str):
        reasons.append("Template format error: Every Description member must be a string.")
    elif len(description.encode()) > _DESCRIPTION_BYTES_MAX:
        reasons.append(f"Template format error: 'Description' length is greater than {_DESCRIPTION_BYTES_MAX}.")
    return reasons


def wrong_policies(name: str, one: Mapping[str, Any]) -> list[str]:
    """Say which attributes of a resource name no policy: what is misspelt must not be taken for `Delete`."""
    reasons = []
    for key, allowed in (("DeletionPolicy", _ON_DELETION), ("UpdateReplacePolicy", _ON_REPLACEMENT)):
        policy = one.get(key, DELETE)
        if not isinstance(policy, str):
            reasons.append(f"{name}: Template format error: Every {key} member must be a string.")
        elif policy == "Snapshot":
            words = "deletion policy" if key == "DeletionPolicy" else "update replace policy"
            reasons.append(f"{name}: Template error: resource type {one['Type']} does not support {words} Snapshot")
        elif policy not in allowed:
            reasons.append(f"{name}: Template format error: Unrecognized {key} {policy} for resource {name}")
    return reasons
