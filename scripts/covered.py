"""Tell how much of the product the tests run: lines of Python and of Rust, and regions of the core.

Usage: python scripts/covered.py               build with counters, run every test, tell
       python scripts/covered.py STEP...       only some of it: rust, python, report

Everything is made in `target/coverage`: a build of its own, and a copy of the package with an extension that counts. The test
build stays what it is. A failing test is told and ends nothing: counters cost time, and some tests are about time.

Counted are `python/forebay` and the crates that a user gets. Left out are tests, also where they stand in the file they test, and
the crates that are for tests only. A line or a region was run if any build or instance of it was, by whatever test. What only a
process ran that was killed is told as not run: nobody could ask it.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "coverage"
BUILD, RAW, PYTHON = WORK / "build", WORK / "raw", WORK / "python"
COMPILER, SETTINGS = WORK / "rustc-counting", WORK / "settings.ini"
CI = ["--locked", "--profile", "ci"]
TESTS = [*CI, "--workspace", "--features", "forebay-bindings/failpoints", "--tests"]
PROGRAMS = ["test", *TESTS, "--no-run"]
EXTENSION = ["build", *CI, "--package", "forebay-bindings", "--features", "failpoints"]
PYTEST = ["-m", "pytest", "-p", "no:cacheprovider", "--timeout", "3600"]

# No shell: it drops variables like CARGO_BIN_EXE_forebay-sim.
WRAPPER = """#!{python} -IS
import os, sys
os.execvp(sys.argv[1], [*sys.argv[1:], "-Cinstrument-coverage"])
"""
CRATES = {"core", "store", "salvage", "metrics", "engine", "bindings"}
FOR_TESTS = {"tests", "test_engine"}  # modules that are compiled for tests only
INLINE = "#[cfg(test)]\nmod tests {"
FAILED = re.compile(r"^(?:test result: FAILED\. \d+ passed; )?(\d+) (?:failed|error)", re.MULTILINE)
GOALS = {"Python lines": 90, "Rust lines": 90, "core regions": 95}  # so many of a hundred

# SQLAlchemy's asyncio runs in greenlets. A process that never imports the package has nothing to tell.
COVERAGE = """[run]
data_file = {work}/data/of
parallel = true
patch = subprocess
concurrency = thread, greenlet
source = {python}/forebay
disable_warnings = no-data-collected, module-not-imported
"""

Files = dict[str, dict[str, bool]]  # for each file its lines or regions, and whether each was run


def output(words: list[str]) -> str:
    """Run a program and give what it says."""
    return subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


@functools.cache
def llvm(name: str) -> str:
    """Find a tool of the LLVM that the compiler has: another one cannot read what it counts."""
    libraries = Path(output(["rustc", "--print", "target-libdir"]).strip())
    major = output(["rustc", "--version", "--verbose"]).split("LLVM version: ")[1].split(".")[0]
    found = shutil.which(f"llvm-{name}", path=libraries.parent / "bin") or shutil.which(f"llvm-{name}-{major}")
    if found is None:
        sys.exit(f"There is no llvm-{name}-{major} here. On Debian and Ubuntu: sudo apt-get install -y llvm-{major}")
    return found


def compiled(*words: str) -> list[str]:
    """Build with counters in the workspace's own crates; give the programs and the extension that were built."""
    WORK.mkdir(parents=True, exist_ok=True)
    COMPILER.write_text(WRAPPER.format(python=sys.executable))
    COMPILER.chmod(0o755)
    command = ["cargo", *words, "--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | counting("build"), check=True, stdout=subprocess.PIPE)
    made = [told for told in map(json.loads, done.stdout.splitlines()) if told["reason"] == "compiler-artifact"]
    return [
        one["executable"] or one["filenames"][0]
        for one in made
        if one["executable"] or one["target"]["name"] == "_core"
    ]


def counting(step: str) -> dict[str, str]:
    """Give the variables with which cargo builds, and with which what it built counts."""
    return {
        "CARGO_TARGET_DIR": str(BUILD),
        "RUSTC_WORKSPACE_WRAPPER": str(COMPILER),
        "PYO3_PYTHON": sys.executable,
        "PYO3_BUILD_EXTENSION_MODULE": "1",
        "LLVM_PROFILE_FILE": str(RAW / step / "%p-%m.profraw"),
    }


def tested(step: str, words: list[str], variables: dict[str, str]) -> int:
    """Run tests and keep what they count; give how many failed."""
    shutil.rmtree(RAW / step, ignore_errors=True)
    log, variables = WORK / f"{step}.log", os.environ | variables
    with log.open("w") as said:  # a file: tests have figures of their own to tell
        ended = subprocess.run(words, cwd=ROOT, env=variables, stdout=said, stderr=subprocess.STDOUT, check=False)
    failed = sum(map(int, FAILED.findall(log.read_text(errors="replace"))))
    if ended.returncode and not failed:
        sys.exit(f"{step}: it ended with {ended.returncode} and told of no test that failed, see {log}")
    print(f"{step}: {failed} tests failed, see {log}", flush=True)
    merged(WORK / f"{step}.profdata", RAW / step)
    shutil.rmtree(RAW / step)
    return failed


def merged(into: Path, *counted: Path) -> Path:
    """Merge counters; what a process could not finish to write is passed over, and told by the tool."""
    words = [llvm("profdata"), "merge", "--sparse", "--failure-mode=all", "-o", str(into), *map(str, counted)]
    subprocess.run(words, check=True)
    return into


def rust() -> int:
    """Run the tests of Rust."""
    compiled(*PROGRAMS)
    return tested("rust", ["cargo", "test", *TESTS, "--no-fail-fast"], counting("rust"))


def python() -> int:
    """Run the tests of Python, on a copy of the package whose extension counts."""
    built = compiled(*EXTENSION)[0]
    for folder in (PYTHON, WORK / "data"):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "python", PYTHON, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(built, PYTHON / "forebay" / "_core.abi3.so")
    SETTINGS.write_text(COVERAGE.format(work=WORK, python=PYTHON))
    variables = {"PYTHONPATH": str(PYTHON), "LLVM_PROFILE_FILE": counting("python")["LLVM_PROFILE_FILE"]}
    failed = tested("python", [sys.executable, "-m", "coverage", "run", f"--rcfile={SETTINGS}", *PYTEST], variables)
    coverage("combine", "--quiet")
    return failed


def coverage(command: str, *words: str) -> str:
    """Run a command of coverage.py; give what it says."""
    return output([sys.executable, "-m", "coverage", command, f"--rcfile={SETTINGS}", *words])


def python_lines() -> Files:
    """Read what coverage.py counted."""
    told = json.loads(coverage("json", "-o", "-"))["files"]
    files: Files = {}
    for name, file in told.items():
        lines = dict.fromkeys(file["executed_lines"], True) | dict.fromkeys(file["missing_lines"], False)
        files[str((ROOT / name).relative_to(WORK))] = {str(line): lines[line] for line in sorted(lines)}
    return files


def exported(objects: list[str], counted: Path, form: str) -> str:
    """Let llvm-cov write what was counted."""
    more = [word for built in objects[1:] for word in ("--object", built)]
    return output([llvm("cov"), "export", f"--format={form}", f"--instr-profile={counted}", objects[0], *more])


@functools.cache
def product(name: str) -> str | None:
    """Give a source file's name from the root on, if it is one of the product's."""
    path = (ROOT / name).resolve()
    parts = path.relative_to(ROOT).parts if path.is_relative_to(ROOT) else ()
    ours = parts[:1] == ("rust",) and parts[1] in CRATES and parts[2] == "src"
    return "/".join(parts) if ours and not FOR_TESTS & {path.stem, *parts} else None


@functools.cache
def tests_begin(name: str) -> int:
    """Give the line at which a file's own tests begin."""
    before, found, _ = (ROOT / name).read_text().partition(INLINE)
    return before.count("\n") + 1 if found else sys.maxsize


def rust_lines(lcov: str) -> Files:
    """Read the lines of llvm-cov's `lcov`."""
    files: Files = {}
    for record in lcov.split("end_of_record\n"):
        source = re.search(r"^SF:(.*)$", record, re.MULTILINE)
        name = product(source[1]) if source else None
        if name is not None:
            lines = re.findall(r"^DA:(\d+),(\d+)", record, re.MULTILINE)
            files[name] = {line: count != "0" for line, count in lines if int(line) < tests_begin(name)}
    return files


def core_regions(exported: str) -> Files:
    """Read the core's regions of llvm-cov's JSON: those of code are kind 0, told once for each build and instance."""
    files: Files = defaultdict(dict)
    for function in json.loads(exported)["data"][0]["functions"]:
        names = [product(name) for name in function["filenames"]]
        for *place, count, file, _, kind in function["regions"]:
            name = names[file]
            if not kind and name and name.startswith("rust/core/") and place[0] < tests_begin(name):
                region = "{}:{}-{}:{}".format(*place)
                files[name][region] = files[name].get(region, False) or count > 0
    return files


def tell(what: str, files: Files) -> dict[str, float]:
    """Print how much was run, and the ten files that have most of the rest; give the figures."""
    rest = {name: [place for place, ran in places.items() if not ran] for name, places in files.items()}
    counted = sum(map(len, files.values()))
    ran = counted - sum(map(len, rest.values()))
    percent = round(100 * ran / counted, 2)
    (page := WORK / f"{what}, not run.txt").write_text(
        "".join(f"{name}: {' '.join(places)}\n" for name, places in rest.items() if places)
    )
    print(f"\n{what}: {percent}% of {counted:,} were run, {GOALS[what]}% are wanted. The others ({page}) are most in")
    for name in sorted(rest, key=lambda name: -len(rest[name]))[:10]:
        print(f"{len(rest[name]):6,} of {len(files[name]):5,}  {name}")
    return {what: counted, f"{what} run": ran, f"{what} run, percent_most": percent}


def report(failed: dict[str, int]) -> bool:
    """Tell how much was run; give whether it is as much as is wanted."""
    counted = merged(WORK / "all.profdata", WORK / "rust.profdata", WORK / "python.profdata")
    objects = [*compiled(*PROGRAMS), *compiled(*EXTENSION)]
    lcov, text = (exported(objects, counted, form) for form in ("lcov", "text"))
    figures: dict[str, float] = {}
    for what, files in zip(GOALS, (python_lines(), rust_lines(lcov), core_regions(text)), strict=True):
        figures |= tell(what, files)
    print("\nfigures " + json.dumps(figures | {f"failed tests of {step}": count for step, count in failed.items()}))
    return all(figures[f"{what} run, percent_most"] >= goal for what, goal in GOALS.items())


def main() -> int:
    """Take the steps that the command line names."""
    steps = {"rust": rust, "python": python}
    parser = argparse.ArgumentParser(prog="make coverage")
    parser.add_argument("steps", nargs="*", metavar="STEP", help="rust, python, report; without: all of them")
    asked = parser.parse_args().steps or [*steps, "report"]
    if unknown := set(asked) - {*steps, "report"}:
        parser.error(f"there is no step {', '.join(sorted(unknown))}: there are {', '.join(steps)}, report")
    llvm("profdata")
    failed = {step: steps[step]() for step in asked if step in steps}
    return 0 if "report" not in asked or report(failed) else 1


if __name__ == "__main__":
    sys.exit(main())
