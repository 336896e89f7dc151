"""Measure the peers on the same questions as forebay, each run in a process of its own.

Usage: python bench/peers/run.py [--runs N] [--scale X] [--results DIRECTORY] [--list] [SCENARIO ...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import primitives
import queues
import servers
import streams

from forebay.bench import harness, scenarios

RUNS = 3
PEERS = {scenario.name: scenario for family in (streams, queues, primitives) for scenario in family.SCENARIOS}
SKIPPED = 3  # exit status of a run for which something is missing


def once(name: str, scale: str) -> None:
    """Run one scenario here and print its values."""
    try:
        print(json.dumps(harness.run_once(PEERS[name], float(scale))))
    except (servers.Missing, ModuleNotFoundError) as error:
        print(error, file=sys.stderr)
        sys.exit(SKIPPED)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure forebay's peers on this machine.")
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help="a name or the beginning of several; default: all")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    picked = [peer for name, peer in PEERS.items() if not options.names or name.startswith(tuple(options.names))]
    if options.list:
        print("\n".join(f"{peer.name:<44} {peer.note}" for peer in picked))
        return
    if not picked:
        parser.error(f"no scenario begins with {', '.join(options.names)}; there are {', '.join(PEERS)}")
    harness.refuse_debug_build()
    minutes = scenarios.budget(picked, options.runs, options.scale) / 60
    print(f"{len(picked)} scenarios, {options.runs} runs each: about {minutes:.0f} minutes.", file=sys.stderr)
    program = (str(Path(__file__).resolve()), "--once")
    for peer in picked:
        try:
            result = harness.measure(peer, runs=options.runs, scale=options.scale, program=program)
        except subprocess.CalledProcessError as error:
            # One peer that is missing or fails takes no other with it; its line says so instead of a figure.
            why = "something it needs is missing" if error.returncode == SKIPPED else "it failed"
            print(f"{peer.name}  skipped: {why}, as told above", flush=True)
            continue
        print(harness.table(result), flush=True)
        if options.results:
            harness.keep(result, options.results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        once(*sys.argv[2:])
    else:
        main()
