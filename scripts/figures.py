"""Write README's table of figures from the newest results in bench/results.

Usage: python scripts/figures.py          rewrite the part between the two marks
       python scripts/figures.py --check  only tell (exit code 1) whether it is up to date
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
APART = ("limits.", "growth.", "peers.")  # for the report with its charts
BUSY_CORES = 0.2  # what others may use before it is worth a word
MARKED = re.compile(r"(<!-- figures: [^\n]*-->\n).*?(<!-- end of figures -->)", re.DOTALL)


def newest() -> list[dict]:
    """Give the newest whole result of each scenario, in the order in which they were first measured."""
    results = {}
    for path in sorted((ROOT / "bench" / "results").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            result = json.loads(line)
            if result["scale"] == 1 and not result["scenario"].startswith(APART):
                results[result["scenario"]] = result
    return list(results.values())


def shown(value: float) -> str:
    """Write a number with three digits that mean something."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def where(result: dict) -> str:
    """Say what a result was measured on."""
    machine, versions = result["machine"], result["versions"]
    return (
        f"{result['date'][:10]} on {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['memory_gib']} GiB, {machine['system']}; "
        f"forebay {versions['forebay']}, Python {versions['python']}, uvloop {versions['uvloop']}; "
        f'durability "{result["durability"]}"'
    )


def table(results: list[dict]) -> str:
    """Write the table and, below it, where its rows come from."""
    lines = ["| what | median | least to most | runs |", "|---|---:|---:|---:|"]
    for result in results:
        for figure in result["figures"]:
            spread = f"{shown(figure['least'])} to {shown(figure['most'])}"
            lines.append(
                f"| {figure['title']} | {shown(figure['median'])} {figure['unit']} | {spread} | {result['runs']} |"
            )
    places = dict.fromkeys(where(result) for result in results)
    lines += ["", *(f"Measured {place}." for place in places)]
    others = max((result["others"] or 0.0 for result in results), default=0.0)
    if others >= BUSY_CORES:
        lines.append(
            f"Other programs kept up to {others:.1f} cores busy meanwhile: expect more from a machine of your own."
        )
    return "\n".join([*lines, ""])


def main() -> None:
    """Rewrite README, or compare it."""
    readme = ROOT / "README.md"
    before = readme.read_text()
    after = MARKED.sub(lambda marks: marks[1] + "\n" + table(newest()) + "\n" + marks[2], before)
    if "--check" in sys.argv[1:]:
        sys.exit(
            0 if before == after else "README's figures are not those of bench/results: run python scripts/figures.py"
        )
    readme.write_text(after)


if __name__ == "__main__":
    main()
