"""What `sam list endpoints` asks of a stack's resources beside the stages of APIs: the URL of a function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from forebay._stacks import functions
from forebay._stacks import service as stacks
from forebay._stacks.wire_error import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forebay._sam.plan import Resource
    from forebay._stacks.service import Service

Members = dict[str, Any]


def _all(service: Service) -> Iterator[Resource]:
    for stack in service.store.stacks():
        yield from service.store.resources(stack.name).values()


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
