"""Measure forebay and its peers on the same questions in one session, each run in a process of its own.

Usage: python bench/peers/run.py [--runs N] [--scale X] [--results DIRECTORY] [--list] [SCENARIO ...]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1]))

import aws
import matchers
import primitives
import queues
import streams
import workflows

from forebay_bench import dbproxy, harness, scenarios
from forebay_bench.session import once, run_session

RUNS = 3
PEERS = {
    scenario.name: scenario
    for family in (
        aws.SCENARIOS,
        matchers.SCENARIOS,
        streams.SCENARIOS,
        queues.SCENARIOS,
        primitives.SCENARIOS,
        workflows.SCENARIOS,
        dbproxy.PEER_SCENARIOS,
    )
    for scenario in family
}
OURS = [name for name, one in scenarios.SCENARIOS.items() if any(figure.question for figure in one.figures)]
"""What is asked of peers, too; its limits come with it."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure forebay and its peers on this machine.")
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help="a name or the beginning of several; default: all")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    every = {one.name: one for one in scenarios.chosen(OURS)} | PEERS
    picked = [one for name, one in every.items() if not options.names or name.startswith(tuple(options.names))]
    if options.list:
        print("\n".join(f"{peer.name:<44} {peer.note}" for peer in picked))
        return
    if not picked:
        parser.error(f"no scenario begins with {', '.join(options.names)}; there are {', '.join(every)}")
    harness.refuse_debug_build()
    minutes = scenarios.budget(picked, options.runs, options.scale) / 60
    print(f"{len(picked)} scenarios, {options.runs} runs each: about {minutes:.0f} minutes.", file=sys.stderr)
    program = (str(Path(__file__).resolve()), "--once")
    for result in run_session(picked, runs=options.runs, scale=options.scale, program=program, skipped=_say):
        _say(harness.table(result))
        if options.results:
            harness.keep(result, options.results)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        once((scenarios.SCENARIOS | PEERS)[sys.argv[2]], float(sys.argv[3]))
    else:
        main()
