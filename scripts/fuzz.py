"""Let libFuzzer look for inputs that break something, a while for each target of `rust/hostile`.

Usage: python scripts/fuzz.py SECONDS [--seed N] [TARGET...]

What reaches new branches is kept in `target/fuzz/TARGET`, where the next run goes on; what breaks something is written to
`target/fuzz/broken`. `rust/hostile/corpus` has the inputs that the ordinary test run repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "rust" / "hostile" / "corpus"
WORK = ROOT / "target" / "fuzz"
TARGETS = re.findall(r'Target \{ name: "([a-z-]+)"', (ROOT / "rust" / "hostile" / "src" / "lib.rs").read_text())

# What `cargo fuzz` gives the compiler. Memory needs no watching: there is no unsafe Rust.
COUNTERS = (
    "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters "
    "-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
)
LIMITS = ["-max_len=32768", "-timeout=1", "-rss_limit_mb=2048", "-malloc_limit_mb=512", "-print_final_stats=1"]


def build() -> Path:
    """Build the fuzzer, beside what the tests use; give its file."""
    asked = ["rustc", "--print", "host-tuple"]
    host = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    command = ["cargo", "build", "--locked", "--profile", "ci", "--config", "profile.ci.opt-level=2", "--target", host]
    command += ["-p", "forebay-hostile", "--features", "libfuzzer", "--bin", "forebay-fuzz"]
    folder = WORK / "build"
    subprocess.run(
        command, cwd=ROOT, check=True, env=os.environ | {"RUSTFLAGS": COUNTERS, "CARGO_TARGET_DIR": str(folder)}
    )
    return folder / host / "ci" / "forebay-fuzz"


def run(fuzzer: Path, target: str, seconds: int, seed: int) -> tuple[bool, int]:
    """Run one target; tell whether nothing broke, and how many inputs it was given."""
    corpus, broken, seeds = WORK / target, WORK / "broken", WORK / "seeds" / target
    for folder in (corpus, broken, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    folders = [corpus, seeds, *[folder for folder in [KEPT / target] if folder.is_dir()]]
    words = [*LIMITS, f"-max_total_time={seconds}", f"-seed={seed}", f"-artifact_prefix={broken}/{target}-"]
    variables = {"FOREBAY_FUZZ_TARGET": target, "FOREBAY_FUZZ_SEEDS": str(seeds)}
    ended = subprocess.run(
        [str(fuzzer), *words, *map(str, folders)], env=os.environ | variables, stderr=subprocess.PIPE, check=False
    )
    said = ended.stderr.decode(errors="replace")
    inputs = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
    if ended.returncode != 0:
        print("\n".join(said.splitlines()[-60:]))
    return ended.returncode == 0, int(inputs[1]) if inputs else 0


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz.py")
    parser.add_argument("seconds", type=int, help="for each target")
    parser.add_argument("--seed", type=int, default=1, help="where chance begins")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; without: all of them")
    asked = parser.parse_args()
    if unknown := set(asked.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}: there are {', '.join(TARGETS)}")
    fuzzer, whole = build(), True
    for target in asked.targets or TARGETS:
        passed, inputs = run(fuzzer, target, asked.seconds, asked.seed)
        whole &= passed
        print(f"{target}: {inputs:,} inputs in {asked.seconds} s{'' if passed else ': BROKEN'}", flush=True)
        print("figures " + json.dumps({f"{target} inputs": inputs}), flush=True)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
