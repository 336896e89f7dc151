"""Two sessions side by side: ratios pair by pair, and a verdict only where the difference is larger than the noise."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forebay_bench.harness import more_is_better

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """A figure before and after."""

    scenario: str
    title: str
    unit: str
    before: float
    after: float
    ratio: float
    verdict: str
    """"better", "worse", or "noise" when the values of the two sessions overlap."""


def newest(source: Path) -> dict[str, dict[str, Any]]:
    """Give the newest whole result of each scenario in a results file, or in all files of a directory.

    Raises:
        OSError: when it cannot be read.
        ValueError: when a line of it is not a result.

    """
    paths = sorted(source.glob("*.jsonl")) if source.is_dir() else [source]
    results = {}
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                result = json.loads(line)
                if result["scale"] == 1:
                    results[result["scenario"]] = result
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                message = f"{path}:{number} is not a result of a bench: {error!r}"
                raise ValueError(message) from None
    return results


def pairs(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> list[Pair]:
    """Pair the figures that both sessions have, in the order of the first."""
    found = []
    for scenario, old in before.items():
        new = {figure["name"]: figure for figure in after.get(scenario, {}).get("figures", ())}
        found += [_pair(scenario, figure, new[figure["name"]]) for figure in old["figures"] if figure["name"] in new]
    return found


def _pair(scenario: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Pair:
    rises = more_is_better(old["unit"])
    if new["least"] > old["most"]:
        verdict = "better" if rises else "worse"
    elif new["most"] < old["least"]:
        verdict = "worse" if rises else "better"
    else:
        verdict = "noise"
    ratio = new["median"] / old["median"] if old["median"] else float("inf")
    return Pair(scenario, old["title"], old["unit"], old["median"], new["median"], round(ratio, 3), verdict)


def missing(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Name the scenarios that only one of two sessions has."""
    return sorted(set(before) ^ set(after))
