"""Write README's figures from the newest results in bench/results: what forebay does, of what limit, and what its peers do.

Usage: .venv/bin/python scripts/figures.py          rewrite the part between the two marks
       .venv/bin/python scripts/figures.py --check  only tell (exit code 1) whether it is up to date
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from forebay.bench.compare import newest
from forebay.bench.harness import more_is_better, shown

ROOT = Path(__file__).resolve().parent.parent
APART = (
    "limits.",
    "growth.",
    "peers.",
)  # the first is in the column of shares, the others have tables or charts of their own
BUSY_CORES = 0.2  # what others may use before it is worth a word
MARKED = re.compile(r"(<!-- figures: [^\n]*-->\n).*?(<!-- end of figures -->)", re.DOTALL)

Result = dict[str, Any]


def where(result: Result) -> str:
    """Say what a result was measured on."""
    machine, versions = result["machine"], result["versions"]
    return (
        f"{result['date'][:10]} on {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['memory_gib']} GiB, {machine['system']}; "
        f"forebay {versions['forebay']}, Python {versions['python']}, uvloop {versions['uvloop']}"
    )


def table(results: Iterable[Result]) -> list[str]:
    """Write what forebay does; its database proxy is shown beside its peers."""
    lines = ["| what | median | least to most | of the limit | runs |", "|---|---:|---:|---:|---:|"]
    for result in results:
        for figure in result["figures"]:
            if result["scenario"].startswith((*APART, "dbproxy.")):
                continue
            spread = f"{shown(figure['least'])} to {shown(figure['most'])}"
            share = f"{figure['share_of_limit']:.0%}" if "share_of_limit" in figure else ""
            value = f"{shown(figure['median'])} {figure['unit']}"
            durability = "" if result["durability"] == "power-loss" else f" ({result['durability']})"
            lines.append(f"| {figure['title']}{durability} | {value} | {spread} | {share} | {result['runs']} |")
    return lines


def beside_peers(results: Iterable[Result]) -> list[str]:
    """Write what several programs were asked, the quickest first: a table for each question that more than one answered."""
    asked: dict[str, list[tuple[Result, dict[str, Any]]]] = {}
    for result in results:
        for figure in result["figures"]:
            if "question" in figure:
                asked.setdefault(figure["question"], []).append((result, figure))
    lines = []
    for question, answers in asked.items():
        if len(answers) == 1:
            continue
        answers.sort(key=lambda answer: answer[1]["median"], reverse=more_is_better(answers[0][1]["unit"]))
        lines += ["", f"| {question} | median | least to most | durability |", "|---|---:|---:|---|"]
        for result, figure in answers:
            who = f"**{result['who']}**" if result["who"].startswith("forebay") else result["who"]
            spread = f"{shown(figure['least'])} to {shown(figure['most'])}"
            value = f"{shown(figure['median'])} {figure['unit']}"
            lines.append(f"| {who} | {value} | {spread} | {result['durability']} |")
    return lines


def figures(results: list[Result]) -> str:
    """Write the tables and, below them, where their rows come from."""
    ours = [result for result in results if not result["scenario"].startswith(APART)]
    lines = [*table(results), *beside_peers(results), ""]
    lines += [f"Measured {place}." for place in dict.fromkeys(where(result) for result in ours)]
    lines.append('Durability is "power-loss" where no other is told.')
    others = max((result["others"] or 0.0 for result in ours if "servers" not in result), default=0.0)
    if others >= BUSY_CORES:
        lines.append(
            f"Other programs kept up to {others:.1f} cores busy meanwhile: expect more from a machine of your own."
        )
    return "\n".join([*lines, ""])


def main() -> None:
    """Rewrite README, or compare it."""
    readme = ROOT / "README.md"
    before = readme.read_text()
    told = figures(list(newest(ROOT / "bench" / "results").values()))
    after = MARKED.sub(lambda marks: f"{marks[1]}\n{told}\n{marks[2]}", before)
    if "--check" in sys.argv[1:]:
        sys.exit(
            0 if before == after else "README's figures are not those of bench/results: run python scripts/figures.py"
        )
    readme.write_text(after)


if __name__ == "__main__":
    main()
