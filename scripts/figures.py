"""Write the figures of README and docs from the newest results in bench/results.

Usage: .venv/bin/python scripts/figures.py          rewrite what stands between the two marks of each page
       .venv/bin/python scripts/figures.py --check  only tell (exit code 1) whether all are up to date
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from forebay_bench import scenarios
from forebay_bench.compare import newest
from forebay_bench.harness import shown
from forebay_bench.presentation import ShownFigure, busiest, places, pool_table, questions, series, shown_figures

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- figures: [^\n]*-->\n).*?(<!-- end of figures -->)", re.DOTALL)
BUSY_CORES = 0.2  # what others may use before it is worth a word
# What README shows. Everything else is in docs/figures.md.
FIRST = (
    "stream.backlog-batch:rate",
    "stream.put-many:rate",
    "stream.latency:p99",
    "environments.warm:rate",
    "dbproxy.select-postgresql:rate",
)
DATABASES = ("limits.postgresql", "limits.mariadb")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> list[str]:
    """Write a table; where nothing else is told, what follows the first column is numbers."""
    columns = align or "|".join(["---:"] * (len(head) - 1))
    lines = [f"| {' | '.join(head)} |", f"|---|{columns}|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def ours(figures: Iterable[ShownFigure]) -> list[str]:
    """Write what forebay does, and how much of the limit that is."""
    rows = []
    for one in figures:
        durability = "" if one.durability in {"power-loss", ""} else f" ({one.durability})"
        share = f"{one.share:.0%}" if one.share else ""
        rows.append((one.title + durability, one.value, one.spread, share, str(one.result["runs"])))
    return table(("what", "median", "least to most", "of the limit", "runs"), rows)


def bold(name: str) -> str:
    """Write a program's name, ours in bold."""
    return f"**{name}**" if name.startswith("forebay") else name


def peers(figures: list[ShownFigure]) -> list[str]:
    """Write a table for each question to anything but pools of connections."""
    lines = []
    for question, answers in questions(figures, pools=False).items():
        rows = [(bold(one.who), one.value, one.spread, one.durability, one.result["note"]) for one in answers]
        lines += ["", f"### {question[0].upper()}{question[1:]}", ""]
        lines += table(("who", "median", "least to most", "durability", "as measured"), rows, "---:|---:|---|---")
    return lines


def pools(figures: list[ShownFigure]) -> list[str]:
    """Write a table for each question to pools of connections."""
    lines = []
    for question, answers in questions(figures, pools=True, least=1).items():
        head, rows = pool_table(figures, answers)
        lines += ["", f"### {question}", "", *table(head, [[bold(row[0]), *row[1:]] for row in rows])]
    return lines


def curves(figures: list[ShownFigure]) -> list[str]:
    """Write how costs and memory grow, a curve to a line."""
    rows = []
    for title, points in series(figures).items():
        shape = "; ".join(f"{point.figure['at']:,.0f}: {shown(point.median)}" for point in points)
        rows.append((title, points[0].unit, shape))
    return table(("what grows", "unit", "at so many: so much"), rows, "---|---") if rows else []


def origin(figures: list[ShownFigure]) -> list[str]:
    """Tell where and when figures were measured, and what may have disturbed them."""
    lines = places(figures)
    if any(one.durability == "power-loss" for one in figures):
        lines.append('Durability is "power-loss" where no other is told.')
    if busiest(figures) >= BUSY_CORES:
        lines.append(
            f"Other programs kept up to {busiest(figures):.1f} cores busy: expect more from a machine of your own."
        )
    return lines


def readme(figures: list[ShownFigure]) -> list[str]:
    """Write the few figures that README shows."""
    first = [one for key in FIRST for one in figures if one.key == key]
    return [*ours(first), "", *places(first)]


def everything(figures: list[ShownFigure]) -> list[str]:
    """Write everything but the database proxy."""
    here = [one for one in figures if not one.is_pool and one.scenario not in DATABASES]
    own = [one for one in here if one.scenario in scenarios.SCENARIOS and "series" not in one.figure]
    grown, among = curves(here), peers(here)
    growth = ["", "## As things grow", "", *grown] if grown else []
    beside = ["", "## Beside its peers", *among] if among else []
    return ["## forebay and the limits", "", *ours(own), *growth, *beside, "", *origin(here)]


def proxy(figures: list[ShownFigure]) -> list[str]:
    """Write the database proxy and its peers."""
    bare = [one for one in figures if one.scenario in DATABASES]
    limits = [one for one in bare if one.figure["name"] in {"rate", "processor"}]
    return [*ours(limits), *pools(figures), "", *origin([*bare, *(one for one in figures if one.is_pool)])]


PAGES: dict[str, Callable[[list[ShownFigure]], list[str]]] = {
    "README.md": readme,
    "docs/figures.md": everything,
    "docs/dbproxy.md": proxy,
}


def missing(figures: list[ShownFigure]) -> list[str]:
    """Name what was never measured as it is today."""
    there = {one.key for one in figures}
    keys = (f"{name}:{figure.name}" for name, one in scenarios.SCENARIOS.items() for figure in one.figures)
    return [key for key in keys if key not in there]


def main() -> None:
    """Rewrite the pages, or compare them."""
    figures = shown_figures(newest(ROOT / "bench" / "results").values())
    if never := missing(figures):
        print(f"Not measured as it is today: {', '.join(never)}.")
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
