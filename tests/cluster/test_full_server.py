"""A server whose disk is full: what is put is refused with the reason, nothing acknowledged is lost, and work goes on by itself.

`make deep` fills it again and again: FOREBAY_COUNT says how often.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ledger import check_ledger
from members import DURABLE, Members, now, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db_servers import Postgres

COUNT = int(os.environ.get("FOREBAY_COUNT") or 1)
# Room for a new server, and some MB of records.
DISK = "96m"
OPTIONS = (*DURABLE, "-cmin_wal_size=32MB", "-cmax_wal_size=32MB")
BLOCK = b"\0" * 65_536
# A server that has crashed replays its log, and the owner has stood down meanwhile. A busy machine takes longer.
RESUMED_WITHIN = 10.0 if os.environ.get("FOREBAY_COUNT") else 30.0


@pytest.fixture
def disk() -> Iterator[Path]:
    """Give a small file system that a server may write to, outside of what pytest closes to other users when it starts."""
    place = Path(tempfile.mkdtemp(prefix="forebay-disk-"))
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0755", "tmpfs", place]
    mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    if mounted.returncode:
        place.rmdir()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)
    place.rmdir()


@pytest.fixture
def small_server(template: Postgres, disk: Path) -> Iterator[Postgres]:
    clone = template.clone(disk)
    clone.start(*OPTIONS)
    yield clone
    clone.remove()


def fill(disk: Path) -> None:
    """Leave no room."""
    with contextlib.suppress(OSError), (disk / "ballast").open("ab", buffering=0) as ballast:
        while True:
            ballast.write(BLOCK)


def refusals(members: Members) -> int:
    return sum(len(process.lines("refused")) for process in members.all)


@pytest.mark.timeout(120 + 60 * COUNT)
@pytest.mark.parametrize("crashes", [False, True])
def test_a_server_whose_disk_is_full_refuses_puts_and_goes_on_when_there_is_room(
    members: Members, small_server: Postgres, disk: Path, crashes: bool
) -> None:
    """`crashes`: the server needs another segment of its log, has no room for it, and goes down until there is."""
    url = f"{small_server.url}?sslmode=disable"
    for _ in range(2):
        members.start(url, "busy")
    longest = 0.0
    for _ in range(COUNT):
        before = [len(process.lines("acked")) for process in members.all]
        pairs = list(zip(members.all, before, strict=True))
        until(lambda: all(len(one.lines("acked")) > n + 20 for one, n in pairs), members.logs)  # noqa: B023  called here
        full = refusals(members)
        fill(disk)
        if crashes:
            with contextlib.suppress(RuntimeError):
                for _ in range(20):
                    small_server.sql("SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal()")
            assert b"PANIC" in (small_server.folder / "log").read_bytes()
        until(lambda: refusals(members) > full + 20, members.logs)  # noqa: B023
        assert crashes or "No space left on device (SQLSTATE 53100)" in members.logs()
        # Long enough for the owner of a store whose server is gone to stand down.
        time.sleep(5 if crashes else 1)
        stood = [len(process.lines("acked")) for process in members.all]
        (disk / "ballast").unlink()
        freed = now()
        if small_server.process is not None and small_server.process.poll() is not None:
            # It has given up, and whatever looks after it starts it again.
            small_server.kill()
            small_server.start(*OPTIONS)
        pairs = list(zip(members.all, stood, strict=True))
        until(lambda: all(len(one.lines("acked")) > n + 3 for one, n in pairs), members.logs)  # noqa: B023
        longest = max(longest, now() - freed)
    refused = [(words[1], " ".join(words[2:])) for process in members.all for words in process.lines("refused")]
    # A server that goes down in the middle of a commit may have written it. The owner cannot ask once the other has taken over.
    # What it had not sent to the server yet was certainly not written.
    unknown = {text for error, text in refused if error == "StoreFailed"} - {
        "the store cannot be reached: nothing was written"
    }
    assert all(text.startswith("nobody knows whether the store has written it: ") for text in unknown), unknown
    assert {error for error, _ in refused} <= ({"StoreFull", "OwnerLost", "StoreFailed"} if crashes else {"StoreFull"})
    check_ledger(members)
    assert longest < RESUMED_WITHIN
    figures = {"fillings": COUNT, "until_resumed_ms_most": round(1000 * longest)}
    figures |= {
        "acknowledged": len(members.acknowledged()),
        "refused": refusals(members),
        "lost": 0,
    }  # the ledger was checked
    sys.stdout.write(f"\nfigures {json.dumps(figures)}\n")
    members.end()
