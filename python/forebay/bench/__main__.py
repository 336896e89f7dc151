"""Command line of the bench: python -m forebay.bench [--list] [--runs N] [--scale X] [--results DIRECTORY] [SCENARIO ...]."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from forebay.bench import harness, stream

SCENARIOS = {scenario.name: scenario for scenario in stream.SCENARIOS}


def main(arguments: list[str] | None = None, default: str = "") -> None:
    """Measure what is named, or what begins with the default; print it, and keep it if told where."""
    parser = argparse.ArgumentParser(prog="python -m forebay.bench", description="Measure forebay on this machine.")
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help="a name, or the beginning of several; default: all"
    )
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    parser.add_argument("--runs", type=int, default=harness.RUNS, help="runs of each scenario, each in a new process")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the work to do")
    parser.add_argument("--results", type=Path, help="directory to append results to, one JSON line each")
    parser.add_argument("--once", metavar="SCENARIO", help="run one scenario once, here, and print its values as JSON")
    options = parser.parse_args(arguments)
    if options.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:<24} {', '.join(figure.title for figure in scenario.figures)}")
        return
    harness.refuse_debug_build()
    if options.once:
        print(json.dumps(harness.run_once(SCENARIOS[options.once], options.scale)))
        return
    for name in chosen(options.scenarios or [default]):
        result = harness.measure(SCENARIOS[name], runs=options.runs, scale=options.scale)
        print(harness.table(result), flush=True)
        if options.results:
            harness.keep(result, options.results)


def chosen(wanted: list[str]) -> list[str]:
    """Resolve names and beginnings of names."""
    unknown = [name for name in wanted if not any(known.startswith(name) for known in SCENARIOS)]
    if unknown:
        sys.exit(f"No scenario begins with {', '.join(unknown)}. There are: {', '.join(SCENARIOS)}.")
    return [known for known in SCENARIOS if any(known.startswith(name) for name in wanted)]


if __name__ == "__main__":
    main()
