"""Results as they are shown, on a page or in a table: in the order and in the words of today's scenarios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from forebay_bench import scenarios
from forebay_bench.harness import Figure, more_is_better, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COMMON: Final = ("forebay", "python", "uvloop", "orjson")
"""Versions that every result has."""
WAITS: Final = {
    "p99": "p99, ms",
    "p99_to_fair": "p99 to clients / rate",
    "processor": "processor time of one, µs",
    "jain": "Jain's index",
    "errors": "refused",
    "peak": "most connections at the server",
}
"""What is told of a pool of connections beside its rate."""


@dataclass(frozen=True, slots=True)
class ShownFigure:
    """One figure of one result, with what today's bench knows of it."""

    result: Mapping[str, Any]
    figure: Mapping[str, Any]
    known: Figure | None

    @property
    def key(self) -> str:
        """Name it as a limit is named."""
        return f"{self.scenario}:{self.figure['name']}"

    @property
    def scenario(self) -> str:
        """Name its scenario."""
        return str(self.result["scenario"])

    @property
    def title(self) -> str:
        """Say what it is."""
        return self.known.title if self.known else str(self.figure["title"])

    @property
    def unit(self) -> str:
        """Say in what it is measured."""
        return self.known.unit if self.known else str(self.figure["unit"])

    @property
    def who(self) -> str:
        """Name the program that was measured."""
        return str(self.result["who"])

    @property
    def is_ours(self) -> bool:
        """Tell forebay from its peers, and from what stands on it."""
        return self.who.partition(",")[0] == "forebay"

    @property
    def is_pool(self) -> bool:
        """Tell whether a pool of connections was measured."""
        return "dbproxy." in self.scenario

    @property
    def median(self) -> float:
        """Give the figure."""
        return float(self.figure["median"])

    @property
    def value(self) -> str:
        """Write the figure with its unit."""
        return f"{shown(self.median)} {self.unit}"

    @property
    def spread(self) -> str:
        """Write the least and the most of the runs."""
        return f"{shown(self.figure['least'])} to {shown(self.figure['most'])}"

    @property
    def share(self) -> float | None:
        """Give the share of the limit, if it was measured against the one that is named today."""
        is_today = self.known is None or self.figure.get("limit") == self.known.limit
        return self.figure.get("share_of_limit") if is_today else None

    @property
    def durability(self) -> str:
        """Say what an acknowledgement is worth, where there is one."""
        return "" if self.result["durability"] == "none" else str(self.result["durability"])


def shown_figures(results: Iterable[Mapping[str, Any]]) -> list[ShownFigure]:
    """Give every figure, in the order of the scenarios; others (peers, and scenarios that are gone) come last.

    A figure whose title has changed since is left out: it answers another question than today's.
    """
    order = {name: number for number, name in enumerate(scenarios.SCENARIOS)}
    figures = []
    for result in sorted(results, key=lambda one: order.get(one["scenario"], len(order))):
        scenario = scenarios.SCENARIOS.get(result["scenario"])
        known = {figure.name: figure for figure in scenario.figures} if scenario else {}
        for one in result["figures"]:
            figure = known.get(one["name"])
            if not known or (figure and figure.title == one["title"]):
                figures.append(ShownFigure(result, one, figure))
    return figures


def questions(figures: Iterable[ShownFigure], *, pools: bool, least: int = 2) -> dict[str, list[ShownFigure]]:
    """Give what at least so many programs were asked, each question with its answers, the quickest first."""
    asked: dict[str, list[ShownFigure]] = {}
    for one in figures:
        if "question" in one.figure and one.is_pool == pools:
            asked.setdefault(one.figure["question"], []).append(one)
    for answers in asked.values():
        answers.sort(key=lambda one: one.median, reverse=more_is_better(answers[0].unit))
    return {question: answers for question, answers in asked.items() if len(answers) >= least}


def pool_table(figures: Iterable[ShownFigure], answers: list[ShownFigure]) -> tuple[list[str], list[list[str]]]:
    """Give head and rows of a table of pools that were asked the same: rates, and what is told beside them."""
    by_key = {one.key: one for one in figures}
    shows = [name for name in WAITS if f"{answers[0].scenario}:{name}" in by_key]
    ours = next((one.median for one in answers if one.is_ours), None)
    rows = []
    for one in answers:
        share = f"{one.share:.0%}" if one.share else ""
        times = f"{ours / one.median:.3g}" if ours and not one.is_ours else ""
        waits = [by_key.get(f"{one.scenario}:{name}") for name in shows]
        rows.append(
            [one.who, one.value, one.spread, share, times, *(shown(wait.median) if wait else "" for wait in waits)]
        )
    head = ["who", "median", "least to most", "of the limit", "forebay to it, times", *(WAITS[name] for name in shows)]
    return head, rows


def series(figures: Iterable[ShownFigure]) -> dict[str, list[ShownFigure]]:
    """Give the curves, each with its points."""
    curves: dict[str, list[ShownFigure]] = {}
    for one in figures:
        if "series" in one.figure:
            curves.setdefault((one.known and one.known.series) or one.figure["series"], []).append(one)
    return curves


def places(figures: Iterable[ShownFigure]) -> list[str]:
    """Tell where and when figures were measured, and with which versions of what else took part."""
    results = {one.scenario: one.result for one in figures}.values()
    lines = sorted({f"Measured {_place(result)}." for result in results})
    versions = sorted({f"{name} {at}" for one in results for name, at in one["versions"].items() if name not in COMMON})
    return [*lines, f"Beside it: {', '.join(versions)}."] if versions else lines


def _place(result: Mapping[str, Any]) -> str:
    machine, versions = result["machine"], result["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in COMMON if name in versions)
    return (
        f"{result['date'][:10]} on {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, "
        f"{machine['system']}; {named}"
    )


def busiest(figures: Iterable[ShownFigure]) -> float:
    """Give the most cores that other programs used beside a result that has no server of its own."""
    return max((one.result["others"] or 0.0 for one in figures if "servers" not in one.result), default=0.0)
