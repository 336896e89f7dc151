"""Settings of an alias: frozen, and valid once they exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forebay._core import check_alias
from forebay._model import checks, limits


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasSettings:
    """Where an alias points. Whether there are such versions is checked where it is declared."""

    function: str
    name: str
    version: str
    weights: dict[str, float] = field(default_factory=dict)
    provisioned_concurrency: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", typed({name: getattr(self, name) for name in self.__slots__})["weights"])
        self.shares()

    def shares(self) -> dict[str, int]:
        """Give the versions it points to, and what each has of the provisioned concurrency."""
        return dict(check_alias(self.name, self.version, self.weights, self.provisioned_concurrency))


def typed(given: dict[str, Any]) -> dict[str, Any]:
    """Refuse settings of other types; give the others as they are kept. What they may be together, the engine knows."""
    for option in ("name", "version"):
        if not isinstance(given.get(option, ""), str):
            checks.refuse(option, given[option], "allowed is a text")
    most = limits.CONCURRENCY_MAX
    checks.integer("provisioned_concurrency", given.get("provisioned_concurrency", 0), low=0, high=most)
    if "weights" not in given:
        return given
    weights = given["weights"] if given["weights"] is not None else {}
    if not isinstance(weights, Mapping) or not all(_is_weight(item) for item in weights.items()):
        checks.refuse(
            "weights", weights, "allowed is the number of one more version, a text, with its share from 0.0 to 1.0"
        )
    return {**given, "weights": {version: float(weight) for version, weight in weights.items()}}


def _is_weight(item: tuple[object, object]) -> bool:
    version, weight = item
    return isinstance(version, str) and isinstance(weight, int | float) and not isinstance(weight, bool)
