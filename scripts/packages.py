"""Build what a release gives out, in dist: the source archive, and from it a wheel for each Linux that this toolchain builds for.

Usage: python scripts/packages.py sdist    the archive alone
       python scripts/packages.py wheel    the archive, the wheels, an audit of each tag, and README's quickstart

zig, which comes from PyPI, links against an old glibc and for other processors. Rust's own part of a target comes from rustup:
a target that is not installed is named and left out.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import quickstart

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
# Always the same folder, so that a second build finds the dependencies that the first one compiled.
UNPACKED = ROOT / "target" / "sdist"
PROCESSORS = ("x86_64", "aarch64")
GLIBC = "manylinux_2_17"
FIRST_EVENT_SECONDS = 10


def tool(name: str) -> str:
    """Give a program of this Python's environment."""
    return str(Path(sys.executable).parent / name)


def sdist() -> Path:
    """Make the source archive."""
    for old in DIST.glob("*.tar.gz"):
        old.unlink()
    subprocess.run([tool("maturin"), "sdist", "--out", DIST], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    [archive] = DIST.glob("*.tar.gz")
    return archive


def unpack(archive: Path, into: Path) -> None:
    """Unpack the archive's one folder as a folder of another name."""
    shutil.rmtree(into, ignore_errors=True)
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent) as there, tarfile.open(archive) as packed:
        packed.extractall(there, filter="data")
        [folder] = Path(there).iterdir()
        folder.rename(into)
    # The archive's own times are the same in every release: cargo would find nothing changed since the last build, and the
    # wheel would hold that build's code.
    for path in into.rglob("*"):
        path.touch()


def has_target(target: str) -> bool:
    """Whether the toolchain can build for a target."""
    command = ["rustc", "--print", "target-libdir", "--target", target]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return Path(printed.strip()).is_dir()


def wheel(processor: str) -> Path | None:
    """Build the wheel for a processor out of the unpacked archive; give nothing where the toolchain cannot."""
    target = f"{processor}-unknown-linux-gnu"
    if not has_target(target):
        print(f"{processor}: not built, since the toolchain lacks the target. Next: rustup target add {target}")
        return None
    # Not --locked: the archive lacks the crates for tests alone, so cargo takes them out of Cargo.lock. No version changes.
    command = [
        tool("maturin"),
        "build",
        "--release",
        "--zig",
        "--target",
        target,
        "--compatibility",
        GLIBC,
        "--out",
        DIST,
    ]
    env = os.environ | {
        "CARGO_TARGET_DIR": str(ROOT / "target" / "wheel"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    subprocess.run(command, cwd=UNPACKED, check=True, env=env)
    [built] = DIST.glob(f"*{processor}.whl")
    return built


def audit(built: Path, processor: str) -> None:
    """Have auditwheel tell the oldest Linux that the wheel runs on, and hold the wheel's name to it."""
    shown = subprocess.run(
        [tool("auditwheel"), "show", "--json", built], capture_output=True, check=True, text=True
    ).stdout
    found, named = json.loads(shown)["overall_tag"], f"{GLIBC}_{processor}"
    if found != named or named not in built.name or "-abi3-" not in built.name:
        raise SystemExit(f"{built.name}: auditwheel finds {found}, and the name must say abi3 and {named}")
    print(f"{built.name}: auditwheel agrees with {found}")


def main() -> None:
    """Build what the command line says."""
    if sys.argv[1:] not in (["sdist"], ["wheel"]):
        raise SystemExit(__doc__)
    archive = sdist()
    print(f"{archive.name}: {archive.stat().st_size:,} bytes")
    if sys.argv[1] == "sdist":
        return
    for old in DIST.glob("*.whl"):
        old.unlink()
    unpack(archive, UNPACKED)
    built = {processor: made for processor in PROCESSORS if (made := wheel(processor))}
    for processor, made in built.items():
        audit(made, processor)
    if made := built.get(platform.machine()):
        with tempfile.TemporaryDirectory() as folder:
            seconds = quickstart.run(made, Path(folder))
        print(f"{made.name}: {seconds:.1f} s from pip install to the first event")
        if seconds > FIRST_EVENT_SECONDS:
            raise SystemExit(f"that is more than {FIRST_EVENT_SECONDS} s")
    if not built:
        raise SystemExit("no wheel was built")


if __name__ == "__main__":
    main()
