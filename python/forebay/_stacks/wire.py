"""What AWS's wire API asks of this side: CloudFormation, the buckets of code, parameters, secrets, code of schemas."""

from __future__ import annotations

import asyncio
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from forebay._sam import secret
from forebay._stacks import code_bindings, resource_views
from forebay._stacks.artifacts import Artifacts
from forebay._stacks.buckets import Buckets
from forebay._stacks.cloudformation import CloudFormation
from forebay._stacks.values import Values
from forebay._stacks.wire_error import WireError
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forebay._stacks.service import Service

Members = dict[str, Any]
_LABEL: Final = re.compile(r"[a-z0-9_-]*")


class Wire:
    """The operations of AWS's wire API that this side carries out."""

    def __init__(self, service: Callable[[], Service], store: Path, begun: Callable[[str], None]) -> None:
        """Serve the stacks of a store; `begun` is told of an operation that is to be carried out."""
        self._service = service
        self._buckets = Buckets(store)
        self._stacks = CloudFormation(service, self._buckets, Artifacts(store), begun)
        self._values = Values(service)

    async def answer(self, service: str, action: str, given: Members, origin: str = "") -> Members:
        """Answer one call as the door takes it; a refusal is an answer, too. `origin` is how the client names the door."""
        try:
            if service == "s3":
                self._refuse_bucket_in(origin)
            return {"answer": await self._carried_out(service, action, given, origin)}
        except WireError as error:
            return {"error": error.code, "reasons": [error.message], "status": error.status}
        except ForebayError as error:
            return {"error": "ValidationError", "reasons": [str(secret.shown(str(error)))]}

    def _refuse_bucket_in(self, origin: str) -> None:
        """Refuse a host that may begin with a bucket: the first part of the key would be taken for the bucket.

        Whether there is such a bucket says nothing: it may be misspelt. So a host of several labels must be known as a whole.
        """
        place = self._service().place
        host = _host_of(origin)
        if _is_whole(host) or host in {_host_of(place.aws), *(name.lower() for name in place.aws_names)}:
            return
        text = (
            f"The host {host} may begin with a bucket, and buckets are addressed by the path here: set the SDK's option for that "
            "(forcePathStyle, UsePathStyle, addressing_style='path'). Where that host is the whole name of this port, the app is "
            f"started with `--aws-name {host}`"
        )
        raise WireError("InvalidRequest", text)

    async def _carried_out(self, service: str, action: str, given: Members, origin: str) -> Members:
        if service == "cloudformation":
            return await self._stacks.answer(action, given)
        if service == "s3":
            return await asyncio.to_thread(self._buckets.answer, action, given, self._service().place, origin)
        if service == "cloudcontrolapi":
            return resource_views.described(self._service(), given)
        if service == "schemas":
            return await asyncio.to_thread(code_bindings.answer, action, given)
        return self._values.answer(action, given)


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").removesuffix(".")
    except ValueError:
        return url


def _is_whole(host: str) -> bool:
    """Tell whether no bucket can stand in a host: it has one label, or is an address."""
    if _LABEL.fullmatch(host):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
