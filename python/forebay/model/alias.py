"""Settings of an alias: frozen, and valid once they exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from forebay._core import check_alias
from forebay.model import checks, limits


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasSettings:
    """Where an alias points. Whether there are such versions is checked where it is declared."""

    function: str
    name: str
    version: str
    weights: dict[str, float] = field(default_factory=dict)
    provisioned_concurrency: int = 0

    def __post_init__(self) -> None:
        for option, value in (("name", self.name), ("version", self.version)):
            if not isinstance(value, str):
                checks.refuse(option, value, "allowed is a text")
        given = self.weights if self.weights is not None else {}
        if not isinstance(given, Mapping) or not all(_is_weight(item) for item in given.items()):
            checks.refuse(
                "weights", given, "allowed is the number of one more version, a text, with its share from 0.0 to 1.0"
            )
        object.__setattr__(self, "weights", {version: float(weight) for version, weight in given.items()})
        most = limits.CONCURRENCY_MAX
        checks.integer("provisioned_concurrency", self.provisioned_concurrency, low=0, high=most)
        self.shares()

    def shares(self) -> dict[str, int]:
        """Give the versions it points to, and what each has of the provisioned concurrency."""
        return dict(check_alias(self.name, self.version, self.weights, self.provisioned_concurrency))


def _is_weight(item: tuple[object, object]) -> bool:
    version, weight = item
    return isinstance(version, str) and isinstance(weight, int | float) and not isinstance(weight, bool)
