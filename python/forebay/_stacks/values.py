"""Parameters (SSM) and secrets (Secrets Manager) of stacks, as functions read them over the wire API."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from forebay._sam import secret
from forebay._stacks.inert import PARAMETER, SECRET
from forebay._stacks.wire_error import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from forebay._sam.plan import Resource
    from forebay._stacks.service import Service
    from forebay._stacks.store import Stack

Members = dict[str, Any]
_PARAMETER_ARN = ":parameter"


def _version_id(since: int) -> str:
    """Give the id of the one version of a secret, which another value changes."""
    return f"{since:032d}"


class Values:
    """What stacks keep for functions to read."""

    def __init__(self, service: Callable[[], Service]) -> None:
        self._service = service

    def answer(self, action: str, given: Members) -> Members:
        """Carry out an operation of SSM or of Secrets Manager.

        Raises:
            WireError: it is refused.

        """
        if action == "GetParameter":
            found = self._parameters([given["Name"]])
            if not found:
                raise WireError("ParameterNotFound", f"Parameter {given['Name']} not found.")
            return {"Parameter": found[0]}
        if action == "GetParameters":
            found = self._parameters(given["Names"])
            names = {one["Name"] for one in found} | {one["ARN"] for one in found}
            return {"Parameters": found, "InvalidParameters": [name for name in given["Names"] if name not in names]}
        if action == "GetParametersByPath":
            return {"Parameters": self._below(given["Path"], is_recursive=given.get("Recursive", False))}
        if action == "ListSecrets":
            return {"SecretList": [self._named(one, since) for _, one, since in self._all(SECRET.type)]}
        if action == "BatchGetSecretValue":
            return {"SecretValues": list(self._batch(given.get("SecretIdList") or ()))}
        return self._secret(action, given["SecretId"])

    def _all(self, type_: str) -> Iterator[tuple[Stack, Resource, int]]:
        store = self._service().store
        for stack in store.stacks():
            statuses = store.statuses(stack.name)
            for one in store.resources(stack.name).values():
                if one.type == type_:
                    yield stack, one, statuses[one.logical][1]

    def _shown(self) -> Iterator[Members]:
        place = self._service().place
        for stack, one, since in self._all(PARAMETER.type):
            name = one.physical
            slash = "" if name.startswith("/") else "/"
            yield {
                "Name": name,
                "Type": one.attributes["Type"],
                "Value": str(secret.revealed(one.attributes["Value"], self._service().store.secrets(stack.name))),
                "Version": 1,
                "LastModifiedDate": since,
                "ARN": f"arn:aws:ssm:{place.region}:{place.account}{_PARAMETER_ARN}{slash}{name}",
                "DataType": "text",
            }

    def _parameters(self, names: list[str]) -> list[Members]:
        return [one for one in self._shown() if one["Name"] in names or one["ARN"] in names]

    def _below(self, path: str, *, is_recursive: bool) -> list[Members]:
        prefix = path.rstrip("/") + "/"
        below = [one for one in self._shown() if one["Name"].startswith(prefix)]
        return [one for one in below if is_recursive or "/" not in one["Name"].removeprefix(prefix)]

    def _named(self, resource: Resource, since: int) -> Members:
        """Say which secret it is, without its value."""
        told = {"ARN": resource.attributes["Ref"], "Name": resource.physical}
        versions = {_version_id(since): ["AWSCURRENT"]}
        # A description of one and a line of the list have other names for their versions.
        named = {"VersionIdsToStages": versions, "SecretVersionsToStages": versions}
        return {**told, **named, "LastChangedDate": since, "CreatedDate": since}

    def _batch(self, asked: Iterable[str]) -> Iterator[Members]:
        """Give those that are there; the door tells of the others."""
        for name in asked:
            with contextlib.suppress(WireError):
                yield self._secret("GetSecretValue", name)

    def _secret(self, action: str, asked: str) -> Members:
        for _, one, since in self._all(SECRET.type):
            if asked in {one.physical, one.attributes["Ref"]}:
                if action == "DescribeSecret":
                    return self._named(one, since)
                told = {"ARN": one.attributes["Ref"], "Name": one.physical}
                value = self._service().secret_value(one.attributes["Ref"])
                version = {"VersionId": _version_id(since), "VersionStages": ["AWSCURRENT"], "CreatedDate": since}
                return {**told, **version, "SecretString": value}
        raise WireError("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
