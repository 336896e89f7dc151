"""What dynamic references stand for: `{{resolve:ssm:…}}` and `{{resolve:secretsmanager:…}}`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from forebay._sam import secret
from forebay._sam.errors import TemplateRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forebay._sam.plan import Resource, World

PARAMETER: Final = "AWS::SSM::Parameter"
SECRET: Final = "AWS::SecretsManager::Secret"  # noqa: S105  the name of a type
VALUE: Final = "$value"
"""The attribute of a secret that holds its value, which no template can ask for."""
_ARN_PARTS: Final = 7
_KEY, _STAGE, _VERSION = 1, 2, 3
_CURRENT: Final = "AWSCURRENT"


class Stored:
    """Parameters and secrets: of the stack that is planned, and of the other stacks of the store."""

    def __init__(
        self, done: Mapping[str, Resource], world: World, known: Mapping[str, str], made: dict[str, str]
    ) -> None:
        """Look values up.

        Args:
            done: resources of the stack, as far as they are planned.
            world: where it is deployed.
            known: what the stack's secrets are, by their marks.
            made: takes the value of each mark that is made here.

        """
        self._done = done
        self._world = world
        self._known = known
        self._made = made

    def get(self, service: str, reference: str) -> str:
        """Give what a reference stands for; a secret is a mark.

        Raises:
            TemplateRefused: there is no such value.

        """
        if service == "ssm":
            return self._parameter(reference)
        if service == "secretsmanager":
            return self._secret(reference)
        raise TemplateRefused([f"{{{{resolve:{service}:…}}}} is not served: ssm and secretsmanager are"])

    def _parameter(self, reference: str) -> str:
        name, _, version = reference.partition(":")
        if version not in {"", "1"}:
            raise TemplateRefused([f"{{{{resolve:ssm:{reference}}}}}: a parameter has one version"])
        own = next((one for one in self._done.values() if (one.type, one.physical) == (PARAMETER, name)), None)
        value = self._world.parameters.get(name) if own is None else str(own.attributes["Value"])
        if value is None:
            raise TemplateRefused([f"Parameters: [ssm:{reference}] cannot be found."])
        return self._mark(f"ssm:{name}", value) if own is None and name in self._world.hidden_parameters else value

    def _secret(self, reference: str) -> str:
        parts = reference.split(":")
        count = _ARN_PARTS if parts[0] == "arn" else 1
        name, rest = ":".join(parts[:count]), [*parts[count:], "", "", "", ""]
        if rest[0] not in {"", "SecretString"} or rest[_STAGE] not in {"", _CURRENT} or rest[_VERSION]:
            raise TemplateRefused(
                [f"{{{{resolve:secretsmanager:{reference}}}}}: a secret is one SecretString, {_CURRENT}"]
            )
        own = next((one for one in self._done.values() if one.type == SECRET and name in _names(one)), None)
        value = self._world.secrets.get(name) if own is None else str(own.attributes[VALUE])
        if value is None:
            raise TemplateRefused([f"Secrets Manager can't find the specified secret: {name}"])
        if not rest[_KEY]:
            return value if secret.has_mark(value) else self._mark(reference, value)
        member = _member(value, rest[_KEY])
        if member is None and secret.has_mark(value):
            member = _member(secret.revealed(value, {**self._made, **self._known}), rest[_KEY])
        if member is None:
            raise TemplateRefused([f"the secret {name} is not JSON with a key {rest[_KEY]!r}"])
        return member if secret.has_mark(member) else self._mark(reference, member)

    def _mark(self, reference: str, value: str) -> str:
        name = f"resolve:{reference}"
        self._made[name] = value
        return secret.mark(name)


def _names(one: Resource) -> tuple[Any, ...]:
    return one.physical, one.attributes["Ref"]


def _member(value: str, key: str) -> str | None:
    try:
        found = json.loads(value)
    except ValueError:
        return None
    if not isinstance(found, dict) or key not in found:
        return None
    return found[key] if isinstance(found[key], str) else json.dumps(found[key])
