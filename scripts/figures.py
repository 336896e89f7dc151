"""Write the figures of README and docs from the newest results in bench/results.

Usage: .venv/bin/python scripts/figures.py          rewrite what stands between the two marks of each page
       .venv/bin/python scripts/figures.py --check  only tell (exit code 1) whether all are up to date
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forebay.bench import scenarios
from forebay.bench.compare import newest
from forebay.bench.harness import Figure, more_is_better, shown

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- figures: [^\n]*-->\n).*?(<!-- end of figures -->)", re.DOTALL)
BUSY_CORES = 0.2  # what others may use before it is worth a word
COMMON = ("forebay", "python", "uvloop", "orjson")  # versions that every result has
# What a reader asks first. Everything else is in docs/figures.md.
FIRST = (
    "stream.backlog-batch:rate",
    "stream.backlog-event:rate",
    "stream.backlog-single:rate",
    "stream.put-many:rate",
    "stream.put-many-four:rate",
    "stream.latency:p50",
    "stream.latency:p99",
    "queue.backlog-single:rate",
    "queue.latency:p99",
    "fifo.backlog:rate",
    "invoke.accept:accepted",
    "environments.warm:rate",
    "dbproxy.select-postgresql:rate",
    "dbproxy.select-mariadb:rate",
    "histogram.record:one",
    "histogram.percentile:us",
    "token_bucket.acquire:granted",
    "metrics.single:kept",
    "metrics.scrape:ms",
)
DATABASES = ("limits.postgresql", "limits.mariadb")
POOLS_IN_BRIEF = ("SELECT 1, 500 clients", "storm of 5,000 clients")
PROXIES = ("forebay, PostgreSQL", "forebay, MariaDB")
WAITS = {
    "p99": "p99, ms",
    "p99_to_fair": "p99 to clients / rate",
    "processor": "processor time of one, µs",
    "jain": "Jain's index",
    "errors": "refused",
    "peak": "most connections at the server",
}
"""What is told of a pool beside its rate."""

Result = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """One figure of one result, with what the bench of today says about it."""

    result: Result
    figure: dict[str, Any]
    known: Figure | None

    @property
    def key(self) -> str:
        """Name it as `FIRST` does."""
        return f"{self.result['scenario']}:{self.figure['name']}"

    @property
    def title(self) -> str:
        """Say what it is, in today's words."""
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
        """Tell forebay from its peers."""
        return self.who.startswith("forebay")

    @property
    def bold(self) -> str:
        """Name the program, ours in bold."""
        return f"**{self.who}**" if self.is_ours else self.who

    @property
    def is_pool(self) -> bool:
        """Tell whether a pool of connections was measured."""
        return "dbproxy." in self.result["scenario"]

    @property
    def value(self) -> str:
        """Write the median with its unit."""
        return f"{shown(self.figure['median'])} {self.unit}"

    @property
    def spread(self) -> str:
        """Write the least and the most of the runs."""
        return f"{shown(self.figure['least'])} to {shown(self.figure['most'])}"

    @property
    def share(self) -> str:
        """Write the share of the limit, if it was measured against the one that is named today."""
        is_known = self.known is not None and self.figure.get("limit") == self.known.limit
        return f"{self.figure['share_of_limit']:.0%}" if is_known and "share_of_limit" in self.figure else ""


def told(results: Iterable[Result]) -> list[Told]:
    """Give every figure, in the order of the scenarios; those of scenarios that are gone are left out, peers come last."""
    order = {name: number for number, name in enumerate(scenarios.SCENARIOS)}
    kept = [one for one in results if one["scenario"] in order or one["scenario"].startswith("peers.")]
    kept.sort(key=lambda one: order.get(one["scenario"], len(order)))
    return [
        Told(result, figure, known.get(figure["name"]))
        for result in kept
        for known in [_figures(result["scenario"])]
        for figure in result["figures"]
        if not known or figure["name"] in known
    ]


