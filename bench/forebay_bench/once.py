"""One run of one scenario, in a process of its own: python -m forebay_bench.once SCENARIO [SCALE] prints its values as JSON."""

from __future__ import annotations

import sys

from forebay_bench import harness, scenarios
from forebay_bench.session import once


def main(name: str, scale: str = "1") -> None:
    """Run a scenario here."""
    harness.refuse_debug_build()
    once(scenarios.named(name), float(scale))


if __name__ == "__main__":
    main(*sys.argv[1:])
