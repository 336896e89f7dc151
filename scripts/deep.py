"""Run the reliability tests far beyond the ordinary run, in pieces, and write down what was run.

Usage: python scripts/deep.py                     every part, until each is whole on this commit
       python scripts/deep.py kill --count 200    so many of one part, and no more
       python scripts/deep.py --list              what has been run on this commit
       python scripts/deep.py --write             only write RESULTS.md from results.jsonl

Each piece that ends appends a line to tests/reliability/results.jsonl; a run that is interrupted goes on after the last of them.
As many parts run side by side as there are cores; then, one after the other, those that need the machine for themselves.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from deep_parts import PARTS, Part
from recorded import ROOT, commit

RESULTS = ROOT / "tests" / "reliability" / "results.jsonl"
PAGE = ROOT / "tests" / "reliability" / "RESULTS.md"
LOGS = ROOT / "target" / "deep"
WRITING = threading.Lock()

HEAD = """# Deep runs

What was run beyond the ordinary test run. `make deep` writes this page from `results.jsonl`, which has a line for each piece.
What is missing was not run; what failed or could not be run counts for nothing. A commit with a `+` had changes beside it.
Figures are sums; "most" is the greatest.

| part | what | run | result | on commit | until | minutes |
|---|---|---|---|---|---|---|
"""


def read() -> list[dict]:
    """Give every line that was ever written."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def add(total: dict[str, float], figures: dict[str, float]) -> None:
    """Take more figures into a sum."""
    for name, value in figures.items():
        total[name] = max(total.get(name, 0), value) if name.endswith("_most") else total.get(name, 0) + value


def run(part: Part, count: int, seed: int) -> dict:
    """Run a piece; give its line."""
    words, variables = part.words(count, seed)
    LOGS.mkdir(parents=True, exist_ok=True)
    log, begun, tested = LOGS / f"{part.name}.log", time.monotonic(), commit()
    with log.open("w") as output:
        ended = subprocess.run(
            words, cwd=ROOT, env=os.environ | variables, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    figures: dict[str, float] = {}
    for line in log.read_text(errors="replace").splitlines():
        if said := re.search(r"figures (\{.*\})$", line):  # pytest's dots may stand before it
            add(figures, json.loads(said[1]))
        elif line.startswith('{"seeds"'):
            ended_with = json.loads(line)
            add(figures, ended_with["counts"])
            add(figures, {f"fault {name}": count for name, count in ended_with["faults"].items()})
            rate = round(ended_with["counts"]["deliveries"] / ended_with["seconds"])
            add(figures, {"deliveries_a_second_most": rate})
    is_skipped = any(name.startswith("skipped") for name in figures)
    return {
        "part": part.name,
        "title": part.title,
        "unit": part.unit,
        "count": 0 if is_skipped else count,
        "seed": seed,
        "passed": ended.returncode == 0,
        "figures": figures,
        "commit": tested,
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M"),
        "seconds": round(time.monotonic() - begun, 1),
    }


def passed(part: Part, tested: str) -> int:
    """Count what was run of a part on a commit, and passed."""
    lines = (line for line in read() if (line["part"], line["commit"], line["passed"]) == (part.name, tested, True))
    return sum(line["count"] for line in lines)


def go_on(part: Part, wanted: int | None, first: int | None) -> bool:
    """Run pieces of a part until there are enough of them; tell whether all passed."""
    tested = commit()
    left = part.goal - passed(part, tested) if wanted is None else wanted
    while left > 0:
        count = min(part.piece, left)
        # No seed is run twice, on whatever commit, unless one is asked for.
        seed = first or 1 + sum(line["count"] for line in read() if line["part"] == part.name)
        first = first and first + count
        line = run(part, count, seed)
        with WRITING:
            with RESULTS.open("a") as results:
                results.write(json.dumps(line) + "\n")
            write()
        if line["count"] == 0:
            print(f"{part.name}: NOT RUN, see {LOGS / part.name}.log: {shown(line['figures'])}")
            return False
        left -= count
        print(f"{part.name}: {count} {part.unit} in {line['seconds']:.0f} s, {left} left", flush=True)
        if not line["passed"]:
            again = f"{part.name} --count {count} --seed {seed}"
            print(f"{part.name} FAILED, see {LOGS / part.name}.log; once more: make deep ARGS='{again}'")
            return False
    return True


def every(parts: list[Part], wanted: int | None, first: int | None) -> bool:
    """Run parts, those first that can share the machine; one that fails keeps no other from its run."""

    def ended(part: Part) -> bool:
        return go_on(part, wanted, first)

    with ThreadPoolExecutor(os.cpu_count()) as beside:
        passed = list(beside.map(ended, [part for part in parts if not part.alone]))
    return all(passed + [ended(part) for part in parts if part.alone])


def shown(figures: dict[str, float]) -> str:
    """Write figures as words."""
    return ", ".join(f"{name.replace('_', ' ')} {value:,.10g}" for name, value in figures.items())


def table(lines: list[dict]) -> str:
    """Write a row for each part and commit. What was run is told as it was called then: a part may be another one by now."""
    rows = []
    for part in PARTS:
        groups: dict[tuple[str, str, str], list[dict]] = defaultdict(list)
        for line in lines:
            if line["part"] == part.name:
                groups[line["commit"], line.get("title", part.title), line.get("unit", part.unit)].append(line)
        for (tested, title, unit), group in groups.items():
            figures: dict[str, float] = {}
            passed = [line for line in group if line["passed"]]
            for line in passed:
                add(figures, line["figures"])
            failed, done = len(group) - len(passed), sum(line["count"] for line in passed)
            result = f"**{failed} of {len(group)} pieces failed**" if failed else "passed" if done else "not run"
            count = f"{done:,} {unit}"
            said = f"{result}; {shown(figures)}" if figures else result
            minutes = sum(line["seconds"] for line in group) / 60
            rows.append(
                f"| {part.name} | {title} | {count} | {said} | {tested} | {group[-1]['date']} | {minutes:.1f} |"
            )
    return "\n".join(rows) + "\n"


def write() -> None:
    """Write the page."""
    PAGE.write_text(HEAD + table(read()))


def main() -> int:
    """Run what the command line says."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="make deep")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}; without: all of them")
    parser.add_argument("--count", type=int, help="run so many of each part, whatever was run before")
    parser.add_argument("--seed", type=int, help="begin there: repeat what failed")
    parser.add_argument("--list", action="store_true", help="show what has been run on this commit")
    parser.add_argument("--write", action="store_true", help="only write RESULTS.md")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(names):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    if asked.write:
        write()
        return 0
    chosen = [part for part in PARTS if not asked.parts or part.name in asked.parts]
    if asked.list:
        tested = commit()
        for part in chosen:
            print(f"{part.name:10} {passed(part, tested):>9,} of {part.goal:>9,} {part.unit}: {part.title}")
        return 0
    return 0 if every(chosen, asked.count, asked.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
