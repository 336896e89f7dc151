"""What AWS's wire API asks of this side: CloudFormation, the buckets of code, parameters, secrets, code of schemas."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
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
            return {"answer": await self._carried_out(service, action, given)}
        except WireError as error:
            return {"error": error.code, "reasons": [error.message], "status": error.status}
        except ForebayError as error:
            return {"error": "ValidationError", "reasons": [str(secret.shown(str(error)))]}

    def _refuse_bucket_in(self, origin: str) -> None:
        """Refuse a host that begins with a bucket: the first part of the key would be taken for the bucket."""
        host = urlsplit(origin).hostname or ""
        first, _, rest = host.partition(".")
        if rest and not host.replace(".", "").isdigit() and self._buckets.has(first):
            text = (
                f"The host {host} names the bucket {first}, and buckets are addressed by the path here: set the SDK's option for "
                "that (forcePathStyle, UsePathStyle, addressing_style='path')"
            )
            raise WireError("InvalidRequest", text)

    async def _carried_out(self, service: str, action: str, given: Members) -> Members:
        if service == "cloudformation":
            return await self._stacks.answer(action, given)
        if service == "s3":
            return await asyncio.to_thread(self._buckets.answer, action, given, self._service().place)
        if service == "cloudcontrolapi":
            return resource_views.described(self._service(), given)
        if service == "schemas":
            return await asyncio.to_thread(code_bindings.answer, action, given)
        return self._values.answer(action, given)