def _figures(scenario: str) -> dict[str, Figure]:
    known = scenarios.SCENARIOS.get(scenario)
    return {figure.name: figure for figure in known.figures} if known else {}


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> list[str]:
    """Write a table; where nothing else is told, what follows the first column is numbers."""
    columns = align or "|".join(["---:"] * (len(head) - 1))
    lines = [f"| {' | '.join(head)} |", f"|---|{columns}|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def ours(figures: Iterable[Told]) -> list[str]:
    """Write what forebay does, and how much of the limit that is."""
    head = ("what", "median", "least to most", "of the limit", "runs")
    rows = []
    for one in figures:
        durability = "" if one.result["durability"] in {"power-loss", "none"} else f" ({one.result['durability']})"
        rows.append((one.title + durability, one.value, one.spread, one.share, str(one.result["runs"])))
    return table(head, rows)


def questions(figures: Iterable[Told], least: int = 2) -> dict[str, list[Told]]:
    """Give what so many programs at least were asked, each question with its answers, the quickest first."""
    asked: dict[str, list[Told]] = {}
    for one in figures:
        if "question" in one.figure:
            asked.setdefault(one.figure["question"], []).append(one)
    for answers in asked.values():
        answers.sort(key=lambda one: one.figure["median"], reverse=more_is_better(answers[0].figure["unit"]))
    return {question: answers for question, answers in asked.items() if len(answers) >= least}


def peers_in_brief(figures: Iterable[Told]) -> list[str]:
    """Write a line for each question: what forebay answers, and each peer, the quickest first."""
    rows = []
    for question, answers in questions(figures).items():
        if answers[0].is_pool and not question.endswith(POOLS_IN_BRIEF):
            continue
        us, them = ([one for one in answers if one.is_ours is ours] for ours in (True, False))
        rows.append((question, "; ".join(map(_brief, us)), "; ".join(map(_brief, them))))
    return table(("asked", "forebay", "its peers"), rows, "---|---") if rows else []


def _brief(one: Told) -> str:
    durability = "" if one.is_pool or one.result["durability"] == "none" else f", {one.result['durability']}"
    name = one.who.removeprefix("forebay, ")
    return f"{'' if name == 'forebay' else f'{name} '}{shown(one.figure['median'])}/s{durability}"


def peers(figures: Iterable[Told]) -> list[str]:
    """Write a table for each question to anything but pools of connections."""
    lines = []
    for question, answers in questions(figures).items():
        if not answers[0].is_pool:
            rows = [(one.bold, one.value, one.spread, one.result["durability"], one.result["note"]) for one in answers]
            lines += ["", f"### {question[0].upper()}{question[1:]}", ""]
            lines += table(("who", "median", "least to most", "durability", "as measured"), rows, "---:|---:|---|---")
    return lines


def pools(figures: Iterable[Told]) -> list[str]:
    """Write a table for each question to pools of connections, with waits, fairness and processor time."""
    kept = [one for one in figures if one.is_pool]
    by_key = {one.key: one for one in kept}
    lines = []
    for question, answers in questions(kept, least=1).items():
        shows = [name for name in WAITS if f"{answers[0].result['scenario']}:{name}" in by_key]
        best = next((one.figure["median"] for one in answers if one.who in PROXIES), None)
        rows = []
        for one in answers:
            times = f"{best / one.figure['median']:.3g}" if best and one.who not in PROXIES else ""
            waits = [by_key.get(f"{one.result['scenario']}:{name}") for name in shows]
            cells = [shown(wait.figure["median"]) if wait else "" for wait in waits]
            rows.append((one.bold, one.value, one.spread, one.share, times, *cells))
        head = (
            "who",
            "median",
            "least to most",
            "of the limit",
            "forebay to it, times",
            *map(WAITS.__getitem__, shows),
        )
        lines += ["", f"### {question}", "", *table(head, rows)]
    return lines


def curves(figures: Iterable[Told]) -> list[str]:
    """Write how costs and memory grow, a curve to a line."""
    series: dict[str, list[Told]] = {}
    for one in figures:
        if "series" in one.figure:
            series.setdefault(one.figure["series"], []).append(one)
    rows = []
    for title, points in series.items():
        shape = "; ".join(f"{point.figure['at']:,.0f}: {shown(point.figure['median'])}" for point in points)
        rows.append((title, points[0].unit, shape))
    return table(("what grows", "unit", "at so many: so much"), rows, "---|---") if rows else []


def origin(figures: Iterable[Told]) -> list[str]:
    """Tell where and when figures were measured, and with which versions of what else took part."""
    results = {one.result["scenario"]: one.result for one in figures}.values()
    lines = [f"Measured {place}." for place in sorted({_place(result) for result in results})]
    versions = sorted({f"{name} {at}" for one in results for name, at in one["versions"].items() if name not in COMMON})
    if versions:
        lines.append(f"Beside it: {', '.join(versions)}.")
    if any(one["durability"] == "power-loss" for one in results):
        lines.append('Durability is "power-loss" where no other is told.')
    busy = max((one["others"] or 0.0 for one in results if "servers" not in one), default=0.0)
    if busy >= BUSY_CORES:
        lines.append(
            f"Other programs kept up to {busy:.1f} cores busy meanwhile: expect more from a machine of your own."
        )
    return lines


def _place(result: Result) -> str:
    machine, versions = result["machine"], result["versions"]
    return (
        f"{result['date'][:10]} on {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['memory_gib']} GiB, {machine['system']}; "
        f"forebay {versions['forebay']}, Python {versions['python']}, uvloop {versions['uvloop']}"
    )


def readme(figures: list[Told]) -> list[str]:
    """Write what a reader asks first, and the peers in brief."""
    first = [one for key in FIRST for one in figures if one.key == key]
    asked = [one for one in figures if "question" in one.figure]
    brief = peers_in_brief(figures)
    beside = ["", "Beside its peers, on the same questions in one sitting:", "", *brief] if brief else []
    return [*ours(first), *beside, "", *origin([*first, *(asked if brief else [])])]


def everything(figures: list[Told]) -> list[str]:
    """Write everything but the database proxy."""
    shown_here = [one for one in figures if not one.is_pool and one.result["scenario"] not in DATABASES]
    own = [one for one in shown_here if one.result["scenario"] in scenarios.SCENARIOS and not one.figure.get("series")]
    grown = curves(shown_here)
    growth = ["", "## As things grow", "", *grown] if grown else []
    among = peers(shown_here)
    beside = ["", "## Beside its peers", *among] if among else []
    return ["## forebay and the limits", "", *ours(own), *growth, *beside, "", *origin(shown_here)]


def proxy(figures: list[Told]) -> list[str]:
    """Write the database proxy and its peers."""
    bare = [one for one in figures if one.result["scenario"] in DATABASES]
    limits = [one for one in bare if one.figure["name"] in {"rate", "processor"}]
    return [*ours(limits), *pools(figures), "", *origin([*bare, *(one for one in figures if one.is_pool)])]


PAGES: dict[str, Callable[[list[Told]], list[str]]] = {
    "README.md": readme,
    "docs/figures.md": everything,
    "docs/dbproxy.md": proxy,
}


def main() -> None:
    """Rewrite the pages, or compare them."""
    figures = told(newest(ROOT / "bench" / "results").values())
    stale = []
    for name, write in PAGES.items():
        page = ROOT / name
        before = page.read_text()
        text = "\n".join(write(figures))
        after = MARKED.sub(lambda marks, text=text: f"{marks[1]}\n{text}\n\n{marks[2]}", before)
        if after != before:
            stale.append(name)
            if "--check" not in sys.argv[1:]:
                page.write_text(after)
    if stale and "--check" in sys.argv[1:]:
        sys.exit(f"{', '.join(stale)}: not the figures of bench/results; run python scripts/figures.py")


if __name__ == "__main__":
    main()
