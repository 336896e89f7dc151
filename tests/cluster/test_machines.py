"""Processes of several machines on one store: the owner is asked over the network, and taken over from."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from db_servers import PASSWORD
from ledger import check_ledger
from members import Members, need_machines, now, on, until

import forebay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db_servers import Postgres

log = logging.getLogger("figures")

FAR_APP = Path(__file__).parent / "far_app.py"
# An owner is dead after 5 s, and what it left is opened; beside other tests a machine takes longer for all of it.
TAKEN_WITHIN = 12.0 if os.environ.get("FOREBAY_COUNT") else 30.0
SECRET = PASSWORD.partition("!")[0]


@pytest.fixture(autouse=True)
def machines() -> None:
    need_machines()


def command(*words: str, url: str, machine: str | None = None) -> subprocess.CompletedProcess[str]:
    asked = [*on(machine), sys.executable, "-m", "forebay.cli", *words, "--store", url]
    return subprocess.run(asked, capture_output=True, text=True, check=False)


@pytest.fixture
def owner_of_far_app(url: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Run the owner of the far app; give the environment for a client on another machine."""
    environment = {**os.environ, "STORE_URL": url, "FOREBAY_RUN_DIR": str(tmp_path / "run")}
    started = [sys.executable, str(FAR_APP), "serve"]
    with subprocess.Popen(started, env=environment, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "serves\n"
        yield {**environment, "FOREBAY_RUN_DIR": str(tmp_path / "run-elsewhere")}
        owner.send_signal(signal.SIGTERM)


# None: on this machine, where the owner's socket is not found.
@pytest.mark.parametrize("elsewhere", ["elsewhere", None])
def test_a_client_on_another_machine_does_all_that_one_on_the_same_machine_does(
    owner_of_far_app: dict[str, str], elsewhere: str | None
) -> None:
    def asked(machine: str | None) -> dict[str, object]:
        client = [*on(machine), sys.executable, str(FAR_APP), "ask"]
        said = subprocess.run(client, env=owner_of_far_app, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        return dict(json.loads(said.stdout))

    expected = {
        "large": 5_000,
        "invoked": 8,
        "result": 42,
        "received": "sent",
        "depth": 0,
        "seen": ["bus put", "stream 1", "topic published"],
    }
    assert asked(elsewhere) == expected


def test_processes_of_two_machines_put_and_take_over_from_each_other(members: Members, url: str) -> None:
    owner = members.start(url)
    members.working(0.0)
    other = members.start(url, machine="elsewhere")
    until(lambda: len(other.lines("acked")) > 10, members.logs)
    assert other.lines("refused") == []
    asked = command("lag", url=url, machine="elsewhere")
    assert asked.returncode == 0, asked.stderr
    assert "numbers" in asked.stdout
    status = command("cluster", "status", url=url, machine="elsewhere")
    assert status.returncode == 0, status.stdout
    assert "of another machine" not in status.stdout
    assert "reached" not in status.stdout
    listed = command("cluster", "members", url=url)
    rows = json.loads(command("cluster", "members", "--output", "json", url=url).stdout)
    assert {one["role"]: bool(one["address"]) for one in rows} == {"owner": True, "stands by": False}
    assert re.search(rf"process {owner.child.pid} on \S+ +owner +127\.0\.0\.1:\d+", listed.stdout), listed.stdout

    killed = now()
    owner.signal(signal.SIGKILL)
    _, moment = members.working(killed, [other], anew=True)
    log.info("%s: %.1f s until the next handler began", "killed, on another machine", moment - killed)
    assert moment - killed < TAKEN_WITHIN
    # The way back: the new owner is on the other machine.
    third = members.start(url)
    until(lambda: len(third.lines("acked")) > 10, members.logs)
    left = now()
    other.signal(signal.SIGTERM)
    _, moment = members.working(left, [third], anew=True)
    log.info("%s: %.1f s until the next handler began", "left, on another machine", moment - left)
    assert moment - left < TAKEN_WITHIN
    assert members.deaths(url) == 0, "the owner gave the store up, and nobody waited for its lease to run out"
    check_ledger(members)


def test_a_process_that_cannot_reach_the_owner_stands_by_and_says_why(members: Members, url: str) -> None:
    closed = members.start(url, FOREBAY_CLUSTER_ADDRESS="off")
    members.working(0.0)
    # What it tells others leads nowhere.
    lost = members.start(url, machine="lost", FOREBAY_CLUSTER_ADDRESS="127.0.0.1:1", FOREBAY_CLUSTER_BIND="127.0.0.1:0")
    until(lambda: len(lost.lines("refused")) > 3, members.logs)
    assert {words[1] for words in lost.lines("refused")} == {"StoreLocked"}
    assert "stands by, and tries again every 10 s: the store" in members.logs()
    refused = command("lag", url=url, machine="lost")
    assert refused.returncode == 1
    assert f"owned by process {closed.child.pid} on " in refused.stderr
    assert "it does not listen for other machines" in refused.stderr
    assert "FOREBAY_CLUSTER_ADDRESS" in refused.stderr
    assert SECRET not in refused.stderr + refused.stdout
    # An owner that nobody could reach looked healthy: three processes "could take it over", and no handler ran.
    for machine, returncode in (("lost", 1), (None, 0)):
        status = command("cluster", "status", url=url, machine=machine)
        assert status.returncode == returncode, status.stdout
        assert "it lets no process of another machine in" in status.stdout

    killed = now()
    closed.signal(signal.SIGKILL)
    _, moment = members.working(killed, [lost])
    assert moment - killed < TAKEN_WITHIN
    until(lambda: len(lost.lines("acked")) > 20, members.logs)
    third = members.start(url)
    until(lambda: len(third.lines("refused")) > 3, members.logs)
    refused = command("lag", url=url)
    assert refused.returncode == 1
    assert "it does not answer at 127.0.0.1:1" in refused.stderr
    status = command("cluster", "status", url=url)
    assert status.returncode == 1, status.stdout
    assert "it is not reached from here at 127.0.0.1:1 (Connection refused)" in status.stdout
    assert "it is not reached from here at 127.0.0.1:1" in command("doctor", url=url).stdout
    killed = now()
    lost.signal(signal.SIGKILL)
    _, moment = members.working(killed, [third])
    assert moment - killed < TAKEN_WITHIN
    check_ledger(members)


async def test_an_address_that_is_none_is_refused_at_the_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_CLUSTER_ADDRESS", "127.0.0.1:port")
    with pytest.raises(forebay.InvalidParameterValue, match='"port" is not a port') as caught:
        await forebay.App("shop", store=url).start()
    assert "FOREBAY_CLUSTER_ADDRESS=127.0.0.1:port" in str(caught.value)


async def test_a_process_that_could_not_own_the_store_is_refused_at_its_start(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It counted as a standby, took the store when the owner died, and let no other machine in or could not open it."""
    monkeypatch.setenv("FOREBAY_CLUSTER_BIND", "192.0.2.1:5")
    with pytest.raises(
        forebay.InvalidParameterValue, match=r"cannot listen at 192\.0\.2\.1:5 for other machines"
    ) as caught:
        await forebay.App("shop", store=url).start()
    assert "FOREBAY_CLUSTER_BIND" in str(caught.value)
    monkeypatch.delenv("FOREBAY_CLUSTER_BIND")
    (tmp_path / "open").mkdir(mode=0o755)
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(tmp_path / "open"))
    with pytest.raises(forebay.StoreError, match="must be a directory of mode 0700"):
        await forebay.App("shop", store=url).start()


def test_a_port_that_a_process_may_not_have_is_refused_at_its_start(members: Members, url: str) -> None:
    """Only the address was tried: the process took the store when the owner died, and let no other machine in."""
    unprivileged = ("setpriv", "--bounding-set=-net_bind_service")
    denied = subprocess.run(
        [*unprivileged, sys.executable, "-c", "import socket; socket.socket().bind(('127.0.0.1', 443))"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Permission denied" not in denied.stderr:
        pytest.skip("no process can be kept from a port here: setpriv needs root")
    refused = members.start(url, inside=unprivileged, FOREBAY_CLUSTER_BIND="127.0.0.1:443")
    assert refused.child.wait(60) == 1
    assert "cannot listen at 127.0.0.1:443 for other machines: Permission denied" in members.logs()


def test_a_port_that_is_held_is_waited_for(members: Members, url: str, own_server: Postgres) -> None:
    # The port is held by a server, which does not know what a greeting is.
    address = f"127.0.0.1:{own_server.port}"
    owner = members.start(url, FOREBAY_CLUSTER_ADDRESS=address)
    members.working(0.0)
    other = members.start(url, "quiet", machine="elsewhere")
    until(lambda: "processes of other machines cannot ask this one yet" in members.logs(), members.logs)
    own_server.stop()
    until(lambda: "processes of other machines can ask this one now" in members.logs(), members.logs)
    until(lambda: other.lines("started") != [], members.logs)
    asked = command("lag", url=url, machine="elsewhere")
    assert asked.returncode == 0, asked.stderr
    assert owner.lives


def test_a_process_that_speaks_another_protocol_than_the_owner_stands_by(
    members: Members, own_server: Postgres
) -> None:
    url = f"{own_server.url}?sslmode=disable"
    owner = members.start(url)
    members.working(0.0)
    own_server.sql("UPDATE forebay_shared.door SET protocol = 2")
    other = members.start(url)
    until(lambda: len(other.lines("refused")) > 3, members.logs)
    assert {words[1] for words in other.lines("refused")} == {"StoreLocked"}
    for machine in (None, "elsewhere"):
        refused = command("lag", url=url, machine=machine)
        assert refused.returncode == 1
        assert "it speaks protocol 2, while this release of forebay speaks 1" in refused.stderr
    killed = now()
    owner.signal(signal.SIGKILL)
    _, moment = members.working(killed, [other])
    assert moment - killed < TAKEN_WITHIN
    check_ledger(members)


@pytest.mark.parametrize("address", ["0.0.0.0", "0.0.0.0:7410", "::", "[::]:7410"])  # noqa: S104  what must be refused
async def test_an_address_that_nobody_can_connect_to_is_refused_at_the_start(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken, and the processes of other machines were told to connect to themselves."""
    monkeypatch.setenv("FOREBAY_CLUSTER_ADDRESS", address)
    with pytest.raises(forebay.InvalidParameterValue, match="FOREBAY_CLUSTER_BIND"):
        await forebay.App("shop", store="postgresql://user@127.0.0.1:1/shop").start()
