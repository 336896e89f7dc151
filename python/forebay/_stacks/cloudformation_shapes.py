"""The forms that CloudFormation's answers have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from forebay._sam import parameters as sam_parameters
from forebay._sam import secret
from forebay._sam import template as sam_template
from forebay._stacks import service as stacks
from forebay._stacks.table import capabilities_needed
from forebay._stacks.wire_error import WireError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forebay._stacks.cloudformation import ChangeSet
    from forebay._stacks.service import Asked, Preview, Service
    from forebay._stacks.store import Deleted, Event

Members = dict[str, Any]
REVIEW: Final = "REVIEW_IN_PROGRESS"


def token_of(given: Members) -> int | None:
    """Read where a list goes on."""
    token = given.get("NextToken")
    if token is None:
        return None
    if not str(token).isdecimal():
        raise WireError("ValidationError", "NextToken is not one that an answer gave")
    return int(token)


def refuse_capabilities(preview: Preview, asked: Asked) -> None:
    """Refuse a change set whose roles are not acknowledged."""
    needed = capabilities_needed(preview.plan.resources)
    if needed is not None and not {needed, "CAPABILITY_NAMED_IAM"} & set(asked.capabilities):
        raise WireError("InsufficientCapabilitiesException", f"Requires capabilities : [{needed}]")


def change_shape(step: Any) -> Members:
    """Give a step of a plan."""
    one = step.before if step.before is not None else step.after
    told = {"Action": step.action, "LogicalResourceId": step.logical, "ResourceType": step.type}
    if step.before is not None:
        told["PhysicalResourceId"] = stacks.physical_id(one)
    if step.action == "Modify":
        told["Replacement"] = "True" if step.replaces else "False"
    return {"Type": "Resource", "ResourceChange": told}


def tag_shapes(tags: dict[str, str] | None) -> list[Members]:
    """Give tags."""
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]


def declared_parameters(text: str) -> Members:
    """Give what a template declares of parameters."""
    declared = sam_template.read(text.encode()).body.get("Parameters")
    return declared if isinstance(declared, dict) else {}


def parameter_shape(key: str, value: str, declared: Members) -> Members:
    """Give a parameter that was given; a secret is not shown."""
    shown = secret.SHOWN if sam_parameters.is_secret(declared.get(key)) else value
    return {"ParameterKey": key, "ParameterValue": shown}


def template_parameters(body: Members) -> Members:
    """Give what a template says of its parameters."""
    declared = body.get("Parameters") if isinstance(body.get("Parameters"), dict) else {}
    found = []
    for key, one in (declared or {}).items():
        if not isinstance(one, dict):
            raise WireError("ValidationError", f"Template format error: [/Parameters/{key}] is a mapping")
        told = {"ParameterKey": key, "ParameterType": str(one.get("Type")), "NoEcho": sam_parameters.is_secret(one)}
        if "Default" in one:
            told["DefaultValue"] = secret.SHOWN if told["NoEcho"] else str(one["Default"])
        found.append({**told, "Description": one.get("Description")})
    return {"Parameters": found, "Description": body.get("Description")}


def under_review(pending: ChangeSet) -> Members:
    """Give a stack that a change set is to create."""
    told = {"StackId": pending.stack_id, "StackName": pending.stack, "StackStatus": REVIEW}
    return {**told, "CreationTime": pending.created_ms, "Tags": tag_shapes(pending.asked.tags)}


def stack_shape(service: Service, name: str) -> Members:
    """Give a stack; no secret is in it."""
    told, stack = stacks.described(service, name), service.store.stack(name)
    outputs: Iterable[Members] = told["outputs"]
    return {
        "StackId": stack.id,
        "StackName": stack.name,
        "Description": stack.description,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in told["parameters"].items()],
        "CreationTime": stack.created_ms,
        "LastUpdatedTime": stack.updated_ms if stack.status.startswith("UPDATE") else None,
        "RollbackConfiguration": {},
        "StackStatus": stack.status,
        "StackStatusReason": stack.reason,
        "DisableRollback": False,
        "NotificationARNs": [],
        "Outputs": [
            {
                "OutputKey": one["key"],
                "OutputValue": one["value"],
                "Description": one["description"],
                "ExportName": one["export"],
            }
            for one in outputs
        ],
        "Tags": tag_shapes(stack.tags),
        "EnableTerminationProtection": False,
    }


def deleted_shape(one: Deleted) -> Members:
    """Give a stack that is gone."""
    times = {"CreationTime": one.created_ms, "DeletionTime": one.deleted_ms}
    return {"StackId": one.id, "StackName": one.name, "StackStatus": "DELETE_COMPLETE", **times}


def event_shape(one: Event, stack_id: str) -> Members:
    """Give an event of a stack."""
    return {
        "StackId": stack_id,
        "StackName": stack_id.rsplit(":stack/", 1)[-1].split("/", maxsplit=1)[0],
        "EventId": str(one.id),
        "LogicalResourceId": one.logical,
        "PhysicalResourceId": one.physical,
        "ResourceType": one.type,
        "ResourceStatus": one.status,
        "ResourceStatusReason": one.reason,
        "Timestamp": one.ms,
    }
