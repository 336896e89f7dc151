"""CloudFormation's operations: change sets, stacks, their events and resources, as AWS's clients ask for them."""

from __future__ import annotations

import asyncio
import re
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from forebay._sam import expansion, secret
from forebay._sam import template as sam_template
from forebay._sam.errors import NoChanges, StackNotFound, TemplateRefused
from forebay._stacks import cloudformation_shapes as shapes
from forebay._stacks import service as stacks
from forebay._stacks.package import take_objects
from forebay._stacks.service import Asked
from forebay._stacks.store import now_ms
from forebay._stacks.wire_error import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._stacks.artifacts import Artifacts
    from forebay._stacks.buckets import Buckets
    from forebay._stacks.service import Preview, Service
    from forebay._stacks.store import Stack

Members = dict[str, Any]
REFUSED: Final = {
    "DeletionMode": "what cannot be deleted is told of",
    "DeploymentMode": "a stack is what its template says",
    "EnableTerminationProtection": "stacks are not protected",
    "ImportExistingResources": "resources are not imported",
    "NotificationARNs": "events of stacks are not published",
    "ResourcesToImport": "resources are not imported",
    "RetainResources": "give DeletionPolicy in the template",
    "RollbackConfiguration": "alarms are not watched",
    "StackPolicyBody": "there are no policies of stacks",
    "StackPolicyURL": "there are no policies of stacks",
    "TimeoutInMinutes": "a deploy takes as long as it takes",
}
"""Members that are not honoured, and why. One that says nothing, as an empty list does, is no wish."""
NOT_CHANGED: Final = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)
CHANGE_SETS_MAX: Final = 100
"""Change sets that are kept in memory: the oldest goes where another one is made."""
PAGE: Final = 100
DELETED_LISTED_MS: Final = 90 * 86_400_000
"""Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ListStacks.html"""
BODY_BYTES_MAX: Final = 51_200
"""Of a template in the request itself.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """What a deploy would do, until it is carried out."""

    id: str
    name: str
    stack: str
    stack_id: str
    asked: Asked
    description: str | None
    created_ms: int
    preview: Preview | None
    reason: str | None


class CloudFormation:
    """The operations on the stacks of a running app. Change sets last as long as the app runs."""

    def __init__(
        self, service: Callable[[], Service], buckets: Buckets, artifacts: Artifacts, begun: Callable[[str], None]
    ) -> None:
        """Serve stacks; `begun` is told of an operation that is to be carried out."""
        self._service = service
        self._buckets = buckets
        self._artifacts = artifacts
        self._begun = begun
        self._change_sets: dict[str, ChangeSet] = {}

    async def answer(self, action: str, given: Members) -> Members:
        """Carry out an operation.

        Raises:
            WireError: it is refused.

        """
        wished = [f"{name}: {why}" for name, why in REFUSED.items() if given.get(name)]
        if wished:
            raise WireError("ValidationError", "\n".join(wished))
        try:
            if action in {"CreateChangeSet", "CreateStack", "UpdateStack"}:
                return await self._deploying(action, given)
            operation: Callable[[Members], Members] = getattr(self, _NAMES[action])
            return operation(given)
        except StackNotFound as error:
            raise WireError("ValidationError", str(error)) from None
        except TemplateRefused as error:
            raise WireError(error.code, str(secret.shown("\n".join(error.reasons)))) from None

    # --- deploys

    async def _deploying(self, action: str, given: Members) -> Members:
        name = given["StackName"].rsplit(":stack/", 1)[-1].split("/")[0]
        known = self._known(name)
        if action == "CreateChangeSet":
            return await self._create_change_set(name, known, given)
        if action == "CreateStack" and known is not None:
            raise WireError("AlreadyExistsException", f"Stack [{name}] already exists")
        if action == "UpdateStack" and known is None:
            raise WireError("ValidationError", f"Stack [{name}] does not exist")
        asked = await self._asked(name, known, given)
        try:
            stack = self._service().begin(asked)
        except NoChanges:
            raise WireError("ValidationError", "No updates are to be performed.") from None
        self._begun(stack.name)
        return {"StackId": stack.id}

    def _known(self, name: str) -> Stack | None:
        found = self._service().store.find(name)
        return found if found is not None and found.status != shapes.REVIEW else None

    async def _create_change_set(self, name: str, known: Stack | None, given: Members) -> Members:
        kind = given.get("ChangeSetType", "UPDATE")
        if kind not in {"CREATE", "UPDATE"}:
            raise WireError("ValidationError", f"a change set of type {kind} is not served: CREATE and UPDATE are")
        if kind == "UPDATE" and known is None:
            raise WireError("ValidationError", f"Stack [{name}] does not exist")
        if kind == "CREATE" and known is not None:
            text = f"Stack [{name}] already exists and cannot be created again with the changeSet [{given['ChangeSetName']}]."
            raise WireError("ValidationError", text)
        asked = await self._asked(name, known, given)
        preview, reason = self._preview(asked)
        if preview is not None:
            shapes.refuse_capabilities(preview, asked)
        place = self._service().place
        made = ChangeSet(
            id=f"arn:aws:cloudformation:{place.region}:{place.account}:changeSet/{given['ChangeSetName']}/{uuid.uuid4()}",
            name=given["ChangeSetName"],
            stack=name,
            stack_id=asked.stack_id or "",
            asked=asked,
            description=given.get("Description"),
            created_ms=now_ms(),
            preview=preview,
            reason=reason,
        )
        if any(one.stack == name and one.name == made.name for one in self._change_sets.values()):
            raise WireError(
                "AlreadyExistsException", f"ChangeSet {made.name} cannot be created due to a mismatch with existing"
            )
        while len(self._change_sets) >= CHANGE_SETS_MAX:
            del self._change_sets[next(iter(self._change_sets))]
        self._change_sets[made.id] = made
        return {"Id": made.id, "StackId": made.stack_id}

    def _preview(self, asked: Asked) -> tuple[Preview | None, str | None]:
        try:
            return self._service().preview(asked), None
        except NoChanges:
            return None, NOT_CHANGED
        except TemplateRefused as error:
            return None, "; ".join(str(secret.shown(one)) for one in error.reasons)

    async def _asked(self, name: str, known: Stack | None, given: Members) -> Asked:
        """Read what is asked for, with the template expanded and its code in the store."""
        text = self._text(known, given)
        given_parameters = {
            one["ParameterKey"]: str(one["ParameterValue"])
            for one in given.get("Parameters", ())
            if not one.get("UsePreviousValue") and "ParameterValue" in one
        }
        before = known.parameters.given if known is not None else {}
        body = await asyncio.to_thread(self._expanded, text, given_parameters, before)
        pending = next((one.stack_id for one in self._change_sets.values() if one.stack == name), None)
        place = self._service().place
        new_id = f"arn:aws:cloudformation:{place.region}:{place.account}:stack/{name}/{uuid.uuid4()}"
        return Asked(
            stack=name,
            template=text,
            body=body,
            parameters=given_parameters,
            capabilities=tuple(given.get("Capabilities", ())),
            disable_rollback=given.get("DisableRollback", False) or _on_failure(given) == "DO_NOTHING",
            stack_id=known.id if known is not None else pending or new_id,
            tags={one["Key"]: one["Value"] for one in given["Tags"]} if "Tags" in given else None,
        )

    def _text(self, known: Stack | None, given: Members) -> str:
        if "TemplateBody" in given:
            text = str(given["TemplateBody"])
            if len(text.encode()) > BODY_BYTES_MAX:
                limit = (
                    f"Member must have length less than or equal to {BODY_BYTES_MAX}: put the template into a bucket"
                )
                told = f"Value at 'templateBody' failed to satisfy constraint: {limit}, and give its TemplateURL"
                raise WireError("ValidationError", f"1 validation error detected: {told}")
            return text
        if "TemplateURL" in given:
            path = self._buckets.of_url(given["TemplateURL"])
            if path.stat().st_size > sam_template.BYTES_MAX:
                raise WireError("ValidationError", f"a template may have {sam_template.BYTES_MAX:,} bytes")
            try:
                return path.read_bytes().decode()
            except UnicodeDecodeError:
                raise WireError("ValidationError", "Template format error: it is not UTF-8") from None
        if known is not None and given.get("UsePreviousTemplate"):
            return known.template
        raise WireError("ValidationError", "Either Template URL or Template Body must be specified.")

    def _expanded(self, text: str, given: dict[str, str], before: dict[str, str]) -> Members:
        body = sam_template.read(text.encode()).body
        expanded = expansion.expand(body, expansion.parameters_for(body, given, before))
        return take_objects(expanded, self._buckets.object, self._artifacts)

    # --- change sets

    def _change_set(self, given: Members) -> ChangeSet:
        asked, stack = given["ChangeSetName"], given.get("StackName")
        for one in self._change_sets.values():
            if asked == one.id or (asked == one.name and stack in {one.stack, one.stack_id}):
                return one
        raise WireError("ChangeSetNotFound", f"ChangeSet [{asked}] does not exist", 404)

    def _describe_change_set(self, given: Members) -> Members:
        one = self._change_set(given)
        failed = one.preview is None
        declared = shapes.declared_parameters(one.asked.template)
        return {
            "ChangeSetName": one.name,
            "ChangeSetId": one.id,
            "StackId": one.stack_id,
            "StackName": one.stack,
            "Description": one.description,
            "Parameters": [shapes.parameter_shape(key, value, declared) for key, value in one.asked.parameters.items()],
            "CreationTime": one.created_ms,
            "ExecutionStatus": "UNAVAILABLE" if failed else "AVAILABLE",
            "Status": "FAILED" if failed else "CREATE_COMPLETE",
            "StatusReason": one.reason,
            "NotificationARNs": [],
            "Capabilities": list(one.asked.capabilities),
            "Tags": shapes.tag_shapes(one.asked.tags),
            "Changes": [] if one.preview is None else self._changes(one.preview),
        }

    @staticmethod
    def _changes(preview: Preview) -> list[Members]:
        return [shapes.change_shape(step) for step in preview.plan.steps]

    def _execute_change_set(self, given: Members) -> Members:
        one = self._change_set(given)
        if one.preview is None:
            text = f"ChangeSet [{one.id}] cannot be executed in its current status of [FAILED]"
            raise WireError("InvalidChangeSetStatus", text)
        if self._changes(self._service().preview(one.asked)) != self._changes(one.preview):
            text = f"ChangeSet [{one.id}] cannot be executed in its current status of [OBSOLETE]"
            raise WireError("InvalidChangeSetStatus", text)
        disable = given.get("DisableRollback", one.asked.disable_rollback)
        stack = self._service().begin(replace(one.asked, disable_rollback=disable))
        self._forget(stack.name)
        self._begun(stack.name)
        return {}

    def _delete_change_set(self, given: Members) -> Members:
        self._change_sets.pop(self._change_set(given).id)
        return {}

    def _forget(self, stack: str) -> None:
        """Forget the change sets of a stack: what they compared with is no more."""
        self._change_sets = {key: one for key, one in self._change_sets.items() if one.stack != stack}

    # --- stacks

    def _pending(self, name: str) -> ChangeSet | None:
        """Give a change set of a stack that is to be created."""
        return next((one for one in self._change_sets.values() if name in {one.stack, one.stack_id}), None)

    def _describe_stacks(self, given: Members) -> Members:
        service = self._service()
        if "StackName" not in given:
            return {"Stacks": [shapes.stack_shape(service, one.name) for one in service.store.stacks()]}
        name = given["StackName"]
        if self._known(name) is not None:
            return {"Stacks": [shapes.stack_shape(service, name)]}
        pending = self._pending(name)
        if pending is not None:
            return {"Stacks": [shapes.under_review(pending)]}
        gone = service.store.latest_events(name, PAGE) if name.startswith("arn:") else []
        if not gone:
            raise StackNotFound(name)
        told = {"StackId": name, "StackName": gone[0].logical, "StackStatus": gone[0].status}
        return {"Stacks": [{**told, "CreationTime": gone[-1].ms, "DeletionTime": gone[0].ms}]}

    def _list_stacks(self, given: Members) -> Members:
        service, wanted = self._service(), given.get("StackStatusFilter")
        found = [shapes.stack_shape(service, one.name) for one in service.store.stacks()]
        found += [shapes.deleted_shape(one) for one in service.store.deleted(now_ms() - DELETED_LISTED_MS)]
        listed = [one for one in found if not wanted or one["StackStatus"] in wanted]
        first = shapes.token_of(given) or 0
        end = first + PAGE
        return {"StackSummaries": listed[first:end], "NextToken": str(end) if end < len(listed) else None}

    def _list_exports(self, _given: Members) -> Members:
        found = [(stack, one) for stack in self._service().store.stacks() for one in stack.outputs]
        shown = [
            {"ExportingStackId": stack.id, "Name": one.export, "Value": str(secret.shown(one.value))}
            for stack, one in found
        ]
        return {"Exports": [one for one in shown if one["Name"] is not None]}

    def _describe_stack_events(self, given: Members) -> Members:
        name = given["StackName"]
        known, pending = self._known(name), self._pending(name)
        if known is None and pending is not None:
            event = shapes.under_review(pending)
            told = {
                "EventId": f"{pending.id}-review",
                "ResourceStatus": shapes.REVIEW,
                "ResourceType": "AWS::CloudFormation::Stack",
            }
            named = {"LogicalResourceId": pending.stack, "PhysicalResourceId": pending.stack_id}
            stack = {key: event[key] for key in ("StackId", "StackName")}
            return {"StackEvents": [{**stack, **told, **named, "Timestamp": pending.created_ms}]}
        stack_id = known.id if known is not None else name
        before = shapes.token_of(given)
        events = self._service().store.latest_events(stack_id, PAGE + 1, before)
        if not events and known is None:
            raise WireError("ValidationError", f"Stack [{name}] does not exist")
        told_events = [shapes.event_shape(one, stack_id) for one in events[:PAGE]]
        return {"StackEvents": told_events, "NextToken": str(events[PAGE - 1].id) if len(events) > PAGE else None}

    def _resources(self, given: Members) -> list[Members]:
        service = self._service()
        stack = service.store.stack(given.get("StackName") or "")
        statuses = service.store.statuses(stack.name)
        found = []
        for one in service.store.resources(stack.name).values():
            status, since = statuses[one.logical]
            found.append(
                {
                    "StackName": stack.name,
                    "StackId": stack.id,
                    "LogicalResourceId": one.logical,
                    "PhysicalResourceId": stacks.physical_id(one),
                    "ResourceType": one.type,
                    "ResourceStatus": status,
                    "LastUpdatedTimestamp": since,
                    "Timestamp": since,
                }
            )
        return found

    def _list_stack_resources(self, given: Members) -> Members:
        return {"StackResourceSummaries": self._resources(given)}

    def _describe_stack_resources(self, given: Members) -> Members:
        wanted = given.get("LogicalResourceId")
        return {"StackResources": [one for one in self._resources(given) if wanted in (None, one["LogicalResourceId"])]}

    def _describe_stack_resource(self, given: Members) -> Members:
        found = self._describe_stack_resources(given)["StackResources"]
        if not found:
            text = f"Resource {given['LogicalResourceId']} does not exist for stack {given['StackName']}"
            raise WireError("ValidationError", text)
        return {"StackResourceDetail": found[0]}

    def _delete_stack(self, given: Members) -> Members:
        name = given["StackName"]
        if self._known(name) is not None:
            stack = self._service().begin_deletion(name)
            self._forget(stack.name)
            self._begun(stack.name)
        else:
            pending = self._pending(name)
            self._forget(pending.stack if pending is not None else name)
        return {}

    # --- templates

    def _get_template(self, given: Members) -> Members:
        if given.get("TemplateStage", "Original") != "Original":
            raise WireError("ValidationError", "only the template as it was given is kept: TemplateStage is Original")
        if "ChangeSetName" in given:
            text = self._change_set(given).asked.template
        else:
            text = self._service().store.stack(given.get("StackName") or "").template
        return {"TemplateBody": text, "StagesAvailable": ["Original"]}

    def _get_template_summary(self, given: Members) -> Members:
        known = self._service().store.stack(given["StackName"]) if "StackName" in given else None
        body = sam_template.read(self._text(known, {**given, "UsePreviousTemplate": True}).encode()).body
        transforms = body.get("Transform") or []
        resources = body.get("Resources")
        listed = resources.values() if isinstance(resources, dict) else ()
        types = sorted({str(one.get("Type")) for one in listed if isinstance(one, dict)})
        return {
            **shapes.template_parameters(body),
            "ResourceTypes": types,
            "Version": body.get("AWSTemplateFormatVersion"),
            "DeclaredTransforms": transforms if isinstance(transforms, list) else [transforms],
        }

    def _validate_template(self, given: Members) -> Members:
        body = sam_template.read(self._text(None, given).encode()).body
        expansion.check_resources(body)
        return shapes.template_parameters(body)


def _on_failure(given: Members) -> str | None:
    asked: str | None = given.get("OnFailure", given.get("OnStackFailure"))
    if asked == "DELETE":
        raise WireError("ValidationError", "a stack that could not be created is kept, rolled back: delete it")
    return asked


_NAMES: Final = {
    name: "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    for name in (
        *("DeleteChangeSet", "DeleteStack", "DescribeChangeSet", "DescribeStackEvents", "DescribeStackResource"),
        *("DescribeStackResources", "DescribeStacks", "ExecuteChangeSet", "GetTemplate", "GetTemplateSummary"),
        *("ListExports", "ListStackResources", "ListStacks", "ValidateTemplate"),
    )
}
