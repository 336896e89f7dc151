"""What `sam list endpoints` asks of a stack's resources: the stages of an API, the URL of a function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from forebay._stacks import apis, functions, rest_apis
from forebay._stacks import service as stacks
from forebay._stacks.wire_error import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forebay._sam.plan import Resource
    from forebay._stacks.service import Service

Members = dict[str, Any]
_NOT_FOUND: Final = 404
_STAGES: Final = frozenset({rest_apis.STAGE.type, rest_apis.DEPLOYMENT.type, apis.STAGE.type})
"""Types that make a stage where they name one."""


def _all(service: Service) -> Iterator[Resource]:
    for stack in service.store.stacks():
        yield from service.store.resources(stack.name).values()


def stages(service: Service, given: Members) -> Members:
    """Give the stages of an API, of either kind.

    Raises:
        WireError: no stack has such an API.

    """
    api, is_rest = given.get("restApiId", given.get("ApiId")), "restApiId" in given
    kind, key = (rest_apis.API, "RestApiId") if is_rest else (apis.API, "ApiId")
    resources = list(_all(service))
    if not any(one.type == kind.type and one.attributes["Ref"] == api for one in resources):
        raise WireError(
            "NotFoundException", f"Invalid API identifier specified {service.place.account}:{api}", _NOT_FOUND
        )
    mine = [one.properties for one in resources if one.type in _STAGES and one.properties.get(key) == api]
    names = sorted(str(properties["StageName"]) for properties in mine if "StageName" in properties)
    return (
        {"item": [{"stageName": name} for name in names]}
        if is_rest
        else {"Items": [{"StageName": name} for name in names]}
    )


def described(service: Service, given: Members) -> Members:
    """Give a resource as Cloud Control does: URLs of functions alone, by the function.

    Raises:
        WireError: there is none.

    """
    type_, asked = given["TypeName"], given["Identifier"]
    if type_ != functions.URL.type:
        raise WireError("UnsupportedActionException", f"{type_}: only {functions.URL.type} is described here")
    for one in _all(service):
        if one.type == type_ and asked in {one.physical.split(":")[0], one.attributes["FunctionArn"]}:
            url = stacks.address(service.place, one.attributes["FunctionUrl"])
            told = json.dumps({"FunctionUrl": url, "FunctionArn": one.attributes["FunctionArn"]})
            return {"TypeName": type_, "ResourceDescription": {"Identifier": asked, "Properties": told}}
    text = f"Resource of type '{type_}' with identifier '{asked}' was not found."
    raise WireError("ResourceNotFoundException", text)
