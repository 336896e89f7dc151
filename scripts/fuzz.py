"""Let libFuzzer look for inputs that break something, a while for each target of `rust/testing/hostile`, as many at once as
there are cores.

Usage: python scripts/fuzz.py SECONDS [--seed N] [TARGET...]

What reaches new branches is kept in `target/fuzz/TARGET`, where the next run goes on; what breaks something is written to
`target/fuzz/broken`, and what the fuzzer says to `target/fuzz/logs`. `rust/testing/hostile/corpus` has the inputs that the
ordinary test run repeats.

An input that takes longer than a second is a suspect only: a machine that is busy, or stood still, makes any input slow. The
fuzzer goes on without it, and when all targets are through, the suspect is run three times more, alone. If it takes longer
than a second each time, it hangs, and counts; if not, it is forgotten.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOSTILE = ROOT / "rust" / "testing" / "hostile"
KEPT = HOSTILE / "corpus"
WORK = ROOT / "target" / "fuzz"
TARGETS = re.findall(r'Target \{ name: "([a-z-]+)"', (HOSTILE / "src" / "lib.rs").read_text())

# What `cargo fuzz` gives the compiler. Memory needs no watching: there is no unsafe Rust.
COUNTERS = (
    "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters "
    "-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
)
SLOWEST_SECONDS = 1
AGAIN = 3
LIMITS = ["-max_len=32768", "-rss_limit_mb=2048", "-malloc_limit_mb=512", "-print_final_stats=1"]


@dataclass
class Found:
    """What a target's run came to."""

    target: str
    runs: int = 0
    inputs: int = 0
    broken: bool = False
    suspects: set[Path] = field(default_factory=set)


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


def log_of(target: str) -> Path:
    """Name the file into which the fuzzer of a target writes."""
    return WORK / "logs" / f"{target}.log"


def run(fuzzer: Path, target: str, seconds: int, seed: int) -> Found:
    """Run one target; each suspect costs its process, and another one goes on for what is left of the time."""
    corpus, broken, seeds = WORK / target, WORK / "broken", WORK / "seeds" / target
    for folder in (corpus, broken, seeds, log_of(target).parent):
        folder.mkdir(parents=True, exist_ok=True)
    folders = [corpus, seeds, *[folder for folder in [KEPT / target] if folder.is_dir()]]
    limits = [*LIMITS, f"-timeout={SLOWEST_SECONDS}", f"-artifact_prefix={broken}/{target}-"]
    variables = {"FOREBAY_FUZZ_TARGET": target, "FOREBAY_FUZZ_SEEDS": str(seeds)}
    found, ends = Found(target), time.monotonic() + seconds
    log_of(target).write_text("")
    while not found.broken and (left := round(ends - time.monotonic())) > 0:
        words = [*limits, f"-max_total_time={left}", f"-seed={seed + found.runs}"]
        found.runs += 1
        ended = subprocess.run(
            [str(fuzzer), *words, *map(str, folders)], env=os.environ | variables, stderr=subprocess.PIPE, check=False
        )
        said = ended.stderr.decode(errors="replace")
        with log_of(target).open("a") as log:
            log.write(said)
        inputs = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
        found.inputs += (ran := int(inputs[1]) if inputs else 0)
        if ended.returncode != 0:
            slow = re.search(r"Test unit written to (.*-timeout-\w+)", said)
            found.suspects |= {Path(slow[1])} if slow else set()
            found.broken = slow is None
        elif ran == 0:  # it would be started again and again, and pass without having tried anything
            found.broken = True
    return found


def seconds_of(fuzzer: Path, target: str, suspect: Path) -> float:
    """Run one input alone; tell how long it took, without end if it did not come back."""
    words = [str(fuzzer), *LIMITS, f"-timeout={10 * SLOWEST_SECONDS}", str(suspect)]
    variables = {"FOREBAY_FUZZ_TARGET": target}
    ended = subprocess.run(words, env=os.environ | variables, stderr=subprocess.PIPE, check=False)
    took = re.search(r"Executed .* in (\d+) ms", ended.stderr.decode(errors="replace"))
    return int(took[1]) / 1000 if took and ended.returncode == 0 else float("inf")


def judge(fuzzer: Path, found: Found) -> None:
    """Run a target's suspects again, while nothing else runs; one that is slow each time hangs, the others are forgotten."""
    for suspect in sorted(found.suspects):
        hangs = all(seconds_of(fuzzer, found.target, suspect) > SLOWEST_SECONDS for _ in range(AGAIN))
        found.broken |= hangs
        if not hangs:
            suspect.unlink()
        print(f"{found.target}: {suspect.name} {'hangs' if hangs else 'was slow once, and is not'}", flush=True)


def fuzz(fuzzer: Path, targets: list[str], seconds: int, seed: int) -> bool:
    """Run the targets, side by side; tell whether nothing broke."""
    with ThreadPoolExecutor(os.cpu_count()) as side_by_side:
        all_found = []
        for found in side_by_side.map(lambda target: run(fuzzer, target, seconds, seed), targets):
            said = f", suspects {len(found.suspects)}" * bool(found.suspects) + ": BROKEN" * found.broken
            print(f"{found.target}: {found.inputs:,} inputs in {seconds} s{said}", flush=True)
            print("figures " + json.dumps({f"{found.target} inputs": found.inputs}), flush=True)
            all_found.append(found)
    for found in all_found:
        judge(fuzzer, found)
        if found.broken:
            print("\n".join(log_of(found.target).read_text().splitlines()[-60:]))
    return not any(found.broken for found in all_found)


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz.py")
    parser.add_argument("seconds", type=int, help="for each target")
    parser.add_argument("--seed", type=int, default=1, help="where chance begins")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; without: all of them")
    asked = parser.parse_args()
    if unknown := set(asked.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}: there are {', '.join(TARGETS)}")
    return 0 if fuzz(build(), asked.targets or TARGETS, asked.seconds, asked.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
