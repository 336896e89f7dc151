"""A PostgreSQL server whose disk is full: what is put is refused, and nothing that was acknowledged is lost."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from db_servers import USER, Postgres, give_away, new_folder
from ledger import check_ledger
from members import Members, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DISK_MIB = 16
# An owner may not run for so long without its beats being written.
FULL_SECONDS = 4.0


@pytest.fixture
def disk() -> Iterator[Path]:
    """Mount a small disk for the server."""
    place = new_folder()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0700", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        place.rmdir()
        pytest.skip("no small disk can be mounted here: that needs root")
    give_away(place)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)
    place.rmdir()


def fill(disk: Path) -> Path:
    """Leave no room."""
    rest = disk / "rest"
    with rest.open("wb") as file:
        try:
            while True:
                file.write(bytes(4096))
                file.flush()
        except OSError:
            return rest


def test_what_is_put_on_a_full_disk_is_refused_and_goes_on_when_there_is_room(
    members: Members, disk: Path, own_server: Postgres
) -> None:
    data = disk / "data"
    data.mkdir()
    give_away(data)
    own_server.sql(f"CREATE TABLESPACE small LOCATION '{data}'", "postgres")
    own_server.sql(f"GRANT CREATE ON TABLESPACE small TO {USER}", "postgres")
    own_server.sql(f"ALTER ROLE {USER} SET default_tablespace = small", "postgres")
    process = members.start(f"{own_server.url}?sslmode=disable")
    until(lambda: len(process.lines("acked")) > 20, members.logs)
    rest = fill(disk)
    until(lambda: ["StoreFull"] in [words[1:] for words in process.lines("refused")], members.logs)
    time.sleep(FULL_SECONDS)
    rest.unlink()
    before = len(process.lines("acked"))
    until(lambda: len(process.lines("acked")) > before + 20, members.logs)
    assert process.lives
    check_ledger(members)
