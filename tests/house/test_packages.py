"""What a release gives out: a wheel that needs no Rust, and a source archive that holds all that its build needs."""

import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import packages  # noqa: E402  found through the line above
import quickstart  # noqa: E402

MATURIN = Path(sys.executable).parent / "maturin"


def reaches_an_index(folder):
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder, "click"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.timeout(300)
def test_a_wheel_installs_without_rust_and_runs_the_quickstart_of_readme(tmp_path):
    """The test build, which `make test` has compiled: `make wheel` does the same with the release build, within 10 s."""
    if not reaches_an_index(tmp_path / "reached"):
        pytest.skip("pip reaches no package index, and the wheel's requirements come from there")
    build = ["build", "--locked", "--profile", "ci", "--features", "failpoints", "--out", tmp_path]
    subprocess.run([MATURIN, *build], cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    assert "-cp311-abi3-" in wheel.name
    assert quickstart.run(wheel, tmp_path) > 0


def versions(lock):
    return {(package["name"], package["version"]) for package in tomllib.loads(lock.read_text())["package"]}


def test_the_source_archive_holds_what_its_build_needs_and_the_same_versions(tmp_path, monkeypatch):
    """The wheel of `make wheel` is built out of it."""
    monkeypatch.setattr(packages, "DIST", tmp_path)
    archive, unpacked = packages.sdist(), tmp_path / "unpacked"
    archive_made = archive.stat().st_mtime
    packages.unpack(archive, unpacked)
    older = [path for path in unpacked.rglob("*") if path.is_file() and path.stat().st_mtime < archive_made]
    assert older == [], "cargo compares times: a file older than the last build would not be compiled again"
    subprocess.run(
        ["cargo", "metadata", "--offline", "--format-version", "1"], cwd=unpacked, check=True, capture_output=True
    )
    assert versions(unpacked / "Cargo.lock") < versions(ROOT / "Cargo.lock"), (
        "without the crates that are for tests alone"
    )
    with tarfile.open(archive) as packed:
        there = {name.split("/", 1)[1] for name in packed.getnames()}
    needed = ["python/forebay/_core.pyi", "python/forebay/py.typed", ".cargo/config.toml", "LICENSE", "README.md"]
    assert [name for name in needed if name not in there] == []
    tracked = subprocess.run(
        ["git", "ls-files", "rust/bindings", "rust/core/src", "rust/engine/src", "rust/store/src", "python"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    assert [name for name in tracked.stdout.splitlines() if name not in there and (ROOT / name).exists()] == []
    assert [name for name in there if name.endswith((".so", ".pyc"))] == []
