"""One run of one scenario, in a process of its own: python -m forebay.bench SCENARIO [SCALE] prints its values as JSON."""

from __future__ import annotations

import json
import sys

from forebay.bench import harness, scenarios


def main(name: str, scale: str = "1") -> None:
    """Run a scenario here."""
    harness.refuse_debug_build()
    print(json.dumps(harness.run_once(scenarios.named(name), float(scale))))


if __name__ == "__main__":
    main(*sys.argv[1:])
