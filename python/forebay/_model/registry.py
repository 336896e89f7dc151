"""Settings of a registry of schemas: frozen, and valid once they exist."""

from __future__ import annotations

from dataclasses import dataclass

from forebay._model import names


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """What a registry is declared with.

    Source: https://docs.aws.amazon.com/eventbridge/latest/schema-reference/v1-registries-name-registryname.html
    """

    name: str
    description: str | None = None

    def __post_init__(self) -> None:
        names.registry_name(self.name)
