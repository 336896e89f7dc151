"""What a figure was measured on, and who else used the machine meanwhile."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_RECORD = b"x" * 200
sync = getattr(os, "fdatasync", os.fsync)
"""Waits until what was written to a descriptor is on the disk."""


def describe(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Name processor, memory, system and the versions that matter, those of some packages too."""
    return {
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count() or 0,
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        },
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("forebay", "uvloop", "orjson", *packages)},
        },
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


class Meter:
    """The time a piece of work took, and how many cores were busy meanwhile: with it, and with everything else.

    Attributes:
        seconds: wall time.
        cores: processor time of this process and of those that it has started, per second.
        others: processor time of all others per second; None where the system does not tell.

    """

    def __init__(self) -> None:
        self.seconds = self.cores = 0.0
        self.others: float | None = None

    def __enter__(self) -> Self:
        self._own = _own_seconds()
        self._everyone = _busy_seconds()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        own = _own_seconds() - self._own
        self.cores = own / self.seconds
        if self._everyone is not None:
            everyone = (_busy_seconds() or 0.0) - self._everyone
            self.others = max(0.0, everyone - own) / self.seconds


def _own_seconds() -> float:
    """Add up what this process and those that it has started did, the ended ones too."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + living_seconds(os.getpid(), itself=False)


def living_seconds(process: int, *, itself: bool = True) -> float:
    """Add up what a process and the living ones that come from it did."""
    if sys.platform != "linux":
        return 0.0
    started: dict[int, list[int]] = {}
    ticks = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            about = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            number = int(path.parent.name)
            started.setdefault(int(about[1]), []).append(number)
            ticks[number] = int(about[11]) + int(about[12])
    total, look = ticks.get(process, 0) if itself else 0, [process]
    while look:
        children = started.get(look.pop(), [])
        total += sum(ticks[child] for child in children)
        look += children
    return total / os.sysconf("SC_CLK_TCK")


def _busy_seconds() -> float | None:
    """Add up what all processors did since boot, idling and waiting for disks left out."""
    if sys.platform != "linux":
        return None
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    ticks = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()[1:]
    spent = dict(zip(names, map(int, ticks), strict=False))
    return sum(value for name, value in spent.items() if name not in {"idle", "iowait"}) / os.sysconf("SC_CLK_TCK")


def memory_bytes() -> int:
    """Give the memory this process holds now (VmRSS)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def disk_waits(directory: Path, writes: int, interval: float = 0.0) -> list[float]:
    """Append a record and wait for the disk, again and again; give the seconds that each wait took.

    This is the least that any durable put can cost on this disk.
    """
    path = directory / "probe"
    waits = []
    with path.open("ab", buffering=0) as file:
        for _ in range(writes):
            time.sleep(interval)
            file.write(_RECORD)
            began = time.perf_counter()
            sync(file.fileno())
            waits.append(time.perf_counter() - began)
    path.unlink()
    return waits


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the nearest-rank percentile."""
    ordered = sorted(values)
    rank = -int(-len(ordered) * percent // 100)
    return ordered[max(rank, 1) - 1]
