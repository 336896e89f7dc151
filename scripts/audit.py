"""Hold every locked and installed package against a snapshot of advisories in the OSV format.

Usage: python scripts/audit.py SNAPSHOT... [--lock Cargo.lock] [--accept ID...]

A snapshot is a folder or a zip file with a JSON file for each advisory, as osv.dev offers them for download: `all.zip`
of crates.io and of PyPI. What is looked at: the crates of the lock, and the packages installed beside this Python. Of the
ecosystem of each there must be a thousand advisories, the newest of them younger than 90 days, or finding nothing proves nothing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
FEWEST = 1_000
OLDEST = dt.timedelta(days=90)
CRATES, PYPI = "crates.io", "PyPI"


def advisories(snapshot: Path) -> Iterator[dict[str, Any]]:
    """Give every advisory of a snapshot."""
    if snapshot.is_dir():
        for path in snapshot.rglob("*.json"):
            yield json.loads(path.read_bytes())
        return
    with zipfile.ZipFile(snapshot) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield json.loads(archive.read(name))


def plain(name: str) -> str:
    """Write a package's name as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: Path) -> Iterator[tuple[str, str, str]]:
    """Give the crates of a lock that come from a registry: ecosystem, name, version."""
    for package in tomllib.loads(lock.read_text())["package"]:
        if "source" in package:
            yield CRATES, plain(package["name"]), package["version"]


def installed() -> Iterator[tuple[str, str, str]]:
    """Give the packages installed beside this Python."""
    for package in importlib.metadata.distributions():
        yield PYPI, plain(package.metadata["Name"]), package.version


def order(version: str) -> Version:
    """Make a version comparable. Cargo's are Python's but for pre-releases, which stand before their release here."""
    release = re.match(r"(\d+\.\d+\.\d+)-(?!(alpha|beta|rc)\b)", version)
    try:
        return Version(f"{release[1]}.dev0" if release else version)
    except InvalidVersion:
        return Version(re.split(r"[^0-9.]", version)[0].strip(".") or "0")


def is_affected(affected: dict[str, Any], version: str) -> bool:
    """Whether a version lies in the ranges of an advisory, or is listed by it."""
    if version in affected.get("versions", []):
        return True
    at = order(version)
    for bounds in affected.get("ranges", []):
        if bounds.get("type") == "GIT":
            continue
        inside = False
        for event in sorted(bounds["events"], key=bound):
            if "introduced" in event:
                inside |= at >= order(event["introduced"])
            elif "fixed" in event:
                inside &= at < order(event["fixed"])
            elif "last_affected" in event:
                inside &= at <= order(event["last_affected"])
        if inside:
            return True
    return False


def bound(event: dict[str, str]) -> tuple[Version, bool]:
    """Order the events of a range: by version, and a fix before what is introduced at the same one."""
    [(kind, version)] = event.items()
    return order(version), kind == "introduced"


def ecosystems(advisory: dict[str, Any]) -> set[str]:
    """Give the ecosystems that an advisory is about, without the releases that some of them have behind a colon."""
    of = (affected.get("package") or {} for affected in advisory.get("affected", []))
    return {package["ecosystem"].partition(":")[0] for package in of if "ecosystem" in package}


def hits(advisory: dict[str, Any], packages: dict[tuple[str, str], set[str]]) -> Iterator[str]:
    """Give the packages that an advisory is about, as `name version`. Notices, such as of a lack of maintenance, are none."""
    if "withdrawn" in advisory:
        return
    for affected in advisory.get("affected", []):
        if (affected.get("database_specific") or {}).get("informational"):
            continue
        package = affected.get("package") or {}  # of a repository, it has none
        ecosystem, name = package.get("ecosystem", ""), plain(package.get("name", ""))
        for version in packages.get((ecosystem, name), ()):
            if is_affected(affected, version):
                yield f"{name} {version}"


def main(words: list[str] | None = None) -> int:
    """Run what the command line says; 1: something is affected, 2: the snapshot proves nothing."""
    parser = argparse.ArgumentParser(prog="scripts/audit.py", description=__doc__)
    parser.add_argument("snapshots", nargs="+", type=Path, metavar="SNAPSHOT")
    parser.add_argument("--lock", type=Path, default=ROOT / "Cargo.lock")
    parser.add_argument("--accept", action="append", default=[], metavar="ID", help="an advisory that was looked into")
    asked = parser.parse_args(words)
    packages: dict[tuple[str, str], set[str]] = {}
    for ecosystem, name, version in [*locked(asked.lock), *installed()]:
        packages.setdefault((ecosystem, name), set()).add(version)
    known: dict[str, list[str]] = {ecosystem: [] for ecosystem, _ in packages}
    found = 0
    for snapshot in asked.snapshots:
        for advisory in advisories(snapshot):
            for ecosystem in ecosystems(advisory) & known.keys():
                known[ecosystem].append(advisory.get("modified", ""))
            for hit in hits(advisory, packages):
                accepted = advisory["id"] in asked.accept
                found += not accepted
                print(f"{advisory['id']}: {hit}: {advisory.get('summary', '')}{' (accepted)' if accepted else ''}")
    is_enough = True
    for ecosystem, moments in known.items():
        newest, of = max(moments, default=""), sum(name == ecosystem for name, _ in packages)
        print(f"{of} packages of {ecosystem}, {len(moments):,} advisories until {newest[:10] or 'no day'}")
        is_enough &= len(moments) >= FEWEST and dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(newest) <= OLDEST
    print(f"{found} found")
    if not is_enough:
        wanted = f"{FEWEST:,} advisories are wanted, the newest of them under {OLDEST.days} days old"
        print(f"not enough to prove anything: of each ecosystem {wanted}")
        return 2
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
