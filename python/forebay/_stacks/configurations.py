"""What stacks say of the functions that they deploy, in the form of Lambda's own answers. A secret in it is `****`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from forebay._model import limits
from forebay._sam import secret
from forebay._stacks import functions
from forebay._stacks import service as stacks
from forebay._stacks.kind import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forebay._sam.plan import Resource
    from forebay._stacks.kind import Properties
    from forebay._stacks.service import Service

Members = dict[str, Any]
_TEXTS: Final = ("Runtime", "Handler", "Description", "Role")


def told(service: Service, function: str | None = None) -> dict[str, Members]:
    """Give the configurations of all functions and versions of stacks, by `name` or `name:number`; or those of one function.

    A function whose first deploy is under way is told of as it will be.
    """
    found: dict[str, Members] = {}
    for resource, since in _resources(service):
        name, _, version = resource.physical.partition(":")
        if function is not None and name != function:
            continue
        if resource.type == functions.FUNCTION.type:
            found[name] = _configuration(service, resource.properties, since)
        elif resource.type == functions.VERSION.type:
            properties = {**resource.attributes["$published"], **_own(resource.properties)}
            found[f"{name}:{version}"] = _configuration(service, properties, since)
    return found


def _resources(service: Service) -> Iterator[tuple[Resource, int]]:
    """Give all resources and since when each is as it is; what is there comes last, over what is on its way."""
    store = service.store
    for operation in store.operations():
        for one in operation.after.resources.values():
            yield one, store.stack(operation.stack).updated_ms
    for stack in store.stacks():
        statuses = store.statuses(stack.name)
        for one in store.resources(stack.name).values():
            yield one, statuses[one.logical][1]


def _own(properties: Properties) -> Properties:
    """Give what a version says of itself."""
    return {"Description": properties["Description"]} if "Description" in properties else {}


def _configuration(service: Service, properties: Properties, since: int) -> Members:
    variables = {name: stacks.address(service.place, value) for name, value in functions.variables(properties).items()}
    dead_letter = (properties.get("DeadLetterConfig") or {}).get("TargetArn")
    moment = datetime.fromtimestamp(since / 1000, UTC)
    configuration = {
        **{name: properties[name] for name in _TEXTS if isinstance(properties.get(name), str)},
        "Timeout": number(properties, "Timeout", functions.TIMEOUT_SECONDS),
        "MemorySize": number(properties, "MemorySize", limits.MEMORY_MEBIBYTES_DEFAULT),
        "LastModified": f"{moment:%Y-%m-%dT%H:%M:%S}.{since % 1000:03d}+0000",
        "PackageType": "Zip",
        "Architectures": properties.get("Architectures"),
        "Layers": [{"Arn": arn} for arn in properties.get("Layers") or ()],
        "Environment": {"Variables": variables} if variables else None,
        "DeadLetterConfig": {"TargetArn": dead_letter} if dead_letter else None,
    }
    known = {name: value for name, value in configuration.items() if value not in (None, [])}
    return {"configuration": secret.shown(known), "tags": secret.shown(_tags(properties))}


def _tags(properties: Properties) -> dict[str, str]:
    """Give a function's tags: nobody has looked at them, since they have no effect."""
    given = properties.get("Tags")
    entries = [one for one in given if isinstance(one, dict) and "Key" in one] if isinstance(given, list) else []
    return {str(one["Key"]): str(one.get("Value", "")) for one in entries}
